"""Walks a jaxpr, hands each equation to the rule of its primitive, and remembers what each variable stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline.errors import RooflineError, UnknownOpError
from roofline.frontends.jax.registry import RULES
from roofline.frontends.jax.values import Constant, Operand, Value, dtype_of, literal, number
from roofline.frontends.jax.writer import Writer
from roofline.graph.op import show


class Reader(Writer):
    """Writes the graph of a jaxpr and of those that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: dict[str, list[tuple[str, str]]] = {}

    def run(self, jaxpr: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Write the equations of a jaxpr; return what its outputs stand for."""
        known: dict[Any, Operand] = dict(zip((*jaxpr.constvars, *jaxpr.invars), operands, strict=True))

        def read(atom: Any) -> Operand:
            return known[atom] if not hasattr(atom, "val") else literal(atom)

        for equation in jaxpr.eqns:
            made = [v.aval for v in equation.outvars]
            if made and all(0 in getattr(aval, "shape", ()) for aval in made):  # nothing to do
                nothing = [Value.plain(self.emit_fill(tuple(aval.shape), dtype_of(aval))) for aval in made]
                known.update(zip(equation.outvars, nothing, strict=True))
                continue
            with self.scope(str(equation.source_info.name_stack)):  # the scopes that the program named
                results = self._lowered(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _lowered(self, equation: Any, operands: list[Operand]) -> Sequence[Operand]:
        where = f"primitive {equation.primitive.name!r} at {self.place or 'the top'!r}"
        try:
            rule = RULES.get(equation.primitive.name)
            if rule is None:
                return self._missing(equation)
            result = rule(self, equation, *operands)
            return result if isinstance(result, (list, tuple)) else [result]  # type: ignore[list-item]
        except RooflineError as error:
            if not getattr(error, "__notes__", None):
                error.add_note(f"in {where}")
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, StopIteration) as error:
            raise UnknownOpError(f"the lowering rule of {where} does not know this form of it: {error}") from error

    def closed(self, closed: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Write a closed jaxpr, whose captured arrays are buffers."""
        return self.run(closed.jaxpr, [*(self.captured(c) for c in closed.consts), *operands])

    def captured(self, array: Any) -> Operand:
        """Return an array that the program holds: a number, or a buffer."""
        dtype = dtype_of(array)
        if not getattr(array, "shape", ()):
            return Constant(shape=(), dtype=dtype, value=number(array))
        return Value.plain(self.enter("captured", tuple(array.shape), "buffer", dtype))

    def _missing(self, equation: Any) -> list[Operand]:
        operands = ", ".join(show(getattr(v.aval, "shape", ())) for v in equation.invars)
        self.unknown.setdefault(equation.primitive.name, []).append((self.place, operands))
        shapes = [tuple(getattr(v.aval, "shape", ())) for v in equation.outvars]
        return [Value.plain(self.enter("unknown", shape, "activation")) for shape in shapes]

    def refuse_unknown(self, name: str) -> None:
        """Raise if the program has primitives without a rule: one message for all.

        Raises
        ------
        UnknownOpError
            Names each primitive, how often it occurs, where first, and the shapes there.
        """
        if not self.unknown:
            return
        kinds = "; ".join(
            f"{primitive!r} x{len(found)}, first at {found[0][0] or 'the top'!r} ({found[0][1]})"
            for primitive, found in self.unknown.items()
        )
        raise UnknownOpError(
            f"{name}: no lowering rule for {kinds}: register one with @roofline.frontends.jax.lowering('PRIMITIVE')"
        )
