"""JAX programs with a name on every equation: the same program, the same graph, and every name an op's."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from roofline.errors import InputError  # noqa: E402
from roofline.frontends.jax.api import from_jax  # noqa: E402
from roofline.frontends.jax.tags import Tagged, tagged  # noqa: E402


def feed_forward(p: Any, x: Any) -> Any:
    with jax.named_scope("norm"):
        h = x - jnp.mean(x, -1, keepdims=True)
        h = h * jax.lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-5) * p["scale"] + p["shift"]
    return x + jax.nn.silu(h @ p["up"]) @ p["down"]


def shapes(**sizes: tuple[int, ...]) -> dict[str, Any]:
    return {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}


SPECS = (shapes(scale=(32,), shift=(32,), up=(32, 64), down=(64, 32)), jax.ShapeDtypeStruct((8, 32), jnp.float32))


@pytest.fixture(scope="module")
def made() -> Tagged:
    return tagged(feed_forward, *SPECS)


def test_the_graph_is_that_of_the_program(made: Tagged) -> None:
    plain = from_jax(feed_forward, *SPECS)
    assert list(made.graph.ops) == list(plain.ops)
    assert (made.graph.macs, made.graph.params, made.graph.name) == (plain.macs, plain.params, "feed_forward")


def test_it_computes_the_same(made: Tagged) -> None:
    draw = np.random.default_rng(0)
    arguments = jax.tree_util.tree_map(lambda s: draw.normal(size=s.shape).astype(s.dtype), SPECS)
    (result,) = made.function(*jax.tree_util.tree_leaves(arguments))
    np.testing.assert_allclose(result, feed_forward(*arguments), rtol=1e-6)


def test_every_equation_belongs_to_an_op(made: Tagged) -> None:
    jaxpr = str(jax.make_jaxpr(made.function)(*made.specs))
    equations = max(int(scope.partition(".")[2]) for scope in made.scopes)
    assert set(made.scopes) == {f"eqn.{n}" for n in range(1, equations + 1)}
    assert set(made.scopes.values()) == set(made.graph.ops)
    assert jaxpr.count("rsqrt") == 1  # traced anew, nothing is doubled
    kinds = {made.graph.op(op).kind: 0 for op in made.graph.ops}
    for op in made.scopes.values():
        kinds[made.graph.op(op).kind] += 1
    assert kinds["norm"] > 5 and kinds["matmul"] == 2  # a norm is spelled out, a product is one equation
    assert kinds["elementwise"] == 3  # logistic and product are the swish; the residual


def test_what_several_ops_read_belongs_to_none() -> None:
    found = tagged(lambda x, w: (jnp.exp(-x) @ w, jnp.exp(-x) + 1.0), *(jax.ShapeDtypeStruct((8, 8), "float32"),) * 2)
    owners = list(found.scopes.values())
    assert len(owners) == len(found.scopes) and set(owners) <= set(found.graph.ops)


def test_loops_and_inner_programs_are_entered() -> None:
    def program(w: Any, x: Any) -> Any:
        y, _ = jax.lax.scan(lambda c, each: (jnp.tanh(c @ each), None), x, w)
        return jax.jit(lambda z: z * 2.0 + y)(y)

    found = tagged(program, jax.ShapeDtypeStruct((3, 8, 8), "float32"), jax.ShapeDtypeStruct((4, 8), "float32"))
    runs = {found.graph.op(op).kind: found.graph.op(op).times for op in found.scopes.values()}
    assert runs["matmul"] == 3 and {found.graph.op(op).times for op in found.scopes.values()} == {1, 3}
    working = {op for op in found.graph.ops if found.graph.op(op).family != "free"}
    assert set(found.scopes.values()) == working
    w, x = np.ones((3, 8, 8), np.float32) / 8, np.ones((4, 8), np.float32)
    np.testing.assert_allclose(found.function(w, x)[0], program(w, x), rtol=1e-6)


def test_a_flax_network_told_by_every_op() -> None:
    pytest.importorskip("flax")
    from flax import nnx
    from jax_models import EfficientNetB0, abstract, image

    made = tagged(abstract(lambda: EfficientNetB0(nnx.Rngs(0))), image(2))
    working = {op for op in made.graph.ops if made.graph.op(op).family != "free"}
    assert set(made.scopes.values()) == working and len(working) > 200
    assert made.graph.params == from_jax(abstract(lambda: EfficientNetB0(nnx.Rngs(0))), image(2)).params > 5e6
    assert all(len(spec.shape) in (0, 1, 2, 4) for spec in made.specs)


def test_what_does_not_trace_is_said_as_by_from_jax() -> None:
    with pytest.raises(InputError, match="'<lambda>' does not trace with these shapes: TypeError"):
        tagged(lambda x: x @ x, jax.ShapeDtypeStruct((8, 4), "float32"))
