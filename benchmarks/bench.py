"""Every benchmark, and the page docs/benchmarks.md: each figure beside a baseline that was measured in the same run.

    python benchmarks/bench.py [--quick] [--scalesim PYTHON] [--output docs/benchmarks.md]

``--scalesim`` names the interpreter of an environment with scalesim and numpy 1; it may take an hour. Run all of this
on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "benchmarks")]

from timer import least  # noqa: E402

import roofline as rf  # noqa: E402

#: scripts whose own output goes onto the page as it is
SCRIPTS = {
    "Oracle and search": ["bench_oracle.py"],
    "Compound scaling": ["bench_scaling.py"],
    "Service": ["bench_serve.py"],
    "Simulator and front ends": ["-m", "pytest", "benchmarks", "benchmarks/bench_onnx.py", "--benchmark-only", "-s",
                                 "--benchmark-columns=min,median,rounds", "--benchmark-disable-gc", "-q"],
}  # fmt: skip
PLAN = (
    'models = ["*"]\ndevices = ["tpu-v2", "tpu-v3", "tpu-v4i", "v100", "a100-80gb", "h100-sxm"]\nbatch = [1, 8, 128]\n'
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure beside its baseline, both in seconds for the same work."""

    what: str
    time_s: float
    baseline: str
    baseline_s: float


def starting(quick: bool) -> Iterator[Row]:
    """Fresh interpreters."""

    def python(*words: str) -> float:
        return least(
            lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True), 2 if quick else 7
        )

    bare = python("-c", "pass")
    first = "import roofline as rf; rf.simulate('resnet-50', 'tpu-v3', batch=8).latency_ms"
    yield Row(
        what="`import roofline`", time_s=python("-c", "import roofline"), baseline="bare interpreter", baseline_s=bare
    )
    yield Row(what="first latency", time_s=python("-c", first), baseline="bare interpreter", baseline_s=bare)
    words = ("-m", "roofline.cli", "--help")
    yield Row(what="`roofline --help`", time_s=python(*words), baseline="bare interpreter", baseline_s=bare)


def resnet(quick: bool, scalesim: str | None) -> Iterator[Row]:
    """ResNet-50: its latency, beside counting alone and beside a simulator of cycles."""
    import torch
    from timm_rows import build
    from torch.utils.flop_counter import FlopCounterMode

    module, image = build("resnet50")

    def counted() -> None:
        with torch.no_grad(), FlopCounterMode(display=False):
            module(*image) if isinstance(image, tuple) else module(image)

    count_s = least(counted)
    counter = "torch.utils.flop_counter on the meta device: FLOPs only"
    rf.simulate("resnet-50", "tpu-v3", batch=8)
    again = least(lambda: rf.simulate("resnet-50", "tpu-v3", batch=8).latency_s, 20)
    yield Row(what="simulate ResNet-50, kernels cached", time_s=again, baseline=counter, baseline_s=count_s)
    graph_s = least(lambda: rf.from_torch(module, image))
    yield Row(what="lower ResNet-50 from PyTorch", time_s=graph_s, baseline=counter, baseline_s=count_s)
    graph = rf.from_torch(module, image)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "resnet.json")
        graph.save(path)
        loaded_s = least(lambda: rf.load_graph(path))
    yield Row(what="read ResNet-50 from a saved graph", time_s=loaded_s, baseline=counter, baseline_s=count_s)
    yield from jax_resnet(counter, count_s)
    if scalesim:
        import scalesim_run

        whole = "SCALE-Sim 3, one image on one 128 x 128 array" + (", first layer only" if quick else "")
        with contextlib.suppress(RuntimeError):
            took = scalesim_run.seconds(scalesim, 1 if quick else None)
            yield Row(what="simulate ResNet-50, kernels cached", time_s=again, baseline=whole, baseline_s=took)


