"""Blocks, the unit of topology: whole networks are millions of shapes, blocks a few dozen with sizes as columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

import numpy as np
from pydantic import model_validator

from roofline.arch.step import Step
from roofline.dtypes import DTYPES, DType
from roofline.errors import RooflineError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Shape, Tensor
from roofline.names import lookup
from roofline.plugins import find_plugins
from roofline.quantity import SpecFile
from roofline.registry import filed


@dataclass(frozen=True, kw_only=True)
class Port:
    """A tensor that enters or leaves a block; `data` where it enters the network: nobody asks for its gradient."""

    shape: Shape
    dtype: DType = DTYPES["fp32"]
    data: bool = False

    @cached_property
    def structure(self) -> tuple[Any, ...]:
        """How many dimensions there are, and every field but their sizes."""
        return (len(self.shape), *(getattr(self, f.name) for f in fields(self) if f.name != "shape"))


Ports: TypeAlias = tuple[Port, ...]


@dataclass(frozen=True, kw_only=True)
class Block(ABC):
    """One block of a network: fields annotated ``Numeric`` are sizes (a number or a column), all others structure.

    A field annotated ``Parts`` holds the blocks that it is made of, with sizes and structure of their own.
    """

    @abstractmethod
    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the block's ops to `b` and return its outputs."""

    @classmethod
    @lru_cache(maxsize=256)
    def size_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold sizes."""
        return tuple(f.name for f in fields(cls) if f.type == "Numeric")

    def structure(self) -> tuple[Any, ...]:
        """Return the block's class and every field that is not a size: blocks of equal structure share a template."""
        own = (getattr(self, name) for name in self._other_fields())
        return (type(self), *own, *(part.structure() for name in self.part_fields() for part in getattr(self, name)))

    @classmethod
    @lru_cache(maxsize=256)
    def part_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold the blocks it is made of."""
        return tuple(f.name for f in fields(cls) if f.type == "Parts")

    @classmethod
    @lru_cache(maxsize=256)
    def _other_fields(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls) if f.name not in (*cls.size_fields(), *cls.part_fields()))


Parts: TypeAlias = tuple[Block, ...]


def template_key(block: Block, ports: Ports) -> tuple[Any, ...]:
    """Return what blocks of one template have in common: all but the sizes, their own and those of their inputs."""
    return block.structure(), tuple(port.structure for port in ports)


B = TypeVar("B", bound=Block)


def stack(blocks: Sequence[B]) -> B:
    """Return one block whose sizes are columns with a row per block; all must be of one structure."""
    first = blocks[0]
    values = {f.name: getattr(first, f.name) for f in fields(first)}
    for name in first.size_fields():
        values[name] = np.array([getattr(block, name) for block in blocks], dtype=np.float64)
    for name in first.part_fields():
        rows = zip(*(getattr(block, name) for block in blocks), strict=True)
        values[name] = tuple(stack(parts) for parts in rows)
    return type(first)(**values)


def stack_ports(rows: Sequence[Ports]) -> Ports:
    """Return ports whose dimensions are columns with a row per block."""
    return tuple(
        replace(
            ports[0],
            shape=tuple(np.array(column, dtype=np.float64) for column in zip(*(p.shape for p in ports), strict=True)),
        )
        for ports in zip(*rows, strict=True)
    )


def build_block(block: Block, ports: Ports, b: GraphBuilder) -> tuple[Tensor, ...]:
    """Add `block` to an empty builder with its ports as graph inputs; return its outputs."""
    inputs = [b.tensor(f"in{i}", port.shape, "input", port.dtype) for i, port in enumerate(ports)]
    return block.build(b, *inputs)


def wanted(ports: Ports) -> frozenset[str]:
    """Return the names under which `build_block` adds the inputs whose gradients the block before needs."""
    return frozenset(f"in{i}" for i, port in enumerate(ports) if not port.data)


@lru_cache(maxsize=1 << 16)
def out_ports(block: Block, ports: Ports) -> Ports:
    """Return what leaves a block of numbers (not columns), by building it: shapes have one source of truth."""
    outputs = build_block(block, ports, GraphBuilder())
    return tuple(Port(shape=t.shape, dtype=t.dtype) for t in outputs)


#: a number of a stage beyond it is a typing mistake
MOST = 1 << 24


class Stage(SpecFile):
    """A stage of an architecture file: `repeats` blocks of one kind. Each block file derives its own.

    Numbers are above 0; one whose default is 0 may be 0, which means none.
    """

    kind: ClassVar[str] = ""
    #: whether its blocks keep a cache from step to step
    decodes: ClassVar[bool] = False
    #: fields that a width multiplier scales
    width_fields: ClassVar[tuple[str, ...]] = ()

    name: str
    block: str
    repeats: int = 1
    scale_width: bool = True
    scale_depth: bool = True

    @property
    def period(self) -> int:
        """How far apart blocks of equal inputs behind the first are equal, unless one is the last."""
        return 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value == field.default:
                continue
            if not 0 < value <= MOST:
                zero = ", or 0 for none" if field.default == 0 else ""
                raise ValueError(f"{name} must be above 0 and at most {MOST:,}{zero}, got {value!r}")
        return self

    def at(self, step: Step) -> Self:
        """Return the stage as it is in a step of a decoder; only stages of decoders differ from step to step."""
        return self

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index` of the stage for these inputs."""
        raise RooflineError(f"stage kind {self.block!r} makes no blocks")


STAGES: dict[str, type[Stage]] = {}
S = TypeVar("S", bound=type[Stage])


def stage(kind: str) -> Callable[[S], S]:
    """Register a stage class under the name that architecture files use in ``block = "..."``."""

    def register(cls: S) -> S:
        found = filed(STAGES, (kind,), lambda name: f"block kind {name!r} is registered twice")(cls)
        found.kind = kind
        return found

    return register


def stage_class(kind: str) -> type[Stage]:
    """Return the stage class of a block kind.

    Raises
    ------
    UnknownNameError
        No such kind.
    """
    import roofline.arch.blocks  # noqa: F401  (fills the registry)

    find_plugins()
    return lookup(kind, STAGES, "block kind")
