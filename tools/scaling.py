"""Fill ``docs/scaling.md`` with its figures, and draw its pictures: ``python tools/scaling.py``.

Text stands on the page; what lies between ``<!-- NAME: ... -->`` and ``<!-- end -->`` is written here. Run it when a
latency or the law of accuracy moves.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scaling_families import DEVICES, LACS, beside_flops, family, names, plain, series

from roofline.cli import main as roofline
from roofline.numeric import Array
from roofline.search.accuracy.scaling_law import DIMENSIONS, scaling_laws
from roofline.search.scaling.family import Answer, ScaledBy, ScaledFamily
from roofline.search.scaling.pick import Triple, cheapest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scaling.md"
FILLED = re.compile(r"(<!-- (\w+): [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
EXAMPLE = "scale efficientnet-x-b0 --device tpu-v3 --batch 128 --like efficientnet-x-b1..b7"
#: EfficientNet's coefficients of depth, width, resolution (arXiv 1905.11946)
PUBLISHED = (1.2, 1.1, 1.15)
NEAR = 0.1


# words ------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    titles = list(head)
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def three(values: Sequence[float]) -> str:
    """Return coefficients of depth, width and resolution."""
    return ", ".join(f"{value:.2f}" for value in values)


def coefficients(triple: Triple | None) -> tuple[float, float, float]:
    """Return alpha, beta, gamma."""
    assert triple is not None
    return triple.alpha, triple.beta, triple.gamma


def order(values: Sequence[float]) -> str:
    """Return the dimensions by how fast they grow."""
    return " > ".join(DIMENSIONS[i] for i in np.argsort(-np.asarray(values), kind="stable"))


def top1(answer: Answer, row: int) -> str:
    """Return an accuracy with its half-width, marked where it is out of domain."""
    found = answer.prediction
    return f"{found.mean[row]:.1f} ± {found.half_width[row]:.1f}{'' if found.in_domain[row] else '†'}"


def percent(faster: Array) -> list[str]:
    """Return ratios of latencies as how much less the second takes."""
    return [f"{100 * (value - 1):+.0f} %" for value in faster]


def mean(ratios: Array) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.log(ratios).mean()))


# sections ------------------------------------------------------------------------


def laws() -> str:
    """Return the coefficients of every calibration, and its error by family left out."""
    found = scaling_laws()
    head = ("", *found)
    rows = [["trained networks", *(f"{law.rows}" for law in found.values())]]
    rows.append(["e0 [%]", *(f"{law.floor:.1f}" for law in found.values())])
    for i, dimension in enumerate(DIMENSIONS):
        rows.append([f"{dimension}: share, exponent",
                     *(f"{law.shares[i]:.2f}, {law.exponents[i]:.2f}" for law in found.values())])  # fmt: skip
    rows.append(["half-width, 90 % [points]", *(f"{law.half_width:.1f}" for law in found.values())])
    rows.append(["error for a family left out [points]", *(f"{law.left_out_rmse:.1f}" for law in found.values())])
    for name in next(iter(found.values())).left_out:
        rows.append([f"… {name}", *(f"{v:.1f}" if (v := law.left_out.get(name)) else "–" for law in found.values())])
    return table(head, rows)


def flops() -> str:
    """Return the coefficients by FLOPs beside the published ones."""
    rows = []
    for name in scaling_laws():
        for one, what in ((False, "B1 to B7"), (True, "twice the FLOPs")):
            triple = plain(name, one=one).answer.triple
            assert triple is not None
            found = coefficients(triple)
            spans = ", ".join(f"{a:.2f}–{b:.2f}" for a, b in zip(triple.lowest, triple.highest, strict=True))
            off = max(abs(a - b) for a, b in zip(found, PUBLISHED, strict=True))
            rows.append([name, what, three(triple.best), three(found), spans, f"{off:.2f}"])
    head = ("calibration", "fitted to", "most accurate", "chosen", "not told apart", "furthest from published")
    return table(head, rows)


def orders() -> str:
    """Return the coefficients by latency and by FLOPs, and in which order dimensions grow."""
    asks: list[tuple[str, str, ScaledBy]] = [(title, device, "latency") for device, title in DEVICES.items()]
    rows = []
    for title, device, objective in [*asks, ("FLOPs", next(iter(DEVICES)), "flops")]:
        for name in scaling_laws():
            triple = family(device, objective, name).answer.triple
            assert triple is not None
            chosen = coefficients(triple)
            rows.append([title, name, three(triple.best), order(triple.best), three(chosen), order(chosen)])
    return table(("scaled by", "calibration", "most accurate", "grows in", "chosen", "grows in"), rows)


def against_flops(device: str) -> str:
    """Return members scaled by latency beside members scaled by FLOPs that accuracy cannot tell from them."""
    found = []
    for name in scaling_laws():
        by_flops, others, rows, ratio = beside_flops(device, name)
        lines = [
            [member.upper(), *network(by_flops, other, device), *network(by_flops, row, device), gain]
            for member, other, row, gain in zip(by_flops.names, others, rows, percent(ratio), strict=True)
        ]
        head = ("", "by FLOPs: d, w, px", "ms", "top-1 %", "by latency: d, w, px", "ms", "top-1 %", "faster")
        found.append(f"Calibration {name}:\n\n{table(head, lines)}")
    return "\n\n".join(found)


def network(found: ScaledFamily, row: int, device: str) -> list[str]:
    """Return multiples, latency and accuracy of a network of the grid."""
    grid, latency_s = found.grid, found.grid.latency_s[row, found.devices.index(device)]
    scale = f"{grid.depth[row]:.2f}, {grid.width[row]:.2f}, {grid.resolution[row]:.0f}"
    return [scale, f"{latency_s * 1e3:.1f}", top1(found.answer, row)]


def lacs(device: str) -> str:
    """Return the published LACS members beside the plain ones: MACs, latency, accuracy by each calibration."""
    label, calibrations = LACS[device], list(scaling_laws())
    both = {name: (series("x", device, name), series(label, device, name)) for name in calibrations}
    x, other = both[calibrations[0]]
    ratio, macs = x.latency_ms / other.latency_ms, other.macs / x.macs
    per_mac = ratio * macs
    rows = []
    for i in range(len(ratio)):
        gaps = [f"{pair[1].accuracy[i] - pair[0].accuracy[i]:+.1f}" for pair in both.values()]
        rows.append([f"B{i + 1}", f"{x.macs[i] / 1e9:.1f}", f"{other.macs[i] / 1e9:.1f}", f"{x.latency_ms[i]:.1f}",
                     f"{other.latency_ms[i]:.1f}", f"{ratio[i]:.2f}", f"{per_mac[i]:.2f}", *gaps])  # fmt: skip
    head = ("", "x GMACs", f"{label} GMACs", "x ms", f"{label} ms", "faster by", "per MAC",
            *(f"top-1 gap, {name}" for name in calibrations))  # fmt: skip
    widths = ", ".join(f"± {law.half_width:.1f} with {name}" for name, law in scaling_laws().items())
    return (
        f"Gaps are percentage points of predicted top-1; each accuracy is {widths} (90 %, EfficientNet-X†).\n\n"
        f"{table(head, rows)}\n\nPer MAC, {label} is ×{mean(per_mac):.2f} as fast as x in the mean."
    )


def plane(device: str) -> str:
    """Return how far published members are from the fastest networks of the same predicted accuracy."""
    labels, rows = ("x", LACS[device]), []
    for name in scaling_laws():
        found = family(device, "latency", name)
        grid, predicted = found.grid, found.answer.prediction.mean
        for label in labels:
            members = series(label, device, name)
            fastest = cheapest(grid, grid.latency_s[:, 0], predicted, members.accuracy, common=False)
            over = members.latency_ms / (grid.latency_s[fastest, 0] * 1e3)
            rows.append([name, label, *(f"{value:.2f}" for value in over)])
    return table(("calibration", "published", *(f"B{i}" for i in range(1, 8))), rows)


def ratios() -> str:
    """Return ln depth : ln width : ln resolution of published families and of ours."""
    rows = []
    for device, title in DEVICES.items():
        calibration = next(iter(scaling_laws()))
        for label in ("x", LACS[device]) if device == "tpu-v3" else (LACS[device],):
            depth, width = series(label, device, calibration).ratio
            rows.append([f"{label}, published", f"{depth:.1f} : {width:.1f} : 1"])
        for name in scaling_laws():
            triple = family(device, "latency", name).answer.triple
            for what, values in (("most accurate", triple.best if triple else ()), ("chosen", coefficients(triple))):
                logs = np.log(values)
                rows.append([f"by latency on {title}, {name}, {what}",
                             f"{logs[0] / logs[2]:.1f} : {logs[1] / logs[2]:.1f} : 1"])  # fmt: skip
    return table(("", "ln depth : ln width : ln resolution"), rows)


def verdicts() -> str:
    """Return what came out, in a few lines."""
    lines = []
    for name in scaling_laws():
        found = coefficients(plain(name).answer.triple)
        off = max(abs(a - b) for a, b in zip(found, PUBLISHED, strict=True))
        verdict = "within" if off <= NEAR else "not within"
        lines.append(f"- By FLOPs, calibration {name}: ({three(found)}), {verdict} {NEAR} of ({three(PUBLISHED)}).")
    for device, title in DEVICES.items():
        for name in scaling_laws():
            triple = family(device, "latency", name).answer.triple
            assert triple is not None
            lines.append(
                f"- By latency on {title}, calibration {name}: ({three(coefficients(triple))}) chosen,"
                f" {order(coefficients(triple))}; ({three(triple.best)}) most accurate, {order(triple.best)}."
            )
    for device, title in DEVICES.items():
        for name in scaling_laws():
            *_, ratio = beside_flops(device, name)
            lines.append(
                f"- Members by latency beside members by FLOPs that accuracy cannot tell from them, {title},"
                f" calibration {name}: {100 * (mean(ratio) - 1):+.0f} % faster in the mean, {(ratio > 1).sum()} of"
                f" {len(ratio)} faster, B7 {percent(ratio)[-1]}."
            )
    lines += [published_verdict(device) for device in DEVICES]
    return "\n".join(lines)


def published_verdict(device: str) -> str:
    """Return whether the simulator agrees that published LACS members are faster, and what the law says of them."""
    label, gaps = LACS[device], []
    for name, law in scaling_laws().items():
        x, other = series("x", device, name), series(label, device, name)
        gap = other.accuracy - x.accuracy
        told = "none" if (np.abs(gap) < law.half_width).all() else "some"
        gaps.append(f"{gap.min():+.1f} to {gap.max():+.1f} points with {name} ({told} beyond ± {law.half_width:.1f})")
    ratio = x.latency_ms / other.latency_ms
    slower = [f"B{i + 1}" for i in np.flatnonzero(ratio <= 1)]
    return (
        f"- Published {label} beside x of like MACs, {DEVICES[device]}: ×{mean(ratio):.2f} as fast in the mean of B1 to"
        f" B7, ×{ratio[-1]:.2f} at B7; slower: {', '.join(slower) or 'none'}. Predicted top-1 differs by"
        f" {', '.join(gaps)}."
    )


def example() -> str:
    """Return what the command of the page prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        roofline(shlex.split(EXAMPLE))
    return f"```sh\nroofline {EXAMPLE}\n```\n\n```text\n{out.getvalue().strip()}\n```"


def parts() -> dict[str, Callable[[], str]]:
    """Return what writes each filled part of the page."""
    found: dict[str, Callable[[], str]] = {
        "verdicts": verdicts, "example": example, "laws": laws, "flops": flops, "orders": orders, "ratios": ratios
    }  # fmt: skip
    for device in DEVICES:
        for name, make in (("against_flops", against_flops), ("lacs", lacs), ("plane", plane)):
            found[f"{name}_{device.replace('-', '_')}"] = partial(make, device)
    return found


def page(text: str) -> str:
    """Return ``docs/scaling.md`` with its figures as they are now."""
    make = parts()
    return FILLED.sub(lambda match: f"{match[1]}\n{make[match[2]]()}\n\n{match[3]}", text)


def main() -> None:
    """Write everything."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    first = next(iter(scaling_laws()))
    for device in DEVICES:
        beside = {label: names(label) for label in ("x", LACS[device])}
        family(device, "latency", first).plot(beside=beside, path=ROOT / "docs" / f"scaling-{device}.png")
    beside = {label: names(label) for label in ("x", LACS["tpu-v3"])}
    family("tpu-v3", "latency", first).plot_path(beside=beside, path=ROOT / "docs" / "scaling-path.png")


if __name__ == "__main__":
    main()
