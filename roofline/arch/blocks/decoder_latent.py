"""Attention whose cache is one narrow row for each token, from which every head's key and value follow.

Multi-head latent attention (DeepSeek-AI, arXiv 2405.04434). A prompt expands the rows into keys and values of each
head; in decoding, queries and results are turned instead, so that all heads read the rows themselves. With an index
(DeepSeek-V3.2-Exp, 2025) every query sees the best `index_top_k` rows alone, always as in decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

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
from roofline.dtypes import DTYPES
from roofline.graph import ops
from roofline.graph.builder import GraphBuilder
from roofline.graph.decoding import IndexScores
from roofline.graph.indexing import Sort
from roofline.graph.movement import Window
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric, least


@dataclass(frozen=True, kw_only=True)
class LatentAttention(Recalling):
    """Narrow queries and rows, their norms and rotation; the cache; attention, expanded or absorbed; output product."""

    heads: Numeric
    latent: Numeric
    rotary: Numeric
    plain: Numeric
    value_size: Numeric
    query_latent: Numeric
    index_heads: Numeric
    index_size: Numeric
    index_top_k: Numeric
    narrow_queries: bool
    indexed: bool
    chosen_before: bool
    bias: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the branch."""
        x, *tokens = inputs
        angles = angles_of(b, x, self.rotary)
        narrow = x
        if self.narrow_queries:
            narrow = b.rms_norm(b.linear(x, self.query_latent, bias=self.bias, name="q_down"), name="q_norm")
        q = b.linear(narrow, self.heads * (self.plain + self.rotary), bias=False, name="q")
        q = b.reshape(q, (*q.shape[:-1], self.heads, self.plain + self.rotary), name="q_heads")
        q_plain = b.part(q, self.plain, name="q_plain")
        q_rotary = rotated(b, b.part(q, self.rotary, start=self.plain, name="q_turning"), angles, "q")
        rows = self._rows(b, x, angles)
        keys = self._index_keys(b, x, angles) if self.indexed else None
        weights = b.linear(x, self.index_heads, bias=False, name="index_weights") if self.indexed else None
        index = self._index_queries(b, narrow, angles) if self.indexed else None
        spans = self.spans(x, *tokens)
        up = self._weights(b, any(self._absorbs(span) for span in spans))
        parts = [self._flat(b, t) for t in (q_plain, q_rotary)]
        given = [t for t in (*parts, rows, index, keys, weights) if t is not None]
        each = zip(*(rows_of(b, t, spans) for t in given), strict=True)
        found = [self._attended(b, span, up, *row) for span, row in zip(spans, each, strict=True)]
        return (b.linear(together(b, found), x.shape[-1], bias=self.bias, name="out"),)

    def _absorbs(self, span: Span) -> bool:
        return self.phase == "decode" or span.name == "decoding" or self.indexed or self.chosen_before

    def _flat(self, b: GraphBuilder, x: Tensor) -> Tensor:
        return b.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]), name="flat")

    def _rows(self, b: GraphBuilder, x: Tensor, angles: Tensor) -> Tensor:
        """Return the rows that are kept: a normed latent vector beside a key that turns, shared by all heads."""
        both = b.linear(x, self.latent + self.rotary, bias=self.bias, name="kv_down")
        latent = b.rms_norm(b.part(both, self.latent, name="latent"), name="kv_norm")
        turning = rotated(b, b.part(both, self.rotary, start=self.latent, name="k_turning"), angles, "k")
        return b.concat([latent, turning], name="rows")

    def _weights(self, b: GraphBuilder, absorbed: bool) -> tuple[Tensor, ...]:
        """Return what expands rows to keys and values of every head: one matrix, or one of each head for either."""
        if not absorbed:
            return (b.parameter("kv_up.weight", self.latent, self.heads * (self.plain + self.value_size)),)
        return (
            b.parameter("k_up.weight", self.heads, self.plain, self.latent),
            b.parameter("v_up.weight", self.heads, self.latent, self.value_size),
        )

    def _attended(self, b: GraphBuilder, span: Span, up: tuple[Tensor, ...], *rows: Tensor) -> Tensor:
        q_plain, q_rotary, new, *index = rows
        with b.scope(span.name):
            kept = kept_rows(b, span, new, "latent")
            if not self._absorbs(span):
                return self._expanded(b, up, q_plain, q_rotary, kept)
            return self._absorbed(b, span, up, q_plain, q_rotary, kept, *index)

    def _expanded(
        self, b: GraphBuilder, up: tuple[Tensor, ...], q_plain: Tensor, q_rotary: Tensor, kept: Tensor
    ) -> Tensor:
        """Attention of as many key heads as there are query heads."""
        n, length, _ = kept.shape
        weight = up[0]
        if len(up) > 1:  # a mixed step: both forms read the same bytes
            weight = b.parameter("kv_up.weight", self.latent, self.heads * (self.plain + self.value_size), tied=True)
        both = b.add_op("kv_up", ops.MatMul, b.part(kept, self.latent, name="kept_latent"), weight)
        both = b.reshape(both, (n, length, self.heads, self.plain + self.value_size), name="kv_heads")
        turning = b.reshape(
            b.part(kept, self.rotary, start=self.latent, name="kept_turning"), (n, length, 1, self.rotary)
        )
        turning = b.expand(turning, (n, length, self.heads, self.rotary), name="of_all_heads")
        keys = b.concat([b.part(both, self.plain, name="k_plain"), turning], name="keys")
        values = b.part(both, self.value_size, start=self.plain, name="values")
        queries = self._joined(b, q_plain, q_rotary, self.plain)
        size = self.plain + self.rotary
        keys = b.reshape(keys, (n, length, self.heads * size), name="keys_merged")
        values = b.reshape(values, (n, length, self.heads * self.value_size), name="values_merged")
        return b.attention(queries, keys, values, heads=self.heads, causal=True)

    def _absorbed(
        self, b: GraphBuilder, span: Span, up: tuple[Tensor, ...], q_plain: Tensor, q_rotary: Tensor, kept: Tensor,
        *index: Tensor,
    ) -> Tensor:  # fmt: skip
        """Attention of all heads over the kept rows, whose first part is the value as well.

        The heads share every row, so that they are rows of one product: that of a sequence, or, where an index chooses
        for each query, that of a query.
        """
        n, new, _ = q_plain.shape
        size = self.latent + self.rotary
        turned = self._per_head(b, q_plain, up[0], self.plain, self.latent, "k_up")
        queries = self._joined(b, turned, q_rotary, self.latent)
        queries = b.reshape(queries, (n, new * self.heads, size), name="heads_of_all")
        if self.indexed or self.chosen_before:
            chosen = self._chosen(b, span, *index) if self.indexed else ()
            shape = (n * new, least(kept.shape[1], self.index_top_k), size)
            kept = b.add_op("chosen_rows", Window, kept, *chosen, shape=shape)
            queries = b.reshape(queries, (n * new, self.heads, size), name="each_query")
        context = b.attention(queries, kept, b.part(kept, self.latent, name="kept_values"), heads=1)
        context = b.reshape(context, (n, new, self.heads * self.latent), name="context")
        return self._per_head(b, context, up[1], self.latent, self.value_size, "v_up")

    def _chosen(self, b: GraphBuilder, span: Span, q: Tensor, k: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Return which rows each query sees."""
        keys = kept_rows(b, span, k, "index")
        scores = b.add_op("index_scores", IndexScores, q, keys, weights, heads=self.index_heads)
        kept, kinds = least(keys.shape[1], self.index_top_k), (scores.dtype, DTYPES["int32"])
        return (b.write("index_top", Sort, (scores,), kinds, kept=kept)[1],)

    def _per_head(self, b: GraphBuilder, x: Tensor, weight: Tensor, size: Numeric, to: Numeric, name: str) -> Tensor:
        """Return each head's rows times its own matrix; the heads are seen with strides."""
        n, new, _ = x.shape
        apart = b.reshape(x, (self.heads, n * new, size), name=f"{name}_heads")
        y = b.add_op(name, ops.MatMul, apart, weight)
        return b.reshape(y, (n, new, self.heads * to), name=f"{name}_merged")

    def _joined(self, b: GraphBuilder, first: Tensor, second: Tensor, size: Numeric) -> Tensor:
        """Return queries whose heads have both parts side by side."""
        n, new, _ = first.shape
        apart = [
            b.reshape(first, (n, new, self.heads, size), name="first"),
            b.reshape(second, (n, new, self.heads, self.rotary), name="second"),
        ]
        joined = b.concat(apart, name="queries")
        return b.reshape(joined, (n, new, self.heads * (size + self.rotary)), name="queries_merged")

    def _index_queries(self, b: GraphBuilder, narrow: Tensor, angles: Tensor) -> Tensor:
        q = b.linear(narrow, self.index_heads * self.index_size, bias=False, name="index_q")
        apart = b.reshape(q, (*q.shape[:-1], self.index_heads, self.index_size), name="index_heads")
        return b.reshape(rotated(b, apart, angles, "index_q"), q.shape, name="index_merged")

    def _index_keys(self, b: GraphBuilder, x: Tensor, angles: Tensor) -> Tensor:
        keys = b.layer_norm(b.linear(x, self.index_size, bias=False, name="index_k"), name="index_norm")
        return rotated(b, keys, angles, "index_k")


@part("latent")
class LatentFile(PartFile):
    """Latent attention.

    Attributes
    ----------
    latent, rotary
        Channels that are kept of each token: from which all keys and values follow, and a key that turns.
    plain, value_size
        Channels of a head that do not turn, and of a value head.
    query_latent
        Channels that queries are narrowed to; 0: they are not.
    index_top_k, index_heads, index_size
        How many rows a query sees at most (0: all), and the heads and channels that choose them. Without heads a layer
        takes what the one before has chosen.
    """

    heads: int = Field(ge=1)
    latent: int = Field(ge=1)
    rotary: int = Field(ge=1)
    plain: int = Field(ge=1)
    value_size: int = Field(ge=1)
    query_latent: int = Field(default=0, ge=0)
    index_top_k: int = Field(default=0, ge=0)
    index_heads: int = Field(default=0, ge=0)
    index_size: int = Field(default=0, ge=0)
    bias: bool = False

    def make(self, step: Step) -> Block:
        """Return the part's block."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        return LatentAttention(
            **step_fields(step),
            **fields,
            narrow_queries=self.query_latent > 0,
            indexed=self.index_top_k > 0 and self.index_heads > 0,
            chosen_before=self.index_top_k > 0 and not self.index_heads,
        )
