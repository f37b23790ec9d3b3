"""From a network to its kernel table: every distinct block once, with the order in which the network runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from roofline.arch.block import Block, Ports, build_block, stack, stack_ports, template_key, wanted
from roofline.arch.build import instances
from roofline.arch.spec import Arch
from roofline.dtypes import DType
from roofline.engine.build import build_table
from roofline.engine.columns import Index
from roofline.engine.table import KernelTable, concat_tables
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.passes.pipeline import program, rewrite
from roofline.passes.policy import Policy


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A network as a kernel table.

    Attributes
    ----------
    table
        The distinct blocks.
    order
        Block of the table that runs at each step.
    names, stages
        Name and stage of each step; empty for a graph without blocks.
    sources
        Where the architecture is from: key and text.
    """

    name: str
    table: KernelTable
    order: Index
    names: tuple[str, ...]
    stages: tuple[str, ...]
    sources: tuple[tuple[str, str], ...] = ()


Step: TypeAlias = tuple[Block, Ports]


def steps_of(arch: Arch, batch: int, policy: Policy) -> list[Step]:
    """Return the blocks of an architecture in execution order, with the formats that the policy gives their inputs."""
    steps: list[Step] = []
    dtypes: tuple[DType, ...] | None = None
    for instance in instances(arch, batch):
        ports = instance.inputs
        if dtypes is not None:
            ports = tuple(replace(p, dtype=d) if p.dtype is not d else p for p, d in zip(ports, dtypes, strict=True))
        steps.append((instance.block, ports))
        dtypes = _out_dtypes(instance.block, ports, policy)
    return steps


@lru_cache(maxsize=256)
def lower_arch(arch: Arch, batch: int, policy: Policy) -> Lowered:
    """Return the kernel table of an architecture at a batch size, for a runtime's policy."""
    placed = instances(arch, batch)
    steps = steps_of(arch, batch, policy)
    table, row_of = lower_blocks(steps, policy)
    return Lowered(
        name=arch.name,
        table=table,
        order=np.array([row_of[step] for step in steps], dtype=np.int64),
        names=tuple(i.name for i in placed),
        stages=tuple(i.stage for i in placed),
        sources=arch.sources,
    )


def lower_blocks(steps: Sequence[Step], policy: Policy) -> tuple[KernelTable, dict[Step, int]]:
    """Return the table of the distinct blocks among `steps`, and the row of each.

    Blocks of one structure share a template: it is built, rewritten and fused once, with the blocks' sizes as columns.
    """
    templates: dict[Any, list[Step]] = {}
    for step in dict.fromkeys(steps):
        templates.setdefault(template_key(*step), []).append(step)
    tables: list[KernelTable] = []
    row_of: dict[Step, int] = {}
    for rows in templates.values():
        for step in rows:
            row_of[step] = len(row_of)
        source = _template([block for block, _ in rows], [ports for _, ports in rows])
        tables.append(build_table(source, program(source, policy, wanted(rows[0][1])), len(rows)))
    return concat_tables(tables), row_of


def _template(blocks: list[Block], ports: list[Ports]) -> OpGraph:
    b = GraphBuilder(type(blocks[0]).__name__)
    return b.graph(list(build_block(stack(blocks), stack_ports(ports), b)))


_DTYPES: dict[Any, tuple[DType, ...]] = {}


def _out_dtypes(block: Block, ports: Ports, policy: Policy) -> tuple[DType, ...]:
    """Return the formats in which a block leaves its outputs; they depend on structure alone."""
    key = (template_key(block, ports), policy)
    if key not in _DTYPES:
        b = GraphBuilder()
        graph = rewrite(b.graph(list(build_block(block, ports, b))), policy)
        _DTYPES[key] = tuple(graph.tensors[t].dtype for t in graph.outputs)
    return _DTYPES[key]


_GRAPHS: WeakKeyDictionary[OpGraph, dict[Policy, Lowered]] = WeakKeyDictionary()


def lower_graph(graph: OpGraph, policy: Policy) -> Lowered:
    """Return the kernel table of a graph from a front end: one template with one row."""
    known = _GRAPHS.setdefault(graph, {})
    if policy not in known:
        table = build_table(graph, program(graph, policy, in_segments=True), 1)
        known[policy] = Lowered(
            name=graph.name, table=table, order=np.zeros(1, dtype=np.int64), names=("",), stages=("",)
        )
    return known[policy]
