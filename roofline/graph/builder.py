"""Writing a graph op by op: shapes are inferred and checked as it grows.

The same calls build one network (numbers) or a column of block rows (arrays).
"""

from __future__ import annotations

from typing import Any

from roofline.dtypes import DTYPES, DType
from roofline.graph import indexing, movement, ops
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Padding
from roofline.graph.tensor import Part, Shape, Tensor
from roofline.graph.writer import GraphWriter
from roofline.numeric import Numeric, alike

Pair = Numeric | tuple[Numeric, ...]


class GraphBuilder(GraphWriter):
    """Collects ops and tensors; `graph` returns the checked result.

    Examples
    --------
    >>> b = GraphBuilder("tiny")
    >>> x = b.input("image", (1, 8, 8, 3))
    >>> b.graph([b.relu(b.conv(x, 16, kernel=3))]).macs
    27648.0
    """

    def __init__(self, name: str = "graph") -> None:
        super().__init__()
        self.name = name

    def graph(self, outputs: list[Tensor]) -> OpGraph:
        """Return the checked graph that computes `outputs`."""
        return OpGraph(self.ops, self.tensors, tuple(t.id for t in outputs), self.name)

    # tensors -----------------------------------------------------------------

    tensor = GraphWriter.enter

    def input(self, name: str, shape: Shape, dtype: DType = DTYPES["fp32"]) -> Tensor:
        """Add a tensor that enters the graph."""
        return self.enter(name, shape, "input", dtype)

    def parameter(self, name: str, *shape: Numeric, tied: bool = False, part: Part = "") -> Tensor:
        """Add a trained parameter."""
        return self.enter(name, shape, "parameter", tied=tied, part=part)

    # contractions ------------------------------------------------------------

    def conv(
        self,
        x: Tensor,
        channels: Numeric,
        *,
        kernel: Pair = 1,
        stride: Pair = 1,
        padding: Padding = "same",
        groups: Numeric | None = None,
        bias: bool = False,
        name: str = "conv",
    ) -> Tensor:
        """Dense convolution to `channels`; grouped where `groups` is given."""
        sides = (x.shape[-1] if groups is None else _exact(x.shape[-1], groups), channels)
        form, count = ("dense", 1) if groups is None else ("grouped", groups)
        return self._conv(name, x, sides, kernel, stride, bias, padding=padding, groups=count, form=form)

    def depthwise(
        self,
        x: Tensor,
        *,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = "same",
        bias: bool = False,
        name: str = "depthwise",
    ) -> Tensor:
        """Depthwise convolution: every channel by itself."""
        channels = x.shape[-1]
        return self._conv(
            name, x, (1, channels), kernel, stride, bias, padding=padding, groups=channels, form="depthwise"
        )

    def _conv(
        self,
        name: str,
        x: Tensor,
        sides: tuple[Numeric, Numeric],
        kernel: Pair,
        stride: Pair,
        bias: bool,
        **fields: Any,
    ) -> Tensor:
        rank = len(x.shape) - 2
        kernels = _each(kernel, rank)
        weights = [self.parameter(f"{name}.weight", *kernels, *sides)]
        weights += [self.parameter(f"{name}.bias", sides[1])] if bias else []
        return self.add_op(name, ops.Conv, x, *weights, kernel=kernels, stride=_each(stride, rank), **fields)

    def linear(
        self,
        x: Tensor,
        features: Numeric,
        *,
        bias: bool = True,
        tied: bool = False,
        part: Part = "",
        name: str = "linear",
    ) -> Tensor:
        """Fully connected layer over the last dimension."""
        weights = [self.parameter(f"{name}.weight", x.shape[-1], features, tied=tied, part=part)]
        weights += [self.parameter(f"{name}.bias", features)] if bias else []
        return self.add_op(name, ops.MatMul, x, *weights)

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        heads: Numeric,
        kv_heads: Numeric | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        window: Numeric = 0,
        name: str = "attention",
    ) -> Tensor:
        """Scaled dot-product attention as one op; a pass may decompose it. Bias, then mask are added to the scores."""
        extra = tuple(t for t in (bias, mask) if t is not None)
        kv = heads if kv_heads is None else kv_heads
        return self.add_op(name, ops.Attention, q, k, v, *extra, heads=heads, kv_heads=kv, causal=causal, window=window)

    # element-wise ------------------------------------------------------------

    def elementwise(
        self, function: str, *operands: Tensor, broadcast: tuple[bool, ...] | None = None, name: str = ""
    ) -> Tensor:
        """`function` of the operands; by default parameters and operands of another shape are broadcast."""
        if broadcast is None:
            full = max((t for t in operands if not t.stored), key=lambda t: len(t.shape), default=operands[0]).shape
            broadcast = tuple(t.stored or not alike(t.shape, full) for t in operands)
        return self.add_op(name or function, ops.Elementwise, *operands, function=function, broadcast=broadcast)

    def activation(self, function: str | None, x: Tensor) -> Tensor:
        """Apply an activation; ``None`` or ``"none"`` returns `x` as it is."""
        return x if function in (None, "none") else self.elementwise(str(function), x, broadcast=(False,))

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return self.activation("relu", x)

    def add(self, a: Tensor, b: Tensor, *, name: str = "add") -> Tensor:
        """A + b of one shape (a residual)."""
        return self.elementwise("add", a, b, broadcast=(False, False), name=name)

    def gate(self, x: Tensor, gate: Tensor, *, name: str = "scale") -> Tensor:
        """X * gate, the gate broadcast over the positions of x."""
        return self.elementwise("mul", x, gate, broadcast=(False, True), name=name)

    def softmax(self, x: Tensor, *, name: str = "softmax") -> Tensor:
        """Softmax over the last dimension."""
        return self.add_op(name, ops.Softmax, x)

    # norms and reductions -----------------------------------------------------

    def batch_norm(self, x: Tensor, *, name: str = "bn") -> Tensor:
        """Batch norm: scale and shift are parameters, mean and variance buffers."""
        channels = x.shape[-1]
        stats = [self.parameter(f"{name}.{part}", channels) for part in ("scale", "shift")]
        stats += [self.tensor(f"{name}.{part}", (channels,), "buffer") for part in ("mean", "variance")]
        return self.add_op(name, ops.BatchNorm, x, *stats)

    def layer_norm(self, x: Tensor, *, name: str = "norm") -> Tensor:
        """Layer norm over the last dimension with scale and shift."""
        return self.add_op(name, ops.Norm, x, *(self.parameter(f"{name}.{p}", x.shape[-1]) for p in ("scale", "shift")))

    def rms_norm(self, x: Tensor, *, scale: bool = True, name: str = "norm") -> Tensor:
        """Root-mean-square norm over the last dimension, with a scale unless told otherwise."""
        scales = [self.parameter(f"{name}.scale", x.shape[-1])] if scale else []
        return self.add_op(name, ops.Norm, x, *scales, form="rms")

    def mean(self, x: Tensor, axes: tuple[int, ...], *, keep: bool = True, name: str = "mean") -> Tensor:
        """Mean over `axes`."""
        return self.add_op(name, ops.Reduce, x, axes=axes, keep=keep)

    def pool(
        self,
        x: Tensor,
        function: str,
        *,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = "same",
        name: str = "pool",
    ) -> Tensor:
        """Sliding maximum or mean."""
        rank = len(x.shape) - 2
        return self.add_op(
            name,
            ops.Pool,
            x,
            function=function,
            kernel=_each(kernel, rank),
            stride=_each(stride, rank),
            padding=padding,
        )

    # movement ----------------------------------------------------------------

    def reshape(self, x: Tensor, shape: Shape, *, name: str = "reshape") -> Tensor:
        """View `x` in another shape, free of cost."""
        return self.add_op(name, movement.Reshape, x, shape=shape)

    def part(self, x: Tensor, size: Numeric, *, start: Numeric = 0, axis: int = -1, name: str = "part") -> Tensor:
        """View `size` elements along `axis`, free of cost."""
        return self.add_op(name, movement.Part, x, axis=axis, size=size, start=start)

    def expand(self, x: Tensor, shape: Shape, *, name: str = "expand") -> Tensor:
        """View `x` with its dimensions of size 1 repeated, free of cost."""
        return self.add_op(name, movement.Expand, x, shape=shape)

    def move(self, function: str, x: Tensor, shape: Shape, *, name: str = "") -> Tensor:
        """Copy `x` in another order (transpose, roll, space_to_depth ...)."""
        return self.add_op(name or function, movement.Move, x, function=function, shape=shape)

    def concat(self, parts: list[Tensor], *, axis: int = -1, name: str = "concat") -> Tensor:
        """Concatenate along `axis`."""
        return self.add_op(name, movement.Concat, *parts, axis=axis)

    def slice(self, x: Tensor, size: Numeric, *, axis: int = -1, name: str = "slice") -> Tensor:
        """Copy `size` elements along `axis`."""
        return self.add_op(name, movement.Slice, x, axis=axis, size=size)

    def update(self, target: Tensor, values: Tensor, *, name: str = "update") -> Tensor:
        """Overwrite as many elements of `target` as `values` has, in place."""
        return self.add_op(name, indexing.Update, target, values, side_by_side=values.shape[-1])

    def embedding(self, ids: Tensor, rows: Numeric, features: Numeric, *, name: str = "embedding") -> Tensor:
        """Look up rows of a trained table."""
        table = self.parameter(f"{name}.table", rows, features)
        return self.add_op(name, movement.Embedding, ids, table, dtype=table.dtype)


def _each(value: Pair, rank: int) -> tuple[Numeric, ...]:
    return value if isinstance(value, tuple) else (value,) * rank


def _exact(channels: Numeric, groups: Numeric) -> Numeric:
    """Return channels / groups, an integer for integers (a remainder is found by the shape check)."""
    return channels // groups if isinstance(channels, int) and isinstance(groups, int) else channels / groups
