"""Mobile inverted bottleneck (MBConv), its fused form, and EfficientNet-X's space-to-depth entry.

Sources: MobileNetV2 (arXiv 1801.04381), EfficientNet (1905.11946), EfficientNet-EdgeTPU and EfficientNetV2 (2104.00298)
for the fused form, EfficientNet-X (2102.05610) for space-to-depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import conv_bn_act, depthwise_bn_act, global_pool, squeeze_excite
from roofline.arch.rounding import round_filters, some
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True)
class MBConv(Block):
    """Expand, depthwise (or one fused convolution for both), squeeze-excite, project, residual.

    `entry` is the width after the learned 2x2 stride-2 convolution of a space-to-depth stage.
    """

    entry: Numeric
    expanded: Numeric
    squeeze: Numeric
    channels: Numeric
    kernel: Numeric
    stride: Numeric
    activation: str
    project_activation: str
    se_activation: str
    gate: str
    with_entry: bool
    with_expand: bool
    with_project: bool
    with_se: bool
    fused: bool
    skip: bool
    pooled: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the block's ops."""
        x = inputs[0]
        if self.with_entry:
            x = conv_bn_act(b, x, self.entry, kernel=2, stride=2, activation=self.activation, name="space_to_depth")
        residual = x
        if self.fused:
            x = conv_bn_act(
                b, x, self.expanded, kernel=self.kernel, stride=self.stride, activation=self.activation, name="fused"
            )
        else:
            if self.with_expand:
                x = conv_bn_act(b, x, self.expanded, activation=self.activation, name="expand")
            x = depthwise_bn_act(b, x, kernel=self.kernel, stride=self.stride, activation=self.activation)
        if self.with_se:
            x = squeeze_excite(b, x, self.squeeze, activation=self.se_activation, gate=self.gate)
        if self.with_project:
            x = conv_bn_act(b, x, self.channels, activation=self.project_activation, name="project")
        if self.skip:
            x = b.add(x, residual, name="residual")
        return (global_pool(b, x, wanted=self.pooled),)


@stage("mbconv")
class MBConvStage(Stage):
    """A stage of MBConv blocks.

    Attributes
    ----------
    channels
        Output channels (of a space-to-depth stage: before its factor 4).
    in_channels
        Input channels that expansion and squeeze-excite are relative to, where they are not the real ones
        (after a space-to-depth stage; the first EdgeTPU stage).
    se_ratio, se_coefficient, se_base, se_divisor
        Squeeze width = base x ratio x coefficient, base = input or expanded channels; rounded to a multiple of the
        divisor where that is over 1.
    fused
        Expansion and depthwise convolution become one dense convolution.
    collapse
        A fused block without expansion is a single convolution (EfficientNetV2).
    space_to_depth
        The stage begins with a learned 2x2 stride-2 convolution to 4 x channels and runs on that grid with kernels of
        (kernel + 1) // 2; only its first block's squeeze width is relative to the channels before that.
    expand_divisor
        The expanded width is rounded to a multiple of it where it is over 1 (MobileNetV3).
    project_activation
        Activation after the last 1x1 convolution; with ``expand = 1`` and ``skip = false`` that is MobileNetV1's block.
    pool
        The stage's last block ends with the global mean (a network without head convolution).
    """

    width_fields = ("channels", "in_channels")

    channels: int
    in_channels: int | None = None
    kernel: int = 3
    stride: int = 1
    expand: float = 6
    se_ratio: float = 0.0
    se_coefficient: float = 1.0
    se_base: Literal["input", "expanded"] = "input"
    se_divisor: int = 1
    fused: bool = False
    collapse: bool = False
    skip: bool = True
    space_to_depth: bool = False
    activation: str = "relu"
    project_activation: str = "none"
    se_activation: str | None = None
    gate: str = "sigmoid"
    expand_divisor: int = 1
    pool: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`; only the first has the stage's stride."""
        incoming = int(ports[0].shape[-1])
        factor = 4 if self.space_to_depth else 1
        entered = incoming * factor if self.space_to_depth and index == 0 else incoming
        nominal = self.in_channels if index == 0 and self.in_channels is not None else entered
        expanded = _rounded(nominal * self.expand, self.expand_divisor)
        channels, stride = self.channels * factor, self.stride if index == 0 else 1
        squeeze = self._squeeze(nominal / factor if index == 0 else nominal, expanded)
        project = not (self.fused and self.collapse and self.expand == 1)
        return MBConv(
            entry=entered,
            expanded=expanded if project else channels,
            squeeze=squeeze,
            channels=channels,
            kernel=(self.kernel + 1) // 2 if self.space_to_depth else self.kernel,
            stride=stride,
            activation=self.activation,
            project_activation=self.project_activation,
            se_activation=self.se_activation or self.activation,
            gate=self.gate,
            with_entry=self.space_to_depth and index == 0,
            with_expand=self.expand != 1 and not self.fused,
            with_project=project,
            with_se=squeeze > 0,
            fused=self.fused,
            skip=self.skip and stride == 1 and entered == channels,
            pooled=self.pool and index == self.repeats - 1,
        )

    def _squeeze(self, nominal: float, expanded: int) -> int:
        if self.se_ratio == 0:
            return 0
        base = nominal if self.se_base == "input" else expanded
        width = base * self.se_ratio * self.se_coefficient
        return round_filters(width, self.se_divisor) if self.se_divisor > 1 else max(1, int(width))


def _rounded(width: float, divisor: int) -> int:
    return round_filters(width, divisor) if divisor > 1 else some(int(width), "expansion")
