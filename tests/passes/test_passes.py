"""Passes: they rewrite what they say and nothing else; every pass keeps the multiply-adds."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
from families import RUNTIMES, SAMPLE, asking, policy_of, whole
from pages import blocks
from places import ROOT

from roofline.dtypes import DTYPES, precision
from roofline.graph.builder import GraphBuilder
from roofline.graph.movement import Embedding
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, BatchNorm, Cast, Conv, Elementwise, MatMul, Norm, Softmax
from roofline.passes.attention import decompose_attention
from roofline.passes.batch_norm import fold_batch_norm
from roofline.passes.composites import CHAINS, split_composites
from roofline.passes.pipeline import PASSES, Pass, lower, rewrite
from roofline.passes.policy import policy
from roofline.passes.precision import apply_precision
from roofline.software.load import runtime
from roofline.work import count

FOLD, APART = asking(fold_batch_norm=True), asking(attention="decomposed")
each_model = pytest.mark.parametrize("name", SAMPLE)


def op_kinds(graph: OpGraph) -> list[str]:
    return [op.kind for op in graph.ops.values()]


# batch norm ----------------------------------------------------------------------------------------------------------


def conv_bn_relu(*, bias: bool) -> tuple[GraphBuilder, OpGraph]:
    b = GraphBuilder()
    x = b.conv(b.input("x", (1, 4, 4, 3)), 8, kernel=3, bias=bias, name="conv")
    return b, b.graph([b.relu(b.batch_norm(x))])


@pytest.mark.parametrize(("bias", "shift"), [(False, "bn.shift"), (True, "conv.bias")])
def test_batch_norm_folds_into_the_convolution(bias: bool, shift: str) -> None:
    """The scale goes into the weights; the shift becomes the bias, or goes into the bias that is there."""
    _, graph = conv_bn_relu(bias=bias)
    folded = fold_batch_norm(graph, FOLD)
    assert list(folded.ops) == ["conv", "relu"]
    assert folded.op("conv").inputs == ("x", "conv.weight", shift)
    assert folded.op("relu").inputs == ("conv:0",)
    assert set(folded.tensors) == {"x", "conv.weight", shift, "conv:0", "relu:0"}
    folded.check_shapes()


def test_batch_norm_at_the_end_folds_and_renames_the_output() -> None:
    b = GraphBuilder()
    y = b.batch_norm(b.conv(b.input("x", (1, 4, 4, 3)), 8))
    folded = fold_batch_norm(b.graph([y]), FOLD)
    assert op_kinds(folded) == ["conv"] and folded.outputs == ("conv:0",)


def test_a_convolution_that_others_read_keeps_its_batch_norm() -> None:
    b = GraphBuilder()
    x = b.conv(b.input("x", (1, 4, 4, 3)), 8)
    graph = b.graph([b.add(b.batch_norm(x), b.relu(x))])
    assert op_kinds(fold_batch_norm(graph, FOLD)) == op_kinds(graph)


def test_a_convolution_that_is_returned_keeps_its_batch_norm() -> None:
    """Folding would change what the graph returns."""
    b = GraphBuilder()
    x = b.conv(b.input("x", (1, 4, 4, 3)), 8)
    graph = b.graph([x, b.batch_norm(x)])
    assert fold_batch_norm(graph, FOLD).outputs == graph.outputs


def test_a_batch_norm_without_a_convolution_stays() -> None:
    b = GraphBuilder()
    graph = b.graph([b.relu(b.batch_norm(b.input("x", (1, 4, 4, 3))))])
    assert op_kinds(fold_batch_norm(graph, FOLD)) == ["batch_norm", "elementwise"]


@each_model
def test_folding_twice_is_folding_once(name: str) -> None:
    once = fold_batch_norm(whole(name), FOLD)
    twice = fold_batch_norm(once, FOLD)
    assert {i: op.inputs for i, op in twice.ops.items()} == {i: op.inputs for i, op in once.ops.items()}
    assert not any(isinstance(op, BatchNorm) for op in once.ops.values()), "every shipped one follows a convolution"


# attention -----------------------------------------------------------------------------------------------------------


def attention_graph(*, heads: int = 4, kv_heads: int | None = None, bias: bool = False) -> OpGraph:
    b = GraphBuilder()
    kv = heads if kv_heads is None else kv_heads
    q, k, v = b.input("q", (2, 5, heads * 8)), b.input("k", (2, 7, kv * 8)), b.input("v", (2, 7, kv * 8))
    extra = b.parameter("bias", heads, 5, 7) if bias else None
    return b.graph([b.attention(q, k, v, heads=heads, kv_heads=kv_heads, bias=extra)])


def test_decomposed_attention_is_two_products_around_a_softmax() -> None:
    graph = decompose_attention(attention_graph(bias=True), APART)
    computed = [op_id for op_id, op in graph.ops.items() if op.family != "free"]
    parts = ["scores", "scale", "bias0", "softmax", "context"]
    assert computed == [f"attention/{part}" for part in parts]
    assert graph.tensors["attention/scores:0"].shape == (2, 4, 5, 7)
    assert graph.outputs == ("attention:0",) and graph.tensors["attention:0"].shape == (2, 5, 32)


@pytest.mark.parametrize("kv_heads", [None, 1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_decomposing_attention_keeps_macs_and_shapes(kv_heads: int | None, bias: bool) -> None:
    graph = attention_graph(kv_heads=kv_heads, bias=bias)
    decomposed = decompose_attention(graph, APART)
    # scores and context: 2 images x 4 heads x 5 queries x 7 keys x 8 channels each
    assert decomposed.macs == graph.macs == 2 * (2 * 4 * 5 * 7 * 8)
    decomposed.check_shapes()


def test_a_graph_without_attention_is_left_alone() -> None:
    graph = whole("resnet-18")
    assert decompose_attention(graph, APART) is graph
    decomposed = decompose_attention(whole("vit-ti-16"), APART)
    assert not any(isinstance(op, Attention) for op in decomposed.ops.values())
    assert decompose_attention(decomposed, APART) is decomposed


# composites ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", sorted(CHAINS))
def test_a_chain_does_the_work_of_the_function_it_replaces(function: str) -> None:
    b = GraphBuilder()
    graph = b.graph([b.activation(function, b.conv(b.input("x", (1, 4, 4, 3)), 8))])
    split = split_composites(graph, asking(split=(function,)))
    split.check_shapes()
    assert split.outputs == graph.outputs and len(split.ops) == 1 + len(CHAINS[function])
    whole_work, chain_work = count(graph), count(split)
    if "pow" not in CHAINS[function]:  # a cube by pow costs more than two multiplications
        assert chain_work.simple_ops == whole_work.simple_ops
        assert chain_work.transcendental_ops == whole_work.transcendental_ops
    assert split_composites(split, asking(split=(function,))).ops.keys() == split.ops.keys()
    assert split_composites(graph, asking(split=())) is graph


# precision -----------------------------------------------------------------------------------------------------------


def test_one_dtype_means_everything_but_integers() -> None:
    b = GraphBuilder()
    ids = b.input("ids", (1, 4), DTYPES["int32"])
    graph = apply_precision(b.graph([b.linear(b.embedding(ids, 10, 8), 4)]), asking(precision=precision("bf16")))
    assert graph.tensors["ids"].dtype.name == "int32"
    assert {t.dtype.name for t in graph.tensors.values() if t.id != "ids"} == {"bf16"}
    assert isinstance(graph.op("embedding"), Embedding) and not any(isinstance(o, Cast) for o in graph.ops.values())


def autocast_graph() -> OpGraph:
    """Two products with one weight, a norm, a residual of both formats, a softmax."""
    b = GraphBuilder()
    x, w = b.input("x", (4, 8)), b.parameter("w", 8, 8)
    first = b.add_op("first", MatMul, x, w)
    second = b.add_op("second", MatMul, b.relu(first), w)
    normed = b.layer_norm(second)
    total = b.add(normed, second, name="total")
    return b.graph([b.add_op("softmax", Softmax, b.linear(total, 8, name="last"))])


def test_autocast_by_hand() -> None:
    graph = apply_precision(autocast_graph(), asking(precision=precision("amp_fp16")))

    def dtype_in(op_id: str) -> list[str]:
        return [graph.tensors[t].dtype.name for t in graph.op(op_id).inputs]

    def dtype_out(op_id: str) -> str:
        return graph.tensors[graph.op(op_id).outputs[0]].dtype.name

    # products run in fp16, on operands that were cast
    assert dtype_in("first") == ["fp16", "fp16"] and dtype_out("first") == "fp16"
    assert dtype_in("second") == ["fp16", "fp16"]
    assert dtype_in("last") == ["fp16", "fp16", "fp16"] and dtype_out("last") == "fp16"
    # element-wise ops keep the format of their operand, and take the widest of two
    assert dtype_out("relu") == "fp16"
    assert dtype_in("total") == ["fp32", "fp16"] and dtype_out("total") == "fp32"
    # norms and softmax run in fp32
    assert set(dtype_in("norm")) == {"fp32"} and dtype_out("norm") == "fp32"
    assert dtype_in("softmax") == ["fp32"] and dtype_out("softmax") == "fp32"
    # casts: x, w once for both products, the norm's input, total, the last weight and bias, the softmax's input
    casts = [op.inputs[0] for op in graph.ops.values() if isinstance(op, Cast)]
    assert sorted(casts) == sorted(["x", "w", "second:0", "total:0", "last.weight", "last.bias", "last:0"])
    # parameters are stored in fp32
    assert {t.dtype.name for t in graph.tensors.values() if t.stored} == {"fp32"}


def test_autocast_keeps_batch_norm_in_the_format_of_its_input() -> None:
    """As cuDNN's: half-precision data with fp32 statistics, without a cast."""
    _, graph = conv_bn_relu(bias=False)
    cast = apply_precision(graph, asking(precision=precision("amp_fp16")))
    formats = [cast.tensors[t].dtype.name for t in cast.op("bn").inputs]
    assert formats == ["fp16", "fp32", "fp32", "fp32", "fp32"]
    assert cast.tensors["relu:0"].dtype.name == "fp16"


