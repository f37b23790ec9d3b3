"""Which ops become one kernel: decided by op family and topology, never by size.

Every group has at most one *anchor* (a contraction, a reduction, a pool ...); point-wise ops join the group before
them (*epilogue*) or after them (*prologue*) where the runtime's policy names that group's family. Two groups merge only
if the kernels stay free of cycles. What turns integers back into floats, or weights into a wider format, waits for its
readers: a kernel that reads the narrow ones moves fewer bytes than one that is handed the wide ones.

Some compilers compute a convolution inside the kernel of the one that alone reads it (*nested*), so that what lies
between the two never reaches memory. There a map is also summed over its positions by the kernel that computes it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from roofline.graph.movement import Move
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Cast, Conv, Elementwise, Norm, Reduce
from roofline.numeric import Numeric, same
from roofline.passes.entry import ENTRY
from roofline.passes.policy import Policy
from roofline.passes.rotary import ROTARY

POINTWISE, MOVEMENT = "pointwise", "movement"
#: the function that makes floats of stored integers
WIDENING = "dequantize"


@dataclass(eq=False)
class _Group:
    family: str
    times: Numeric
    ops: list[tuple[int, str]]
    moves: bool = False
    before: set[_Group] = field(default_factory=set)
    after: set[_Group] = field(default_factory=set)

    @property
    def last(self) -> int:
        return self.ops[-1][0]

    @property
    def first(self) -> int:
        return self.ops[0][0]


class _Fuser:
    def __init__(self, graph: OpGraph, policy: Policy, written: frozenset[str]) -> None:
        self.graph, self.policy = graph, policy
        self.returned = written | graph.results
        self.group_of: dict[str, _Group] = {}
        self.inner: dict[str, str] = {}
        self.awaited: set[str] = set()

    def run(self) -> list[tuple[str, ...]]:
        if self.policy.nested_convolutions:
            self._pair()
        for position, (op_id, op) in enumerate(self.graph.ops.items()):
            if op.family != "free":
                self._place(position, op_id, op)
        return _ordered(dict.fromkeys(self.group_of.values()))

    def _place(self, position: int, op_id: str, op: Op) -> None:
        turns = isinstance(op, Elementwise) and op.function == ROTARY
        moves = (op.family == MOVEMENT or turns) and self.policy.fuse_movement
        family = POINTWISE if moves else op.family
        group = _Group(family=family, times=op.times, ops=[(position, op_id)], moves=moves)
        self.group_of[op_id] = group
        full, partial = self._producers(op)
        for producer in full | partial:
            group.before.add(producer)
            producer.after.add(group)
        if self._widens(group) and not self.returned & set(op.outputs):
            return
        if family == POINTWISE or self._sums_map(op):
            group = self._join_producer(group, op_id, full)
        for producer in full | partial if self.policy.epilogue else ():
            wanted = family in (POINTWISE, "reduction") or self._is_stored(producer)
            if producer is not group and self._widens(producer) and wanted and self._absorbs(group, producer):
                group = self._merge(producer, group)
        if group.family in self.policy.prologue:
            for producer in sorted(full | partial, key=lambda g: -g.last):
                if producer is not group and producer.family == POINTWISE and self._absorbs(group, producer):
                    group = self._merge(producer, group)
        for producer in sorted(group.before, key=lambda g: -g.last):
            nested = any(self.inner.get(i) == op_id for _, i in producer.ops)
            if nested and producer is not group and self._absorbs(group, producer):
                group = self._merge(producer, group)

    def _producers(self, op: Op) -> tuple[set[_Group], set[_Group]]:
        """Return the groups that compute the op's full operands, and those that compute broadcast ones only."""
        small = op.broadcast if isinstance(op, Elementwise) else (False,) * len(op.inputs)
        full: set[_Group] = set()
        partial: set[_Group] = set()
        for tensor, broadcast in zip(op.inputs, small, strict=True):
            producer = self.graph.producers.get(self.graph.root(tensor))
            if producer is not None:
                (partial if broadcast else full).add(self.group_of[producer])
        return full, partial - full

    def _join_producer(self, group: _Group, op_id: str, full: set[_Group]) -> _Group:
        reserved = "reduction" in self.policy.prologue and self._feeds_norm(op_id)
        reserved = reserved or not self._in_epilogue(self.graph.op(op_id))
        reserved = reserved or op_id in self.awaited
        for producer in sorted(full, key=lambda g: (self._widens(g), -g.last)):
            anchored = producer.family != POINTWISE
            absorbed = producer.family in self.policy.epilogue and not (anchored and (reserved or group.moves))
            if not absorbed and not self._ends_batch_norm(producer, group):
                continue
            if not same(producer.times, group.times):
                continue
            if not _path_besides_edge(producer, group):
                return self._merge(producer, group)
        return group

    def _ends_batch_norm(self, producer: _Group, group: _Group) -> bool:
        """Whether `group` is a function that the kernel of the batch norm before it applies to its results."""
        norm, op = self.graph.op(producer.ops[-1][1]), self.graph.op(group.ops[0][1])
        applies = isinstance(op, Elementwise) and op.function in self.policy.batch_norm_functions
        stored = isinstance(norm, BatchNorm) and self.graph.tensors[norm.inputs[3]].stored
        return applies and stored and self._only_reader(producer, group)

    def _widens(self, group: _Group) -> bool:
        """Whether a group does nothing but make floats of integers, or a wider format of a stored tensor."""
        ops = [self.graph.op(op_id) for _, op_id in group.ops]
        if all(isinstance(op, Elementwise) and op.function == WIDENING for op in ops):
            return True
        return self._is_stored(group) and all(isinstance(op, Cast) and self._is_wider(op) for op in ops)

    def _is_stored(self, group: _Group) -> bool:
        """Whether a group reads nothing but parameters and buffers: products convert these as they load them."""
        tensors = {t for _, op_id in group.ops for t in self.graph.op(op_id).inputs}
        return bool(tensors) and all(self.graph.tensors[self.graph.root(t)].stored for t in tensors)

    def _is_wider(self, op: Op) -> bool:
        """Whether the elements of the result are wider than those of the operand."""
        before, after = (self.graph.tensors[t].dtype.bits for t in (op.inputs[0], op.outputs[0]))
        return after > before

    def _in_epilogue(self, op: Op) -> bool:
        """Whether kernels of products can apply the op to their results."""
        functions = self.policy.epilogue_functions
        return functions is None or not isinstance(op, Elementwise) or op.function in functions

    def _feeds_norm(self, op_id: str) -> bool:
        """Whether a norm reads the op's result: the op then joins the norm's kernel, which needs whole rows anyway."""
        for tensor in self.graph.op(op_id).outputs:
            for reader in self.graph.effective_readers(tensor):
                op = self.graph.op(reader)
                passes_on = isinstance(op, Cast) or (self.policy.fuse_movement and op.family == MOVEMENT)
                if isinstance(op, Norm) or (passes_on and self._feeds_norm(reader)):
                    return True
        return False

    def _pair(self) -> None:
        """Find the convolutions that are computed inside the next one, and the point-wise ops that it takes with them.

        An activation lies between the two, and nobody else reads what does. Two are in one kernel at most, and the last
        of a chain takes the one before it. What reads an entering image, or what a depthwise convolution has computed,
        goes on through memory: so does a depthwise convolution's result, whose reader still takes the point-wise ops.
        """
        for op_id in reversed(self.graph.ops):
            op = self.graph.op(op_id)
            if not isinstance(op, Conv) or op.form == "grouped":
                continue
            source, between = self._chain(op_id)
            producer = self.graph.op(source) if source else None
            if not isinstance(producer, Conv) or not any(self._activates(i) for i in between):
                continue
            if producer.form == "depthwise":
                self.awaited.update(between)
            elif op_id not in self.inner and self._nests(source, producer):
                self.inner[source] = op_id
                self.awaited.update(between)

    def _chain(self, op_id: str) -> tuple[str, list[str]]:
        """Return what a chain of point-wise ops to an op begins with, and the chain; "" where others read it too."""
        between: list[str] = []
        while True:
            op = self.graph.op(op_id)
            whole = (
                [t for t, small in zip(op.inputs, op.broadcast, strict=True) if not small]
                if isinstance(op, Elementwise)
                else [op.inputs[0]]
            )
            source = self.graph.producers.get(self.graph.root(whole[0])) if len(whole) == 1 else None
            if source is None:
                return "", between
            written = self.graph.op(source).outputs
            readers = {reader for t in written for reader in self.graph.effective_readers(t)}
            if readers != {op_id} or self.returned & set(written):
                return "", between
            if self.graph.op(source).family != POINTWISE:
                return source, between
            between.append(source)
            op_id = source

    def _activates(self, op_id: str) -> bool:
        op = self.graph.op(op_id)
        return isinstance(op, Elementwise) and len(op.inputs) == 1

    def _nests(self, op_id: str, op: Conv) -> bool:
        """Whether a convolution may be computed inside another, for all that it reads."""
        source = self.graph.op(before) if (before := self._chain(op_id)[0]) else None
        entering = isinstance(source, Move) and source.function == ENTRY
        return op.form == "dense" and not entering and not (isinstance(source, Conv) and source.form == "depthwise")

    def _sums_map(self, op: Op) -> bool:
        """Whether the kernel that computes a map also sums it over its positions."""
        if not (self.policy.nested_convolutions and isinstance(op, Reduce)):
            return False
        rank = len(self.graph.tensors[op.inputs[0]].shape)
        return rank - 1 not in {axis % rank for axis in op.axes}

    def _absorbs(self, group: _Group, producer: _Group) -> bool:
        if not same(producer.times, group.times) or _path_besides_edge(producer, group):
            return False
        if group.family in (POINTWISE, "reduction"):
            return True
        return not producer.moves and self._only_reader(producer, group)

    def _only_reader(self, producer: _Group, group: _Group) -> bool:
        """Whether nobody but `group` reads what `producer` computes, now or later."""
        inside = {op_id for _, op_id in (*producer.ops, *group.ops)}
        written = {t for _, op_id in producer.ops for t in self.graph.op(op_id).outputs}
        readers = {reader for t in written for reader in self.graph.effective_readers(t)}
        return readers <= inside and not written & self.returned

    def _merge(self, early: _Group, late: _Group) -> _Group:
        """Put `early` and `late` into one group, anchored by whichever has an anchor."""
        early.family = late.family if early.family == POINTWISE else early.family
        early.moves = early.moves or late.moves
        early.ops = sorted(early.ops + late.ops)
        for _, op_id in late.ops:
            self.group_of[op_id] = early
        for other in late.before:
            other.after.discard(late)
            if other is not early:
                other.after.add(early)
                early.before.add(other)
        for other in late.after:
            other.before.discard(late)
            if other is not early:
                other.before.add(early)
                early.after.add(other)
        early.after.discard(late)
        early.before.discard(late)
        return early


