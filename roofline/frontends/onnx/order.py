"""The order in which nodes run: each after what it reads, whatever order the file has them in."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from onnx import AttributeProto, GraphProto, NodeProto

from roofline.errors import GraphError

MAX_NESTING = 60


def execution_order(nodes: list[NodeProto], outer: Callable[[str], object]) -> tuple[list[NodeProto], set[str]]:
    """Return `nodes` in execution order, that of the file where dependencies leave a choice; and all names they read.

    Raises
    ------
    GraphError
        A node reads what nobody produces, two nodes write one name, or nodes read each other in a cycle.
    """
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and name in producer:
                raise GraphError(f"{name!r} is written by two nodes: {label(nodes[producer[name]])}, {label(node)}")
            producer[name] = index
    waits = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    read: set[str] = set()
    for index, node in enumerate(nodes):
        names = dict.fromkeys((*node.input, *captured(node)))
        read.update(names)
        for name in names:
            if name in producer and name:
                waits[index] += 1
                readers[producer[name]].append(index)
        for name in node.input:
            if name and name not in producer:
                try:
                    outer(name)
                except GraphError as error:
                    raise GraphError(f"{label(node)} {error}") from None
    ready = [index for index, count in enumerate(waits) if count == 0]
    heapq.heapify(ready)
    order: list[NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers[index]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = [label(node) for node, count in zip(nodes, waits, strict=True) if count]
        raise GraphError(f"the graph has a cycle through {', '.join(stuck[:3])}{', ...' if stuck[3:] else ''}")
    return order, read


def captured(node: NodeProto, depth: int = 0) -> Iterator[str]:
    """Yield the names that the graphs inside a node read; some of them are their own.

    Raises
    ------
    GraphError
        Graphs are nested too deep.
    """
    if depth > MAX_NESTING:
        raise GraphError(f"graphs are nested more than {MAX_NESTING} deep")
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _reads(attribute.g, depth + 1)
        for graph in attribute.graphs:
            yield from _reads(graph, depth + 1)


def _reads(graph: GraphProto, depth: int) -> Iterator[str]:
    own = {name for node in graph.node for name in node.output}
    own.update((*(i.name for i in graph.input), *(t.name for t in graph.initializer)))
    for node in graph.node:
        yield from (name for name in (*node.input, *captured(node, depth)) if name not in own)
    yield from (output.name for output in graph.output if output.name not in own)


def sources(graph: GraphProto, node: NodeProto) -> list[str]:
    """Return the names that a node depends on and that no node of the graph writes: inputs and stored tensors."""
    producer = {name: n for n in graph.node for name in n.output}
    waiting, found = [*node.input, *captured(node)], dict[str, None]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            if name in producer:
                waiting.extend((*producer[name].input, *captured(producer[name])))
    return [name for name in found if name not in producer]


def label(node: NodeProto, place: str | None = None) -> str:
    """Return what errors call a node: its operator and place (else its name), on one line whatever the file holds."""
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return f"{operator if operator.isprintable() else repr(operator)} {node.name if place is None else place!r}"
