"""Swin transformer (Liu et al., arXiv 2103.14030): attention inside windows that shift from block to block.

Copies are those an eager runtime launches: a cyclic shift in two dimensions is one roll after the other, cutting into
windows and joining them again is one copy each. A padding of nothing is not counted as a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import space_to_depth
from roofline.arch.blocks.transformer import TransformerStage, check_ranks, mlp, self_attention
from roofline.arch.rounding import some
from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, floor_div


def roll(b: GraphBuilder, x: Tensor) -> Tensor:
    """Return x (N, H, W, C) shifted cyclically in height and width: two copies."""
    return b.move("roll", b.move("roll", x, x.shape, name="roll_height"), x.shape, name="roll_width")


@dataclass(frozen=True, kw_only=True)
class SwinBlock(Block):
    """Norm, window attention, residual; norm, MLP, residual.

    `opens`: with the norm of the patches (behind the patch convolution), with nothing (behind a patch merging), or with
    the residual that the block before left open.
    """

    heads: Numeric
    inner: Numeric
    hidden: Numeric
    window: Numeric
    activation: str
    shifted: bool
    opens: Literal["patch_norm", "nothing", "residual"]

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the stream and the branch that is to be added to it."""
        x = inputs[0]
        if self.opens == "patch_norm":
            x = b.layer_norm(x, name="patch_norm")
        elif self.opens == "residual":
            x = b.add(*inputs, name="residual")
        x = b.add(x, self.window_attention(b, b.layer_norm(x, name="norm1")), name="attn_residual")
        branch = mlp(b, b.layer_norm(x, name="norm2"), self.hidden, activation=self.activation)
        return (x, branch)

    def window_attention(self, b: GraphBuilder, x: Tensor) -> Tensor:
        """Return attention inside each window of x (N, H, W, C): windows join the batch."""
        n, height, width, channels = x.shape
        windows = floor_div(height, self.window) * floor_div(width, self.window)
        area = self.window * self.window
        shape = x.shape
        if self.shifted:
            x = roll(b, x)
        x = b.move("window_partition", x, (n * windows, area, channels))
        mask = b.tensor("attn/mask", (windows, 1, area, area), "buffer") if self.shifted else None
        bias = self.position_bias(b, area)
        x = self_attention(b, x, heads=self.heads, inner=self.inner, bias=bias, mask=mask)
        x = b.move("window_reverse", x, shape)
        return roll(b, x) if self.shifted else x

    def position_bias(self, b: GraphBuilder, area: Numeric) -> Tensor:
        """Return the relative position bias (heads, area, area): rows of a table, then heads first."""
        side = 2 * self.window - 1
        with b.scope("attn"):
            index = b.tensor("position_index", (area * area,), "buffer", DTYPES["int32"])
            rows = b.embedding(index, side * side, self.heads, name="position_bias")
            return b.move("transpose", rows, (self.heads, area, area), name="heads_first")


@stage("swin")
class SwinStage(TransformerStage):
    """A stage of Swin blocks at one resolution; every second one has shifted windows.

    Attributes
    ----------
    window
        Height and width of a window, in tokens. It must divide the resolution. Windows do not shift where one covers
        the image.
    patch_norm
        The first block opens with a norm of its input: behind the patch convolution.
    """

    window: int = Field(default=7, ge=1)
    patch_norm: bool = False

    @property
    def period(self) -> int:
        """Every second block shifts its windows."""
        return 2

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`.

        Raises
        ------
        ShapeError
            Windows do not tile the image, or the heads do not divide the width.
        """
        check_ranks(ports, "a Swin block", (4,), (4, 4))
        _, rows, columns, width = (int(d) for d in ports[0].shape)
        if rows % self.window or columns % self.window:
            raise ShapeError(
                f"windows of {self.window!r} x {self.window!r} do not tile {rows!r} x {columns!r} tokens: "
                "take an image size that they divide in every stage"
            )
        return SwinBlock(
            heads=self.heads,
            inner=self.inner(width),
            hidden=self.hidden(width),
            window=self.window,
            activation=self.activation,
            shifted=index % 2 == 1 and min(rows, columns) > self.window,
            opens="residual" if len(ports) == 2 else "patch_norm" if self.patch_norm else "nothing",
        )


@dataclass(frozen=True, kw_only=True)
class PatchMerging(Block):
    """The residual that the block before left open; 2 x 2 neighbours side by side, norm, linear without bias."""

    channels: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, H / 2, W / 2, channels)."""
        x = b.add(*inputs, name="residual")
        x = space_to_depth(b, x)
        return (b.linear(b.layer_norm(x, name="norm"), self.channels, bias=False, name="reduction"),)


@stage("patch_merging")
class PatchMergingStage(Stage):
    """Half the resolution, `expand` times the width."""

    expand: float = Field(default=2.0, gt=0)

    def make(self, index: int, ports: Ports) -> Block:
        """Return the merging.

        Raises
        ------
        ShapeError
            The resolution is odd.
        """
        check_ranks(ports, "a patch merging", (4, 4))
        _, rows, columns, width = (int(d) for d in ports[0].shape)
        if rows % 2 or columns % 2:
            raise ShapeError(f"patch merging needs an even resolution, got {rows!r} x {columns!r} tokens")
        return PatchMerging(channels=some(int(width * self.expand), "merging"))
