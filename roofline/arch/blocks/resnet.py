"""Residual blocks after activation: ResNet, ResNeXt, ResNet-RS, RegNet; and ResNet's stems.

Sources: ResNet (arXiv 1512.03385; stride in the 3x3, as in every implementation since), ResNeXt (1611.05431), RegNet
(2003.13678), ResNet-RS (2103.07579) for the deep stem, the pooled shortcut and squeeze-excite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import (
    check_in_depth,
    conv_bn_act,
    global_pool,
    kernel_in_depth,
    space_to_depth,
    squeeze_excite,
)
from roofline.arch.rounding import some
from roofline.errors import SpecError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: what the residual is added to: the input, its 1x1 convolution, or its 2x2 mean and then a 1x1 convolution
Shortcut = Literal["identity", "conv", "pool_conv"]


@dataclass(frozen=True, kw_only=True)
class ResidualBlock(Block):
    """1x1, 3x3 and 1x1 convolution (basic: two 3x3), optional squeeze-excite, residual add, activation.

    `width` is that of the 3x3 convolution; squeeze-excite follows it (`se` "inner", RegNetY) or the last convolution
    ("outer", ResNet-RS).
    """

    width: Numeric
    channels: Numeric
    groups: Numeric
    squeeze: Numeric
    stride: Numeric
    activation: str
    basic: bool
    grouped: bool
    se: Literal["none", "inner", "outer"]
    shortcut: Shortcut
    pooled: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the block's ops."""
        x = inputs[0]
        groups = self.groups if self.grouped else None
        if not self.basic:
            x = conv_bn_act(b, x, self.width, activation=self.activation, name="reduce")
        x = conv_bn_act(
            b, x, self.width, kernel=3, stride=self.stride, groups=groups, activation=self.activation, name="conv"
        )
        if self.se == "inner":
            x = squeeze_excite(b, x, self.squeeze, activation=self.activation)
        x = conv_bn_act(b, x, self.channels, kernel=3 if self.basic else 1, activation=None, name="project")
        if self.se == "outer":
            x = squeeze_excite(b, x, self.squeeze, activation=self.activation)
        x = b.activation(self.activation, b.add(x, self._residual(b, inputs[0]), name="residual"))
        return (global_pool(b, x, wanted=self.pooled),)

    def _residual(self, b: GraphBuilder, x: Tensor) -> Tensor:
        if self.shortcut == "identity":
            return x
        stride = self.stride
        if self.shortcut == "pool_conv":
            x = b.pool(x, "mean", kernel=2, stride=stride, name="shortcut_pool")
            stride = 1
        return conv_bn_act(b, x, self.channels, stride=stride, activation=None, name="shortcut")


@stage("residual")
class ResidualStage(Stage):
    """A stage of residual blocks; the first has the stride and, where shapes change, a convolution as shortcut.

    Attributes
    ----------
    channels
        Output channels.
    basic
        Two 3x3 convolutions instead of the bottleneck.
    bottleneck
        Width of the 3x3 convolution as a share of `channels` (ResNet 0.25, ResNeXt 0.5 or 1, RegNet 1).
    groups, group_width
        Groups of the 3x3 convolution, or its channels per group: at most one of them.
    se, se_ratio
        Squeeze-excite: ``"inner"`` after the 3x3 convolution, squeezing to ratio x block input; ``"outer"`` after the
        last convolution, to ratio x `channels`.
    pool_shortcut
        A strided shortcut is a 2x2 mean and a 1x1 convolution, not a strided 1x1 convolution.
    pool
        The stage's last block ends with the global mean.
    """

    width_fields = ("channels",)

    channels: int
    basic: bool = False
    bottleneck: float = 0.25
    groups: int = 1
    group_width: int = 0
    stride: int = 1
    se: Literal["none", "inner", "outer"] = "none"
    se_ratio: float = 0.25
    pool_shortcut: bool = False
    pool: bool = False
    activation: str = "relu"

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`.

        Raises
        ------
        SpecError
            The groups do not divide the width.
        """
        incoming = int(ports[0].shape[-1])
        stride = self.stride if index == 0 else 1
        width = self.channels if self.basic else some(round(self.channels * self.bottleneck), "bottleneck")
        groups = width // self.group_width if self.group_width else self.groups
        if groups < 1 or width % groups or (self.group_width and (self.groups > 1 or width % self.group_width)):
            raise SpecError(
                f"stage {self.name!r}: width {width!r} does not split into groups = {self.groups!r}"
                f" and group_width = {self.group_width!r} (give one of them)"
            )
        changes = stride != 1 or incoming != self.channels
        base = incoming if self.se == "inner" else self.channels
        return ResidualBlock(
            width=width,
            channels=self.channels,
            groups=groups,
            squeeze=0 if self.se == "none" else some(round(base * self.se_ratio), "squeeze-and-excite"),
            stride=stride,
            activation=self.activation,
            basic=self.basic,
            grouped=groups > 1,
            se=self.se,
            shortcut="identity" if not changes else "pool_conv" if self.pool_shortcut and stride != 1 else "conv",
            pooled=self.pool and index == self.repeats - 1,
        )


@dataclass(frozen=True, kw_only=True)
class ResNetStem(Block):
    """To a quarter of the resolution: 7x7 and max pooling, or (deep) three 3x3 and a strided 3x3."""

    channels: Numeric
    inner: Numeric
    activation: str
    deep: bool
    in_depth: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the stem's ops."""
        x, act = inputs[0], self.activation
        if not self.deep:
            x = space_to_depth(b, x) if self.in_depth else x
            kernel, stride = (kernel_in_depth(7), 1) if self.in_depth else (7, 2)
            x = conv_bn_act(b, x, self.channels, kernel=kernel, stride=stride, activation=act, name="conv")
            return (b.pool(x, "max", kernel=3, stride=2, name="pool"),)
        x = conv_bn_act(b, x, self.inner, kernel=3, stride=2, activation=act, name="conv1")
        x = conv_bn_act(b, x, self.inner, kernel=3, activation=act, name="conv2")
        x = conv_bn_act(b, x, self.channels, kernel=3, activation=act, name="conv3")
        return (conv_bn_act(b, x, self.channels, kernel=3, stride=2, activation=act, name="conv4"),)


@stage("resnet_stem")
class ResNetStemStage(Stage):
    """ResNet's stem; `deep` is that of ResNet-RS, with `channels` / 2 in its first two convolutions.

    With `in_depth` the 7x7 convolution runs on four times the channels of half the grid.
    """

    width_fields = ("channels",)

    channels: int = 64
    deep: bool = False
    activation: str = "relu"
    in_depth: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return the stem.

        Raises
        ------
        SpecError
            `in_depth` in a deep stem, or on an odd grid.
        """
        if self.in_depth and self.deep:
            raise SpecError(f"stage {self.name!r}: a deep stem has no in_depth")
        if self.in_depth:
            check_in_depth(self.name, ports, stride=2)
        return ResNetStem(
            channels=self.channels,
            inner=self.channels // 2 if self.deep else 0,
            activation=self.activation,
            deep=self.deep,
            in_depth=self.in_depth,
        )
