"""The ONNX writer: the layers of a network as nodes, images channels first, any number of examples.

Operator set 20 and what it lacks spelled out (attention, rolls, windows), so that any runtime reads it. Nodes and
weights are named as the ops and tensors of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from roofline.errors import UnknownOpError, nearest
from roofline.export import onnx_windows
from roofline.export.layers import Layer
from roofline.export.network import Network
from roofline.export.onnx_nodes import FIRST, LAST, Nodes, Rule, Weight
from roofline.export.shifts import shift_mask, window_offsets

#: activation -> operator and attributes
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {}),
    "elu": ("Elu", {}),
    "mish": ("Mish", {}),
    "softplus": ("Softplus", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_swish": ("HardSwish", {}),
    "tanh": ("Tanh", {}),
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
}


def onnx_nodes(network: Network) -> Nodes:
    """Return the nodes of a network.

    Parameters
    ----------
    network
        The network with the order of its channels stated.

    Raises
    ------
    UnknownOpError
        A layer that has no form in ONNX.
    """
    nodes = Nodes(network)
    for layer in network.root.layers():
        if layer.kind not in RULES:
            raise UnknownOpError(f"op {layer.op_id!r} ({layer.kind}) has no form in ONNX")
        inputs = [_turned(nodes, layer, i, _name(t)) for i, t in enumerate(layer.inputs)]
        handed = layer.switches.get("handed")
        if layer.kind == "split":
            nodes.nodes.append(_split(layer, inputs))
            continue
        out = _name(layer.outputs[0])
        made = RULES[layer.kind](nodes, layer, inputs, f"{out}/natural" if handed else out)
        if handed:
            nodes.add("Transpose", out, made, perm=FIRST if handed == "channels_first" else LAST)
    return nodes


def _name(tensor: str) -> str:
    return tensor.removesuffix(":0")


def _turned(nodes: Nodes, layer: Layer, i: int, x: str) -> str:
    if not layer.switches.get("turned", (False,) * len(layer.inputs))[i]:
        return x
    return nodes.add("Transpose", f"{layer.op_id}/in{i}", x, perm=FIRST if layer.switches["first"] else LAST)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _pads(layer: Layer, kernel: tuple[int, int]) -> list[int]:
    padding = layer.switches["padding"]
    sides = {"none": ((0, 0), (0, 0)), "half": tuple((k // 2, k // 2) for k in kernel)}.get(padding, padding)
    return [side[0] for side in sides] + [side[1] for side in sides]


def _conv(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    sizes, switches = layer.sizes, layer.switches
    incoming, outgoing, kernel = layer.number("in_channels"), layer.number("out_channels"), _pair(sizes["kernel"])
    groups = incoming if switches["form"] == "depthwise" else layer.number("groups") if "groups" in sizes else 1
    deviation = nodes.network.recipe.conv_deviation or math.sqrt(2 * groups / (math.prod(kernel) * outgoing))
    inputs = [*x, nodes.weight(layer, "weight", outgoing, incoming // groups, *kernel, deviation=deviation)]
    inputs += [nodes.weight(layer, "bias", outgoing)] if switches["bias"] else []
    return nodes.add(
        "Conv",
        out,
        *inputs,
        kernel_shape=kernel,
        strides=_pair(sizes["stride"]),
        pads=_pads(layer, kernel),
        group=groups,
    )


def _linear(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    if layer.switches["tied"]:
        table = f"{'/'.join(nodes.network.table_of(layer))}.table"
        return nodes.add("MatMul", out, *x, nodes.add("Transpose", f"{out}/weight", table, perm=(1, 0)))
    incoming, outgoing = layer.number("in_channels"), layer.number("out_channels")
    recipe = nodes.network.recipe
    residual = bool(recipe.residual) and layer.op_id.endswith(recipe.residual)
    deviation = recipe.residual_deviation if residual else recipe.linear_deviation
    weight = nodes.weight(layer, "weight", incoming, outgoing, deviation=deviation)
    if not layer.switches["bias"]:
        return nodes.add("MatMul", out, *x, weight)
    product = nodes.add("MatMul", f"{out}/product", *x, weight)
    return nodes.add("Add", out, product, nodes.weight(layer, "bias", outgoing))


def _batch_norm(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    channels = layer.number("in_channels")
    parts = [("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0)]
    inputs = [nodes.weight(layer, part, channels, value=value) for part, value in parts]
    epsilon = nodes.network.recipe.batch_norm_epsilon
    return nodes.add("BatchNormalization", out, *x, *inputs, epsilon=epsilon)


def _layer_norm(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    channels = layer.number("in_channels")
    inputs = [nodes.weight(layer, part, channels, value=value) for part, value in (("scale", 1.0), ("shift", 0.0))]
    epsilon = nodes.network.recipe.layer_norm_epsilon
    return nodes.add("LayerNormalization", out, *x, *inputs, axis=-1, epsilon=epsilon)


def _activation(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    function = layer.switches["function"]
    if function == "swish":
        return nodes.add("Mul", out, *x, nodes.add("Sigmoid", f"{out}/gate", *x))
    if function == "relu6":
        bounds = [nodes.constant(f"{out}/{bound}", value, "float32") for bound, value in (("low", 0), ("high", 6))]
        return nodes.add("Clip", out, *x, *bounds)
    if function not in ACTIVATIONS:
        raise UnknownOpError(f"op {layer.op_id!r}: activation {function!r} has no form{nearest(function, ACTIVATIONS)}")
    operator, attributes = ACTIVATIONS[function]
    return nodes.add(operator, out, *x, **attributes)


def _arithmetic(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    recipe = nodes.network.recipe
    for name in layer.weights:
        value = recipe.layer_scale if layer.kind == "mul" else 0.0
        deviation = 0.0 if layer.kind == "mul" else recipe.linear_deviation
        x = [*x, _own(nodes, layer, name, deviation=deviation, value=value)]
    return nodes.add("Mul" if layer.kind == "mul" else "Add", out, *x)


def _own(nodes: Nodes, layer: Layer, name: str, *, deviation: float = 0.0, value: float = 0.0) -> str:
    """Add a parameter that belongs to no layer, under the name that the graph gives it."""
    tensor = layer.weights[name]
    shape = tuple(int(d) for d in tensor.shape)
    nodes.weights.append(Weight(name=tensor.id, shape=shape, deviation=deviation, value=value))
    return tensor.id


def _mean(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    rank = layer.switches["rank"]
    axes = range(2, rank) if layer.switches.get("first") else range(1, rank - 1)
    axis = nodes.constant(f"{out}/axes", list(axes))
    return nodes.add("ReduceMean", out, *x, axis, keepdims=int(layer.switches["keep"]))


def _pool(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    kernel = _pair(layer.sizes["kernel"])
    window = {"kernel_shape": kernel, "strides": _pair(layer.sizes["stride"]), "pads": _pads(layer, kernel)}
    if layer.switches["function"] == "max":
        return nodes.add("MaxPool", out, *x, **window)
    return nodes.add("AveragePool", out, *x, **window, count_include_pad=1)


def _attention(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    """Products and a softmax; of shifted windows those of one image stay together, for each has a mask of its own."""
    _, length, width = (int(d) for d in layer.shapes[0])
    heads = layer.number("heads")
    added = x[3:]
    groups: tuple[int, ...] = ()
    if "window" in layer.switches["extra"]:
        height, breadth, window = (layer.number(s) for s in ("height", "width", "window"))
        name = f"shift_mask_{height}x{breadth}_{window}"
        mask = nodes.constant(name, shift_mask(height, breadth, window), "float32")
        added, groups = [*added, mask], (height * breadth // window**2,)
    if layer.switches["causal"]:
        later = np.triu(np.full((length, length), -np.inf, dtype="float32"), 1)
        added = [*added, nodes.constant(f"later_tokens_{length}", later, "float32")]
    lead = (-1, *groups) if groups else (0,)
    order = [*range(len(lead)), len(lead) + 1, len(lead), len(lead) + 2]
    q, k, v = (
        nodes.reshape(f"{out}/{name}_heads", each, *lead, length, heads, width // heads)
        for name, each in zip("qkv", x[:3], strict=True)
    )
    turned = [*order[:-2], order[-1], order[-2]]
    q = nodes.add("Transpose", f"{out}/q", q, perm=order)
    k = nodes.add("Transpose", f"{out}/k", k, perm=turned)
    v = nodes.add("Transpose", f"{out}/v", v, perm=order)
    scale = nodes.constant(f"{out}/scale", 1 / math.sqrt(width // heads), "float32")
    scores = nodes.add("Mul", f"{out}/scaled", nodes.add("MatMul", f"{out}/scores", q, k), scale)
    for i, each in enumerate(added):
        scores = nodes.add("Add", f"{out}/added{i}", scores, each)
    weights = nodes.add("Softmax", f"{out}/weights", scores, axis=-1)
    context = nodes.add("MatMul", f"{out}/context", weights, v)
    tokens = nodes.add("Transpose", f"{out}/tokens", context, perm=order)
    return nodes.reshape(out, tokens, *((-1,) if groups else (0,)), length, width)


def _flatten(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    if layer.switches.get("first") and layer.switches["rank"] == len(FIRST):
        x = [nodes.add("Transpose", f"{out}/last", *x, perm=LAST)]
    return nodes.reshape(out, x[0], 0, *(int(d) for d in layer.shapes[0][1:]))


def _split(layer: Layer, x: Sequence[str]) -> Any:
    outputs = [_name(t) for t in layer.outputs]
    return helper.make_node("Split", list(x), outputs, name=layer.op_id, axis=-1, num_outputs=len(outputs))


def _first(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    ends = [nodes.constant(f"{out}/{name}", [value]) for name, value in (("start", 0), ("end", 1), ("axis", 1))]
    return nodes.add("Slice", out, *x, *ends)


def _prepend(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    (name,) = layer.weights
    token = _own(nodes, layer, name, deviation=nodes.network.recipe.linear_deviation)
    examples = nodes.add("Shape", f"{out}/examples", *x, start=0, end=1)
    rest = nodes.constant(f"{out}/one", [1, layer.number("in_channels")])
    shape = nodes.add("Concat", f"{out}/shape", examples, rest, axis=0)
    return nodes.add("Concat", out, nodes.add("Expand", f"{out}/tokens", token, shape), *x, axis=1)


def _concat(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    axis = layer.switches["axis"]
    return nodes.add("Concat", out, *x, axis=LAST[axis] if layer.switches.get("first") else axis)


def _embedding(nodes: Nodes, layer: Layer, x: list[str], out: str) -> str:
    rows, channels = (int(d) for d in layer.weights["table"].shape)
    table = nodes.weight(layer, "table", rows, channels, deviation=nodes.network.recipe.linear_deviation)
    form = layer.switches["form"]
    if form == "positions":
        x = [nodes.constant(f"{out}/index", np.arange(layer.number("tokens"))[None])]
    elif form == "offsets":
        x = [nodes.constant(f"{out}/index", window_offsets(layer.number("window")))]
    return nodes.add("Gather", out, table, *x, axis=0)


RULES: dict[str, Rule] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "add": _arithmetic,
    "mul": _arithmetic,
    "mean": _mean,
    "pool": _pool,
    "attention": _attention,
    "flatten": _flatten,
    "first": _first,
    "prepend": _prepend,
    "concat": _concat,
    "embedding": _embedding,
    "space_to_depth": onnx_windows.regrid,
    "space_to_batch": onnx_windows.regrid,
    "batch_to_space": onnx_windows.regrid,
    "window_partition": onnx_windows.window_partition,
    "window_reverse": onnx_windows.window_reverse,
    "roll": onnx_windows.roll,
    "heads_first": onnx_windows.heads_first,
    "split": lambda nodes, layer, x, out: out,
}