def test_autocast_widens_neither_updates_in_place_nor_by_numbers() -> None:
    """x.mul_(scale), x * tensor(0.5) and a norm that the program runs in fp16 itself; x * wide goes to fp32."""
    b = GraphBuilder()
    x = b.linear(b.input("x", (4, 8)), 8)
    wide, number = b.parameter("wide", 8), b.parameter("number")
    times: dict[str, Any] = {"function": "mul", "broadcast": (False, True)}
    updated = b.add_op("updated", Elementwise, x, wide, keeps_dtype=True, **times)
    scaled = b.add_op("scaled", Elementwise, updated, number, **times)
    normed = b.add_op("normed", Norm, scaled, low_precision=True)
    last = b.add_op("last", Elementwise, normed, wide, **times)
    graph = apply_precision(b.graph([last]), asking(precision=precision("amp_fp16")))
    formats = {op_id: graph.tensors[op.outputs[0]].dtype.name for op_id, op in graph.ops.items()}
    assert [formats[name] for name in ("updated", "scaled", "normed", "last")] == ["fp16", "fp16", "fp16", "fp32"]


@each_model
def test_autocast_lists_hold_for_every_network(name: str) -> None:
    graph = apply_precision(whole(name), asking(precision=precision("amp_bf16")))
    for op in graph.ops.values():
        formats = {graph.tensors[t].dtype.name for t in op.inputs}
        if isinstance(op, (Conv, MatMul, Attention)):
            assert formats == {"bf16"}
        if isinstance(op, (Norm, Softmax)):
            assert formats == {"fp32"}
    cast = [op.inputs[0] for op in graph.ops.values() if isinstance(op, Cast)]
    weights = [t for t in cast if graph.tensors[t].stored]
    assert len(set(weights)) == len(weights), "each weight is cast once in a run"


