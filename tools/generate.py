"""Write what the pages show of the simulator: ``python tools/generate.py``.

It writes ``docs/results.md``, ``docs/roofline.png``, the tables of `TABLES` where pages have a place for them, and the
output of commands in ``README.md`` and `PAGES` (a ``text`` block behind a ``python`` or ``sh`` block). Run it when a
number of the simulator moves.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from headline_tables import NAMES, headlines_table, migration_section, migrations, number, table

from roofline.hardware import schema
from roofline.quantity import UNITS, SpecFile
from roofline.report.run import simulate
from roofline.software.constant import Constant, constants_of
from roofline.software.libraries.library import KINDS
from roofline.software.spec import CONSTANTS
from roofline.stats import geometric_mean
from roofline.studies import published as figures
from roofline.studies.compiled import compiled

ROOT = Path(__file__).resolve().parent.parent
README, RESULTS, PICTURE = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "roofline.png"
WATERFALL = ROOT / "docs" / "waterfall.png"
#: pages whose commands are shown with what they print
PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "gap-and-migration",
        "explain",
        "what-if",
        "adding-a-runtime",
        "adding-a-library",
        "adding-a-device",
    )
]

#: (language, text) of a fenced block, and of a ``text`` block right behind it
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
#: the place of a table, which says what it shows
PLACE = re.compile(r"(<!-- ([\w ]+): [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
#: what a device's file consists of
DEVICE_TABLES: dict[str, type[SpecFile]] = {
    "the file": schema.DeviceFile,
    "`[chip]`": schema.ChipTable,
    "`[matrix]`": schema.MatrixTable,
    "a line of `[matrix.rates]`": schema.RateTable,
    "`[vector]`": schema.VectorTable,
    "a `[[memory]]`": schema.MemoryTable,
    "`[runtime.NAME]`": schema.OverrideTable,
}
#: columns of the terminal that commands print to
WIDTH = 110
#: a prediction further off is called a miss
MISS = 0.10

latencies = cache(figures.latencies)


def title(model: str) -> str:
    """Return ``EfficientNet-X B0`` for ``efficientnet-x-b0``."""
    family, size = model.rsplit("-", 1)
    return f"{figures.published().families[family]} {size.upper()}"


# the page of results ----------------------------------------------------------


def results() -> str:
    """Return ``docs/results.md``."""
    parts = [
        HEAD,
        misses_section(),
        *(latency_section(device) for device in figures.published().latency.conditions),
        speedup_section(),
    ]
    parts += [migration_section(title), intensity_section(), sources_section()]
    return "\n".join(parts)


HEAD = """# Predictions beside published figures

<!-- written by `python tools/generate.py`; edit that, not this -->

