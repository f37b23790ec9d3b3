"""Advice: what is promised is what the edited network takes, simulated again from a file by somebody else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.arch.blocks.common import kernel_in_depth
from roofline.arch.build import instances
from roofline.arch.edit import edit_stage
from roofline.errors import DoesNotFitError, InputError, UnknownNameError
from roofline.report.run import request_of
from roofline.search.space.folder import write_arch
from roofline.studies.edits import FREE, NETWORK, PRECISION, edits

RUNS: tuple[dict[str, Any], ...] = (
    {"model": "efficientnet-x-b0", "device": "tpu-v3", "batch": 128},
    {"model": "efficientnet-b0", "device": "v100", "batch": 8, "runtime": "pytorch_eager", "image_size": 192},
    {"model": "resnet-50", "device": "l4", "batch": 1},
    {"model": "regnety-1.6gf", "device": "tpu-v4i", "batch": 3},
    {"model": "vit-ti-16", "device": "h100-sxm"},
    {"model": "gpt2", "device": "tpu-v5e", "length": 64},
)


def change(after: float, before: float) -> float:
    return after / before - 1.0


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['model']}-{run['device']}")
def test_every_promise_is_kept_by_the_edited_file(run: dict[str, Any], tmp_path: Path) -> None:
    """The row says which stage to change and how; the file that says so takes exactly as long as was promised."""
    before = rf.simulate(**run)
    table = rf.advise(**run)
    assert len(table) > 5
    for row in table.to_dict("records"):
        settings = read_settings(row["setting"])
        if row["stage"]:
            edited = edit_stage(rf.model(run["model"]), row["stage"], **settings)
            path = write_arch(edited, tmp_path / "edited.toml", "an edit")
            after = rf.simulate(**(run | {"model": path}))
        else:
            after = rf.simulate(**(run | settings))
        assert after.latency_ms == row["latency_ms"]
        assert row["latency_before_ms"] == before.latency_ms
        assert row["latency_change"] == change(after.latency_s, before.latency_s)
        assert row["throughput_change"] == change(after.throughput_per_s, before.throughput_per_s)
        assert row["macs_change"] == change(after.macs_per_example, before.macs_per_example)


def read_settings(text: str) -> dict[str, Any]:
    """Return the settings of a row, which are written as TOML."""
    import tomllib

    return tomllib.loads(text.replace(", ", "\n"))


def test_the_best_comes_first() -> None:
    table = rf.advise("efficientnet-b0", "tpu-v4i", batch=8)
    assert (np.diff(table["throughput_change"]) <= 0).all()
    assert set(table["kind"]) == {FREE, PRECISION, NETWORK}
    assert {"batch", "dtype", "layout", "activation", "fuse", "squeeze-excite", "stem", "width"} <= set(table["edit"])


def test_free_edits_leave_the_work_alone() -> None:
    """Software, layout, cores and batch compute the same; padding adds products with zeros."""
    table = rf.advise("efficientnet-b0", "a100-80gb", batch=8)
    free = table[table["kind"] == FREE]
    assert {"batch", "runtime", "layout"} <= set(free["edit"])
    assert (free.loc[free["edit"].isin(["batch", "runtime", "layout"]), "macs_change"] == 0).all()
    assert (free.loc[free["edit"] == "width", "macs_change"] > 0).all()
    assert set(table.loc[table["edit"] == "dtype", "kind"]) == {PRECISION}
    assert set(table.loc[table["edit"].isin(["activation", "fuse", "squeeze-excite"]), "kind"]) == {NETWORK}


def test_padding_under_a_norm_is_another_network() -> None:
    """The mean of a layer norm takes the zeros in; batch norm and pooling take each channel alone."""
    vit = edit_stage(edit_stage(rf.model("vit-ti-16"), "patches", width=240), "encoder", heads=4)
    table = rf.advise(vit, "h100-sxm", batch=8)
    kinds = table[table["description"].str.startswith("pad")].set_index("description")["kind"].to_dict()
    assert kinds == {
        "pad 240 -> 256 width in patches, which a norm spans": NETWORK,
        "pad 1000 -> 1024 classes (the first 1000 count) in head": FREE,
    }
    row = np.random.default_rng(0).normal(1.0, size=240)
    padded = np.pad(row, (0, 16))
    assert padded.mean() == pytest.approx(row.mean() * 240 / 256)
    table = rf.advise("efficientnet-b0", "h100-sxm", batch=8)
    assert "pad 112 -> 128 channels in s4" in set(table.loc[table["kind"] == FREE, "description"])


def test_an_edit_goes_to_the_stage_it_names() -> None:
    request = request_of(model=rf.model("efficientnet-x-b0"), device="tpu-v3", batch=8)
    found = edits(rf.simulate(request.model, "tpu-v3", batch=8), request)
    for edit in found:
        if edit.stage:
            assert isinstance(request.model, rf.Arch)
            assert isinstance(edit.request.model, rf.Arch)
            pairs = zip(request.model.stages, edit.request.model.stages, strict=True)
            assert [s.name for s, t in pairs if s != t] == [edit.stage]
            assert replace(edit.request, model=request.model) == request
        else:
            assert edit.request.model is request.model
    names = {(edit.edit, edit.stage) for edit in found}
    assert ("unfuse", "s1") in names
    assert ("fuse", "s4") in names
    assert ("activation", "s4") not in names  # it is ReLU as published
    assert ("activation", "s1") in names


def test_idle_cores_and_odd_batches() -> None:
    table = rf.advise("mobilenetv2-1.0", "tpu-v3", batch=6, cores=1)
    assert table.loc[table["edit"] == "cores", "setting"].tolist() == ["cores = 2"]
    assert sorted(table.loc[table["edit"] == "batch", "setting"]) == ["batch = 16", "batch = 4", "batch = 8"]
    assert "batch = 0" not in set(rf.advise("mobilenetv2-1.0", "tpu-v3")["setting"])
    assert rf.advise("mobilenetv2-1.0", "tpu-v3", batch=1 << 20)["setting"].tolist().count("batch = 524288") == 1


def test_graphs_take_the_edits_of_graphs() -> None:
    graph = rf.op_graph("efficientnet-b0", batch=8)
    table = rf.advise(graph, "v100", batch=8)
    assert set(table["edit"]) == {"batch", "dtype", "runtime", "layout", "activation"}
    swapped = table[table["edit"] == "activation"].iloc[0]
    relu = rf.model("efficientnet-b0")
    for stage in relu.stages:
        relu = edit_stage(relu, stage.name, activation="relu")
    assert swapped["latency_ms"] == rf.simulate(rf.op_graph(relu, batch=8), "v100").latency_ms
    bigger = table[table["setting"] == "batch = 16"].iloc[0]
    assert bigger["latency_ms"] == rf.simulate(graph, "v100", batch=16).latency_ms


def test_a_graph_whose_batch_is_fixed_keeps_it() -> None:
    b = rf.GraphBuilder("transposed")
    x = b.input("x", (8, 8))
    fixed = b.graph([b.relu(b.move("transpose", x, (8, 8)))])
    found = rf.advise(fixed, "v100")
    takes = []
    for batch in (4, 16, 32):
        try:
            fixed.with_batch(batch)
            takes.append(f"batch = {batch}")
        except InputError:
            continue
    assert sorted(found.loc[found["edit"] == "batch", "setting"]) == sorted(takes)


def test_what_does_not_fit_is_said() -> None:
    table = rf.advise("efficientnet-b7", "t4", batch=512)
    assert not table.loc[table["setting"] == "batch = 2048", "fits"].item()
    with pytest.raises(DoesNotFitError):
        rf.advise("efficientnet-b7", "t4", batch=8192, strict=True)


def test_a_stem_in_depth_computes_the_same_convolution() -> None:
    """A 3x3 (7x7) convolution of stride 2, against 2x2 (4x4) with stride 1 on squares moved into the channels."""
    random = np.random.default_rng(0)
    for side in (3, 7):
        image, kernel = random.normal(size=(16, 16, 3)), random.normal(size=(side, side, 3))
        even = 2 * kernel_in_depth(side)
        padded = np.zeros((even, even, 3))
        padded[:side, :side] = kernel
        squares = image.reshape(8, 2, 8, 2, 3).transpose(0, 2, 1, 3, 4).reshape(8, 8, 12)
        small = even // 2
        folded = padded.reshape(small, 2, small, 2, 3).transpose(0, 2, 1, 3, 4).reshape(small, small, 12)
        for row in range((16 - even) // 2):
            for column in range((16 - even) // 2):
                strided = (image[2 * row : 2 * row + side, 2 * column : 2 * column + side] * kernel).sum()
                dense = (squares[row : row + small, column : column + small] * folded).sum()
                assert dense == pytest.approx(strided)
    for name in ("resnet-50", "efficientnet-b0"):
        arch = rf.model(name)
        stem = edit_stage(arch, arch.stages[0].name, in_depth=True)
        assert rf.op_graph(stem).ops.keys() > rf.op_graph(arch).ops.keys()
        last = rf.op_graph(stem).outputs[0]
        assert rf.op_graph(stem).tensors[last].shape == rf.op_graph(arch).tensors[rf.op_graph(arch).outputs[0]].shape


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("efficientnet-b0", 225, "in_depth needs stride 2, padding 'same' and an even grid"),
        ("resnet-50", 225, "in_depth needs stride 2"),
        ("resnet-rs-50", 160, "a deep stem has no in_depth"),
    ],
)
def test_a_stem_that_has_no_form_in_depth(name: str, size: int, message: str) -> None:
    arch = rf.model(name)
    with pytest.raises(rf.RooflineError, match=message):
        rf.simulate(edit_stage(arch, arch.stages[0].name, in_depth=True), "tpu-v3", image_size=size)
    assert "stem" not in set(rf.advise(name, "tpu-v3", image_size=size)["edit"])


def test_bad_names_are_errors() -> None:
    with pytest.raises(UnknownNameError, match="unknown model"):
        rf.advise("efficientnet-b77", "tpu-v3")
    with pytest.raises(InputError, match="unknown option 'bach'; nearest: 'batch'"):
        rf.advise("efficientnet-b0", "tpu-v3", bach=8)  # type: ignore[call-arg]


# the command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-x-b0", "mobilenetv3-large", "mnasnet-a1"])
def test_expansions_are_as_wide_as_they_say(name: str) -> None:
    request = request_of(model=rf.model(name), device="tpu-v3", batch=8)
    found = [e for e in edits(rf.simulate(request.model, "tpu-v3", batch=8), request) if e.edit == "expand"]
    for edit in found:
        _, target, width = (int(number) for number in re.findall(r"\b\d+\b", edit.description.partition(" in ")[0]))
        for arch, expected in ((edit.request.model, target), (request.model, width)):
            assert isinstance(arch, rf.Arch)
            last = [i.block for i in instances(arch, 1) if i.stage == edit.stage][-1]
            assert last.expanded == expected  # type: ignore[attr-defined]
        assert target % 128 == 0
    assert found or name.startswith("mnasnet")


def proposed(table: Any, edit: str) -> set[str]:
    """Return the values that are proposed for an option."""
    return {text.partition(" = ")[2].strip("'") for text in table.loc[table["edit"] == edit, "setting"]}


def test_no_numbers_are_proposed_for_which_the_runtime_has_no_kernels() -> None:
    """An RTX 4090 multiplies int8 and int4, but nobody convolves them under torch.compile; TensorRT does int8."""
    assert {"int8", "int4"} <= rf.device("rtx-4090").matrix.rates.keys()
    convolutions = rf.advise("resnet-50", "rtx-4090", runtime="pytorch_compile")
    assert proposed(convolutions, "dtype") == {"bf16", "tf32", "fp32", "fp64"}
    assert proposed(convolutions, "format") == set(), "its weights are those of convolutions"
    tensorrt = proposed(rf.advise("resnet-50", "rtx-4090", runtime="tensorrt"), "dtype")
    assert {"int8", "fp8"} <= tensorrt
    assert "int4" not in tensorrt


def test_formats_are_proposed_where_device_and_runtime_have_them() -> None:
    how: dict[str, Any] = {"phase": "decode", "context": 512, "batch": 4}
    found = {
        device: proposed(rf.advise("llama-3-8b", device, runtime="tensorrt", **how), "format")
        for device in ("a100-80gb", "h100-sxm", "b200")
    }
    assert found["a100-80gb"] == {"w4a16", "w8a8", "kv8"}, "no fp8 units, so no format that multiplies fp8"
    assert found["h100-sxm"] == found["a100-80gb"] | {"fp8", "fp8-kv8", "fp8-block", "fp8-attention"}
    assert found["b200"] == found["h100-sxm"] | {"nvfp4"}
    compiled = rf.advise("llama-3-8b", "h100-sxm", runtime="pytorch_compile", **how)
    assert proposed(compiled, "format") == {"fp8", "fp8-block", "w4a16", "w8a16", "w8a8"}, "it reads no narrow cache"
    assert set(compiled.loc[compiled["edit"] == "format", "kind"]) == {PRECISION}
    assert proposed(compiled, "dtype") == {"fp16", "tf32", "fp32", "fp64"}, "formats say which tensors are narrow"


def test_a_run_in_a_format_goes_to_runtimes_that_have_it() -> None:
    table = rf.advise("llama-3-8b", "h100-sxm", runtime="tensorrt", format="kv8", phase="decode", context=512)
    others = {"pytorch_eager", "pytorch_compile", "xla_gpu", "tensorflow"}
    assert not others & proposed(table, "runtime")
    assert "kv8" not in proposed(table, "format")
    table = rf.advise("llama-3-8b", "h100-sxm", runtime="tensorrt", format="fp8", phase="decode", context=512)
    assert others & proposed(table, "runtime") == others - {"tensorflow"}
