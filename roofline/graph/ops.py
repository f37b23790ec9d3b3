"""The ops that do the arithmetic: contractions, element-wise work, norms, reductions.

Ops that only move or view data are in `roofline.graph.movement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from roofline.families import Family
from roofline.graph.op import Contraction, ContractionForm, OfNothing, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, ceil_div, floor_div, positive, product
from roofline.routing import active_experts

Padding = Literal["same"] | tuple[Numeric, ...]


def window_size(size: Numeric, kernel: Numeric, stride: Numeric, pad: Numeric | str) -> Numeric:
    """Return the output size of a sliding window; `pad` is per side, ``"same"`` gives ceil(size / stride).

    Examples
    --------
    >>> window_size(224, 7, 2, 3), window_size(299, 3, 2, 0), window_size(15, 3, 2, "same")
    (112, 149, 8)
    """
    if isinstance(pad, str):
        return ceil_div(size, stride)
    return floor_div(size + 2 * pad - kernel, stride) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SlidingOp(Op):
    """An op that slides a window over images (N, *spatial, C); `padding` is per side."""

    kernel: tuple[Numeric, ...]
    stride: tuple[Numeric, ...]
    padding: Padding = "same"

    def window(self, spatial: Shape) -> Shape:
        """Return the output's spatial shape."""
        if len(spatial) != len(self.kernel):
            raise self.fail(f"kernel has {len(self.kernel)} dimensions, input has {len(spatial)}")
        pads = [self.padding] * len(spatial) if isinstance(self.padding, str) else list(self.padding)
        out = tuple(
            window_size(size, kernel, stride, pad)
            for size, kernel, stride, pad in zip(spatial, self.kernel, self.stride, pads, strict=True)
        )
        if not all(positive(size) for size in out):
            raise self.fail(f"kernel {self.kernel!r} does not fit into {spatial!r}")
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(SlidingOp):
    """Convolution of any rank. Inputs: x (N, *spatial, C), weight (*kernel, C / groups, K), optionally bias (K,)."""

    groups: Numeric = 1
    form: ContractionForm = "dense"
    kind: ClassVar[str] = "conv"

    @property
    def family(self) -> Family:
        """Depthwise convolutions fuse by rules of their own."""
        return "depthwise" if self.form == "depthwise" else "contraction"

    @property
    def of_nothing(self) -> OfNothing:
        """Of no input channels the sum is zero."""
        return "constant"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (N, *out, K)."""
        x, weight = shapes[0], shapes[1]
        self.need_rank(weight, len(self.kernel) + 2, "weight")
        self.need_rank(x, len(self.kernel) + 2)
        self.need_same(weight[-2] * self.groups, x[-1], "input channels of weight and of x")
        return ((x[0], *self.window(x[1:-1]), weight[-1]),)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """M = output positions, N = output channels per group, K = input channels per group, taps apart."""
        weight, out = inputs[1].shape, outputs[0].shape
        return (
            Contraction(
                batch=self.groups,
                m=product(out[:-1]),
                n=weight[-1] / self.groups,
                k=weight[-2],
                taps=product(self.kernel),
                form=self.form,
            ),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MatMul(Op):
    """Product a (..., M, K) x b: a shared (K, N), or one (..., K, N) per leading index; optionally bias (N,)."""

    kind: ClassVar[str] = "matmul"

    @property
    def family(self) -> Family:
        """A contraction."""
        return "contraction"

    @property
    def of_nothing(self) -> OfNothing:
        """A product over no elements is zero."""
        return "constant"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (..., M, N)."""
        a, b = shapes[0], shapes[1]
        if len(a) < 2 or len(b) not in (2, len(a)):
            raise self.fail(f"ranks {len(a)} and {len(b)} do not multiply")
        self.need_same(a[-1], b[-2], "contracted dimensions")
        if len(b) > 2:
            for left, right in zip(a[:-2], b[:-2], strict=True):
                self.need_same(left, right, "batch dimensions")
        return ((*a[:-1], b[-1]),)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """One product with all rows for a shared b, else one product per leading index."""
        a, b = inputs[0].shape, inputs[1].shape
        if len(b) == 2:
            return (Contraction(m=product(a[:-1]), n=b[-1], k=a[-1]),)
        return (Contraction(batch=product(a[:-2]), m=a[-2], n=b[-1], k=a[-1]),)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedMatMul(MatMul):
    """A product for each group: the tokens of each expert with its weights. Inputs: a, b, ends of the groups (E,).

    The groups are rows of a (T, K), with b (E, K, N) and the result (T, N); or columns of b (K, T), with a (E, M, K)
    and the result (M, T); or what is summed over, a (M, T) and b (T, N), with the result (E, M, N). How many belong to
    which is data. Where tokens take `top_k` groups each, expected counts stand for it: groups are drawn by popularity,
    the i-th as often as i ** -skew says (`roofline.routing`). Where `top_k` is 0, nothing is known of it: rows are
    counted as spread evenly, and no more groups are read than there are rows.
    """

    top_k: Numeric = 0
    skew: Numeric = 0
    kind: ClassVar[str] = "grouped_matmul"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (T, N), (M, T) or (E, M, N)."""
        a, b, ends = shapes[:3]
        self.need_rank(ends, 1, "ends")
        if np.any(np.greater(self.top_k, ends[0])):
            raise self.fail(f"top-{self.top_k} of {ends[0]} groups: a token takes at most all of them")
        self.need_same(a[-1], b[-2], "contracted dimensions")
        for shape in (a, b):
            if len(shape) > 2:
                self.need_same(shape[0], ends[0], "groups")
        ranks = (len(a), len(b))
        if ranks not in ((2, 3), (3, 2), (2, 2)):
            raise self.fail(f"ranks {ranks[0]} and {ranks[1]} do not multiply in groups")
        return ((*(ends if ranks == (2, 2) else ()), a[-2], b[-1]),)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """One product per group that has rows, all of one size."""
        a, b = inputs[0].shape, inputs[1].shape
        m, n, k = a[-2], b[-1], a[-1]
        groups = self._groups(inputs)
        if len(b) > 2:
            return (Contraction(batch=groups, m=m / groups, n=n, k=k),)
        if len(a) > 2:
            return (Contraction(batch=groups, m=m, n=n / groups, k=k),)
        return (Contraction(batch=groups, m=m, n=n, k=k / groups),)

    def touched(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> dict[str, Numeric]:
        """Of the weights only those of groups that have rows."""
        share = self._groups(inputs) / inputs[2].elements
        return {t.id: t.elements * share for t in inputs[:2] if len(t.shape) > 2}

    def _groups(self, inputs: tuple[Tensor, ...]) -> Numeric:
        a, b = inputs[0].shape, inputs[1].shape
        rows = a[-2] if len(b) > 2 else b[-1] if len(a) > 2 else a[-1]
        if isinstance(self.top_k, int | float) and self.top_k == 0:
            return np.minimum(inputs[2].elements, rows)
        return active_experts(rows / self.top_k, self.top_k, inputs[2].shape[0], self.skew)


@dataclass(frozen=True, kw_only=True, eq=False)
class Attention(Op):
    """softmax(q k^T) v in one op. Inputs: q (N, Tq, heads x D), k and v (N, Tk, kv_heads x D), then any score biases.

    Each bias is added to the scores (N, heads, Tq, Tk) by itself, broadcast over the images: (heads, Tq, Tk), or
    (windows, 1, Tq, Tk) for every image's windows. The queries are the last Tq of the Tk positions: where attention is
    causal each sees the keys up to its own, the last `window` of them where that is not 0.
    """

    heads: Numeric
    kv_heads: Numeric
    causal: bool = False
    window: Numeric = 0
    kind: ClassVar[str] = "attention"

    @property
    def family(self) -> Family:
        """Fused attention is a kernel of its own."""
        return "attention"

    @property
    def of_nothing(self) -> OfNothing:
        """Over no keys the weighted sum is zero."""
        return "constant"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (N, Tq, heads x Dv)."""
        q, k, v = shapes[:3]
        for shape in (q, k, v):
            self.need_rank(shape, 3)
        self.need_same(q[-1] / self.heads, k[-1] / self.kv_heads, "head sizes of q and k")
        self.need_same(k[1], v[1], "lengths of k and v")
        return ((q[0], q[1], floor_div(v[-1] * self.heads, self.kv_heads)),)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """Scores (Tq, D) x (D, Tk) and context (Tq, Tk) x (Tk, D), each per head. Causal work is counted in full."""
        q, k, v = (t.shape for t in inputs[:3])
        batch = 1.0 * q[0] * self.heads
        head = q[-1] / self.heads
        return (
            Contraction(batch=batch, m=q[1], n=k[1], k=head),
            Contraction(batch=batch, m=q[1], n=v[-1] / self.kv_heads, k=k[1]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Elementwise(Op):
    """`function` of each element; operands marked `broadcast` are smaller than the output.

    With `keeps_dtype` the result has the format of the first operand, as an update in place does.
    """

    function: str
    broadcast: tuple[bool, ...]
    keeps_dtype: bool = False
    kind: ClassVar[str] = "elementwise"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shape of the full operands."""
        if len(shapes) != len(self.broadcast):
            raise self.fail(f"{len(self.broadcast)} operands declared, {len(shapes)} given")
        full = [s for s, small in zip(shapes, self.broadcast, strict=True) if not small]
        if not full:
            raise self.fail("every operand is broadcast")
        for shape in full[1:]:
            self.need_rank(shape, len(full[0]), "operand")
            for a, b in zip(full[0], shape, strict=True):
                self.need_same(a, b, "operand shapes")
        return (full[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cast(Op):
    """Conversion to another dtype (that of its output tensor)."""

    kind: ClassVar[str] = "cast"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape."""
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchNorm(Op):
    """Batch norm with stored statistics. Inputs: x (..., C), scale, shift, mean, variance (C,) each."""

    kind: ClassVar[str] = "batch_norm"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape."""
        for shape in shapes[1:]:
            self.need_rank(shape, 1, "statistics")
            self.need_same(shape[0], shapes[0][-1], "channels of statistics and x")
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reduction(Op):
    @property
    def family(self) -> Family:
        """Needs all elements of a row before the first result."""
        return "reduction"


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm(_Reduction):
    """Layer, RMS or group norm over computed statistics. Inputs: x (..., C), optionally scale and shift (C,).

    Further outputs are statistics of every row. With `low_precision` the program itself runs it in the low precision of
    autocast, which would take fp32.
    """

    form: Literal["layer", "rms", "group"] = "layer"
    low_precision: bool = False
    kind: ClassVar[str] = "norm"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape, and (..., 1) for every statistic."""
        for shape in shapes[1:]:
            self.need_same(shape[-1], shapes[0][-1], "channels of scale and x")
        return (shapes[0], *((*shapes[0][:-1], 1),) * (len(self.outputs) - 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax(_Reduction):
    """Softmax over the last dimension."""

    kind: ClassVar[str] = "softmax"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape."""
        return (shapes[0],)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduce(_Reduction):
    """Mean, sum or maximum over `axes`, kept as size 1 with `keep`."""

    axes: tuple[int, ...]
    function: Literal["mean", "sum", "max"] = "mean"
    keep: bool = True
    kind: ClassVar[str] = "reduce"

    @property
    def of_nothing(self) -> OfNothing:
        """Nothing has no mean; its sum is zero, its maximum the least number."""
        return "refused" if self.function == "mean" else "constant"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape with the reduced axes dropped or 1."""
        return (self.reduced(shapes[0], self.axes, keep=self.keep),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistic(_Reduction):
    """`function` (var, prod, norm, logsumexp, max ...) over `axes`.

    With a second output also the mean, or the positions of the maxima: every output has the reduced shape.
    """

    axes: tuple[int, ...]
    function: str
    keep: bool = True
    kind: ClassVar[str] = "statistic"

    @property
    def of_nothing(self) -> OfNothing:
        """Nothing has no variance; products, norms and extremes of it are constants."""
        return "refused" if self.function == "var" or len(self.outputs) > 1 else "constant"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape with the reduced axes dropped or 1, for every output."""
        return (self.reduced(shapes[0], self.axes, keep=self.keep),) * len(self.outputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(SlidingOp):
    """Maximum or mean in a sliding window over (N, *spatial, C); with a second output the positions of the maxima."""

    function: Literal["max", "mean"] = "max"
    kind: ClassVar[str] = "pool"

    @property
    def family(self) -> Family:
        """A window of its own, neither point-wise nor a full reduction."""
        return "pool"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (N, *out, C), for every output."""
        x = shapes[0]
        return ((x[0], *self.window(x[1:-1]), x[-1]),) * len(self.outputs)
