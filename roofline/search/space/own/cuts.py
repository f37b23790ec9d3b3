"""Where a chain of blocks may be cut: behind what runs of a block in kernels without its follower, and proven.

A runtime that fuses the last sum of a transformer block with the norm of the next one runs both in a kernel of the next
one. So the cut is not where the modules end: what a runtime fuses across it moves behind it, until the kernels of the
two sides are those of the whole. A block of which nothing stays is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from roofline.errors import InputError
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Arrival, Tensor
from roofline.numeric import Numeric
from roofline.passes.fuse import fuse
from roofline.passes.layout import IMAGE_RANK
from roofline.passes.pipeline import rewrite
from roofline.passes.policy import Policy
from roofline.search.space.own.fragment import Fragment, Held, fragment, joined

#: ops of a chain that run behind a cut
Moved: TypeAlias = frozenset[str]
Kernels: TypeAlias = frozenset[frozenset[str]]


class FusedError(InputError):
    """A block runs in kernels of its follower alone."""


def moved(chain: Fragment, follower: Fragment, held: Sequence[Held | None], policy: Policy) -> Moved:
    """Return the ops of `chain` that kernels of its follower run.

    Raises
    ------
    FusedError
        There is no cut between the two.
    """
    ops, tensors, out = joined(chain, follower)
    inputs = [f"a{t}" for t in chain.inputs]
    kernels = _kernels(rewrite(_part(ops, tensors, inputs, [out]).graph(held, "whole"), policy), policy)
    sources = [{_source(op, ops) for op in kernel} for kernel in kernels]
    found = {i for kernel in sources if any(i.startswith("b") for i in kernel) for i in kernel if i.startswith("a")}
    graph = _part(ops, tensors, inputs, [out]).graph([None] * len(inputs), "whole")
    own = {i for i, op in ops.items() if i.startswith("a") and op.family != "free"}
    while True:
        _close(graph, found, own)
        if found >= own:
            raise FusedError("nothing of it runs before its follower")
        first, second = _split(graph, own - found, inputs, out)
        if _kernels_of(first, second, held, policy) == kernels:
            return frozenset(i.removeprefix("a") for i in found)
        found |= _writers(graph, found or {f"a{chain.outputs[0]}"}) & own


def cut(chain: Fragment, behind: Moved) -> tuple[Fragment, Fragment]:
    """Return what of a chain runs before its cut, and what runs behind: outputs of the former enter the latter."""
    graph = chain.graph([None] * len(chain.inputs), "chain")
    stays = {i for i, op in chain.ops.items() if op.family != "free" and i not in behind}
    first, second = (
        fragment(part.ops, part.tensors, part.inputs, part.outputs)
        for part in _split(graph, stays, chain.inputs, chain.outputs[0])
    )
    return first, second


def arrival(graph: OpGraph, tensor: str, policy: Policy, distance_bytes: Numeric) -> Held:
    """Return how an output of a rewritten graph arrives at what is behind it."""
    left = graph.tensors[tensor]
    layout = left.arrival.layout if left.arrival is not None else None
    if left.role == "input" and left.arrival is None and len(left.shape) >= IMAGE_RANK:
        layout = policy.layout
    return Held(dtype=left.dtype, arrival=Arrival(layout=layout, distance_bytes=distance_bytes))


def _part(
    ops: Mapping[str, Op], tensors: Mapping[str, Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> Fragment:
    """Return some ops as a fragment that keeps their names."""
    used = {t for op in ops.values() for t in (*op.inputs, *op.outputs, *op.into)} | {*inputs, *outputs}
    entering = set(inputs)
    kept = {i: replace(t, role="input") if i in entering else t for i, t in tensors.items() if i in used}
    return Fragment(ops=ops, tensors=kept, inputs=tuple(inputs), outputs=tuple(outputs))


def _split(graph: OpGraph, stays: set[str], inputs: Sequence[str], out: str) -> tuple[Fragment, Fragment]:
    """Return both sides of a cut: what stays, and all else; each with the views through which it reads."""
    later = {i for i, op in graph.ops.items() if op.family != "free" and i not in stays}
    second = _with_views(graph, later, [out])
    made = {t for op in second.values() for t in op.outputs}
    wanted = dict.fromkeys(t for t in (*(t for op in second.values() for t in op.inputs), out) if t not in made)
    crossing = [t for t in wanted if not graph.tensors[t].stored]
    first = _with_views(graph, stays, [])
    return _part(first, graph.tensors, inputs, crossing), _part(second, graph.tensors, crossing, [out])


def _with_views(graph: OpGraph, ops: set[str], outputs: Iterable[str]) -> dict[str, Op]:
    """Return ops, in order, with the views through which they read, and through which `outputs` are seen."""
    found = set(ops)
    waiting = [t for i in ops for t in graph.op(i).inputs] + list(outputs)
    while waiting:
        producer = graph.producers.get(waiting.pop())
        if producer is not None and producer not in found and graph.op(producer).family == "free":
            found.add(producer)
            waiting.extend(graph.op(producer).inputs)
    return {i: op for i, op in graph.ops.items() if i in found}


def _kernels_of(first: Fragment, second: Fragment, held: Sequence[Held | None], policy: Policy) -> Kernels:
    """Return the kernels of both sides, each rewritten and fused by itself."""
    before = rewrite(first.graph(held, "before"), policy)
    arriving = [arrival(before, t, policy, 0.0) for t in before.outputs]
    return _kernels(before, policy) | _kernels(rewrite(second.graph(arriving, "behind"), policy), policy)


def _kernels(graph: OpGraph, policy: Policy) -> Kernels:
    return frozenset(frozenset(group) for group in fuse(graph, policy))


def _close(graph: OpGraph, found: set[str], own: set[str]) -> None:
    """Add to `found` whatever of `own` reads what it writes."""
    waiting = list(found)
    while waiting:
        for t in graph.op(waiting.pop()).outputs:
            fresh = [i for i in graph.effective_readers(t) if i in own and i not in found]
            found.update(fresh)
            waiting.extend(fresh)


def _writers(graph: OpGraph, of: set[str]) -> set[str]:
    """Return the ops that write what ops read, or tensors, through views."""
    tensors = [t for i in of for t in (graph.op(i).inputs if i in graph.ops else (i,))]
    return {graph.producers[root] for t in tensors if (root := graph.root(t)) in graph.producers}


def _source(op: str, ops: Mapping[str, Op]) -> str:
    """Return the op from which a pass made another one: its name leads that of what is made of it."""
    while op and op not in ops:
        op = op[: max(op.rfind("."), op.rfind("/"), 0)]
    return op
