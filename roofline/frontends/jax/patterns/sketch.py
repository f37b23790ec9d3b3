"""A graph that is still being rewritten: who writes a tensor, who reads it, seen through views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from roofline.graph.movement import Expand, Reshape
from roofline.graph.op import Op
from roofline.graph.ops import Elementwise
from roofline.graph.tensor import Shape, Tensor
from roofline.graph.writer import needed


class Sketch:
    """Ops and tensors that passes replace in place; ops keep their position."""

    def __init__(self, ops: dict[str, Op], tensors: dict[str, Tensor], outputs: Iterable[str]) -> None:
        self.ops = ops
        self.tensors = tensors
        self.outputs = list(outputs)
        self.writer: dict[str, str] = {}
        self.readers: dict[str, set[str]] = {}
        self.prune()

    def prune(self) -> None:
        """Drop the ops that nothing returned depends on, and look again at who reads what."""
        self.ops = needed(self.ops, self.outputs)
        self.writer = {t: op_id for op_id, op in self.ops.items() for t in op.outputs}
        self.readers = {}
        for op_id, op in self.ops.items():
            for t in op.inputs:
                self.readers.setdefault(t, set()).add(op_id)

    def put(self, op_id: str, op: Op) -> None:
        """Add an op, or put it in the place of another."""
        old = self.ops.get(op_id)
        for t in old.inputs if old else ():
            self.readers.get(t, set()).discard(op_id)
        self.ops[op_id] = op
        for t in op.inputs:
            self.readers.setdefault(t, set()).add(op_id)
        for t in op.outputs:
            self.writer[t] = op_id

    def rename(self, old: str, new: str) -> None:
        """Let everybody who reads one tensor read another."""
        for reader in list(self.readers.get(old, ())):
            op = self.ops[reader]
            self.put(reader, replace(op, inputs=tuple(new if t == old else t for t in op.inputs)))
        self.outputs = [new if t == old else t for t in self.outputs]

    def producer(self, tensor: str) -> Op | None:
        """Return the op that writes a tensor."""
        op_id = self.writer.get(tensor)
        return self.ops[op_id] if op_id is not None else None

    def source(self, tensor: str) -> str:
        """Return the tensor whose elements a chain of reshapes and repetitions shows."""
        op = self.producer(tensor)
        while isinstance(op, (Reshape, Expand)):
            tensor = op.inputs[0]
            op = self.producer(tensor)
        return tensor

    def users(self, tensor: str) -> set[str]:
        """Return the ops that read a tensor's elements, through views too; ``""`` stands for the program's results."""
        found: set[str] = {""} if tensor in self.outputs else set()
        for reader in self.readers.get(tensor, ()):
            op = self.ops[reader]
            if op.family == "free":
                for view in op.outputs:
                    found |= self.users(view)
            else:
                found.add(reader)
        return found

    def only_user(self, tensor: str) -> bool:
        """Whether a single op reads a tensor's elements."""
        return len(self.users(tensor)) == 1

    def function(self, tensor: str, *names: str) -> Elementwise | None:
        """Return the element-wise op that writes a tensor (or the tensor it views), if it is one of `names`."""
        op = self.producer(self.source(tensor))
        return op if isinstance(op, Elementwise) and op.function in names else None

    def view(self, tensor: str, shape: Shape, name: str, times: object) -> str:
        """Return a tensor seen in another shape."""
        if self.tensors[tensor].shape == shape:
            return tensor
        op_id, n = name, 1
        while op_id in self.ops:
            op_id, n = f"{name}_{n}", n + 1
        made = replace(self.tensors[tensor], id=f"{op_id}:0", shape=shape, role="activation", tied=False)
        self.tensors[made.id] = made
        self.put(op_id, Reshape(inputs=(tensor,), outputs=(made.id,), shape=shape, times=times))  # type: ignore[arg-type]
        return made.id
