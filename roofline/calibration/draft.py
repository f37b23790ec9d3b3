"""Draft files for a device that no shipped file describes: what its driver says, and the best that was measured."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roofline.calibration.measured.folders import own_name
from roofline.errors import InputError
from roofline.graph.load import load_graph
from roofline.hardware.silicon import LOCAL_BYTES_PER_CLOCK
from roofline.measure.facts import PIPES, Facts
from roofline.paths import data_files
from roofline.work import count

#: the runtime file from which every fit on a host processor starts; none of a framework on a CPU is shipped, for what
#: `roofline calibrate` writes on a machine is good for that machine
HOST_RUNTIME = Path(__file__).with_name("host_runtime.toml")
#: what runs on a host -> the shipped runtime whose fusion it has
HOST_FUSION = {"pytorch_eager": "pytorch_eager", "pytorch_compile": "pytorch_compile", "xla": "xla_gpu"}
#: fp32 lanes of a multiprocessor by major compute capability (CUDA C++ Programming Guide, arithmetic throughput)
LANES = {"7": 64, "8.0": 64, "8": 128, "9": 128, "10": 128, "12": 128}
#: special function units of a multiprocessor (same table)
TRANSCENDENTAL = 16
#: share of the pins that the best copy reaches, where the driver tells no bandwidth
REACHED = 0.9
#: a nearer memory is faster: by this at least, where a measurement cannot tell them apart
FASTER = 1.05
DIGITS = 4
UNTOLD_CLOCK = "the best measured rate: the clock under load is not told"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The best that was measured of something, and in which case."""

    value: float
    case: str


@dataclass(frozen=True, kw_only=True)
class Best:
    """Best measured rates: FLOP/s by format, transcendentals per second, and (bytes moved, bytes/s) of streams."""

    flops_per_s: Mapping[str, Rate]
    transcendentals_per_s: Rate
    streams: Sequence[tuple[float, Rate]]

    def stream_bytes_per_s(self, least_bytes: float, most_bytes: float) -> Rate:
        """Return the best rate among streams of a size, or that of the nearest size."""
        inside = [rate for size, rate in self.streams if least_bytes < size <= most_bytes]
        if not inside:
            middle = np.sqrt(max(least_bytes, 1.0) * min(most_bytes, 1e12))
            inside = [min(self.streams, key=lambda s: abs(np.log(s[0] / middle)))[1]]
        return max(inside, key=lambda rate: rate.value)


def best_rates(folder: Path, rows: Sequence[Mapping[str, str]]) -> Best:
    """Return the best rates among measured ops.

    Raises
    ------
    InputError
        The rows hold no products, no streams or no functions.
    """
    flops: dict[str, Rate] = {}
    functions: list[Rate] = []
    streams: list[tuple[float, Rate]] = []
    for row in rows:
        seconds, case, family = float(row["latency_us"]) * 1e-6, row["case"], row["family"]
        graph = load_graph(folder / row["graph"])
        if graph.macs and family in ("matmul", "conv", "conv1x1", "bmm"):
            rate = Rate(value=2.0 * float(graph.macs) / seconds, case=case)
            flops[row["dtype"]] = max(rate, flops.get(row["dtype"], rate), key=lambda r: r.value)
        if family == "pointwise" and (wanted := float(count(graph).transcendental_ops)):
            functions.append(Rate(value=wanted / seconds, case=case))
        if family == "stream":
            moved = 2.0 * float(graph.tensors[graph.outputs[0]].bytes)
            streams.append((moved, Rate(value=moved / seconds, case=case)))
    if not flops or not streams or not functions:
        raise InputError("a draft needs measured products, streams and functions: run `roofline measure` to its end")
    streams.sort(key=lambda s: s[0])
    return Best(flops_per_s=flops, transcendentals_per_s=max(functions, key=lambda r: r.value), streams=streams)


