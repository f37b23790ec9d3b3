"""True regret: search over networks that somebody trained, and see how much accuracy the choice has lost.

``python tools/regret.py TABLE.csv.gz`` prints it; with ``--page`` it fills ``docs/compared.md`` instead, where searches
and proxies of the latency are set beside each other on the same table (`table_search`).

Under latency limits, each method picks the network of the table that it likes best among those the latency oracle
allows; the regret is the accuracy of the best allowed network less that of the pick. Surrogates are asked out of fold:
none has seen the row that it judges.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from table_search import BUDGETS, SEARCHES, Universe, available, in_space, in_table

from roofline.errors import RooflineError
from roofline.numeric import Array
from roofline.search.accuracy import pairwise, structural
from roofline.search.accuracy.adapters import TARGET, read_table
from roofline.search.accuracy.linear import folds, out_of_fold, ridge
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space
from roofline.stats import kendall_tau

PAGE = Path(__file__).resolve().parent.parent / "docs" / "compared.md"
FILLED = re.compile(r"(<!-- (\w+): [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
#: shares of the networks that the limits of the page's searches let through
SHARES = (0.02, 0.05, 0.1, 0.25, 0.5)
#: how the table was measured, where it is not by all of the device
MEASURED_ON: Mapping[str, dict[str, Any]] = {"tpu-v2": {"cores": 1, "runtime": "pytorch_xla"}, "a100-40gb": {}}
#: runs of each search, and evaluations of the long one that looks for the best of a whole space
RUNS, LONG = 10, 1_000_000

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


def proxies(
    latency_s: Array, accuracy: Array, proxy: Array, quantiles: Sequence[float] = QUANTILES
) -> dict[str, float]:
    """Return what a proxy of the latency costs under limits on the latency itself.

    A limit lets a share of the networks through. *Taken at its word*, the proxy lets the same share through, where it
    is smallest, and the most accurate of these is taken: how often that breaks the limit, and by how much [%] where it
    does. *With hindsight*, the proxy lets as many through as leave the pick within the limit: what the pick has lost
    [percentage points] beside the most accurate network within the limit.
    """
    order = np.argsort(proxy, kind="stable")
    lead = np.maximum.accumulate(accuracy[order])
    picks = order[np.searchsorted(lead, lead, side="left")]  # the most accurate of the first 1, 2, ... networks
    broken, over, lost = [], [], []
    for share in quantiles:
        limit = float(np.quantile(latency_s, share))
        taken = latency_s[picks[max(int(share * len(order)), 1) - 1]]
        broken.append(taken > limit)
        over += [100.0 * (taken / limit - 1.0)] if taken > limit else []
        inside = latency_s[picks] <= limit
        best = accuracy[picks[inside]].max() if inside.any() else accuracy[latency_s <= limit].min()
        lost.append(accuracy[latency_s <= limit].max() - best)
    words = {"broken": float(np.mean(broken)), "over": float(np.mean(over)) if over else 0.0}
    return words | {"lost": float(np.mean(lost)), "most_lost": float(np.max(lost))}


# the page ------------------------------------------------------------------------


def of_proxies(genomes: Any, columns: Mapping[str, Array]) -> str:
    """Return what the oracle, MACs and parameters cost in place of measured latencies, as a table."""
    space, lines = search_space("accel-nasbench"), []
    for column, device in MEASURED.items():
        known = np.isfinite(columns[column])
        measured, truth, seen = 1.0 / columns[column][known], columns[TARGET][known], genomes[known]
        oracle = Oracle(space, device, batch=DEVICES[device], **MEASURED_ON[device])
        ways = {"the oracle": oracle.latency_s(seen)[:, 0]}
        ways |= {n: oracle.counts(seen, (k,))[k] for n, k in (("MACs", "macs"), ("parameters", "params"))}
        for name, proxy in ways.items():
            cost = proxies(measured, truth, proxy)
            lines.append(
                f"| {device} | {name} | {kendall_tau(proxy, measured):.3f} | {100 * cost['broken']:.0f} % |"
                f" {cost['over']:.1f} % | {cost['lost']:.2f} ({cost['most_lost']:.2f}) |"
            )
    head = "| device | proxy | Kendall tau | limits broken | by | lost with hindsight, pp (most) |"
    return "\n".join([head, "|---|---|---:|---:|---:|---:|", *lines])


def of_searches(found: Mapping[str, Mapping[str, Array]]) -> str:
    """Return device -> search -> regrets (seeds, limits, budgets) as a table."""
    budgets = " | ".join(f"{budget:,}" for budget in BUDGETS)
    lines = [f"| device | search | {budgets} |", "|---|---|" + "---:|" * len(BUDGETS)]
    for device, searches in found.items():
        for name, regret in searches.items():
            mean, apart = regret.mean(axis=(0, 1)), regret.mean(axis=1).std(axis=0)
            cells = " | ".join(f"{m:.2f} ± {a:.2f}" for m, a in zip(mean, apart, strict=True))
            lines.append(f"| {device} | {name} | {cells} |")
    return "\n".join(lines)


def parts(genomes: Any, columns: Mapping[str, Array]) -> dict[str, Callable[[], str]]:
    """Return what writes each filled part of the page."""
    space = search_space("accel-nasbench")

    def table() -> str:
        found = {}
        for column, device in MEASURED.items():
            known = np.isfinite(columns[column])
            universe = Universe(space, genomes[known], columns[TARGET][known], 1.0 / columns[column][known])
            found[f"{device}, {len(universe):,} networks"] = in_table(universe, SHARES, seeds=RUNS)
        return of_searches(found)

    def whole() -> str:
        found = {}
        for device in MEASURED.values():
            oracle = Oracle(space, device, batch=DEVICES[device], **MEASURED_ON[device])
            found[device] = in_space(oracle, pairwise.PairwiseRidge(), SHARES, seeds=RUNS, long=LONG)
        return of_searches(found)

    return {"table": table, "space": whole, "proxies": lambda: of_proxies(genomes, columns)}


def main(arguments: Sequence[str]) -> int:
    """Print the table of regrets, or fill the page."""
    names = [word for word in arguments if word != "--page"]
    if len(names) != 1:
        print("usage: python tools/regret.py TABLE.csv.gz [--page]", file=sys.stderr)
        return 2
    try:
        genomes, columns = read_table(names[0], search_space("accel-nasbench"))
        if "--page" in arguments:
            make = parts(genomes, columns)
            text = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(FILLED.sub(lambda m: f"{m[1]}\n{make[m[2]]()}\n\n{m[3]}", text), encoding="utf-8")
            if len(available()) < len(SEARCHES):
                print("NSGA-II is left out: it needs pymoo, pip install 'roofline[search]'", file=sys.stderr)
            return 0
        rows = study(genomes, columns)
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
