"""Space-to-batch: a part of a network runs on the quarters of its images, as a four times larger batch.

Source: EfficientNet-X (Li et al., arXiv 2102.05610), which searches it beside space-to-depth. Both copies end a block,
because compilers fuse a copy with the element-wise ops before it and never with a convolution behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from roofline.arch.block import Block, Ports, stage
from roofline.arch.blocks.common import ConvBlock, ConvStage
from roofline.arch.blocks.mbconv import MBConv, MBConvStage
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import floor_div

#: quarters per side
SIDE = 2


@dataclass(frozen=True, kw_only=True)
class ConvToBatch(ConvBlock):
    """Convolution, batch norm, activation; then (N, H, W, C) -> (4 N, H / 2, W / 2, C)."""

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the convolution and the copy."""
        (x,) = super().build(b, *inputs)
        n, height, width, channels = x.shape
        quarter = (SIDE * SIDE * n, floor_div(height, SIDE), floor_div(width, SIDE), channels)
        return (b.move("space_to_batch", x, quarter),)


@stage("conv_to_batch")
class ConvToBatchStage(ConvStage):
    """Plain convolutions, the last of which ends with space-to-batch; its output grid must be even."""

    def make(self, index: int, ports: Ports) -> Block:
        """Return a convolution block."""
        block = super().make(index, ports)
        return _as(ConvToBatch, block) if index == self.repeats - 1 else block


@dataclass(frozen=True, kw_only=True)
class MBConvToSpace(MBConv):
    """An MBConv block, then (4 N, H, W, C) -> (N, 2 H, 2 W, C)."""

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the block's ops and the copy."""
        (x,) = super().build(b, *inputs)
        n, height, width, channels = x.shape
        whole = (floor_div(n, SIDE * SIDE), SIDE * height, SIDE * width, channels)
        return (b.move("batch_to_space", x, whole),)


@stage("mbconv_to_space")
class MBConvToSpaceStage(MBConvStage):
    """A stage of MBConv blocks on the quarters of images, the last of which puts the images together again."""

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`."""
        block = super().make(index, ports)
        return _as(MBConvToSpace, block) if index == self.repeats - 1 else block


def _as(cls: type[Block], block: Block) -> Block:
    return cls(**{f.name: getattr(block, f.name) for f in fields(block)})
