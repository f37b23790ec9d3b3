"""Networks as ONNX files: read back they are the shipped graph, and all three forms compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from exported import KINDS, POSITIONS, allowed, images_of, tiny
from onnx import checker, load, numpy_helper
from onnx.reference import ReferenceEvaluator

import roofline as rf
from roofline.export import onnx_file
from roofline.export.api import network
from roofline.export.onnx_nodes import Weight


@pytest.mark.parametrize("name", KINDS)
def test_a_file_read_back_is_the_network(name: str, tmp_path: Path) -> None:
    size = POSITIONS.get(name)
    (path,) = rf.to_onnx(name, tmp_path / "net.onnx", weights=False, image_size=size)
    assert path.stat().st_size < 10_000_000
    read, shipped = rf.from_onnx(path, dims={"N": 2}), rf.op_graph(name, batch=2, image_size=size)
    assert (read.macs, read.params) == (shipped.macs, shipped.params)
    for device in ("tpu-v3", "v100"):
        a, b = (rf.simulate(graph, device, batch=2) for graph in (read, shipped))
        assert a.latency_s == pytest.approx(b.latency_s, rel=allowed("onnx", rf.model(name).family, device))


def graph_name(name: str) -> str:
    """Return what the graph calls a parameter of the PyTorch module, with all separators as dots."""
    parts = {"running_mean": "mean", "running_var": "variance"}
    head, _, last = name.removeprefix("stage_").rpartition(".")
    return f"{head}.{parts.get(last, last)}"


def weights_for(module: torch.nn.Module, stored: list[Any]) -> dict[str, torch.Tensor]:
    """Return the weights of an ONNX file as those of our module."""
    values = {tensor.name.replace("/", "."): numpy_helper.to_array(tensor) for tensor in stored}
    found = {}
    for name, tensor in module.state_dict().items():
        if "num_batches" in name:
            continue
        head, _, last = graph_name(name).rpartition(".")
        names = {"weight": ("weight", "scale", "table"), "bias": ("bias", "shift")}.get(last, (last,))
        value = next(values[f"{head}.{n}"] for n in names if f"{head}.{n}" in values)
        linear = f"{head}.weight" in values and last == "weight" and value.ndim == 2
        found[name] = torch.from_numpy((value.T if linear else value).copy()).reshape(tensor.shape)
    return found


def tree_of(stored: list[Any], shapes: Any, place: tuple[str, ...] = ()) -> Any:
    """Return the weights of an ONNX file as those of our JAX program."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored}

    def fill(tree: Any, path: tuple[str, ...]) -> Any:
        if isinstance(tree, dict):
            return {name: fill(inner, (*path, name)) for name, inner in tree.items()}
        joined = "/".join(path[:-1]) + f".{path[-1]}"
        value = values[joined] if joined in values else values["/".join(path)]
        if value.ndim == 4:  # (out, in, height, width) -> (height, width, in, out)
            value = value.transpose(2, 3, 1, 0)
        return value.reshape(tree.shape)

    return {part: fill(tree, ()) for part, tree in shapes.items()}


#: small networks of every kind of block
SMALL = ["efficientnet-x-b0", "resnet-rs-50", "regnety-400mf", "mobilenetv3-small", "convnext-t", "vit-ti-16", "swin-t",
         "bert-base", "gpt2", "inception-v3", "mobilenetv2-0.35", "rest"]  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_all_forms_compute_the_same(name: str, tmp_path: Path) -> None:
    arch = tiny(name)
    (path,) = rf.to_onnx(arch, tmp_path / "net.onnx")
    model = load(path)
    checker.check_model(model, full_check=True)
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:  # norms that do something
        value = numpy_helper.to_array(tensor)
        if value.ndim == 1:
            value = value + random.uniform(0.1, 0.5, value.shape).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    stored = list(model.graph.initializer)
    torch.manual_seed(0)
    inputs = images_of(arch, "cpu")
    names = [entry.name for entry in model.graph.input]
    given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
    results: Any = ReferenceEvaluator(model).run(None, given)
    expected = np.asarray(results[0])
    assert expected.std() > 1e-3
    largest = float(np.abs(expected).max())

    module = rf.to_torch(arch).eval()
    assert not module.load_state_dict(weights_for(module, stored), strict=False).unexpected_keys
    with torch.no_grad():
        np.testing.assert_allclose(module(*inputs).numpy(), expected, rtol=1e-4, atol=1e-4 * largest)

    program = rf.to_jax(arch)
    last = [x.permute(0, 2, 3, 1).numpy() if x.dim() == 4 else x.numpy().astype("int32") for x in inputs]
    result = jax.jit(program.forward)(tree_of(stored, program.variables), *last)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * largest)


def test_the_rest_of_the_blocks_read_back_is_the_same(tmp_path: Path) -> None:
    arch = tiny("rest")
    shipped = rf.op_graph(arch, batch=2)
    (path,) = rf.to_onnx(arch, tmp_path / "net.onnx", weights=False)
    program = rf.to_jax(arch, batch=2)
    module = rf.to_torch(arch).eval()
    for read in (
        rf.from_onnx(path, dims={"N": 2}),
        rf.from_jax(program.forward, program.variables, *program.inputs),
        rf.from_torch(module, images_of(arch, "cpu")),
    ):
        assert (read.macs, read.params) == (shipped.macs, shipped.params)


def test_many_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST_INSIDE", 1 << 20)
    whole = rf.to_onnx(tiny("vit-ti-16"), tmp_path / "a.onnx")
    assert [p.name for p in whole] == ["a.onnx", "a.onnx.data"]
    apart = {t.name: numpy_helper.to_array(t) for t in load(whole[0]).graph.initializer}
    monkeypatch.undo()
    (inside,) = rf.to_onnx(tiny("vit-ti-16"), tmp_path / "b.onnx")
    for tensor in load(inside).graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), apart[tensor.name])


def test_weights_are_drawn_as_the_papers_do() -> None:
    recipe = network("resnet-18").recipe
    weight = Weight(name="w", shape=(64, 64, 3, 3), deviation=(2 / (9 * 64)) ** 0.5)
    values = onnx_file.drawn(weight, truncated=recipe.truncated)
    assert values.std() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    cut = onnx_file.drawn(Weight(name="w", shape=(500, 500), deviation=0.02), truncated=True)
    assert np.abs(cut).max() <= 0.04
    assert cut.std() == pytest.approx(0.0176, rel=0.01)  # a normal cut at two deviations
