"""Which ops of a network each of its kernels holds, by the names that they have in the op graph."""

from __future__ import annotations

from collections.abc import Collection

from roofline.arch.block import build_block, wanted
from roofline.arch.build import instances
from roofline.arch.spec import Arch
from roofline.engine.lowering import steps_of
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.passes.pipeline import program
from roofline.passes.policy import Policy


def members_of_arch(arch: Arch, batch: int, policy: Policy) -> list[tuple[str, tuple[str, ...]]]:
    """Return (kernel, its ops) of an architecture in execution order, as `lower_arch` fuses it.

    Passes call the ops that they add ``op/part`` or ``op.part``; see `origin`.
    """
    found = []
    for instance, (block, ports) in zip(instances(arch, batch), steps_of(arch, batch, policy), strict=True):
        b = GraphBuilder()
        graph = b.graph(list(build_block(block, ports, b)))
        kernels = members_of_graph(graph, policy, wanted(ports))
        found += [(f"{instance.name}/{name}", tuple(f"{instance.name}/{op}" for op in ops)) for name, ops in kernels]
    return found


def members_of_graph(
    graph: OpGraph, policy: Policy, computed: frozenset[str] = frozenset()
) -> list[tuple[str, tuple[str, ...]]]:
    """Return (kernel, its ops) of a graph in execution order, as `lower_graph` fuses it.

    Parameters
    ----------
    computed
        Inputs that another block of the network computes.
    """
    return [(kernel.name, kernel.ops) for kernel in program(graph, policy, computed).phases[0].kernels]


def origin(op: str, known: Collection[str]) -> str | None:
    """Return the op of the graph that an op of a kernel comes from; None where a pass made it of nothing.

    Examples
    --------
    >>> origin("s1.0/attn/attention/scores", {"s1.0/attn/attention", "s1"})
    's1.0/attn/attention'
    """
    cuts = [len(op), *(i for i in range(len(op) - 1, 0, -1) if op[i] in "/.")]
    return next((op[:cut] for cut in cuts if op[:cut] in known), None)
