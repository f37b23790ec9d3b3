"""JAX primitives: multiply-adds against XLA's own count, everything else against hand arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import roofline as rf
from roofline.errors import InputError, RooflineError, UnknownOpError

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from graphs import functions, kinds  # noqa: E402
from jax import lax  # noqa: E402

from roofline.frontends.jax import from_jax, rule  # noqa: E402
from roofline.frontends.jax.registry import RULES  # noqa: E402

NHWC = ("NHWC", "HWIO", "NHWC")


def spec(*shape: int, dtype: Any = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def conv(x: Any, w: Any, **options: Any) -> Any:
    return lax.conv_general_dilated(x, w, options.pop("stride", (1, 1)), options.pop("padding", "VALID"), **options)


#: windows without padding: XLA leaves out the products with zeros, which hardware computes
PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matrix": (lambda a, b: a @ b, (spec(5, 7), spec(7, 3))),
    "vector times matrix": (lambda a, b: a @ b, (spec(7), spec(7, 3))),
    "stacked": (lambda a, b: a @ b, (spec(4, 5, 7), spec(4, 7, 3))),
    "rows of a stack": (lambda a, b: a @ b, (spec(4, 5, 7), spec(7, 3))),
    "weight on the left": (lambda a, b: jnp.einsum("oc,btc->bto", a, b), (spec(3, 7), spec(4, 5, 7))),
    "heads": (lambda a, b: jnp.einsum("bhqd,bkhd->bqhk", a, b), (spec(2, 4, 8, 16), spec(2, 5, 4, 16))),
    "two contracted axes": (lambda a, b: jnp.einsum("bthd,hdc->btc", a, b), (spec(2, 5, 4, 8), spec(4, 8, 6))),
    "experts": (lambda a, b: jnp.einsum("ebd,edf->ebf", a, b), (spec(4, 3, 8), spec(4, 8, 6))),
    "vmap": (jax.vmap(lambda x, w: x @ w, in_axes=(0, None)), (spec(3, 5, 8), spec(8, 4))),
    "image nhwc": (lambda x, w: conv(x, w, dimension_numbers=NHWC), (spec(2, 15, 17, 8), spec(3, 3, 8, 6))),
    "image nchw": (lambda x, w: conv(x, w, stride=(2, 2)), (spec(2, 8, 15, 17), spec(4, 8, 3, 3))),
    "groups": (
        lambda x, w: conv(x, w, feature_group_count=2, dimension_numbers=NHWC), (spec(2, 9, 9, 8), spec(3, 3, 4, 6)),
    ),
    "depthwise": (
        lambda x, w: conv(x, w, feature_group_count=8, dimension_numbers=NHWC), (spec(2, 9, 9, 8), spec(3, 3, 1, 8)),
    ),
    "groups of examples": (
        lambda x, w: conv(x, w, batch_group_count=2, dimension_numbers=NHWC), (spec(4, 9, 9, 8), spec(3, 3, 8, 6)),
    ),
    "dilated": (
        lambda x, w: conv(x, w, rhs_dilation=(2, 2), dimension_numbers=NHWC), (spec(2, 15, 17, 8), spec(3, 3, 8, 6)),
    ),
    "one dimension": (
        lambda x, w: conv(x, w, stride=(2,), dimension_numbers=("NWC", "WIO", "NWC")), (spec(2, 15, 8), spec(4, 8, 6)),
    ),
    "three dimensions": (
        lambda x, w: conv(x, w, stride=(1, 1, 1), dimension_numbers=("NDHWC", "DHWIO", "NDHWC")),
        (spec(2, 5, 6, 7, 8), spec(3, 3, 3, 8, 6)),
    ),
    "remat": (lambda w, x: jax.checkpoint(lambda x: x @ w)(x), (spec(8, 4), spec(3, 8))),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_multiply_adds_are_those_that_xla_counts(name: str) -> None:
    function, shapes = PRODUCTS[name]
    graph = from_jax(function, *shapes)
    analysis = jax.jit(function).lower(*shapes).compile().cost_analysis()
    assert 2 * graph.macs == analysis["flops"]
    expected = jax.eval_shape(function, *shapes)
    assert [graph.tensors[t].shape for t in graph.outputs] == [expected.shape]
    assert kinds(graph) in (["matmul"], ["conv"], ["matmul", "move"], ["conv", "move"])


def test_a_transposed_convolution_counts_input_positions() -> None:
    graph = from_jax(lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME"), spec(2, 7, 7, 8), spec(4, 4, 8, 6))
    assert kinds(graph) == ["conv_transpose"]
    assert graph.macs == 2 * 7 * 7 * 8 * 6 * 4 * 4
    assert graph.tensors[graph.outputs[0]].shape == (2, 14, 14, 6)


def test_padding_and_strides_give_the_shapes_that_jax_gives() -> None:
    for size in (7, 8, 224):
        for padding in ("SAME", "VALID", [(3, 0), (0, 2)]):
            for stride in (1, 2, 3):
                function = lambda x, w: conv(x, w, stride=(stride,) * 2, padding=padding, dimension_numbers=NHWC)  # noqa: B023, E731
                shapes = spec(1, size, size, 3), spec(3, 3, 3, 4)
                from_jax(function, *shapes).check_shapes()


def test_an_image_network_with_channels_first_moves_nothing() -> None:
    def network(x: Any, w: Any, scale: Any) -> Any:
        y = jax.nn.relu(conv(x, w, padding="SAME") * scale[None, :, None, None])
        y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") + 1
        return jnp.mean(y, (2, 3))

    graph = from_jax(network, spec(2, 8, 16, 16), spec(8, 8, 3, 3), spec(8))
    assert functions(graph) == ["conv", "mul", "relu", "max", "add", "mean"]
    assert all(graph.tensors[op.outputs[0]].shape[-1] == 8 for op in graph.ops.values() if op.family != "free")


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (lambda x: jax.nn.softmax(x), (spec(4, 10),), ["softmax"]),
        (lambda x: jax.nn.silu(x), (spec(4, 10),), ["swish"]),
        (lambda x: jax.nn.gelu(x, approximate=False), (spec(4, 10),), ["gelu"]),
        (lambda x: jax.nn.gelu(x, approximate=True), (spec(4, 10),), ["gelu_tanh"]),
        (lambda x: 0.5 * x * (1 + lax.erf(x / 2**0.5)), (spec(4, 10),), ["gelu"]),
        (lambda x: jnp.mean(x, 1), (spec(4, 10),), ["mean"]),
        (lambda x: jnp.clip(x, 0, 6), (spec(4, 10),), ["relu", "min"]),
        (lambda x: x * 1.0 + 0.0, (spec(4, 10),), None),
        (lambda x: x.astype("bfloat16").astype("float32") * 2, (spec(4, 10),), ["scale"]),
        (lambda x: x**3, (spec(4, 10),), ["square", "mul"]),
        (lambda x: x + x.T, (spec(8, 8),), ["transpose", "add"]),
        (lambda x: x[:, 2:5] * 2, (spec(4, 10),), ["scale"]),
        (lambda x: jnp.roll(x, 2, axis=1), (spec(4, 10),), ["concat"]),
        (lambda x: jnp.stack([x, x], 1), (spec(4, 10),), ["concat"]),
        (lambda x: jnp.pad(x, ((0, 0), (1, 2))), (spec(4, 10),), ["pad"]),
        (lambda x: jnp.cumsum(x, axis=1), (spec(4, 10),), ["sum"]),
        (lambda x: jnp.sort(x), (spec(4, 10),), ["sort"]),
        (lambda x: lax.top_k(x, 3), (spec(4, 10),), ["sort"]),
        (lambda x: jnp.argmax(x, -1), (spec(4, 10),), ["max"]),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), (spec(4, 10),), ["compare", "scale", "select"]),
        (lambda x: jnp.repeat(x, 2, axis=1) * 2, (spec(4, 10),), ["scale"]),
        (lambda x: jnp.tile(x, (1, 2)) * 2, (spec(4, 10),), ["scale"]),
        (lambda x: jnp.broadcast_to(x, (3, 4, 10)), (spec(4, 10),), ["copy"]),
        (lambda x: sum(jnp.unstack(x, axis=1)), (spec(4, 3),), ["add", "add"]),
        (lambda t, i: t[i], (spec(100, 8), spec(2, 5, dtype="int32")), ["compare", "add", "select", "embedding"]),
        (lambda c, k: lax.dynamic_update_slice(c, k, (0, 4, 0)), (spec(2, 64, 8), spec(2, 1, 8)), ["update"]),
        (lambda x: jnp.ones((3, 4)), (spec(4),), ["full"]),
    ],
)
def test_what_programs_spell_out_is_what_compilers_run(
    function: Callable[..., Any], shapes: tuple[Any, ...], expected: list[str] | None
) -> None:
    if expected is None:
        with pytest.raises(InputError, match="computes nothing"):
            from_jax(function, *shapes)
        return
    graph = from_jax(function, *shapes)
    assert functions(graph) == expected
    got = jax.tree_util.tree_leaves(jax.eval_shape(function, *shapes))
    assert [graph.tensors[t].shape for t in graph.outputs] == [leaf.shape for leaf in got]


def test_bytes_are_those_of_what_is_read() -> None:
    cache = from_jax(lambda c, k: lax.dynamic_update_slice(c, k, (0, 4, 0)), spec(2, 64, 8), spec(2, 1, 8))
    assert rf.simulate(cache, "a100-40gb", dtype="fp32").traffic_bytes == 2 * (2 * 1 * 8) * 4  # a read and a write
    part = from_jax(lambda x: x[:, 2:5] * 2, spec(4, 10))
    assert rf.simulate(part, "a100-40gb", dtype="fp32").traffic_bytes == 2 * (4 * 3) * 4
    scaled = from_jax(lambda x, s: x * s, spec(64, 64, 8), spec(8))
    assert rf.simulate(scaled, "a100-40gb", dtype="fp32").traffic_bytes == (2 * 64 * 64 * 8 + 8) * 4


def test_whole_numbers_keep_their_format() -> None:
    graph = from_jax(lambda a, b: lax.dot(a, b, preferred_element_type=jnp.int32), spec(4, 8, dtype="int8"),
                     spec(8, 4, dtype="int8"))  # fmt: skip
    assert graph.macs == 128
    assert graph.tensors[graph.outputs[0]].dtype.name == "int32"


def test_random_bits_cost_what_threefry_costs() -> None:
    graph = from_jax(lambda k, x: jnp.where(jax.random.bernoulli(k, 0.5, x.shape), x, 0.0), spec(2, dtype="uint32"),
                     spec(4, 8))  # fmt: skip
    assert "threefry" in functions(graph)
    assert rf.simulate(graph, "tpu-v3").vector_ops >= 4 * 8 * 50


def test_all_unknown_primitives_are_named_at_once() -> None:
    def network(x: Any) -> Any:
        with jax.named_scope("decoder"):
            y = lax.linalg.lu(x)[0]
        return jnp.linalg.cholesky(x) + jnp.abs(y).sum() + jnp.linalg.cholesky(2 * x)

    with pytest.raises(UnknownOpError) as caught:
        from_jax(network, spec(8, 8))
    message = str(caught.value)
    assert "'lu' x1, first at 'decoder' (8x8)" in message and "'cholesky' x2" in message
    assert "@roofline.frontends.jax.lowering" in message and "\n" not in message


def test_a_rule_can_be_registered_once() -> None:
    def network(x: Any) -> Any:
        return lax.linalg.cholesky(x, symmetrize_input=False)

    with pytest.raises(UnknownOpError):
        from_jax(network, spec(8, 8))
    try:
        rule("cholesky")(lambda lowerer, equation, x: x)
        with pytest.raises(RooflineError, match="two lowering rules"):
            rule("cholesky")(lambda lowerer, equation, x: x)
        graph = from_jax(lambda x: network(x) * 2, spec(8, 8))
        assert functions(graph)[-1] == "scale"
    finally:
        RULES.pop("cholesky", None)


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (lambda x, w: x @ w, (spec(4, 8), spec(7, 3)), "does not trace"),
        (lambda x: x @ x.missing, (spec(4, 8),), "AttributeError"),
        (lambda x: x if x.sum() > 0 else -x, (spec(4, 8),), "does not trace"),
        (lambda x: x, ("an image",), "neither an array nor a shape"),
        (lambda x: lax.while_loop(lambda c: c.sum() > 0, lambda c: c - 1, x), (spec(4),), "trip count"),
        (lambda x: x * 2, (spec(4, dtype="int16"),), "int16"),
        (3, (spec(4),), "function or a flax module"),
    ],
)
def test_what_cannot_be_lowered_says_why_in_one_line(function: Any, shapes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_jax(function, *shapes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(InputError, match=r"pip install 'roofline\[jax\]'"):
        from_jax(lambda x: x, spec(4))


def test_nothing_is_computed() -> None:
    huge = spec(1 << 20, 1 << 20)  # 4 TiB
    assert from_jax(lambda a, b: a @ b, huge, huge).macs == float(1 << 60)
