"""Annotated ONNX files: they still check, weigh the same, and their times add up to the report's latency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_files import node, write  # noqa: E402
from pages import blocks  # noqa: E402
from places import ROOT  # noqa: E402

import roofline as rf  # noqa: E402
from roofline.cli import main  # noqa: E402
from roofline.errors import InputError  # noqa: E402

DEVICES = [("tpu-v3", None), ("v100", "tensorrt"), ("a100-40gb", "pytorch_eager")]


def filled(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).normal(size=shape).astype(np.float32), name)


def network() -> Any:
    """Convolution, batch norm, swish in two nodes, a pool, a view, a linear layer in two nodes, a constant."""
    nodes = [
        node("Conv", "x w", "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "conv s b m v", "bn"),
        node("Sigmoid", "bn", "gate"),
        node("Mul", "bn gate", "swish"),
        node("GlobalAveragePool", "swish", "pool"),
        node("Constant", "", "shape", value=numpy_helper.from_array(np.array([0, -1], dtype=np.int64))),
        node("Reshape", "pool shape", "flat"),
        node("MatMul", "flat l", "product"),
        node("Add", "product bias", "y"),
    ]
    sizes = {"w": (32, 16, 3, 3), "s": (32,), "b": (32,), "m": (32,), "v": (32,), "l": (32, 10), "bias": (10,)}
    return helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16, 56, 56])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
            [filled(name, *shape) for name, shape in sizes.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(network(), tmp_path)


def told(holder: Any) -> dict[str, str]:
    return {e.key.removeprefix("roofline."): e.value for e in holder.metadata_props if e.key.startswith("roofline.")}


def annotated(source: Path, device: str, runtime: str | None) -> tuple[rf.Report, Any]:
    report = rf.simulate(rf.from_onnx(source, dims={"N": 8}), device, runtime=runtime)
    target = rf.annotate_onnx(report, source, source.with_name("annotated.onnx"), dims={"N": 8})
    return report, onnx.load(str(target))


@pytest.mark.parametrize(("device", "runtime"), DEVICES)
def test_times_add_up_to_the_latency(source: Path, device: str, runtime: str | None) -> None:
    report, model = annotated(source, device, runtime)
    told_us = sum(float(told(n)["time_us"]) for n in model.graph.node if told(n)["role"] == "anchor")
    assert told_us + float(told(model)["other_us"]) == pytest.approx(report.latency_s * 1e6, rel=1e-4)
    assert float(told(model)["latency_ms"]) == pytest.approx(report.latency_ms, rel=1e-5)
    assert told_us == pytest.approx(report.device_s * 1e6, rel=1e-4), "every kernel has its node"


@pytest.mark.parametrize(("device", "runtime"), DEVICES)
def test_every_node_belongs_to_a_kernel(source: Path, device: str, runtime: str | None) -> None:
    report, model = annotated(source, device, runtime)
    kernels = report.kernels.set_index("kernel")
    members: dict[str, int] = {}
    for each in model.graph.node:
        for name in told(each)["kernel"].split(", "):
            members[name] = members.get(name, 0) + 1
            assert told(each)["bound"] in set(kernels["bound"])
    assert set(members) == set(kernels.index)
    for each in model.graph.node:
        if told(each)["role"] == "anchor" and "," not in told(each)["kernel"]:
            assert int(told(each)["nodes"]) == members[told(each)["kernel"]]
            row = kernels.loc[told(each)["kernel"]]
            assert float(told(each)["share"]) == pytest.approx(row["share"], rel=1e-5)
            assert told(each)["bound"] == row["bound"]


def test_roles_follow_fusion(source: Path) -> None:
    """XLA fuses what follows a product; eager PyTorch launches each; a constant and a view are never work."""
    roles = {
        runtime: {n.op_type: told(n)["role"] for n in annotated(source, device, runtime)[1].graph.node}
        for device, runtime in DEVICES
    }
    for found in roles.values():
        assert (found["Conv"], found["Constant"], found["Reshape"]) == ("anchor", "free", "free")
        assert found["Sigmoid"] == "free"  # swish is one op, of its last node
    assert roles[None]["Mul"] == "fused" and roles["pytorch_eager"]["Mul"] == "anchor"
    assert roles["tensorrt"]["BatchNormalization"] == "free"  # folded into the weights
    assert roles["pytorch_eager"]["BatchNormalization"] == "anchor"


def test_the_file_still_checks_and_computes_the_same(source: Path) -> None:
    """Weights to the last bit, nodes in order, and nothing but metadata added."""
    before = onnx.load(str(source))
    _, model = annotated(source, "v100", None)
    onnx.checker.check_model(model, full_check=True)
    assert [w.SerializeToString() for w in model.graph.initializer] == [
        w.SerializeToString() for w in before.graph.initializer
    ]
    for holder in (model, *model.graph.node):
        del holder.metadata_props[:]
    model.ir_version = before.ir_version
    assert model == before


def test_annotating_again_replaces_what_was_said(source: Path) -> None:
    _, first = annotated(source, "v100", None)
    report = rf.simulate(rf.from_onnx(source, dims={"N": 8}), "tpu-v3")
    place = source.with_name("annotated.onnx")
    again = onnx.load(str(rf.annotate_onnx(report, place, place, dims={"N": 8})))
    assert told(again)["device"] == "tpu-v3" and len(again.metadata_props) == len(first.metadata_props)


def test_another_batch_has_the_same_kernels(source: Path) -> None:
    report = rf.simulate(rf.from_onnx(source, dims={"N": 8}), "tpu-v3", batch=256)
    model = onnx.load(str(rf.annotate_onnx(report, source, source.with_name("a.onnx"), dims={"N": 8})))
    assert told(model)["batch"] == "256"


def test_a_loop_tells_the_time_of_its_body(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Identity", "go", "go_on"), node("MatMul", "state w", "next")], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("state", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next", TensorProto.FLOAT, [64, 64])],
    )  # fmt: skip
    graph = helper.make_graph(
        [node("Loop", "trips yes x", "y", body=body)], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])],
        [numpy_helper.from_array(np.array(5, dtype=np.int64), "trips"),
         numpy_helper.from_array(np.array(True), "yes"), filled("w", 64, 64)],
    )  # fmt: skip
    source = write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path)
    report = rf.simulate(rf.from_onnx(source), "v100")
    model = onnx.load(str(rf.annotate_onnx(report, source, tmp_path / "a.onnx")))
    assert float(told(model.graph.node[0])["time_us"]) == pytest.approx(report.device_s * 1e6, rel=1e-4)


def test_an_export_of_pytorch(tmp_path: Path) -> None:
    """An EfficientNet as PyTorch writes it: kernels, patterns and folded norms at full size."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from onnx_networks import efficientnet_b0, export

    source = export(efficientnet_b0().eval(), torch.zeros(2, 3, 224, 224), tmp_path / "net.onnx", dynamo=False)
    for device, runtime in DEVICES:
        report = rf.simulate(rf.from_onnx(source), device, runtime=runtime)
        model = onnx.load(str(rf.annotate_onnx(report, source, tmp_path / "a.onnx")))
        onnx.checker.check_model(model)
        assert all("kernel" in told(n) for n in model.graph.node)
        told_us = sum(float(told(n)["time_us"]) for n in model.graph.node if told(n)["role"] == "anchor")
        assert told_us == pytest.approx(report.device_s * 1e6, rel=1e-3)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0) -> str:
        assert main(["simulate", "--device", "v100", *words]) == status
        return capsys.readouterr().err

    return call


