"""A generation in twenty lines, for whoever prints it, and as numbers for JSON."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import Any

from roofline.report.answers import Answers
from roofline.report.report import Report
from roofline.report.summary import filled
from roofline.text import counted, gibibytes, percent, significant


def heading(found: Answers) -> str:
    """Return the line that says what was simulated."""
    work = found.work
    cached = f" behind {work.prefix:,} cached" if work.prefix else ""
    chunk = f", prompts in chunks of {work.chunk:,}" if work.chunk else ""
    return (
        f"{found.model} on {found.device}: {found.runtime}, {found.format or found.dtype}, batch {work.batch:,}, "
        f"prompts of {counted(work.prompt, 'token')}{cached}, answers of {work.output_tokens:,}{chunk}"
    )


def summary_rows(found: Answers) -> list[tuple[str, str, str]]:
    """Return the headline numbers as (name, value with unit, remark)."""
    ends, work, steady = found.expected_s, found.work, found.steady
    rows = [("Time to first token", _ms(found.ttft_s), _between(ends["prefill"], 1.0))]
    if found.tpot_s is not None:
        rows.append(("Time per output token", _ms(found.tpot_s), _between(ends["decode"], 1.0 / work.decode_steps)))
    rows += [
        ("Request latency", _ms(found.latency_s), f"{counted(work.output_tokens, 'token')} each, all at once"),
        ("Throughput", f"{significant(found.tokens_per_s, 4)} tokens/s", "written, from the prompts to the last token"),
        ("Prefill bound", found.prompt_run.bound, _shares(found.prompt_run)),
    ]
    if found.decode_run is not None:
        rows.append(("Decode bound", found.decode_run.bound, _shares(found.decode_run)))
    room = found.room
    rows += [
        ("Weights", gibibytes(room.weight_bytes), ""),
        ("Cache", gibibytes(room.cache_bytes), f"keys and values of {work.kept:,} tokens each, when the answers end"),
        ("Activations", gibibytes(room.activation_bytes), "at the widest point of a step"),
        ("Memory", *filled(room.total_bytes, room.usable_bytes, room.memory_bytes)),
        ("Largest batch", f"{room.largest_batch:,}", "sequences of this length that fit"),
        ("Longest context", f"{room.longest_context:,} tokens", "that fit at this batch"),
        (
            "Steady stream",
            f"{significant(steady.tokens_per_s, 4)} tokens/s",
            f"{counted(steady.concurrency, 'request')} in flight, each that ends followed by the next",
        ),
    ]
    if steady.tpot_s is not None:
        mixed = f"{percent(steady.mixed_share)} of the steps take part of a prompt along"
        rows.append(("  per output token", _ms(steady.tpot_s), mixed))
    rows.append(("  first token", _ms(steady.ttft_s), "from arrival, waiting included"))
    return rows


def as_dict(found: Answers) -> dict[str, Any]:
    """Return the numbers of a generation with their units in their names."""
    room = found.room
    head = {name: getattr(found, name) for name in ("model", "device", "runtime", "dtype", "format")}
    numbers = {
        name: getattr(found, name)
        for name in ("ttft_s", "tpot_s", "latency_s", "tokens_per_s", "decode_tokens_per_s", "bounds")
    }
    expected = {f"{phase}_expected_s": list(ends) for phase, ends in found.expected_s.items()}
    memory = {
        name: getattr(room, name)
        for name in (
            *("weight_bytes", "cache_bytes", "activation_bytes", "total_bytes", "usable_bytes", "memory_bytes"),
            *("fits", "largest_batch", "longest_context"),
        )
    }
    steady = asdict(found.steady) | {name: getattr(found.steady, name) for name in ("tokens_per_s", "latency_s")}
    return (
        head
        | {"workload": asdict(found.work)}
        | numbers
        | expected
        | {"memory": memory, "steady": steady, "warnings": list(found.warnings)}
    )


def notebook_html(found: Answers) -> str:
    """Return the summary as a table for a notebook."""
    from roofline.report.page.tables import definition_table

    return f"<p><b>{escape(heading(found))}</b></p>{definition_table(summary_rows(found))}"


def _ms(time_s: float) -> str:
    return f"{significant(time_s * 1e3, 4)} ms"


def _between(ends_s: tuple[float, float], share: float) -> str:
    low, high = (significant(end * share * 1e3, 3) for end in ends_s)
    return f"expected {low} to {high} ms"


def _shares(run: Report) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in run.bound_shares.items())