def fuse(graph: OpGraph, policy: Policy, written: frozenset[str] = frozenset()) -> list[tuple[str, ...]]:
    """Return groups of op ids, in execution order; views are in no group.

    Groups of the families in `policy.epilogue` absorb the point-wise ops that follow them (those with an anchor only
    `policy.epilogue_functions`, all where it is None), batch norms the only reader of their results where it is one of
    `policy.batch_norm_functions`, those in `policy.prologue` the ones that precede them; with
    `policy.fuse_movement` copies in another order join point-wise groups, as index arithmetic.

    Parameters
    ----------
    written
        Tensors that must reach memory beside the graph's outputs.
    """
    if not (policy.epilogue or policy.prologue or policy.batch_norm_functions):
        return [(op_id,) for op_id, op in graph.ops.items() if op.family != "free"]
    return _Fuser(graph, policy, written).run()


def _path_besides_edge(early: _Group, late: _Group) -> bool:
    """Whether `late` depends on `early` also through a third group: merging the two would close a cycle."""
    stack = [g for g in late.before if g is not early]
    seen: set[_Group] = set()
    while stack:
        group = stack.pop()
        if group is early:
            return True
        if group not in seen and group.last > early.first:
            seen.add(group)
            stack.extend(group.before)
    return False


def _ordered(groups: Iterable[_Group]) -> list[tuple[str, ...]]:
    """Return the groups so that each comes after what it reads, by last op where there is a choice."""
    waiting = sorted(groups, key=lambda g: g.last)
    missing = {group: len(group.before) for group in waiting}
    done: list[_Group] = []
    ready = [(g.last, i, g) for i, g in enumerate(waiting) if not g.before]
    heapq.heapify(ready)
    index = {g: i for i, g in enumerate(waiting)}
    while ready:
        _, _, group = heapq.heappop(ready)
        done.append(group)
        for later in group.after:
            missing[later] -= 1
            if missing[later] == 0:
                heapq.heappush(ready, (later.last, index[later], later))
    return [tuple(op_id for _, op_id in group.ops) for group in done]