def draft_device(facts: Facts, best: Best, runtime: str, today: datetime.date) -> str:
    """Return a device file: facts of the driver, and rates that are marked as measured.

    Raises
    ------
    InputError
        The kind of device cannot be drafted from measurements.
    """
    if facts.kind not in ("cpu", "gpu"):
        raise InputError(f"no shipped file describes {facts.name!r}: write one (docs/adding-a-device.md)")
    clock = (
        f'clock = {{ value = {facts.clock_hz / 1e6:.6g}, unit = "MHz", source = "driver" }}' if facts.clock_hz else ""
    )
    default = "fp32" if "fp32" in best.flops_per_s else next(iter(best.flops_per_s))
    head = f"""\
name = "{facts.slug}"
title = {json.dumps(facts.name)}
vendor = {json.dumps(facts.vendor)}
kind = "{facts.kind}"
year = {today.year}
default_runtime = "{runtime}"
default_dtype = "{default}"

[sources]
driver = "what driver and operating system say, {today.isoformat()}"
measured = "roofline measure, {today.isoformat()}, {facts.software}: the best of its cases, fitted"

[chip]
cores = {{ value = 1, source = "driver", note = "one program runs on all of it" }}
{clock}
"""
    return head + (_cpu(facts, best) if facts.kind == "cpu" else _gpu(facts, best))


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}" if value < 10**DIGITS else f"{float(f'{value:.{DIGITS}g}'):.0f}"


def _measured(value: float, unit: str | None, case: str) -> str:
    unit_text = f', unit = "{unit}"' if unit else ""
    return f'{{ value = {_number(value)}{unit_text}, source = "measured", note = "{case}" }}'


def _rates(rates: Mapping[str, Rate], macs_per_clock: float | None = None, *, vector: bool) -> str:
    on = ', runs_on = "vector"' if vector else ""
    per_clock = f"macs_per_clock = {macs_per_clock:g}, " if macs_per_clock else ""
    return "".join(
        f'{name} = {{ {per_clock}peak = {_number(rate.value / 1e9)}, unit = "GFLOP/s", source = "measured", '
        f'note = "{rate.case}", peak_reason = "{UNTOLD_CLOCK}"{on} }}\n'
        for name, rate in rates.items()
    )


def _cpu(facts: Facts, best: Best) -> str:
    peak = max(best.flops_per_s.values(), key=lambda r: r.value)
    peak = best.flops_per_s.get("fp32", peak)
    simple = PIPES * facts.lanes
    transcendental = min(simple * best.transcendentals_per_s.value / (peak.value / 2.0), simple)
    return f"""
[matrix]
style = "systolic"
units = {{ value = {facts.units}, source = "driver" }}
rows = {{ value = 1, source = "driver", note = "a register of weights" }}
cols = {{ value = {facts.lanes}, source = "driver", note = "fp32 lanes of a vector" }}

[matrix.rates]
{_rates(best.flops_per_s, simple, vector=True)}
[vector]
units = {{ value = {facts.units}, source = "driver" }}
flops_per_op = 2
simple_per_clock = {{ value = {simple}, estimate = "{PIPES} multiply-add pipes, as servers have" }}
transcendental_per_clock = {_measured(transcendental, None, best.transcendentals_per_s.case)}
peak = {_measured(peak.value / 1e9, "GFLOP/s", peak.case)}
peak_reason = "{UNTOLD_CLOCK}"
{_cpu_memory(facts, best)}"""


