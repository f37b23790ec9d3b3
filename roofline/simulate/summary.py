"""A report in twenty lines, for whoever prints it: name, value, remark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.text import counted, engineering, gibibytes, percent, significant

if TYPE_CHECKING:
    from roofline.simulate.report import Report


def heading(report: Report) -> str:
    """Return the line that says what was simulated."""
    size = f", {report.image_size} px" if report.image_size else ""
    cores = f", {counted(report.cores, 'core')}"
    step = f" with {report.optimizer}{', recomputing' if report.recompute else ''}" if report.optimizer else ""
    idle = f" ({report.idle_cores} idle)" if report.idle_cores else ""
    return (
        f"{report.model} on {report.device}: {report.runtime}, {report.dtype}, {report.layout}, "
        f"batch {report.batch:,}{size}{cores}{idle}, {report.mode}{step}"
    )


def summary_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return the headline numbers as (name, value with unit, remark)."""
    shares = ", ".join(f"{name} {percent(share)}" for name, share in report.bound_shares.items())
    fits = "fits" if report.fits else "DOES NOT FIT"
    parts = f"program {engineering(report.program_s, 's')}, device {engineering(report.device_s, 's')}"
    queue = f", host {engineering(report.host_s, 's')}" if report.host_s else ""
    return [
        ("Latency", f"{significant(report.latency_ms, 4)} ms", parts + queue),
        ("Expected", _expected(report), "; ".join(report.interval.reasons) or "9 in 10 networks that no fit had seen"),
        ("Throughput", f"{significant(report.throughput_per_s, 4)} /s", "examples per second"),
        ("Bound", report.bound, shares),
        ("MACs", engineering(report.macs), f"{engineering(report.macs_per_example)} per example"),
        ("FLOPs", engineering(report.flops), "2 per MAC"),
        ("Vector operations", engineering(report.vector_ops), ""),
        ("Parameters", engineering(report.params, digits=4), f"{engineering(report.weight_bytes, 'B')} of weights"),
        ("Traffic", engineering(report.traffic_bytes, "B"), "across kernel boundaries, unpadded"),
        *_training_rows(report),
        ("Peak memory", gibibytes(report.peak_memory_bytes), f"of {gibibytes(report.memory_capacity_bytes)}: {fits}"),
        (
            "Intensity I",
            f"{significant(report.intensity_flops_per_byte)} FLOP/B",
            f"ridge {significant(report.ridge_flops_per_byte)} FLOP/B",
        ),
        (
            "Attainable",
            engineering(report.attainable_flops_per_s, "FLOP/s"),
            f"min(I x bandwidth, peak {engineering(report.peak_flops_per_s, 'FLOP/s')})",
        ),
        ("Achieved", engineering(report.achieved_flops_per_s, "FLOP/s"), "FLOPs / latency"),
        ("Efficiency E", percent(report.efficiency), "achieved / attainable"),
    ]


def _training_rows(report: Report) -> list[tuple[str, str, str]]:
    if not report.saved_bytes:
        return []
    rows = [("Saved activations", gibibytes(report.saved_bytes), "wait for the backward pass")]
    if report.state_bytes:
        rows.append(("Optimizer", gibibytes(report.state_bytes), f"gradients and states of {report.optimizer}"))
    return rows


def _expected(report: Report) -> str:
    low, high = report.interval.low_s * 1e3, report.interval.high_s * 1e3
    return f"{significant(low, 3)} to {significant(high, 3)} ms"
