"""JAX programs with a name on every equation, so that what a compiler made of them can be told by the ops of our graph.

Compilers carry the named scopes of a program along. Its own scopes are too coarse, and the ops that `from_jax` folds
from several equations have no name in it; so the program is run once more, equation by equation, each in a scope of its
own, and the graph is lowered from that: the names of its ops begin with the scope of the equation they come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from roofline.frontends.jax.api import as_function, from_jax
from roofline.graph.opgraph import OpGraph

_TAG = re.compile(r"(?:^|/)(eqn\.\d+)(?=/|$|_|:)")
#: calls whose program runs in their place; what else holds programs (branches, loops without end) is one equation
_INLINED = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "call", "remat", "remat2", "checkpoint", "custom_jvp_call")
)
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tagged:
    """A program and its graph.

    Attributes
    ----------
    function, specs
        The program as a function of arrays, one after the other, and their shapes.
    scopes
        Scope -> the op that what stands in it belongs to.
    """

    graph: OpGraph
    function: Callable[..., Any]
    specs: tuple[Any, ...]
    scopes: dict[str, str]


@dataclass(eq=False)
class _Run:
    """One run of the program: how many equations there were, and which read what which wrote."""

    count: int = 0
    readers: dict[str, set[str]] = field(default_factory=dict)

    def evaluate(
        self, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[tuple[Any, str]]
    ) -> list[tuple[Any, str]]:
        """Run a jaxpr on (value, scope that made it); return its results so."""
        known: dict[Any, tuple[Any, str]] = dict(zip(jaxpr.constvars, ((c, "") for c in constants), strict=True))
        known |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> tuple[Any, str]:
            return (atom.val, "") if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            known.update(zip(equation.outvars, self._equation(equation, operands), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, operands: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
        import jax

        if equation.primitive.name in _INLINED:
            body = next(equation.params[name] for name in _BODIES if name in equation.params)
            inner, constants = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())
            with _scope(str(equation.source_info.name_stack)):
                return self.evaluate(inner, constants, operands)
        if equation.primitive.name == "scan":
            with _scope(str(equation.source_info.name_stack)):
                return self._scan(equation.params, [value for value, _ in operands])
        self.count += 1
        scope = f"eqn.{self.count}"
        for _, made in operands:
            if made:
                self.readers.setdefault(made, set()).add(scope)
        asked = equation.primitive.get_bind_params(equation.params)
        functions, params = asked if isinstance(asked, tuple) else ((), asked)  # a pair before jax 0.10
        with _scope(str(equation.source_info.name_stack)), jax.named_scope(scope):
            results = equation.primitive.bind(*functions, *(value for value, _ in operands), **params)
        return [(result, scope) for result in (results if equation.primitive.multiple_results else [results])]

    def _scan(self, params: dict[str, Any], values: list[Any]) -> list[tuple[Any, str]]:
        """Run a loop over stacked arrays, with names in its body."""
        import jax

        body, fixed, carried = params["jaxpr"], int(params["num_consts"]), int(params["num_carry"])

        def step(carry: Any, stacked: Any) -> Any:
            inputs = [(value, "") for value in (*values[:fixed], *carry, *stacked)]
            results = [value for value, _ in self.evaluate(body.jaxpr, body.consts, inputs)]
            return results[:carried], results[carried:]

        carry, stacked = values[fixed : fixed + carried], values[fixed + carried :]
        how = {name: params[name] for name in ("length", "reverse", "unroll")}
        last, each = jax.lax.scan(step, carry, stacked, **how)
        return [(value, "") for value in (*last, *each)]


def _scope(name: str) -> AbstractContextManager[Any]:
    import jax

    return jax.named_scope(name) if name else nullcontext()


def tagged(function: Callable[..., Any], *specs: Any, name: str | None = None, params: int | None = None) -> Tagged:
    """Lower a JAX function as `from_jax` does, with the scopes by which its compiled form is told.

    Raises
    ------
    InputError, UnknownOpError
        As `from_jax`.
    """
    plain = from_jax(function, *specs, name=name, params=params)  # says what is wrong in the user's own names
    import jax

    call, arguments, _ = as_function(jax, function, specs, params)
    leaves, tree = jax.tree_util.tree_flatten(arguments)
    shaped: Any = jax.ShapeDtypeStruct
    arrays = tuple(shaped(leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf for leaf in leaves)
    closed = jax.make_jaxpr(lambda *flat: call(*jax.tree_util.tree_unflatten(tree, flat)))(*arrays)
    run = _Run()

    def named(*flat: Any) -> list[Any]:
        run.count = 0
        results = run.evaluate(closed.jaxpr, closed.consts, [(value, "") for value in flat])
        return [value for value, _ in results]

    graph = from_jax(lambda *args: named(*jax.tree_util.tree_leaves(args)), *arguments, name=plain.name, params=params)
    scopes = _scopes(graph, run)
    if [type(op) for op in graph.ops.values()] == [
        type(op) for op in plain.ops.values()
    ]:  # but for the names, the same
        readable = dict(zip(graph.ops, plain.ops, strict=True))
        graph, scopes = plain, {scope: readable[op] for scope, op in scopes.items()}
    return Tagged(graph=graph, function=named, specs=arrays, scopes=scopes)


def _scopes(graph: OpGraph, run: _Run) -> dict[str, str]:
    """Return the op of each scope; one without an op of its own belongs to the op of all that read it."""
    found: dict[str, str] = {}
    for op_id in graph.order:
        tags = _TAG.findall(op_id)
        if tags and graph.op(op_id).family != "free":
            found[tags[-1]] = op_id
    for number in range(run.count, 0, -1):
        scope = f"eqn.{number}"
        owner = _shared(found.get(reader) for reader in run.readers.get(scope, ()))
        if scope not in found and owner is not None:
            found[scope] = owner
    return found


def _shared(owners: Any) -> str | None:
    distinct: Collection[str | None] = set(owners)
    return next(iter(distinct)) if len(distinct) == 1 else None
