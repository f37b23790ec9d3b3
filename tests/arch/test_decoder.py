"""Layers of decoders, step by step: counts and caches by hand, mixed steps as their two halves, columns as numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import roofline as rf
from roofline.arch.block import Block, Port, build_block, stack, stack_ports
from roofline.arch.blocks.decoder import DecoderStage
from roofline.arch.build import build_graph
from roofline.arch.load import model, stage_from
from roofline.arch.spec import Arch
from roofline.arch.step import PREFILL, Step
from roofline.errors import ShapeError, SpecError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention
from roofline.graph.tensor import Tensor

WIDTH, VOCAB, LAYERS = 64, 100, 3
HEADS, KV_HEADS, SIZE, HIDDEN = 4, 2, 16, 96
KEYS = KV_HEADS * SIZE
#: of one token through one layer: queries, keys and values, output; gate, up and down
PROJECTIONS = WIDTH * (HEADS * SIZE + 2 * KEYS) + HEADS * SIZE * WIDTH + 3 * WIDTH * HIDDEN


def tiny(**fields: object) -> Arch:
    """A small decoder; `fields` are of its layers."""
    table = {
        "name": "layers", "block": "decoder", "repeats": LAYERS, "width": WIDTH, "vocab": VOCAB, "positions": 512,
        "parts": {
            "attention": {"kind": "grouped", "heads": HEADS, "kv_heads": KV_HEADS, "head_size": SIZE},
            "mlp": {"kind": "mlp", "hidden": HIDDEN},
        },
        **fields,
    }  # fmt: skip
    head = stage_from({"name": "head", "block": "decoder_head", "vocab": VOCAB}, "head")
    stages = (stage_from(table, "layers"), head)
    return Arch(name="tiny", family="tiny", title="tiny", image_size=8, stages=stages, input="tokens")


def at(arch: Arch, step: Step, tokens: int, batch: int = 1) -> OpGraph:
    graph = build_graph(arch.at(step).with_length(tokens), batch)
    graph.check_shapes()
    return graph


def elements(graph: OpGraph, role: str) -> float:
    return float(sum(t.elements for t in graph.tensors.values() if t.role == role))


def scores(queries: int, keys: int) -> int:
    """Multiply-adds of one layer's scores and context."""
    return 2 * HEADS * queries * keys * SIZE


@pytest.mark.parametrize(
    ("step", "batch", "tokens", "scored"),
    [
        (PREFILL, 1, 8, 1),
        (PREFILL, 3, 50, 3),
        (Step(context=100), 2, 20, 2),
        (Step(phase="decode", context=100), 5, 1, 5),
        (Step(phase="decode", context=100), 5, 4, 20),  # four tokens each, all scored
    ],
)
def test_a_step_by_hand(step: Step, batch: int, tokens: int, scored: int) -> None:
    graph = at(tiny(), step, tokens, batch)
    keys = int(step.context) + tokens
    layer = batch * (tokens * PROJECTIONS + scores(tokens, keys))
    assert graph.macs == LAYERS * layer + scored * WIDTH * VOCAB
    assert graph.params == (
        2 * VOCAB * WIDTH  # embedding and scores
        + LAYERS * (PROJECTIONS + 2 * WIDTH)  # products and two norms
        + WIDTH  # the last norm
    )
    assert elements(graph, "cache") == LAYERS * 2 * batch * keys * KEYS


def test_a_step_reads_the_cache_once_and_writes_its_rows() -> None:
    """Bytes of a decoding step's attention and updates, bf16: the whole cache in, one row of keys and values out."""
    report = rf.simulate(tiny(), "h100-sxm", batch=4, phase="decode", context=99)
    rows = 4 * 100 * KEYS
    assert report.cache_bytes == LAYERS * 2 * rows * 2
    attention = report.kernels[report.kernels["kind"] == "attention"]
    queries = 4 * HEADS * SIZE
    assert list(attention["traffic_bytes"]) == [2 * (2 * rows + 2 * queries)] * LAYERS


