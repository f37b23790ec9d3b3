"""How the PyTorch writer spells a layer: what it needs before it runs, and its call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roofline.errors import UnknownOpError, nearest
from roofline.export.body import Step, atom, halved, summed
from roofline.export.layers import Layer
from roofline.export.spelling import attribute
from roofline.export.tree import Module

#: activation -> its call
ACTIVATIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "leaky_relu": "F.leaky_relu({})",
    "elu": "F.elu({})",
    "swish": "F.silu({})",
    "mish": "F.mish({})",
    "softplus": "F.softplus({})",
    "sigmoid": "torch.sigmoid({})",
    "hard_sigmoid": "F.hardsigmoid({})",
    "hard_swish": "F.hardswish({})",
    "tanh": "torch.tanh({})",
    "gelu": "F.gelu({})",
    "gelu_tanh": 'F.gelu({}, approximate="tanh")',
}


# what stands in __init__ ----------------------------------------------------------------------------------------------


def _conv_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    if step.switches["rank"] != 2:
        raise UnknownOpError(f"op {step.op_id!r} (conv) has no form in PyTorch: it is not over images")
    padding, kernel = step.switches["padding"], sizes["kernel"]
    told = [sizes["in_channels"], sizes["out_channels"], kernel]
    told += [f"stride={sizes['stride']}"] * (sizes["stride"] != "1")
    if padding == "half" and kernel != "1":
        told.append(f"padding={halved(kernel)}")
    groups = sizes["in_channels"] if step.switches["form"] == "depthwise" else sizes.get("groups", "1")
    told += [f"groups={groups}"] * (groups != "1") + ["bias=False"] * (not step.switches["bias"])
    yield step.name, f"nn.Conv2d({', '.join(told)})"


def _linear_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not step.switches["tied"]:
        bias = ", bias=False" * (not step.switches["bias"])
        yield step.name, f"nn.Linear({sizes['in_channels']}, {sizes['out_channels']}{bias})"


def _batch_norm_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield step.name, f"nn.BatchNorm2d({sizes['in_channels']}, eps=BATCH_NORM_EPSILON)"


def _layer_norm_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield step.name, f"nn.LayerNorm({sizes['in_channels']}, eps=LAYER_NORM_EPSILON)"


def _embedding_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    form = step.switches["form"]
    rows = f"(2 * {sizes['window']} - 1) ** 2" if form == "offsets" else sizes["rows"]
    yield step.name, f"nn.Embedding({rows}, {sizes.get('out_channels') or sizes['heads']})"
    if form != "tokens":
        index = f"window_offsets({sizes['window']})" if form == "offsets" else f"torch.arange({sizes['tokens']})[None]"
        yield f"{step.name}_index", f"nn.Buffer({index}, persistent=False)"


def _attention_built(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "window" in step.switches["extra"]:
        mask = f"shift_mask({sizes['height']}, {sizes['width']}, {sizes['window']})"
        yield "mask", f"nn.Buffer({mask}, persistent=False)"


def parameter(step: Layer, sizes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the parameters that belong to no layer."""
    for name in step.weights:
        shape = ["1"] * (step.switches.get("rank", 3) - 1) + [sizes["in_channels"]]
        if "tokens" in sizes:
            shape[1] = sizes["tokens"]
        if step.kind == "mul":
            yield name, f"nn.Parameter(torch.full(({', '.join(shape)},), LAYER_SCALE))"
        else:
            yield name, f"drawn({', '.join(shape)})"


BUILT = {
    "add": parameter,
    "mul": parameter,
    "prepend": parameter,
    "conv": _conv_built,
    "linear": _linear_built,
    "batch_norm": _batch_norm_built,
    "layer_norm": _layer_norm_built,
    "embedding": _embedding_built,
    "attention": _attention_built,
}


# what stands in forward -----------------------------------------------------------------------------------------------


def running_sizes(step: Step) -> list[str]:
    """Return the sizes that a step is told when it runs."""
    if isinstance(step, Module):
        return []
    wanted = {
        "attention": ["heads"],
        "pool": ["kernel", "stride"],
        "roll": ["window"],
        "window_partition": ["window"],
        "window_reverse": ["window", "height", "width"],
    }
    return wanted.get(step.kind, [])


