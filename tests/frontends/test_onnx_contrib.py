"""Operators of ONNX Runtime, of quantizers and of newer operator sets: shapes, products, parameters, formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf

onnx = pytest.importorskip("onnx")

from onnx import TensorProto  # noqa: E402
from onnx_files import ints, model, node, scalar, weight, write  # noqa: E402

MS, QONNX = "com.microsoft", "qonnx.custom_op.general"
INT64, INT32, UINT8, INT8 = TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8
S, Z = scalar("s", 0.1), scalar("z", 3, np.uint8)
X = {"x": (2, 5, 8)}  # two examples, five tokens, eight channels
IDS = {"ids": (2, 5), "seg": (2, 5)}
HEADS = {"q": (2, 1, 8), "k": (2, 1, 8), "v": (2, 1, 8)}
EXPERTS = {"x": (6, 8), "r": (6, 4)}
TABLES = [weight("words", 100, 8), weight("places", 32, 8), weight("segments", 2, 8), weight("g", 8), weight("b", 8)]

#: nodes, inputs, stored, kinds, shape of the first output, multiply-adds, parameters
BY_HAND: list[tuple[Any, ...]] = [
    ([node("EmbedLayerNormalization", "ids seg words places segments g b", "y m", domain=MS)], IDS, TABLES,
     {"ids": INT32, "seg": INT32}, (2, 5, 8), 0, 100 * 8 + 32 * 8 + 2 * 8 + 2 * 8),
    ([node("QAttention", "x w b s s _ z z", domain=MS, num_heads=2)], X,
     [weight("w", 8, 24, kind=INT8), weight("b", 24), S, Z], {"x": UINT8}, (2, 5, 8),
     2 * 5 * 8 * 24 + 2 * (2 * 5 * 5 * 8), 8 * 24 + 24),
    ([node("PackedAttention", "x w b o c", domain=MS, num_heads=2)], {"x": (10, 8), "o": (2, 5), "c": (3,)},
     [weight("w", 8, 24), weight("b", 24)], {"o": INT32, "c": INT32}, (10, 8), 10 * 8 * 24 + 2 * (2 * 5 * 5 * 8),
     8 * 24 + 24),
    ([node("PackedMultiHeadAttention", "q _ _ _ o c", domain=MS, num_heads=2)],
     {"q": (10, 2, 3, 4), "o": (2, 5), "c": (3,)}, [], {"o": INT32, "c": INT32}, (10, 8), 2 * (2 * 5 * 5 * 8), 0),
    ([node("Attention", "x w b _ p", "y present", domain=MS, num_heads=2)], {**X, "p": (2, 2, 2, 3, 4)},
     [weight("w", 8, 24), weight("b", 24)], {}, (2, 5, 8), 2 * 5 * 8 * 24 + 2 * (2 * 5 * (5 + 3) * 8), 8 * 24 + 24),
    ([node("MultiHeadAttention", "q k v _ _ _ p r", "y a c", domain=MS, num_heads=2)],
     {**HEADS, "p": (2, 2, 3, 4), "r": (2, 2, 3, 4)}, [], {}, (2, 1, 8), 2 * (2 * 4 * 8), 0),
    ([node("DecoderMaskedMultiHeadAttention", "q k v _ _ p r n", "y a c", domain=MS, num_heads=2,
           past_present_share_buffer=1)],
     {**HEADS, "p": (2, 2, 64, 4), "r": (2, 2, 64, 4)}, [ints("n", 9)], {}, (2, 1, 8), 2 * (2 * 10 * 8), 0),
    ([node("DecoderMaskedMultiHeadAttention", "q k v", domain=MS, num_heads=2)],
     {"q": (2, 1, 8), "k": (2, 2, 7, 4), "v": (2, 2, 7, 4)}, [], {}, (2, 1, 8), 2 * (2 * 7 * 8), 0),
    ([node("DecoderMaskedSelfAttention", "x w b _ p", "y c", domain=MS, num_heads=2, past_present_share_buffer=1)],
     {"x": (2, 1, 8), "p": (2, 2, 2, 16, 4)}, [weight("w", 8, 24), weight("b", 24)], {}, (2, 1, 8),
     2 * 8 * 24 + 2 * (2 * 16 * 8), 8 * 24 + 24),
    ([node("MoE", "x r w _ u", domain=MS, k=2, activation_type="relu")], EXPERTS,
     [weight("w", 4, 32, 8), weight("u", 4, 8, 32)], {}, (6, 8), 6 * 2 * (2 * 8 * 32), 4 * 2 * 8 * 32),
    ([node("MoE", "x r w b u c", domain=MS, k=1, activation_type="swiglu", swiglu_fusion=1)], EXPERTS,
     [weight("w", 4, 64, 8), weight("b", 4, 64), weight("u", 4, 8, 32), weight("c", 4, 8)], {}, (6, 8),
     6 * (64 * 8 + 32 * 8), 4 * (64 * 8 + 64 + 8 * 32 + 8)),
    ([node("MoE", "x r w _ u _ v", domain=MS, k=2, activation_type="silu")], EXPERTS,
     [weight("w", 4, 32, 8), weight("u", 4, 8, 32), weight("v", 4, 32, 8)], {}, (6, 8), 6 * 2 * (3 * 8 * 32),
     4 * 3 * 8 * 32),
    ([node("QMoE", "x r w s _ u s", domain=MS, k=2, expert_weight_bits=4, activation_type="gelu")], EXPERTS,
     [weight("w", 4, 32, 4, kind=UINT8), weight("u", 4, 8, 16, kind=UINT8), S], {}, (6, 8), 6 * 2 * (2 * 8 * 32),
     4 * 2 * 8 * 32),
    ([node("MatMulBnb4", "x w a", domain=MS, K=8, N=6, block_size=16, quant_type=1)], X,
     [weight("w", 24, kind=UINT8), weight("a", 3)], {}, (2, 5, 6), 2 * 5 * 8 * 6, 8 * 6),
    ([node("MatMulNBits", "x w a", domain=MS, K=8, N=6, block_size=16, bits=2)], X,
     [weight("w", 6, 1, 2, kind=UINT8), weight("a", 6)], {}, (2, 5, 6), 2 * 5 * 8 * 6, 8 * 6),
    ([node("GatherBlockQuantized", "w ids a", domain=MS, block_size=16, gather_axis=0, quantize_axis=1, bits=4)],
     {"ids": (2, 5)}, [weight("w", 100, 16, kind=UINT8), weight("a", 100, 2)], {"ids": INT32}, (2, 5, 32), 0, 3200),
    ([node("FusedGemm", "x w b", domain=MS, activation="Relu")], {"x": (3, 4)}, [weight("w", 4, 6), weight("b", 6)],
     {}, (3, 6), 3 * 4 * 6, 4 * 6 + 6),
    ([node("GemmFastGelu", "x w b", domain=MS)], X, [weight("w", 8, 6), weight("b", 6)], {}, (2, 5, 6), 2 * 5 * 8 * 6,
     54),
    ([node("NhwcConv", "x w", domain=MS, pads=[1, 1, 1, 1])], {"x": (1, 6, 6, 3)}, [weight("w", 4, 3, 3, 3)], {},
     (1, 6, 6, 4), 36 * 4 * 27, 4 * 27),
    ([node("NhwcFusedConv", "x w b r", domain=MS, activation="Relu", strides=[2, 2])],
     {"x": (1, 7, 7, 3), "r": (1, 3, 3, 4)}, [weight("w", 4, 3, 3, 3), weight("b", 4)], {}, (1, 3, 3, 4), 9 * 4 * 27,
     4 * 27 + 4),
    ([node("NhwcMaxPool", "x", domain=MS, kernel_shape=[2, 2], strides=[2, 2])], {"x": (1, 6, 6, 3)}, [], {"x": UINT8},
     (1, 3, 3, 3), 0, 0),
    ([node("BiasSplitGelu", "x b", domain=MS)], X, [weight("b", 8)], {}, (2, 5, 4), 0, 8),
    ([node("BiasAdd", "x b r", domain=MS)], {**X, "r": (2, 5, 8)}, [weight("b", 8)], {}, (2, 5, 8), 0, 8),
    ([node("BiasSoftmax", "x m", domain=MS, axis=2, is_inner_broadcast=0)], {**X, "m": (2, 1, 8)}, [], {}, (2, 5, 8),
     0, 0),
    ([node("SkipGroupNorm", "x g b r", "y t", domain=MS, groups=2)], {"x": (1, 4, 4, 8), "r": (1, 4, 4, 8)},
     [weight("g", 8), weight("b", 8)], {}, (1, 4, 4, 8), 0, 16),
    ([node("RelativePositionBias", "t n n", domain=MS, max_distance=128)], {"x": (1,)},
     [weight("t", 32, 4), ints("n", 6)], {}, (1, 4, 6, 6), 0, 128),
    ([node("CropAndResize", "x b i n", domain=MS)], {"x": (1, 3, 9, 9), "b": (5, 4), "i": (5,)}, [ints("n", 7, 7)],
     {"i": INT32}, (5, 3, 7, 7), 0, 0),
    ([node("QLinearSoftmax", "x s z s z", domain=MS, axis=-1)], X, [S, Z], {"x": UINT8}, (2, 5, 8), 0, 0),
    ([node("QLinearWhere", "c x s z x s z s z", domain=MS)], {**X, "c": (2, 5, 8)}, [S, Z],
     {"x": UINT8, "c": TensorProto.BOOL}, (2, 5, 8), 0, 0),
    ([node("QLinearReduceMean", "x s z s z", domain=MS, axes=[1])], X, [S, Z], {"x": UINT8}, (2, 1, 8), 0, 0),
    ([node("QLinearAveragePool", "x s z s z", domain=MS, kernel_shape=[2, 2], channels_last=1)],
     {"x": (1, 6, 6, 3)}, [S, Z], {"x": UINT8}, (1, 5, 5, 3), 0, 0),
    ([node("DynamicQuantizeLSTM", "x w r _ _ _ _ _ s z s z", domain=MS, hidden_size=3)], {"x": (5, 2, 8)},
     [weight("w", 1, 8, 12, kind=INT8), weight("r", 1, 3, 12, kind=INT8), S, Z], {}, (5, 1, 2, 3),
     5 * 2 * 12 * (8 + 3), 12 * 8 + 12 * 3),
    ([node("Rfft", "x", domain=MS, normalized=0, onesided=1, signal_ndim=2)], X, [], {}, (2, 5, 5, 2), 0, 0),
    ([node("Irfft", "x", domain=MS, normalized=0, onesided=1, signal_ndim=1)], {"x": (2, 5, 2)}, [], {}, (2, 8), 0, 0),
    ([node("Quant", "w s s s", "u", domain=QONNX), node("Quant", "x s s s", "v", domain=QONNX), node("Conv", "v u")],
     {"x": (1, 3, 8, 8)}, [weight("w", 4, 3, 3, 3), S], {}, (1, 4, 6, 6), 36 * 4 * 27, 4 * 27),
    ([node("MaxRoiPool", "x b", pooled_shape=[3, 2])], {"x": (1, 4, 9, 9), "b": (5, 5)}, [], {}, (5, 4, 3, 2), 0, 0),
    ([node("LSTM", "x w r _ _ h c p", hidden_size=3)], {"x": (5, 2, 8), "h": (1, 2, 3), "c": (1, 2, 3)},
     [weight("w", 1, 12, 8), weight("r", 1, 12, 3), weight("p", 1, 9)], {}, (5, 1, 2, 3), 5 * 2 * 12 * (8 + 3),
     12 * 8 + 12 * 3 + 9),
]  # fmt: skip


def lowered(nodes: Any, inputs: Any, stored: Any, kinds: Any, folder: Path, **options: Any) -> rf.OpGraph:
    path = write(model(nodes, inputs, stored, kinds=kinds, domains=[MS, QONNX], **options), folder)
    graph = rf.from_onnx(path)
    graph.check_shapes()
    return graph


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: case[0][-1].op_type)
def test_shapes_products_and_parameters(case: Any, tmp_path: Path) -> None:
    nodes, inputs, stored, kinds, shape, macs, params = case
    graph = lowered(nodes, inputs, stored, kinds, tmp_path)
    assert sorted(graph.tensors[graph.outputs[0]].shape) == sorted(shape)
    assert graph.macs == macs
    assert graph.params == params
    assert rf.simulate(graph, "a100-80gb", runtime="tensorrt").latency_s > 0


def functions(graph: rf.OpGraph) -> list[str]:
    return [op.function for op in graph.ops.values() if hasattr(op, "function")]


def test_an_activation_of_a_recurrence_is_the_one_that_is_named(tmp_path: Path) -> None:
    stored = [weight("w", 1, 3, 8), weight("r", 1, 3, 3)]
    said: tuple[dict[str, Any], ...] = ({}, {"activations": ["Relu"]})
    plain, named = (
        functions(lowered([node("RNN", "x w r", hidden_size=3, **one)], {"x": (5, 2, 8)}, stored, {}, tmp_path))
        for one in said
    )
    assert "tanh" in plain and "relu" in named and "tanh" not in named
    with pytest.raises(rf.RooflineError, match="unknown activation 'Snake'"):
        lowered([node("RNN", "x w r", activations=["Snake"])], {"x": (5, 2, 8)}, stored, {}, tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "packed"),
    [(25, "int2", 4), (26, "int2", 4), (TensorProto.UINT4, "int4", 2), (TensorProto.FLOAT4E2M1, "int4", 2),
     (TensorProto.FLOAT8E5M2, "fp8", 1), (TensorProto.INT8, "int8", 1)],
)  # fmt: skip
def test_a_weight_of_few_bits_is_read_as_such(kind: int, name: str, packed: int, tmp_path: Path) -> None:
    made = [node("DequantizeLinear", "w a", "v", axis=0, block_size=16), node("MatMul", "x v")]
    graph = lowered(made, {"x": (4, 64)}, [weight("w", 64, 32, kind=kind), weight("a", 4, 32)], {}, tmp_path, opset=25)
    (product,) = (op for op in graph.ops.values() if op.kind == "matmul")
    stored = graph.tensors[product.inputs[1]]
    assert (stored.dtype.name, stored.role, stored.bytes) == (name, "parameter", 64 * 32 / packed)
    assert (graph.macs, graph.params) == (4 * 64 * 32, 64 * 32)


def test_the_bias_of_a_quantized_convolution_is_a_parameter(tmp_path: Path) -> None:
    made = [
        node("DequantizeLinear", "x s z", "a"), node("DequantizeLinear", "w s z", "v"),
        node("DequantizeLinear", "b s", "c"), node("Conv", "a v c"),
    ]  # fmt: skip
    stored = [weight("w", 4, 3, 3, 3, kind=UINT8), weight("b", 4, kind=INT32), S, Z]
    assert lowered(made, {"x": (1, 3, 8, 8)}, stored, {"x": UINT8}, tmp_path).params == 4 * 27 + 4


def test_positions_of_maxima_cost_only_where_they_are_read(tmp_path: Path) -> None:
    pool = node("MaxPool", "x", "y i", kernel_shape=[2, 2], strides=[2, 2])
    image = {"x": (1, 4, 8, 8)}
    unread = lowered([pool], image, [], {}, tmp_path)
    both = lowered([pool, node("MaxUnpool", "y i", "z", kernel_shape=[2, 2], strides=[2, 2])], image, [], {}, tmp_path,
                   outputs="z")  # fmt: skip
    assert [len(op.outputs) for op in (*unread.ops.values(), *both.ops.values()) if op.kind == "pool"] == [1, 2]
    assert both.tensors[both.outputs[0]].shape == (1, 8, 8, 4)
    assert [op.kind for op in both.ops.values()] == ["pool", "fill", "update"]


def test_statistics_of_a_norm_are_written_where_they_are_read(tmp_path: Path) -> None:
    norm = node("LayerNormalization", "x g", "y m d", axis=-1)
    unread, read = (lowered([norm], X, [weight("g", 8)], {}, tmp_path, outputs=outputs) for outputs in ("y", "y m d"))
    assert [len(op.outputs) for g in (unread, read) for op in g.ops.values() if op.kind == "norm"] == [1, 3]
    assert [read.tensors[t].shape for t in read.outputs] == [(2, 5, 8), (2, 5, 1), (2, 5, 1)]


def test_attention_whose_scores_are_read_runs_in_steps(tmp_path: Path) -> None:
    heads = {"q": (1, 4, 6, 8), "k": (1, 2, 5, 8), "v": (1, 2, 5, 3)}
    made = [node("Attention", "q k v", "y _ _ scores", qk_matmul_output_mode=3)]
    graph = lowered(made, heads, [], {}, tmp_path, outputs="y scores", opset=23)
    assert graph.macs == 4 * 6 * 5 * (8 + 3)
    assert [op.kind for op in graph.ops.values() if op.family != "free"][:3] == ["matmul", "softmax", "matmul"]
    assert [sorted(graph.tensors[t].shape) for t in graph.outputs] == [[1, 3, 4, 6], [1, 4, 5, 6]]


def test_a_loss_picks_averages_and_weighs(tmp_path: Path) -> None:
    scores = {"x": (6, 10, 4), "t": (6, 4)}
    made = [node("SoftmaxCrossEntropyLoss", "x t w", "y")]
    graph = lowered(made, scores, [weight("w", 10)], {"t": INT64}, tmp_path)
    kinds = [op.kind for op in graph.ops.values() if op.family != "free"]
    assert kinds == ["softmax", "gather", "gather", "elementwise", "reduce", "reduce", "elementwise"]
    assert graph.tensors[graph.outputs[0]].shape == ()


def test_frames_of_a_signal_are_views(tmp_path: Path) -> None:
    stored = [scalar("n", 160, np.int64), weight("w", 400), scalar("l", 400, np.int64)]
    graph = lowered([node("STFT", "x n w l")], {"x": (1, 16000, 1)}, stored, {}, tmp_path)
    assert [op.kind for op in graph.ops.values()] == ["window", "elementwise", "fourier"]
    assert graph.tensors[graph.outputs[0]].shape == (1, (16000 - 400) // 160 + 1, 201, 2)
    fourier = next(op for op in graph.ops.values() if op.kind == "fourier")
    assert (fourier.real, fourier.length) == (True, 400)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("nodes", "inputs", "words"),
    [
        ([node("GridSample", "x g")], {"x": (1, 3, 8, 8), "g": (1, 4, 4, 3)}, "does not fit images"),
        ([node("Col2Im", "x n n")], {"x": (1, 7, 9)}, "do not make up"),
        ([node("AffineGrid", "x n")], {"x": (1, 2, 3)}, "do not fit images"),
        ([node("DFT", "x _ n")], {"x": (2, 8, 3)}, "axis"),
        ([node("SoftmaxCrossEntropyLoss", "x t")], {"x": (6, 10), "t": (5,)}, "labels of shape"),
        ([node("MoE", "x r", domain=MS, k=2)], {"x": (6, 8), "r": (5, 4)}, "router"),
        ([node("PackedAttention", "x w _ o", domain=MS, num_heads=2)], {"x": (9, 8), "w": (8, 24), "o": (2, 5)},
         "9 tokens of 2 examples"),
        ([node("BiasSplitGelu", "x b", domain=MS)], {"x": (2, 7), "b": (7,)}, "no halves"),
        ([node("LinearAttention", "x x x", q_num_heads=3, kv_num_heads=2)], {"x": (1, 4, 12)}, "heads"),
        ([node("BitCast", "x", to=TensorProto.INT64)], {"x": (2, 2)}, "equal width"),
        ([node("CenterCropPad", "x n", axes=[0])], {"x": (2, 2)}, "sizes for"),
        ([node("MatMulNBits", "x w", domain=MS, K=8, N=6, bits=3)], {"x": (2, 8), "w": (6,)}, "allowed: 2, 4 and 8"),
    ],
    ids=lambda case: case[-1].op_type if isinstance(case, list) else "",
)  # fmt: skip
def test_what_does_not_fit_is_refused(nodes: Any, inputs: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(rf.RooflineError, match=words) as caught:
        lowered(nodes, inputs, [ints("n", 2, 2)], {}, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["fp16", "amp_fp16"])
def test_eight_bits_of_a_program_stay_eight_bits(dtype: str, tmp_path: Path) -> None:
    """An H100 multiplies fp8 as fast as int8: quantized alike, a product takes the same time."""

    def latency(kind: int | None) -> float:
        made = [node("MatMul", "x w")]
        if kind is not None:
            made = [
                node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "a"),
                node("DequantizeLinear", "w s z", "v"), node("MatMul", "a v"),
            ]  # fmt: skip
        stored = [weight("w", 4096, 4096, kind=kind or TensorProto.FLOAT), S, weight("z", kind=kind or UINT8)]
        graph = lowered(made, {"x": (2048, 4096)}, stored, {}, tmp_path)
        return float(rf.simulate(graph, "h100-sxm", runtime="tensorrt", dtype=dtype).latency_s)

    floats, integers = latency(TensorProto.FLOAT8E4M3FN), latency(INT8)
    assert floats == pytest.approx(integers, rel=1e-9)
    assert floats < 0.8 * latency(None)
