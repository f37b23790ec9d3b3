"""Where a graph without blocks is cut to be computed again piece by piece."""

from __future__ import annotations

import math

from roofline.graph.opgraph import OpGraph


def checkpoints(graph: OpGraph, varying: frozenset[str]) -> frozenset[str]:
    """Return tensors to keep when everything else is computed again.

    Candidates are tensors through which all that varies must pass; of n about sqrt(n) are taken, evenly spread, which
    needs the least memory (Chen et al., arXiv 1604.06174). None where a network has no such tensor.
    """
    last: dict[str, int] = {}
    for i, op in enumerate(graph.ops.values()):
        for t in op.inputs:
            last[graph.root(t)] = i
    for t in graph.outputs:
        last[graph.root(t)] = len(graph)
    alive: set[str] = set()
    found: list[str] = []
    for i, op in enumerate(graph.ops.values()):
        alive |= {t for t in op.outputs if t in varying and graph.root(t) == t and last.get(t, i) > i}
        alive = {t for t in alive if last[t] > i}
        if len(alive) == 1 and (not found or found[-1] not in alive):
            found.extend(alive)
    count = math.isqrt(len(found))
    return frozenset(found[(i + 1) * len(found) // (count + 1)] for i in range(count))
