"""One network through four doors: architecture file, PyTorch, ONNX, JAX. Run as a program, it rewrites the docs' table.

python tests/helpers/four_doors.py
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from places import ROOT

import roofline as rf

BATCH = 8
NETWORKS = ("efficientnet-b0", "resnet-50", "vit-b-16")
DOORS = ("torch", "onnx", "jax")
PACKAGES = {"torch": ("torch",), "onnx": ("torch", "onnx"), "jax": ("jax", "flax")}
#: device and runtime of each comparison
MACHINES = (("tpu-v3", "xla"), ("a100-40gb", "pytorch_compile"), ("a100-40gb", "xla_gpu"), ("a100-40gb", "tensorrt"))
PAGE = ROOT / "docs" / "bring-your-own.md"
BEGIN, END = "<!-- four doors: begin -->", "<!-- four doors: end -->"


def need(door: str) -> None:
    """Skip the test where a package that a door needs is not installed."""
    import pytest

    for package in PACKAGES[door]:
        pytest.importorskip(package)


@cache
def graph(network: str, door: str) -> rf.OpGraph:
    """Return a network of `NETWORKS` through a door of `DOORS`."""
    if door == "jax":
        import jax_models

        return rf.from_jax(jax_models.make(network), jax_models.image(BATCH), name=network)
    import torch_models

    module = torch_models.make(network)
    if door == "torch":
        from roofline.frontends.torch import from_torch

        return from_torch(module, (BATCH, 3, 224, 224), name=network)
    from roofline.frontends.onnx import from_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        _export(module, path)
        return from_onnx(path, name=network)


def _export(module: object, path: Path) -> None:
    """Write an ONNX file as the program has it: batch norms unfolded, equal parameters not shared."""
    import torch

    torch.manual_seed(0)
    assert isinstance(module, torch.nn.Module)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)  # the exporter stores equal initial values once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(BATCH, 3, 224, 224),), str(path), dynamo=False, opset_version=20,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """How one door compares with the architecture file: ratios, of whose distance from 1 the largest counts."""

    network: str
    door: str
    macs: float
    params: float
    traffic: float
    latency: float


def rows(network: str, door: str) -> Row:
    """Compare one door with the architecture file on all of `MACHINES`."""
    found = graph(network, door)
    traffic, latency = [0.0], [0.0]
    for device, runtime in MACHINES:
        mine = rf.simulate(found, device, runtime=runtime)
        named = rf.simulate(network, device, runtime=runtime, batch=BATCH)
        traffic.append(mine.traffic_bytes / named.traffic_bytes - 1)
        latency.append(mine.latency_s / named.latency_s - 1)
    return Row(network, door, float(found.macs), float(found.params), max(traffic, key=abs), max(latency, key=abs))


def table() -> Iterator[str]:
    """Yield the lines of the docs' table."""
    yield "| network | door | GMACs per image | parameters | fused traffic | latency |"
    yield "|---|---|---:|---:|---:|---:|"
    for network in NETWORKS:
        named = rf.op_graph(network, batch=BATCH)
        yield f"| {network} | architecture file | {named.macs / BATCH / 1e9:.6f} | {named.params:,.0f} | | |"
        for door in DOORS:
            r = rows(network, door)
            yield (
                f"| | {door} | {r.macs / BATCH / 1e9:.6f} | {r.params:,.0f} "
                f"| {round(r.traffic, 4) + 0.0:+.2%} | {round(r.latency, 4) + 0.0:+.2%} |"
            )


def main() -> None:
    """Rewrite the table between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(table()) + "\n" + END + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
