"""Edited networks: equal to the file that says the same, and errors for what a stage does not have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.arch.edit import activations, edit_stage, stage_of, swap_activation, swap_fused
from roofline.errors import ShapeError, SpecError, UnknownNameError

FAMILY = """
family = "tiny"
title = "Tiny"
stages = [
    {{ name = "stem", block = "conv", channels = 16, stride = 2, activation = "swish" }},
    {{ name = "s1", block = "mbconv", channels = 24, repeats = 2, {changed} }},
    {{ name = "head", block = "head", channels = 64, activation = "none" }},
]
[sources]
test = "made up"
[variants.tiny]
image_size = 32
"""


def tiny(folder: Path, changed: str) -> rf.Arch:
    path = folder / "tiny.toml"
    path.write_text(FAMILY.format(changed=changed))
    return rf.model(path)


def test_an_edit_is_what_the_file_would_say(tmp_path: Path) -> None:
    swish = tiny(tmp_path, 'activation = "swish", se_ratio = 0.25')
    assert swap_activation(swish, "s1", "relu") == tiny(tmp_path, 'activation = "relu", se_ratio = 0.25')
    assert swap_fused(swish, "s1", True) == tiny(tmp_path, 'activation = "swish", se_ratio = 0.25, fused = true')
    assert edit_stage(swish, "s1", se_ratio=0.0, expand=4) == tiny(tmp_path, 'activation = "swish", expand = 4')
    assert edit_stage(swish, "s1", activation="swish") == swish


def test_an_edit_leaves_the_rest_alone() -> None:
    arch = rf.model("efficientnet-x-b0")
    edited = swap_activation(arch, "s4", "swish")
    assert edited.name == arch.name
    assert edited.published is None
    assert [s.name for s, t in zip(arch.stages, edited.stages, strict=True) if s != t] == ["s4"]
    assert rf.op_graph(edited).params == rf.op_graph(arch).params


def test_a_stage_may_become_another_kind() -> None:
    arch = rf.model("efficientnet-x-b0")
    edited = edit_stage(arch, "stem", block="pool")
    assert stage_of(edited, "stem").kind == "pool"


def test_activations_of_a_stage() -> None:
    arch = rf.model("mobilenetv3-large")
    last = stage_of(arch, arch.stages[-2].name)
    assert set(activations(last).values()) <= {"hard_swish", "relu"}
    assert "gate" not in activations(last)


def test_what_a_stage_does_not_have_is_an_error() -> None:
    arch = rf.model("efficientnet-x-b0")
    with pytest.raises(UnknownNameError, match=r"unknown stage 's44'; nearest: 's4'"):
        swap_activation(arch, "s44", "relu")
    with pytest.raises(SpecError, match="stage 'stem' of 'efficientnet-x-b0' has no MBConv blocks"):
        swap_fused(arch, "stem", True)
    with pytest.raises(SpecError, match=r"fusd.*nearest: 'fused'"):
        edit_stage(arch, "s1", fusd=True)
    with pytest.raises(UnknownNameError, match="unknown block kind 'mbcon'"):
        edit_stage(arch, "s1", block="mbcon")
    with pytest.raises(SpecError, match="channels"):
        edit_stage(arch, "s1", channels="many")
    with pytest.raises(SpecError, match="has no activation"):
        swap_activation(rf.model("vit-b-16"), rf.model("vit-b-16").stages[0].name, "relu")


@pytest.mark.parametrize(
    ("network", "stage", "fields"),
    [
        *(("efficientnet-b0", "s2", {name: value})
          for name in ("channels", "repeats", "kernel", "stride", "expand", "in_channels", "expand_divisor")
          for value in (0, -2)),
        ("efficientnet-b0", "s2", {"expand": math.nan}),
        ("efficientnet-b0", "s2", {"se_ratio": math.nan}),
        ("efficientnet-b0", "s2", {"se_ratio": -0.25}),
        ("efficientnet-b0", "s2", {"channels": 10**12}),
        ("resnet-50", "s1", {"bottleneck": math.inf}),
        ("resnet-50", "head", {"classes": 0}),
        ("resnet-50", "head", {"hidden": -1}),
        ("convnext-t", "s0", {"expand": -1.0}),
    ],
)  # fmt: skip
def test_no_stage_has_sizes_that_are_none(network: str, stage: str, fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(fields))} must be above 0"):
        edit_stage(network, stage, **fields)


@pytest.mark.parametrize(
    ("network", "stage", "fields"),
    [
        ("efficientnet-b0", "s2", {"expand": 0.001}),
        ("resnet-50", "s1", {"bottleneck": 0.0001}),
        ("convnext-t", "s0", {"expand": 0.001}),
        ("bert-base", "encoder", {"mlp_ratio": 0.0001}),
    ],
)
def test_widths_that_round_to_nothing_are_no_network(network: str, stage: str, fields: dict[str, float]) -> None:
    with pytest.raises(ShapeError, match="leaves no channels"):
        rf.op_graph(edit_stage(network, stage, **fields))
