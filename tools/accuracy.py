"""Write ``docs/accuracy.md``: ``python tools/accuracy.py MEASUREMENTS [--cache FOLDER]``, or ``make accuracy``.

MEASUREMENTS is a folder with the original files; those that are missing are named on the page. What is left out and
predicted follows the commands of ``docs/calibration.md``.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from roofline.calibration.ablate import Ablation, ablate
from roofline.calibration.calibrate import Calibration, calibrate
from roofline.calibration.intervals import DEVICES, FAMILIES, runtime_interval
from roofline.calibration.measured import Dataset, Measurement, Options, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.predict import Prepared, prepare
from roofline.calibration.ratios import LeftOut, by_kind, coverages, group_widths, left_out_networks
from roofline.calibration.sets import witnesses
from roofline.calibration.validate import Comparison, compare
from roofline.errors import InputError
from roofline.report.kernel_interval import COVERAGE
from roofline.report.ratios import KINDS
from roofline.stats import Agreement
from roofline.version import __version__

ROOT = Path(__file__).resolve().parent.parent
PAGE, RECIPES = ROOT / "docs" / "accuracy.md", ROOT / "docs" / "calibration.md"
#: sections of the page that other tools write
HEADS = {"libraries": "## Language models", "witness": "## Against XLA's own compiler"}
#: tells how far it is
say = partial(print, file=sys.stderr, flush=True)
#: validated, though no constant is fitted to them
ALSO = (
    *(f"$M/timm/benchmark-train-amp-{layout}-pt112-cu113-rtx3090.csv" for layout in ("nhwc", "nchw")),
    *("$M/timm/benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv", "$M/v100_conv.csv", "$M/gpu_fp32_conv2d.csv.gz"),
    *("$M/gpu_fp32_matmul.csv.gz", "$M/gpu_fp32_vector_ops.csv.gz", "$M/a100_fp16_ops.csv"),
    *("$M/tpu_gemm_results_v6e.csv", "$M/training_v100_tpuv3.csv"),
)
#: rows of a file of networks that are traced, and of one of single ops, where a file is longer
NETWORK_ROWS, OP_ROWS = 700, 3000
#: rows per set of the ablation
ABLATION_ROWS = 200
#: what is ablated: title -> words that tell one setup
ABLATED = {
    "timm, 3090 eager": {"rtx-3090", "nhwc"},
    "timm, 3090 eager, nchw": {"rtx-3090", "nchw"},
    "timm, 4090 compiled": {"rtx-4090", "pytorch_compile"},
    "NASBench, A100": {"accel_nasbench.csv.gz", "a100-40gb"},
    "NASBench, TPU v2": {"accel_nasbench.csv.gz", "tpu-v2"},
    "paper, TPU v3": {"published.toml", "tpu-v3"},
    "convolutions, fp32, V100": {"gpu_fp32_conv2d.csv.gz", "v100"},
    "GEMM, H100": {"h100_matmul.csv.gz", "bf16"},
    "GEMM, TPU v4": {"tpu_v4_matmul.csv"},
}
#: families of a file that are listed one by one
MOST_FAMILIES = 6
#: how much an effect must move the mean error or the order to be worth a line
WORTH_A_LINE = 0.002


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A command of the calibration page."""

    runtime: str
    files: tuple[str, ...]
    constants: tuple[str, ...] | None
    limit: int | None
    folds: tuple[str, ...]
    witnesses: tuple[str, ...]
    text: str


def recipes() -> Iterator[Recipe]:
    """Yield the calibrations that the page documents."""
    for line in re.findall(r"^roofline calibrate .*$", RECIPES.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line)[2:]
        first = next(i for i, word in enumerate(words) if word.startswith("--"))
        options = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
        yield Recipe(
            runtime=options["--runtime"],
            files=tuple(words[:first]),
            constants=tuple(options["--constants"].split(",")) if "--constants" in options else None,
            limit=int(options["--limit"]) if "--limit" in options else None,
            folds=tuple(options["--leave-out"].split(",")),
            witnesses=tuple(options["--witness"].split(",")) if "--witness" in options else (),
            text=line,
        )