def test_the_command(source: Path, run: Callable[..., str]) -> None:
    words = ("--onnx", source.name, "--dim", "N=8", "--output", "annotated.onnx")
    assert run(*words) == ""
    assert told(onnx.load("annotated.onnx"))["device"] == "v100"
    assert "--force" in run(*words, status=2)
    assert run(*words, "--force") == ""
    assert "give it with --onnx" in run("resnet-18", "--output", "a.onnx", status=2)


def test_the_example_of_the_documentation(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    names: dict[str, Any] = {}
    for code in blocks(ROOT / "docs" / "onnx.md", "python")[:2]:
        exec(compile(code, "onnx.md", "exec"), names)
    assert told(onnx.load("annotated.onnx"))["runtime"] == names["report"].runtime == "tensorrt"


def test_bad_input(source: Path, tmp_path: Path) -> None:
    report = rf.simulate("resnet-18", "v100")
    with pytest.raises(InputError, match=r"not one of 'model\.onnx'"):
        rf.annotate_onnx(report, source, tmp_path / "a.onnx", dims={"N": 8})
    model = network()
    onnx.save(model, str(tmp_path / "big.onnx"), save_as_external_data=True, size_threshold=0)
    graph = rf.from_onnx(tmp_path / "big.onnx", dims={"N": 8})
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="write beside"):
        rf.annotate_onnx(
            rf.simulate(graph, "v100"), tmp_path / "big.onnx", tmp_path / "other" / "a.onnx", dims={"N": 8}
        )
    rf.annotate_onnx(rf.simulate(graph, "v100"), tmp_path / "big.onnx", tmp_path / "a.onnx", dims={"N": 8})
    onnx.checker.check_model(str(tmp_path / "a.onnx"))
