"""The ops of a backward pass that are no forward op seen from the other side: gradients, and the optimizer's step.

Gradients of products with matrices are products again (`MatMul`), those of most element-wise functions element-wise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from roofline.families import Family
from roofline.graph.op import Contraction, ContractionForm, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, product

Optimizer: TypeAlias = Literal["sgd", "momentum", "adam"]
#: tensors beside the gradient that an optimizer keeps for each parameter: momentum; Adam's two moments
STATES: dict[str, tuple[str, ...]] = {"sgd": (), "momentum": ("momentum",), "adam": ("mean", "variance")}


@dataclass(frozen=True, kw_only=True, eq=False)
class _ConvGrad(Op):
    """`transposed` where the forward op is a transposed convolution."""

    shape: Shape
    kernel: tuple[Numeric, ...]
    groups: Numeric = 1
    form: ContractionForm = "dense"
    transposed: bool = False

    @property
    def family(self) -> Family:
        """As the convolution's own."""
        return "depthwise" if self.form == "depthwise" else "contraction"


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvInputGrad(_ConvGrad):
    """Gradient of a convolution's input. Inputs: dy (N, *out, K), weight; the result has the input's shape."""

    kind: ClassVar[str] = "conv_input_grad"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        for shape in shapes:
            self.need_rank(shape, len(self.kernel) + 2)
        return (self.shape,)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """M = input positions, N = input channels, K = output channels; with a stride each meets some taps only."""
        dy, dx = inputs[0].shape, outputs[0].shape
        taps = product(self.kernel)
        if not self.transposed:
            taps = taps * product(dy[1:-1]) / product(dx[1:-1])
        n, k = dx[-1] / self.groups, dy[-1] / self.groups
        return (Contraction(batch=self.groups, m=product(dx[:-1]), n=n, k=k, taps=taps, form=self.form),)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvWeightGrad(_ConvGrad):
    """Gradient of a convolution's weight. Inputs: dy (N, *out, K), x (N, *in, C); the result has the weight's shape."""

    kind: ClassVar[str] = "conv_weight_grad"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        for shape in shapes:
            self.need_rank(shape, len(self.kernel) + 2)
        return (self.shape,)

    @property
    def reduces(self) -> bool:
        """Sums over all positions."""
        return True

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """M = taps x input channels, N = output channels, K = positions of the smaller grid."""
        dy, x = inputs[0].shape, inputs[1].shape
        return (
            Contraction(
                batch=self.groups,
                m=product(self.kernel) * x[-1] / self.groups,
                n=dy[-1] / self.groups,
                k=product((x if self.transposed else dy)[:-1]),
                form=self.form,
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionGrad(Op):
    """Gradients of fused attention, its scores computed again. Inputs: dy, out, q, k, v, then score biases.

    Results: dq, dk, dv, then those of the biases that are trained (positions `biases`).
    """

    heads: Numeric
    kv_heads: Numeric
    biases: tuple[int, ...] = ()
    kind: ClassVar[str] = "attention_grad"

    @property
    def family(self) -> Family:
        """A kernel of its own."""
        return "attention"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of q, k, v and the trained biases."""
        return (*shapes[2:5], *(shapes[5 + i] for i in self.biases))

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """Scores again, then dP = dy v^T, dv = P^T dy, dq = dS k, dk = dS^T q, per head (Dao, arXiv 2307.08691)."""
        q, k, v = (t.shape for t in inputs[2:5])
        batch, rows, columns = 1.0 * q[0] * self.heads, q[1], k[1]
        head, value = q[-1] / self.heads, v[-1] / self.kv_heads
        return (
            Contraction(batch=batch, m=rows, n=columns, k=head),
            Contraction(batch=batch, m=rows, n=columns, k=value),
            Contraction(batch=batch, m=columns, n=value, k=rows),
            Contraction(batch=batch, m=rows, n=head, k=columns),
            Contraction(batch=batch, m=columns, n=head, k=rows),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _RowGrad(Op):
    @property
    def family(self) -> Family:
        """Needs whole rows."""
        return "reduction"


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftmaxGrad(_RowGrad):
    """Gradient of a softmax. Inputs: dy and its result."""

    kind: ClassVar[str] = "softmax_grad"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape of dy."""
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class NormGrad(_RowGrad):
    """Gradient of the input of a layer, RMS or group norm. Inputs: dy, x, optionally scale."""

    kind: ClassVar[str] = "norm_grad"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape of dy."""
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchStatistics(Op):
    """Mean and variance of each channel over the batch. Input: x (..., C); results: two of (C,)."""

    kind: ClassVar[str] = "batch_statistics"

    @property
    def family(self) -> Family:
        """A reduction."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (C,) twice."""
        return ((shapes[0][-1],),) * 2


@dataclass(frozen=True, kw_only=True, eq=False)
class AffineGrad(Op):
    """Gradients of a norm's scale and shift: sums over all positions of dy x and dy. Inputs: dy, x (..., C)."""

    kind: ClassVar[str] = "affine_grad"

    @property
    def family(self) -> Family:
        """A reduction."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (C,) for each output."""
        return ((shapes[0][-1],),) * len(self.outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolGrad(Op):
    """Gradient of a pool. Inputs: dy, and for a maximum x; the result has the shape of x."""

    shape: Shape
    kernel: tuple[Numeric, ...]
    kind: ClassVar[str] = "pool_grad"

    @property
    def family(self) -> Family:
        """A window of its own."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        self.need_rank(shapes[0], len(self.kernel) + 2)
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResizeGrad(Op):
    """Gradient of an interpolation. Inputs: dy, the places where they are computed; each goes to its `neighbours`."""

    shape: Shape
    neighbours: Numeric
    kind: ClassVar[str] = "resize_grad"

    @property
    def family(self) -> Family:
        """A window of its own."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleGrad(Op):
    """Gradient of what the places of samples are computed of, or of their factors. Inputs: dy, image, that operand.

    `neighbours` as in `ResizeGrad`.
    """

    shape: Shape
    neighbours: Numeric
    kind: ClassVar[str] = "sample_grad"

    @property
    def family(self) -> Family:
        """A window of its own."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class SumTo(Op):
    """A tensor summed to the smaller `shape`: the gradient of what was broadcast, a bias above all."""

    shape: Shape
    kind: ClassVar[str] = "sum_to"

    @property
    def family(self) -> Family:
        """A reduction."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread(Op):
    """A small tensor divided by a constant and written to every element of the larger `shape`: a mean's gradient."""

    shape: Shape
    kind: ClassVar[str] = "spread"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scatter(Op):
    """Zeros of `shape` with values put, or added, to some places: gradients of parts and of looked-up rows.

    Inputs: values, then more values, or indices where they are added.
    """

    shape: Shape
    accumulate: bool = False
    kind: ClassVar[str] = "scatter"

    @property
    def family(self) -> Family:
        """Copies bytes."""
        return "movement"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return `shape`."""
        return (self.shape,)


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimizerStep(Op):
    """A parameter and the optimizer's states of it, updated in place. Inputs and results: parameter, states; gradient.

    The gradient is the last input. `algorithm` is one of `STATES`.
    """

    algorithm: Optimizer
    kind: ClassVar[str] = "optimizer_step"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the parameter's shape for it and each state."""
        return (shapes[0],) * (1 + len(STATES[self.algorithm]))
