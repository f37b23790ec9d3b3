"""Single ops as blocks, so that thousands of measured shapes are costed as columns of a few templates."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.arch.block import Block, Port
from roofline.calibration.measured.types import SingleOp
from roofline.graph import ops
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: published name of an element-wise op -> function of the work rules, and number of tensors it reads
FUNCTIONS: dict[str, tuple[str, int]] = {
    "add": ("add", 2),
    "addu": ("add", 1),  # u: the other operand is a number
    "mul": ("mul", 2),
    "mulu": ("scale", 1),
    "div": ("div", 2),
    "divu": ("scale", 1),  # by a constant: its reciprocal
    "pow": ("pow", 2),
    "powu": ("pow", 1),
    "relu": ("relu", 1),
    "tanh": ("tanh", 1),
    "sigmoid": ("sigmoid", 1),
    "gelu": ("gelu", 1),
    "elu": ("elu", 1),
    "selu": ("elu", 1),  # elu times a constant, which is folded into its own
    "leaky_relu": ("leaky_relu", 1),
    "parametric_relu": ("leaky_relu", 1),
    "linear": ("scale", 1),
    "binary_step": ("compare", 1),
}


@dataclass(frozen=True, kw_only=True)
class Product(Block):
    """Matrix product of two tensors, one per leading index."""

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the product."""
        return (b.add_op("matmul", ops.MatMul, *inputs),)


@dataclass(frozen=True, kw_only=True)
class Convolution(Block):
    """Dense convolution with padding stated per side."""

    channels: Numeric
    height: Numeric
    width: Numeric
    stride_y: Numeric
    stride_x: Numeric
    pad_y: Numeric
    pad_x: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the convolution."""
        kernel, stride = (self.height, self.width), (self.stride_y, self.stride_x)
        return (b.conv(inputs[0], self.channels, kernel=kernel, stride=stride, padding=(self.pad_y, self.pad_x)),)


@dataclass(frozen=True, kw_only=True)
class Pointwise(Block):
    """One element-wise function."""

    function: str

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the function."""
        return (b.elementwise(self.function, *inputs, broadcast=(False,) * len(inputs)),)


@dataclass(frozen=True, kw_only=True)
class RowReduction(Block):
    """Softmax or layer norm over the last dimension."""

    function: str

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the op."""
        if self.function == "softmax":
            return (b.add_op("softmax", ops.Softmax, inputs[0]),)
        return (b.layer_norm(inputs[0]),)


@dataclass(frozen=True, kw_only=True)
class Prefetch(Block):
    """A stored matrix on its way into on-chip memory: all of it is read, next to nothing is computed or written."""

    rows: Numeric
    columns: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the read of a parameter to one element."""
        stored = b.parameter("stored", self.rows, self.columns)
        return (b.elementwise("add", inputs[0], stored, broadcast=(False, True)),)


@dataclass(frozen=True, kw_only=True)
class Attend(Block):
    """Fused attention of queries, keys and values that are there already."""

    heads: Numeric
    kv_heads: Numeric
    causal: bool
    window: Numeric = 0

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the op."""
        return (
            b.add_op(
                "attention",
                ops.Attention,
                *inputs,
                heads=self.heads,
                kv_heads=self.kv_heads,
                causal=self.causal,
                window=self.window,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Projection(Block):
    """Product with stored weights, without a bias."""

    columns: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the product."""
        return (b.linear(inputs[0], self.columns, bias=False),)


def product(m: int, n: int, k: int, batch: int = 1) -> SingleOp:
    """Return `batch` products (m, k) x (k, n)."""
    return SingleOp(block=Product(), ports=(Port(shape=(batch, m, k)), Port(shape=(batch, k, n))))


def projection(m: int, n: int, k: int) -> SingleOp:
    """Return the product of (m, k) with stored weights (k, n)."""
    return SingleOp(block=Projection(columns=n), ports=(Port(shape=(1, m, k)),))


def pointwise(function: str, *shape: int) -> SingleOp:
    """Return a published element-wise function of tensors of one shape."""
    name, arity = FUNCTIONS[function]
    return SingleOp(block=Pointwise(function=name), ports=(Port(shape=shape),) * arity)


def row_reduction(function: str, *shape: int) -> SingleOp:
    """Return ``softmax`` or ``layer_norm`` over the last dimension."""
    return SingleOp(block=RowReduction(function=function), ports=(Port(shape=shape),))


def attention(
    batch: int,
    queries: int,
    keys: int,
    *,
    heads: int,
    kv_heads: int,
    head: int,
    value: int | None = None,
    causal: bool = True,
    window: int = 0,
) -> SingleOp:
    """Return the attention of the last `queries` positions of `batch` sequences to the `keys` positions they have."""
    widths = (heads * head, kv_heads * head, kv_heads * (value or head))
    lengths = (queries, keys, keys)
    ports = tuple(Port(shape=(batch, length, width)) for length, width in zip(lengths, widths, strict=True))
    return SingleOp(block=Attend(heads=heads, kv_heads=kv_heads, causal=causal, window=window), ports=ports)


def convolution(
    image: tuple[int, int, int, int],
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
) -> SingleOp:
    """Return a convolution of images (N, H, W, C); pairs are (y, x)."""
    block = Convolution(
        channels=channels,
        height=kernel[0],
        width=kernel[1],
        stride_y=stride[0],
        stride_x=stride[1],
        pad_y=pad[0],
        pad_x=pad[1],
    )
    return SingleOp(block=block, ports=(Port(shape=image),))


def prefetch(rows: int, columns: int) -> SingleOp:
    """Return the read of a stored matrix."""
    return SingleOp(block=Prefetch(rows=rows, columns=columns), ports=(Port(shape=(1, 1)),))
