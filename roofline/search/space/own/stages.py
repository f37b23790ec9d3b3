"""A stage of a space of somebody's own blocks: what may stand in it, how often, and with which arguments."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from roofline.errors import SpecError
from roofline.fingerprint import program_hash
from roofline.reading import read_bytes
from roofline.search.space.genomes import Choice, Value
from roofline.search.space.own.blocks import ASKED, asked, is_made

#: blocks of one stage
MAX_REPEATS = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleStage:
    """A stage: what its blocks may be, how many there may be, and what the callables that make them are given.

    Attributes
    ----------
    blocks
        Label -> a callable that makes a block, or a block: see `module_stage`.
    arguments
        Name -> the values among which a gene chooses, or the only one.
    """

    name: str
    blocks: Mapping[str, Any]
    repeats: tuple[int, ...]
    arguments: Mapping[str, tuple[Value, ...]]

    def __post_init__(self) -> None:
        """Check what can be checked without making a block.

        Raises
        ------
        SpecError
            There is no block, a number of repeats is impossible, or no callable takes an argument.
        """
        if not self.blocks:
            raise SpecError(f"stage {self.name!r} has no blocks")
        for label, block in self.blocks.items():
            if not callable(block) and not is_made(block):
                raise SpecError(f"stage {self.name!r}, block {label!r} makes nothing: got {type(block).__name__!r}")
        for count in self.repeats:
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_REPEATS:
                raise SpecError(f"stage {self.name!r}: repeats must be in 0..{MAX_REPEATS}, got {count!r}")
        for name, values in self.arguments.items():
            if name in (*ASKED, "block", "repeats"):
                raise SpecError(f"stage {self.name!r}: {name!r} is no argument of its own")
            if not values:
                raise SpecError(f"stage {self.name!r}: argument {name!r} has no values")
            if not any(name in asked(block, tuple(self.arguments)) for block in self.blocks.values()):
                raise SpecError(f"stage {self.name!r}: none of its blocks takes an argument {name!r}")

    def choices(self) -> Iterator[Choice]:
        """Yield the genes of the stage: what there is to choose from."""
        fields: dict[str, tuple[str, tuple[Value, ...]]] = {
            "block": (self.name, tuple(self.blocks)),
            "repeats": (f"{self.name}_repeats", self.repeats),
        }
        fields |= {name: (f"{self.name}_{name}", values) for name, values in self.arguments.items()}
        for field, (name, values) in fields.items():
            if len(values) > 1:
                yield Choice(name=name, values=values, changes=tuple(((self.name, field, v),) for v in values))


def module_stage(name: str, blocks: Any, repeats: int | Sequence[int] = 1, **arguments: Any) -> ModuleStage:
    """Return a stage of somebody's own blocks.

    Parameters
    ----------
    name
        Genes are named after it: ``{name}`` chooses the block, ``{name}_repeats`` their number, ``{name}_{argument}``
        an argument; only where there are several to choose from.
    blocks
        One block or several, in a list or by label. A block is a callable that makes a `torch.nn.Module`, the path of
        an ONNX file, a flax module, a JAX function, or a pair of one and its parameters; or one of these itself. A
        callable is given, of what it takes by name, the stage's arguments, ``shape`` (of one example, as it arrives)
        and ``index`` (its number in the stage).
    repeats
        How often the block stands there, one number or several to choose from; 0 leaves the stage out.
    **arguments
        One value each, or several to choose from.

    Raises
    ------
    SpecError
        A value is impossible.
    """
    if isinstance(blocks, Mapping):
        labelled = dict(blocks)
    else:
        listed = list(blocks) if isinstance(blocks, list) else [blocks]
        labelled = {_label(block): block for block in listed}
        if len(labelled) != len(listed):
            raise SpecError(
                f"stage {name!r}: blocks share the labels {sorted(labelled)!r}: give a mapping label -> block"
            )
    return ModuleStage(
        name=name,
        blocks=labelled,
        repeats=(repeats,) if isinstance(repeats, int) else tuple(repeats),
        arguments={n: tuple(v) if isinstance(v, (list, tuple)) else (v,) for n, v in arguments.items()},
    )


def _label(block: Any) -> str:
    if isinstance(block, (str, Path)):
        return Path(block).stem
    function = block[0] if isinstance(block, tuple) else getattr(block, "func", block)
    return str(getattr(function, "__name__", type(function).__name__)).strip("<>")


def content_of(block: Any) -> str:
    """Return what the tables of a block depend on: its file, the program that it stands in, or its text."""
    if isinstance(block, (str, Path)):
        return hashlib.sha256(read_bytes(Path(block))).hexdigest()
    told = []
    for part in block if isinstance(block, tuple) else (block,):
        function = getattr(part, "func", part)
        named = inspect.isfunction(function) or isinstance(function, type)
        told += [_written(function if named else type(function)), str(getattr(function, "__qualname__", ""))]
        told += [repr(getattr(part, name, "")) for name in ("args", "keywords")]
        if not named:
            told.append(str(part))  # a module shows what it is made of
    return " ".join(told)


def _written(function: Any) -> str:
    """Return the hash of the program in which a function or a class stands; without a file, of what it compiles to."""
    try:
        file = Path(str(inspect.getsourcefile(function)))
    except TypeError:
        return repr(function)
    if file.is_file():
        return _program(str(file))
    members = vars(function).values() if isinstance(function, type) else (function,)
    code = [m.__code__ for m in members if inspect.isfunction(m)]
    return hashlib.sha256(repr([(c.co_code, c.co_names, str(c.co_consts)) for c in code]).encode()).hexdigest()


@lru_cache(maxsize=256)
def _program(file: str) -> str:
    """Return the hash of a program; what a process has imported, it does not import again."""
    return program_hash(Path(file))
