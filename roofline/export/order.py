"""Channels first: where a network whose images are (N, C, H, W), as in PyTorch and ONNX, turns their axes.

Convolutions, batch norms and windows of pooling want channels first; linear layers, layer norms and attention windows
want them last. Everything else takes images as they come. A block hands images over in the order in which the next one
wants them, so that equal blocks stay equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from roofline.export.layers import Layer
from roofline.graph.opgraph import OpGraph

FIRST = ("conv", "batch_norm", "pool")
LAST = ("linear", "layer_norm", "roll", "window_partition", "window_reverse")
#: dimensions of a batch of images
IMAGES = 4


def channels_first(graph: OpGraph, layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield layers that say in which order they work on images.

    Switches are added where images are involved: ``first`` (channels first?); where an operand comes in the other order
    ``turned``, whether each operand has to be turned; where the next block wants the other order ``handed``, the name
    of the function that turns the result.
    """
    ordered = list(layers)
    wishes = _wishes(ordered)
    first = {t.id: True for t in graph.tensors.values() if t.role == "input" and len(t.shape) == IMAGES}
    for layer in ordered:
        known = [first.get(t) for t in layer.inputs]
        images = len(layer.shapes[0]) == IMAGES
        if not images and not any(k is not None for k in known):
            yield layer
            continue
        wish = wishes.get(layer.outputs[0]) if images else None
        wanted = _wanted(layer, [k for k in known if k is not None], wish)
        turned = tuple(k is not None and k != wanted for k in known)
        switches = {**layer.switches, "first": wanted} | ({"turned": turned} if any(turned) else {})
        if wish is not None and wish != wanted:
            switches["handed"] = "channels_first" if wish else "channels_last"
        if images:
            first[layer.outputs[0]] = wanted if wish is None else wish
        yield replace(layer, switches=switches)


def _wishes(layers: list[Layer]) -> dict[str, bool]:
    """Return tensor -> whether the layers of other blocks that read it want it channels first, where they agree."""
    block = {t: layer.op_id.partition("/")[0] for layer in layers for t in layer.outputs}
    found: dict[str, set[bool]] = {}
    for layer in layers:
        natural = _natural(layer)
        for t in layer.inputs:
            if natural is not None and t in block and block[t] != layer.op_id.partition("/")[0]:
                found.setdefault(t, set()).add(natural)
    return {t: next(iter(wishes)) for t, wishes in found.items() if len(wishes) == 1}


def _natural(layer: Layer) -> bool | None:
    """Return the order that a layer asks for; None: any."""
    if layer.kind in FIRST:
        return True
    return False if layer.kind in LAST or (layer.kind in ("add", "mul") and layer.weights) else None


def _wanted(layer: Layer, known: list[bool], wish: bool | None) -> bool:
    natural = _natural(layer)
    if natural is not None:
        return natural
    if len(set(known)) > 1 and wish is not None:
        return wish
    return known[0] if known else True
