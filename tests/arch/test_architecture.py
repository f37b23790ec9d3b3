"""Architecture files and the blocks they are made of."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from os import utime
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from roofline.arch.block import STAGES, Block, Ports, build_block, stack, stack_ports, stage
from roofline.arch.blocks.mbconv import MBConvStage
from roofline.arch.blocks.resnet import ResidualStage
from roofline.arch.build import MAX_BATCH, build_graph, instances
from roofline.arch.load import model, models
from roofline.arch.rounding import round_filters
from roofline.errors import InputError, RooflineError, SpecError, UnknownNameError
from roofline.graph.builder import GraphBuilder
from roofline.paths import data_files

TINY = """
family = "tiny"
title = "Tiny"
stages = [
    { name = "stem", block = "conv", channels = 8, stride = 2 },
    { name = "s0", block = "mbconv", channels = 16, repeats = 2 },
    { name = "head", block = "head", classes = 10 },
]
[sources]
me = "counted by hand"
[variants.tiny-1]
image_size = 32
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


# loading --------------------------------------------------------------------------------


def test_a_file_of_ones_own(write: Write) -> None:
    path = write(TINY)
    arch = model(path)
    assert arch == model(str(path)) == model(f"{path}:tiny-1") == model(f"{path}:TINY_1") == model(arch)
    assert (arch.name, arch.title, arch.image_size, len(arch.stages)) == ("tiny-1", "Tiny tiny-1", 32, 3)
    assert [i.name for i in instances(arch, 1)] == ["stem", "s0.0", "s0.1", "head"]


def test_a_changed_file_is_read_again(write: Write) -> None:
    path = write(TINY)
    assert model(path).image_size == 32
    write(TINY.replace("image_size = 32", "image_size = 64 "))
    utime(path, ns=(1, 1))
    assert model(path).image_size == 64


def test_several_variants_need_a_choice(write: Write) -> None:
    path = write(
        TINY + '[variants.tiny-2]\nimage_size = 32\nwidth = 2.0\nset.s0 = { repeats = 1, activation = "swish" }\n'
    )
    with pytest.raises(SpecError, match=r"tiny\.toml holds 2 networks: write tiny\.toml:NAME"):
        model(path)
    with pytest.raises(UnknownNameError, match="unknown variant 'tiny-3'; nearest: 'tiny-"):
        model(f"{path}:tiny-3")
    wide = model(f"{path}:tiny-2")
    assert [getattr(s, "channels", 0) for s in wide.stages] == [16, 32, 0]  # a width of 0 means none and stays
    assert [s.repeats for s in wide.stages] == [1, 1, 1]


VARIANT = "[variants.tiny-1]\nimage_size = 32\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            VARIANT,
            VARIANT + "set.s1 = { repeats = 3 }\n",
            "[variants.tiny-1]: unknown stage 's1'",
        ),
        (VARIANT, VARIANT + 'set."*" = { chanels = 3 }\n', "no stage takes 'chanels'; nearest: 'channels'"),
        (VARIANT, VARIANT + "set.s0 = { chanels = 3 }\n", "stage 's0': unknown key 'chanels'; nearest: 'channels'"),
        (VARIANT, VARIANT + "set.s0 = { repeats = 0 }\n", "stage 's0': repeats must be above 0"),
        (VARIANT, VARIANT + 'published = { params = 1, source = "you" }\n', "published: unknown source 'you'"),
        (VARIANT, VARIANT + "width = 0\n", "[variants.tiny-1.width]: Input should be greater than 0"),
        (VARIANT, VARIANT + "depht = 2\n", "[variants.tiny-1]: unknown key 'depht'; nearest: 'depth'"),
        (VARIANT, VARIANT + "image_size = 32\n", "not valid TOML"),  # a key listed twice
        ("image_size = 32", "", "missing key 'image_size'"),
        ("image_size = 32", "image_size = 200_000", "Input should be less than or equal to 131072, got 200000"),
        ("image_size = 32", "sequence_length = 32", "missing key 'image_size'"),
        ('block = "mbconv"', 'block = "mbcnov"', "unknown block kind 'mbcnov'; nearest: 'mbconv'"),
        ('block = "mbconv", ', "", "stage 's0': missing key 'block'"),
        ("stride = 2", "strde = 2", "stage 'stem': unknown key 'strde'; nearest: 'stride'"),
        ("channels = 16, ", "", "stage 's0': missing key 'channels'"),
        ("channels = 16", 'channels = "many"', "stage 's0': [channels]"),
        ("repeats = 2", "repeats = 0", "stage 's0': repeats must be above 0"),
        ('name = "s0"', 'name = "stem"', "stage names are not unique"),
        ('family = "tiny"', 'familly = "tiny"', "unknown key 'familly'; nearest: 'family'"),
        ("[sources]\nme = ", "# ", "missing key 'sources'"),
    ],
)
def test_each_mistake_is_one_line(write: Write, old: str, new: str, words: str) -> None:
    assert old in TINY
    path = write(TINY.replace(old, new))
    with pytest.raises(RooflineError) as error:
        model(path)
    message = str(error.value)
    assert words in message, message
    assert message.startswith("tiny.toml: ")
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*none\.toml"):
        model(tmp_path / "none.toml")