def place(name: str, folder: Path) -> Path:
    """Return where a file of a recipe lies."""
    return folder / name.removeprefix("$M/") if name.startswith("$M/") else ROOT / name


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table; the first `words` columns are text."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def percent(share: float) -> str:
    """Return a share with one digit."""
    return f"{100 * share:.1f} %"


def rank(value: float) -> str:
    """Return a rank correlation, a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def both(a: Agreement) -> str:
    """Return the mean error and the order."""
    return f"{percent(a.mape)}, {rank(a.tau)}"


def cells(a: Agreement) -> list[str]:
    """Return the statistics of a row."""
    errors = [percent(a.median), percent(a.mape), percent(a.scaled), f"{100 * a.bias:+.1f} %"]
    return [f"{a.count:,}", *errors, rank(a.tau), percent(a.within_10), percent(a.within_20)]


COLUMNS = ("rows", "median error", "MAPE", "MAPE scaled", "bias", "tau", "within 10 %", "within 20 %")


def shipped(comparisons: Sequence[Comparison]) -> str:
    """Return the errors under the shipped constants, by file and setup, with the baselines."""
    rows, bars = [], []
    names = ("MACs", "activations", "MACs + activations", "plain roofline")
    for c in comparisons:
        what, found = [c.dataset, c.device, c.runtime, c.dtype], c.baseline_agreement()
        rows.append([*what, *cells(c.agreement())])
        bars.append([*what, both(c.agreement()), *(both(found[name]) if name in found else "–" for name in names)])
    head = ("file", "device", "runtime", "precision")
    calls = sorted((name, str(call), percent(c.by_host(name))) for c in comparisons for name, call in c.calls.items())
    parts = [
        "## Shipped constants",
        "Part of these rows took part in fitting the constants: see the next section for what did not.",
        table((*head, *COLUMNS), rows, 4),
        "### Beside the baselines: MAPE, tau",
        "Factors of the first three baselines are fitted to the very rows of the line.",
        table((*head, "roofline", *names), bars, 4),
        "### What the measuring programs add, found from the rows",
        "Measured = max(host, offset + device). Rows that the host decides say nothing about the device.",
        table(("rows", "added", "decided by the host"), calls, 2),
        families(comparisons),
    ]
    return "\n\n".join(parts)


def families(comparisons: Sequence[Comparison]) -> str:
    """Return the errors of each family of networks, and of rows apart."""
    rows = []
    for c in comparisons:
        found = c.families()
        if 1 < len(found) <= MOST_FAMILIES:
            rows += [[c.dataset, c.device, c.runtime, name, *cells(a)] for name, a in found.items()]
    return "### By family\n\n" + table(("file", "device", "runtime", "family", *COLUMNS), rows, 4)


def left_out(found: Calibration, seen: tuple[Prepared, list[LeftOut]] | None = None) -> str:
    """Return what fits say of rows they had not seen; `seen` are networks in no fit."""
    rows = [[f"in the fit: {name}", *cells(a)] for name, a in found.after.items()]
    rows += [[f"{h.by} {h.name}", *cells(h.agreement)] for h in found.held_out]
    values = ", ".join(
        f"{c.place} {found.fit.values[c.field] / c.si:.3g} (shipped {getattr(found.runtime, c.field) / c.si:.3g})"
        for c in found.constants
    )
    lines = [f"### {found.runtime.name}", table(("", *COLUMNS), rows), f"Fitted: {values}."]
    if found.fit.flat:
        named = "; ".join(f"{', '.join(f.constants)} ({f.effect:.1%})" for f in found.fit.flat)
        lines.append(f"Not determined by these rows (effect of the whole range on log time): {named}.")
    if found.fit.edges:
        lines.append(f"At the edge of the range: {', '.join(found.fit.edges)}.")
    try:
        width = runtime_interval(found, witnesses=seen)
    except InputError:
        return "\n\n".join(lines)
    if width.sets:
        rows = [
            [name, f"{s.rows:,}", f"±{np.expm1(s.half_width):.0%}", "–" if s.covered is None else f"{s.covered:.0%}"]
            for name, s in width.sets.items()
        ]
        head = ("set of networks", "rows", f"{width.coverage:.0%} within", "inside the width of the others")
        lines += [SETS.format(half_width=np.expm1(width.half_width)), table(head, rows)]
        return "\n\n".join(lines)
    device = f", on a new device ±{np.expm1(width.new_device):.0%}" if width.new_device else ""
    inside = f"; {width.covered:.1%} of {width.rows:,} networks lie inside" if width.covered is not None else ""
    lines.append(f"Interval at {width.coverage:.0%}: ±{np.expm1(width.half_width):.0%}{device}{inside}.")
    return "\n\n".join(lines)


def ratios(found: Sequence[Calibration]) -> str:
    """Return how far ratios of left-out networks are off, and whether pairs without a group cover those with it."""
    rows = []
    for calibration in found:
        for ways in (FAMILIES, DEVICES):
            for kind, pairs in by_kind(left_out_networks(calibration, ways)).items():
                width = max(group_widths(pairs, COVERAGE).values(), default=np.nan)
                scored = ", ".join(f"{name} {share:.0%}" for name, (share, _) in coverages(pairs, COVERAGE).items())
                count = f"{sum(len(p.errors) for p in pairs):,}"
                way = "a device" if ways == DEVICES else "a family"
                rows.append(
                    [calibration.runtime.name, KINDS[kind], way, count, f"±{np.expm1(width):.0%}", scored or "–"]
                )
    head = (
        "runtime",
        "pairs",
        "left out",
        "number",
        f"{COVERAGE:.0%} within",
        "inside, pairs with a group judged by the others",
    )
    return "\n\n".join(["## Intervals of ratios", RATIOS, table(head, rows, 3)])


def ablation(sets: dict[str, list[Ablation]]) -> str:
    """Return what each effect is worth on each set of rows."""
    names = list(dict.fromkeys(a.effect.name for found in sets.values() for a in found))
    rows = [["*everything in*", "", *(both(found[0].whole) for found in sets.values())]]
    for name in names:
        line, effect, worth = [], None, False
        for found in sets.values():
            a = next((x for x in found if x.effect.name == name), None)
            if a is None or not a.moved:
                line.append("–")
                continue
            effect = a.effect
            line.append(f"{percent(a.without.mape)} ({percent(a.without.scaled)}), {rank(a.without.tau)}")
            worth |= (
                abs(a.without.mape - a.whole.mape) > WORTH_A_LINE or abs(a.without.tau - a.whole.tau) > WORTH_A_LINE
            )
        if effect is not None and worth:
            rows.append([name, effect.without, *line])
    text = (
        "MAPE without the effect, in brackets after one factor has made up for what it can, and tau; a dash where no "
        "row feels the effect. Constants are not fitted again. Effects that move nothing are not listed."
    )
    return "## What each effect is worth\n\n" + text + "\n\n" + table(("effect", "without it", *sets), rows, 2)


def rejected(datasets: Sequence[Dataset], more: dict[str, Sequence[Any]]) -> str:
    """Return how many rows were left out, by reason."""
    rows = []
    for dataset in datasets:
        every = (*dataset.rejected, *more.get(dataset.name, ()))
        reasons = Counter(re.sub(r"[\d.]+ ?%?|'[^']*'", "…", r.reason) for r in every)
        rows += [[dataset.name, reason, f"{count:,}"] for reason, count in reasons.most_common()]
    return "## Rows left out\n\n" + table(("file", "reason", "rows"), rows, 2)


def page(folder: Path, graphs: GraphSource, only: Sequence[str] = ()) -> str:
    """Return the page; `only` names the runtimes to fit."""
    found = list(recipes())
    names = list(dict.fromkeys([*(name for recipe in found for name in recipe.files), *ALSO]))
    missing = [name for name in names if not place(name, folder).is_file()]
    paths = [place(name, folder) for name in names if name not in missing]
    datasets = [load(path, Options(limit=NETWORK_ROWS if path.parent.name == "timm" else OP_ROWS)) for path in paths]
    comparisons: list[Comparison] = []
    more: dict[str, Sequence[Any]] = {}
    for dataset in datasets:
        say(f"validating {dataset.name}")
        prepared = prepare(dataset.measurements, graphs=graphs)
        more[dataset.name] = prepared.rejected
        comparisons += compare(dataset, prepared)
    sections = [HEAD.format(version=__version__, date=datetime.date.today().isoformat()), shipped(comparisons)]
    sections[1:1] = ["Not here, and left out: " + ", ".join(missing) + "."] if missing else []
    sections.append("## Left out of the fit, then predicted\n\n" + LEFT_OUT)
    calibrations: list[Calibration] = []
    for recipe in found:
        if only and recipe.runtime not in only:
            continue
        say(f"fitting {recipe.runtime}")
        files = [place(name, folder) for name in recipe.files if name not in missing]
        fitted = calibrate(
            files, recipe.runtime, Options(limit=recipe.limit), names=recipe.constants, folds=recipe.folds,
            graphs=graphs, report=say,
        )  # fmt: skip
        beside = [path for name in recipe.witnesses if (path := place(name, folder)).is_file()]
        seen = witnesses(beside, fitted.runtime, graphs=graphs) if beside else None
        sections.append(left_out(fitted, seen))
        calibrations.append(fitted)
    sections.append(ratios(calibrations))
    say("ablation")
    sections.append(ablation({title: ablate(rows, graphs=graphs) for title, rows in ablation_sets(comparisons)}))
    sections.append(rejected(datasets, more))
    return "\n\n".join(sections) + "\n"


def ablation_sets(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, list[Measurement]]]:
    """Yield the setups that are ablated, with evenly spread rows."""
    for title, key in ABLATED.items():
        for c in comparisons:
            if key <= {c.dataset, c.device, c.runtime, c.dtype, c.layout}:
                rows = [m for m in c.measurements if m.apart is None]
                picked = np.linspace(0, len(rows) - 1, min(ABLATION_ROWS, len(rows))).round().astype(int)
                yield title, [rows[i] for i in picked]
                break


HEAD = """# Accuracy

