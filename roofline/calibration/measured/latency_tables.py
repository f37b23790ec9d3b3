"""Plain tables of network latencies: one's own measurements, and the figures that the project quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline.arch.load import model as load_model
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options
from roofline.hardware.load import device as load_device
from roofline.passes.layout import check_layout
from roofline.software.load import runtime as load_runtime

#: how tables spell runtimes, where that is none of the project's own spellings
RUNTIMES = {"tf": "tensorflow", "trt": "tensorrt", "pytorch": "pytorch_eager", "torch.compile": "pytorch_compile"}
#: graphics cards and modules spell their memory and form behind the name: V100-SXM3-32GB
_FORM = re.compile(r"-(SXM|PCIe?)\d?(-\d+GB)?$", re.IGNORECASE)


def _latency(cells: Cells, options: Options, device_column: str) -> Iterator[Measurement]:
    name = _FORM.sub("", cells.text(device_column))
    spec = load_device(name)
    network = load_model(cells.text("model"))
    size = cells.values.get("image_size") or ""
    batch = cells.integer("batch")
    runtime = options.runtime or _first(cells, "runtime", "framework") or spec.default_runtime
    runtime = load_runtime(_runtime(runtime), spec.kind).name
    layout = cells.values.get("layout") or ""
    cores = cells.values.get("cores") or ""
    yield Measurement(
        row=cells.row,
        label=f"{network.name} @{size or network.image_size}",
        workload=network.with_image_size(cells.integer("image_size") if size else None),
        device=spec.name,
        runtime=runtime,
        dtype=_first(cells, "dtype", "precision") or options.dtype or spec.default_dtype,
        layout=check_layout(layout) if layout else None,
        batch=batch,
        cores=cells.integer("cores") if cores else None,
        latency_s=cells.number("latency_ms") * 1e-3,
        family=network.family,
        mode=cells.values.get("mode") or "inference",
    )


def _first(cells: Cells, *columns: str) -> str | None:
    return next((cells.values[c].strip() for c in columns if (cells.values.get(c) or "").strip()), None)


def _runtime(text: str) -> str:
    """Return the project's spelling of a runtime; a release behind it is left out.

    Examples
    --------
    >>> _runtime("TensorRT 8.0"), _runtime("TF"), _runtime("xla")
    ('TensorRT', 'tensorflow', 'xla')
    """
    name = re.sub(r"\s+v?[\d.]+$", "", text.strip())
    return RUNTIMES.get(name.lower(), name)


@measured_format("latency-table", "a table of latencies", "model device batch latency_ms")
def latency_table(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read one of the project's networks, in milliseconds per batch.

    Columns runtime (or framework), dtype (or precision), image_size, layout, cores and mode may say more.
    """
    return _latency(cells, options, "device")


@measured_format("latency-table-gpu", "a table of latencies", "model gpu batch latency_ms")
def latency_table_gpu(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read the same with the device in a column called gpu."""
    return _latency(cells, options, "gpu")
