"""Fragments: pieces of programs under names of their own, so that equal pieces are equal wherever they come from.

What passes decide by (kinds, topology, formats) is a fragment's *form*; all else are sizes. Fragments of one form are
lowered together, their sizes as columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from roofline.dtypes import DType
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Arrival, Tensor
from roofline.numeric import Numeric

#: fields of ops that are names of tensors
NAMES = frozenset({"inputs", "outputs", "into"})


@dataclass(frozen=True, kw_only=True)
class Held:
    """A tensor between two pieces: the format in which passes left it, and how it arrives at the second one."""

    dtype: DType
    arrival: Arrival


class Key(tuple[Any, ...]):
    """A tuple that knows its hash: those of fragments are long, and asked for often."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, kw_only=True, eq=False)
class Fragment:
    """A piece of a program: ops and tensors under canonical names, its inputs and outputs in order."""

    ops: Mapping[str, Op]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def form(self) -> Key:
        """What passes decide by."""
        ops = tuple(
            (type(op), _form(op), op.inputs, op.outputs, op.into, tuple(map(_kind, _sizes(op))))
            for op in self.ops.values()
        )
        tensors = tuple((t.id, len(t.shape), t.dtype.name, t.role, t.tied) for t in self.tensors.values())
        return Key((ops, tensors, self.inputs, self.outputs))

    @cached_property
    def sizes(self) -> tuple[Any, ...]:
        """Everything else."""
        return tuple(_sizes(op) for op in self.ops.values()), tuple(t.shape for t in self.tensors.values())

    @cached_property
    def key(self) -> Key:
        """Equal for equal fragments."""
        return Key((self.form, self.sizes))

    @property
    def computes(self) -> bool:
        """Whether anything in it runs: views alone do not."""
        return any(op.family != "free" for op in self.ops.values())

    def graph(self, held: Sequence[Held | None], name: str) -> OpGraph:
        """Return the fragment as a graph whose inputs arrive as is said; None: as inputs of a network."""
        tensors = dict(self.tensors)
        for t, one in zip(self.inputs, held, strict=True):
            if one is not None:
                tensors[t] = replace(tensors[t], dtype=one.dtype, arrival=one.arrival)
        return OpGraph(self.ops, tensors, self.outputs, name)


def fragment(
    ops: Mapping[str, Op], tensors: Mapping[str, Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> Fragment:
    """Return some ops as a fragment; `inputs` become inputs whatever they were, tensors that nobody uses are left."""
    names: dict[str, str] = {}
    for t in (*inputs, *(t for op in ops.values() for t in (*op.inputs, *op.into, *op.outputs)), *outputs):
        names.setdefault(t, f"t{len(names)}")
    entering = set(inputs)
    new: dict[str, Tensor] = {}
    for t, name in names.items():
        old = tensors[t]
        role = "input" if t in entering and old.role in ("activation", "input") else old.role
        new[name] = replace(old, id=name, role=role, arrival=None)
    renamed = {f"o{i}": _renamed(op, names) for i, op in enumerate(ops.values())}
    return Fragment(
        ops=renamed, tensors=new, inputs=tuple(names[t] for t in inputs), outputs=tuple(names[t] for t in outputs)
    )


def joined(first: Fragment, second: Fragment) -> tuple[dict[str, Op], dict[str, Tensor], str]:
    """Return the ops and tensors of two fragments that run one after the other, and what leaves the second.

    Names of the first begin with ``a``, those of the second with ``b``.
    """
    (out,), (entering,) = first.outputs, second.inputs
    names = {t: f"b{t}" for t in second.tensors} | {entering: f"a{out}"}
    ops = {f"a{i}": _renamed(op, {t: f"a{t}" for t in first.tensors}) for i, op in first.ops.items()}
    tensors = {f"a{t}": replace(x, id=f"a{t}") for t, x in first.tensors.items()}
    tensors |= {names[t]: replace(x, id=names[t]) for t, x in second.tensors.items() if t != entering}
    ops |= {f"b{i}": _renamed(op, names) for i, op in second.ops.items()}
    return ops, tensors, names[second.outputs[0]]


def stacked(fragments: Sequence[Fragment], held: Sequence[Sequence[Held | None]], name: str) -> OpGraph:
    """Return fragments of one form as one graph: sizes that differ are columns with a row for each fragment."""
    first = fragments[0]
    if len(fragments) == 1:
        return first.graph(held[0], name)
    op_sizes = zip(*(f.sizes[0] for f in fragments), strict=True)
    ops = {
        i: replace(op, **dict(zip(_size_names(type(op)), map(_column, zip(*rows, strict=True)), strict=True)))
        for (i, op), rows in zip(first.ops.items(), op_sizes, strict=True)
    }
    shapes = zip(*(f.sizes[1] for f in fragments), strict=True)
    tensors = {i: replace(t, shape=_column(rows)) for (i, t), rows in zip(first.tensors.items(), shapes, strict=True)}
    arriving: list[Held | None] = []
    for column in zip(*held, strict=True):
        one = column[0]
        if one is not None:
            distances = _column([h.arrival.distance_bytes for h in column if h is not None])
            one = replace(one, arrival=replace(one.arrival, distance_bytes=distances))
        arriving.append(one)
    return Fragment(ops=ops, tensors=tensors, inputs=first.inputs, outputs=first.outputs).graph(arriving, name)


def _column(rows: Iterable[Any]) -> Any:
    """Return a size of all rows: a number where all have the same, a column, or a tuple of these."""
    values = list(rows)
    if isinstance(values[0], tuple):
        return tuple(map(_column, zip(*values, strict=True)))
    return values[0] if all(v == values[0] for v in values) else np.array(values, dtype=np.float64)


@lru_cache(maxsize=256)
def _size_names(kind: type[Op]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.type == "Shape" or "Numeric" in str(f.type))


@lru_cache(maxsize=256)
def _form_names(kind: type[Op]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.name not in NAMES and f.name not in _size_names(kind))


def _sizes(op: Op) -> tuple[Any, ...]:
    return tuple(_plain(getattr(op, name)) for name in _size_names(type(op)))


def _form(op: Op) -> tuple[Any, ...]:
    return tuple(getattr(op, name) for name in _form_names(type(op)))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _kind(value: Numeric | tuple[Numeric, ...] | None) -> Any:
    """Return what a size is, its number apart."""
    return len(value) if isinstance(value, tuple) else value is None


def _renamed(op: Op, names: Mapping[str, str]) -> Op:
    inputs, outputs, into = (tuple(names[t] for t in part) for part in (op.inputs, op.outputs, op.into))
    return replace(op, inputs=inputs, outputs=outputs, into=into)
