"""Ops of decoders beside attention over all keys: state of a fixed size for each head, and scores that choose keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from roofline.families import Family
from roofline.graph.op import Contraction, Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Numeric, ceil_div, floor_div, least


@dataclass(frozen=True, kw_only=True, eq=False)
class Recurrence(Op):
    """Linear attention: each head keeps a matrix of keys by values, which decays, takes k v^T, and is read by q.

    Inputs: state (N, heads, D, Dv), q and k (N, T, key_heads x D), v (N, T, heads x Dv), then gates of each token and
    head. Outputs: the new state, in place, and (N, T, heads x Dv). With `delta` a token writes what the state lacks of
    v (Yang et al., arXiv 2412.06464), without it v itself (Dao and Gu, arXiv 2405.21060). Tokens run in chunks of up to
    `chunk`: products inside of each, and from one to the next through the state.
    """

    heads: Numeric
    key_heads: Numeric
    chunk: Numeric = 64
    delta: bool = False
    kind: ClassVar[str] = "recurrence"

    @property
    def family(self) -> Family:
        """A kernel of its own, as fused attention is."""
        return "attention"

    @property
    def in_place(self) -> bool:
        """The new state takes the memory of the old one."""
        return True

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the state and of v."""
        state, q, k, v = shapes[:4]
        self.need_rank(state, 4, "state")
        for shape in (q, k, v):
            self.need_rank(shape, 3)
        self.need_same(q[-1], self.key_heads * state[2], "widths of queries and of the state")
        self.need_same(k[-1], q[-1], "widths of queries and keys")
        self.need_same(v[-1], self.heads * state[3], "widths of values and of the state")
        return (state, v)

    def chunks(self, inputs: tuple[Tensor, ...]) -> tuple[Numeric, Numeric]:
        """Return how many chunks a sequence has, and the tokens of each."""
        tokens = inputs[1].shape[1]
        size = least(tokens, self.chunk)
        return ceil_div(tokens, size), size

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """Return products with the state, and those inside of chunks of more than one token.

        With the state: reading it by queries, adding k v^T, and for the delta rule reading it by keys. Inside: queries
        with keys once for each key head, their scores with values; the delta rule solves a triangular system, which is
        keys with keys, and its inverse times keys and values.
        """
        n, _, size, features = inputs[0].shape
        count, tokens = self.chunks(inputs)
        each, shared = 1.0 * n * count * self.heads, 1.0 * n * count * self.key_heads
        several = np.greater(tokens, 1) * 1.0
        found = [
            Contraction(batch=each, m=tokens, n=features, k=size),
            Contraction(batch=each, m=size, n=features, k=tokens),
            Contraction(batch=shared * several, m=tokens, n=tokens, k=size),
            Contraction(batch=each * several, m=tokens, n=features, k=tokens),
        ]
        if self.delta:
            found += [
                Contraction(batch=each, m=tokens, n=features, k=size),
                Contraction(batch=shared * several, m=tokens, n=tokens, k=size),
                Contraction(batch=each * several, m=tokens, n=size + features, k=tokens),
            ]
        return tuple(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexScores(Op):
    """Scores of keys by few narrow heads, added up with weights: what chooses the keys that sparse attention sees.

    Inputs: q (N, T, heads x D), k (N, S, D), weights (N, T, heads). Of each head only positive scores count
    (DeepSeek-V3.2-Exp, 2025).
    """

    heads: Numeric
    kind: ClassVar[str] = "index_scores"

    @property
    def family(self) -> Family:
        """A kernel of its own: the scores of the heads stay on chip."""
        return "attention"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return (N, T, S)."""
        q, k, weights = shapes
        for shape in shapes:
            self.need_rank(shape, 3)
        self.need_same(floor_div(q[-1], self.heads), k[-1], "widths of queries and keys")
        self.need_same(weights[-1], self.heads, "heads")
        return ((q[0], q[1], k[1]),)

    def contractions(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> tuple[Contraction, ...]:
        """All heads' queries with the keys that they share."""
        q, k = inputs[0].shape, inputs[1].shape
        return (Contraction(batch=q[0], m=1.0 * q[1] * self.heads, n=k[1], k=k[-1]),)
