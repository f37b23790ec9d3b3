"""Networks of timm without weights, and the counts that its published result files state."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import torch
from places import MEASUREMENTS
from torch_networks import import_torchvision

from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Norm

#: published result files, where a checkout lies beside them
TIMM_RESULTS = MEASUREMENTS / "timm"

#: fvcore's operations per element of batch norm in evaluation, and of layer and group norm (fvcore/nn/jit_handles.py)
BATCH_NORM, LAYER_NORM = 2, 5


def build(name: str, image_size: int | None = None) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a network of timm in evaluation mode and one image, both on the meta device."""
    import_torchvision()
    import timm

    create: Any = timm.create_model
    name = name.removesuffix("_sam")  # the same network: the bare tag names weights
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = create(name, **({"img_size": image_size} if image_size else {}))
        except TypeError:
            module = create(name)
        config = module.default_cfg
        channels, *sizes = config.get("input_size", (3, 224, 224))
        if image_size:
            sizes = [image_size, image_size]
        return module.eval(), torch.empty(1, channels, *sizes)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a result file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fvcore_gmacs(graph: OpGraph) -> float:
    """Return billions of operations as fvcore counts them: multiply-adds, and norms of activations."""
    total = float(graph.macs)
    for op in graph.ops.values():
        x = float(graph.tensors[op.outputs[0]].elements)
        if isinstance(op, BatchNorm):
            total += x * (BATCH_NORM if len(op.inputs) == 5 else BATCH_NORM - 1)
        elif isinstance(op, Norm):
            total += x * (LAYER_NORM if len(op.inputs) > 1 else LAYER_NORM - 1)
    return total / 1e9


def agrees(counted: float, published: float) -> bool:
    """Whether a count agrees with a published one, which is rounded to 0.01."""
    return abs(counted - published) <= max(0.03 * published, 0.006)
