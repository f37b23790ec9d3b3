"""Formats with single ops on GPUs: DeepBench, XLA's matmul table, NeuSight, LLMCompass."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline.calibration.measured import blocks
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options, SingleOp
from roofline.errors import InputError

#: the runtime whose kernels are the libraries' own (cuBLAS, cuDNN), launched one by one
LIBRARY = "pytorch_eager"
#: algorithms that do not multiply as often as the definition says
FEWER_MACS = re.compile(r"winograd|fft", re.IGNORECASE)
#: the kernels that give them away: complex products are of FFT, plain products inside a 3x3 convolution are of
#: Winograd's separate steps (they exceed the fp32 peak of the device up to twofold; im2col names itself explicit)
FEWER_MACS_KERNELS = (("winograd", r"winograd|^\w+_sgemm_\d+x\d+"), ("fft", r"fft|gcgemm"))
#: DeepBench's column "precision"
DEEPBENCH = {"Float": "fp32", "16 bit inputs, 16 bit multiplication, 32 bit addition": "fp16"}
#: XLA's column "dtype": fp32 products run on the tensor cores as TF32
XLA = {"bf16xbf16->bf16": "bf16", "f32xf32->f32": "tf32"}


def _row(
    cells: Cells,
    workload: SingleOp,
    label: str,
    *,
    device: str,
    dtype: str,
    latency_s: float,
    family: str,
    runtime: str = LIBRARY,
    layout: str = "nhwc",
    offset_group: str | None = None,
    apart: str | None = None,
) -> Iterator[Measurement]:
    yield Measurement(
        row=cells.row,
        label=label,
        workload=workload,
        device=device,
        runtime=runtime,
        dtype=dtype,
        layout="nchw" if layout == "nchw" else "nhwc",
        latency_s=latency_s,
        family=family,
        offset_group=offset_group,
        apart=apart,
    )


def _precision(cells: Cells, column: str, known: dict[str, str]) -> str:
    text = cells.text(column)
    if text not in known:
        raise InputError(f"{column} {text!r} is none of {', '.join(map(repr, known))}")
    return known[text]


@measured_format("deepbench-gemm", "DeepBench GEMM results", "device precision M N K transA transB time_ms")
def deepbench_gemm(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a product (M, K) x (K, N), in milliseconds of kernel time."""
    m, n, k = cells.integers("M", "N", "K")
    time_ms, dtype = cells.number("time_ms"), _precision(cells, "precision", DEEPBENCH)
    if cells.values.get("tflops"):
        cells.agree("time_ms", time_ms, 2e-9 * m * n * k / cells.number("tflops"))
    orders = f"{cells.text('transA')}{cells.text('transB')}"
    label = f"gemm {m}x{n}x{k} {orders} {dtype}"
    device = cells.device("device")
    return _row(
        cells, blocks.product(m, n, k), label, device=device, dtype=dtype, latency_s=time_ms * 1e-3, family=dtype
    )


