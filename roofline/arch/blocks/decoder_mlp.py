"""The feed-forward part of a decoder's layer: gated (Shazeer, arXiv 2002.05202), or two products."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from roofline.arch.block import Block
from roofline.arch.blocks.decoder_part import PartFile, part
from roofline.arch.step import Step
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: activations written as chains: the square of ReLU (So et al., arXiv 2109.08668)
CHAINS = {"relu2": ("relu", "square")}


def activated(b: GraphBuilder, function: str, x: Tensor) -> Tensor:
    """Apply an activation, or the chain that it is."""
    for step in CHAINS.get(function, (function,)):
        x = b.activation(step, x)
    return x


def gated_mlp(b: GraphBuilder, x: Tensor, hidden: Numeric, *, activation: str, bias: bool = False) -> Tensor:
    """Return down(activation(gate(x)) * up(x))."""
    gate, up = (b.linear(x, hidden, bias=bias, name=name) for name in ("gate", "up"))
    product = b.elementwise("mul", activated(b, activation, gate), up, name="gated")
    return b.linear(product, x.shape[-1], bias=bias, name="down")


@dataclass(frozen=True, kw_only=True)
class Mlp(Block):
    """Two products around an activation, or three with a gate."""

    hidden: Numeric
    activation: str
    gated: bool
    bias: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the branch."""
        x = inputs[0]
        if self.gated:
            return (gated_mlp(b, x, self.hidden, activation=self.activation, bias=self.bias),)
        hidden = activated(b, self.activation, b.linear(x, self.hidden, bias=self.bias, name="up"))
        return (b.linear(hidden, x.shape[-1], bias=self.bias, name="down"),)


@part("mlp")
class MlpFile(PartFile):
    """A feed-forward part of `hidden` channels."""

    hidden: int = Field(ge=1)
    activation: str = "swish"
    gated: bool = True
    bias: bool = False

    def make(self, step: Step) -> Block:
        """Return the part's block."""
        return Mlp(hidden=self.hidden, activation=self.activation, gated=self.gated, bias=self.bias)
