"""Grouped-query attention (Ainslie et al., arXiv 2305.13245) with a cache of keys and values, over all or a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from roofline.arch.block import Block
from roofline.arch.blocks.decoder_part import (
    PartFile,
    Recalling,
    Span,
    angles_of,
    kept_rows,
    part,
    rotated,
    rows_of,
    step_fields,
    together,
)
from roofline.arch.step import Step
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: what the norm of queries and keys is over: each head, all heads together, or each head without a scale
QkNorm: TypeAlias = Literal["none", "head", "width", "bare"]


@dataclass(frozen=True, kw_only=True)
class GroupedAttention(Recalling):
    """Products for queries, keys and values; norms and rotation; the cache; attention; output product."""

    heads: Numeric
    kv_heads: Numeric
    head_size: Numeric
    value_size: Numeric
    window: Numeric
    rotary: Numeric
    rotates: bool
    windowed: bool
    qk_norm: QkNorm
    value_norm: bool
    bias: bool
    out_bias: bool
    sinks: bool
    gated: bool
    values_are_keys: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the branch."""
        x, *tokens = inputs
        width = x.shape[-1]
        q = b.linear(x, self.heads * self.head_size, bias=self.bias, name="q")
        gate = b.linear(x, self.heads * self.head_size, bias=self.bias, name="gate") if self.gated else None
        k = b.linear(x, self.kv_heads * self.head_size, bias=self.bias, name="k")
        v = k if self.values_are_keys else b.linear(x, self.kv_heads * self.value_size, bias=self.bias, name="v")
        angles = angles_of(b, x, self.rotary) if self.rotates else None
        q, k = self._placed(b, q, self.heads, angles, "q"), self._placed(b, k, self.kv_heads, angles, "k")
        v = self._value(b, v)
        sinks = b.parameter("sinks", self.heads, 1, 1) if self.sinks else None
        spans = self.spans(x, *tokens)
        rows = zip(*(rows_of(b, t, spans) for t in (q, k, v)), strict=True)
        found = [self._attended(b, span, *row, sinks=sinks) for span, row in zip(spans, rows, strict=True)]
        context = together(b, found)
        if gate is not None:
            context = b.elementwise("mul", context, b.activation("sigmoid", gate), name="gated")
        return (b.linear(context, width, bias=self.out_bias, name="out"),)

    def _attended(
        self, b: GraphBuilder, span: Span, q: Tensor, k: Tensor, v: Tensor, *, sinks: Tensor | None
    ) -> Tensor:
        with b.scope(span.name):
            k = kept_rows(b, span, k, "k", window=self.window, windowed=self.windowed)
            v = kept_rows(b, span, v, "v", window=self.window, windowed=self.windowed)
            return b.attention(
                q, k, v, heads=self.heads, kv_heads=self.kv_heads, bias=sinks, causal=True, window=self.window
            )

    def _placed(self, b: GraphBuilder, x: Tensor, heads: Numeric, angles: Tensor | None, name: str) -> Tensor:
        """Return queries or keys behind their norm, turned to their positions."""
        whole = x.shape
        if self.qk_norm == "width":
            x = b.rms_norm(x, name=f"{name}_norm")
        if angles is None and self.qk_norm not in ("head", "bare"):
            return x
        x = b.reshape(x, (*whole[:-1], heads, self.head_size), name=f"{name}_heads")
        if self.qk_norm in ("head", "bare"):
            x = b.rms_norm(x, scale=self.qk_norm == "head", name=f"{name}_norm")
        if angles is not None:
            x = rotated(b, x, angles, name)
        return b.reshape(x, whole, name=f"{name}_merged")

    def _value(self, b: GraphBuilder, v: Tensor) -> Tensor:
        if not self.value_norm:
            return v
        apart = b.reshape(v, (*v.shape[:-1], self.kv_heads, self.value_size), name="v_heads")
        return b.reshape(b.rms_norm(apart, scale=False, name="v_norm"), v.shape, name="v_merged")


@part("grouped")
class GroupedFile(PartFile):
    """Attention whose query heads share key heads in groups.

    Attributes
    ----------
    value_size
        Channels of a value head; 0: as many as of a key head.
    window
        Tokens that a query sees at most, itself among them; 0: all.
    rotary
        Channels of each head that rotate with the position; 0: none, None: all.
    gated
        The result is multiplied by the sigmoid of one more product.
    sinks
        A learned score in every softmax takes a share of the weight (gpt-oss).
    values_are_keys
        One product gives both.
    """

    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_size: int = Field(ge=1)
    value_size: int = Field(default=0, ge=0)
    window: int = Field(default=0, ge=0)
    rotary: int | None = Field(default=None, ge=0)
    qk_norm: QkNorm = "none"
    value_norm: bool = False
    bias: bool = False
    out_bias: bool = False
    sinks: bool = False
    gated: bool = False
    values_are_keys: bool = False

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads!r} heads do not share {self.kv_heads!r} key heads evenly")
        return self

    def make(self, step: Step) -> Block:
        """Return the part's block."""
        rotary = self.head_size if self.rotary is None else self.rotary
        return GroupedAttention(
            **step_fields(step),
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_size=self.head_size,
            value_size=self.value_size or self.head_size,
            window=self.window,
            rotary=rotary,
            rotates=rotary > 0,
            windowed=self.window > 0,
            qk_norm=self.qk_norm,
            value_norm=self.value_norm,
            bias=self.bias,
            out_bias=self.out_bias,
            sinks=self.sinks,
            gated=self.gated,
            values_are_keys=self.values_are_keys,
        )
