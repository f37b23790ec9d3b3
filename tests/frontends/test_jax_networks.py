"""Whole networks in JAX: counts as published, norms and attention as one op each, roles of flax variables."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rf

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
import jax.numpy as jnp  # noqa: E402
from flax import linen, nnx  # noqa: E402
from graphs import kinds  # noqa: E402
from jax_models import EncoderBlock, abstract, image, make  # noqa: E402
from pages import blocks  # noqa: E402
from places import ROOT  # noqa: E402

from roofline.frontends.jax import from_jax  # noqa: E402


def spec(*shape: int, dtype: Any = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


#: (MACs of one image of 224 x 224, trained parameters): EfficientNet and ResNet papers' counts, exact
COUNTS = {
    "resnet-50": (4_089_184_256.0, 25_557_032.0),
    "efficientnet-b0": (385_814_752.0, 5_288_548.0),
    "vit-b-16": (17_563_828_224.0, 86_567_656.0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_networks_in_flax_have_the_published_counts(name: str) -> None:
    graph = from_jax(make(name), image(1), name=name)
    macs, params = COUNTS[name]
    assert (graph.macs, graph.params) == (macs, params)
    assert rf.op_graph(name).macs == macs


@pytest.mark.parametrize("name", COUNTS)
def test_another_batch_is_what_lowering_again_gives(name: str) -> None:
    again = from_jax(make(name), image(8), name=name)
    for old in (1, 2):
        grown = from_jax(make(name), image(old), name=name).with_batch(8)
        assert grown.macs == again.macs
        for device in ("tpu-v3", "a100-40gb"):
            a, b = rf.simulate(grown, device), rf.simulate(again, device)
            assert a.latency_s == pytest.approx(b.latency_s, rel=1e-3)
            assert a.traffic_bytes == b.traffic_bytes


def test_a_transformer_block() -> None:
    graph = from_jax(abstract(lambda: EncoderBlock(64, 4, nnx.Rngs(0))), spec(2, 16, 64))
    assert kinds(graph) == [
        "norm", "matmul", "attention", "matmul", "elementwise",
        "norm", "matmul", "elementwise", "matmul", "elementwise",
    ]  # fmt: skip
    tokens = 2 * 16
    assert graph.macs == tokens * 64 * (3 * 64 + 64 + 8 * 64) + 2 * tokens * 16 * 64
    assert graph.params == 12 * 64 * 64 + (3 + 1 + 4 + 1) * 64 + 4 * 64


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: nnx.LayerNorm(64, rngs=nnx.Rngs(0)), (2, 16, 64), ["norm"]),
        (lambda: nnx.LayerNorm(64, use_fast_variance=False, rngs=nnx.Rngs(0)), (2, 16, 64), ["norm"]),
        (lambda: nnx.LayerNorm(64, use_bias=False, use_scale=False, rngs=nnx.Rngs(0)), (2, 16, 64), ["norm"]),
        (lambda: nnx.RMSNorm(64, rngs=nnx.Rngs(0)), (2, 16, 64), ["norm"]),
        (lambda: nnx.GroupNorm(64, 8, rngs=nnx.Rngs(0)), (2, 8, 8, 64), ["norm"]),
        (lambda: nnx.BatchNorm(64, use_running_average=True, rngs=nnx.Rngs(0)), (2, 8, 8, 64), ["batch_norm"]),
        (lambda: nnx.Linear(64, 32, rngs=nnx.Rngs(0)), (2, 16, 64), ["matmul"]),
        (lambda: nnx.Conv(64, 32, (3, 3), rngs=nnx.Rngs(0)), (2, 8, 8, 64), ["conv"]),
        (lambda: nnx.ConvTranspose(64, 32, (3, 3), strides=2, rngs=nnx.Rngs(0)), (2, 8, 8, 64), ["conv_transpose"]),
        (lambda: nnx.Embed(100, 16, rngs=nnx.Rngs(0)), None, ["compare", "add", "select", "embedding"]),
    ],
)
def test_layers_of_flax_are_one_op_each(layer: Any, shape: tuple[int, ...] | None, expected: list[str]) -> None:
    x = spec(2, 5, dtype="int32") if shape is None else spec(*shape)
    graph = from_jax(abstract(layer), x)
    found = [getattr(op, "function", op.kind) if op.kind == "elementwise" else op.kind for op in graph.ops.values()
             if op.family != "free"]  # fmt: skip
    assert found == expected


def test_forms_of_norms() -> None:
    for layer, form in (
        (lambda: nnx.LayerNorm(64, rngs=nnx.Rngs(0)), "layer"), (lambda: nnx.RMSNorm(64, rngs=nnx.Rngs(0)), "rms"),
        (lambda: nnx.GroupNorm(64, 8, rngs=nnx.Rngs(0)), "group"),
    ):  # fmt: skip
        (op,) = (o for o in from_jax(abstract(layer), spec(2, 8, 8, 64)).ops.values() if o.kind == "norm")
        assert getattr(op, "form", None) == form


def test_a_residual_around_a_norm_stays_outside_it() -> None:
    def network(p: Any, x: Any) -> Any:
        y = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["shift"]
        return jax.nn.relu(x + y)

    graph = from_jax(network, {"scale": spec(64), "shift": spec(64)}, spec(2, 16, 64))
    assert kinds(graph) == ["norm", "elementwise", "elementwise"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_is_caught_with_its_heads(kv_heads: int, causal: bool) -> None:
    q, k = spec(2, 16, 4, 32), spec(2, 24 if not causal else 16, kv_heads, 32)
    graph = from_jax(lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=causal), q, k, k)
    assert kinds(graph) == ["attention"]
    (op,) = (o for o in graph.ops.values() if o.kind == "attention")
    assert (op.heads, op.kv_heads, op.causal) == (4, kv_heads, causal)  # type: ignore[attr-defined]
    assert graph.macs == 2 * (2 * 4 * 16 * k.shape[1] * 32)


def test_a_bias_of_the_scores_is_read_by_attention() -> None:
    q, bias = spec(2, 16, 4, 32), spec(1, 4, 16, 16)
    graph = from_jax(lambda q, b: jax.nn.dot_product_attention(q, q, q, bias=b), q, bias)
    assert kinds(graph) == ["attention"]
    (op,) = (o for o in graph.ops.values() if o.kind == "attention")
    assert len(op.inputs) == 4


def test_attention_of_flax_and_attention_by_hand_cost_the_same() -> None:
    def by_hand(p: Any, x: Any) -> Any:
        q, k, v = (jnp.einsum("btc,chd->bthd", x, p[name]) + p[name + "_bias"] for name in "qkv")
        scores = jnp.einsum("bqhd,bkhd->bhqk", q / 4, k)
        y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        return jnp.einsum("bqhd,hdc->bqc", y, p["o"]) + p["o_bias"]

    weights = {name: spec(64, 4, 16) for name in "qkv"} | {name + "_bias": spec(4, 16) for name in "qkv"}
    weights |= {"o": spec(4, 16, 64), "o_bias": spec(64)}
    module = abstract(lambda: nnx.MultiHeadAttention(num_heads=4, in_features=64, decode=False, rngs=nnx.Rngs(0)))
    a, b = from_jax(by_hand, weights, spec(2, 16, 64)), from_jax(module, spec(2, 16, 64))
    assert a.macs == b.macs and a.params == b.params == 4 * (64 * 64 + 64)
    for device in ("tpu-v3", "a100-40gb"):
        assert rf.simulate(a, device).latency_s == pytest.approx(rf.simulate(b, device).latency_s, rel=1e-6)


def test_a_linen_module_lowers_without_variables() -> None:
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            x = linen.Conv(8, (3, 3), use_bias=False)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=True)(x))
            return linen.Dense(10)(x.mean((1, 2)))

    graph = from_jax(Net(), spec(2, 16, 16, 3))
    assert graph.params == 3 * 3 * 3 * 8 + 2 * 8 + 8 * 10 + 10  # statistics are buffers
    assert graph.macs == 2 * (16 * 16 * 27 * 8 + 80)
    assert kinds(graph) == ["conv", "batch_norm", "elementwise", "reduce", "matmul"]
    assert {t.role for t in graph.tensors.values() if t.stored} == {"parameter", "buffer"}


def test_the_argument_of_the_parameters_is_found_or_told() -> None:
    tree, x = {"w": spec(16, 4)}, spec(8, 16)
    assert from_jax(lambda p, x: x @ p["w"], tree, x).params == 64
    assert from_jax(lambda x, p: x @ p["w"], x, tree).params == 0
    assert from_jax(lambda x, p: x @ p["w"], x, tree, params=1).params == 64
    assert from_jax(lambda w, x: x @ w, spec(16, 4), x).params == 0  # one array alone is an input
    assert from_jax(lambda w, x: x @ w, spec(16, 4), x, params=0).params == 64
    with pytest.raises(rf.RooflineError, match="params=2"):
        from_jax(lambda w, x: x @ w, spec(16, 4), x, params=2)


def test_weights_in_a_closure_are_buffers() -> None:
    weight = jnp.ones((16, 4))
    graph = from_jax(lambda x: x @ weight, spec(8, 16))
    assert graph.params == 0 and graph.macs == 8 * 16 * 4
    assert [t.role for t in graph.tensors.values() if t.shape == (16, 4)] == ["buffer"]


@pytest.mark.parametrize("page", ["bring-your-own.md", "jax.md"])
def test_the_examples_of_the_pages_run(page: str) -> None:
    from roofline.frontends.jax.registry import RULES

    names: dict[str, Any] = {}
    try:
        for code in blocks(ROOT / "docs" / page, "python"):
            exec(compile(code, page, "exec"), names)
    finally:
        RULES.pop("bessel_i0e", None)


def test_ops_are_called_as_the_program_calls_its_layers() -> None:
    graph = from_jax(make("resnet-50"), image(1))
    assert {"stem/conv", "blocks/0/reduce/conv", "head"} <= set(graph.ops)
