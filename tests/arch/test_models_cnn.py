"""Every shipped convolutional network against counts that somebody else made."""

from __future__ import annotations

import csv
import gzip
from functools import lru_cache
from itertools import pairwise

import pytest
from places import SHARED

from roofline.arch.block import Block, Ports, Stage, build_block, out_ports
from roofline.arch.blocks.mbconv import MBConvStage
from roofline.arch.build import build_graph, input_port, instances
from roofline.arch.load import model, models
from roofline.arch.nasbench import accel_nasbench_arch
from roofline.errors import InputError
from roofline.graph.builder import GraphBuilder
from roofline.graph.movement import Concat
from roofline.graph.opgraph import OpGraph

TRANSFORMERS = ("vit", "deit", "swin")
CNNS = [name for name in models() if model(name).input == "image" and not name.startswith(TRANSFORMERS)]


def test_the_families_are_there() -> None:
    families = {model(name).family for name in CNNS}
    assert families >= {
        "efficientnet", "efficientnet-x", "efficientnet-h", "efficientnet-lite", "efficientnet-edgetpu",
        "efficientnetv2", "mobilenetv1", "mobilenetv2", "mobilenetv3-large", "mobilenetv3-small", "mnasnet",
        "resnet", "resnext", "resnet-rs", "regnetx", "regnety", "convnext", "inception", "accel-nasbench",
    }  # fmt: skip


@pytest.mark.parametrize("name", CNNS)
def test_counts_equal_the_published_ones(name: str) -> None:
    graph, published = build_graph(model(name)), model(name).published
    graph.check_shapes()
    assert len(graph.outputs) == 1
    assert graph.tensors[graph.outputs[0]].shape == (1, 1000)
    if published is None:
        assert name.startswith("accel-nasbench"), "only a network of a space may come without published counts"
        return
    if published.params is not None:
        assert graph.params == published.params
    else:  # rounded to the hundredth of a million where it is published
        assert published.params_million is not None
        assert graph.params / 1e6 == pytest.approx(published.params_million, abs=0.0051)
    if published.macs_billion is not None:
        exact = published.source == "timm"
        assert graph.macs / 1e9 == pytest.approx(published.macs_billion, rel=1e-9 if exact else 0.005)


@pytest.mark.parametrize("name", ["efficientnet-x-b0", "resnet-50", "mobilenetv3-small", "convnext-t"])
def test_counts_grow_with_the_batch_and_parameters_do_not(name: str) -> None:
    one, eight = build_graph(model(name), 1), build_graph(model(name), 8)
    assert (eight.macs, eight.params) == (8 * one.macs, one.params)


def layer_counts(graph: OpGraph) -> list[tuple[float, float]]:
    """Return (MACs, parameters) per layer: a contraction with its norm; a squeeze-excite is one layer."""
    layers: list[list[float]] = []
    before = ""
    for op_id, op in graph.ops.items():
        inputs, outputs = graph.arguments(op)
        params = sum(float(t.elements) for t in inputs if t.role == "parameter")
        contractions = op.contractions(inputs, outputs)
        scope = op_id.rpartition("/")[0]
        same_gate = scope.endswith("/se") and scope == before
        if contractions and not same_gate:
            layers.append([0.0, 0.0])
            before = scope
        if contractions or params:
            layers[-1][0] += sum(float(c.macs) for c in contractions)
            layers[-1][1] += params
    return [(macs, params) for macs, params in layers]


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-x-b0"])
def test_every_layer_equals_the_counts_of_the_original_code(name: str) -> None:
    path = SHARED / "reference" / "b0_layer_counts.csv"
    if not path.is_file():
        pytest.skip("the layer table is not beside this checkout")
    with path.open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == name]
    assert layer_counts(build_graph(model(name))) == [(float(r["MACs"]), float(r["params_incl_bn"])) for r in rows]


def test_every_block_of_efficientnetv2_b0_equals_timm() -> None:
    # (blocks, MACs, parameters) in execution order, from timm 1.0.31 tf_efficientnetv2_b0 at 224 pixels
    expected = [
        (1, 10838016, 928), (1, 57802752, 4640), (1, 35323904, 11456), (1, 128450560, 41280), (1, 33718272, 43360),
        (1, 72253440, 92640), (1, 11181312, 35148), (2, 15146496, 97752), (1, 24526080, 155768), (4, 30726528, 197820),
        (1, 21407904, 251740), (7, 22294656, 569520), (1, 12042240 + 1280000, 245760 + 2560 + 1281000),
    ]  # fmt: skip
    found = []
    for instance in instances(model("efficientnetv2-b0"), 1):
        graph = block_graph(instance.block, instance.inputs)
        found.append((graph.macs, graph.params))
    assert found == [(macs, params) for count, macs, params in expected for _ in range(count)]


def block_graph(block: Block, ports: Ports) -> OpGraph:
    b = GraphBuilder()
    return b.graph(list(build_block(block, ports, b)))


