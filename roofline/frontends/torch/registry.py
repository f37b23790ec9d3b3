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

from roofline.registry import filed

Lowering: TypeAlias = Callable[..., Any]
RULES: dict[str, Lowering] = {}


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


@dataclass(frozen=True, kw_only=True)
class Found:
    """An op of the program: its name, rule, argument names with defaults, and the arguments it writes to."""

    name: str
    rule: Lowering | None
    parameters: tuple[tuple[str, Any], ...]
    written: tuple[str, ...]
    is_view: bool


@lru_cache(maxsize=4096)
def _found(func: Any) -> Found:
    schema = func._schema
    name = schema.name.replace("::", ".")
    full = f"{name}.{schema.overload_name or 'default'}"
    written = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    tries = [full, name]
    if written and name.endswith("_") and not name.endswith("__"):
        tries += [name[:-1] + full[len(name) :], name[:-1]]
    rule = next((RULES[key] for key in tries if key in RULES), None)
    parameters = tuple((a.name, a.default_value if a.has_default_value() else None) for a in schema.arguments)
    is_view = len(schema.returns) == 1 and not written and any(a.alias_info is not None for a in schema.arguments)
    return Found(name=name, rule=rule, parameters=parameters, written=written, is_view=is_view)


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
