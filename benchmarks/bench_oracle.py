"""How fast oracle and search are: ``python benchmarks/bench_oracle.py``; one core, ratios to a loop over `simulate`."""

from __future__ import annotations

import functools
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from cold import ColdOracle
from timer import least

import roofline as rf
from roofline.search.accuracy.choose import accuracy_oracle
from roofline.search.evolution.evolve import evolve
from roofline.search.evolution.nsga import pymoo_problem
from roofline.search.evolution.objective import Objective
from roofline.search.oracle.entries import entries_in
from roofline.search.oracle.latency import Oracle
from roofline.search.oracle.tables import CHUNK, join, time_columns

WARM, COLD, EACH, LOOP = 1_000_000, 100_000, 10_000, 100
#: candidates a second that are wanted
WANTED_WARM = {"accel-nasbench": 1e7, "efficientnet-x": 5e6}
WANTED = {"cold": 1e5, "evolve": 2e5, "pymoo": 1e4}
BUILD_S, MEMORY_GIB = 10.0, 2.0
OWN_BLOCKS, OWN_BLOCK_MS = 48, 100.0


def say(what: str, rate: float, loop: float, wanted: float | None = None) -> None:
    mark = "" if wanted is None else f"   wanted {wanted:>12,.0f}   {'met' if rate >= wanted else 'MISSED'}"
    print(f"  {what:<58}{rate:>14,.0f}/s{rate / loop:>12,.0f} x{mark}")