def test_unknown_models_show_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'efficentnet-b0'; nearest: 'efficientnet-b0'"):
        model("efficentnet-b0")
    with pytest.raises(UnknownNameError, match="unknown model 'efficientnet-b17'; nearest: 'efficientnet-b"):
        model("efficientnet-b17")


@pytest.mark.parametrize("spelling", ["EfficientNetV2-S", "efficientnetv2_s", "efficientnetv2s"])
def test_names_are_found_in_any_spelling(spelling: str) -> None:
    assert model(spelling).name == "efficientnetv2-s"


def test_names_begin_with_their_file_and_are_unique() -> None:
    assert len(set(models())) == len(models())
    for stem, path in data_files("models").items():
        for name in models():
            if name in path.read_text(encoding="utf-8") and model(name).family == stem:
                assert name.startswith(stem)


def test_image_sizes_have_bounds() -> None:
    arch = model("resnet-50")
    assert arch.with_image_size(None) is arch
    assert arch.with_image_size(256).image_size == 256
    for size in (0, -1, 1 << 18):
        with pytest.raises(InputError, match=rf"image size must be a whole number in 1\.\.131072, got {size}"):
            arch.with_image_size(size)


@pytest.mark.parametrize("batch", [0, -1, MAX_BATCH + 1, 2.0, True])
def test_batches_have_bounds(batch: int) -> None:
    with pytest.raises(InputError, match=r"batch must be a whole number in 1\.\.1048576"):
        instances(model("resnet-50"), batch)


def test_a_block_that_does_not_fit_is_named() -> None:
    small = model("inception-v3").with_image_size(40)
    with pytest.raises(RooflineError) as error:
        build_graph(small)
    assert error.value.__notes__[0].startswith("in block '")
    assert "of 'inception-v3' at input size 40" in error.value.__notes__[0]


def test_groups_that_do_not_divide_are_refused() -> None:
    ports = instances(model("resnet-50"), 1)[1].inputs
    made = ResidualStage(name="s", block="residual", channels=64, bottleneck=1, group_width=48)
    with pytest.raises(SpecError, match="width 64 does not split into groups"):
        made.make(0, ports)


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(RooflineError, match="block kind 'mbconv' is registered twice"):
        stage("mbconv")(MBConvStage)
    assert STAGES["mbconv"] is MBConvStage


@pytest.mark.parametrize(
    ("channels", "kept", "rounded"),
    [(38.4, 0.9, 40), (19.2, 0.9, 24), (19.2, 0.0, 16), (3.0, 0.9, 8), (32.0, 0.9, 32)],
)
def test_rounding_of_channels(channels: float, kept: float, rounded: int) -> None:
    assert round_filters(channels, 8, kept) == rounded  # 19.2 -> 16 would lose 17 %


# one block as a column --------------------------------------------------------------------------------

