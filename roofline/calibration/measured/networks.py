"""Formats with whole networks: pytorch-image-models results, and the Accel-NASBench table or archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from roofline.arch.nasbench import BLOCKS, CHOICES, accel_nasbench_arch
from roofline.calibration.measured.cells import Cells, device_in
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import Measurement, Options
from roofline.errors import InputError
from roofline.graph.op import Layout
from roofline.measure.timm_graphs import TimmNetwork

#: family of a pytorch-image-models network: the first pattern that its name has; else its first word
FAMILIES: tuple[tuple[str, str], ...] = (
    (
        "vit",
        r"^(test_|flexi|naflex|sam)?vit|^deit|^beit|^eva|^cait|^xcit|^crossvit|^convit|^volo|^hiera|^tnt|^coat_|aimv2",
    ),
    ("efficientnet", r"efficientnet|mixnet|mnasnet|mobilenet|^spnasnet|^fbnet|^hardcorenas|^tinynet|^lcnet"),
    ("resnet", r"^eca_|res[2n]e[tx]|resnest|resnext|senet|^cs3|^csp|^darknet|nfnet|botnet|halonet|^res2net|vovnet"),
)
#: precision in a results file's name -> precision of the run
PRECISIONS = {"amp": "amp_fp16", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "bfloat16": "bf16", "float16": "fp16"}
#: Accel-NASBench states images per second: (images per run, pixels per side, precision, runtime, layout, cores, mode).
#: GPU: fp16 autocast, channels last, batch 128-256, CUDA events. TPU: PyTorch/XLA on one core with autograd left on
#: (Ahmad et al., arXiv 2404.08005, and its published code)
NASBENCH: dict[str, tuple[int, int, str, str, Layout, int | None, str]] = {
    "gpu": (256, 256, "amp_fp16", "pytorch_eager", "nhwc", None, "inference"),
    "tpu": (64, 224, "bf16", "pytorch_xla", "nchw", 1, "forward_saving"),
}
#: repeats that differ by more than this are no measurement (std / mean)
NASBENCH_SPREAD = 0.03
#: releases of PyTorch before 2.0, as file names write them, have no fused attention
_BEFORE_FUSED_ATTENTION = re.compile(r"pt1\d*")
#: the training benchmark's optimizer: SGD with Nesterov momentum (its default; the files do not say)
TRAINED_WITH = "momentum"
_THROUGHPUT = re.compile(r"throughput_(?P<device>\w+?)(_mean)?$")


def family_of(name: str) -> str:
    """Return the family of a pytorch-image-models network.

    Examples
    --------
    >>> family_of("tf_mixnet_s"), family_of("deit_small_patch16_224"), family_of("seresnext50_32x4d")
    ('efficientnet', 'vit', 'resnet')
    >>> family_of("swin_tiny_patch4_window7_224")
    'swin'
    """
    for family, pattern in FAMILIES:
        if re.search(pattern, name):
            return family
    return name.split("_")[0].rstrip("0123456789")


def _setup(sheet: Sheet, options: Options) -> tuple[str, str, str, Layout]:
    """Return device, runtime, precision and layout of a results file, from its name or the options."""
    words = sheet.stem.lower().split("-")
    device = options.device or device_in(words)
    if device is None:
        raise InputError("the file name tells no device: state it")
    dtype = next((PRECISIONS[w] for w in words if w in PRECISIONS), None) or options.dtype
    if dtype is None:
        raise InputError("the file name tells no precision: state it")
    layout: Layout = "nhwc" if "nhwc" in words else "nchw"
    return device, "pytorch_compile" if "dynamo" in words else "pytorch_eager", dtype, layout


def _timm(cells: Cells, sheet: Sheet, options: Options, prefix: str, mode: str) -> Iterator[Measurement]:
    device, runtime, dtype, layout = _setup(sheet, options)
    fused = not any(_BEFORE_FUSED_ATTENTION.fullmatch(word) for word in sheet.stem.lower().split("-"))
    name, size = cells.text("model"), cells.integer(f"{prefix}_img_size")
    batch, step_ms = cells.integer(f"{prefix}_batch_size"), cells.number(f"{prefix}_step_time")
    cells.agree(f"{prefix}_step_time", step_ms, 1e3 * batch / cells.number(f"{prefix}_samples_per_sec"))
    yield Measurement(
        row=cells.row,
        label=f"{name} @{size}",
        workload=TimmNetwork(name=name, image_size=size, fused_attention=fused, low_norms=_low_norms(sheet)),
        device=device,
        runtime=runtime,
        dtype=dtype,
        layout=layout,
        batch=batch,
        latency_s=step_ms * 1e-3,
        family=family_of(name),
        mode=mode,
        optimizer=TRAINED_WITH if mode == "training" else None,
    )


def _low_norms(sheet: Sheet) -> Literal["all", "convolutional", "none"]:
    """Return which norms ran in low precision, by the PyTorch release in the file's name: ``pt240`` is 2.4.0.

    Group norm costs its casts to fp32 in the results of 1.12, and does not in those of 2.4; transformers whose first op
    is a layer norm are faster than their twins without (a residual stream of 16 bits) in those of 2.9, not of 2.4.
    """
    found = re.search(r"-pt(\d)(\d+)\d-", sheet.stem)
    release = (int(found[1]), int(found[2])) if found else (9, 0)
    return "none" if release < (2, 0) else "convolutional" if release < (2, 6) else "all"


@measured_format(
    "timm-infer",
    "pytorch-image-models inference results",
    "model infer_img_size infer_samples_per_sec infer_step_time infer_batch_size",
)
def timm_inference(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a row of ``benchmark-infer-*.csv``: milliseconds per batch."""
    return _timm(cells, sheet, options, "infer", "inference")


