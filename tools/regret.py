"""True regret: search over networks that somebody trained, and see how much accuracy the choice has lost.

``python tools/regret.py TABLE.csv.gz``: under latency limits, each method picks the network of the
table that it likes best among those the latency oracle allows; the regret is the accuracy of the best allowed network
less that of the pick. Surrogates are asked out of fold: none has seen the row that it judges.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roofline.errors import RooflineError
from roofline.numeric import Array
from roofline.search.accuracy import pairwise, structural
from roofline.search.accuracy.adapters import TARGET, read_table
from roofline.search.accuracy.linear import folds, out_of_fold, ridge
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space

#: latency limits, as quantiles of the table's latencies: 2 %, 4 % ... 98 % of the networks are allowed
QUANTILES = tuple(i / 50 for i in range(1, 50))
SEEDS = 5
#: draws of a random pick
DRAWS = 500
#: device -> batch whose latencies are simulated
DEVICES = {"tpu-v2": 64, "a100-40gb": 128, "tpu-v3": 128, "v100": 128}
#: column of measured images/s -> device
MEASURED = {"throughput_tpuv2_mean": "tpu-v2", "throughput_a100_mean": "a100-40gb"}


def regrets(latency_s: Array, truth: Array, liking: Array, quantiles: Sequence[float] = QUANTILES) -> Array:
    """Return the regret [pp] under each latency limit."""
    found = []
    for limit in np.quantile(latency_s, quantiles):
        allowed = np.flatnonzero(latency_s <= limit)
        pick = allowed[np.argmax(liking[allowed])]
        found.append(truth[allowed].max() - truth[pick])
    return np.array(found)


def random_regret(
    latency_s: Array, truth: Array, tries: int, quantiles: Sequence[float] = QUANTILES, seed: int = 0
) -> Array:
    """Return the mean regret of training `tries` random allowed networks and keeping the best of them."""
    rng = np.random.default_rng(seed)
    found = []
    for limit in np.quantile(latency_s, quantiles):
        allowed = truth[latency_s <= limit]
        best = rng.choice(allowed, size=(DRAWS, tries)).max(axis=1)
        found.append(allowed.max() - best.mean())
    return np.array(found)


def likings(genomes: Any, truth: Array, oracle: Oracle) -> dict[str, list[Array]]:
    """Return what each method thinks of every row; fitted ones once per seed of the folds, always out of fold."""
    space = oracle.space
    counts = oracle.counts(genomes, structural.COUNTS)
    means = pairwise.indicators(genomes, space.sizes)[0].mean(axis=0)
    x = pairwise.terms(genomes, space.sizes, means)
    logs = np.log(np.stack([counts[n] for n in structural.COUNTS], axis=1))
    s = structural.features(counts, logs.mean(axis=0), logs.std(axis=0))

    def learn(seen: Any) -> Any:
        weights, intercept = ridge(s[seen], truth[seen], structural.PENALTY)
        return lambda rows: s[rows] @ weights + intercept

    return {
        "pairwise ridge": [pairwise.out_of_fold_predictions(x, truth, seed) for seed in range(SEEDS)],
        "structural": [out_of_fold(learn, folds(len(truth), structural.FOLDS, seed)) for seed in range(SEEDS)],
        "params only": [counts["params"]],
        "MACs only": [counts["macs"]],
    }


def study(genomes: Any, columns: Mapping[str, Array], devices: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """Return one row per device, kind of latency and method: mean and worst regret [pp] over limits and seeds."""
    truth, rows = columns[TARGET], []
    devices = DEVICES if devices is None else devices
    oracle = Oracle(search_space("accel-nasbench"), list(devices), batch=dict(devices))
    simulated = oracle.latency_s(genomes)
    latencies = {(device, "simulated"): simulated[:, d] for d, device in enumerate(oracle.devices)}
    for column, device in MEASURED.items():
        if column in columns:
            latencies[device, "measured"] = 1.0 / columns[column]
    found = likings(genomes, truth, oracle)
    for (device, kind), latency in latencies.items():
        known = np.isfinite(latency)
        regret_of = {
            method: np.concatenate([regrets(latency[known], truth[known], way[known]) for way in ways])
            for method, ways in found.items()
        }
        for tries in (1, 100):
            values = random_regret(latency[known], truth[known], tries)
            regret_of[f"random, best of {tries} trained"] = values
        for method, values in regret_of.items():
            row = {"device": device, "latency": kind, "method": method}
            rows.append(row | {"mean_pp": float(values.mean()), "worst_pp": float(values.max())})
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print the table of regrets."""
    if len(arguments) != 1:
        print("usage: python tools/regret.py TABLE.csv.gz", file=sys.stderr)
        return 2
    try:
        rows = study(*read_table(arguments[0], search_space("accel-nasbench")))
    except RooflineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("| device | latency limit | method | mean regret pp | worst pp |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['device']} | {row['latency']} | {row['method']} | {row['mean_pp']:.2f} | {row['worst_pp']:.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
