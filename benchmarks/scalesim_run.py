"""ResNet-50 in SCALE-Sim, one image on one 128 x 128 array: what a cycle-by-cycle simulator takes for it.

    python benchmarks/scalesim_run.py PYTHON [LAYERS]

`PYTHON` is the interpreter of an environment that has scalesim (``pip install scalesim``); it is not among the
dependencies. Convolutions and the classifier are given as matrix products. Prints the seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import roofline as rf
from roofline.graph.ops import Conv, MatMul

CONFIG = """
[general]
run_name = resnet
[architecture_presets]
ArrayHeight = 128
ArrayWidth = 128
IfmapSramSzkB = 6144
FilterSramSzkB = 6144
OfmapSramSzkB = 2048
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = 10
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = False
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def products() -> list[tuple[int, int, int]]:
    """Return (M, N, K) of the matrix products of one image through ResNet-50."""
    graph = rf.op_graph("resnet-50", batch=1)
    found = []
    for op in graph.ops.values():
        if isinstance(op, Conv | MatMul):
            found += [(int(c.m), int(c.n), int(c.k * c.taps)) for c in op.contractions(*graph.arguments(op))]
    return found


def seconds(python: str, layers: int | None = None, limit_s: float = 3600.0) -> float:
    """Return how long SCALE-Sim takes for the first `layers` products.

    Raises
    ------
    RuntimeError
        It failed, or took longer than `limit_s`.
    """
    rows = [f"layer{i}, {m}, {n}, {k}," for i, (m, n, k) in enumerate(products()[:layers])]
    with tempfile.TemporaryDirectory() as folder:
        config, network = Path(folder, "array.cfg"), Path(folder, "network.csv")
        config.write_text(CONFIG)
        network.write_text("\n".join(["Layer, M, N, K,", *rows]) + "\n")
        files = ["-c", str(config), "-t", str(network), "-l", str(network), "-p", folder]
        words = [python, "-m", "scalesim.scale", "-i", "gemm", "-s", "N", *files]
        began = time.perf_counter()
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"scalesim took over {limit_s:.0f} s") from None
        took = time.perf_counter() - began
    if done.returncode or "Complete" not in done.stdout:
        raise RuntimeError(f"scalesim failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return took


if __name__ == "__main__":
    print(f"{seconds(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None):.1f} s")
