"""Whatever a caller gets wrong is one clear line: what, where, what was allowed, and the nearest name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.errors import (
    DoesNotFitError,
    GraphError,
    InputError,
    RooflineError,
    ShapeError,
    UnknownNameError,
    UnknownOpError,
)
from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Shape, Tensor

GOOD: dict[str, Any] = {"model": "efficientnet-b0", "device": "tpu-v3"}


def refused(error: type[RooflineError], **request: Any) -> str:
    """Simulate, expect the error, return its message."""
    with pytest.raises(error) as caught:
        rf.simulate(**(GOOD | request))
    text = str(caught.value)
    assert text and "\n" not in text and "Traceback" not in text
    return text


# names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "what", "near"),
    [
        ({"model": "efficientnet-bo"}, "unknown model 'efficientnet-bo'", "'efficientnet-b"),
        ({"model": "resnet50v2"}, "unknown model 'resnet50v2'", "'resnet-50'"),
        ({"model": "zebra"}, "unknown model 'zebra'", "allowed"),
        ({"model": ""}, "unknown model ''", ""),
        ({"model": "meta-llama/Meta-Llama-3-8B"}, "unknown model 'meta-llama/Meta-Llama-3-8B'", "rf.from_torch"),
        ({"model": "gpt-neo-125m"}, "unknown model 'gpt-neo-125m'", "--torch package.module:function"),
        ({"model": "mistral"}, "unknown model 'mistral'", "'mistral-7b"),
        ({"device": "tpu-v9"}, "unknown device 'tpu-v9'", "'tpu-v"),
        ({"device": "a100-60gb"}, "unknown device 'a100-60gb'", "'a100-40gb'"),
        ({"runtime": "xlaa"}, "unknown runtime 'xlaa'", "'xla'"),
        ({"dtype": "bf61"}, "unknown dtype 'bf61'", "'bf16'"),
        ({"dtype": "float13"}, "unknown dtype 'float13'", ""),
    ],
)
def test_unknown_names_show_the_nearest(request_: dict[str, Any], what: str, near: str) -> None:
    text = refused(UnknownNameError, **request_)
    assert text.startswith(what) and near in text


def test_unknown_names_are_key_errors_without_quotes_around() -> None:
    with pytest.raises(KeyError) as caught:
        rf.model("zebra")
    assert str(caught.value).startswith("unknown model")


@pytest.mark.parametrize("spelling", ["TPUv3", "tpu_v3", "TPU v3", "Tpu-V3"])
def test_spellings_of_a_device_are_one(spelling: str) -> None:
    assert rf.device(spelling) is rf.device("tpu-v3")


def test_a_misspelt_option_shows_the_nearest() -> None:
    assert refused(InputError, bacth=8) == "unknown option 'bacth'; nearest: 'batch'"
    with pytest.raises(InputError, match="unknown option 'devise'; nearest: 'device'"):
        rf.simulate_many([{"model": "resnet-18", "devise": "v100"}])


# numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [0, -1, 1.5, 2.0, True, "8", 1 << 21, 10**30, float("nan"), float("inf"), [8], np.float64(8), np.array([8, 9])],
)
@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_a_batch_is_a_whole_number_in_range(batch: object, device: str) -> None:
    text = refused(InputError, batch=batch, device=device)
    assert "batch must be a whole number in 1..1048576" in text and repr(batch) in text


@pytest.mark.parametrize("size", [0, -224, 1 << 20, 224.5, "224", True, float("nan")])
def test_an_image_size_is_a_whole_number_in_range(size: object) -> None:
    text = refused(InputError, image_size=size)
    assert "image size must be" in text and "1..131072" in text and repr(size) in text


@pytest.mark.parametrize("cores", [0, -1, 3, 1.5, True, "2"])
def test_cores_are_those_of_the_chip(cores: object) -> None:
    text = refused(InputError, cores=cores)
    assert text == f"cores of 'tpu-v3' must be a whole number in 1..2, got {cores!r}"
    assert refused(InputError, device="v100", cores=2) == "cores of 'v100' must be a whole number in 1..1, got 2"


@pytest.mark.parametrize("batch", [0, 1.5, True, [8], 1 << 21])
def test_a_graph_needs_a_batch_in_range_too(batch: object) -> None:
    with pytest.raises(InputError, match=r"batch must be a whole number in 1\.\.1048576, got"):
        rf.op_graph("resnet-18", batch=batch)  # type: ignore[arg-type]


def test_integers_of_numpy_are_whole_numbers() -> None:
    report = rf.simulate(**GOOD, batch=np.int64(8), image_size=np.int32(64), cores=np.int8(1))
    assert report.latency_s == rf.simulate(**GOOD, batch=8, image_size=64, cores=1).latency_s
    assert type(report.batch) is int and type(report.image_size) is int


# choices -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"layout": "nhcw"}, "unknown layout 'nhcw'"),
        ({"layout": "channels_last"}, "unknown layout 'channels_last'"),
        ({"mode": "inferense"}, "unknown mode 'inferense'; nearest: 'inference'"),
        (
            {"runtime": "tensorrt"},
            "runtime 'tensorrt' does not run on a tpu; allowed: 'jax_serving', 'pytorch_xla', 'xla_tpu'",
        ),
        (
            {"device": "v100", "runtime": "xla_tpu"},
            "runtime 'xla_tpu' does not run on a gpu; allowed: 'pytorch_compile'",
        ),
    ],
)
def test_choices_name_what_is_allowed(request_: dict[str, Any], message: str) -> None:
    assert refused(InputError, **request_).startswith(message)


@pytest.mark.parametrize(
    ("device", "dtype", "has"),
    [
        ("tpu-v3", "fp16", "bf16"),
        ("tpu-v3", "int8", "bf16"),
        ("v100", "bf16", "fp16"),
        ("v100", "int4", "fp16"),
        ("t4", "fp8", "int8"),
        ("tpu-v3", "amp_fp16", "bf16"),
    ],
)
def test_a_dtype_that_the_device_lacks(device: str, dtype: str, has: str) -> None:
    text = refused(InputError, device=device, dtype=dtype)
    assert repr(dtype.removeprefix("amp_")) in text and repr(device) in text and has in text


# networks that do not work -------------------------------------------------------------------------------------------


def test_an_image_too_small_for_the_network_names_the_block() -> None:
    with pytest.raises(ShapeError) as caught:
        rf.simulate("inception-v3", "v100", image_size=16)
    assert "\n" not in str(caught.value)
    assert any("in block 'stem' of 'inception-v3' at input size 16" in note for note in caught.value.__notes__)


def test_windows_that_do_not_tile_the_image() -> None:
    assert "windows of 7 x 7 do not tile" in refused(ShapeError, model="swin-t", image_size=200)


def test_more_tokens_than_positions() -> None:
    assert "513 tokens" in refused(ShapeError, model="bert-base", length=513)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mystery(Op):
    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        return (shapes[0],)


def test_an_op_without_a_rule_is_never_free() -> None:
    b = GraphBuilder("strange")
    graph = b.graph([b.add_op("what", Mystery, b.input("x", (2, 3)))])
    text = refused(UnknownOpError, model=graph)
    assert "'Mystery'" in text and "what" in text and "2x3" in text


def test_a_graph_with_a_cycle_never_reaches_the_simulator() -> None:
    known = {n: Tensor(id=n, shape=(2, 3)) for n in ("a", "b")}
    ops = {"f": Mystery(inputs=("a",), outputs=("b",)), "g": Mystery(inputs=("b",), outputs=("a",))}
    with pytest.raises(GraphError, match="the graph has a cycle: "):
        OpGraph(ops, known, ("b",))


@pytest.mark.parametrize(
    ("option", "value"), [("image_size", 224), ("cores", 3), ("cores", 0), ("batch", 0), ("batch", "2")]
)
def test_what_a_graph_fixes_cannot_be_asked_for(option: str, value: object) -> None:
    graph = rf.op_graph("resnet-18", batch=2)
    text = refused(InputError, model=graph, **{option: value})
    assert text.startswith(option)
    assert rf.simulate(graph, "tpu-v3", batch=2, cores=1).batch == 2, "what it has may be said"


@pytest.mark.parametrize("model", [None, 3, object(), ["resnet-18"]])
def test_a_model_is_a_name_a_file_or_a_graph(model: object) -> None:
    refused(RooflineError, model=model)


@pytest.mark.parametrize("device", [None, 3, object()])
def test_a_device_is_a_name_a_file_or_a_spec(device: object) -> None:
    refused(RooflineError, device=device)


@pytest.mark.parametrize("name", ["model", "device", "runtime"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    text = refused(RooflineError, **{name: tmp_path / "nowhere.toml"})
    assert "nowhere.toml" in text


# memory --------------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_when_strict() -> None:
    text = refused(DoesNotFitError, device="v100", model="efficientnet-b7", batch=4096, strict=True)
    assert text.startswith("efficientnet-b7 at batch 4096 needs ") and "v100" in text and "GiB" in text
    assert not rf.simulate("efficientnet-b7", "v100", batch=4096).fits, "and only then"
    assert rf.simulate("efficientnet-b0", "v100", batch=8, strict=True).fits


def test_one_bad_request_among_many_is_an_error_of_all() -> None:
    with pytest.raises(InputError, match="batch must be"):
        rf.simulate_many([GOOD, GOOD | {"batch": 0}])


# the package ---------------------------------------------------------------------------------------------------------


def test_names_of_the_package_are_functions_after_use() -> None:
    """Loading the folder ``roofline.hardware`` must not put a module in the place of the function `device`."""
    rf.simulate(**GOOD)
    for name in ("device", "runtime", "simulate", "model", "compare"):
        assert callable(getattr(rf, name)), name
    with pytest.raises(AttributeError, match="no attribute 'simulatte'"):
        _ = rf.simulatte  # type: ignore[attr-defined]  # mypy sees it too


@pytest.mark.parametrize("first", ["", "import roofline.graph.op;", "from roofline import graph;", "rf.op_graph;"])
def test_the_former_name_of_op_graph_warns_whatever_was_imported_first(first: str) -> None:
    code = f"import roofline as rf; {first} print(rf.graph('resnet-18', batch=2).macs)"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == rf.op_graph("resnet-18", batch=2).macs
    assert done.stderr.startswith("<string>:1: DeprecationWarning: ") and "call roofline.op_graph" in done.stderr


def test_specs_with_a_wrong_field_are_refused() -> None:
    with pytest.raises(TypeError, match="clok"):
        replace(rf.device("tpu-v3"), clok=1.0)  # type: ignore[call-arg]