SAMPLE = [
    "efficientnet-b0", "efficientnet-b3", "efficientnet-x-b0", "efficientnet-x-b4", "efficientnet-edgetpu-m",
    "efficientnetv2-b1", "efficientnetv2-s", "mobilenetv1-1.0", "mobilenetv3-large", "mobilenetv3-small-0.75",
    "mnasnet-a1", "resnet-18", "resnet-50", "resnet-rs-101", "resnext-50-32x4d", "regnety-4gf", "convnext-t",
    "convnext-b", "inception-v3", "accel-nasbench-largest",
]  # fmt: skip


def templates() -> dict[tuple[object, ...], list[tuple[Block, Ports]]]:
    """Return (block, input) pairs grouped by what a column may share: structure, ranks and dtypes."""
    found: dict[tuple[object, ...], list[tuple[Block, Ports]]] = {}
    for name in SAMPLE:
        for batch in (1, 3):
            for i in instances(model(name), batch):
                key = (i.block.structure(), tuple((len(p.shape), p.dtype.name) for p in i.inputs))
                rows = found.setdefault(key, [])
                if (i.block, i.inputs) not in rows:
                    rows.append((i.block, i.inputs))
    return found


TEMPLATES = templates()


def test_networks_share_a_few_templates() -> None:
    rows = sum(len(group) for group in TEMPLATES.values())
    assert len(TEMPLATES) < 70
    assert rows > 5 * len(TEMPLATES)


@pytest.mark.parametrize("rows", TEMPLATES.values(), ids=lambda rows: type(rows[0][0]).__name__)
def test_a_column_equals_its_rows(rows: list[tuple[Block, Ports]]) -> None:
    column = GraphBuilder()
    build_block(stack([block for block, _ in rows]), stack_ports([ports for _, ports in rows]), column)
    for number, (block, ports) in enumerate(rows):
        single = GraphBuilder()
        build_block(block, ports, single)
        assert list(column.ops) == list(single.ops)
        assert list(column.tensors) == list(single.tensors)
        for tensor_id, tensor in single.tensors.items():
            in_column = column.tensors[tensor_id].shape
            row = tuple(float(np.broadcast_to(d, (len(rows),))[number]) for d in in_column)
            assert row == tuple(map(float, tensor.shape)), f"{tensor_id} of {block!r}"
        for op_id, op in single.ops.items():
            inputs, outputs = (tuple(single.tensors[t] for t in ids) for ids in (op.inputs, op.outputs))
            wide = tuple(tuple(column.tensors[t] for t in ids) for ids in (op.inputs, op.outputs))
            macs = [c.macs for c in op.contractions(inputs, outputs)]
            columns = [c.macs for c in column.ops[op_id].contractions(*wide)]
            assert macs == [float(np.broadcast_to(c, (len(rows),))[number]) for c in columns]


# the documents' examples -------------------------------------------------------------------------------------------


def example(document: str, language: str) -> str:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_model_of_the_document(write: Write) -> None:
    path = write(example("adding-a-model.md", "toml"))
    small, large = model(f"{path}:my-net-s"), model(f"{path}:my-net-l")
    assert small.published is not None
    assert build_graph(small).params == small.published.params
    assert [s.repeats for s in large.stages] == [2, 2, 4, 2]
    assert [getattr(s, "channels", None) for s in large.stages] == [48, 24, 40, 128]  # 36 rounds up to 40


def test_the_block_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "separable_example.py").write_text(example("adding-a-block.md", "python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("roofline.arch.block.STAGES", dict(STAGES))
    monkeypatch.delitem(sys.modules, "separable_example", raising=False)
    importlib.import_module("separable_example")
    path = tmp_path / "sep.toml"
    path.write_text(
        TINY.replace('block = "mbconv", channels = 16', 'block = "separable", channels = 8'), encoding="utf-8"
    )
    graph = build_graph(model(path))
    graph.check_shapes()
    assert [op_id for op_id in graph.ops if op_id.endswith("residual")] == ["s0.0/residual", "s0.1/residual"]
    stem, block, head = 3 * 9 * 8 + 2 * 8, (9 * 8 + 2 * 8) + (8 * 8 + 2 * 8), 8 * 10 + 10
    assert graph.params == stem + 2 * block + head