def test_a_mixed_step_is_a_prompt_and_a_decoding_step_with_weights_read_once() -> None:
    arch = tiny()
    mixed = at(arch, Step(phase="mixed", context=10, decoding=7, decoding_context=200), 20, 2)
    prompts, decoding = at(arch, Step(context=10), 20, 2), at(arch, Step(phase="decode", context=200), 1, 7)
    assert mixed.macs == prompts.macs + decoding.macs
    assert elements(mixed, "cache") == elements(prompts, "cache") + elements(decoding, "cache")
    assert mixed.params == prompts.params
    assert mixed.tensors[mixed.outputs[0]].shape == (1, 9, VOCAB)


def test_windowed_layers_keep_their_window() -> None:
    grouped = {"kind": "grouped", "heads": HEADS, "kv_heads": KV_HEADS, "head_size": SIZE}
    arch = tiny(
        repeats=5,
        parts={"near": {**grouped, "window": 32}, "far": grouped, "mlp": {"kind": "mlp", "hidden": HIDDEN}},
        pattern=["near mlp", "near mlp", "far mlp"],
    )
    graph = at(arch, Step(phase="decode", context=99), 1, 4)
    assert elements(graph, "cache") == 4 * 2 * KEYS * (4 * 32 + 100)  # layers 0, 1, 3 and 4 are near
    seen = [(op.window, graph.tensors[op.inputs[1]].shape[1]) for op in graph.ops.values() if isinstance(op, Attention)]
    assert seen == [(32, 32), (32, 32), (0, 100), (32, 32), (32, 32)]
    short = at(arch, Step(phase="decode", context=9), 1, 4)  # a window longer than the context is none
    assert elements(short, "cache") == 5 * 4 * 2 * KEYS * 10
    prompt = at(arch, Step(context=16), 40)  # the first new token sees 31 kept ones at most: there are 16
    assert {keys.shape[1] for keys in _keys(prompt)} == {56}


def _keys(graph: OpGraph) -> list[Tensor]:
    return [graph.tensors[op.inputs[1]] for op in graph.ops.values() if isinstance(op, Attention)]


def test_columns_are_numbers() -> None:
    """Contexts, batches and widths as columns: each row what the same sizes give as numbers."""
    rows: list[tuple[Block, tuple[Port, ...]]] = []
    for context, batch, width, hidden in ((10, 1, 64, 96), (4095, 8, 64, 128), (77, 3, 128, 96)):
        stage = tiny(parts={**_parts(tiny()), "mlp": {"kind": "mlp", "hidden": hidden}}, width=width).stages[0]
        ports = tuple(Port(shape=(batch, 1, width)) for _ in range(2))
        rows.append((stage.at(Step(phase="decode", context=context)).make(1, ports), ports))
    b = GraphBuilder()
    columns = b.graph(
        list(build_block(stack([block for block, _ in rows]), stack_ports([ports for _, ports in rows]), b))
    )
    for i, (block, ports) in enumerate(rows):
        b = GraphBuilder()
        alone = b.graph(list(build_block(block, ports, b)))
        assert np.asarray(columns.macs)[i] == alone.macs and np.asarray(columns.params)[i] == alone.params
        cache = sum(t.elements for t in columns.tensors.values() if t.role == "cache")
        assert np.asarray(cache)[i] == elements(alone, "cache")


def _parts(arch: Arch) -> dict[str, object]:
    stage = arch.stages[0]
    assert isinstance(stage, DecoderStage)
    return dict(stage.parts)


