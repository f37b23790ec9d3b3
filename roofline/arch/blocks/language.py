"""Language models: BERT (Devlin et al., arXiv 1810.04805), post-norm, and GPT-2 (Radford et al., 2019), pre-norm."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from roofline.arch.block import Block, Port, Ports, Stage, stage
from roofline.arch.blocks.transformer import PreNormBlock, TransformerStage, check_ranks, mlp
from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


def position_embedding(b: GraphBuilder, tokens: Tensor, positions: Numeric, width: Numeric) -> Tensor:
    """Return learned position vectors (1, T, width) for token ids (N, T)."""
    index = b.tensor("position_index", (1, tokens.shape[1]), "buffer", DTYPES["int32"])
    return b.embedding(index, positions, width, name="position")


def check_length(port: Port, positions: int) -> None:
    """Raise unless the sequence has at most as many tokens as there are positions.

    Raises
    ------
    ShapeError
        It has more.
    """
    if port.shape[1] > positions:
        raise ShapeError(f"a sequence of {port.shape[1]!r} tokens has no positions: the network has {positions!r}")


# BERT ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BertEmbedding(Block):
    """Token, token type and position vectors, summed; norm. Token types are a second input of the network."""

    width: Numeric
    vocab: Numeric
    positions: Numeric
    token_types: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, T, width) for token ids (N, T)."""
        tokens = inputs[0]
        types = b.input("token_type_ids", tokens.shape, tokens.dtype)
        x = b.add(
            b.embedding(tokens, self.vocab, self.width, name="token"),
            b.embedding(types, self.token_types, self.width, name="token_type"),
            name="add_token_type",
        )
        position = position_embedding(b, tokens, self.positions, self.width)
        x = b.elementwise("add", x, position, broadcast=(False, True), name="add_position")
        return (b.layer_norm(x),)


@stage("bert_embedding")
class BertEmbeddingStage(Stage):
    """The embedding, and with it the width of the network and the longest sequence."""

    width_fields = ("width",)

    width: int = Field(ge=1)
    vocab: int = Field(ge=1)
    positions: int = Field(ge=1)
    token_types: int = Field(default=2, ge=1)

    def make(self, index: int, ports: Ports) -> Block:
        """Return the embedding.

        Raises
        ------
        ShapeError
            The sequence is longer than there are positions.
        """
        check_ranks(ports, "an embedding", (2,))
        check_length(ports[0], self.positions)
        return BertEmbedding(width=self.width, vocab=self.vocab, positions=self.positions, token_types=self.token_types)


@dataclass(frozen=True, kw_only=True)
class BertBlock(Block):
    """Attention with three linears for q, k and v, residual, norm; MLP, residual, norm. No padding, so no mask."""

    heads: Numeric
    inner: Numeric
    hidden: Numeric
    activation: str

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, T, C)."""
        x = inputs[0]
        with b.scope("attn"):
            q, k, v = (b.linear(x, self.inner, name=name) for name in ("query", "key", "value"))
            branch = b.linear(b.attention(q, k, v, heads=self.heads), x.shape[-1], name="output")
        x = b.layer_norm(b.add(x, branch, name="attn_residual"), name="norm1")
        branch = mlp(b, x, self.hidden, activation=self.activation)
        return (b.layer_norm(b.add(x, branch, name="mlp_residual"), name="norm2"),)


@stage("bert")
class BertStage(TransformerStage):
    """Post-norm encoder blocks, cut behind the norm."""

    def make(self, index: int, ports: Ports) -> Block:
        """Return a block."""
        check_ranks(ports, "a BERT block", (3,))
        width = int(ports[0].shape[-1])
        return BertBlock(
            heads=self.heads, inner=self.inner(width), hidden=self.hidden(width), activation=self.activation
        )


@dataclass(frozen=True, kw_only=True)
class BertPooler(Block):
    """Linear and tanh of each sequence's first token."""

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, C)."""
        n, _, width = inputs[0].shape
        first = b.reshape(b.part(inputs[0], 1, axis=1, name="first_token"), (n, width), name="vector")
        return (b.activation("tanh", b.linear(first, width, name="dense")),)


@stage("bert_pooler")
class BertPoolerStage(Stage):
    """The pooler."""

    def make(self, index: int, ports: Ports) -> Block:
        """Return the pooler."""
        check_ranks(ports, "a pooler", (3,))
        return BertPooler()


# GPT-2 ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FirstGpt2Block(PreNormBlock):
    """The first block also embeds the tokens: compilers fuse the look-ups, their sum and its first norm."""

    width: Numeric
    vocab: Numeric
    positions: Numeric

    def open(self, b: GraphBuilder, *inputs: Tensor) -> Tensor:
        """Return token and position vectors, summed, (N, T, width)."""
        with b.scope("embed"):
            x = b.embedding(inputs[0], self.vocab, self.width, name="token")
            position = position_embedding(b, inputs[0], self.positions, self.width)
            return b.elementwise("add", x, position, broadcast=(False, True), name="add_position")


@stage("gpt2")
class Gpt2Stage(TransformerStage):
    """Pre-norm blocks with causal attention; the first one embeds the token ids."""

    width_fields = ("width",)

    width: int = Field(ge=1)
    vocab: int = Field(ge=1)
    positions: int = Field(ge=1)
    activation: str = "gelu_tanh"

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`.

        Raises
        ------
        ShapeError
            The sequence is longer than there are positions.
        """
        check_ranks(ports, "a GPT-2 block", (2,), (3, 3))
        check_length(ports[0], self.positions)
        first = len(ports[0].shape) == 2
        make = FirstGpt2Block if first else PreNormBlock
        extra = {"width": self.width, "vocab": self.vocab, "positions": self.positions} if first else {}
        return make(
            heads=self.heads,
            inner=self.inner(self.width),
            hidden=self.hidden(self.width),
            activation=self.activation,
            causal=True,
            **extra,
        )


@dataclass(frozen=True, kw_only=True)
class Gpt2Head(Block):
    """The last residual, the final norm, and the scores of the whole vocabulary at every position."""

    vocab: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return (N, T, vocab); the weight is that of the token embedding, so it is counted there."""
        x = b.layer_norm(b.add(*inputs, name="residual"), name="norm")
        return (b.linear(x, self.vocab, bias=False, tied=True, part="head", name="vocabulary"),)


@stage("gpt2_head")
class Gpt2HeadStage(Stage):
    """The output layer, tied to the token embedding."""

    vocab: int = Field(ge=1)

    def make(self, index: int, ports: Ports) -> Block:
        """Return the head."""
        check_ranks(ports, "a GPT-2 head", (3, 3))
        return Gpt2Head(vocab=self.vocab)
