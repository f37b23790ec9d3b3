"""Products that share an operand become one: what is merged, what stays, and what never changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from families import asking

import roofline as rf
from roofline.graph.builder import GraphBuilder
from roofline.graph.movement import Part
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import MatMul
from roofline.graph.tensor import Tensor
from roofline.passes.merge import merge_products

MERGE = asking(merge_products=True)


def branches(*widths: int, bias: bool = False) -> OpGraph:
    """Five rows of 8 channels, projected by each of some weights; a norm reads each result."""
    b = GraphBuilder()
    x = b.input("x", (1, 5, 8))
    found = [b.layer_norm(b.linear(x, n, bias=bias, name=f"p{i}")) for i, n in enumerate(widths)]
    return b.graph(found)


def products(graph: OpGraph) -> list[str]:
    return [op_id for op_id, op in graph.ops.items() if isinstance(op, MatMul)]


@pytest.mark.parametrize("bias", [False, True])
def test_products_of_one_operand_become_one(bias: bool) -> None:
    graph = branches(16, 4, 4, bias=bias)
    merged = merge_products(graph, MERGE)
    assert products(merged) == ["p0+p1+p2"]
    assert merged.tensors["p0+p1+p2.weight"].shape == (8, 24)
    parts = [(op.start, op.size) for op in merged.ops.values() if isinstance(op, Part)]
    assert parts == [(0, 16), (16, 4), (20, 4)]
    assert merged.macs == graph.macs == 5 * 8 * 24
    assert merged.params == graph.params  # 8 x 24, biases, and two for each channel of the norms
    assert [merged.tensors[t].shape for t in merged.outputs] == [graph.tensors[t].shape for t in graph.outputs]
    merged.check_shapes()


def test_a_second_run_changes_nothing() -> None:
    once = merge_products(branches(16, 4), MERGE)
    assert merge_products(once, MERGE).ops == once.ops


def stays(b: GraphBuilder, *outputs: Tensor) -> None:
    graph = b.graph(list(outputs))
    assert products(merge_products(graph, MERGE)) == products(graph)


def test_products_of_other_operands_stay() -> None:
    b = GraphBuilder()
    x, y = b.input("x", (1, 5, 8)), b.input("y", (1, 5, 8))
    stays(b, b.relu(b.linear(x, 4)), b.relu(b.linear(y, 4)))


def test_weights_of_another_layer_stay() -> None:
    """An output layer that shares the embedding has nothing to lie beside."""
    b = GraphBuilder()
    x = b.input("x", (1, 5, 8))
    stays(b, b.relu(b.linear(x, 4)), b.relu(b.linear(x, 4, tied=True)))


def test_products_with_and_without_a_bias_stay_apart() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 5, 8))
    stays(b, b.relu(b.linear(x, 4)), b.relu(b.linear(x, 4, bias=False)))


def test_what_the_graph_returns_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 5, 8))
    stays(b, b.linear(x, 4), b.linear(x, 4))


def test_training_keeps_its_products() -> None:
    graph = branches(4, 4)
    assert merge_products(graph, replace(MERGE, mode="training")) is graph
    assert merge_products(graph, asking()) is graph


def test_a_decoder_runs_two_products_fewer_for_queries_and_one_for_its_gate() -> None:
    """... in each of its 32 layers; what is multiplied, stored and kept is the same."""
    base = rf.runtime("jax_serving", "tpu")
    asked: dict[str, Any] = {"device": "tpu-v6e", "phase": "decode", "context": 512, "batch": 4}
    apart, merged = (
        rf.simulate("llama-3.1-8b", runtime=replace(base, merge_products=on), **asked) for on in (False, True)
    )
    names = [set(report.kernels.kernel) for report in (apart, merged)]
    assert len(apart.kernels) - len(merged.kernels) in (3, 3 * 32)  # equal layers may stand in one row
    assert any(name.endswith("attention/q+k+v") for name in names[1] - names[0])
    assert any(name.endswith("mlp/gate+up") for name in names[1] - names[0])
    assert apart.macs == merged.macs
    assert np.isclose(apart.weight_bytes, merged.weight_bytes)
    assert merged.latency_s < apart.latency_s