Ratio = predicted / published. Published figures marked *recalled* were remembered, not read again: take them as ±10 %
at best. Of `xla_tpu`, one constant (the share of vector slots) is fitted to the TPU v3 latencies below, and the rate of
transcendentals is chosen by them: without them that table is off by ten per cent ([calibration](calibration.md)). No
V100 latency below took part in a fit, nor did any speed-up between generations; what every constant rests on stands in
`runtimes/*.toml`. What is not modelled is listed in [the cost model](cost-model.md).
"""


def misses_section() -> str:
    """Return what is more than `MISS` off, family by family."""
    lines = [
        f"- {what}: {span(low, high)} predicted, {said:.1f} published, off by {error}"
        for what, said, low, high, error in summary()
        if max(abs(low / said - 1), abs(high / said - 1)) > MISS
    ]
    return f"## What is more than {MISS:.0%} off\n\n" + "\n".join(lines or ["Nothing."]) + "\n"


def summary() -> list[tuple[str, float, float, float, str]]:
    """Return (what, published, lowest and highest prediction, error) of all that is published, by family."""
    data, pairs, moves = figures.published(), figures.speedups(latencies()), migrations()
    moves = figures.at_batches(moves, figures.allowed_batches(moves))
    found = []
    for device in data.latency.conditions:
        for family, name in data.families.items():
            rows = latencies()[(latencies()["device"] == device) & (latencies()["family"] == family)]
            what = f"latency of {name} on {NAMES[device]} relative to the published one, batch {data.latency.batch}"
            found.append((what, 1.0, float(rows["ratio"].min()), float(rows["ratio"].max())))
    for device, said in data.speedup.mean.items():
        gain = geometric_mean(pairs.loc[pairs["device"] == device, "predicted"])
        found.append((f"mean speed-up of EfficientNet-X over EfficientNet on {NAMES[device]}", said, gain, gain))
    for family, said in data.migration.speedup.items():
        gain = geometric_mean(moves.loc[moves["family"] == family, "speedup"])
        what = f"mean speed-up of {data.families[family]} from TPU v2 to TPU v4i, batch by a limit of 10 ms"
        found.append((what, said, gain, gain))
    return [(what, said, low, high, change(low / said, high / said)) for what, said, low, high in found]


def change(low: float, high: float) -> str:
    """Return ratios as signed differences in per cent."""
    errors = [f"{100 * (ratio - 1):+.0f} %" for ratio in (low, high)]
    return errors[0] if low == high else " to ".join(errors)


def span(low: float, high: float) -> str:
    """Return a number, or the two ends of a range."""
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def latency_section(device: str) -> str:
    """Return the latencies on one device, with what is off."""
    rows: Any = latencies()[latencies()["device"] == device]
    first = rows.iloc[0]
    known = rows.dropna(subset=["ratio"])
    lines = [
        [title(r.model), number(r.published_ms), number(r.predicted_ms), number(r.ratio), str(r.bound)]
        for r in rows.itertuples()
    ]
    body = table(("model", "published ms", "predicted ms", "ratio", "predicted bound"), lines)
    return (
        f"## {NAMES[device]}, runtime `{first['runtime']}`, {first['dtype']}, batch {first['batch']}, whole chip\n\n"
        f"{body}\n\n{spread(known)}\n"
    )


def families_of(rows: Any) -> Iterator[tuple[str, Any]]:
    """Yield the rows of each family."""
    return ((str(name), group) for name, group in rows.groupby("family"))


def spread(known: Any) -> str:
    """Return how far the predictions are off: over all, by family, and the worst one."""
    off = (known["ratio"] - 1.0).abs()
    worst = known.loc[off.idxmax()]
    families = ", ".join(
        f"{figures.published().families[name]} ×{geometric_mean(rows['ratio']):.2f}"
        for name, rows in families_of(known)
    )
    return (
        f"Mean absolute error {100 * off.mean():.0f} %; {(off <= MISS).sum()} of {len(off)} within {MISS:.0%}. "
        f"Geometric mean of the ratio: {families}. Furthest off: {title(worst['model'])}, ×{worst['ratio']:.2f}."
    )


def speedup_section() -> str:
    """Return how much faster EfficientNet-X is, size by size and in the mean."""
    pairs = figures.speedups(latencies())
    mean = figures.published().speedup.mean
    wide: dict[Any, Any] = {device: rows.set_index("size") for device, rows in pairs.groupby("device")}
    head = ["size", *(f"{NAMES[d]} {kind}" for d in mean for kind in ("published", "predicted"))]
    kinds = ("published", "predicted")
    lines = [
        [size.upper(), *(number(wide[d].loc[size, kind]) for d in mean for kind in kinds)]
        for size in figures.published().sizes
    ]
    lines.append(["geometric mean", *(number(geometric_mean(wide[d][kind].dropna())) for d in mean for kind in kinds)])
    said = ", ".join(f"{NAMES[d]} ~{value:.1f}" for d, value in mean.items())
    slower = [f"{NAMES[d]} {s.upper()}" for d in mean for s, v in wide[d]["predicted"].items() if v <= 1.0]
    order = f"Not faster: {', '.join(slower)}." if slower else "Predicted faster at every size on both."
    return (
        f"## EfficientNet-X over EfficientNet, batch {figures.published().latency.batch}\n\n{table(head, lines)}\n\n"
        f"Published mean speed-up (blog): {said}. The published columns are ratios of the recalled latencies. {order}\n"
    )


def intensity_section() -> str:
    """Return naive intensities beside the recalled ones."""
    found: Any = figures.intensities()
    said = figures.published().intensity
    lines = [[title(r.model), number(r.published, 1), number(r.naive, 1), number(r.ratio)] for r in found.itertuples()]
    off = found.loc[(found["ratio"] - 1.0).abs() > MISS, "model"]
    return (
        f"## Naive operational intensity, {said.dtype}, batch {said.batch}\n\n"
        "FLOP/byte before any fusion: every convolution reads its input and writes its output once, squeeze-and-excite "
        "adds one read and one write, weights are shared by the batch "
        "(`roofline.studies.intensity.naive_intensity`).\n\n"
        f"{table(('model', 'published', 'counted', 'ratio'), lines)}\n\n"
        f"More than {MISS:.0%} off: {', '.join(map(title, off)) or 'none'}.\n"
    )


def sources_section() -> str:
    """Return where the published figures come from."""
    data = figures.published()
    used = {"latencies": data.latency, "intensities": data.intensity}
    used |= {"mean speed-ups": data.speedup, "migration": data.migration}
    limit = f"- limit of the latency in the migration: {data.sources[data.migration.limit_source]}"
    compiler = f"- the compiler's estimates: {compiled().source}"
    lines = [f"- {what}: {data.sources[f.source]}" + (" (recalled)" if f.recalled else "") for what, f in used.items()]
    return "## Sources\n\n" + "\n".join([*lines, limit, compiler]) + "\n"


# the readme, and tables in pages -------------------------------------------------------------------


def accuracy() -> str:
    """Return the table of the readme: how far off the predicted latencies are, by device and family."""
    lines = [[what, f"{said:.1f}", span(low, high), error] for what, said, low, high, error in summary() if low != high]
    return table(("", "published", "predicted", "error"), lines)


def constants(declared: Iterable[Constant] = CONSTANTS) -> str:
    """Return the table of a runtime's constants, as they are declared."""
    head = ("key", "unit", "left out", "what it is", "fitted between", "told by")
    rows = [
        [
            f"`{c.place}`",
            "yes or no" if c.switch else c.unit or "",
            left_out(c),
            c.what,
            "; ".join(ranges_of(c)),
            c.told_by or "",
        ]
        for c in declared
    ]
    return table(head, rows, "---|")


