"""Published training steps of whole networks: time for a number of images, on chips that may not hold them at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roofline.arch.load import model as load_model
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options
from roofline.errors import InputError
from roofline.report.run import simulate

#: column -> (device, runtime, precision, cores, seconds in its unit)
COLUMNS = {
    "v100_fp32_s": ("v100", "tensorflow", "fp32", None, 1.0),
    "tpuv3_core_bf16_ms": ("tpu-v3", "xla_tpu", "bf16", 1, 1e-3),
}
#: the optimizer of ResNet-RS (Bello et al., arXiv 2103.07579): SGD with momentum
TRAINED_WITH = "momentum"


@measured_format(
    "training-steps", "a table of training steps", "model image_size mode batch v100_fp32_s tpuv3_core_bf16_ms"
)
def training_steps(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read the time that so many images take, in several steps where memory does not hold them at once.

    The batch is halved until it fits, as the table says of itself; a step then takes its part of the time.
    """
    network, size = load_model(cells.text("model")), cells.integer("image_size")
    said = re.match(r"(\d+)( \(halved until it fits\))?$", cells.text("batch"))
    if said is None:
        raise InputError(f"batch is no number of images: {cells.text('batch')!r}")
    images = int(said[1])
    for column, (device, runtime, dtype, cores, second) in COLUMNS.items():
        if not (cells.values.get(column) or "").strip():
            continue
        batch = images
        while said[2] and batch > 1 and not _fits(network.name, size, device, runtime, dtype, cores, batch):
            batch //= 2
        yield Measurement(
            row=cells.row,
            label=f"{network.name} @{size}",
            workload=network.with_image_size(size),
            device=device,
            runtime=runtime,
            dtype=dtype,
            cores=cores,
            batch=batch,
            latency_s=cells.number(column) * second * batch / images,
            family=network.family,
            mode="training",
            optimizer=TRAINED_WITH,
        )


def _fits(model: str, size: int, device: str, runtime: str, dtype: str, cores: int | None, batch: int) -> bool:
    """Return whether a step fits into the memory of the cores that run it."""
    run = simulate(
        model,
        device,
        runtime=runtime,
        dtype=dtype,
        cores=cores,
        batch=batch,
        image_size=size,
        mode="training",
        optimizer=TRAINED_WITH,
    )
    return run.peak_memory_bytes <= run.memory_capacity_bytes * run.cores / run.device_spec.cores
