"""Networks exported by PyTorch: multiply-adds equal the flop counter's exactly, and the architecture file's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import roofline as rf

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from onnx_networks import KNOWN, SMALL, example, export  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402


def flops(module: Any, x: Any) -> int:
    """Count without the fused kernels that the counter does not see into."""
    math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    fused, cells = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.flags(enabled=False)
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings(), FlopCounterMode(display=False) as counter, torch.no_grad(), math:
        warnings.simplefilter("ignore")
        with cells:
            module(x)
    torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


@pytest.fixture(scope="session")
def made() -> dict[str, Any]:
    torch.manual_seed(0)
    return {name: make().eval() for name, (make, _) in SMALL.items()}


#: (name, flags of the exporter): the new exporter at its newest operator set, the old one at 9 where it has the ops
CASES = [
    *((name, {"dynamo": True, "opset_version": 23, "optimize": False}) for name in SMALL if name != "recurrent"),
    *((name, {"dynamo": False, "opset_version": 17}) for name in ("recurrent", "vit", "audio")),
    *(
        (name, {"dynamo": False, "opset_version": 9})
        for name in ("resnet", "mobile", "shuffle", "vgg", "windows", "mixer")
    ),
    *((name, {"dynamo": True, "opset_version": 20}) for name in ("vit", "unet")),
]


@pytest.mark.parametrize(("name", "flags"), CASES, ids=[f"{n}-{f['opset_version']}" for n, f in CASES])
def test_macs_equal_the_flop_counter(name: str, flags: dict[str, Any], made: dict[str, Any], tmp_path: Path) -> None:
    module, x = made[name], example(SMALL[name][1])
    graph = rf.from_onnx(export(module, x, tmp_path / "model.onnx", **flags))
    graph.check_shapes()
    assert 2 * graph.macs == flops(module, x)
    for device, runtime in (("v100", "pytorch_compile"), ("v100", "pytorch_eager"), ("tpu-v3", "xla")):
        report = rf.simulate(graph, device, runtime=runtime)
        assert report.latency_s > 0 and report.macs == graph.macs
    if flags.get("optimize") is False:  # other exports fold batch norms, and store equal weights once
        assert graph.params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", KNOWN)
def test_a_network_is_the_same_from_its_file_and_from_onnx(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = KNOWN[name]().eval()
    path = export(module, torch.zeros(2, 3, 224, 224), tmp_path / f"{name}.onnx", optimize=False)
    graph = rf.from_onnx(path)
    assert graph.name == name
    for device, runtime in (
        ("v100", "tensorrt"),
        ("v100", "pytorch_compile"),
        ("v100", "pytorch_eager"),
        ("tpu-v3", "xla"),
    ):
        ours = rf.simulate(name, device, runtime=runtime, batch=2, cores=1)
        theirs = rf.simulate(graph, device, runtime=runtime, cores=1)
        assert (theirs.macs, theirs.params) == (ours.macs, ours.params)
        assert theirs.traffic_bytes == pytest.approx(ours.traffic_bytes, rel=1e-3)
        # a block's input is taken to be as far away as its own size, a graph knows how far: up to 2 % where tensors
        # are small enough to stay in the L2 cache
        assert theirs.latency_s == pytest.approx(ours.latency_s, rel=0.02)
        assert len(theirs.kernels) == len(ours.kernels)
