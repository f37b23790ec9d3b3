"""What a program keeps from run to run: key-value caches, running statistics, counters.

State is neither a weight (the program writes it) nor an activation (it outlives the run). Front ends enter it as a
buffer or an input; which of them it is, the graph says. Keys and values of attention are a cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from roofline.graph.batch import batch_of
from roofline.graph.caches import attended, copied_from
from roofline.graph.dag import Dag
from roofline.graph.indexing import Update
from roofline.graph.movement import Concat, Move
from roofline.graph.tensor import Role

G = TypeVar("G", bound=Dag)


def with_state(graph: G) -> G:
    """Return `graph` with the role ``state`` or ``cache`` for what its program keeps; itself where that is nothing.

    State is a buffer that an op writes into (`Op.into`), an input that one writes a part of, and a cache that is handed
    in and back: a buffer or an input that is read only to be extended or updated, where the program itself reads the
    result and returns it. Inputs stay inputs where the program's number of examples would change without them.

    State that attention reads as keys or values is a cache. So are keys and values that a program returns as they came
    (those of another sequence), and those that it makes and returns: a prompt's.

    Examples
    --------
    >>> from roofline.graph.builder import GraphBuilder
    >>> b = GraphBuilder("decode")
    >>> past, x = b.input("past", (8, 100, 64)), b.input("x", (8, 1, 64))
    >>> present = b.concat([past, x], axis=1)
    >>> with_state(b.graph([b.attention(x, present, present, heads=4), present])).tensors["past"].role
    'cache'
    """
    attention = attended(graph)
    returned = _returned(graph, attention)
    made = {t for t in returned if t in graph.producers}
    stated = {t.id for t in graph.tensors.values() if t.role == "state"}
    kept = stated | _written(graph) | _handed_back(graph, attention) | (returned - made)
    no_inputs = {t for t in kept if graph.tensors[t].role != "input"}
    for chosen in (kept | made, no_inputs | made):
        if not chosen:
            return graph
        roles: dict[str, Role] = {t: "cache" if t in attention else "state" for t in chosen}
        tensors = {name: replace(t, role=roles.get(name, t.role)) for name, t in graph.tensors.items()}
        found = type(graph)(graph.ops, tensors, graph.outputs, graph.name, examples=graph.stated_examples)
        if chosen == no_inputs | made or batch_of(found) == batch_of(graph):
            return found
    return graph


def _returned(graph: Dag, attention: frozenset[str]) -> set[str]:
    """Return the memories of keys and values that the program returns, but for those that grew out of older ones."""
    found = set()
    for tensor in map(graph.root, graph.outputs):
        if tensor in attention:
            memory = graph.memory(tensor)
            older = [t for t in copied_from(graph, tensor) if t not in graph.producers]
            if memory in graph.producers and older:
                continue
            if graph.tensors[memory].role in ("activation", "buffer", "input"):
                found.add(memory)
    return found


def _written(graph: Dag) -> set[str]:
    """Return the buffers that ops write into, and the inputs of which they write a part."""
    found = set()
    for op in graph.ops.values():
        if op.into:
            memory = graph.memory(op.outputs[0])
            role = graph.tensors[memory].role
            if role == "buffer" or (role == "input" and isinstance(op, Update)):
                found.add(memory)
    return found


def _handed_back(graph: Dag, attention: frozenset[str]) -> set[str]:
    """Return what enters and is returned longer, or updated, after the program has read it so."""
    found = set()
    for returned in dict.fromkeys(graph.outputs):
        waiting, seen = [graph.root(returned)], {graph.root(returned)}
        while waiting:
            producer = graph.producers.get(waiting.pop())
            op = None if producer is None else graph.op(producer)
            read = op is not None and (op.outputs[0] in attention or _is_read(graph, op.outputs[0]))
            if isinstance(op, Move) or (isinstance(op, (Concat, Update)) and read):
                sources = op.inputs if isinstance(op, Concat) else op.inputs[:1]
                for source in map(graph.root, sources):
                    enters = graph.tensors[source].role in ("input", "buffer")
                    if enters and not isinstance(op, Move) and graph.effective_readers(source) == (producer,):
                        found.add(source)
                    elif source not in seen:
                        seen.add(source)
                        waiting.append(source)
    return found


def _is_read(graph: Dag, tensor: str) -> bool:
    """Whether the program computes something of a tensor, beside copies of it."""
    return any(not isinstance(graph.op(reader), (Move, Concat, Update)) for reader in graph.effective_readers(tensor))
