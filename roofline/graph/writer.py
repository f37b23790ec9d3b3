"""Writing a graph: what the builder of blocks, the front ends and the backward pass all do.

They name ops and tensors so that no two share a name, infer shapes as the graph grows, repeat the bodies of loops, and
leave out at the end what nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from roofline.dtypes import DTYPES, DType
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Part, Role, Shape, Tensor
from roofline.numeric import Numeric


class GraphWriter:
    """A graph as far as it is written.

    Attributes
    ----------
    ops, tensors
        What has been written, by name.
    place
        Where in the program what is written now stands: it leads the names.
    times
        How often what is written now runs: the trip count of the loops around it.
    """

    def __init__(self) -> None:
        self.ops: dict[str, Op] = {}
        self.tensors: dict[str, Tensor] = {}
        self.place = ""
        self.times: Numeric = 1
        self._names: dict[str, int] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of everything added inside with `name`."""
        outer, self.place = self.place, self.at(name)
        try:
            yield
        finally:
            self.place = outer

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """Let everything added inside run so often: the body of a loop."""
        outer, self.times = self.times, self.times * times
        try:
            yield
        finally:
            self.times = outer

    def at(self, name: str) -> str:
        """Return what `name` is called at the current place: ``place/name``."""
        return f"{self.place}/{name}" if self.place and name else self.place or name

    def unique(self, name: str) -> str:
        """Return a name that neither an op nor a tensor has: `name`, ``name_2`` ..."""
        n = self._names.get(name, 0) + 1
        found = name if n == 1 else f"{name}_{n}"
        while found in self._names or found in self.ops or found in self.tensors:
            n += 1
            found = f"{name}_{n}"
        self._names[name] = n
        self._names.setdefault(found, 1)
        return found

    def put(self, tensor: Tensor) -> Tensor:
        """Add a tensor under the name that it has."""
        self.tensors[tensor.id] = tensor
        return tensor

    def enter(
        self,
        name: str,
        shape: Shape,
        role: Role,
        dtype: DType = DTYPES["fp32"],
        *,
        tied: bool = False,
        part: Part = "",
    ) -> Tensor:
        """Add a tensor that no op writes and return it."""
        made = Tensor(id=self.unique(self.at(name)), shape=shape, dtype=dtype, role=role, tied=tied, part=part)
        return self.put(made)

    def add_op(self, name: str, make: type[Op], *inputs: Tensor, dtype: DType | None = None, **fields: Any) -> Tensor:
        """Add an op with one output, by default in the format of the first input, and return that output."""
        return self.write(name, make, inputs, (dtype or inputs[0].dtype,), **fields)[0]

    def write(
        self,
        name: str,
        make: type[Op],
        inputs: Sequence[Tensor],
        dtypes: Sequence[DType],
        *,
        shapes: Sequence[Shape] | None = None,
        times: Numeric | None = None,
        **fields: Any,
    ) -> tuple[Tensor, ...]:
        """Add an op with an output for each of `dtypes` and return the outputs; shapes are inferred unless stated."""
        op_id = self.unique(self.at(name))
        names = tuple(self.unique(f"{op_id}:{i}") for i in range(len(dtypes)))
        times = self.times if times is None else times
        op = make(inputs=tuple(t.id for t in inputs), outputs=names, times=times, **fields)
        if shapes is None:
            shapes = self.checked(op, op.infer(*(t.shape for t in inputs)))
        self.ops[op_id] = op
        made = zip(names, shapes, dtypes, strict=True)
        return tuple(self.put(Tensor(id=i, shape=shape, dtype=dtype)) for i, shape, dtype in made)

    def checked(self, op: Op, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Return the inferred shapes of an op that is about to be added; front ends refuse here what cannot be."""
        return shapes


def needed(ops: Mapping[str, Op], outputs: Iterable[str]) -> dict[str, Op]:
    """Return the ops that some of `outputs` depend on."""
    writer = {t: op_id for op_id, op in ops.items() for t in op.outputs}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        op_id = writer.get(waiting.pop())
        if op_id is not None and op_id not in found:
            found.add(op_id)
            waiting.extend(ops[op_id].inputs)
    return {op_id: op for op_id, op in ops.items() if op_id in found}


def assembled(
    ops: Mapping[str, Op], tensors: Mapping[str, Tensor], outputs: tuple[str, ...], name: str, *, inputs: bool = True
) -> OpGraph:
    """Return the graph of some ops, without tensors that nobody uses; `inputs` says whether those that enter stay."""
    used = {t for op in ops.values() for t in (*op.inputs, *op.outputs, *op.into)} | set(outputs)
    kept = {t: tensor for t, tensor in tensors.items() if t in used or (inputs and tensor.role == "input")}
    return OpGraph(ops, kept, outputs, name)
