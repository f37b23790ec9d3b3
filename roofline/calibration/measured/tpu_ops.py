"""Formats with single ops on TPUs: profiler traces of one TPU v4, and timed products."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline.calibration.measured import blocks
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options, SingleOp
from roofline.errors import InputError

#: the traces name no device; they are of one TPU v4
TRACED = "tpu-v4"
#: the traces store fp16, which a TPU v4 converts by software on the way to and from its units
TRACE_DTYPE = "fp16"
#: ... but not to copy it: any format of two bytes stands for it there
COPIED = "bf16"
DTYPES = {"bfloat16": "bf16", "float32": "fp32", "int8": "int8"}


def _traced(
    cells: Cells,
    workload: SingleOp,
    label: str,
    latency_us: float,
    family: str,
    options: Options,
    *,
    dtype: str = TRACE_DTYPE,
) -> Iterator[Measurement]:
    yield Measurement(
        row=cells.row,
        label=label,
        workload=workload,
        device=options.device or TRACED,
        runtime="xla_tpu",
        dtype=dtype,
        latency_s=latency_us * 1e-6,
        family=family,
    )


@measured_format("tpu-trace-matmul", "TPU v4 matmul traces", "source M N K main_mean_us fusion_mean_us")
def trace_matmul(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a product (M, K) x (K, N): the time of the matmul itself, operands already fetched."""
    m, n, k = cells.integers("M", "N", "K")
    time_us = cells.number("fusion_mean_us")
    if cells.values.get("tflops_fusion"):
        cells.agree("fusion_mean_us", time_us, 2e-6 * m * n * k / cells.number("tflops_fusion"))
    source = cells.text("source").removesuffix(".csv").removesuffix("/filtered_events")
    return _traced(cells, blocks.product(m, n, k), f"matmul {m}x{n}x{k} [{source}]", time_us, "matmul", options)


@measured_format("tpu-trace-vector", "TPU v4 vector op traces", "op shape ndim numel avg_us std_us source")
def trace_vector(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read an element-wise op or a layer norm of one tensor shape."""
    op, text = cells.text("op"), cells.text("shape")
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise InputError(f"shape is not like 8x16x32: {text!r}")
    shape = [int(size) for size in text.split("x")]
    elements = 1
    for size in shape:
        elements *= size
    cells.agree("numel", cells.number("numel"), elements)
    if op == "layer_norm":
        workload = blocks.row_reduction(op, *shape)
    elif op in blocks.FUNCTIONS:
        workload = blocks.pointwise(op, *(shape if len(shape) > 1 else (1, *shape)))
    else:
        raise InputError(f"op {op!r} has no work rule")
    label = f"{op} {text} [{cells.text('source').split('/')[-2]}]" if "/" in cells.text("source") else f"{op} {text}"
    return _traced(cells, workload, label, cells.number("avg_us"), op, options)


@measured_format("tpu-trace-copy", "TPU v4 copy traces", "kernel_name event_name dur(us) shape_with_layout dataset")
def trace_copy(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a prefetch of an operand into on-chip memory."""
    match = re.match(r"f16\[(\d+),(\d+)\]", cells.text("shape_with_layout"))
    if match is None:
        raise InputError(f"shape_with_layout is not like f16[8,128]{{...}}: {cells.text('shape_with_layout')!r}")
    rows, columns = int(match[1]), int(match[2])
    label = f"copy {rows}x{columns} for {cells.text('kernel_name')}"
    return _traced(cells, blocks.prefetch(rows, columns), label, cells.number("dur(us)"), "copy", options, dtype=COPIED)


@measured_format("tpu-gemm", "timed TPU products", "device tpu_gen dtype m n k time_us tflops")
def tpu_gemm(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a product timed from the host, with its dispatch (or in a trace, without)."""
    m, n, k = cells.integers("m", "n", "k")
    time_us, text = cells.number("time_us"), cells.text("dtype")
    if text not in DTYPES:
        raise InputError(f"dtype {text!r} is none of {', '.join(map(repr, DTYPES))}")
    cells.agree("time_us", time_us, 2e-6 * m * n * k / cells.number("tflops"))
    device = cells.device("device")
    traced = cells.values.get("timing_mode", "") == "trace"
    yield Measurement(
        row=cells.row,
        label=f"matmul {m}x{n}x{k} {DTYPES[text]}",
        workload=blocks.product(m, n, k),
        device=device,
        runtime="xla_tpu",
        dtype=DTYPES[text],
        latency_s=time_us * 1e-6,
        family=DTYPES[text],
        offset_group=None if traced else f"{sheet.stem} {device}",
    )
