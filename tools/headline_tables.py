"""Tables of the headline figures for the pages: `generate.py` puts them into the readme and ``docs/results.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from roofline.hardware.load import device as load_device
from roofline.report.ratios import mean_ratio
from roofline.stats import geometric_mean, spearman
from roofline.studies import published as figures
from roofline.studies.compiled import COMPARED, compiled, compiled_migrations, median_distance
from roofline.studies.headlines import headlines
from roofline.text import significant

NAMES = {"tpu-v2": "TPU v2", "tpu-v3": "TPU v3", "tpu-v4i": "TPU v4i", "v100": "V100"}

study = cache(figures.migration_study)


def table(head: Iterable[str], rows: Iterable[Iterable[str]], column: str = "---:|") -> str:
    """Return a Markdown table, numbers to the right."""
    titles = list(head)
    lines = ["| " + " | ".join(titles) + " |", "|---|" + column * (len(titles) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float, digits: int = 2) -> str:
    """Return a number, or a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:,.{digits}f}"


def migrations() -> Any:
    """Return a row per network and batch size of the published migration."""
    return study().table


def headlines_table() -> str:
    """Return the table of the readme: each headline figure, what it holds under, and how sure it is."""
    rows = headlines().table.to_dict("records")
    head = ("", "published", "predicted", "unverified facts", "expected", "XLA's compiler", "under")
    lines = [
        [
            row["figure"],
            f"{row['published']:g}",
            significant(row["predicted"]),
            *(between(row, f"{name}low", f"{name}high") for name in ("facts_", "", "compiler_")),
            row["conditions"],
        ]
        for row in rows
    ]
    remarks = [
        f"- {row['figure']}, {row['conditions']}: {row['remark']}." for row in rows if "outside" in row["remark"]
    ]
    told = "Published figures outside what unverified facts leave open, and what would have to be wrong:"
    return table(head, lines) + (f"\n\n{told}\n\n" + "\n".join(remarks) if remarks else "")


