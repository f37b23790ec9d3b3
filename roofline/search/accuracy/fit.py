"""Fit the shipped oracles again: ``python -m roofline.search.accuracy.fit TABLE.csv.gz [FOLDER]``.

TABLE is the benchmark's table: columns ``b0_e`` ... ``b6_se`` and ``val_top1``. Coefficients are written, never rows.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, RooflineError
from roofline.files import atomic
from roofline.numeric import Array
from roofline.search.accuracy import pairwise, structural
from roofline.search.space import Space
from roofline.search.spacefile import search_space

SOURCE = "Ahmad et al., Accel-NASBench, DAC 2024, arXiv 2404.08005, Apache-2.0"
RECIPE = "16-epoch proxy"
TARGET = "val_top1"


def read_table(path: str | Path, space: Space) -> tuple[NDArray[np.int8], dict[str, Array]]:
    """Return the genomes of a table's rows, and its other columns; cells without a number are NaN.

    Raises
    ------
    InputError
        The file cannot be read, or a row is no network of the space.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from None
    if not rows:
        raise InputError(f"{path.name} has no rows")
    known = {name for choice in space.choices for name in (choice.name, *choice.aliases)}
    genomes = np.stack([space.encode({k: v for k, v in row.items() if k in known}) for row in rows])
    others = [name for name in rows[0] if name not in known]
    return genomes, {name: np.array([_number(row[name]) for row in rows]) for name in others}


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def main(arguments: Sequence[str]) -> int:
    """Fit all oracles to a table and write them."""
    if not 1 <= len(arguments) <= 2:
        print((__doc__ or "").splitlines()[0], file=sys.stderr)
        return 2
    folder = Path(arguments[1]) if len(arguments) == 2 else pairwise.DATA
    space = search_space("accel-nasbench")
    try:
        genomes, columns = read_table(arguments[0], space)
        if TARGET not in columns:
            raise InputError(f"{arguments[0]} has no column {TARGET!r}")
        accuracy = columns[TARGET]
        for name, fit in (("pairwise", pairwise.fit), ("structural", structural.fit)):
            found = fit(space, genomes, accuracy, recipe=RECIPE, source=SOURCE)
            with atomic(folder / f"accel_nasbench_{name}.json") as temporary:
                temporary.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
            widths = ", ".join(f"{float(c):.0%} {w:.2f}" for c, w in found["half_width"].items())
            print(f"{found['model']}: tau {found['tau']:.3f}, RMSE {found['rmse']:.2f} pp, half-widths {widths}")
    except RooflineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
