"""Whether a runtime has kernels for what a network runs, in a precision or a number format."""

from __future__ import annotations

from roofline.dtypes import Precision
from roofline.errors import InputError
from roofline.report.report import Report
from roofline.software.formats import Format, Number
from roofline.software.kernels import Kernels
from roofline.software.spec import Runtime

#: kind of kernel -> class of `Kernels`; the others run element by element, in whatever numbers
CLASSES = {"conv": "convolutions", "depthwise": "convolutions", "matmul": "products", "attention": "attention"}


def is_language_model(report: Report) -> bool:
    """Return whether a run is of token ids or keeps a cache: number formats are for these."""
    return report.cache_bytes > 0 or any("embedding" in label.ops for label in report.lowered.table.labels)


def covers(runtime: Runtime, report: Report, precision: Precision) -> bool:
    """Return whether a runtime has kernels in a precision for the ops of a run; where nobody says it, it has."""
    kinds = {label.kind for label in report.lowered.table.labels}
    classes = {CLASSES[kind] for kind in kinds if kind in CLASSES}
    return all(runtime.kernels is None or precision.compute.name in getattr(runtime.kernels, name) for name in classes)


def covers_format(runtime: Runtime, report: Report, chosen: Format) -> bool:
    """Return whether a runtime and the device have kernels for a format, and whether the format changes the run.

    What would run with widened weights instead is none: there are formats that say so.
    """
    try:
        found = chosen.on(report.device_spec, report.machine.precision)
    except InputError:
        return False
    ops = {op for label in report.lowered.table.labels for op in label.ops}
    present = {"weights": "matmul" in ops, "experts": "grouped_matmul" in ops, "cache": report.cache_bytes > 0}
    numbers = {kind: number for kind, there in present.items() if there and (number := getattr(found, kind))}
    if not numbers or found.limits or (found.cache and not present["cache"]):
        return False
    return runtime.kernels is None or all(_has(runtime.kernels, kind, one, found) for kind, one in numbers.items())


def _has(kernels: Kernels, kind: str, number: Number, chosen: Format) -> bool:
    """Return whether there are kernels for a class of tensors of a format."""
    if kind == "cache" and chosen.queries is not None:
        return number.dtype.name in kernels.attention
    if kind == "cache":
        return number.dtype.name in kernels.caches
    if chosen.activations is None:
        return number.dtype.name in kernels.weights
    return {number.dtype.name, chosen.activations.dtype.name} <= set(kernels.products)
