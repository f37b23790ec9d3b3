"""Export every shipped network in every form, read it back, and compare with its graph; print what disagrees.

    python benchmarks/exports.py                   # all of them
    python benchmarks/exports.py 'resnet*' vit-l-16

Multiply-adds and parameters have to be equal, latencies on a TPU and (but for JAX) on a GPU within 2 % at batch 2, or
within what docs/export.md says of the family. Nothing is computed: PyTorch modules hold no weights, ONNX files their
shapes alone. Anything else ends the run with status 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from exported import POSITIONS, allowed, images_of  # noqa: E402

import roofline as rf  # noqa: E402
from roofline.graph.opgraph import OpGraph  # noqa: E402

BATCH = 2
DEVICES = {"torch": ("tpu-v3", "v100"), "onnx": ("tpu-v3", "v100"), "jax": ("tpu-v3", "tpu-v4")}


def read_back(name: str, size: int | None) -> Iterator[tuple[str, OpGraph]]:
    """Yield every form of a network with the graph that is read from it."""
    with torch.device("meta"):
        module = rf.to_torch(name, image_size=size).eval()
    yield "torch", rf.from_torch(module, images_of(rf.model(name).with_input_size(size), "meta", BATCH))
    with tempfile.TemporaryDirectory() as folder:
        (path,) = rf.to_onnx(name, Path(folder) / "net.onnx", weights=False, image_size=size)
        yield "onnx", rf.from_onnx(path, dims={"N": BATCH})
    program = rf.to_jax(name, batch=BATCH, image_size=size)
    yield "jax", rf.from_jax(program.forward, program.variables, *program.inputs)


def differences(name: str) -> Iterator[tuple[str, str, float]]:
    """Yield (form, what is wrong or "", largest difference of a latency) for every form."""
    size = POSITIONS.get(name)
    shipped = rf.op_graph(name, batch=BATCH, image_size=size)
    family = rf.model(name).family
    for form, read in read_back(name, size):
        wrong = [] if read.macs == shipped.macs else [f"{read.macs:,.0f} MACs, not {shipped.macs:,.0f}"]
        wrong += [] if read.params == shipped.params else [f"{read.params:,.0f} parameters, not {shipped.params:,.0f}"]
        worst = 0.0
        for device in DEVICES[form]:
            a, b = (rf.simulate(graph, device, batch=BATCH).latency_s for graph in (read, shipped))
            if abs(a / b - 1) > allowed(form, family, device):
                wrong.append(f"{a / b - 1:+.1%} on {device}")
            worst = max(worst, a / b - 1, key=abs)
        yield form, "; ".join(wrong), worst


def main() -> int:
    """Run the networks that the arguments name."""
    patterns = sys.argv[1:] or ["*"]
    names = [name for name in rf.models() if any(fnmatch(name, pattern) for pattern in patterns)]
    started, failed = time.perf_counter(), 0
    worst: dict[tuple[str, str], float] = {}
    for name in names:
        for form, wrong, apart in differences(name):
            if wrong:
                failed += 1
                print(f"{name} as {form}: {wrong}", flush=True)
            key = (form, rf.model(name).family)
            worst[key] = max(worst.get(key, 0.0), apart, key=abs)
    for (form, family), apart in sorted(worst.items(), key=lambda item: -abs(item[1]))[:12]:
        print(f"largest difference of a latency, {family} as {form}: {apart:+.2%}")
    took = time.perf_counter() - started
    print(f"{len(names)} networks in {len(DEVICES)} forms in {took:.0f} s: {failed} differ from their graph")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    raise SystemExit(main())
