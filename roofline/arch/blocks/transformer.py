"""Pieces that all transformers share: self-attention, the two-layer MLP, the pre-norm block and the classifier.

Pre-norm blocks are cut before the last residual add: a block returns (stream, branch) and the next one opens with their
sum, because compilers fuse that sum with the norm behind it and never with the matrix product before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.rounding import some
from roofline.errors import ShapeError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


def self_attention(
    b: GraphBuilder,
    x: Tensor,
    *,
    heads: Numeric,
    inner: Numeric,
    causal: bool = False,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return self-attention of x (N, T, C): one linear for q, k and v, seen as three views, and an output projection.

    `inner` is the width of each of q, k and v: heads x head size.
    """
    with b.scope("attn"):
        qkv = b.linear(x, 3 * inner, name="qkv")
        q, k, v = (b.part(qkv, inner, start=i * inner, name=name) for i, name in enumerate("qkv"))
        context = b.attention(q, k, v, heads=heads, bias=bias, mask=mask, causal=causal)
        return b.linear(context, x.shape[-1], name="proj")


def mlp(b: GraphBuilder, x: Tensor, hidden: Numeric, *, activation: str) -> Tensor:
    """Return two linears with an activation between."""
    with b.scope("mlp"):
        return b.linear(b.activation(activation, b.linear(x, hidden, name="fc1")), x.shape[-1], name="fc2")


def check_ranks(ports: Ports, what: str, *allowed: tuple[int, ...]) -> None:
    """Raise unless the inputs of a block have one of the `allowed` lists of ranks.

    Raises
    ------
    ShapeError
        The stage stands behind one that does not fit it.
    """
    ranks = tuple(len(port.shape) for port in ports)
    if ranks not in allowed:
        raise ShapeError(f"{what} takes inputs of ranks {' or '.join(map(repr, allowed))}, got {ranks!r}")


@dataclass(frozen=True, kw_only=True)
class PreNormBlock(Block):
    """Norm, attention, residual; norm, MLP (its residual opens the next block)."""

    heads: Numeric
    inner: Numeric
    hidden: Numeric
    activation: str
    causal: bool

    def open(self, b: GraphBuilder, *inputs: Tensor) -> Tensor:
        """Return the stream that enters the first norm: by default the residual that the block before left open."""
        return b.add(*inputs, name="residual")

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the stream and the branch that is to be added to it."""
        x = self.open(b, *inputs)
        branch = self_attention(
            b, b.layer_norm(x, name="norm1"), heads=self.heads, inner=self.inner, causal=self.causal
        )
        x = b.add(x, branch, name="attn_residual")
        return x, mlp(b, b.layer_norm(x, name="norm2"), self.hidden, activation=self.activation)


class TransformerStage(Stage):
    """What the stages of all transformers say.

    Attributes
    ----------
    heads, head_size
        Attention heads, and channels of each; by default the heads share the width of the network.
    mlp_ratio
        Hidden width of the MLP, relative to the width of the network.
    """

    heads: int = Field(ge=1)
    head_size: int | None = Field(default=None, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    activation: str = "gelu"

    def inner(self, width: int) -> int:
        """Return the width of each of q, k and v.

        Raises
        ------
        ShapeError
            The heads do not divide the width.
        """
        if self.head_size is not None:
            return self.heads * self.head_size
        if width % self.heads:
            raise ShapeError(f"{self.heads!r} heads do not divide the width {width!r}: set head_size or other heads")
        return width

    def hidden(self, width: int) -> int:
        """Return the hidden width of the MLP."""
        return some(int(width * self.mlp_ratio), "mlp_ratio")


@dataclass(frozen=True, kw_only=True)
class TransformerHead(Block):
    """The last residual, the final norm of all tokens, one vector for each image, the classifier."""

    classes: Numeric
    pool: Literal["token", "mean"]

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the class scores."""
        x = b.layer_norm(b.add(*inputs, name="residual"), name="norm")
        if self.pool == "token":
            first = b.part(x, 1, axis=1, name="class_token")
            x = b.reshape(first, (x.shape[0], x.shape[-1]), name="vector")
        else:
            x = b.mean(x, tuple(range(1, len(x.shape) - 1)), keep=False, name="pool")
        return (b.linear(x, self.classes, name="fc"),)


@stage("transformer_head")
class TransformerHeadStage(Stage):
    """Classifier on the class token, or on the mean of all tokens."""

    classes: int = Field(default=1000, ge=1)
    pool: Literal["token", "mean"] = "token"

    def make(self, index: int, ports: Ports) -> Block:
        """Return the head.

        Raises
        ------
        ShapeError
            No residual is open in front of it.
        """
        check_ranks(ports, "a transformer head", (3, 3), (4, 4))
        return TransformerHead(classes=self.classes, pool=self.pool)
