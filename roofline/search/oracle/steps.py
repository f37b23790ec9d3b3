"""The distinct blocks of a space: made once, shapes and formats carried on as columns, lowered template by template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.arch.block import Block, Port, Ports, build_block, stack, stack_ports, template_key, wanted
from roofline.arch.build import input_port
from roofline.arch.spec import Arch
from roofline.dtypes import DType
from roofline.engine.build import build_table
from roofline.engine.table import KernelTable
from roofline.errors import RooflineError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Conv
from roofline.numeric import Array, product
from roofline.passes.pipeline import program, rewrite
from roofline.passes.policy import Policy
from roofline.search.oracle.keys import key, shapes

Index = NDArray[np.int64]
#: rows lowered and costed together: bounds the memory of a build
MAX_ROWS = 4096
#: what structure alone counts
STRUCTURE = ("activations", "convs", "entropy")
#: marks what is no network
NONE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Blocks of one template: their rows among all blocks, their kernels, and what structure alone counts."""

    rows: Index
    table: KernelTable
    structure: dict[str, Array]


class Steps:
    """Distinct (block, inputs) pairs, numbered as they are met."""

    def __init__(self, policy: Policy, batch: int) -> None:
        self.policy, self.batch = policy, batch
        self.ports: list[Ports] = []
        self.blocks: list[tuple[Block, int]] = []
        self.out: list[int] = []
        self._port_ids: dict[Ports, int] = {}
        self._rows: dict[tuple[Block, int], int] = {}
        self._dtypes: dict[Any, tuple[DType, ...]] = {}

    def port_id(self, ports: Ports) -> int:
        """Return the number of what flows between two blocks."""
        if ports not in self._port_ids:
            self._port_ids[ports] = len(self.ports)
            self.ports.append(ports)
        return self._port_ids[ports]

    def input_id(self, arch: Arch) -> int:
        """Return the number of what enters a network."""
        return self.port_id((input_port(arch, self.batch),))

    def add(self, wanted: list[tuple[Block, int]]) -> Index:
        """Return the row of each block with its inputs; new ones are built to know what leaves them."""
        rows = np.empty(len(wanted), dtype=np.int64)
        fresh: dict[Any, list[int]] = {}
        for i, step in enumerate(wanted):
            row = self._rows.get(step)
            if row is None:
                row = self._rows[step] = len(self.blocks)
                self.blocks.append(step)
                self.out.append(NONE)
                fresh.setdefault(self._template_key(step), []).append(row)
            rows[i] = row
        for members in fresh.values():
            self._propagate(members)
        return rows

    def _template_key(self, step: tuple[Block, int]) -> Any:
        block, port = step
        return template_key(block, self.ports[port])

    def _propagate(self, rows: list[int]) -> None:
        """Find what leaves each of some blocks of one template; a block that does not fit its inputs keeps `NONE`."""
        try:
            graph = self._graph(rows)
        except RooflineError:
            if len(rows) > 1:
                for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                    self._propagate(half)
            return
        key = self._template_key(self.blocks[rows[0]])
        if key not in self._dtypes:
            done = rewrite(graph, self.policy)
            self._dtypes[key] = tuple(done.tensors[t].dtype for t in done.outputs)
        columns = []
        for name in graph.outputs:
            shape = graph.tensors[name].shape
            columns.append(np.stack([np.broadcast_to(d, len(rows)) for d in shape], axis=1).astype(np.int64).tolist())
        for i, row in enumerate(rows):
            shapes = [tuple(column[i]) for column in columns]
            made = tuple(Port(shape=s, dtype=d) for s, d in zip(shapes, self._dtypes[key], strict=True))
            self.out[row] = self.port_id(made)

    def _graph(self, rows: list[int]) -> OpGraph:
        blocks = [self.blocks[row][0] for row in rows]
        ports = [self.ports[self.blocks[row][1]] for row in rows]
        b = GraphBuilder(type(blocks[0]).__name__)
        return b.graph(list(build_block(stack(blocks), stack_ports(ports), b)))

    def told(self, row: int) -> dict[str, Any]:
        """Return what a table says of a block: key, kind, shapes."""
        block, port = self.blocks[row]
        entered, left = self.ports[port], self.ports[self.out[row]]
        told = {"key": key(block, entered, left), "kind": type(block).__name__}
        return told | {"input": shapes(entered), "output": shapes(left)}

    def lower(self) -> list[Group]:
        """Return the kernels of all blocks that fit their inputs."""
        templates: dict[Any, list[int]] = {}
        for row, step in enumerate(self.blocks):
            if self.out[row] != NONE:
                templates.setdefault(self._template_key(step), []).append(row)
        groups = []
        for rows in templates.values():
            for start in range(0, len(rows), MAX_ROWS):
                groups.append(self._group(rows[start : start + MAX_ROWS]))
        return groups

    def _group(self, rows: list[int]) -> Group:
        source = self._graph(rows)
        inputs = wanted(self.ports[self.blocks[rows[0]][1]])
        table = build_table(source, program(source, self.policy, inputs), len(rows))
        zeros = np.zeros(len(rows))
        structure = {name: zeros + value for name, value in structure_of(source, self.batch).items()}
        return Group(rows=np.array(rows, dtype=np.int64), table=table, structure=structure)


def structure_of(graph: OpGraph, batch: int) -> dict[str, Any]:
    """Return what structure alone counts, for one example.

    ``activations``: elements that convolutions write. ``convs``: convolutions of more than one position.
    ``entropy``: the sum over them of log(fan-in), DeepMAD's entropy (Shen et al., arXiv 2303.02165, eq. 7) without its
    factor for resolution and width of the last feature map.
    """
    counts: dict[str, Any] = dict.fromkeys(STRUCTURE, 0.0)
    for op in graph.ops.values():
        if isinstance(op, Conv):
            shape, weight = graph.tensors[op.outputs[0]].shape, graph.tensors[op.inputs[1]].shape
            positions = 1.0 * shape[1] * shape[2]
            large = np.minimum(positions - 1.0, 1.0)
            counts["activations"] = counts["activations"] + 1.0 * shape[0] * positions * shape[3] / batch
            counts["convs"] = counts["convs"] + large
            counts["entropy"] = counts["entropy"] + large * np.log(product(weight[:-1]))
    return counts