def _cpu_memory(facts: Facts, best: Best) -> str:
    """Return the levels from far to near; the one nearest the core only holds what a kernel works on."""
    sizes = [
        (name, size * max(1, facts.units // shared), shared >= facts.units and shared > 1)
        for name, size, shared in facts.caches
    ]
    last = sizes[-1][1] if sizes else 2.0**25
    main = best.stream_bytes_per_s(2.0 * last, float("inf"))
    text = _level("DRAM", "main", "chip", facts.memory_bytes / 2**30, "GiB", main.value, main.case)
    reached = main.value
    for far, (name, size, is_shared) in zip(range(len(sizes) - 1, -1, -1), reversed(sizes), strict=True):
        if far == 0:  # L1: operands of the running kernel
            break
        nearer = sizes[far - 1][1]
        rate = best.stream_bytes_per_s(2.0 * nearer, 0.75 * size)
        reached = max(rate.value, FASTER * reached)
        one = size if is_shared else size / facts.units
        scope = "chip" if is_shared or facts.units == 1 else "unit"
        each = reached if scope == "chip" else reached / facts.units
        text += _level(name, "shared", scope, one / 2**10, "KiB", each, rate.case)
    return text


def _level(name: str, role: str, scope: str, capacity: float, unit: str, bytes_per_s: float, case: str) -> str:
    return f"""
[[memory]]
name = "{name}"
role = "{role}"
scope = "{scope}"
capacity = {{ value = {capacity:.6g}, unit = "{unit}", source = "driver" }}
bandwidth = {_measured(bytes_per_s / 1e9, "GB/s", case)}
"""


def _gpu(facts: Facts, best: Best) -> str:
    capability = facts.compute_capability or "8"
    lanes = LANES.get(capability, LANES.get(capability.split(".")[0], 128))
    clock_hz = facts.clock_hz or 1.5e9
    peak = 2.0 * facts.units * lanes * clock_hz
    on_vector = {name: rate for name, rate in best.flops_per_s.items() if name in ("fp32", "fp64")}
    others = {name: rate for name, rate in best.flops_per_s.items() if name not in on_vector}
    streams = best.stream_bytes_per_s(4.0 * (facts.l2_bytes or 2.0**26), float("inf"))
    nominal = facts.bandwidth_bytes_per_s or streams.value / REACHED
    text = f"""
[matrix]
style = "tensorcore"
units = {{ value = {facts.units}, source = "driver" }}

[matrix.rates]
{_rates(others, vector=False)}{_rates(on_vector, vector=True)}
[vector]
units = {{ value = {facts.units}, source = "driver" }}
flops_per_op = 2
simple_per_clock = {{ value = {lanes}, estimate = "fp32 lanes of compute capability {capability}" }}
transcendental_per_clock = {{ value = {TRANSCENDENTAL}, estimate = "special function units" }}
peak = {{ value = {_number(peak / 1e12)}, unit = "TFLOP/s", estimate = "lanes x clock of the driver" }}
peak_reason = "the clock that the driver tells is not always that of a data sheet"
"""
    text += _level("device memory", "main", "chip", facts.memory_bytes / 2**30, "GiB", nominal, streams.case)
    if facts.l2_bytes:
        cached = best.stream_bytes_per_s(0.05 * facts.l2_bytes, 0.5 * facts.l2_bytes)
        near = max(cached.value, 2.0 * nominal)
        text += _level("L2", "shared", "chip", facts.l2_bytes / 2**20, "MiB", near, cached.case)
    if facts.shared_bytes_per_unit:
        local = LOCAL_BYTES_PER_CLOCK * clock_hz
        size = facts.shared_bytes_per_unit / 2**10
        text += _level("shared memory", "local", "unit", size, "KiB", local, "32 banks of 4 bytes a clock")
    return text


def base_runtime(name: str) -> str:
    """Return the file from which the fit of a runtime starts: a shipped one, or on a host one with its fusion.

    Raises
    ------
    InputError
        No such runtime.
    """
    files = data_files("runtimes")
    if name in files:
        text = files[name].read_text(encoding="utf-8")
        return re.sub(r'^name = ".*"', f'name = "{own_name(name)}"', text, flags=re.MULTILINE)
    like = HOST_FUSION.get(name.removesuffix("_cpu"))
    if like is None:
        raise InputError(f"no runtime file to start from for {name!r}")
    shipped, host = files[like].read_text(encoding="utf-8"), HOST_RUNTIME.read_text(encoding="utf-8")
    fusion = re.search(r"^\[fusion\]\n.*?(?=^\[)", shipped, re.MULTILINE | re.DOTALL)
    title = re.search(r'^title = "(.*)"', shipped, re.MULTILINE)
    if fusion is None or title is None:
        raise InputError(f"the shipped runtime {like!r} has no [fusion]")
    host = re.sub(r"^\[fusion\]\n.*?(?=^\[)", lambda _: fusion[0], host, flags=re.MULTILINE | re.DOTALL)
    host = re.sub(r'^name = ".*"', f'name = "{name}"', host, flags=re.MULTILINE)
    return re.sub(r'^title = ".*"', lambda _: f'title = "{title[1]}, on a host processor"', host, flags=re.MULTILINE)
