"""ConvNeXt blocks (arXiv 2201.03545).

A network is cut after each residual add, where the depthwise convolution begins. The layer norm in front of the next
stage's (or the classifier's) input fuses with that add, so it and the strided convolution belong to the last block of a
stage, not to the first of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import global_pool
from roofline.arch.rounding import some
from roofline.errors import SpecError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True)
class ConvNeXtStem(Block):
    """Patches by a strided convolution without overlap, layer norm."""

    channels: Numeric
    patch: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the stem's ops."""
        x = b.conv(
            inputs[0], self.channels, kernel=self.patch, stride=self.patch, padding=(0, 0), bias=True, name="patch"
        )
        return (b.layer_norm(x),)


@stage("convnext_stem")
class ConvNeXtStemStage(Stage):
    """ConvNeXt's patch embedding."""

    width_fields = ("channels",)

    channels: int
    patch: int = 4

    def make(self, index: int, ports: Ports) -> Block:
        """Return the stem."""
        return ConvNeXtStem(channels=self.channels, patch=self.patch)


@dataclass(frozen=True, kw_only=True)
class ConvNeXtBlock(Block):
    """Depthwise convolution, layer norm, two linear layers, layer scale, residual add; then what `closes` says.

    ``"downsample"``: layer norm and a 2x2 stride-2 convolution to `next_channels`; ``"pool"``: mean and layer norm.
    """

    hidden: Numeric
    next_channels: Numeric
    kernel: Numeric
    activation: str
    closes: Literal["add", "downsample", "pool"]

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the block's ops."""
        residual = inputs[0]
        channels = residual.shape[-1]
        x = b.layer_norm(b.depthwise(residual, kernel=self.kernel, bias=True, name="dw"))
        x = b.activation(self.activation, b.linear(x, self.hidden, name="expand"))
        x = b.linear(x, channels, name="project")
        x = b.elementwise("mul", x, b.parameter("gamma", channels), broadcast=(False, True), name="layer_scale")
        x = b.add(x, residual, name="residual")
        if self.closes == "downsample":
            x = b.layer_norm(x, name="next_norm")
            x = b.conv(x, self.next_channels, kernel=2, stride=2, padding=(0, 0), bias=True, name="downsample")
        if self.closes == "pool":
            x = b.layer_norm(global_pool(b, x), name="next_norm")
        return (x,)


@stage("convnext")
class ConvNeXtStage(Stage):
    """A stage of ConvNeXt blocks.

    Attributes
    ----------
    channels
        Width of the stage, which its input must have.
    downsample_to
        Width of the next stage, to which the last block halves the resolution; 0 for none.
    pool
        The last block ends with global mean and layer norm.
    """

    width_fields = ("channels", "downsample_to")

    channels: int
    downsample_to: int = 0
    expand: float = 4
    kernel: int = 7
    activation: str = "gelu"
    pool: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`.

        Raises
        ------
        SpecError
            The input has another width than the stage, or the stage is to close in two ways.
        """
        incoming = ports[0].shape[-1]
        if incoming != self.channels:
            raise SpecError(f"stage {self.name!r}: channels = {self.channels!r}, but its input has {incoming!r}")
        if self.pool and self.downsample_to:
            raise SpecError(f"stage {self.name!r}: give pool or downsample_to, not both")
        last = index == self.repeats - 1
        closing: Literal["add", "downsample", "pool"]
        closing = "pool" if self.pool else "downsample" if self.downsample_to else "add"
        return ConvNeXtBlock(
            hidden=some(round(self.channels * self.expand), "expansion"),
            next_channels=self.downsample_to if last else 0,
            kernel=self.kernel,
            activation=self.activation,
            closes=closing if last else "add",
        )
