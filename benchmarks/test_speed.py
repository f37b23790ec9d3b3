"""How fast the simulator is: ``python -m pytest benchmarks --benchmark-only -s``."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
from timer import least

import roofline as rf
from roofline.arch.block import Block, Port, Ports
from roofline.arch.build import instances
from roofline.dtypes import precision
from roofline.engine import lowering
from roofline.passes.policy import Policy, policy

#: seconds that may not be exceeded
IMPORT_S, HELP_S, CACHED_S, FROM_NAME_S = 0.3, 0.6, 0.005, 0.060
MANY, ROWS, ONE_BY_ONE = 1_000, 10_000, 100
HEAVY = ("pandas", "matplotlib", "torch")

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
DEVICES = {"tpu-v3": ["xla"], "tpu-v4i": ["xla"], "v100": ["pytorch_eager", "tensorflow"], "a100-80gb": ["tensorrt"]}
MODELS = [
    *(f"efficientnet-b{i}" for i in range(8)),
    *(f"efficientnet-x-b{i}" for i in range(8)),
    *(
        "resnet-50",
        "resnet-152",
        "mobilenetv2-1.0",
        "regnety-4gf",
        "convnext-t",
        "inception-v3",
        "vit-b-16",
        "swin-t",
        "bert-base",
    ),
]


def python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


def best(benchmark: Any) -> float:
    return float(benchmark.stats.stats.min)


def forget() -> None:
    """Empty every cache of the package: files are read again, nothing is lowered."""
    for name, module in list(sys.modules.items()):
        if name.startswith("roofline"):
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", lambda: None)()
    lowering._DTYPES.clear()


# starting ---------------------------------------------------------------------


def test_import(benchmark: Any) -> None:
    python("-c", f"import sys, roofline; assert not [m for m in {HEAVY} if m in sys.modules]")
    bare = least(lambda: python("-c", "pass"), 5)
    benchmark.pedantic(python, args=("-c", "import roofline"), rounds=5, warmup_rounds=1)
    assert best(benchmark) - bare < IMPORT_S


def test_first_result(benchmark: Any) -> None:
    code = "import roofline as rf; rf.simulate('efficientnet-b7', 'tpu-v3', batch=128).latency_ms"
    benchmark.pedantic(python, args=("-c", code), rounds=5, warmup_rounds=1)


def test_help(benchmark: Any) -> None:
    benchmark.pedantic(python, args=("-m", "roofline.cli", "--help"), rounds=5, warmup_rounds=1)
    assert best(benchmark) < HELP_S


# one network ------------------------------------------------------------------


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_simulate_cached(benchmark: Any, device: str) -> None:
    benchmark(rf.simulate, "efficientnet-b7", device, batch=128)
    assert best(benchmark) < CACHED_S


@pytest.mark.parametrize("device", ["tpu-v3", "v100"])
def test_simulate_from_its_name(benchmark: Any, device: str) -> None:
    simulate = rf.simulate
    benchmark.pedantic(
        simulate, args=("efficientnet-b7", device), kwargs={"batch": 128}, setup=forget, rounds=20, warmup_rounds=1
    )
    assert best(benchmark) < FROM_NAME_S


# many -------------------------------------------------------------------------


def requests_of(models: list[str]) -> list[rf.Request]:
    """Return every model on every device and runtime at every batch size."""
    pairs = [(device, runtime) for device, runtimes in DEVICES.items() for runtime in runtimes]
    cases = itertools.product(BATCHES, models, pairs)
    return [rf.Request(model=model, device=d, runtime=r, batch=batch) for batch, model, (d, r) in cases]


def apart(requests: list[rf.Request]) -> None:
    for request in requests:
        rf.simulate_many([request])


def test_simulate_many_cached(benchmark: Any) -> None:
    requests = requests_of(MODELS[::5]) * 5
    assert len(requests) == MANY
    rf.simulate_many(requests)
    benchmark.pedantic(rf.simulate_many, args=(requests,), rounds=5)
    one_by_one = least(lambda: apart(requests))
    report("1,000 requests, 200 distinct, kernels cached: together and one by one", best(benchmark), one_by_one)


def test_simulate_many_new(benchmark: Any) -> None:
    requests = requests_of(MODELS)
    assert len(requests) == MANY
    benchmark.pedantic(rf.simulate_many, args=(requests,), setup=forget, rounds=2)
    forget()
    one_by_one = least(lambda: apart(requests), 1)
    report("1,000 distinct requests, nothing lowered: together and one by one", best(benchmark), one_by_one)


def rows(count: int) -> list[tuple[Block, Ports]]:
    """Return `count` different uses of one block of EfficientNet: an MBConv with squeeze-excite and residual."""
    template = next(i for i in instances(rf.model("efficientnet-b0"), 1) if i.name == "s1.1").block
    fields = {name: getattr(template, name) for name in template.__dataclass_fields__}
    found: list[tuple[Block, Ports]] = []
    for i in range(count):
        width, side = 8 * (1 + i % 100), 7 * (1 + i // 100)
        sizes = {"channels": width, "entry": width, "expanded": 6 * width, "squeeze": max(1, width // 4)}
        found.append((type(template)(**fields | sizes), (Port(shape=(128, side, side, width)),)))
    return found


def test_lower_a_column(benchmark: Any) -> None:
    wanted: Policy = policy(rf.runtime("xla", "tpu"), precision("bf16"))
    steps = rows(ROWS)
    table, _ = benchmark.pedantic(lowering.lower_blocks, args=(steps, wanted), rounds=3, warmup_rounds=1)
    assert table.block_count == ROWS
    few = steps[:: ROWS // ONE_BY_ONE]
    one_by_one = least(lambda: [lowering.lower_blocks([step], wanted) for step in few], 1)
    report(
        "10,000 blocks of one structure: as a column and one by one (scaled up from 100)",
        best(benchmark),
        one_by_one * ROWS / len(few),
    )


def report(what: str, together_s: float, apart_s: float) -> None:
    """Print a ratio of two times of this run."""
    print(f"\n{what}: {together_s * 1e3:,.1f} ms and {apart_s * 1e3:,.1f} ms, ratio {apart_s / together_s:,.1f}")
