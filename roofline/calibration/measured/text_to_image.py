"""The format of ML.ENERGY's leaderboard of text-to-image models: whole batches, in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import STEADY_POWER, ImagePipeline, Measurement, Options
from roofline.errors import InputError
from roofline.graph.op import Layout

#: images are channels first, as diffusers makes them
RUNTIME = "xdit"
LAYOUT: Layout = "nchw"
#: weights are cast when they are loaded; what diffusers computes wider (rotary embeddings, norms) stays so
DTYPES = {"bfloat16": "own_bf16", "float16": "own_fp16"}


@measured_format(
    "ml-energy-images",
    "ML.ENERGY's results of text-to-image models",
    "task model_id gpu_model num_gpus batch_size batch_latency_s inference_steps image_height image_width",
)
def text_to_image(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a batch of images: text encoders, steps and decoder, in a loop that keeps one GPU at its power limit."""
    height, width, steps = cells.integers("image_height", "image_width", "inference_steps")
    batch, latency_s = cells.integer("batch_size"), cells.number("batch_latency_s")
    if (gpus := cells.integer("num_gpus")) != 1:
        raise InputError(f"num_gpus is {gpus}: only results of one GPU are read")
    cells.agree("batch_latency_s", latency_s, batch / cells.number("throughput_images_per_sec"))
    model, weights = cells.text("model_id"), cells.text("weight_precision")
    if weights not in DTYPES:
        raise InputError(f"weight_precision {weights!r} is none of {', '.join(map(repr, DTYPES))}")
    yield Measurement(
        row=cells.row,
        label=f"{model.rpartition('/')[2]} @{height}x{width}, {steps} steps",
        workload=ImagePipeline(model=model, height=height, width=width, steps=steps),
        device=cells.device("gpu_model"),
        runtime=RUNTIME,
        dtype=DTYPES[weights],
        layout=LAYOUT,
        batch=batch,
        latency_s=latency_s,
        family=model.rpartition("/")[2],
        power_share=STEADY_POWER,
    )
