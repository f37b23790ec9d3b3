"""What an op demands, whatever it runs on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline.graph.op import Contraction
from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True)
class Work:
    """Matrix products, and vector operations by class.

    Attributes
    ----------
    simple_ops
        Additions, multiplications, comparisons, conversions: one result of the vector unit each.
    transcendental_ops
        exp, log, sqrt, reciprocal, tanh ...: the vector unit's slower path (SFU on GPUs, EUP on TPUs).
    window_loads
        Operands that sliding windows fetch again and again: one per element of the window and result.
    gradient_loads
        The same in gradients of depthwise convolutions.
    """

    contractions: tuple[Contraction, ...] = ()
    simple_ops: Numeric = 0.0
    transcendental_ops: Numeric = 0.0
    window_loads: Numeric = 0.0
    gradient_loads: Numeric = 0.0

    @property
    def macs(self) -> Numeric:
        """Multiply-accumulates of the matrix products."""
        total: Numeric = 0.0
        for contraction in self.contractions:
            total = total + contraction.macs
        return total

    @property
    def vector_ops(self) -> Numeric:
        """Vector operations of both classes."""
        return self.simple_ops + self.transcendental_ops

    def scaled(self, times: Numeric) -> Work:
        """Return the work of `times` runs."""
        return Work(
            contractions=tuple(replace(c, batch=c.batch * times) for c in self.contractions),
            simple_ops=self.simple_ops * times,
            transcendental_ops=self.transcendental_ops * times,
            window_loads=self.window_loads * times,
            gradient_loads=self.gradient_loads * times,
        )

    def __add__(self, other: Work) -> Work:
        return Work(
            contractions=self.contractions + other.contractions,
            simple_ops=self.simple_ops + other.simple_ops,
            transcendental_ops=self.transcendental_ops + other.transcendental_ops,
            window_loads=self.window_loads + other.window_loads,
            gradient_loads=self.gradient_loads + other.gradient_loads,
        )
