"""Mixtures of experts (Shazeer et al., arXiv 1701.06538): each token takes few of many feed-forward networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from roofline.arch.block import Block
from roofline.arch.blocks.decoder_mlp import activated, gated_mlp
from roofline.arch.blocks.decoder_part import PartFile, part
from roofline.arch.step import Step
from roofline.dtypes import DTYPES
from roofline.graph.builder import GraphBuilder
from roofline.graph.indexing import Fill, Gather, Scan, Sort, Update
from roofline.graph.movement import Embedding
from roofline.graph.ops import GroupedMatMul, Reduce
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: how the weights of the chosen experts come about: softmax of all scores, or of the chosen ones; a sigmoid of each
Routing: TypeAlias = Literal["softmax", "softmax_of_chosen", "sigmoid"]
IDS = DTYPES["int32"]


@dataclass(frozen=True, kw_only=True)
class Experts(Block):
    """Router, the rows of each expert side by side, two products in groups, and the weighted sum of what comes back."""

    experts: Numeric
    top_k: Numeric
    hidden: Numeric
    shared_hidden: Numeric
    beside_hidden: Numeric
    latent: Numeric
    skew: Numeric
    routing: Routing
    activation: str
    shared: bool
    beside: bool
    shared_gate: bool
    narrowed: bool
    gated: bool
    normalized: bool
    router_bias: bool
    correction: bool
    bias: bool
    scaled_router: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the branch."""
        x = inputs[0]
        if not self.beside:
            return (self._mixed(b, x),)
        with b.scope("beside"):
            dense = b.rms_norm(gated_mlp(b, x, self.beside_hidden, activation=self.activation), name="norm")
        y = b.rms_norm(self._mixed(b, b.rms_norm(x, name="norm")), name="norm_behind")
        return (b.add(dense, y, name="with_beside"),)

    def _mixed(self, b: GraphBuilder, x: Tensor) -> Tensor:
        rows = b.reshape(x, (x.shape[0] * x.shape[1], x.shape[2]), name="rows")
        weights, chosen = self._routed(b, rows)
        entering = b.linear(rows, self.latent, bias=False, name="narrow") if self.narrowed else rows
        order, ends = self._sorted(b, chosen)
        sent = (order.shape[0], entering.shape[-1])
        grouped = b.add_op("dispatch", Gather, entering, order, shape=sent, side_by_side=sent[1])
        hidden = self._product(b, grouped, (2 if self.gated else 1) * self.hidden, order, ends, "up")
        back = self._product(b, self._activated(b, hidden), sent[1], order, ends, "down")
        shape = (rows.shape[0], sent[1])
        y = b.add_op("combine", Gather, back, order, weights, shape=shape, side_by_side=sent[1], combined=self.top_k)
        if self.narrowed:
            y = b.linear(y, x.shape[2], bias=False, name="widen")
        y = b.reshape(y, x.shape, name="tokens")
        return b.add(y, self._shared(b, x), name="with_shared") if self.shared else y

    def _routed(self, b: GraphBuilder, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the chosen experts of each token, and which they are, (tokens, top_k) each."""
        with b.scope("router"):
            if self.scaled_router:
                rows = b.elementwise("mul", b.rms_norm(rows, scale=False), b.parameter("scale", rows.shape[-1]))
            scores = b.linear(rows, self.experts, bias=self.router_bias, part="router", name="scores")
            if self.routing == "softmax":
                scores = b.softmax(scores)
            elif self.routing == "sigmoid":
                scores = b.activation("sigmoid", scores)
            if self.correction:
                scores = b.elementwise("add", scores, b.tensor("correction", (self.experts,), "buffer"))
            weights, chosen = b.write("top", Sort, (scores,), (scores.dtype, IDS), kept=self.top_k)
            if self.routing == "softmax_of_chosen":
                weights = b.softmax(weights)
            elif self.normalized:
                total = b.add_op("total", Reduce, weights, axes=(-1,), function="sum")
                weights = b.elementwise("div", weights, total, broadcast=(False, True))
            if self.scaled_router:
                scales = b.add_op(
                    "expert_scale", Gather, b.parameter("scales", self.experts), chosen, shape=chosen.shape
                )
                weights = b.elementwise("mul", weights, scales, broadcast=(False, False))
            return weights, chosen

    def _sorted(self, b: GraphBuilder, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows in the order of their experts, and where the rows of each expert end."""
        with b.scope("router"):
            ids = b.reshape(chosen, (chosen.shape[0] * chosen.shape[1],), name="ids")
            experts, order = b.write("sort", Sort, (ids,), (IDS, IDS))
            zeros = b.write("zeros", Fill, (), (IDS,), shape=(self.experts,))[0]
            counts = b.add_op("counts", Update, zeros, experts, accumulate=True)
            return order, b.add_op("ends", Scan, counts, axis=0)

    def _product(self, b: GraphBuilder, x: Tensor, features: Numeric, order: Tensor, ends: Tensor, name: str) -> Tensor:
        weight = b.parameter(f"{name}.weight", self.experts, x.shape[-1], features)
        y = b.add_op(name, GroupedMatMul, x, weight, ends, top_k=self.top_k, skew=self.skew)
        if not self.bias:
            return y
        biases = b.add_op(f"{name}_biases", Embedding, order, b.parameter(f"{name}.bias", self.experts, features))
        return b.elementwise("add", y, biases.cast(y.dtype), broadcast=(False, False), name=f"{name}_bias")

    def _activated(self, b: GraphBuilder, x: Tensor) -> Tensor:
        if not self.gated:
            return activated(b, self.activation, x)
        gate, up = (b.part(x, self.hidden, start=i * self.hidden, name=n) for i, n in enumerate(("gate", "up_part")))
        if self.activation == "swiglu_limited":  # (up + 1) * gate * sigmoid(c * gate), both bounded
            gate = b.activation("swish", b.activation("clamp", gate))
            up = b.activation("scale", b.activation("clamp", up))
        else:
            gate = activated(b, self.activation, gate)
        return b.elementwise("mul", gate, up, broadcast=(False, False), name="gated")

    def _shared(self, b: GraphBuilder, x: Tensor) -> Tensor:
        """Return what the experts give that every token takes."""
        with b.scope("shared"):
            if self.gated:
                function = "swish" if self.activation == "swiglu_limited" else self.activation
                y = gated_mlp(b, x, self.shared_hidden, activation=function)
            else:
                hidden = activated(b, self.activation, b.linear(x, self.shared_hidden, bias=False, name="up"))
                y = b.linear(hidden, x.shape[-1], bias=False, name="down")
            if not self.shared_gate:
                return y
            gate = b.activation("sigmoid", b.linear(x, 1, bias=False, name="gate_of_all"))
            return b.elementwise("mul", y, gate, broadcast=(False, True), name="shared_scaled")


@part("experts")
class ExpertsFile(PartFile):
    """A mixture of experts.

    Attributes
    ----------
    experts, top_k
        How many there are, and how many each token takes.
    hidden, shared_hidden
        Channels of each expert, and of the one that every token takes (0: none).
    beside_hidden
        Channels of a network that runs beside all of it, each behind norms of its own (Gemma 4); 0: none.
    latent
        Channels that tokens are narrowed to before the experts; 0: they are not.
    skew
        How unevenly experts are chosen: the i-th most popular as often as i ** -skew says.
    correction
        A bias that balances the choice, kept as a buffer.
    scaled_router
        The router has a norm, a scale of each channel and one of each expert (Gemma 4).
    """

    experts: int = Field(ge=1)
    top_k: int = Field(ge=1)
    hidden: int = Field(ge=1)
    shared_hidden: int = Field(default=0, ge=0)
    beside_hidden: int = Field(default=0, ge=0)
    latent: int = Field(default=0, ge=0)
    skew: float = Field(default=0.0, ge=0)
    routing: Routing = "softmax"
    activation: str = "swish"
    shared_gate: bool = False
    gated: bool = True
    normalized: bool = True
    router_bias: bool = False
    correction: bool = False
    bias: bool = False
    scaled_router: bool = False

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"a token takes {self.top_k!r} of {self.experts!r} experts: top_k is at most experts")
        return self

    def make(self, step: Step) -> Block:
        """Return the part's block."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        return Experts(**fields, shared=self.shared_hidden > 0, beside=self.beside_hidden > 0, narrowed=self.latent > 0)
