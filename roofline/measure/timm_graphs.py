"""Networks of pytorch-image-models as op graphs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from roofline.errors import InputError
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Norm
from roofline.measure.timm_networks import build, import_timm

#: a tag that newer releases no longer accept; the network is the same without it
RETIRED_TAGS = ("_sam",)


@dataclass(frozen=True, kw_only=True)
class TimmNetwork:
    """A network of pytorch-image-models, by its name there: traced when it is needed.

    Attributes
    ----------
    fused_attention
        Off where the release that ran it had no fused kernel for it.
    low_norms
        Norms that stay in the low precision of autocast by timm's option: all of timm's own; those of networks with
        convolutions ("convolutional": before 2025 its transformers had PyTorch's layer norm); none.
    """

    name: str
    image_size: int
    fused_attention: bool = True
    low_norms: Literal["all", "convolutional", "none"] = "all"


def trace(network: TimmNetwork, batch: int) -> OpGraph:
    """Return a network as the PyTorch front end lowers it, without weights.

    Raises
    ------
    InputError
        PyTorch or timm is not installed, or timm has no such network or does not build it at this size.
    UnknownOpError
        An op of it has no rule.
    """
    try:
        import torch

        from roofline.frontends.torch import from_torch
    except ImportError:
        raise InputError("networks of pytorch-image-models need PyTorch: pip install 'roofline[torch]' timm") from None
    module = _module(network)
    image = torch.empty(batch, 3, network.image_size, network.image_size, device="meta")
    plain = network.low_norms == "convolutional" and hasattr(module, "patch_embed")
    low = {
        name
        for name, part in module.named_modules()
        if network.low_norms != "none"
        and hasattr(part, "_fast_norm")
        and not (plain and type(part).__name__ == "LayerNorm")
    }
    return low_precision_norms(from_torch(module, (image,), name=network.name), low)


def low_precision_norms(graph: OpGraph, modules: Set[str]) -> OpGraph:
    """Return a graph whose norms in these modules stay in the low precision of autocast, as timm's option makes them.

    The published results were measured with it (`roofline.calibration.measured.networks`).
    """
    ops = {
        i: replace(op, low_precision=True) if isinstance(op, Norm) and i.rpartition("/")[0] in modules else op
        for i, op in graph.ops.items()
    }
    return OpGraph(ops, graph.tensors, graph.outputs, graph.name)


def _module(network: TimmNetwork) -> Any:
    import torch

    timm = import_timm()
    name = network.name
    for tag in RETIRED_TAGS:
        name = name.removesuffix(tag)
    with torch.device("meta"), warnings.catch_warnings(), _attention(timm, network.fused_attention):
        warnings.simplefilter("ignore")
        return build(name, network.image_size).eval()


@contextmanager
def _attention(timm: Any, fused: bool) -> Iterator[None]:
    """Have networks that are built inside use fused attention or not."""
    before = bool(timm.layers.use_fused_attn())
    timm.layers.set_fused_attn(fused and before)
    try:
        yield
    finally:
        timm.layers.set_fused_attn(before)
