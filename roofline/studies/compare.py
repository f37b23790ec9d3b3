"""Networks side by side on devices."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from roofline.engine.options import EachOptions
from roofline.engine.setting import per_device
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.report.run import request_of, simulate_many

if TYPE_CHECKING:
    import pandas as pd

    from roofline.report.report import Report

COLUMNS = (
    *(
        "model",
        "device",
        "runtime",
        "dtype",
        "format",
        "layout",
        "batch",
        "cores",
        "image_size",
        *("length", "phase", "context"),
        "latency_ms",
        "throughput_per_s",
        "tokens_per_s",
    ),
    *("bound", "macs_per_example", "params", "traffic_bytes", "peak_memory_bytes", "fits", "intensity_flops_per_byte"),
    *("attainable_flops_per_s", "efficiency"),
)


def compare(models: Sequence[Any], devices: Sequence[Any], **options: Unpack[EachOptions]) -> pd.DataFrame:
    """Simulate every model on every device.

    Parameters
    ----------
    models, devices
        Names, files or specs.
    **options
        As `simulate`; those in `DeviceOptions` may be a mapping device -> value.

    Returns
    -------
    DataFrame
        One row per model and device, with the unit in every column name; the last ones are between which latencies
        the run is expected, between which unverified facts of the device leave it, and which of them decides.

    Raises
    ------
    InputError
        No models or no devices, or a mapping names a device that is not compared.
    """
    import pandas as pd

    return pd.DataFrame([row_of(report) for report in run_all(models, devices, **options)])


def row_of(report: Report) -> dict[str, Any]:
    """Return the row of a run: `COLUMNS`, between which latencies it is expected, and unverified facts leave it."""
    expected, facts = report.interval, report.fact_range
    ends = {"expected_low_ms": expected.low_s * 1e3, "expected_high_ms": expected.high_s * 1e3}
    ends |= {"facts_low_ms": report.latency_ms * facts.low, "facts_high_ms": report.latency_ms * facts.high}
    return {name: getattr(report, name) for name in COLUMNS} | ends | {"decided_by": facts.decided_by}


def run_all(models: Sequence[Any], devices: Sequence[Any], **options: Unpack[EachOptions]) -> list[Report]:
    """Return the report of every model on every device, model by model; arguments and errors as `compare`."""
    check_lists(models, devices)
    specs = [load_device(device) for device in devices]
    each = per_device(options, specs)
    return simulate_many(
        request_of(model=model, device=spec, **own) for model in models for spec, own in zip(specs, each, strict=True)
    )


def check_lists(models: Any, devices: Any) -> None:
    """Raise InputError unless both are lists, of one thing at least."""
    if any(isinstance(given, str) or not isinstance(given, Collection) for given in (models, devices)):
        raise InputError("models and devices are lists of names")
    if not len(models) or not len(devices):
        raise InputError("give at least one model and one device")


def check_distinct(names: Collection[Any], what: str) -> None:
    """Raise InputError where something is given twice: it would count twice in every mean."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} {name!r} is given twice")
        seen.add(name)
