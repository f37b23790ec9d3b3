"""Pieces that several blocks share: convolution + norm + activation, squeeze-and-excite, stems and heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.errors import SpecError
from roofline.graph.builder import GraphBuilder, Pair
from roofline.graph.ops import Padding
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, floor_div


def conv_bn_act(
    b: GraphBuilder,
    x: Tensor,
    channels: Numeric,
    *,
    activation: str | None,
    kernel: Pair = 1,
    stride: Pair = 1,
    padding: Padding = "same",
    groups: Numeric | None = None,
    name: str = "conv",
) -> Tensor:
    """Convolution, batch norm, activation."""
    x = b.conv(x, channels, kernel=kernel, stride=stride, padding=padding, groups=groups, name=name)
    return b.activation(activation, b.batch_norm(x, name=f"{name}_bn"))


def depthwise_bn_act(
    b: GraphBuilder, x: Tensor, *, activation: str | None, kernel: Numeric, stride: Numeric = 1, name: str = "dw"
) -> Tensor:
    """Depthwise convolution, batch norm, activation."""
    x = b.depthwise(x, kernel=kernel, stride=stride, name=name)
    return b.activation(activation, b.batch_norm(x, name=f"{name}_bn"))


def squeeze_excite(b: GraphBuilder, x: Tensor, squeeze: Numeric, *, activation: str, gate: str = "sigmoid") -> Tensor:
    """Global mean, 1x1 to `squeeze`, activation, 1x1 back, gate, scale (Hu et al., arXiv 1709.01507)."""
    with b.scope("se"):
        pooled = b.mean(x, (1, 2))
        reduced = b.activation(activation, b.conv(pooled, squeeze, bias=True, name="reduce"))
        gates = b.activation(gate, b.conv(reduced, x.shape[-1], bias=True, name="expand"))
        return b.gate(x, gates)


def global_pool(b: GraphBuilder, x: Tensor, *, wanted: bool = True) -> Tensor:
    """Mean over all positions: (N, H, W, C) -> (N, C); `x` itself where it is not wanted.

    The last block of a network without head convolution ends with it: runtimes fuse its activation into the mean.
    """
    return b.mean(x, (1, 2), keep=False, name="pool") if wanted else x


def space_to_depth(b: GraphBuilder, x: Tensor) -> Tensor:
    """Squares of 2 x 2 positions into the channels: (N, H, W, C) -> (N, H / 2, W / 2, 4 C), a copy."""
    n, height, width, channels = x.shape
    return b.move("space_to_depth", x, (n, floor_div(height, 2), floor_div(width, 2), 4 * channels))


def kernel_in_depth(kernel: int) -> int:
    """Return the side of the kernel that does behind `space_to_depth` what one of stride 2 does before it.

    The kernel is padded with zeros to an even side, and its squares of 2 x 2 move into the channels (MLPerf's ResNet on
    TPUs: Ying et al., "Image Classification at Supercomputer Scale", arXiv 1811.06992).
    """
    return (kernel + 1) // 2


@dataclass(frozen=True, kw_only=True)
class ConvBlock(Block):
    """One convolution with batch norm and activation, as in stems."""

    channels: Numeric
    kernel: Numeric
    stride: Numeric
    activation: str
    padding: Literal["same", "valid"] = "same"
    in_depth: bool = False

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Convolution, batch norm, activation."""
        padding: Padding = "same" if self.padding == "same" else (0, 0)
        x = space_to_depth(b, inputs[0]) if self.in_depth else inputs[0]
        x = conv_bn_act(
            b, x, self.channels, kernel=self.kernel, stride=self.stride, padding=padding, activation=self.activation
        )
        return (x,)


@stage("conv")
class ConvStage(Stage):
    """Plain convolutions; the stride is that of the first.

    With `in_depth` the first convolution, of stride 2, runs on four times the channels of half the grid.
    """

    width_fields = ("channels",)

    channels: int
    kernel: int = 3
    stride: int = 1
    activation: str = "relu"
    padding: Literal["same", "valid"] = "same"
    in_depth: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return a convolution block.

        Raises
        ------
        SpecError
            `in_depth` with another stride than 2, another padding than "same", or an odd grid.
        """
        in_depth = self.in_depth and index == 0
        if in_depth:
            check_in_depth(self.name, ports, self.stride, self.padding)
        return ConvBlock(
            channels=self.channels,
            kernel=kernel_in_depth(self.kernel) if in_depth else self.kernel,
            stride=self.stride if index == 0 and not in_depth else 1,
            activation=self.activation,
            padding=self.padding,
            in_depth=in_depth,
        )


def check_in_depth(name: str, ports: Ports, stride: int, padding: str = "same") -> None:
    """Raise SpecError unless a convolution of this stride and padding has a form behind `space_to_depth`."""
    _, height, width, _ = ports[0].shape
    if stride != 2 or padding != "same" or height % 2 or width % 2:
        raise SpecError(
            f"stage {name!r}: in_depth needs stride 2, padding 'same' and an even grid, got stride {stride!r}, "
            f"padding {padding!r} and {int(height)} x {int(width)}"
        )


@dataclass(frozen=True, kw_only=True)
class PoolBlock(Block):
    """Window pooling."""

    function: str
    kernel: Numeric
    stride: Numeric
    padding: Literal["same", "valid"] = "same"

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One pooling op."""
        padding: Padding = "same" if self.padding == "same" else (0, 0)
        return (b.pool(inputs[0], self.function, kernel=self.kernel, stride=self.stride, padding=padding),)


@stage("pool")
class PoolStage(Stage):
    """Maximum or mean pooling between stages."""

    function: Literal["max", "mean"] = "max"
    kernel: int = 3
    stride: int = 2
    padding: Literal["same", "valid"] = "same"

    def make(self, index: int, ports: Ports) -> Block:
        """Return a pooling block."""
        return PoolBlock(function=self.function, kernel=self.kernel, stride=self.stride, padding=self.padding)


@dataclass(frozen=True, kw_only=True)
class HeadBlock(Block):
    """Optional 1x1 convolution, global mean (unless the input is pooled already), optional hidden layer, classifier."""

    channels: Numeric
    hidden: Numeric
    classes: Numeric
    activation: str
    hidden_activation: str
    with_conv: bool
    with_pool: bool
    with_hidden: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Features, pooling, classifier."""
        x = inputs[0]
        if self.with_conv:
            x = conv_bn_act(b, x, self.channels, activation=self.activation, name="conv")
        x = global_pool(b, x, wanted=self.with_pool)
        if self.with_hidden:
            x = b.activation(self.hidden_activation, b.linear(x, self.hidden, name="hidden"))
        return (b.linear(x, self.classes, name="fc"),)


@stage("head")
class HeadStage(Stage):
    """Classifier head: `channels` of a 1x1 convolution before pooling (0: none), `hidden` of a layer after it."""

    width_fields = ("channels",)

    channels: int = 0
    hidden: int = 0
    classes: int = 1000
    activation: str = "relu"
    hidden_activation: str = "relu"

    def make(self, index: int, ports: Ports) -> Block:
        """Return the head."""
        return HeadBlock(
            channels=self.channels,
            hidden=self.hidden,
            classes=self.classes,
            activation=self.activation if self.channels else "none",
            hidden_activation=self.hidden_activation if self.hidden else "none",
            with_conv=self.channels > 0,
            with_pool=len(ports[0].shape) > 2,
            with_hidden=self.hidden > 0,
        )
