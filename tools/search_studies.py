"""Two studies of the EfficientNet-X space: ``python tools/search_studies.py [SEEDS]`` prints both.

Rediscovery: from EfficientNet-B0, how much faster a network of no lower score the space holds, which of the paper's
rules it follows, and what a search for few multiply-accumulates finds instead; and, needing no score at all, the
fastest of all networks whose plain twin is EfficientNet-B0's. Genes: whether a network that was searched for one
platform stays ahead on the others. Every candidate is scored as its plain twin.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.arch.load import model
from roofline.errors import InputError
from roofline.search.evolution.transfer import BASE, BATCH, EVALUATIONS, Winner, best_of, gain_kept, transfer
from roofline.search.oracle.latency import Oracle
from roofline.search.space.base import BaseSpace
from roofline.search.space.load import search_space

STAGES = ("s0", "s1", "s2", "s3", "s4", "s5", "s6")
#: stages before the grid shrinks below 28 positions a side
EARLY = STAGES[:3]


def rules(space: BaseSpace, genome: Any) -> dict[str, bool]:
    """Return which of the paper's rules a network follows."""
    chosen = space.mapping(genome)
    fused = [chosen[f"{s}_op"] == "fused" for s in STAGES]
    relu = [chosen[f"{s}_activation"] == "relu" for s in STAGES]
    first_depthwise = fused.index(False) if False in fused else len(fused)
    return {
        "fused first, depthwise from some stage on": 0 < first_depthwise < len(fused)
        and not any(fused[first_depthwise:]),
        "... from where the grid is below 28 a side on (s3 or s4)": first_depthwise in (3, 4)
        and not any(fused[first_depthwise:]),
        "fused in an early stage (s0 to s2)": any(fused[: len(EARLY)]),
        "depthwise in the last stage": not fused[-1],
        "ReLU in most stages": sum(relu) > len(relu) / 2,
        "ReLU in all stages": all(relu),
        "space-to-depth stem": chosen["stem"] == "space_to_depth",
        "space-to-batch stem": chosen["stem"] == "space_to_batch",
    }


def same_twin(oracle: Oracle) -> tuple[NDArray[np.int8], float]:
    """Return the fastest of all networks whose plain twin is that of EfficientNet-B0, and its speed-up.

    They differ in convolution, activation and stem only, so no score is needed to compare them.
    """
    space = oracle.space
    base = space.encode(model(BASE))
    free = [space.gene(name) for name in (space.twin or {})]
    options = np.array(list(itertools.product(*(range(space.sizes[g]) for g in free))), dtype=np.int8)
    genomes = np.repeat(base[None], len(options), axis=0)
    genomes[:, free] = options
    latency = np.asarray(oracle.latency_s(genomes)[:, 0])
    best = int(np.argmin(latency))
    return genomes[best], float(oracle.latency_s(base[None])[0, 0] / latency[best])


def rediscovery(device: str, seeds: int, runtime: str | None = None, evaluations: int = EVALUATIONS) -> dict[str, Any]:
    """Return speed-ups over EfficientNet-B0 and rules followed over seeds, and the winner of the search for MACs."""
    oracle = Oracle(search_space("efficientnet-x"), device, batch=BATCH, runtime=runtime)
    found = [best_of(oracle, None, seed, evaluations=evaluations) for seed in range(seeds)]
    few_macs = best_of(oracle, None, 0, what="macs", evaluations=evaluations)
    followed = [rules(oracle.space, w.genome) for w in found]
    return {
        "device": device, "runtime": oracle.targets[0].machine.runtime.name, "winners": found, "few_macs": few_macs,
        "rules": {rule: sum(f[rule] for f in followed) for rule in followed[0]},
        "same_twin": same_twin(oracle), "space": oracle.space,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Print both studies as Markdown."""
    if len(arguments) > 1 or (arguments and not arguments[0].isdigit()):
        print("usage: python tools/search_studies.py [SEEDS]", file=sys.stderr)
        return 2
    seeds = int(arguments[0]) if arguments else 20
    if seeds < 1:
        raise InputError("at least one seed")
    for device, runtime in (("tpu-v3", None), ("v100", None), ("v100", "tensorflow")):
        _print_rediscovery(rediscovery(device, seeds, runtime))
    names, speedup = transfer()
    for title, table in (
        ("speed-up over EfficientNet-B0", speedup),
        ("share of the native gain kept", gain_kept(speedup)),
    ):
        print(f"\n{title}\n\n| searched on | " + " | ".join(names[:-1]) + " |\n|---|" + "---|" * (len(names) - 1))
        for name, row in zip(names, table, strict=True):
            print(f"| {name} | " + " | ".join(f"{x:.2f}" for x in row) + " |")
    return 0


def _print_rediscovery(found: Mapping[str, Any]) -> None:
    winners: list[Winner] = found["winners"]
    speed = np.array([w.speedup[0] for w in winners])
    one, few = winners[int(np.argmax(speed))], found["few_macs"]
    print(f"\n{found['device']}, {found['runtime']}, batch {BATCH}, {len(winners)} seeds\n")
    print(f"- faster than EfficientNet-B0: {speed.min():.2f}x to {speed.max():.2f}x, median {np.median(speed):.2f}x;")
    print(f"  slowest search {max(w.seconds for w in winners):.1f} s")
    print(f"- score of the twin {one.score:.2f} (EfficientNet-B0 {one.base_score:.2f});")
    print(f"  plain score {one.plain_score:.2f} (out of domain)")
    print(f"- MACs {one.macs / one.base_macs:.2f} x EfficientNet-B0's")
    print(f"- searched for few MACs: {few.macs / few.base_macs:.2f} x the MACs, {few.speedup[0]:.2f}x faster")
    genome, gain = found["same_twin"]
    print(
        f"- of all networks with EfficientNet-B0's own twin the fastest is {gain:.2f}x faster:"
        f" {_told(found['space'], genome)}"
    )
    for rule, count in found["rules"].items():
        print(f"- {rule}: {count} of {len(winners)}")


def _told(space: BaseSpace, genome: Any) -> str:
    chosen = space.mapping(genome)
    fused = [s for s in STAGES if chosen[f"{s}_op"] == "fused"]
    swish = [s for s in STAGES if chosen[f"{s}_activation"] == "swish"]
    return f"fused {', '.join(fused) or 'nowhere'}; swish {', '.join(swish) or 'nowhere'}; stem {chosen['stem']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