def jax_resnet(counter: str, count_s: float) -> Iterator[Row]:
    """One convolution stage in JAX (a network of its size is in the tests of the front end)."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def stage(x: Any, weights: list[Any]) -> Any:
        for w in weights:
            x = jax.nn.relu(lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        return x

    x = jax.ShapeDtypeStruct((8, 56, 56, 64), jnp.float32)  # type: ignore[no-untyped-call]
    weights = [jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)] * 53  # type: ignore[no-untyped-call]
    took = least(lambda: rf.from_jax(stage, x, weights))
    yield Row(what="lower 53 convolutions from JAX", time_s=took, baseline=counter, baseline_s=count_s)


def candidates(quick: bool) -> Iterator[Row]:
    """A warm oracle beside a plain Python loop over the same table, and over `simulate`; the building of the table."""
    count = 20_000 if quick else 1_000_000
    for space in ("accel-nasbench", "efficientnet-x"):
        build_s = least(lambda space=space: rf.Oracle(space, "tpu-v3", batch=128).build(), 1 if quick else 3)  # type: ignore[misc]
        oracle = rf.Oracle(space, "tpu-v3", batch=128).build()
        genomes = oracle.space.sample(count, seed=1)
        archs = [oracle.space.decode(g) for g in genomes[:50]]
        loop_s = least(lambda archs=archs: [rf.simulate(a, "tpu-v3", batch=128) for a in archs], 1)  # type: ignore[misc]
        warm_s = least(lambda oracle=oracle, genomes=genomes: oracle.latency_s(genomes))  # type: ignore[misc]
        one_s = least(lambda o=oracle, g=genomes: [o.latency_s(row[None]) for row in g[:500]])  # type: ignore[misc]
        yield Row(what=f"{space}: {count:,} candidates, tables built", time_s=warm_s,
                  baseline="plain Python loop over `simulate` (from 50)", baseline_s=loop_s / 50 * count)  # fmt: skip
        yield Row(what=f"{space}: {count:,} candidates, tables built", time_s=warm_s,
                  baseline="plain Python loop over the oracle (from 500)", baseline_s=one_s / 500 * count)  # fmt: skip
        yield Row(what=f"{space}: build its tables", time_s=build_s,
                  baseline="one `simulate` per candidate, 1,000 of them (from 50)", baseline_s=loop_s * 20)  # fmt: skip


def sweep(quick: bool) -> Iterator[Row]:
    """A sweep on two workers beside one."""
    from roofline.cluster.plan import load_plan
    from roofline.cluster.run import run_plan

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plan.toml")
        text = PLAN.replace(
            'models = ["*"]',
            'timm = ["resnet18", "resnet26", "resnet34", "resnet50"]' if quick else 'timm = ["c*"]',
        )
        path.write_text(text)
        took = {}
        for workers in (1, 2):
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                list(pool.map(_import_timm, range(workers)))
                began = time.perf_counter()
                frame = run_plan(load_plan(path), Path(folder, f"{workers}.sqlite"), executor=pool, workers=workers)
                took[workers] = time.perf_counter() - began
    runs = f"sweep of {frame['unit'].nunique()} timm networks, {len(frame):,} runs"
    yield Row(what=f"{runs}, two workers", time_s=took[2], baseline="one worker", baseline_s=took[1])


def _import_timm(_: int) -> None:
    from torch_networks import import_torchvision

    import_torchvision()
    import timm  # noqa: F401

    time.sleep(1.0)  # so that every worker takes one


def output_of(words: list[str]) -> str:
    """Return what one script prints."""
    script = words if words[0].startswith("-") else [str(ROOT / "benchmarks" / words[0])]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *script], cwd=ROOT, env=env, capture_output=True, text=True)
    return done.stdout.strip() + (f"\nfailed with status {done.returncode}" if done.returncode else "")


def page(rows: list[Row], sections: dict[str, str]) -> str:
    """Return the page."""
    day, cores = datetime.date.today(), len(os.sched_getaffinity(0))
    lines = [
        "# Benchmarks",
        "",
        f"By `make bench` on {day}: Python {platform.python_version()}, roofline {rf.__version__}, {cores} cores",
        "(times are the least of some rounds; a ratio compares two times of this run).",
        "",
        "| what | time | baseline | its time | ratio |",
        "|---|---:|---|---:|---:|",
    ]
    for row in rows:
        times = f"{shown(row.time_s)} | {row.baseline} | {shown(row.baseline_s)} | {row.baseline_s / row.time_s:,.2f}"
        lines.append(f"| {row.what} | {times} |")
    for title, text in sections.items():
        lines += ["", f"## {title}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def shown(time_s: float) -> str:
    """Return a time with three digits."""
    return f"{time_s:,.3g} s" if time_s >= 1 else f"{time_s * 1e3:,.3g} ms"


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script itself")
    parser.add_argument("--scalesim", metavar="PYTHON", help="interpreter of an environment with scalesim")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    rows: list[Row] = []
    parts = (starting(options.quick), resnet(options.quick, options.scalesim), candidates(options.quick),
             sweep(options.quick))  # fmt: skip
    for part in parts:
        for row in part:
            rows.append(row)
            print(f"{row.what}: {shown(row.time_s)}; {row.baseline}: {shown(row.baseline_s)}", flush=True)
    sections = {} if options.quick else {title: output_of(words) for title, words in SCRIPTS.items()}
    options.output.write_text(page(rows, sections), encoding="utf-8")


if __name__ == "__main__":
    main()
