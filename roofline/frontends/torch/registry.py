"""Which function lowers an ATen op: a decorator, one short function per op.

    from roofline.frontends.torch import lowering

    @lowering("mylib.fused_bias_gelu")
    def fused_bias_gelu(w, a, out):
        return w.pointwise("gelu", out, a.input, a.bias)

`w` is the `Writer` that collects the graph, `a` holds the arguments by the names of the op's schema with every tensor
replaced by its `Value`, `out` is what torch returned (tensors without data: shapes and dtypes). The function returns a
value for each tensor of `out`. An in-place op (``relu_``) and an ``out=`` variant use the rule of the op itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import torch

from roofline.registry import filed

Lowering: TypeAlias = Callable[..., Any]
RULES: dict[str, Lowering] = {}
#: ops that torch cannot run without data -> what gives the shapes of their results
SHAPES: dict[str, Lowering] = {}
#: where torch keeps what an op is made of, if it only calls others
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
#: ops that take functions -> what runs them
HIGHER: dict[str, Lowering] = {}


def lowering(*names: str) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the rule of ATen (or custom) ops: ``"aten.add"`` or ``"aten.add.Scalar"``.

    Raises
    ------
    GraphError
        One of the ops has a rule already.
    """
    _found.cache_clear()
    return filed(RULES, names, lambda name: f"torch op {name!r} has two lowering rules")


def aten(names: str) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the rule of ATen ops, named one after the other in a text."""
    return lowering(*(f"aten.{name}" for name in names.split()))


def shaped(*names: str) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as what gives the result of ops on tensors without data, in torch's place.

    It takes what the op takes.
    """
    _found.cache_clear()
    return filed(SHAPES, names, lambda name: f"torch op {name!r} has two rules for its shapes")


def higher(*names: str) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the rule of higher-order ops: ``rule(tracer, *arguments)`` -> torch result."""
    return filed(HIGHER, names, lambda name: f"higher-order op {name!r} has two rules")


@dataclass(frozen=True, kw_only=True)
class Found:
    """An op of the program: its name, rule, argument names with defaults, and the arguments it writes to.

    Attributes
    ----------
    shapes
        What runs in place of torch's own op where that needs data.
    composite
        Whether it only calls others.
    dependent
        Whether its result, or the shape of it, depends on values.
    random
        Whether it draws random numbers.
    """

    name: str
    rule: Lowering | None
    parameters: tuple[tuple[str, Any], ...]
    written: tuple[str, ...]
    is_view: bool
    composite: bool
    dependent: bool
    random: bool
    shapes: Lowering | None = None


@lru_cache(maxsize=4096)
def _found(func: Any) -> Found:
    schema = func._schema
    name = schema.name.replace("::", ".")
    full = f"{name}.{schema.overload_name or 'default'}"
    written = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    if schema.returns and all(r.alias_info is None for r in schema.returns):
        written = ()  # what it returns is new; the running statistics beside it are small
    tries = [full, name]
    if written and name.endswith("_") and not name.endswith("__"):
        tries += [name[:-1] + full[len(name) :], name[:-1]]
    rule = next((RULES[key] for key in tries if key in RULES), None)
    parameters = tuple((a.name, a.default_value if a.has_default_value() else None) for a in schema.arguments)
    is_view = len(schema.returns) == 1 and not written and any(a.alias_info is not None for a in schema.arguments)
    return Found(
        name=name,
        rule=rule,
        parameters=parameters,
        written=written,
        is_view=is_view,
        composite=torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE),
        dependent=torch.Tag.dynamic_output_shape in func.tags or torch.Tag.data_dependent_output in func.tags,
        random=torch.Tag.nondeterministic_seeded in func.tags,
        shapes=SHAPES.get(name),
    )


def find(func: Any) -> Found:
    """Return what is known about an op overload."""
    return _found(func)


class Arguments(dict[str, Any]):
    """The arguments of an op by the names of its schema: ``a.dim``; ``self`` is also ``a.input``."""

    def __getattr__(self, name: str) -> Any:
        if name == "input" and name not in self:
            name = "self"
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None
