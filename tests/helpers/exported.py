"""Networks that the tests of exported programs share."""

from __future__ import annotations

from typing import Any

from places import ROOT

import roofline as rf
from roofline.arch.load import stage_from

#: a network of each kind of block, the smallest of its family
KINDS = [
    "efficientnet-b0",
    "efficientnet-x-b0",
    "efficientnet-h-b5",
    "resnet-18",
    "resnet-rs-50",
    "regnety-400mf",
    "mobilenetv2-0.35",
    "mobilenetv3-small",
    "convnext-t",
    "inception-v3",
    "vit-ti-16",
    "bert-base",
    "gpt2",
    "swin-t",
]
#: (form, family, device or "") -> by how much a latency may differ from the shipped graph's; see docs/export.md
APART = {
    ("torch", "swin", ""): 0.035,
    ("torch", "efficientnet-h", "tpu-v3"): 0.035,
    ("torch", "efficientnet-x", "tpu-v3"): 0.06,
    ("jax", "swin", ""): 0.03,
    ("onnx", "swin", "v100"): 0.08,
}
#: tokens with which a file looks up all positions that its network has
POSITIONS = {"bert-base": 512, "bert-large": 512}


def allowed(form: str, family: str, device: str) -> float:
    """Return by how much the latency of an exported network may differ from that of its graph."""
    return APART.get((form, family, device), APART.get((form, family, ""), 0.02))


#: how the written ResNet-50 reads
PAGE = ROOT / "tests" / "export" / "resnet_50.txt"

#: families by a member whose tiny form trains in seconds, with what makes it tiny: pixels or tokens
TINY = {
    "accel-nasbench-b0": 32,
    "convnext-t": 32,
    "efficientnet-b0": 32,
    "efficientnet-edgetpu-s": 32,
    "efficientnet-lite0": 32,
    "efficientnet-x-b0": 32,
    "efficientnetv2-b0": 32,
    "inception-v3": 75,
    "mnasnet-a1": 32,
    "mobilenetv1-0.25": 32,
    "mobilenetv2-0.35": 32,
    "mobilenetv3-large": 32,
    "mobilenetv3-small": 32,
    "regnetx-400mf": 32,
    "regnety-400mf": 32,
    "resnet-18": 32,
    "resnet-rs-50": 32,
    "resnext-50-32x4d": 32,
    "vit-ti-16": 32,
    "deit-ti-16": 32,
    "bert-base": 8,
    "gpt2": 8,
    "swin-t": 64,
}


#: what else makes a network tiny
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "bert-base": {"embed": {"width": 32, "vocab": 50}, "encoder": {"heads": 2}},
    "gpt2": {"decoder": {"width": 32, "heads": 2, "vocab": 50}, "head": {"vocab": 50}},
    "swin-t": {"patches": {"width": 24}, **{f"s{i}": {"window": 2} for i in range(4)}},
    "vit-ti-16": {"patches": {"patch": 8}},
    "deit-ti-16": {"patches": {"patch": 8}},
}


#: what no shipped network has: images cut into quarters, windows without a border, stems in depth, a hidden layer
REST: tuple[dict[str, Any], ...] = (
    {"name": "stem", "block": "conv", "channels": 8, "kernel": 3, "stride": 2, "in_depth": True},
    {"name": "quarters", "block": "conv_to_batch", "channels": 8, "repeats": 2, "activation": "hard_swish"},
    {"name": "s0", "block": "mbconv_to_space", "channels": 8, "repeats": 2, "se_ratio": 0.25},
    {"name": "mean", "block": "pool", "function": "mean", "kernel": 3, "stride": 1},
    {"name": "max", "block": "pool", "kernel": 2, "stride": 2, "padding": "valid"},
    {"name": "s1", "block": "mbconv", "channels": 12, "repeats": 3, "kernel": 5, "activation": "elu"},
    {"name": "head", "block": "head", "channels": 16, "hidden": 20, "classes": 10, "hidden_activation": "mish"},
)


def tiny(name: str) -> rf.Arch:
    """Return a network with two blocks a stage, a small input and ten classes; ``"rest"`` has what no other has."""
    if name == "rest":
        stages = tuple(stage_from(table, "here") for table in REST)
        return rf.Arch(name="rest", family="rest", title="The rest", image_size=32, stages=stages)
    arch = rf.model(name)
    for stage in arch.stages:
        few = {"repeats": 2} if stage.repeats > 2 else {}
        few |= {"classes": 10} if hasattr(stage, "classes") else {}
        fields = few | CHANGES.get(name, {}).get(stage.name, {})
        arch = rf.edit_stage(arch, stage.name, **fields) if fields else arch
    return arch.with_input_size(TINY[name])


def images_of(model: str | rf.Arch, device: str, batch: int = 2) -> tuple[Any, ...]:
    """Return a batch of what a network takes, channels first; of random numbers, where the device holds any."""
    import torch

    found = []
    for tensor in rf.op_graph(model).tensors.values():
        if tensor.role == "input":
            _, *shape = (int(d) for d in tensor.shape)
            if len(shape) == 3:
                found.append(torch.randn(batch, shape[2], *shape[:2], device=device))
            else:
                found.append(torch.randint(0, 2, (batch, *shape), device=device))
    return tuple(found)
