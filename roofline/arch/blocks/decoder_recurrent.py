"""Layers whose memory is a matrix for each head: the gated delta rule and Mamba 2, behind a short convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from roofline.arch.block import Block
from roofline.arch.blocks.decoder_part import (
    PartFile,
    Recalling,
    Span,
    kept_state,
    part,
    rows_of,
    step_fields,
    together,
)
from roofline.arch.step import Step
from roofline.graph.builder import GraphBuilder
from roofline.graph.decoding import Recurrence
from roofline.graph.ops import Conv, Padding
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, least


@dataclass(frozen=True, kw_only=True)
class Recurrent(Recalling):
    """Products for q, k, v, gates and decay; convolution; recurrence; a norm of each head or group, gated; output."""

    heads: Numeric
    key_heads: Numeric
    key_size: Numeric
    value_size: Numeric
    kernel: Numeric
    chunk: Numeric
    delta: bool
    conv_bias: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the branch."""
        x, *tokens = inputs
        width, keys, values = x.shape[-1], self.key_heads * self.key_size, self.heads * self.value_size
        mixed = b.linear(x, 2 * keys + values, bias=False, name="qkv")
        gate = b.linear(x, values, bias=False, name="gate")
        rates = [b.linear(x, self.heads, bias=False, name="step")]
        if self.delta:
            rates.append(b.activation("sigmoid", b.linear(x, self.heads, bias=False, name="beta")))
        shifted = b.elementwise("add", rates[0], b.parameter("step_bias", self.heads))
        rates[0] = b.elementwise("mul", b.activation("softplus", shifted), b.parameter("decay", self.heads))
        spans = self.spans(x, *tokens)
        kernel = b.parameter("conv.weight", self.kernel, 1, mixed.shape[-1])
        weights = [kernel, b.parameter("conv.bias", mixed.shape[-1])] if self.conv_bias else [kernel]
        skip = None if self.delta else b.parameter("skip", self.heads, 1)
        each = zip(*(rows_of(b, t, spans) for t in (mixed, *rates)), strict=True)
        found = [self._recalled(b, span, weights, skip, *row) for span, row in zip(spans, each, strict=True)]
        y = together(b, found)
        return (b.linear(self._gated(b, y, gate), width, bias=False, name="out"),)

    def _recalled(
        self, b: GraphBuilder, span: Span, weights: list[Tensor], skip: Tensor | None, mixed: Tensor, *rates: Tensor
    ) -> Tensor:
        keys, values = self.key_heads * self.key_size, self.heads * self.value_size
        with b.scope(span.name):
            mixed = b.activation("swish", self._convolved(b, span, weights, mixed))
            q, k = b.part(mixed, keys, name="q"), b.part(mixed, keys, start=keys, name="k")
            v = b.part(mixed, values, start=2 * keys, name="v")
            state = kept_state(b, "heads", span.sequences, self.heads, self.key_size, self.value_size)
            fields: dict[str, Any] = {
                "heads": self.heads,
                "key_heads": self.key_heads,
                "chunk": self.chunk,
                "delta": self.delta,
            }
            operands = (state, q, k, v, *rates)
            _, y = b.write("recurrence", Recurrence, operands, (state.dtype, v.dtype), **fields)
            if skip is not None:  # what passes the state by
                heads = (*v.shape[:-1], self.heads, self.value_size)
                passed = b.elementwise("mul", b.reshape(v, heads, name="v_heads"), skip, broadcast=(False, True))
                y = b.add(y, b.reshape(passed, v.shape, name="passed"), name="with_skip")
            return y

    def _convolved(self, b: GraphBuilder, span: Span, weights: list[Tensor], x: Tensor) -> Tensor:
        """Return the convolution of each channel over the last tokens; in decoding those before are kept."""
        before = self.kernel - 1
        state = kept_state(b, "conv", span.sequences, before, x.shape[-1])
        decodes = self.phase == "decode" or span.name == "decoding"
        found = b.concat([state, x], axis=1, name="with_kept") if decodes else x
        last = least(before, span.new)
        b.update(state, b.part(x, last, start=span.new - last, axis=1, name="last"), name="keep_conv")
        padding: Padding = (0,) if decodes else "same"
        fields: dict[str, Any] = {"kernel": (self.kernel,), "stride": (1,), "groups": x.shape[-1], "form": "depthwise"}
        return b.add_op("conv", Conv, found, *weights, padding=padding, **fields)

    def _gated(self, b: GraphBuilder, y: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of each head, or of the heads of a group, times the gate's activation."""
        size = self.value_size if self.delta else self.heads * self.value_size
        open_gate = b.activation("swish", gate)
        if not self.delta:
            return b.rms_norm(b.elementwise("mul", y, open_gate, broadcast=(False, False), name="gated"), name="norm")
        apart = b.reshape(y, (*y.shape[:-1], self.heads, size), name="heads")
        normed = b.reshape(b.rms_norm(apart, name="norm"), y.shape, name="merged")
        return b.elementwise("mul", normed, open_gate, broadcast=(False, False), name="gated")


class _RecurrentFile(PartFile):
    heads: int = Field(ge=1)
    key_heads: int = Field(ge=1)
    key_size: int = Field(ge=1)
    value_size: int = Field(ge=1)
    kernel: int = Field(default=4, ge=2)
    chunk: int = Field(default=64, ge=1)
    conv_bias: bool = False

    def make(self, step: Step) -> Block:
        """Return the part's block."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        return Recurrent(**step_fields(step), **fields, delta=self.kind == "delta")


@part("delta")
class DeltaFile(_RecurrentFile):
    """The gated delta rule (Yang et al., arXiv 2412.06464), as in Qwen 3.5; `key_heads` are shared by `heads`."""


@part("mamba2")
class Mamba2File(_RecurrentFile):
    """Mamba 2 (Dao and Gu, arXiv 2405.21060): `key_heads` are its groups, `key_size` is its state's."""