@measured_format(
    "timm-train",
    "pytorch-image-models training results",
    "model train_img_size train_samples_per_sec train_step_time train_batch_size",
)
def timm_training(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a row of ``benchmark-train-*.csv``: milliseconds per step of a batch."""
    return _timm(cells, sheet, options, "train", "training")


def _nasbench(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    prefix = "block" if f"block{BLOCKS - 1}_e" in cells.values else "b"
    keys = [f"{prefix}{i}_{letter}" for i in range(BLOCKS) for letter in CHOICES]
    network = accel_nasbench_arch({key: cells.text(key) for key in keys})
    figures = [(match["device"], column) for column in sheet.columns if (match := _THROUGHPUT.match(column))]
    missing: list[str] = []
    for name, column in figures:
        device = device_in([name]) or device_in([f"{name}40gb"])
        if device is None or options.device not in (None, device):
            continue
        spread = cells.values.get(f"throughput_{name}_std") or ""
        try:
            per_s = cells.number(column)
            if spread and float(spread) >= NASBENCH_SPREAD * per_s:
                raise InputError(
                    f"{column}: repeats differ by {float(spread) / per_s:.1%} (limit {NASBENCH_SPREAD:.0%})"
                )
        except InputError as error:
            missing.append(str(error))
            continue
        batch, size, dtype, runtime, layout, cores, mode = NASBENCH["tpu" if device.startswith("tpu") else "gpu"]
        yield Measurement(
            row=cells.row,
            label=network.name.removeprefix("accel-nasbench-"),
            workload=network.with_image_size(size),
            device=device,
            runtime=runtime,
            dtype=dtype,
            layout=layout,
            batch=batch,
            cores=cores,
            latency_s=batch / per_s,
            family="accel-nasbench",
            mode=mode,
        )
    if missing:
        raise InputError("; ".join(missing))


for _prefix in ("b", "block"):
    measured_format(
        f"accel-nasbench-{_prefix}",
        "the Accel-NASBench table",
        " ".join(f"{_prefix}{i}_{letter}" for i in range(BLOCKS) for letter in CHOICES),
    )(_nasbench)