def test_a_layer_is_what_it_says() -> None:
    b = GraphBuilder()
    ports = (Port(shape=(1, 8, WIDTH)),) * 2
    graph = b.graph(list(build_block(tiny().stages[0].make(1, ports), ports, b)))
    assert Counter(getattr(op, "function", op.kind) for op in graph.ops.values()) == {
        "add": 2, "norm": 2, "matmul": 7, "reshape": 4, "rotary": 2, "update": 2, "attention": 1, "swish": 1, "mul": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pattern": ["atention mlp"]}, "pattern: no part 'atention'; nearest: 'attention'"),
        ({"parts": {"mlp": {"kind": "mlpp", "hidden": 8}}}, "unknown part kind 'mlpp'; nearest: 'mlp'"),
        ({"parts": {"mlp": {"hidden": 8}}}, "a part is a table with a kind, got {'hidden': 8}"),
        (
            {"parts": {"a": {"kind": "grouped", "heads": 6, "kv_heads": 4, "head_size": 8}}},
            "6 heads do not share 4 key heads evenly",
        ),
    ],
)
def test_a_bad_file_says_what_is_wrong(fields: dict[str, object], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        tiny(**fields)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_sequence_has_positions() -> None:
    for step, tokens in ((PREFILL, 513), (Step(phase="decode", context=512), 1)):
        with pytest.raises(ShapeError, match="a sequence of 513 tokens has no positions: the network has 512"):
            at(tiny(), step, tokens)
    at(tiny(), Step(phase="decode", context=511), 1)


def test_steps_leave_each_other_alone() -> None:
    arch = model("llama-3-8b")
    decode = arch.at(Step(phase="decode", context=100))
    assert arch.decodes and decode != arch and decode.at(PREFILL) == arch and hash(decode) is not None
    assert decode.stages[0] != arch.stages[0]


# the kinds of parts ---------------------------------------------------------------------------------------------------

LATENT = {
    "kind": "latent", "heads": 4, "latent": 32, "rotary": 8, "plain": 16, "value_size": 24, "query_latent": 48,
}  # fmt: skip
#: what is multiplied for each new token: queries down and up, the kept row, output
LATENT_PROJECTIONS = WIDTH * 48 + 48 * 4 * (16 + 8) + WIDTH * (32 + 8) + 4 * 24 * WIDTH
MLP = 3 * WIDTH * HIDDEN


def layer_of(**part: object) -> Arch:
    """One layer of a part and a feed-forward network."""
    return tiny(repeats=1, positions=0, parts={"attention": part, "mlp": {"kind": "mlp", "hidden": HIDDEN}})


def test_latent_attention_expands_prompts_and_absorbs_in_decoding() -> None:
    arch = layer_of(**LATENT)
    prompt, decode = at(arch, Step(context=10), 20, 2), at(arch, Step(phase="decode", context=99), 1, 3)
    keys = 30
    assert prompt.macs == 2 * WIDTH * VOCAB + 2 * (
        20 * (LATENT_PROJECTIONS + MLP)
        + keys * 32 * 4 * (16 + 24)  # every kept row becomes a key and a value of each head
        + 4 * 20 * keys * ((16 + 8) + 24)  # scores and context
    )
    assert decode.macs == 3 * WIDTH * VOCAB + 3 * (
        LATENT_PROJECTIONS
        + MLP
        + 4 * (16 * 32 + 32 * 24)  # queries and results turned
        + 4 * 100 * ((32 + 8) + 32)  # scores and context over the rows themselves
    )
    assert prompt.params == decode.params
    assert elements(prompt, "cache") == 2 * 30 * (32 + 8) and elements(decode, "cache") == 3 * 100 * (32 + 8)


def test_an_index_chooses_what_queries_see() -> None:
    arch = layer_of(**LATENT, index_top_k=16, index_heads=2, index_size=8)
    decode, plain = (at(a, Step(phase="decode", context=99), 1, 3) for a in (arch, layer_of(**LATENT)))
    chosen = 48 * 2 * 8 + WIDTH * 8 + WIDTH * 2  # its queries, keys and weights
    assert decode.macs - plain.macs == 3 * (chosen + 2 * 100 * 8 - 4 * (100 - 16) * ((32 + 8) + 32))
    assert decode.params - plain.params == chosen + 2 * 8  # and the norm of its keys
    assert elements(decode, "cache") == 3 * 100 * (32 + 8 + 8)
    report = rf.simulate(arch, "h100-sxm", runtime="pytorch_compile", batch=3, phase="decode", context=9999)
    attention = report.kernels[report.kernels["kernel"] == "layers/attention/attention"]
    rows, queries, results = 3 * 16 * 40, 3 * 4 * 40, 3 * 4 * 32
    assert list(attention["traffic_bytes"]) == [2 * (rows + queries + results)], "a row is key and value at once"
    short = at(arch, Step(phase="decode", context=9), 1, 3)  # fewer than are chosen: all are seen
    assert short.macs - at(layer_of(**LATENT), Step(phase="decode", context=9), 1, 3).macs == 3 * (chosen + 2 * 10 * 8)


def test_a_layer_without_an_index_takes_what_the_one_before_chose() -> None:
    shared = at(layer_of(**LATENT, index_top_k=16), Step(phase="decode", context=99), 1)
    assert shared.params == at(layer_of(**LATENT), Step(phase="decode", context=99), 1).params
    assert {keys.shape[1] for keys in _keys(shared)} == {16}


def test_experts_by_hand() -> None:
    experts = {"kind": "experts", "experts": 8, "top_k": 2, "hidden": 32, "shared_hidden": 16, "shared_gate": True}
    arch = tiny(repeats=1, parts={"mlp": experts})
    graph = at(arch, PREFILL, 10, 2)
    each, shared, router = 3 * WIDTH * 32, 3 * WIDTH * 16 + WIDTH, WIDTH * 8
    assert graph.params == 2 * VOCAB * WIDTH + 2 * WIDTH + 8 * each + shared + router
    assert graph.macs == pytest.approx(2 * WIDTH * VOCAB + 20 * (2 * each + shared + router), rel=1e-12)


def test_recurrent_layers_by_hand() -> None:
    fields = {"heads": 4, "key_heads": 2, "key_size": 8, "value_size": 16}
    keys, values = 2 * 8, 4 * 16
    for kind, more in (("delta", 4 * WIDTH), ("mamba2", 0)):
        graph = at(layer_of(kind=kind, **fields), Step(phase="decode", context=1000), 1, 3)
        products = WIDTH * (2 * keys + values) + WIDTH * values + 4 * WIDTH + more + values * WIDTH
        reads = 3 if kind == "delta" else 2
        recurrence = reads * 4 * 8 * 16  # of each head's state: read by queries, added to, and read by keys
        convolution = 4 * (2 * keys + values)
        assert graph.macs == 3 * (products + recurrence + convolution + MLP + WIDTH * VOCAB)
        assert elements(graph, "state") == 3 * (4 * 8 * 16 + 3 * (2 * keys + values))
        assert elements(graph, "cache") == 0


@pytest.mark.parametrize(
    "part",
    [
        LATENT,
        {**LATENT, "index_top_k": 16, "index_heads": 2, "index_size": 8},
        {"kind": "experts", "experts": 8, "top_k": 2, "hidden": 32, "shared_hidden": 16},
        {"kind": "experts", "experts": 8, "top_k": 2, "hidden": 32, "bias": True, "activation": "swiglu_limited"},
        {"kind": "delta", "heads": 4, "key_heads": 2, "key_size": 8, "value_size": 16},
        {"kind": "mamba2", "heads": 4, "key_heads": 2, "key_size": 8, "value_size": 16, "conv_bias": True},
    ],
)
def test_every_kind_is_the_same_in_columns_and_in_mixed_steps(part: dict[str, object]) -> None:
    arch = layer_of(**part)
    steps = [(Step(phase="decode", context=c), b) for c, b in ((20, 1), (99, 4))]
    blocks = [arch.at(step).stages[0].make(1, (Port(shape=(b, 1, WIDTH)),) * 2) for step, b in steps]
    ports = [(Port(shape=(b, 1, WIDTH)),) * 2 for _, b in steps]
    b = GraphBuilder()
    columns = b.graph(list(build_block(stack(blocks), stack_ports(ports), b)))
    for i, (block, its) in enumerate(zip(blocks, ports, strict=True)):
        b = GraphBuilder()
        alone = b.graph(list(build_block(block, its, b)))
        assert np.broadcast_to(columns.macs, 2)[i] == pytest.approx(alone.macs, rel=1e-12)
        assert np.broadcast_to(columns.params, 2)[i] == alone.params
    mixed = at(arch, Step(phase="mixed", context=10, decoding=7, decoding_context=99), 20, 2)
    prompts, decoding = at(arch, Step(context=10), 20, 2), at(arch, Step(phase="decode", context=99), 1, 7)
    assert mixed.params == prompts.params == decoding.params
    for role in ("cache", "state"):
        assert elements(mixed, role) == elements(prompts, role) + elements(decoding, role)
    if part["kind"] != "experts":  # more tokens meet more experts, and each has the same work
        assert mixed.macs == prompts.macs + decoding.macs


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"top_k": 9}, "a token takes 9 of 8 experts: top_k is at most experts"),
        ({"top_k": 0}, "top_k"),
        ({"routing": "softmin"}, "routing"),
    ],
)
def test_bad_experts(fields: dict[str, object], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        tiny(parts={"mlp": {"kind": "experts", "experts": 8, "top_k": 2, "hidden": 8, **fields}})
