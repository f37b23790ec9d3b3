"""Operators of ONNX one by one: shapes as the onnx package infers them, those of Microsoft's domain by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, shape_inference
from onnx_files import ints, model, node, scalar, weight, write

import roofline as rf

MS = "com.microsoft"
INT64, INT32, INT8, UINT8, BOOL = (
    TensorProto.INT64, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL,
)  # fmt: skip
FEW: dict[str, Any] = {"x": (3, 4)}
IMAGE: dict[str, Any] = {"x": (2, 4, 6, 6)}

#: nodes, inputs, stored tensors, kinds of inputs that are not float32
STANDARD: list[tuple[Any, dict[str, Any], list[Any], dict[str, int]]] = [
    ([node("Gather", "x i", axis=1)], {"x": (3, 4, 5)}, [ints("i", 0, 2)], {}),
    ([node("Gather", "x i")], {"x": (9, 5), "i": (2, 3)}, [], {"i": INT64}),
    ([node("GatherElements", "x i", axis=0)], {"x": (3, 4), "i": (2, 4)}, [], {"i": INT64}),
    ([node("GatherND", "x i")], {"x": (3, 4, 5), "i": (6, 2)}, [], {"i": INT64}),
    ([node("GatherND", "x i", batch_dims=1)], {"x": (3, 4, 5), "i": (3, 1)}, [], {"i": INT64}),
    ([node("ScatterND", "x i u")], {"x": (3, 4), "i": (2, 1), "u": (2, 4)}, [], {"i": INT64}),
    ([node("ScatterND", "x i u", reduction="add")], {"x": (3, 4), "i": (2, 1), "u": (2, 4)}, [], {"i": INT64}),
    ([node("ScatterElements", "x i u")], {"x": (3, 4), "i": (2, 4), "u": (2, 4)}, [], {"i": INT64}),
    ([node("OneHot", "i d v")], {"i": (3, 2)}, [scalar("d", 7, np.int64), scalar("v", [0, 1])], {"i": INT64}),
    ([node("TopK", "x k", "y z")], {"x": (3, 10)}, [ints("k", 4)], {}),
    ([node("CumSum", "x a")], FEW, [scalar("a", 1, np.int64)], {}),
    ([node("Flatten", "x", axis=2)], {"x": (2, 3, 4, 5)}, [], {}),
    ([node("Flatten", "x", axis=0)], {"x": (2, 3, 4)}, [], {}),
    ([node("Squeeze", "x a")], {"x": (1, 3, 1, 4)}, [ints("a", 0, -2)], {}),
    ([node("Squeeze", "x")], {"x": (1, 3, 1, 4)}, [], {}),
    ([node("Unsqueeze", "x a")], FEW, [ints("a", 0, -1)], {}),
    ([node("Expand", "x s")], {"x": (3, 1)}, [ints("s", 2, 1, 6)], {}),
    ([node("Tile", "x r")], FEW, [ints("r", 2, 3)], {}),
    ([node("Split", "x s", "y z", axis=1)], {"x": (2, 5)}, [ints("s", 1, 4)], {}),
    ([node("Concat", "x z", axis=1)], {"x": (2, 5), "z": (2, 3)}, [], {}),
    ([node("Pad", "x p")], FEW, [ints("p", 1, 0, 2, 3)], {}),
    ([node("Pad", "x p _ a", mode="reflect")], FEW, [ints("p", 1, 2), ints("a", 1)], {}),
    ([node("DepthToSpace", "x", blocksize=2)], IMAGE, [], {}),
    ([node("SpaceToDepth", "x", blocksize=3)], IMAGE, [], {}),
    ([node("Trilu", "x", upper=0)], {"x": (4, 4)}, [], {}),
    ([node("ReverseSequence", "x n")], {"x": (4, 3), "n": (3,)}, [], {"n": INT64}),
    ([node("ArgMax", "x", axis=1, keepdims=0)], FEW, [], {}),
    ([node("ReduceLogSumExp", "x a")], FEW, [ints("a", 1)], {}),
    ([node("ReduceL2", "x", keepdims=0)], FEW, [], {}),
    ([node("LpNormalization", "x", axis=1, p=2)], FEW, [], {}),
    ([node("InstanceNormalization", "x s b")], IMAGE, [weight("s", 4), weight("b", 4)], {}),
    ([node("LayerNormalization", "x s b", axis=-1)], FEW, [weight("s", 4), weight("b", 4)], {}),
    ([node("LogSoftmax", "x")], FEW, [], {}),
    ([node("Hardmax", "x")], FEW, [], {}),
    ([node("QuantizeLinear", "x s z")], FEW, [scalar("s", 0.1), scalar("z", 3, np.uint8)], {}),
    ([node("DequantizeLinear", "x s z")], FEW, [scalar("s", 0.1), scalar("z", 3, np.uint8)], {"x": UINT8}),
    ([node("DynamicQuantizeLinear", "x", "y s z")], FEW, [], {}),
    ([node("ConvInteger", "x w", pads=[1, 1, 1, 1])], IMAGE, [weight("w", 5, 4, 3, 3, kind=UINT8)], {"x": UINT8}),
    ([node("MatMulInteger", "x w")], FEW, [weight("w", 4, 6, kind=INT8)], {"x": INT8}),
    ([node("QLinearMatMul", "x s z w s z s z")], FEW,
     [weight("w", 4, 6, kind=UINT8), scalar("s", 0.1), scalar("z", 3, np.uint8)], {"x": UINT8}),
    ([node("Mod", "x z", fmod=1)], {"x": (3, 4), "z": (4,)}, [], {}),
    ([node("Pow", "x z")], {"x": (3, 4), "z": (1, 4)}, [], {}),
    ([node("And", "x z")], {"x": (3, 4), "z": (3, 1)}, [], {"x": BOOL, "z": BOOL}),
    ([node("Not", "x")], FEW, [], {"x": BOOL}),
    ([node("IsNaN", "x")], FEW, [], {}),
    ([node("IsInf", "x")], FEW, [], {}),
    ([node("Max", "x z u")], {"x": (3, 4), "z": (4,), "u": (2, 1, 1)}, [], {}),
    ([node("Mean", "x z")], {"x": (3, 4), "z": (4,)}, [], {}),
    ([node("Clip", "x a b")], FEW, [scalar("a", 0.0), scalar("b", 6.0)], {}),
    ([node("Gelu", "x", approximate="tanh")], FEW, [], {}),
    ([node("Where", "c x z")], {"c": (3, 1), "x": (3, 4), "z": (1, 4)}, [], {"c": BOOL}),
    ([node("Cast", "x", to=INT32)], FEW, [], {}),
    ([node("CastLike", "x z")], {"x": (3, 4), "z": (1,)}, [], {"z": INT32}),
    ([node("Dropout", "x", "y m")], FEW, [], {}),
    ([node("Bernoulli", "x")], FEW, [], {}),
    ([node("RandomNormalLike", "x")], FEW, [], {}),
    ([node("EyeLike", "x")], FEW, [], {}),
]  # fmt: skip


S, Z = scalar("s", 0.1), scalar("z", 3, np.uint8)
TOKENS: dict[str, Any] = dict.fromkeys("qkv", (2, 5, 12))
#: what onnx has no inference for: nodes, inputs, stored tensors, kinds, shape, multiply-accumulates
BY_HAND: list[tuple[Any, dict[str, Any], list[Any], dict[str, int], tuple[int, ...], int]] = [
    ([node("MeanVarianceNormalization", "x")], IMAGE, [], {}, (2, 4, 6, 6), 0),
    ([node("GroupNormalization", "x s b", num_groups=2)], IMAGE, [weight("s", 4), weight("b", 4)], {}, (2, 4, 6, 6), 0),
    ([node("SequenceConstruct", "x z", "q"), node("ConcatFromSequence", "q", axis=1)],
     {"x": (3, 4), "z": (3, 2)}, [], {}, (3, 6), 0),
    ([node("SequenceConstruct", "x z", "q"), node("ConcatFromSequence", "q", axis=0, new_axis=1)],
     {"x": (3, 4), "z": (3, 4)}, [], {}, (2, 3, 4), 0),
    ([node("SequenceConstruct", "x z", "q"), node("SequenceAt", "q i")], {"x": (3, 4), "z": (3, 2)},
     [scalar("i", 1, np.int64)], {}, (3, 2), 0),
    ([node("SplitToSequence", "x n", "q", axis=1), node("SequenceAt", "q i")], {"x": (3, 5)},
     [scalar("n", 2, np.int64), scalar("i", -1, np.int64)], {}, (3, 1), 0),
    ([node("MultiHeadAttention", "q k v", domain=MS, num_heads=3)], TOKENS, [], {}, (2, 5, 12), 2 * 2 * 5 * 5 * 12),
    ([node("MultiHeadAttention", "q k v b", domain=MS, num_heads=3)], TOKENS, [weight("b", 36)], {}, (2, 5, 12),
     2 * 2 * 5 * 5 * 12),
    ([node("MultiHeadAttention", "x", domain=MS, num_heads=3)], {"x": (2, 5, 3, 3, 4)}, [], {}, (2, 5, 12),
     2 * 2 * 5 * 5 * 12),
    ([node("MultiHeadAttention", "q kv", domain=MS, num_heads=3)], {"q": (2, 5, 12), "kv": (2, 7, 3, 2, 4)}, [], {},
     (2, 5, 12), 2 * 2 * 5 * 7 * 12),
    ([node("Attention", "x w b", domain=MS, num_heads=3)], {"x": (2, 5, 8)}, [weight("w", 8, 36), weight("b", 36)], {},
     (2, 5, 12), 2 * 5 * 8 * 36 + 2 * 2 * 5 * 5 * 12),
    ([node("GroupQueryAttention", "q k v", "y", domain=MS, num_heads=3, kv_num_heads=1)],
     {"q": (2, 5, 12), "k": (2, 5, 4), "v": (2, 5, 4)}, [], {}, (2, 5, 12), 2 * 2 * 5 * 5 * 12),
    ([node("GroupQueryAttention", "x", "y", domain=MS, num_heads=3, kv_num_heads=1)], {"x": (2, 5, 20)}, [], {},
     (2, 5, 12), 2 * 2 * 5 * 5 * 12),
    ([node("GroupQueryAttention", "q k v p r", "y", domain=MS, num_heads=3, kv_num_heads=1)],
     {"q": (2, 1, 12), "k": (2, 1, 4), "v": (2, 1, 4), "p": (2, 1, 9, 4), "r": (2, 1, 9, 4)}, [], {},
     (2, 1, 12), 2 * 2 * 1 * 10 * 12),
    ([node("RotaryEmbedding", "x i c d", domain=MS)], {"x": (2, 5, 12), "i": (2, 5)},
     [weight("c", 16, 6), weight("d", 16, 6)], {"i": INT64}, (2, 5, 12), 0),
    ([node("SkipLayerNormalization", "x z g", domain=MS)], {"x": (2, 5, 8), "z": (2, 5, 8)}, [weight("g", 8)], {},
     (2, 5, 8), 0),
    ([node("FusedMatMul", "x w", domain=MS, transB=1)], FEW, [weight("w", 6, 4)], {}, (3, 6), 3 * 4 * 6),
    ([node("BiasGelu", "x b", domain=MS)], FEW, [weight("b", 4)], {}, (3, 4), 0),
    ([node("QLinearAdd", "x s z x s z s z", domain=MS)], FEW, [S, Z], {"x": UINT8}, (3, 4), 0),
    ([node("QLinearSigmoid", "x s z s z", domain=MS)], FEW, [S, Z], {"x": UINT8}, (3, 4), 0),
    ([node("QLinearGlobalAveragePool", "x s z s z", domain=MS)], IMAGE, [S, Z], {"x": UINT8}, (2, 4, 1, 1), 0),
    ([node("QLinearConcat", "s z x s z x s z", domain=MS, axis=1)], FEW, [S, Z], {"x": UINT8}, (3, 8), 0),
    ([node("QGemm", "x s z w s z", domain=MS, transB=1)], FEW, [weight("w", 6, 4, kind=UINT8), S, Z], {"x": UINT8},
     (3, 6), 3 * 4 * 6),
    ([node("QLinearConv", "x s z w s z s z", domain=MS, channels_last=1, pads=[1, 1, 1, 1])], {"x": (2, 6, 6, 4)},
     [weight("w", 5, 4, 3, 3, kind=UINT8), S, Z], {"x": UINT8}, (2, 6, 6, 5), 2 * 36 * 5 * 4 * 9),
    ([node("MatMulIntegerToFloat", "x w s s", domain=MS)], FEW, [weight("w", 4, 6, kind=UINT8), S], {"x": UINT8},
     (3, 6), 3 * 4 * 6),
    ([node("DynamicQuantizeMatMul", "x w s", domain=MS)], FEW, [weight("w", 4, 6, kind=UINT8), S], {}, (3, 6),
     3 * 4 * 6),
]  # fmt: skip


def shape_of(graph: Any) -> list[int]:
    """Dimensions of the first output, whatever their order: images are channels last here."""
    return sorted(int(size) for size in graph.tensors[graph.outputs[0]].shape)


@pytest.mark.parametrize(
    ("nodes", "inputs", "stored", "kinds"), STANDARD, ids=[" ".join(n.op_type for n in case[0]) for case in STANDARD]
)
def test_shapes_are_those_that_onnx_infers(nodes: Any, inputs: Any, stored: Any, kinds: Any, tmp_path: Path) -> None:
    made = model(nodes, inputs, stored, kinds=kinds)
    made.graph.output[0].ClearField("type")
    inferred = shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    expected = [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    graph = rf.from_onnx(write(model(nodes, inputs, stored, kinds=kinds), tmp_path))
    graph.check_shapes()
    assert shape_of(graph) == sorted(expected)


@pytest.mark.parametrize(
    ("nodes", "inputs", "stored", "kinds", "shape", "macs"), BY_HAND, ids=[c[0][-1].op_type for c in BY_HAND]
)
def test_shapes_and_products_by_hand(
    nodes: Any, inputs: Any, stored: Any, kinds: Any, shape: tuple[int, ...], macs: int, tmp_path: Path
) -> None:
    graph = rf.from_onnx(write(model(nodes, inputs, stored, kinds=kinds, domains=[MS]), tmp_path))
    graph.check_shapes()
    assert shape_of(graph) == sorted(shape)
    assert graph.macs == macs


@pytest.mark.parametrize("op", ["NonZero", "Unique", "Compress"])
def test_what_only_the_data_decide_is_refused(op: str, tmp_path: Path) -> None:
    made = model([node(op, "x c" if op == "Compress" else "x")], {"x": (6,), "c": (6,)}, kinds={"c": BOOL})
    with pytest.raises(rf.RooflineError, match="depends on the data"):
        rf.from_onnx(write(made, tmp_path))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Einsum", "x", equation="ii->i")], "diagonals"),
        ([node("Einsum", "x", equation="ij->k")], "indices of no operand"),
        ([node("Einsum", "x", equation="ij,jk->ik")], "operands"),
        ([node("Einsum", "x", equation="ijk->i")], "rank 2"),
        ([node("Einsum", "x z", equation="ij,ij->ij")], "sizes"),
        ([node("Range", "f f o")], "step 0"),
        ([node("Reshape", "x p")], ""),
        ([node("Expand", "x p")], ""),
        ([node("Squeeze", "x i")], ""),
        ([node("Concat", "x z", axis=0)], ""),
        ([node("Split", "x p", "y u", axis=1)], ""),
        ([node("Gather", "x i", axis=7)], ""),
        ([node("Conv", "x w")], "do not convolve"),
        ([node("MatMul", "x w")], ""),
        ([node("DepthToSpace", "x", blocksize=2)], ""),
        ([node("Attention", "c w", domain=MS, num_heads=2, qkv_hidden_sizes=[1, 1, 1])], "do not make up"),
        ([node("MultiHeadAttention", "c", domain=MS, num_heads=2)], "packed operands"),
    ],
    ids=lambda case: case[-1].op_type if isinstance(case, list) else "",
)
def test_what_does_not_fit_is_refused(nodes: Any, words: str, tmp_path: Path) -> None:
    stored = [ints("p", 5, 7), ints("i", 0), scalar("f", 0, np.int64), scalar("o", 0, np.int64), weight("w", 5, 7)]
    inputs = {"x": (3, 4), "z": (3, 5), "c": (2, 3, 5)}
    with pytest.raises(rf.RooflineError, match=words or nodes[-1].op_type) as caught:
        rf.from_onnx(write(model(nodes, inputs, stored, domains=[MS]), tmp_path))
    assert "\n" not in str(caught.value)


def test_shape_arithmetic_of_every_kind_is_done_at_load(tmp_path: Path) -> None:
    """Each branch makes the shape (2, 6) in its own way; what they reshape is added up."""
    nodes = [
        node("Range", "two seven four", "a0"),
        node("ConstantOfShape", "pair", "b0"), node("Add", "b0 plus", "b1"), node("Cast", "b1", "b2", to=INT64),
        node("Expand", "one pair", "c0"), node("Mul", "c0 plus", "c1"), node("Cast", "c1", "c2", to=INT64),
        node("Tile", "three pair", "d0"), node("Sub", "d0 minus", "d1"),
        node("ReduceMax", "table axis", "e0", keepdims=0), node("NonZero", "mask", "f0"), node("Squeeze", "f0", "f1"),
        node("Mul", "f1 scale", "f2"),
        *(node("Reshape", f"x {name}", f"y{i}") for i, name in enumerate(("a0", "b2", "c2", "d1", "e0", "f2"))),
        *(node("Add", f"{'y0' if i == 1 else f's{i - 1}'} y{i}", f"s{i}" if i < 5 else "y") for i in range(1, 6)),
    ]  # fmt: skip
    stored = [
        scalar("two", 2, np.int64), scalar("seven", 7, np.int64), scalar("four", 4, np.int64), ints("pair", 2),
        scalar("plus", [2, 6]), scalar("one", [1.0]), ints("three", 3), ints("minus", 1, -3),
        scalar("table", [[2, 5], [1, 6]], np.int64), ints("axis", 0), scalar("mask", [False, True, True], np.bool_),
        ints("scale", 2, 3),
    ]  # fmt: skip
    graph = rf.from_onnx(write(model(nodes, {"x": (3, 4)}, stored), tmp_path))
    assert graph.tensors[graph.outputs[0]].shape == (2, 6)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Split", "x s", "a b", axis=1), node("MatMul", "a w", "m"), node("Concat", "m b", "y", axis=1)],
        [node("Slice", "x f t i", "e"), node("Concat", "e x", "c", axis=1), node("MatMul", "c w", "y")],
        [
            node("Slice", "x f t i", "e"),
            node("Relu", "e", "r"),
            node("Reshape", "r n", "v"),
            node("MatMul", "x w", "y"),
        ],
    ],
)
def test_parts_without_elements_cost_nothing(nodes: Any, tmp_path: Path) -> None:
    stored = [ints("s", 8, 0), ints("f", 100), ints("t", 200), ints("i", 1), ints("n", 0, 2, -1), weight("w", 8, 8)]
    graph = rf.from_onnx(write(model(nodes, {"x": (4, 8)}, stored), tmp_path))
    assert graph.macs == 4 * 8 * 8
    assert rf.simulate(graph, "tpu-v3").latency_s > 0