@measured_format(
    "deepbench-conv",
    "DeepBench convolution results",
    "device precision W H C N K S_filter_w R_filter_h pad_w pad_h stride_w stride_h fwd_ms fwd_algo",
)
def deepbench_conv(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a forward convolution, channels first, in milliseconds; N is the batch and K the output channels."""
    width, height, depth, batch, channels = cells.integers("W", "H", "C", "N", "K")
    kernel = (cells.integer("R_filter_h"), cells.integer("S_filter_w"))
    stride = (cells.integer("stride_h"), cells.integer("stride_w"))
    pad = (cells.integer("pad_h", 0), cells.integer("pad_w", 0))
    dtype, algorithm = _precision(cells, "precision", DEEPBENCH), cells.text("fwd_algo")
    fewer = FEWER_MACS.search(algorithm)
    return _row(
        cells,
        blocks.convolution((batch, height, width, depth), channels, kernel, stride, pad),
        f"conv {batch}x{height}x{width}x{depth}->{channels} {kernel[0]}x{kernel[1]}/{stride[0]} {dtype}",
        device=cells.device("device"),
        dtype=dtype,
        layout="nchw",
        latency_s=cells.number("fwd_ms") * 1e-3,
        family=fewer.group().lower() if fewer else dtype,
        apart=f"{algorithm} multiplies less often than the definition" if fewer else None,
    )


@measured_format("xla-matmul", "XLA's matmul table", "arch b m n k dtype flops_per_s time_us device")
def xla_matmul(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read `b` products (m, k) x (k, n), in microseconds of kernel time."""
    b, m, n, k = cells.integers("b", "m", "n", "k")
    time_us, dtype = cells.number("time_us"), _precision(cells, "dtype", XLA)
    cells.agree("time_us", time_us, 2e6 * b * m * n * k / cells.number("flops_per_s"))
    label = f"matmul {b}x{m}x{n}x{k} {dtype}"
    device = cells.device("device")
    workload = blocks.product(m, n, k, b)
    latency_s = time_us * 1e-6
    return _row(
        cells, workload, label, device=device, dtype=dtype, latency_s=latency_s, family=dtype, runtime="xla_gpu"
    )


def _eager(cells: Cells, sheet: Sheet, workload: SingleOp, label: str, family: str) -> Iterator[Measurement]:
    """Return a NeuSight row: fp32 without TF32, timed around the call, so that each holds an eager launch."""
    device = cells.device("device")
    latency_s = cells.number("latency_ms") * 1e-3
    group = f"{sheet.stem} {device}"
    return _row(
        cells, workload, label, device=device, dtype="fp32", latency_s=latency_s, family=family, offset_group=group
    )


@measured_format("neusight-matmul", "NeuSight's matmul table", "op device B M N K latency_ms")
def neusight_matmul(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read B products (M, N) x (N, K): N is contracted."""
    b, m, n, k = cells.integers("B", "M", "N", "K")
    op = cells.text("op")
    if op not in ("linear", "bmm"):
        raise InputError(f"op {op!r} is none of 'linear', 'bmm'")
    return _eager(cells, sheet, blocks.product(m, k, n, b), f"{op} {b}x{m}x{k}x{n}", op)


@measured_format(
    "neusight-conv",
    "NeuSight's convolution table",
    "op device B Input_Channel Output_Channel Kernel_Size Input_Size Stride Padding latency_ms kernel",
)
def neusight_conv(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a square convolution, channels first, by the algorithm that the library chose: the family names it."""
    b, depth, channels, kernel, size, stride = cells.integers(
        "B", "Input_Channel", "Output_Channel", "Kernel_Size", "Input_Size", "Stride"
    )
    pad = cells.integer("Padding", 0)
    name = cells.text("kernel")
    fewer = next((f for f, pattern in FEWER_MACS_KERNELS if kernel > 1 and re.search(pattern, name)), None)
    workload = blocks.convolution((b, size, size, depth), channels, (kernel,) * 2, (stride,) * 2, (pad,) * 2)
    label = f"conv {b}x{size}x{size}x{depth}->{channels} {kernel}x{kernel}/{stride}"
    return _eager(cells, sheet, workload, label, fewer or "conv")


@measured_format("neusight-vector", "NeuSight's vector table", "op device B H latency_ms")
def neusight_vector(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read an element-wise op of a (B, H) tensor; a final u in its name: with a number."""
    rows, columns = cells.integers("B", "H")
    op = _function(cells)
    return _eager(cells, sheet, blocks.pointwise(op, rows, columns), f"{op} {rows}x{columns}", op)


def _function(cells: Cells) -> str:
    op = cells.text("op")
    if op not in blocks.FUNCTIONS:
        raise InputError(f"op {op!r} has no work rule")
    return op


@measured_format("llmcompass", "LLMCompass' op table", "device op M N K latency_ms rate rate_unit")
def llmcompass(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read an fp16 op, timed around the call: matmul (M, K) x (K, N), rows of softmax and norm, elements of GELU."""
    op, latency_ms, unit = cells.text("op"), cells.number("latency_ms"), cells.text("rate_unit")
    columns = {"matmul": ("M", "N", "K"), "softmax": ("M", "N"), "layernorm": ("M", "N"), "gelu": ("M",)}
    if op not in columns:
        raise InputError(f"op {op!r} is none of {', '.join(map(repr, columns))}")
    shape = list(cells.integers(*columns[op]))
    work = 2e-9 if op == "matmul" else 1e-6
    for size in shape:
        work *= size
    expected = "TFLOP/s" if op == "matmul" else "Gelem/s"
    if unit != expected:
        raise InputError(f"rate_unit of {op} must be {expected!r}, got {unit!r}: mixed units")
    cells.agree("latency_ms", latency_ms, work / cells.number("rate"))
    workload = {
        "matmul": lambda: blocks.product(*shape),
        "softmax": lambda: blocks.row_reduction("softmax", *shape),
        "layernorm": lambda: blocks.row_reduction("layer_norm", *shape),
        "gelu": lambda: blocks.pointwise("gelu", 1, *shape),
    }[op]()
    label = f"{op} {'x'.join(map(str, shape))}"
    group = f"{sheet.stem} {op}"
    return _row(
        cells,
        workload,
        label,
        device=cells.device("device"),
        dtype="fp16",
        latency_s=latency_ms * 1e-3,
        family=op,
        offset_group=group,
    )
