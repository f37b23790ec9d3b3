"""A report in twenty lines, for whoever prints it: name, value, remark."""

from __future__ import annotations

from roofline.report.interval import interval
from roofline.report.numbers import Run
from roofline.text import counted, engineering, gibibytes, percent, significant

#: what the memory of a decoder is made of, in words
OF_DECODER = (
    ("weights", "resident"),
    ("cache", "keys and values, kept from step to step"),
    ("activations", "at the widest point of a step"),
)


def heading(run: Run) -> str:
    """Return the line that says what was simulated."""
    layout = "" if run.length else f"{run.layout}, "
    size = f", {run.image_size} px" if run.image_size else ""
    cores = f", {counted(run.cores, 'core')}"
    step = f" with {run.optimizer}{', recomputing' if run.recompute else ''}" if run.optimizer else ""
    idle = f" ({run.idle_cores} idle)" if run.idle_cores else ""
    numbers = f", {run.format}" if run.format else ""
    return (
        f"{run.model} on {run.device}: {run.runtime}, {run.dtype}{numbers}, {layout}"
        f"batch {run.batch:,}{size}{cores}{idle}, {run.asked}{step}"
    )


def filled(need_bytes: float, usable_bytes: float, all_bytes: float) -> tuple[str, str]:
    """Return what is needed of a memory, and what there is of it, with a verdict."""
    share = "" if usable_bytes == all_bytes else f", {percent(usable_bytes / all_bytes)} of all"
    fits = "fits" if need_bytes <= usable_bytes else "DOES NOT FIT"
    return gibibytes(need_bytes), f"of {gibibytes(usable_bytes)}{share}: {fits}"


def summary_rows(run: Run) -> list[tuple[str, str, str]]:
    """Return the headline numbers as (name, value with unit, remark)."""
    shares = ", ".join(f"{name} {percent(share)}" for name, share in run.bound_shares.items())
    parts = f"program {engineering(run.program_s, 's')}, device {engineering(run.device_s, 's')}"
    expected = interval(run)
    between = f"{significant(expected.low_s * 1e3, 3)} to {significant(expected.high_s * 1e3, 3)} ms"
    queue = f", host {engineering(run.host_s, 's')}" if run.host_s else ""
    return [
        ("Latency", f"{significant(run.latency_ms, 4)} ms", parts + queue),
        ("Expected", between, "; ".join(expected.reasons) or "9 in 10 networks that no fit had seen"),
        *_unverified_rows(run),
        _throughput_row(run),
        ("Bound", run.bound, shares),
        ("MACs", engineering(run.macs), f"{engineering(run.macs_per_example)} per example"),
        ("FLOPs", engineering(run.flops), "2 per MAC"),
        ("Vector operations", engineering(run.vector_ops), ""),
        ("Parameters", engineering(run.params, digits=4), f"{engineering(run.weight_bytes, 'B')} of weights"),
        ("Traffic", engineering(run.traffic_bytes, "B"), "across kernel boundaries, unpadded"),
        *_memory_rows(run),
        ("Peak memory", *filled(run.peak_memory_bytes, run.usable_bytes, run.memory_capacity_bytes)),
        (
            "Intensity I",
            f"{significant(run.intensity_flops_per_byte)} FLOP/B",
            f"ridge {significant(run.ridge_flops_per_byte)} FLOP/B",
        ),
        (
            "Attainable",
            engineering(run.attainable_flops_per_s, "FLOP/s"),
            f"min(I x bandwidth, peak {engineering(run.peak_flops_per_s, 'FLOP/s')})",
        ),
        ("Achieved", engineering(run.achieved_flops_per_s, "FLOP/s"), "FLOPs / latency"),
        ("Efficiency E", percent(run.efficiency), "achieved / attainable"),
    ]


def _unverified_rows(run: Run) -> list[tuple[str, str, str]]:
    """Return the line on what nobody has verified of the device, where it matters."""
    found = run.fact_range
    if not found.decided_by:
        return []
    ends = " to ".join(significant(run.latency_ms * end, 3) for end in (found.low, found.high))
    return [("Unverified facts", f"{ends} ms", f"most by {found.decided_by.removeprefix(run.device).strip()}")]


def _throughput_row(run: Run) -> tuple[str, str, str]:
    if run.tokens_per_s is None:
        return "Throughput", f"{significant(run.throughput_per_s, 4)} /s", "examples per second"
    sequences = f"tokens per second; {significant(run.throughput_per_s, 4)} sequences" if run.length != 1 else ""
    return "Throughput", f"{significant(run.tokens_per_s, 4)} /s", sequences or "tokens per second"


def _memory_rows(run: Run) -> list[tuple[str, str, str]]:
    rows = []
    if run.step is not None:
        parts = run.memory_bytes
        rows += [(name.capitalize(), gibibytes(parts[name]), said) for name, said in OF_DECODER if parts[name]]
    elif run.cache_bytes:
        rows.append(("Caches and state", gibibytes(run.cache_bytes), "kept from run to run"))
    if run.saved_bytes:
        rows.append(("Saved activations", gibibytes(run.saved_bytes), "wait for the backward pass"))
    if run.saved_bytes and run.state_bytes:
        rows.append(("Optimizer", gibibytes(run.state_bytes), f"gradients and states of {run.optimizer}"))
    return rows
