"""What JAX programs have beside products: one device of a mesh, frequencies, complex numbers, gradients of windows."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rf
from roofline.errors import InputError
from roofline.graph.gradients import PoolGrad
from roofline.graph.sampling import Fourier
from roofline.work import count

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

from roofline.frontends.jax import from_jax  # noqa: E402


def spec(*shape: int, dtype: Any = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def on_a_mesh(function: Any, shape: tuple[int, ...]) -> Any:
    mesh = jax.sharding.AbstractMesh(shape, ("d",))
    part = jax.sharding.PartitionSpec("d")
    return jax.shard_map(function, mesh=mesh, in_specs=part, out_specs=part, check_vma=False)


def exchanged(a: Any) -> Any:
    untyped: Any = lax
    product = untyped.psum(a @ a, "d") + untyped.axis_index("d")
    gathered = untyped.all_gather(a, "d", tiled=True) + untyped.all_gather(a, "d")[0]
    return product + gathered + untyped.psum_scatter(a, "d", tiled=True) + untyped.ppermute(a, "d", [(0, 0)])


def test_the_only_device_of_a_mesh_runs_the_program() -> None:
    graph = from_jax(on_a_mesh(exchanged, (1,)), spec(8, 8))
    assert graph.macs == 8 * 8 * 8
    assert {op.kind for op in graph.ops.values() if op.family != "free"} == {"matmul", "elementwise"}
    with pytest.raises(InputError, match="a program for 4 devices"):
        from_jax(on_a_mesh(lambda a: a @ a.T, (4,)), spec(8, 8))


def test_a_map_over_one_device() -> None:
    untyped: Any = lax
    mapped = jax.pmap(lambda a: untyped.pmean(a @ a, "i"), axis_name="i")
    assert from_jax(mapped, spec(1, 8, 8)).macs == 8 * 8 * 8


def test_comparisons_of_sorted_search_lower() -> None:
    graph = from_jax(lambda x, bins: jnp.searchsorted(bins, x), spec(64), spec(16))
    assert graph.tensors[graph.outputs[0]].shape == (64,)


@pytest.mark.parametrize(
    ("transform", "back", "lengths"),
    [(jnp.fft.rfft, jnp.fft.irfft, (1,)), (jnp.fft.rfft2, jnp.fft.irfft2, (4, 1)), (jnp.fft.fft2, None, (1, 1))],
)
def test_a_transform_along_each_axis_is_one_op(transform: Any, back: Any, lengths: tuple[int, ...]) -> None:
    """5 n log2 n for n complex points, half for real ones; of 8 x 8 real points 5 columns are left after the rows."""
    x = spec(3, 8, 8) if back else spec(3, 8, 8, dtype="complex64")
    graph = from_jax(transform, x)
    ops = [op for op in graph.ops.values() if op.kind == "fourier"]
    assert len(ops) == len(lengths) == len(graph.ops)
    points, expected = 3 * 8 * 8, 0.0
    if back is None:
        expected = 2 * 5 * points * 3
    else:
        expected = 2.5 * points * 3 + (5 * (3 * 5 * 8) * 3 if len(lengths) == 2 else 0)
    assert float(count(graph).simple_ops) == expected
    out = graph.tensors[graph.outputs[0]]
    assert out.dtype.name == "complex64" and out.shape == jax.eval_shape(transform, x).shape
    if back is not None:
        again = from_jax(lambda x: back(transform(x)), x)
        assert float(count(again).simple_ops) == pytest.approx(2 * expected)
        assert again.tensors[again.outputs[0]].dtype.name == "fp32"


def test_a_transform_of_permuted_axes_moves_nothing() -> None:
    graph = from_jax(lambda x: jnp.fft.fft(x.transpose(0, 2, 1)), spec(2, 4, 16, dtype="complex64"))
    (op,) = (op for op in graph.ops.values() if op.kind == "fourier")
    assert isinstance(op, Fourier) and (op.axis, op.length) == (1, 4)
    assert sum(op.kind == "move" for op in graph.ops.values()) <= 1  # the result in the order of the program


def test_a_complex_product_is_four_real_ones() -> None:
    a, b = (spec(*shape, dtype="complex64") for shape in ((16, 32), (32, 8)))
    assert from_jax(jnp.matmul, a, b).macs == 4 * 16 * 32 * 8
    graph = from_jax(lambda a: jnp.abs(jnp.conj(jnp.exp(a)) * a.real + a.imag), a)
    assert graph.tensors[graph.outputs[0]].dtype.name == "fp32"
    assert rf.simulate(graph, "a100-40gb", dtype="fp32").latency_s > 0


def test_the_gradient_of_a_maximum_reads_what_came_in() -> None:
    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")

    graph = from_jax(lambda x, dy: jax.vjp(pooled, x)[1](dy)[0], spec(2, 8, 8, 5), spec(2, 4, 4, 5))
    (op,) = (op for op in graph.ops.values() if op.kind == "pool_grad")
    assert [graph.tensors[t].shape for t in (*op.inputs, *op.outputs)] == [(2, 4, 4, 5), (2, 8, 8, 5), (2, 8, 8, 5)]
    assert isinstance(op, PoolGrad) and op.kernel == (3, 3)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_of_examples_are_groups_of_channels(groups: int) -> None:
    def gradient(x: Any, w: Any) -> Any:
        def total(w: Any) -> Any:
            dims = ("NHWC", "HWIO", "NHWC")
            return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=dims, feature_group_count=groups)

        return jax.vjp(total, w)[1](jnp.ones((2, 6, 6, 8)))[0]

    x, w = spec(2, 8, 8, 4), spec(3, 3, 4 // groups, 8)
    graph = from_jax(gradient, x, w)
    assert graph.macs == 2 * 6 * 6 * 8 * 9 * (4 // groups)  # as many as forward
    assert tuple(graph.tensors[graph.outputs[0]].shape) == w.shape