def test_a_graph_from_a_file_gets_no_casts_between_equal_formats() -> None:
    """What pickle makes has formats of its own, equal to those of the package."""
    graph = autocast_graph()
    kept = apply_precision(pickle.loads(pickle.dumps(graph)), asking(precision=precision("amp_fp16")))
    assert list(kept.ops) == list(apply_precision(graph, asking(precision=precision("amp_fp16"))).ops)


def test_precision_twice_is_precision_once() -> None:
    once = apply_precision(autocast_graph(), asking(precision=precision("amp_fp16")))
    twice = apply_precision(once, asking(precision=precision("amp_fp16")))
    assert list(twice.ops) == list(once.ops)


# all together --------------------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("dtype", ["fp16", "amp_fp16"])
@pytest.mark.parametrize("runtime_name", RUNTIMES)
def test_rewriting_keeps_macs_shapes_and_outputs(name: str, runtime_name: str, dtype: str) -> None:
    graph = whole(name)
    rewritten = rewrite(graph, policy_of(runtime_name, dtype))
    assert rewritten.macs == graph.macs
    assert len(rewritten.outputs) == len(graph.outputs)
    assert rewritten.inputs == graph.inputs
    rewritten.check_shapes()
    sizes = [graph.tensors[t].elements for t in graph.outputs]
    assert [rewritten.tensors[t].elements for t in rewritten.outputs] == sizes


@pytest.mark.parametrize("runtime_name", RUNTIMES)
@pytest.mark.parametrize("change", PASSES, ids=lambda change: change.__name__)
def test_a_pass_keeps_macs_and_inputs_and_has_nothing_left_to_do(change: Pass, runtime_name: str) -> None:
    asked = policy(runtime(runtime_name), precision("amp_fp16"))
    for name in ("efficientnet-b0", "vit-ti-16", "resnet-18"):
        graph = whole(name)
        changed = change(graph, asked)
        assert (changed.macs, changed.inputs) == (graph.macs, graph.inputs)
        assert list(change(changed, asked).ops) == list(changed.ops)


def test_a_pass_is_a_function_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the page; a pass that is not asked for returns the graph as it is."""
    (code,) = blocks(ROOT / "docs" / "adding-a-pass.md", "python")
    page: dict[str, Any] = {}
    exec(compile(code, "adding-a-pass.md", "exec"), page)
    b = GraphBuilder()
    graph = b.graph([b.relu(b.elementwise("identity", b.input("x", (2, 8))))])
    plain = asking()
    assert [k.name for k in lower(graph, plain)[1]] == ["identity", "relu"]
    monkeypatch.setattr("roofline.passes.pipeline.PASSES", (*PASSES, page["drop_copies"]))
    assert [k.name for k in lower(graph, plain)[1]] == ["relu"]
    assert [k.name for k in lower(graph, replace(plain, mode="forward_saving"))[1]] == ["identity", "relu"]