def beside(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the least seconds of two things that take turns: whatever else the machine does meets both."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for things, call in zip(took, (one, other), strict=True):
            began = time.perf_counter()
            call()
            things.append(time.perf_counter() - began)
    return min(took[0]), min(took[1])


def bare(oracle: Oracle, genomes: Any) -> Callable[[], None]:
    """Return the look-ups of genomes in the joined tables of the device's seconds, and their sums, and nothing else.

    Which entries are looked up is known beforehand.
    """
    (column, _), joined = time_columns(0), join(oracle.tables(0), time_columns(0)[:1])
    found = entries_in(tuple((table.genes, table.shape) for table in joined), genomes.shape[1], len(genomes))
    found.load(genomes)
    places = [found.of(number).copy() for number in range(len(joined))]
    out, part = np.empty(len(genomes)), np.empty(CHUNK)

    def gathers() -> None:
        for low in range(0, len(genomes), CHUNK):
            target = out[low : low + CHUNK]
            for number, (table, at) in enumerate(zip(joined, places, strict=True)):
                own = part[: len(target)] if number else target
                table.columns[column].take(at[low : low + CHUNK], out=own, mode="clip")
                if number:
                    np.add(target, own, out=target)

    return gathers


def own_blocks() -> None:
    """Six stages of eight blocks each: what building its tables takes for each block, and what scoring takes then."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, shape: tuple[int, ...], heads: int, ratio: int, activation: type[nn.Module]) -> None:
            super().__init__()
            width = shape[-1]
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(width, ratio * width), activation(), nn.Linear(ratio * width, width))

        def forward(self, x: torch.Tensor) -> Any:
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.mlp(self.norm2(x))

    def stage(number: int) -> Any:
        kinds = itertools.product((2, 4), (2 + number, 9 + number), (nn.GELU, nn.SiLU))
        blocks = {
            f"{act.__name__.lower()}-{heads}-{ratio}": functools.partial(
                Block, heads=heads, ratio=ratio, activation=act
            )
            for heads, ratio, act in kinds
        }
        return rf.module_stage(f"s{number}", blocks, repeats=[1, 2, 3])

    stages = [stage(number) for number in range(6)]
    print("\nsix stages of eight torch blocks, up to three of each, on v100, a100-80gb (compiled) and tpu-v4i")
    for device, runtime in (("v100", None), ("a100-80gb", "pytorch_compile"), ("tpu-v4i", None)):
        made = [rf.module_space("own", stages, input=(64, 128)) for _ in range(3)]
        fresh = iter([Oracle(space, device, batch=8, runtime=runtime) for space in made])
        build_s = least(lambda fresh=fresh: next(fresh).build(), 3)  # type: ignore[misc]
        oracle = Oracle(made[0], device, batch=8, runtime=runtime).build()
        genomes = oracle.space.sample(WARM, seed=1)
        few = [oracle.space.decode(g) for g in genomes[:3]]
        whole = [rf.from_torch(network.to_torch(), (8, 64, 128)) for network in few]
        options: dict[str, Any] = {"batch": 8, "runtime": runtime}
        loop = 3 / least(lambda: [rf.simulate(g, device, **options) for g in whole], 1)  # noqa: B023
        warm_s, bare_s = beside(lambda: oracle.latency_s(genomes), bare(oracle, genomes), 7)  # noqa: B023
        each_ms = build_s * 1e3 / OWN_BLOCKS
        print(f"  {device}: tables in {each_ms:.0f} ms a block"
              f" (wanted {OWN_BLOCK_MS:.0f}, {'met' if each_ms <= OWN_BLOCK_MS else 'MISSED'})")  # fmt: skip
        say(f"warm tables, {bare_s / warm_s:.0%} of bare gathers and additions", WARM / warm_s, loop)


def space(name: str, device: str) -> None:
    build_s = least(lambda: Oracle(name, device, batch=128).build(), 1)
    oracle = Oracle(name, device, batch=128).build()
    few = oracle.space.sample(LOOP, seed=9)
    archs = [oracle.space.decode(g) for g in few]
    loop = LOOP / least(lambda: [rf.simulate(a, device, batch=128) for a in archs], 1)
    print(f"\n{name} on {device}, batch 128; tables built in {build_s:.2f} s"
          f" (wanted {BUILD_S:.0f}, {'met' if build_s <= BUILD_S else 'MISSED'})")  # fmt: skip
    say("loop over simulate, nothing lowered", loop, loop)
    say(
        "loop over simulate, kernels cached",
        LOOP / least(lambda: [rf.simulate(a, device, batch=128) for a in archs], 3),
        loop,
    )
    genomes = oracle.space.sample(WARM, seed=1)
    warm_s, bare_s = beside(lambda: oracle.latency_s(genomes), bare(oracle, genomes), 15)
    say("warm tables", WARM / warm_s, loop, WANTED_WARM[name])
    say(f"their limit, bare gathers and additions; warm is {bare_s / warm_s:.0%} of it", WARM / bare_s, loop)
    say(
        "warm tables, one candidate at a time",
        1000 / least(lambda: [oracle.latency_s(g[None]) for g in genomes[:1000]], 3),
        loop,
    )
    some = genomes[:COLD]
    cold = ColdOracle(oracle)
    say(
        "no table: networks as columns, equal uses costed once",
        COLD / least(lambda: cold.latency_s(some), 3),
        loop,
        WANTED["cold"],
    )
    anew = ColdOracle(oracle, distinct=False)
    say(
        "no table: networks as columns, every use costed anew",
        EACH / least(lambda: anew.latency_s(some[:EACH]), 2),
        loop,
    )
    fresh = Oracle(name, device, batch=128)
    say(f"nothing built, {WARM:,} candidates", WARM / least(lambda: fresh.latency_s(genomes), 1), loop)
    accuracy = accuracy_oracle("auto", oracle)
    say("accuracy oracle", WARM / least(lambda: accuracy.predict(genomes), 3), loop)


def search(name: str, device: str) -> None:
    oracle = Oracle(name, device, batch=128).build()
    loop = LOOP / least(
        lambda: [rf.simulate(oracle.space.decode(g), device, batch=128) for g in oracle.space.sample(LOOP, 8)], 1
    )
    objective = Objective(oracle=oracle, accuracy=accuracy_oracle("auto", oracle), target_latency_s=6e-3)
    print(f"\nsearch of {name} on {device}: {objective.accuracy.name}")
    histories: list[tuple[Literal["generations", "all"], float | None]] = [
        ("generations", WANTED["evolve"]),
        ("all", None),
    ]
    for keep, wanted in histories:
        rates = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                found = evolve(oracle.space, objective, evaluations=500_000 if wanted else 100_000, output=folder,
                               history=keep, baselines=False)  # fmt: skip
            rates.append(found.rate_per_s)
        say(f"batched aging evolution, --history {keep}", max(rates), loop, wanted)
    rates = []
    for _ in range(3):
        found = evolve(oracle.space, objective, evaluations=20_000, method="pareto", baselines=False)
        rates.append(found.rate_per_s)
    say("Pareto search (pymoo's survival, resumable)", max(rates), loop, WANTED["pymoo"])
    pymoo_s = least(lambda: pymoo(objective), 1)
    say("pymoo's own NSGA-II on the vectorised problem", 20_000 / pymoo_s, loop, WANTED["pymoo"])


def pymoo(objective: Objective) -> None:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.operators.crossover.ux import UX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    algorithm = NSGA2(
        pop_size=500, sampling=IntegerRandomSampling(), crossover=UX(repair=RoundingRepair()),
        mutation=PM(repair=RoundingRepair(), vtype=float), eliminate_duplicates=False,
    )  # fmt: skip
    minimize(pymoo_problem(objective), algorithm, ("n_eval", 20_000), seed=1, verbose=False)


if __name__ == "__main__":
    space("accel-nasbench", "tpu-v3")
    space("efficientnet-x", "tpu-v3")
    own_blocks()
    search("accel-nasbench", "tpu-v3")
    search("efficientnet-x", "tpu-v3")
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {gib:.2f} GiB (wanted {MEMORY_GIB:.0f}, {'met' if gib <= MEMORY_GIB else 'MISSED'})")
    sys.exit(0)
