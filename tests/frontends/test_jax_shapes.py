"""Views in any order: random programs of transpositions, reshapes, broadcasts and arithmetic keep their shapes."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rf

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

from roofline.frontends.jax import from_jax  # noqa: E402

STEPS = ("transpose", "merge", "split", "new axis", "repeat", "add row", "gate", "sum", "cut", "join", "conv", "dot",
         "pool", "cumsum", "pad", "square")  # fmt: skip


def step(name: str, choice: int, x: Any) -> Any:
    """Apply one random step, or nothing where it does not fit."""
    rank = x.ndim
    axis = choice % rank if rank else 0
    if name == "transpose" and rank > 1:
        return jnp.moveaxis(x, axis, (choice // 7) % rank)
    if name == "merge" and rank > 1:
        at = choice % (rank - 1)
        return x.reshape(*x.shape[:at], x.shape[at] * x.shape[at + 1], *x.shape[at + 2 :])
    if name == "split" and rank and x.shape[axis] % 2 == 0 and rank < 5:
        return x.reshape(*x.shape[:axis], 2, x.shape[axis] // 2, *x.shape[axis + 1 :])
    if name == "new axis" and rank < 5:
        return jnp.expand_dims(x, axis)
    if name == "repeat" and 1 in x.shape and x.size < 4096:
        at = x.shape.index(1)
        return jnp.broadcast_to(x, (*x.shape[:at], 3, *x.shape[at + 1 :]))
    if name == "add row" and rank:
        return x + jnp.arange(x.shape[-1], dtype=x.dtype)
    if name == "gate" and rank:
        return x * x.mean(axis, keepdims=True)
    if name == "sum" and rank > 2:
        return x.sum(axis)
    if name == "cut" and rank and x.shape[axis] > 2:
        return lax.slice_in_dim(x, 1, x.shape[axis], axis=axis)
    if name == "join" and rank and x.size < 4096:
        return jnp.concatenate([x, x + 1], axis)
    if name == "conv" and rank == 4:
        weight = jnp.ones((x.shape[1], x.shape[1], 1, 1), x.dtype)
        return lax.conv_general_dilated(x, weight, (1, 1), "SAME")
    if name == "dot" and rank > 1:
        return jnp.tensordot(x, jnp.ones((x.shape[axis], 4), x.dtype), axes=((axis,), (0,)))
    if name == "pool" and rank == 4:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")
    if name == "cumsum" and rank:
        return jnp.cumsum(x, axis)
    if name == "pad" and rank and x.size < 4096:
        return jnp.pad(x, [(i == axis, 0) for i in range(rank)])
    return x * x


@settings(max_examples=150)
@given(
    shape=st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=1, max_size=4),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 100)), min_size=1, max_size=12),
)
def test_random_programs_keep_their_shapes(shape: list[int], steps: list[tuple[str, int]]) -> None:
    def program(x: Any) -> Any:
        for name, choice in steps:
            x = step(name, choice, x)
        return jnp.exp(x)

    spec = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    graph = from_jax(program, spec)
    expected = jax.eval_shape(program, spec).shape
    assert [graph.tensors[t].shape for t in graph.outputs] == [expected]
    graph.check_shapes()
    report = rf.simulate(graph, "a100-40gb", dtype="fp32")
    assert report.traffic_bytes >= 4 * (prod(expected))  # the result at least is written
    assert report.latency_s > 0


@pytest.mark.parametrize("old", [2, 3])
def test_random_networks_over_images_are_rebatched_exactly(old: int) -> None:
    def program(x: Any) -> Any:
        y = jnp.moveaxis(x, -1, 1)
        y = lax.conv_general_dilated(y, jnp.ones((8, 4, 3, 3)), (1, 1), "SAME")
        y = y.reshape(y.shape[0], 8, -1).transpose(0, 2, 1)
        y = jax.nn.softmax(y @ y.transpose(0, 2, 1)) @ y
        return y.reshape(-1, 8) @ jnp.ones((8, 2))

    small, large = (from_jax(program, jax.ShapeDtypeStruct((n, 10, 10, 4), jnp.float32)) for n in (old, 16))
    assert small.with_batch(16).macs == large.macs
