"""The published headline numbers of EfficientNet-X beside ours: what each was predicted under, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.names import family
from roofline.report.ratios import MeanRatio, mean_ratio
from roofline.stats import geometric_mean
from roofline.studies.compiled import compiled, mean_estimates
from roofline.studies.gap import FlopsGap, flops_gap, proxy_bounds
from roofline.studies.published import allowed_batches, at_batches, migration_study, published
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

    from roofline.report.report import Report

    Pairs = Sequence[tuple[Report, Report]]

TOPICS = ("gap", "migration")
#: what a figure may be off before what it would take is said
CLOSE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Headlines(Shown):
    """What `headlines` found. Shows itself as its `table`.

    Attributes
    ----------
    table
        One row per figure: topic, figure, conditions, published, predicted; low and high, between which a measurement
        is expected; facts_low and facts_high, between which unverified facts of the devices leave the prediction, and
        decided_by, the one that decides; compiler_low and compiler_high, what estimates of XLA's own compiler say of
        the networks in compiled_of; remark; would_take, what would have to be wrong where the published figure lies
        outside of what unverified facts leave. NaN, or empty, where there is nothing to say.
    """

    table: pd.DataFrame

    @property
    def shown(self) -> pd.DataFrame:
        """`table`, without what all rows share."""
        return self.table.drop(columns="topic")

    @property
    def finding(self) -> str:
        """Each figure in a line or two, as a page says it."""
        return "\n".join(_said(row) for row in self.table.to_dict("records"))


def headlines(topic: str | None = None) -> Headlines:
    """Return published headline figures beside predictions.

    Parameters
    ----------
    topic
        ``"gap"``: EfficientNet-X over EfficientNet, and the error of FLOPs as a proxy; ``"migration"``: TPU v2 to v4i.
        Both by default.

    Returns
    -------
    Headlines
        `table` with a row per figure.

    Raises
    ------
    InputError
        Another topic.
    """
    import pandas as pd

    if topic is not None and topic not in TOPICS:
        raise InputError(f"no headlines on {topic!r}; allowed: {', '.join(map(repr, TOPICS))}")
    rows = []
    if topic in (None, "gap"):
        rows += _gap_rows()
    if topic in (None, "migration"):
        rows += _migration_rows()
    return Headlines(table=pd.DataFrame(rows))


# EfficientNet-X over EfficientNet ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Families:
    """Both families on one device, size by size."""

    device: str
    gap: FlopsGap

    @cached_property
    def pairs(self) -> dict[str, tuple[Report, Report]]:
        """(EfficientNet, EfficientNet-X) of each size."""
        slow, fast = published().families
        runs = {report.model: report for report in self.gap.reports}
        return {size: (runs[f"{slow}-{size}"], runs[f"{fast}-{size}"]) for size in published().sizes}

    @property
    def conditions(self) -> str:
        run = self.gap.reports[0]
        return f"{run.runtime}, {run.dtype}, batch {run.batch}"


def _gap_rows() -> list[dict[str, Any]]:
    data = published()
    models = [f"{name}-{size}" for name in data.families for size in data.sizes]
    batch = data.latency.batch
    found = [
        _Families(device=device, gap=flops_gap(models, [device], batch=batch, runtime=how.runtime, dtype=how.dtype))
        for device, how in data.latency.conditions.items()
    ]
    rows = [_speedup_row(families) for families in found]
    flops = geometric_mean([fast.flops / slow.flops for slow, fast in found[0].pairs.values()])
    rows.append(_row("gap", "mean ratio of their FLOPs", "B0 to B7, counted", data.speedup.flops_ratio, flops))
    for families in found:
        rows += _proxy_rows(families)
    return rows


def _speedup_row(families: _Families) -> dict[str, Any]:
    data, device, pairs = published(), families.device, families.pairs
    mean = mean_ratio(list(pairs.values()))
    told = compiled().speedup.get(device, {})
    known = {
        size: data.latency.ms[slow.model][device] / data.latency.ms[fast.model][device]
        for size, (slow, fast) in pairs.items()
        if all(device in data.latency.ms.get(run.model, {}) for run in (slow, fast))
    }
    ours = geometric_mean([pairs[size][0].latency_s / pairs[size][1].latency_s for size in known])
    remark = f"over {_sizes(known)} alone, whose latencies are recalled: {ours:.2f} predicted, "
    remark += f"{geometric_mean(list(known.values())):.2f} recalled"
    said = data.speedup.mean[device]
    return _row(
        "gap",
        f"mean speed-up of EfficientNet-X over EfficientNet on {device}",
        f"B0 to B7, {families.conditions}",
        said,
        mean.ratio,
        mean,
        compiler=mean_estimates(told.values()),
        compiled_of=_sizes(told),
        remark=remark,
        would_take=_would_take(list(pairs.values()), mean, said),
    )


def _proxy_rows(families: _Families) -> list[dict[str, Any]]:
    """Return how wrong FLOPs are at one size, and over all of both families, and what lies between the two."""
    device, pairs, data = families.device, families.pairs, published()

    def gap(slow: Report, fast: Report) -> float:
        """Return FLOP/s of the second over the first: the factor by which FLOPs are wrong."""
        return fast.achieved_flops_per_s / slow.achieved_flops_per_s

    size = max(pairs, key=lambda s: gap(*pairs[s]))
    every = [run for pair in pairs.values() for run in pair]
    worst = max(combinations(every, 2), key=lambda pair: abs(math.log(gap(*pair))))
    slow, fast = worst if gap(*worst) >= 1.0 else worst[::-1]
    told = {
        s: {name: 100.0 * (ratio * pairs[s][1].flops / pairs[s][0].flops - 1.0) for name, ratio in found.items()}
        for s, found in compiled().speedup.get(device, {}).items()
    }
    at_one = told.get(size, {})
    start = next(size for size, pair in pairs.items() if slow in pair)
    between, grown = gap(*pairs[start]), gap(slow, fast) / gap(*pairs[start])
    figure = f"worst error of FLOPs as a proxy on {device} [%]"
    spread = f"from {min(gap(*p) for p in pairs.values()):.2f} to {max(gap(*p) for p in pairs.values()):.2f}"
    return [
        _row(
            "gap",
            figure,
            f"the same member of both families ({size.upper()} is the worst), {families.conditions}",
            data.proxy.error_percent,
            proxy_bounds(*pairs[size])["error"],
            _percent(*pairs[size]),
            compiler=at_one,
            compiled_of=size.upper() if at_one else "",
            remark=f"FLOP/s of EfficientNet-X over those of EfficientNet: {spread}, member by member",
        ),
        _row(
            "gap",
            figure,
            f"any two of both families ({slow.model} / {fast.model}), {families.conditions}",
            data.proxy.error_percent,
            proxy_bounds(slow, fast)["error"],
            _percent(slow, fast),
            remark=f"a factor of {between:.2f} between the families at {start.upper()}, of {grown:.2f} from there on: "
            f"{slow.model} does {slow.achieved_flops_per_s / 1e12:.3g} TFLOP/s, {fast.model} "
            f"{fast.achieved_flops_per_s / 1e12:.3g}",
        ),
    ]


def _percent(over: Report, under: Report) -> MeanRatio:
    found = proxy_bounds(over, under)
    return MeanRatio(ratio=found.pop("error"), **found)


# from TPU v2 to TPU v4i -----------------------------------------------------------------------------


def _migration_rows() -> list[dict[str, Any]]:
    """The source gives no batch size: the one that a limit of the latency allows, and a fixed one."""
    data, study = published(), migration_study()
    table, said, fixed = study.table, data.migration, data.latency.batch
    old, new = load_device(said.before), load_device(said.after)
    peaks = [device.peak_flops_per_s(device.default_dtype) for device in (old, new)]
    rows = [_row("migration", "ratio of the matrix peaks", "of the chips", said.peak_ratio, peaks[1] / peaks[0])]
    chosen = {
        f"the largest batch within {said.limit_ms:.0f} ms on {new.name}": at_batches(table, allowed_batches(table)),
        f"batch {fixed}": table[table["batch"] == fixed],
    }
    for how, runs in chosen.items():
        for name, group in runs.groupby("family", sort=False):
            pairs = [study.runs[i] for i in group.index]
            mean = mean_ratio(pairs)
            told = {
                f"{before.model} at {before.batch}": ratio
                for before, _ in pairs
                if (ratio := compiled().migration.get(before.model, {}).get(before.batch))
            }
            rows.append(
                _row(
                    "migration",
                    f"mean speed-up of {data.families[str(name)]} from {old.name} to {new.name}",
                    f"B0 to B7 per chip, {how}",
                    said.speedup[str(name)],
                    mean.ratio,
                    mean,
                    compiler=mean_estimates(told.values()),
                    compiled_of=", ".join(told),
                    would_take=_would_take(pairs, mean, said.speedup[str(name)]),
                )
            )
    return rows


def _would_take(pairs: Pairs, mean: MeanRatio, said: float) -> str:
    """Return what would have to be wrong for a published ratio outside the range to hold; empty where it is inside.

    The second run of each pair is the one that is faster than the first by so much less, or more, than published: the
    kernels that most of its time goes into would have to take another time than the model gives them.
    """
    if mean.facts_low * (1.0 - CLOSE) <= said <= mean.facts_high * (1.0 + CLOSE):
        return ""
    under = [run for _, run in pairs]
    shares = {bound: sum(run.bound_shares[bound] for run in under) / len(under) for bound in under[0].bound_shares}
    bound = max(shares, key=lambda name: shares[name])
    part = 1.0 - (1.0 - mean.ratio / said) / shares[bound]
    who = f"{published().families[family(under[0].model)[0]]} on {under[0].device}"
    share = f"kernels bound by {bound}, {shares[bound]:.0%} of the time of {who},"
    took = f"took {part:.2f} of what the model gives them" if part > 0 else "took no time, and others less as well"
    return f"{said:g} lies outside and would hold if {share} {took}"


# rows ------------------------------------------------------------------------------------------------


def _sizes(known: Mapping[str, Any]) -> str:
    return ", ".join(size.upper() for size in known)


def _row(
    topic: str,
    figure: str,
    conditions: str,
    said: float,
    found: float,
    sure: MeanRatio | None = None,
    *,
    compiler: Mapping[str, float] | None = None,
    compiled_of: str = "",
    remark: str = "",
    would_take: str = "",
) -> dict[str, Any]:
    told = list((compiler or {}).values())
    ends = {name: getattr(sure, name) if sure else math.nan for name in ("low", "high", "facts_low", "facts_high")}
    return (
        {"topic": topic, "figure": figure, "conditions": conditions, "published": said, "predicted": found}
        | ends
        | {"decided_by": sure.decided_by if sure else ""}
        | {"compiler_low": min(told, default=math.nan), "compiler_high": max(told, default=math.nan)}
        | {"compiled_of": compiled_of if told else "", "remark": remark}
        | {"would_take": would_take}
    )


def _said(row: Mapping[Any, Any]) -> str:
    text = f"{row['figure']} ({row['conditions']}): published {row['published']:g}, predicted {row['predicted']:.3g}"
    if not math.isnan(row["low"]):
        text += f", expected within {row['low']:.3g} to {row['high']:.3g}"
    if row["decided_by"]:
        text += f", unverified facts {row['facts_low']:.3g} to {row['facts_high']:.3g} ({row['decided_by']})"
    if row["compiled_of"]:
        text += f", XLA's compiler {row['compiler_low']:.3g} to {row['compiler_high']:.3g} ({row['compiled_of']})"
    return ". ".join(filter(None, [text, row["remark"], row["would_take"]])) + "."
