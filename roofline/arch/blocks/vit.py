"""Vision transformers (Dosovitskiy et al., arXiv 2010.11929; DeiT, 2012.12877): patches, class token, pre-norm."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.transformer import PreNormBlock, TransformerStage, check_ranks
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


@dataclass(frozen=True, kw_only=True)
class PatchEmbed(Block):
    """A convolution with bias and stride = kernel: one vector for each patch. A rest at the border is dropped."""

    width: Numeric
    patch: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the grid of patches (N, H / patch, W / patch, width)."""
        return (
            b.conv(inputs[0], self.width, kernel=self.patch, stride=self.patch, padding=(0, 0), bias=True, name="proj"),
        )


@stage("patch_embed")
class PatchEmbedStage(Stage):
    """The patches of an image, and with their number of channels the width of the network."""

    width_fields = ("width",)

    width: int = Field(ge=1)
    patch: int = Field(ge=1)

    def make(self, index: int, ports: Ports) -> Block:
        """Return the convolution."""
        check_ranks(ports, "a patch embedding", (4,))
        return PatchEmbed(width=self.width, patch=self.patch)


@dataclass(frozen=True, kw_only=True)
class FirstVitBlock(PreNormBlock):
    """The first block also makes the sequence of its patches: class token and position embedding.

    They belong to it because compilers fuse both with its first norm. The position embedding has a vector for each
    token, so it grows with the image, as it does where a network is built for another image size.
    """

    class_token: bool

    def open(self, b: GraphBuilder, *inputs: Tensor) -> Tensor:
        """Return the sequence of a grid of patches, (N, 1 + H x W, C)."""
        n, height, width, channels = inputs[0].shape
        with b.scope("embed"):
            x = b.reshape(inputs[0], (n, height * width, channels), name="tokens")
            if self.class_token:
                token = b.expand(b.parameter("class_token", 1, 1, channels), (n, 1, channels), name="class")
                x = b.concat([token, x], axis=1)
            position = b.parameter("position", 1, *x.shape[1:])
            return b.elementwise("add", x, position, broadcast=(False, True), name="add_position")


@stage("vit")
class VitStage(TransformerStage):
    """Pre-norm blocks over the tokens of an image; the first one after the patches opens with the embedding."""

    class_token: bool = True

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`.

        Raises
        ------
        ShapeError
            The input is neither a grid of patches nor a sequence with an open residual, or the heads do not divide its
            width.
        """
        check_ranks(ports, "a ViT block", (4,), (3, 3))
        width = int(ports[0].shape[-1])
        first = len(ports[0].shape) == 4
        make = FirstVitBlock if first else PreNormBlock
        extra = {"class_token": self.class_token} if first else {}
        return make(
            heads=self.heads,
            inner=self.inner(width),
            hidden=self.hidden(width),
            activation=self.activation,
            causal=False,
            **extra,
        )