def _module(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    padding = step.switches.get("padding")
    if isinstance(padding, tuple):
        return f"self.{attribute(step.name)}({_padded(x[0], padding)})"
    return f"self.{attribute(step.name)}({', '.join(x)})"


def _padded(x: str, padding: tuple[tuple[int, int], ...], value: str = "") -> str:
    (top, bottom), (left, right) = padding
    return f"F.pad({x}, ({left}, {right}, {top}, {bottom}){value})"


def _linear(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    return f"F.linear({x[0]}, table)" if step.switches["tied"] else _module(step, x, sizes)


def _activation(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    function = step.switches["function"]
    if function not in ACTIVATIONS:
        raise UnknownOpError(f"op {step.op_id!r}: activation {function!r} has no form{nearest(function, ACTIVATIONS)}")
    return ACTIVATIONS[function].format(x[0])


def _add(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    return summed(*x, *(f"self.{attribute(n)}" for n in step.weights))


def _mul(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    return " * ".join([*map(atom, x), *(f"self.{attribute(n)}" for n in step.weights)])


def _mean(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    rank = step.switches["rank"]
    axes = tuple(range(2, rank)) if step.switches.get("first") else tuple(range(1, rank - 1))
    return f"{atom(x[0])}.mean({axes[0] if len(axes) == 1 else axes}{', keepdim=True' * step.switches['keep']})"


def _pool(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    padding, function = step.switches["padding"], "max" if step.switches["function"] == "max" else "avg"
    source, border = x[0], ""
    if padding == "half":
        border = f", padding={halved(sizes['kernel'])}"
    elif padding != "none":
        source = _padded(x[0], padding, ', value=float("-inf")' * (function == "max"))
    return f"F.{function}_pool2d({source}, {sizes['kernel']}, stride={sizes['stride']}{border})"


def _attention(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    extra, told = step.switches["extra"], [*x[:3], sizes["heads"]]
    if "window" in extra:
        return f"attend_in_windows({', '.join([*x, 'self.mask', sizes['heads']])})"
    told += [*x[3:4]] + ["causal=True"] * step.switches["causal"]
    return f"attend({', '.join(told)})"


def _flatten(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    s = step.switches
    if s.get("first") and s["rank"] == 4:
        if (s["first_axis"], s["last_axis"]) != (1, 2):
            raise UnknownOpError(f"op {step.op_id!r} (reshape) has no form in PyTorch: it joins channels")
        return f"{atom(x[0])}.flatten(2).transpose(1, 2)"
    return f"{atom(x[0])}.flatten({s['first_axis']}, {s['last_axis']})"


def _split(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    return f"{atom(x[0])}.chunk({len(step.outputs)}, dim=-1)"


def _first(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    return f"{atom(x[0])}[:, :1]"


def _prepend(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    (name,) = step.weights
    return f"prepend(self.{attribute(name)}, {x[0]})"


def _concat(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    s = step.switches
    axis = s["axis"]
    if s.get("first"):
        axis = (0, 2, 3, 1)[axis]
    return f"torch.cat([{', '.join(x)}], dim={axis})"


def _embedding(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    name = f"self.{attribute(step.name)}"
    return f"{name}({x[0]})" if step.switches["form"] == "tokens" else f"{name}(self.{attribute(step.name)}_index)"


def _moved(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    text = f"{step.kind}({'channels_last(' * bool(step.switches.get('first'))}{', '.join([x[0]])}"
    text += ")" * bool(step.switches.get("first")) + "".join(f", {v}" for v in sizes.values()) + ")"
    return f"channels_first({text})" if step.switches.get("first") else text


def _roll(step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
    sign, window = "" if step.switches["back"] else "-", sizes["window"]
    shift = str(int(window) // 2) if window.isdigit() else f"({window} // 2)"
    return f"{atom(x[0])}.roll({sign}{shift}, {step.switches['axis']})"


CALLED = {
    "conv": _module,
    "batch_norm": _module,
    "layer_norm": _module,
    "linear": _linear,
    "activation": _activation,
    "add": _add,
    "mul": _mul,
    "mean": _mean,
    "pool": _pool,
    "attention": _attention,
    "flatten": _flatten,
    "split": _split,
    "first": _first,
    "prepend": _prepend,
    "concat": _concat,
    "embedding": _embedding,
    "roll": _roll,
    "heads_first": _moved,
    "space_to_depth": _moved,
    "space_to_batch": _moved,
    "batch_to_space": _moved,
    "window_partition": _moved,
    "window_reverse": _moved,
}
