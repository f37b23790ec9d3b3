"""The table of long products and their power that ai-dynamo/aiconfigurator publishes: what a card does at its limit."""

from __future__ import annotations

from collections.abc import Iterator

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.product_ops import REPLAYS, WIDE, ProductCall, layer
from roofline.calibration.measured.types import STEADY_POWER, Measurement, Options

#: a card that draws this share of its limit on average is at it: NVML's means hold the pauses between runs, too
AT_THE_LIMIT = 0.97


@measured_format(
    "aiconfigurator-power",
    "aiconfigurator's table of products and their power",
    "framework device kernel_source gemm_dtype m n k latency power power_limit",
)
def products_and_power(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a linear layer that runs for so long that its power settles; latency in milliseconds, power in watts."""
    m, n, k, numbers, runtime = layer(cells)
    drawn = cells.number("power") / cells.number("power_limit")
    yield Measurement(
        row=cells.row,
        label=f"{m} x {n} x {k} {numbers}",
        workload=ProductCall(numbers=numbers, m=m, n=n, k=k, replay=REPLAYS[runtime]),
        device=cells.device("device"),
        runtime=runtime,
        dtype=WIDE,
        latency_s=cells.number("latency") * 1e-3,
        family=numbers,
        apart=None if drawn >= AT_THE_LIMIT else "draws less than its card may: what limits its clock is not known",
        power_share=STEADY_POWER,
    )
