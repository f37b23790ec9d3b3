"""How fast oracle and search are: ``python benchmarks/bench_oracle.py``; one core, ratios to a loop over `simulate`."""

from __future__ import annotations

import resource
import sys
import tempfile
from typing import Literal

from cold import ColdOracle
from timer import least

import roofline as rf
from roofline.search.accuracy.choose import accuracy_oracle
from roofline.search.evolution.evolve import evolve
from roofline.search.evolution.nsga import pymoo_problem
from roofline.search.evolution.objective import Objective
from roofline.search.oracle.latency import Oracle

WARM, COLD, EACH, LOOP = 1_000_000, 100_000, 10_000, 100
#: candidates a second that are wanted
WANTED_WARM = {"accel-nasbench": 1e7, "efficientnet-x": 5e6}
WANTED = {"cold": 1e5, "evolve": 2e5, "pymoo": 1e4}
BUILD_S, MEMORY_GIB = 10.0, 2.0


def say(what: str, rate: float, loop: float, wanted: float | None = None) -> None:
    mark = "" if wanted is None else f"   wanted {wanted:>12,.0f}   {'met' if rate >= wanted else 'MISSED'}"
    print(f"  {what:<58}{rate:>14,.0f}/s{rate / loop:>12,.0f} x{mark}")


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
    say("warm tables", WARM / least(lambda: oracle.latency_s(genomes), 7), loop, WANTED_WARM[name])
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
    search("accel-nasbench", "tpu-v3")
    search("efficientnet-x", "tpu-v3")
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {gib:.2f} GiB (wanted {MEMORY_GIB:.0f}, {'met' if gib <= MEMORY_GIB else 'MISSED'})")
    sys.exit(0)
