"""Transformer networks: exact counts, hand arithmetic, and columns that equal scalars."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from roofline.arch.block import Block, Port, Ports, build_block, stack, stack_ports
from roofline.arch.blocks.swin import SwinBlock
from roofline.arch.blocks.transformer import PreNormBlock, TransformerStage
from roofline.arch.build import build_graph, instances
from roofline.arch.load import model, models
from roofline.errors import RooflineError, ShapeError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.work import count

FAMILIES = ("vit", "deit", "swin", "bert", "gpt2")
NAMES = [name for name in models() if name.split("-")[0] in FAMILIES]
#: blocks of one structure and the same ranks of inputs share a template
Template = dict[tuple[Any, ...], list[tuple[Block, Ports]]]


def graph_of(block: Block, *shapes: tuple[int, ...]) -> OpGraph:
    b = GraphBuilder()
    return b.graph(list(build_block(block, tuple(Port(shape=shape) for shape in shapes), b)))


def kinds(graph: OpGraph) -> Counter[str]:
    return Counter(getattr(op, "function", op.kind) for op in graph.ops.values())


def elements(graph: OpGraph, role: str) -> float:
    return float(sum(t.elements for t in graph.tensors.values() if t.role == role))


def test_every_family_is_there() -> None:
    assert set(NAMES) >= {
        "vit-ti-16", "vit-s-16", "vit-b-16", "vit-b-32", "vit-l-16", "deit-ti-16", "deit-s-16", "deit-b-16",
        "swin-t", "swin-s", "swin-b", "bert-base", "bert-large", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_the_published_ones(name: str) -> None:
    arch = model(name)
    graph = build_graph(arch)
    graph.check_shapes()
    assert arch.published is not None
    assert arch.published.macs_billion is not None
    assert graph.params == arch.published.params
    assert graph.macs == pytest.approx(
        arch.published.macs_billion * 1e9, rel=1e-9
    )  # the same products, so no tolerance


@pytest.mark.parametrize("name", NAMES)
def test_every_op_has_a_work_rule(name: str) -> None:
    graph = build_graph(model(name))
    assert count(graph).macs == graph.macs


@pytest.mark.parametrize(
    ("name", "size", "params", "macs"),
    [
        # timm 1.0.31 built for that size, counted as for the published figures
        ("vit-b-16", 384, 86_859_496, 55_484_350_464),
        ("vit-b-16", 230, 86_567_656, 17_563_828_224),  # 14 patches; the last 6 pixels fill none
        ("swin-t", 448, 28_288_354, 17_959_962_624),
        # transformers 5.23.0
        ("bert-base", 512, 109_482_240, 48_318_971_904),
        ("bert-large", 384, 335_141_888, 123_212_922_880),
        ("gpt2", 128, 124_439_808, 16_114_089_984),
    ],
)
def test_counts_at_another_input_size(name: str, size: int, params: int, macs: int) -> None:
    graph = build_graph(model(name).with_input_size(size))
    assert (graph.params, graph.macs) == (params, macs)


def test_vit_parameters_grow_with_the_position_embedding() -> None:
    # 24 x 24 instead of 14 x 14 patches, 768 numbers each
    grown = build_graph(model("vit-b-16").with_image_size(384)).params - build_graph(model("vit-b-16")).params
    assert grown == 291_840


def test_one_vit_block_by_hand() -> None:
    # ViT-Ti: 197 tokens (14 x 14 patches + class), width 192, 3 heads of 64, hidden 768
    block = PreNormBlock(heads=3, inner=192, hidden=768, activation="gelu", causal=False)
    graph = graph_of(block, (1, 197, 192), (1, 197, 192))
    assert graph.macs == (
        21_786_624  # q, k, v: 197 x 192 x 576
        + 7_451_328  # scores: 3 heads x 197 x 197 x 64
        + 7_451_328  # context: 3 heads x 197 x 64 x 197
        + 7_262_208  # projection: 197 x 192 x 192
        + 29_048_832  # up: 197 x 192 x 768
        + 29_048_832  # down: 197 x 768 x 192
    )
    assert graph.params == (
        111_168  # q, k, v: 192 x 576 + 576
        + 37_056  # projection: 192 x 192 + 192
        + 148_224  # up: 192 x 768 + 768
        + 147_648  # down: 768 x 192 + 192
        + 768  # two norms: scale and shift of 192
    )
    # the residual of the block before, one of its own; q, k and v are views: nothing is copied
    assert kinds(graph) == {"add": 2, "norm": 2, "matmul": 4, "part": 3, "attention": 1, "gelu": 1}
    assert not [op for op in graph.ops.values() if op.family == "movement"]


def test_one_shifted_swin_block_by_hand() -> None:
    # Swin-T, first resolution: 56 x 56 tokens of 96 in 64 windows of 49, 3 heads of 32
    block = SwinBlock(
        heads=3, inner=96, hidden=384, window=7, activation="gelu", shifted=True, opens="residual"
    )  # fmt: skip
    graph = graph_of(block, (1, 56, 56, 96), (1, 56, 56, 96))
    assert graph.macs == (
        346_816_512  # linears: 3136 tokens x 96 x (288 + 96 + 384 + 384)
        + 14_751_744  # scores: 64 windows x 3 heads x 49 x 49 x 32
        + 14_751_744  # context
    )
    assert graph.params == (
        507  # position bias: (2 x 7 - 1)^2 offsets x 3 heads
        + 27_936  # q, k, v: 96 x 288 + 288
        + 9_312  # projection: 96 x 96 + 96
        + 37_248  # up: 96 x 384 + 384
        + 36_960  # down: 384 x 96 + 96
        + 384  # two norms
    )
    assert elements(graph, "buffer") == 64 * 49 * 49 + 49 * 49  # the mask of each window; the index of the table
    assert kinds(graph)["roll"] == 4  # height and width, there and back
    assert kinds(graph)["window_partition"] == kinds(graph)["window_reverse"] == 1


def test_swin_buffers_and_shifts() -> None:
    graph = build_graph(model("swin-t"))
    assert elements(graph, "buffer") == 249_704  # timm: position indices of 12 blocks, masks of 5 shifted ones
    assert kinds(graph)["roll"] == 5 * 4  # every second block, but not the last stage, where a window is the image
    assert kinds(build_graph(model("swin-t").with_image_size(448)))["roll"] == 6 * 4


def test_the_output_layer_of_gpt2_is_counted_once() -> None:
    graph = build_graph(model("gpt2"))
    assert graph.params == (
        38_597_376  # token embedding: 50257 x 768
        + 786_432  # positions: 1024 x 768
        + 12 * 7_077_888  # weights of a block: 768 x (2304 + 768 + 3072) + 3072 x 768
        + 12 * 6_912  # their biases: 2304 + 768 + 3072 + 768
        + 12 * 3_072  # two norms
        + 1_536  # final norm
    )
    tied = [t for t in graph.tensors.values() if t.tied]
    assert [t.shape for t in tied] == [(768, 50257)]
    assert elements(graph, "parameter") - graph.params == 38_597_376
    # and its product is computed at every position
    head = [op for op in graph.ops.values() if tied[0].id in op.inputs]
    assert [c.macs for op in head for c in op.contractions(*graph.arguments(op))] == [1024 * 768 * 50257]


def test_attention_is_causal_in_gpt2_only() -> None:
    for name in ("vit-ti-16", "swin-t", "bert-base", "gpt2"):
        causal = {op.causal for op in build_graph(model(name)).ops.values() if op.kind == "attention"}  # type: ignore[attr-defined]
        assert causal == {name == "gpt2"}


def test_bert_reads_tokens_and_token_types() -> None:
    graph = build_graph(model("bert-base"), 8)
    assert [graph.tensors[t].shape for t in graph.inputs] == [(8, 128), (8, 128)]
    assert [graph.tensors[t].shape for t in graph.outputs] == [(8, 768)]


def templates() -> Template:
    found: Template = defaultdict(list)
    for name in NAMES:
        for batch in (1, 8):
            for instance in instances(model(name), batch):
                ranks = tuple((len(p.shape), p.dtype.name) for p in instance.inputs)
                found[*instance.block.structure(), *ranks].append((instance.block, instance.inputs))
    return {key: list(dict.fromkeys(rows)) for key, rows in found.items()}


@pytest.mark.parametrize("rows", templates().values(), ids=lambda rows: type(rows[0][0]).__name__)
def test_a_column_of_blocks_equals_each_block(rows: list[tuple[Block, Ports]]) -> None:
    column = GraphBuilder()
    outputs = build_block(stack([block for block, _ in rows]), stack_ports([ports for _, ports in rows]), column)
    stacked = column.graph(list(outputs))
    stacked.check_shapes()
    for row, (block, ports) in enumerate(rows):
        b = GraphBuilder()
        single = b.graph(list(build_block(block, ports, b)))
        assert list(single.ops) == list(stacked.ops)
        assert list(single.tensors) == list(stacked.tensors)
        for tensor, other in zip(single.tensors.values(), stacked.tensors.values(), strict=True):
            at_row = tuple(d[row] if isinstance(d, np.ndarray) else d for d in other.shape)
            assert at_row == tensor.shape, tensor.id
            assert (other.role, other.dtype, other.tied) == (tensor.role, tensor.dtype, tensor.tied)
        for what in ("macs", "params"):
            assert np.broadcast_to(getattr(stacked, what), len(rows))[row] == getattr(single, what)


def test_few_templates_serve_all_networks() -> None:
    assert len(templates()) <= 18


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("swin-t", 256, "windows of 7 x 7 do not tile 64 x 64 tokens"),
        ("vit-b-16", 8, "does not fit"),
        ("bert-base", 513, "513 tokens has no positions: the network has 512"),
        ("gpt2-xl", 2048, "2048 tokens has no positions: the network has 1024"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, size: int, message: str) -> None:
    with pytest.raises(RooflineError, match=message) as caught:
        build_graph(model(name).with_input_size(size))
    assert f"of {name!r} at input size {size}" in str(caught.value.__notes__)


def test_heads_must_divide_the_width_unless_their_size_is_given() -> None:
    values = {"name": "encoder", "block": "vit", "heads": 5}
    with pytest.raises(ShapeError, match="5 heads do not divide the width 192"):
        TransformerStage.model_validate(values).inner(192)
    assert TransformerStage.model_validate({**values, "head_size": 64}).inner(192) == 320


def test_a_stage_in_the_wrong_place_is_refused() -> None:
    head = model("vit-b-16").stages[-1]
    with pytest.raises(ShapeError, match="a transformer head takes inputs of ranks"):
        head.make(0, (Port(shape=(1, 14, 14, 768)),))


def test_views_are_free_and_checked() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 10, 6))
    part = b.part(x, 2, start=4)
    assert part.shape == (2, 10, 2)
    op = next(iter(b.ops.values()))
    assert op.family == "free"
    assert op.touched((x,), (part,)) == {x.id: 40.0}  # 2 x 10 x 2 of the 120
    with pytest.raises(ShapeError, match="part of 3 from 4 on, of 6"):
        b.part(x, 3, start=4)
    assert b.expand(b.input("class", (1, 1, 6)), (2, 1, 6)).shape == (2, 1, 6)
    with pytest.raises(ShapeError, match="cannot repeat"):
        b.expand(x, (2, 20, 6))


def test_a_small_table_is_read_once() -> None:
    b = GraphBuilder()
    ids = b.input("ids", (4, 128))
    rows = b.embedding(ids, 2, 768)
    op = next(iter(b.ops.values()))
    table = b.tensors[op.inputs[1]]
    assert op.touched((ids, table), (rows,)) == {table.id: 1536.0}  # 2 x 768, not 4 x 128 x 768