def library_constants() -> str:
    """Return the same of every kind of kernel libraries, each under its name."""
    all_of = [(kind, constants_of(cls)) for kind, cls in KINDS.items()]
    return "\n\n".join(f"**`{kind}`**\n\n{constants(found)}" for kind, found in all_of if found)


def left_out(c: Constant) -> str:
    """Return what holds where a file does not state a constant."""
    if c.required:
        return "refused"
    return "no" if c.switch else "see there" if c.default is None else f"{c.default:g}"


def ranges_of(c: Constant) -> Iterator[str]:
    """Yield between which values a constant is fitted, and why, by kind of device."""
    if c.fitted is not None:
        yield f"{c.fitted.low:g} to {c.fitted.high:g} on {' and '.join(c.fitted.kinds)}: {c.fitted.why}"
    if c.on_host is not None:
        yield f"{c.on_host.low:g} to {c.on_host.high:g} on cpu: {c.on_host.why}"


def units() -> str:
    """Return the units that numbers of a file may have, by what they measure."""
    found: dict[str, list[str]] = {}
    for unit, (dimension, _) in UNITS.items():
        found.setdefault(dimension, []).append(f"`{unit}`")
    return table(("number", "units"), ([dimension, ", ".join(names)] for dimension, names in found.items()), "---|")


def device_keys() -> str:
    """Return the keys of a device's file, table by table."""
    rows = []
    for title, keys in DEVICE_TABLES.items():
        found: dict[bool, list[str]] = {True: [], False: []}
        for name, field in keys.model_fields.items():
            found[field.is_required()].append(f"`{name}`")
        rows.append([title, *(", ".join(found[required]) for required in (True, False))])
    return table(("table", "must be stated", "may be left out"), rows, "---|")


#: what a place is called -> what stands there
TABLES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "headlines": headlines_table,
    "constants": constants,
    "constants of libraries": library_constants,
    "units": units,
    "keys of a device": device_keys,
}


def command(language: str, code: str) -> list[str]:
    """Return what runs a block: Python as it is, ``roofline ...`` by the interpreter at hand."""
    if language == "python":
        return [sys.executable, "-c", code]
    words = shlex.split(code.replace("\\\n", " "))
    return [sys.executable, "-m", "roofline.cli", *words[1:]]


def output(language: str, code: str, folder: Path = ROOT) -> str:
    """Return what a block prints; it must succeed."""
    environment = os.environ | {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(language, code), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{code}\n{done.stderr}")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def readme(text: str, folder: Path = ROOT) -> str:
    """Return the readme, or another page, with its tables and the output of its blocks as they are now."""

    def fill(match: re.Match[str]) -> str:
        language, code, shown = match.groups()
        if shown is None:
            return match.group()
        return f"```{language}\n{code}```\n\n```text\n{output(language, code, folder).strip(chr(10))}\n```\n"

    text = PLACE.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}", text)
    return BLOCK.sub(fill, text)


def main() -> None:
    """Write everything."""
    RESULTS.write_text(results(), encoding="utf-8")
    report = simulate("efficientnet-x-b0", "tpu-v3", batch=128)
    report.save(PICTURE)
    report.plot_waterfall(WATERFALL)
    for page in (README, *PAGES):
        page.write_text(readme(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
