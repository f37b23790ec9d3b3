"""Memory formats: set on convolutions, or passed from op to op with copies where they differ."""

from __future__ import annotations

import pytest
from families import whole

from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Conv, Norm
from roofline.passes.layout import check_layout, follow_layout, set_layout


def test_layout_is_set_on_convolutions() -> None:
    graph = set_layout(whole("resnet-18"), "nchw")
    assert {op.layout for op in graph.ops.values() if isinstance(op, Conv)} == {"nchw"}
    assert set_layout(graph, "nchw") is graph
    assert check_layout("NCHW") == "nchw"
    with pytest.raises(InputError, match="unknown layout 'nhcw'; nearest"):
        check_layout("nhcw")


def image_net() -> OpGraph:
    """Two convolutions around a group norm, an activation, a norm over the channels of what tokens it makes."""
    b = GraphBuilder()
    x = b.conv(b.input("x", (2, 8, 8, 4)), 16, kernel=3, name="first")
    x = b.relu(b.add_op("group", Norm, x, b.parameter("scale", 16), form="group"))
    x = b.conv(x, 16, kernel=1, name="second")
    return b.graph([b.layer_norm(b.reshape(x, (2, 64, 16)))])


def copies(graph: OpGraph) -> dict[str, str]:
    """Op that reads a copy in another memory format -> the copy's name."""
    moves = {op.outputs[0]: op_id for op_id, op in graph.ops.items() if getattr(op, "function", "") == "relayout"}
    return {op_id: moves[op.inputs[0]] for op_id, op in graph.ops.items() if op.inputs and op.inputs[0] in moves}


def test_memory_formats_pass_from_op_to_op() -> None:
    last = follow_layout(image_net(), "nhwc")
    assert copies(last) == {"group": "group.to_nchw", "second": "second.to_nhwc"}  # back for the stored weights' sake
    first = follow_layout(image_net(), "nchw")
    assert copies(first) == {"norm": "norm.to_nhwc"}  # tokens of a channels-first image lie channels first
    assert [op.layout for op in first.ops.values() if isinstance(op, Conv)] == ["nchw", "nchw"]
    for graph in (first, last):
        graph.check_shapes()
        assert graph.macs == image_net().macs


def test_computed_weights_leave_the_image_as_it_is() -> None:
    b = GraphBuilder()
    x = b.add_op("group", Norm, b.input("x", (2, 8, 8, 16)), form="group")
    weight = b.reshape(b.layer_norm(b.reshape(b.parameter("w", 1, 1, 16, 8), (16, 8))), (1, 1, 16, 8))
    graph = b.graph([b.add_op("conv", Conv, x, weight, kernel=(1, 1), stride=(1, 1))])
    followed = follow_layout(graph, "nhwc")
    assert followed.op("conv").layout == "nchw"
    assert copies(followed) == {"group": "group.to_nchw"}
