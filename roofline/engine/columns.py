"""Equally long arrays as one value, whose fields say what becomes of them when rows are chosen, joined or merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from roofline.numeric import Array

Index = NDArray[np.int64]
#: from a column, the group of each of its rows and the number of groups to a column with a row per group
Merge = Callable[[Array, Index, int], Array]


def rows_of(part: str) -> dict[str, str]:
    """Return the metadata of a column of row numbers in another part of a table: where its rows move, they follow."""
    return {"part": part}


def merged_by(merge: Merge) -> dict[str, Merge]:
    """Return the metadata of a column that does not tell rows apart: what it is of rows that are merged."""
    return {"merge": merge}


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Base of the parts of a table. A field annotated ``Index`` holds whole numbers, one annotated ``Array`` floats.

    A field without metadata is a value: it tells rows apart.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def dtypes(cls) -> dict[str, type[np.int64 | np.float64]]:
        """Return the numpy type of each column."""
        return {f.name: np.int64 if f.type == "Index" else np.float64 for f in fields(cls)}

    @classmethod
    def pointers(cls) -> dict[str, str]:
        """Return the columns that hold row numbers, with the part of the table whose rows they are."""
        return {f.name: f.metadata["part"] for f in fields(cls) if "part" in f.metadata}

    @classmethod
    def merges(cls) -> dict[str, Merge]:
        """Return the columns that do not tell rows apart, with how they are merged."""
        return {f.name: f.metadata["merge"] for f in fields(cls) if "merge" in f.metadata}

    @property
    def values(self) -> list[Array]:
        """The columns that tell rows apart, as floats."""
        others = self.pointers() | self.merges()
        return [getattr(self, f.name).astype(np.float64) for f in fields(self) if f.name not in others]

    def take(self, rows: Index, places: Mapping[str, Index]) -> Self:
        """Return some rows in the order given; `places` has the new number of each row of the parts that changed."""
        found = {f.name: getattr(self, f.name)[rows] for f in fields(self)}
        moved = {name: places[part][found[name]] for name, part in self.pointers().items() if part in places}
        return type(self)(**found | moved)

    @classmethod
    def concat(cls, parts: Sequence[Self], offsets: Mapping[str, Sequence[int]]) -> Self:
        """Return the rows of all; `offsets` has, for each part of a table, what its row numbers move by."""
        joined = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        for name, part in cls.pointers().items():
            joined[name] = [column + offset for column, offset in zip(joined[name], offsets[part], strict=True)]
        return cls(**{name: np.concatenate(columns) for name, columns in joined.items()})