def test_an_mbconv_block_by_hand() -> None:
    stage = MBConvStage(name="s", block="mbconv", channels=4, kernel=3, stride=1, expand=2, se_ratio=0.25)
    ports = (input_port(model("efficientnet-b0").with_image_size(5), 2),)  # 2 images of 5 x 5 x 3
    graph = block_graph(stage.make(0, ports), ports)
    pixels = 2 * 5 * 5
    assert graph.macs == (
        pixels * 3 * 6  # expand to 3 x 2 channels
        + pixels * 6 * 9  # depthwise 3x3
        + 2 * (6 * 1 + 1 * 6)  # squeeze to max(1, int(3 x 0.25)) on one pixel per image, and back
        + pixels * 6 * 4  # project
    )
    assert graph.params == (
        (3 * 6 + 2 * 6)  # expand and the scale and shift of its batch norm
        + (6 * 9 + 2 * 6)
        + (6 + 1) + (6 + 6)  # squeeze-excite has biases, not norms
        + (6 * 4 + 2 * 4)
    )  # fmt: skip
    assert not any(op_id.startswith("residual") for op_id in graph.ops)  # 3 channels in, 4 out
    assert graph.tensors[graph.outputs[0]].shape == (2, 5, 5, 4)


def test_space_to_depth_feeds_the_next_stage_its_real_64_channels() -> None:
    graph = build_graph(model("efficientnet-x-b0"))
    (stem,) = graph.ops["s0/space_to_depth"].contractions(*graph.arguments(graph.ops["s0/space_to_depth"]))
    assert stem.macs == 56 * 56 * 2 * 2 * 32 * 128  # learned 2x2 convolution, 112 -> 56 pixels
    (fused,) = graph.ops["s1.0/fused"].contractions(*graph.arguments(graph.ops["s1.0/fused"]))
    assert fused.macs == 56 * 56 * 3 * 3 * 64 * (16 * 6)
    assert graph.macs / 1e9 == pytest.approx(0.920, abs=0.0005)


def test_inception_is_a_real_dag() -> None:
    graph = build_graph(model("inception-v3"))
    assert max(degree for _, degree in graph.digraph.out_degree()) >= 4  # a tensor with four readers
    wide = [op for op in graph.ops.values() if isinstance(op, Concat) and len(op.inputs) >= 4]
    assert len(wide) == 3 + 4 + 2  # the forms a, c and e; the two reductions have three branches
    assert any(len(graph.readers[tensor]) >= 4 for tensor in graph.tensors)
    assert any(earlier not in graph.digraph.pred[later] for earlier, later in pairwise(graph.order))  # no chain


def test_residual_networks_keep_their_shortcuts() -> None:
    assert sum(op_id.endswith("/residual") for op_id in build_graph(model("resnet-50")).ops) == 3 + 4 + 6 + 3
    assert sum(op_id.endswith("/shortcut") for op_id in build_graph(model("resnet-50")).ops) == 4
    assert sum(op_id.endswith("/residual") for op_id in build_graph(model("mobilenetv1-1.0")).ops) == 0


# Accel-NASBench --------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def block_params(block: Block, ports: Ports) -> float:
    return float(block_graph(block, ports).params)


@lru_cache(maxsize=4096)
def stage_params(stage: Stage, ports: Ports) -> tuple[float, Ports]:
    total = 0.0
    for index in range(stage.repeats):
        block = stage.make(index, ports)
        total += block_params(block, ports)
        ports = out_ports(block, ports)
    return total, ports


def test_parameters_of_every_published_accel_nasbench_network() -> None:
    path = SHARED / "measurements" / "accel_nasbench.csv.gz"
    if not path.is_file():
        pytest.skip("the benchmark's table is not beside this checkout")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = []
    for row in rows:
        arch = accel_nasbench_arch({key: value for key, value in row.items() if key[0] == "b"})
        total = 0.0
        ports: Ports = (input_port(arch, 1),)
        for stage in arch.stages:
            params, ports = stage_params(stage, ports)
            total += params
        if total != round(float(row["params_M"]) * 1e6):
            wrong.append(row["id"])
    assert len(rows) > 4000
    assert not wrong


def choices(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {"e": 1, "k": 3, "l": 1, "se": 0}
    return {f"block{i}_{c}": v for i in range(7) for c, v in values.items()} | changes


def test_the_smallest_accel_nasbench_network_by_hand() -> None:
    arch = accel_nasbench_arch(choices())
    assert arch.stages == model("accel-nasbench-smallest").stages
    widths = [32, 16, 24, 40, 80, 112, 192, 320]
    expected = 3 * 9 * 32 + 2 * 32  # stem
    for before, after in pairwise(widths):  # depthwise 3x3 and a 1x1, both with batch norm
        expected += 9 * before + 2 * before + before * after + 2 * after
    expected += 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000  # head and classifier
    assert build_graph(arch).params == expected


def test_both_spellings_of_the_benchmark_make_one_network() -> None:
    long = choices(block5_l=4, block2_se=1)
    short = {key.replace("block", "b"): str(value) for key, value in long.items()}
    assert accel_nasbench_arch(long) == accel_nasbench_arch(short)
    assert accel_nasbench_arch(long, image_size=256).image_size == 256


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (choices(block3_e=3), "'block3_e' must be one of 1, 4, 6, got 3"),
        (choices(block4_l=4), "'block4_l' must be one of 1, 2, 3, got 4"),
        ({k: v for k, v in choices().items() if k != "block6_se"}, "'block6_se' is missing (also spelled 'b6_se')"),
        (choices(b0_e=1), "'block0_e' is given twice"),
        (choices(block7_e=1), "unknown choice 'block7_e'; nearest:"),
    ],
)
def test_choices_outside_the_space_are_refused(mapping: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        accel_nasbench_arch(mapping)
    assert words in str(error.value)
