"""Loops, branches and calls of JAX programs, and the arithmetic of what they run."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rf
from roofline.errors import InputError

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

from roofline.frontends.jax import from_jax  # noqa: E402


def spec(*shape: int, dtype: Any = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def recurrent(w: Any, u: Any, x: Any) -> Any:
    """Return the states of a plain recurrent network over x (T, N, C)."""
    return lax.scan(lambda h, t: (jnp.tanh(h @ w + t @ u),) * 2, jnp.zeros((x.shape[1], w.shape[0])), x)[1]


def test_a_recurrent_network_runs_its_body_for_every_step() -> None:
    graph = from_jax(recurrent, spec(8, 8), spec(4, 8), spec(5, 2, 4), params=0)
    assert graph.macs == 5 * 2 * (8 * 8 + 4 * 8)
    assert {op.times for op in graph.ops.values() if op.kind == "matmul"} == {5}
    assert graph.tensors[graph.outputs[0]].shape == (5, 2, 8)


def test_stacked_inputs_are_read_slice_by_slice() -> None:
    graph = from_jax(lambda x, h: lax.scan(lambda h, t: (h + t, None), h, x)[0], spec(1000, 64, 64), spec(64, 64))
    traffic = rf.simulate(graph, "a100-40gb", dtype="fp32").traffic_bytes
    step = 64 * 64 * 4
    assert traffic == 1000 * 3 * step  # a slice and the state in, the state out


def test_stacked_layers_are_as_many_products_and_parameters() -> None:
    def network(layers: Any, x: Any) -> Any:
        return lax.scan(lambda h, p: (jax.nn.relu(h @ p["w"] + p["b"]), None), x, layers)[0]

    def unrolled(layers: Any, x: Any) -> Any:
        for i in range(6):
            x = jax.nn.relu(x @ layers["w"][i] + layers["b"][i])
        return x

    layers, x = {"w": spec(6, 32, 32), "b": spec(6, 32)}, spec(8, 32)
    rolled, flat = from_jax(network, layers, x), from_jax(unrolled, layers, x)
    assert rolled.macs == flat.macs == 6 * 8 * 32 * 32
    assert rolled.params == flat.params == 6 * (32 * 32 + 32)
    a, b = rf.simulate(rolled, "tpu-v4i"), rf.simulate(flat, "tpu-v4i")
    assert a.traffic_bytes == pytest.approx(b.traffic_bytes, rel=0.02)


@pytest.mark.parametrize(
    ("loop", "trips"),
    [
        (lambda x: lax.fori_loop(0, 3, lambda i, c: c @ c, x), 3),
        (lambda x: lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 2, c[1] @ c[1]), (0, x))[1], 4),
        (lambda x: lax.while_loop(lambda c: c[1] >= 1, lambda c: (c[0] @ c[0], c[1] - 1), (x, 5))[0], 5),
        (lambda x: lax.while_loop(lambda c: c[1] > 0, lambda c: (c[0] @ c[0], c[1] - 1), (x, 5))[0], 5),
        (lambda x: lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, 4, lambda j, d: d @ d, c), x), 12),
    ],
)
def test_counted_loops_run_as_often_as_they_count(loop: Any, trips: int) -> None:
    assert from_jax(loop, spec(8, 8)).macs == trips * 8**3


@pytest.mark.parametrize(
    "loop",
    [
        lambda n, x: lax.fori_loop(0, n, lambda i, c: c @ c, x),
        lambda n, x: lax.while_loop(lambda c: jnp.max(c) < 1, lambda c: c @ c, x),
        lambda n, x: lax.while_loop(lambda c: (c[0] < 3) & (c[1].sum() < n), lambda c: (c[0] + 1, c[1] @ c[1]), (0, x)),
    ],
)
def test_a_loop_that_data_ends_says_what_to_change(loop: Any) -> None:
    with pytest.raises(InputError, match="trip count of a while loop depends on data"):
        from_jax(loop, spec(dtype="int32"), spec(8, 8))


def test_a_loop_that_never_runs_is_refused() -> None:
    with pytest.raises(InputError, match="runs 0 times"):
        from_jax(lambda x: lax.while_loop(lambda c: c[0] < 0, lambda c: (c[0] + 1, c[1] @ c[1]), (0, x))[1], spec(8, 8))


def test_of_branches_the_dearest_runs() -> None:
    def network(p: Any, x: Any) -> Any:
        return lax.switch(p, [lambda x: x, lambda x: x @ x @ x, lambda x: jnp.sin(x)], x)

    assert from_jax(network, spec(dtype="int32"), spec(8, 8)).macs == 2 * 8**3
    known = from_jax(lambda x: lax.switch(2, [lambda x: x @ x, lambda x: x, lambda x: jnp.sin(x)], x), spec(8, 8))
    assert known.macs == 0 and len(known) == 1


def test_a_gradient_lowers_like_any_program() -> None:
    graph = from_jax(jax.grad(lambda w, x: jnp.sum(jax.nn.relu(x @ w) ** 2)), spec(8, 4), spec(3, 8))
    assert graph.macs == 2 * 3 * 8 * 4  # forward, and the weight's gradient


def test_ragged_products_are_balanced() -> None:
    graph = from_jax(lambda x, w, n: lax.ragged_dot(x, w, n), spec(64, 3), spec(4, 3, 5), spec(4, dtype="int32"))
    assert graph.macs == 64 * 3 * 5
    weights = [op.inputs[1] for op in graph.ops.values() if op.kind == "matmul"]
    assert graph.tensors[weights[0]].elements == 4 * 3 * 5  # every expert is read
    with pytest.raises(InputError, match="evenly"):
        from_jax(lambda x, w, n: lax.ragged_dot(x, w, n), spec(63, 3), spec(4, 3, 5), spec(4, dtype="int32"))