<!-- written by `make accuracy MEASUREMENTS=...`; edit tools/accuracy.py, not this -->

roofline {version}, {date}. Predicted against measured, in files that others published
([formats, conventions and commands](calibration.md)). Error = predicted / measured - 1; *scaled*: after one
factor, the median ratio, has made up for what it can; tau is Kendall's."""

LEFT_OUT = (
    "Each line is predicted by a fit that did not see its rows, from the commands of [calibration](calibration.md). A "
    "family is left out on all devices, a device with all its rows, `largest` is the slowest fifth of each file."
)


def section_of(text: str, head: str) -> str:
    """Return a section of a page, from its head to before the next one of its level; nothing if it has none."""
    found = re.search(rf"^{re.escape(head)}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0].strip() if found else ""


def with_section(text: str, head: str, section: str) -> str:
    """Return a page with a section in place of the one under `head`, or at its end."""
    old = section_of(text, head)
    return text.replace(old, section) if old else f"{text.rstrip()}\n\n{section}\n"


SETS = (
    "Networks come from few places that have little in common, each a set; the interval, ±{half_width:.0%}, is that "
    "of the worst. With so few sets nothing can be promised of a new one: how much of each lies inside the width of "
    "the others says what such a promise would have been worth."
)

RATIOS = (
    "Pairs of the networks of the section above: what both predictions get wrong in the same way cancels in the ratio "
    "of the two latencies. A width is the quantile of the error of the ratio over the pairs of a group, of those the "
    "widest."
)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write docs/accuracy.md.")
    parser.add_argument("measurements", type=Path)
    parser.add_argument("--cache", type=Path, help="folder that keeps traced networks")
    parser.add_argument("--only", nargs="*", default=[], help="runtimes to fit")
    parser.add_argument("--output", type=Path, default=PAGE)
    arguments = parser.parse_args()
    if not (folder := arguments.measurements).is_dir():
        raise SystemExit(f"error: no folder {str(folder)!r}: make accuracy MEASUREMENTS=path/to/measurements")
    text, before = page(folder, GraphSource(arguments.cache), arguments.only), ""
    if arguments.output.is_file():
        before = arguments.output.read_text("utf-8")
    for head in HEADS.values():
        if section := section_of(before, head):
            text = with_section(text, head, section)
    arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