def between(row: dict[Any, Any], low: str, high: str) -> str:
    """Return the two ends of a range, a dash where there is none."""
    if np.isnan(row[low]):
        return "–"
    ends = [significant(row[name]) for name in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def migration_section(title: Callable[[str], str]) -> str:
    """Return what moving from TPU v2 to TPU v4i gains: over batches, beside the compiler, and at batches by a rule."""
    found, said, names = migrations(), figures.published().migration, figures.published().families
    batches = figures.allowed_batches(found)
    chosen: Any = figures.at_batches(found, batches)

    def means(rows: Any) -> list[str]:
        return [number(geometric_mean(rows.loc[rows["family"] == f, "speedup"])) for f in names]

    means_of = [f"{name}, geometric mean" for name in names.values()]
    variants = [["predicted", *means(chosen)]]
    for what, device in figures.migration_variants().items():
        variants.append([what, *means(figures.at_batches(figures.migrations(after=device), batches))])
    each = [
        [title(str(r.model)), f"{r.batch}", number(r.before_ms), number(r.after_ms), number(r.speedup), facts(r)]
        for r in chosen.set_index("model", drop=False).loc[list(batches)].itertuples()
    ]
    holds = ", ".join(map(str, figures.holding_batches(found))) or "none"
    tight = [title(str(m)) for m in found.loc[~found["fits"], "model"].unique()]
    old, new = (NAMES[d] for d in (said.before, said.after))
    limit = f"the largest power of two that {new} answers in less than {said.limit_ms:.0f} ms (source below)"
    return (
        f"## From {old} to {new}, per chip, runtime `xla`, bf16\n\n"
        f"The source gives neither batch size nor compiler. Published (blog): {published_gains()}; the peak grows "
        f"×{said.peak_ratio:.0f}. *Range*: what facts that nobody has verified leave open, by simulating again at "
        f"their ends; most by {deciding(found)}. *Compiler*: estimates of XLA's own compiler of 2026, no measurements: "
        f"{'; '.join(f'*{name}*, {what}' for name, what in compiled().estimates.items())}.\n\n"
        f"{over_batches()}\n\n"
        f"Both means within {figures.HOLDS:.0%} of the published ones at batch: {holds}. At batch 1 a core of {old} is "
        f"idle. {what_decides(chosen)}\n\n"
        f"{beside_compiler(title)}\n\n"
        f"### Each network at {limit}\n\n"
        f"{table(('model', 'images', f'{old} ms', f'{new} ms', 'speed-up', 'range'), each)}\n\n"
        f"The same with another {new}:\n\n{table(('', *means_of), variants)}\n"
        + (f"\nDoes not fit into memory at the largest batches: {', '.join(tight)}.\n" if tight else "")
    )


def published_gains() -> str:
    """Return the published speed-ups in words."""
    said, names = figures.published().migration, figures.published().families
    return ", ".join(f"{names[family]} {gain:.1f}" for family, gain in said.speedup.items())


def facts(row: Any) -> str:
    """Return between what unverified facts leave a speed-up."""
    ends = [number(end) for end in (row.facts_low, row.facts_high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def deciding(found: Any) -> str:
    """Return the facts that decide a range, the most frequent first."""
    named = found.loc[found["decided_by"] != "", "decided_by"].value_counts()
    return " and ".join(f"`{fact}`" for fact in named.index) or "none worth a word"


def over_batches() -> str:
    """Return the gains of each family at each batch size, with the range of each mean."""
    found, names = study(), figures.published().families
    lines = []
    for batch, rows in found.table.groupby("batch"):
        line = [f"{batch}"]
        for family in names:
            mean = mean_ratio([found.runs[i] for i in rows.index[rows["family"] == family]])
            line += [number(mean.ratio), f"{number(mean.facts_low)} to {number(mean.facts_high)}"]
        lines.append(line)
    said = figures.published().migration.speedup
    lines.append(["published", *(cell for family in names for cell in (number(said[family]), ""))])
    head = [cell for name in names.values() for cell in (f"{name}, geometric mean", "range")]
    return table(("images per chip", *head), lines)


def beside_compiler(title: Callable[[str], str]) -> str:
    """Return predictions beside the compiler's estimates, network by network, and how well the two agree."""
    found: Any = compiled_migrations()
    names = list(compiled().estimates)
    lines = [
        [
            title(str(r.model)),
            f"{r.batch}",
            number(r.predicted),
            facts(r),
            *(number(getattr(r, name)) for name in names),
        ]
        for r in found.itertuples()
    ]
    order = spearman(found["predicted"], found[COMPARED])
    told = (
        f"Rank correlation of the prediction with *{COMPARED}*: {order:.2f}; median distance "
        f"{median_distance(found):.0%}. By the compiler, B0 and X-B0 gain about what is published at batch: "
        f"{', '.join(map(str, compiler_holds())) or 'none'}."
    )
    return (
        table(("model", "images per chip", "predicted", "range", *(f"compiler, {name}" for name in names)), lines)
        + f"\n\n{told}"
    )


def compiler_holds() -> list[int]:
    """Return the batch sizes at which an estimate is near the published gain in the smallest member of each family."""
    said, told = figures.published().migration.speedup, compiled().migration
    smallest = [told[f"{family}-{figures.published().sizes[0]}"] for family in said]
    return [
        batch
        for batch in sorted(set.intersection(*(set(batches) for batches in smallest)))
        if any(
            all(
                abs(batches[batch][name] / gain - 1.0) <= figures.HOLDS
                for batches, gain in zip(smallest, said.values(), strict=True)
            )
            for name in compiled().estimates
        )
    ]


def what_decides(chosen: Any) -> str:
    """Return one sentence on what decides the gain: what binds each family on the new chip, and how that grew."""
    said, names = figures.published().migration, figures.published().families
    old, new = load_device(said.before), load_device(said.after)
    grown = {
        "matrix": ("matrix peak", new.peak_flops_per_s("bf16") / old.peak_flops_per_s("bf16")),
        "vector": ("vector rate", new.vector_simple_ops_per_s / old.vector_simple_ops_per_s),
        "memory": ("HBM bandwidth", new.main_memory.bandwidth_bytes_per_s / old.main_memory.bandwidth_bytes_per_s),
    }
    runs, parts = study().runs, []
    for family, name in names.items():
        after = [runs[i][1] for i in chosen.index[chosen["family"] == family]]
        shares = {bound: float(np.mean([run.bound_shares[bound] for run in after])) for bound in grown}
        ranked = sorted(shares, key=lambda bound: -shares[bound])[:2]
        parts.append(f"{name} there by " + " and ".join(f"{bound} for {shares[bound]:.0%}" for bound in ranked))
    rates = ", ".join(f"{what} ×{ratio:.2f}" for what, ratio in grown.values())
    return (
        f"What decides is which unit binds on the new chip ({'; '.join(parts)} of the time) and how much more of it "
        f"there is: {rates}."
    )
