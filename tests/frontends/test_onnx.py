"""ONNX operators, one or a few at a time: shapes, multiply-adds, bytes and loops counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import functions
from pages import blocks
from places import ROOT

import roofline as rf
from roofline.graph.opgraph import OpGraph
from roofline.work import count

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from onnx_files import ints, model, node, scalar, weight, write  # noqa: E402

from roofline.frontends.onnx.registry import RULES  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
Load = Callable[..., OpGraph]
MS = "com.microsoft"
INT8, INT64 = TensorProto.INT8, TensorProto.INT64


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def make(*args: Any, dims: dict[str, int] | None = None, recognise: bool = True, **options: Any) -> OpGraph:
        graph = rf.from_onnx(write(model(*args, **options), tmp_path), dims=dims, recognise=recognise)
        graph.check_shapes()
        count(graph)
        return graph

    return make


def shape_of(graph: OpGraph) -> tuple[Any, ...]:
    return graph.tensors[graph.outputs[0]].shape


#: published sizes of the networks: multiply-adds in millions (torchvision's flop counts; SqueezeNet 1.0), parameters
PUBLISHED = {
    "bvlc_alexnet": (655, 60_965_224), "densenet121": (2834, 7_978_856), "inception_v1": (1431, 6_998_552),
    "inception_v2": (2019, 11_196_584), "resnet50": (4089, 25_557_032), "shufflenet": (125, 1_393_320),
    "squeezenet": (349, 1_235_496), "vgg19": (19_632, 143_667_240), "zfnet512": (1482, 87_250_536),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_networks_of_the_onnx_package(name: str) -> None:
    graph = rf.from_onnx(LIGHT / f"light_{name}.onnx")
    graph.check_shapes()
    macs, params = PUBLISHED[name]
    assert graph.macs / 1e6 == pytest.approx(macs, rel=4e-3)
    assert graph.params == pytest.approx(params, rel=1e-3)
    assert rf.simulate(graph, "v100", runtime="tensorrt").latency_s > 0


@pytest.mark.parametrize(
    ("nodes", "inputs", "stored", "shape", "macs"),
    [
        ([node("Conv", "x w b", pads=[1, 1, 1, 1], strides=[2, 2])], {"x": (2, 3, 8, 6)},
         [weight("w", 5, 3, 3, 3), weight("b", 5)], (2, 4, 3, 5), 2 * (4 * 3) * 5 * (3 * 9)),
        ([node("Conv", "x w", dilations=[2], pads=[0, 1])], {"x": (1, 4, 10)}, [weight("w", 8, 2, 3)], (1, 7, 8),
         None),  # two groups are stated nowhere: refused below
        ([node("Conv", "x w", group=4, auto_pad="SAME_UPPER", strides=[2, 2])], {"x": (1, 4, 7, 7)},
         [weight("w", 4, 1, 3, 3)], (1, 4, 4, 4), 16 * 4 * 9),
        ([node("Conv", "x w", dilations=[2], pads=[0, 1])], {"x": (1, 4, 10)}, [weight("w", 8, 4, 3)], (1, 7, 8),
         7 * 8 * 4 * 3),
        ([node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 1, 1])], {"x": (1, 4, 5, 5)},
         [weight("w", 4, 6, 4, 4)], (1, 10, 10, 6), 25 * 4 * 6 * 16),
        ([node("Gemm", "x w b", transB=1)], {"x": (3, 4)}, [weight("w", 5, 4), weight("b", 5)], (3, 5), 3 * 4 * 5),
        ([node("Gemm", "x w", transA=1)], {"x": (4, 3)}, [weight("w", 4, 5)], (3, 5), 3 * 4 * 5),
        ([node("MatMul", "x w")], {"x": (2, 3, 4)}, [weight("w", 4, 5)], (2, 3, 5), 2 * 3 * 4 * 5),
        ([node("MatMul", "x z")], {"x": (2, 1, 3, 4), "z": (7, 4, 5)}, [], (2, 7, 3, 5), 14 * 3 * 4 * 5),
        ([node("MatMul", "x z")], {"x": (4,), "z": (7, 4, 5)}, [], (7, 5), 7 * 4 * 5),
        ([node("Einsum", "x z", equation="bthd,bshd->bhts")], {"x": (2, 3, 4, 5), "z": (2, 6, 4, 5)}, [],
         (2, 4, 3, 6), 2 * 4 * 3 * 6 * 5),
        ([node("Einsum", "x z", equation="...ij,jk->...ik")], {"x": (2, 3, 4), "z": (4, 5)}, [], (2, 3, 5),
         2 * 3 * 4 * 5),
        ([node("Einsum", "x z", equation="i,j->ij")], {"x": (3,), "z": (4,)}, [], (3, 4), 0),
        ([node("Einsum", "x", equation="ij->j")], {"x": (3, 4)}, [], (4,), 0),
        ([node("Transpose", "x", perm=[2, 0, 1])], {"x": (2, 3, 4)}, [], (4, 2, 3), 0),
        ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {"x": (1, 2, 8, 8)}, [],
         (1, 4, 4, 2), 0),
        ([node("Slice", "x s e a t")], {"x": (2, 10)}, [ints("s", 9), ints("e", -(2**62)), ints("a", 1), ints("t", -3)],
         (2, 4), 0),
        ([node("Split", "x", "y z", axis=1, num_outputs=2)], {"x": (2, 5)}, [], (2, 3), 0),
        ([node("Resize", "x _ s", mode="linear")], {"x": (1, 2, 4, 4)}, [scalar("s", [1, 1, 2, 2.5])],
         (1, 8, 10, 2), 0),
        ([node("Pad", "x p")], {"x": (2, 3)}, [ints("p", 0, 1, 0, 2)], (2, 6), 0),
        ([node("DepthToSpace", "x", blocksize=2)], {"x": (1, 8, 2, 3)}, [], (1, 4, 6, 2), 0),
        ([node("Tile", "x r")], {"x": (2, 3)}, [ints("r", 2, 3)], (4, 9), 0),
        ([node("TopK", "x k", "y z")], {"x": (2, 9)}, [ints("k", 4)], (2, 4), 0),
        ([node("GatherND", "x i")], {"x": (2, 3, 4)}, [ints("i", 0, 1)], (4,), 0),
        ([node("OneHot", "i d v")], {"i": (2, 3)}, [ints("d", 7), scalar("v", [0.0, 1.0])], (2, 3, 7), 0),
        ([node("ReduceMean", "x a", keepdims=0)], {"x": (2, 3, 4)}, [ints("a", 1)], (2, 4), 0),
        ([node("SequenceConstruct", "x x", "s"), node("ConcatFromSequence", "s", axis=0, new_axis=1)],
         {"x": (2, 3)}, [], (2, 2, 3), 0),
    ],
)  # fmt: skip
def test_operators(nodes: Any, inputs: Any, stored: Any, shape: tuple[int, ...], macs: int | None, load: Load) -> None:
    if macs is None:
        with pytest.raises(rf.RooflineError, match="input channels"):
            load(nodes, inputs, stored)
        return
    graph = load(nodes, inputs, stored)
    assert shape_of(graph) == shape
    assert graph.macs == macs


def test_shape_arithmetic_is_done_at_load(load: Load) -> None:
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s first", "n"), node("Unsqueeze", "n zero", "n1"),
        node("Mul", "n1 two", "m"), node("Div", "m two", "h"), node("Concat", "h rest", "t", axis=0),
        node("Cast", "t", "t2", to=INT64), node("Reshape", "x t2"),
    ]  # fmt: skip
    graph = load(
        nodes,
        {"x": ("N", 3, 4)},
        [scalar("first", 0, np.int64), ints("zero", 0), ints("two", 2), ints("rest", -1)],
        dims={"N": 8},
    )
    assert shape_of(graph) == (8, 12)
    assert functions(graph) == []


@pytest.mark.parametrize("opset", [9, 21])
def test_swish_is_one_op_and_batch_norm_has_two_parameters(opset: int, load: Load) -> None:
    nodes = [
        node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "n"), node("Sigmoid", "n", "g"),
        node("Mul", "n g", "y"),
    ]  # fmt: skip
    stored = [weight("w", 8, 3, 1, 1), *(weight(n, 8) for n in "sbmv")]
    graph = load(nodes, {"x": (1, 3, 4, 4)}, stored, opset=opset)
    assert functions(graph) == ["conv", "batch_norm", "swish"]
    assert graph.params == 8 * 3 + 16
    assert functions(load(nodes, {"x": (1, 3, 4, 4)}, stored, recognise=False)) == [
        "conv",
        "batch_norm",
        "sigmoid",
        "mul",
    ]


def attention_nodes(mask: bool) -> list[Any]:
    scores = [node("Mul", "qk scale", "sc"), *([node("Add", "sc mask", "sm")] if mask else [])]
    return [
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "qk"), *scores,
        node("Softmax", "sm" if mask else "sc", "p", axis=-1), node("MatMul", "p v", "o"),
        node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot flat"),
    ]  # fmt: skip


@pytest.mark.parametrize("mask", [False, True])
def test_attention_in_pieces_becomes_one_op(mask: bool, load: Load) -> None:
    inputs: dict[str, Any] = dict.fromkeys("qkv", (2, 4, 6, 8)) | ({"mask": (6, 6)} if mask else {})
    stored = [scalar("scale", 0.35), ints("flat", 0, 0, -1)]
    graph = load(attention_nodes(mask), inputs, stored)
    assert functions(graph) == ["attention"]
    assert shape_of(graph) == (2, 6, 32)
    assert graph.macs == 2 * (2 * 4) * 6 * 6 * 8  # scores and context of each head of each image
    apart = load(attention_nodes(mask), inputs, stored, recognise=False)
    assert apart.macs == graph.macs
    assert functions(apart) == ["matmul", "scale", *(["add"] if mask else []), "softmax", "matmul", "transpose"]


def test_fused_attention_of_onnx_runtime(load: Load) -> None:
    nodes = [node("Attention", "x w b", domain=MS, num_heads=4)]
    graph = load(nodes, {"x": (2, 6, 16)}, [weight("w", 16, 48), weight("b", 48)], domains=[MS])
    assert graph.macs == 2 * 6 * 16 * 48 + 2 * (2 * 4) * 6 * 6 * 4
    nodes = [node("Attention", "q k v", q_num_heads=4, kv_num_heads=2, is_causal=1)]
    graph = load(nodes, {"q": (2, 6, 16), "k": (2, 9, 8), "v": (2, 9, 8)}, opset=23)
    assert graph.macs == 2 * (2 * 4) * 6 * 9 * 4


def test_a_channel_shuffle_is_one_copy_and_a_patch_embedding_none(load: Load) -> None:
    shuffle = [
        node("MaxPool", "x", "p", kernel_shape=[1, 1]), node("Reshape", "p s", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]), node("Reshape", "b t", "c"), node("Relu", "c"),
    ]  # fmt: skip
    graph = load(shuffle, {"x": (1, 8, 4, 4)}, [ints("s", 1, 2, 4, 4, 4), ints("t", 1, 8, 4, 4)])
    assert functions(graph) == ["max", "transpose", "relu"]
    patches = [
        node("Conv", "x w", "c", strides=[4, 4]), node("Reshape", "c s", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1]), node("Relu", "t"),
    ]  # fmt: skip
    graph = load(patches, {"x": (1, 3, 16, 16)}, [weight("w", 8, 3, 4, 4), ints("s", 1, 8, 16)])
    assert functions(graph) == ["conv", "relu"]


def qdq(inputs: str, out: str) -> list[Any]:
    return [node("QuantizeLinear", f"{inputs} s z", f"{out}_q"), node("DequantizeLinear", f"{out}_q s z", out)]


@pytest.mark.parametrize("float_weights", [False, True])
def test_products_between_quantize_and_dequantize_run_in_integers(float_weights: bool, load: Load) -> None:
    stored = [scalar("s", 0.1), scalar("z", 0, np.int8), weight("w", 8, 3, 3, 3, kind=1 if float_weights else INT8)]
    weights = qdq("w", "wd") if float_weights else [node("DequantizeLinear", "w s z", "wd")]
    nodes = [*qdq("x", "xd"), *weights, node("Conv", "xd wd", "c"), node("Relu", "c", "r"), *qdq("r", "y")]
    graph = load(nodes, {"x": (1, 3, 8, 8)}, stored)
    assert functions(graph) == ["quantize", "conv", "relu", "quantize", "dequantize"]
    conv = next(op for op in graph.ops.values() if op.kind == "conv")
    assert [graph.tensors[t].dtype.name for t in conv.inputs] == ["int8", "int8"]
    assert graph.params == 8 * 27
    report = rf.simulate(graph, "a100-40gb", runtime="tensorrt")
    assert report.weight_bytes == 8 * 27


def test_quantized_residuals_are_read_as_integers(load: Load) -> None:
    """One kernel for each convolution, its sum included: a byte for every element that crosses between two of them."""
    side, channels = 8, 16
    elements = side * side * channels
    stored = [scalar("s", 0.1), scalar("z", 0, np.int8)]
    nodes = qdq("x", "d0")
    for i in range(3):
        stored.append(weight(f"w{i}", channels, channels, 1, 1, kind=INT8))
        nodes += [node("DequantizeLinear", f"w{i} s z", f"wd{i}"), node("Conv", f"d{i} wd{i}", f"c{i}")]
        nodes += [node("Add", f"c{i} d{i}", f"a{i}"), node("Relu", f"a{i}", f"r{i}"), *qdq(f"r{i}", f"d{i + 1}")]
    nodes += [node("Relu", "d3", "y")]
    graph = load(nodes, {"x": (1, channels, side, side)}, stored)
    kernels = rf.simulate(graph, "a100-40gb", runtime="tensorrt", dtype="fp16").kernels
    block = "conv + dequantize + add + relu + quantize"
    assert list(kernels.ops) == ["quantize", block, block, block, "dequantize + relu"]
    inside = elements + elements + channels * channels  # the input, which is also the residual, the output, the weights
    assert list(kernels.traffic_bytes[1:4]) == [inside] * 3


def test_the_bias_of_an_integer_product_is_a_parameter(load: Load) -> None:
    """A bias of 32-bit integers counts as the float bias of the network that was quantized does."""
    bias = [node("DequantizeLinear", "b s zero", "c")]
    stored = [scalar("s", 0.1), scalar("z", 0, np.int8), scalar("zero", 0, np.int32),
              weight("b", 4, kind=TensorProto.INT32)]  # fmt: skip
    image, kernel = {"x": (1, 3, 8, 8)}, weight("w", 4, 3, 3, 3, kind=INT8)
    weights = [node("DequantizeLinear", "w s z", "v")]
    graph = load([*qdq("x", "q"), *weights, *bias, node("Conv", "q v c")], image, [*stored, kernel])
    assert graph.params == 4 * 27 + 4
    assert [t.dtype.name for t in graph.tensors.values() if t.role == "parameter"] == ["int8", "int32"]
    matrix = weight("w", 8, 4, kind=INT8)
    graph = load([*qdq("x", "q"), *weights, *bias, node("Gemm", "q v c")], {"x": (2, 8)}, [*stored, matrix])
    assert graph.params == 8 * 4 + 4
    assert [op.kind for op in graph.ops.values()][-1] == "matmul"  # which adds the bias itself


@pytest.mark.parametrize(("bits", "narrow"), [(4, "int4"), (3, "int4"), (8, "int8"), (12, "int32")])
def test_fake_quantization_in_one_node(bits: int, narrow: str, load: Load) -> None:
    domain = "qonnx.custom_op.general"
    nodes = [node("Quant", f"{name} s z b", f"{name}q", domain=domain) for name in "xw"]
    stored = [scalar("s", 0.1), scalar("z", 0.0), scalar("b", float(bits)), weight("w", 4, 3, 3, 3)]
    graph = load([*nodes, node("Conv", "xq wq")], {"x": (1, 3, 8, 8)}, stored, domains=[domain])
    conv = next(op for op in graph.ops.values() if op.kind == "conv")
    assert graph.macs == 36 * 4 * 27 and graph.params == 4 * 27
    assert [graph.tensors[t].dtype.name for t in conv.inputs] == [narrow, narrow]


def test_results_beside_the_first_are_written_where_somebody_reads_them(load: Load) -> None:
    nodes = [node("LayerNormalization", "x s", "n mean inverse", axis=1)]
    for outputs, written in (("n", 1), ("n mean inverse", 3)):
        graph = load(nodes, {"x": (2, 3, 4)}, [weight("s", 3, 4)], outputs)
        assert [len(op.outputs) for op in graph.ops.values() if op.family != "free"] == [written]
    assert [graph.tensors[t].shape for t in graph.outputs] == [(2, 3, 4), (2, 1, 1), (2, 1, 1)]
    heads = {"q": (1, 4, 4, 8), "k": (1, 2, 6, 8), "v": (1, 2, 6, 10)}
    nodes = [node("Attention", "q k v m", "y _ _ scores", qk_matmul_output_mode=3)]
    fused, apart = (load(nodes, {**heads, "m": (4, 6)}, outputs=o, opset=23) for o in ("y", "y scores"))
    assert fused.macs == apart.macs == 4 * 4 * 6 * (8 + 10)
    kinds = [[op.kind for op in graph.ops.values()] for graph in (fused, apart)]
    assert (kinds[0].count("attention"), kinds[1].count("matmul"), kinds[1].count("softmax")) == (1, 2, 1)
    assert [apart.tensors[t].shape for t in apart.outputs] == [(1, 4, 4, 10), (1, 4, 4, 6)]


def test_integer_operators(load: Load) -> None:
    u8 = {"x": TensorProto.UINT8}
    linear = [node("QLinearConv", "x s z w s z s z")]
    stored = [scalar("s", 0.1), scalar("z", 0, np.uint8), weight("w", 8, 3, 1, 1, kind=INT8)]
    graph = load(linear, {"x": (1, 3, 8, 8)}, stored, kinds=u8)
    assert graph.macs == 64 * 3 * 8
    assert {t.dtype.name for t in graph.tensors.values()} == {"int8"}
    dynamic = [node("DynamicQuantizeLinear", "x", "q s z"), node("MatMulInteger", "q w z")]
    graph = load(dynamic, {"x": (4, 16)}, [weight("w", 16, 8, kind=INT8)])
    assert graph.tensors[graph.outputs[0]].dtype.name == "int32"
    assert graph.macs == 4 * 16 * 8


def body(nodes: Sequence[Any], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    def info(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    return helper.make_graph(list(nodes), "body", [info(n) for n in inputs], [info(n) for n in outputs])


def test_a_loop_runs_its_body_as_often_as_it_turns(load: Load) -> None:
    inner = body([node("MatMul", "h w", "h2"), node("Identity", "c", "c2")], ["i", "c", "h"], ["c2", "h2", "h2"])
    graph = load([node("Loop", "n _ x", "last y", body=inner)], {"x": (2, 4)}, [ints("n", 10), weight("w", 4, 4)])
    assert graph.macs == 10 * 2 * 4 * 4
    assert shape_of(graph) == (10, 2, 4)
    assert graph.params == 16


def test_a_scan_and_a_known_condition(load: Load) -> None:
    inner = body([node("Add", "s e", "s2"), node("MatMul", "s2 w", "o")], ["s", "e"], ["s2", "o"])
    graph = load([node("Scan", "z x", "last y", body=inner, num_scan_inputs=1)], {"z": (2, 4), "x": (7, 2, 4)},
                 [weight("w", 4, 3)])  # fmt: skip
    assert graph.macs == 7 * 2 * 4 * 3
    assert shape_of(graph) == (7, 2, 3)
    yes, no = body([node("Relu", "x", "a")], [], ["a"]), body([node("MatMul", "x x", "a")], [], ["a"])
    graph = load([node("If", "c", then_branch=yes, else_branch=no)], {"x": (4, 4)}, [scalar("c", True, np.bool_)])
    assert functions(graph) == ["relu"]


@pytest.mark.parametrize(("cell", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_cells(cell: str, gates: int, load: Load) -> None:
    stored = [weight("w", 1, gates * 8, 6), weight("r", 1, gates * 8, 8), weight("b", 1, 2 * gates * 8)]
    graph = load([node(cell, "x w r b", hidden_size=8)], {"x": (5, 2, 6)}, stored)
    assert graph.macs == 5 * 2 * gates * 8 * (6 + 8)  # every step: inputs and state to all gates
    assert shape_of(graph) == (5, 1, 2, 8)
    assert graph.params == gates * 8 * (6 + 8 + 2)


def test_a_function_of_the_file_is_lowered_in_its_place(tmp_path: Path) -> None:
    made = model([node("Twice", "x", domain="my")], {"x": (2, 3)}, domains=["my"])
    made.functions.append(
        helper.make_function("my", "Twice", ["a"], ["b"], [node("Relu", "a", "t"), node("Relu", "t", "b")],
                             [helper.make_opsetid("", 21)])
    )  # fmt: skip
    assert functions(rf.from_onnx(write(made, tmp_path))) == ["relu", "relu"]


def test_a_dynamic_dimension_is_pinned_by_name_or_place(load: Load) -> None:
    graph = load([node("Relu", "x")], {"x": ("N", None, 4)}, dims={"N": 8, "x[1]": 5})
    assert shape_of(graph) == (8, 5, 4)


def test_old_operator_sets_say_where_an_operand_stands(load: Load) -> None:
    nodes = [
        node("Conv", "x w", "a", kernel_shape=[3, 3]), node("Add", "a b", "c", broadcast=1, axis=1),
        node("PRelu", "c b", "d"), node("Cast", "d", "e", to="FLOAT"), node("Concat", "e e", "f"),
        node("Pad", "f", "g", paddings=[0, 0, 1, 1, 0, 0, 1, 1]),
        node("Upsample", "g", height_scale=2.0, width_scale=3.0),
    ]  # fmt: skip
    graph = load(nodes, {"x": (2, 3, 8, 8)}, [weight("w", 4, 3, 3, 3), weight("b", 4)], opset=1)
    assert shape_of(graph) == (2, 16, 24, 8)  # 6 + 2 rows x 2, 6 + 2 columns x 3, 4 + 4 channels, last
    assert graph.macs == 2 * 6 * 6 * 4 * 27
    nodes = [node("Reshape", "x", "y", shape=[2, 12]), node("Gemm", "y w b", "z", broadcast=1)]
    graph = load(nodes, {"x": (2, 3, 4)}, [weight("w", 12, 5), weight("b", 5)], "z", opset=3)
    assert (graph.macs, graph.params) == (2 * 12 * 5, 12 * 5 + 5)
    graph = load([node("Tile", "x n a")], {"x": (2, 3)}, [scalar("n", 4), scalar("a", 1)], opset=1)
    assert shape_of(graph) == (2, 12)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_token_for_each_example_is_stored_once(batch: int, load: Load) -> None:
    nodes = [node("Expand", "token n", "t"), node("Concat", "t x", "u", axis=1), node("MatMul", "u w")]
    stored = [ints("n", batch, 1, 1), weight("token", 1, 1, 6), weight("w", 6, 5)]
    graph = load(nodes, {"x": (batch, 3, 6)}, stored)
    assert graph.params == 6 + 6 * 5
    if batch > 1:
        assert graph.with_batch(5).macs == 5 * 4 * 6 * 5


def test_a_tied_weight_counts_once(load: Load) -> None:
    nodes = [node("Gather", "t ids", "e"), node("Transpose", "t", "tt", perm=[1, 0]), node("MatMul", "e tt")]
    graph = load(nodes, {"ids": (2, 3)}, [weight("t", 50, 8)], kinds={"ids": INT64})
    assert (graph.params, graph.macs) == (400, 6 * 8 * 50)
    assert sum(t.role == "parameter" for t in graph.tensors.values()) == 1


def test_the_example_of_the_page_adds_an_operator(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofline.frontends.onnx.registry.RULES", registered := dict(RULES))
    monkeypatch.setattr("roofline.frontends.onnx.reader.RULES", registered)
    *_, example = blocks(ROOT / "docs" / "onnx.md", "python")
    exec(compile(example, "onnx.md", "exec"), {})
    graph = load([node("ScaledTanh", "x", domain="my.company")], {"x": (2, 3)}, domains=["my.company"])
    assert functions(graph) == ["scale", "tanh"]
