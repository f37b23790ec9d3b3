"""The rules that say of each op of a graph which layer it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from roofline.export.layers import KINDS, Context, Layer, Size, layer
from roofline.graph import movement, ops
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor


def layers_of(graph: OpGraph) -> Iterator[Layer]:
    """Yield the layers of a graph.

    Raises
    ------
    UnknownOpError
        An op is no layer that can be written; the message names it.
    """
    shares: list[Layer] = []
    repeated: set[str] = set()
    for op_id, op in graph.ops.items():
        context = Context(graph, op_id, op)
        rule = KINDS.get(type(op))
        if rule is None or op.times != 1 or len(op.outputs) != 1:
            raise context.fail("no layer of a network file computes it")
        made = Layer(
            **{"kind": op.kind, **rule(context)},
            name=op_id.rpartition("/")[2],
            op_id=op_id,
            inputs=tuple(t.id for t in context.inputs if not t.stored and t.id not in repeated),
            outputs=op.outputs,
            shapes=(context.output.shape,),
        )
        if made.kind == "repeated":
            repeated.update(made.outputs)
            continue
        if made.kind != "share":
            if shares:
                raise Context(graph, shares[0].op_id, graph.ops[shares[0].op_id]).fail("other parts do not follow it")
            yield made
            continue
        shares.append(made)
        if [(s.inputs, s.switches["number"]) for s in shares] != [(made.inputs, i) for i in range(len(shares))]:
            raise context.fail("it is not the next of equal parts")
        if len(shares) == made.switches["of"]:
            yield _split(shares)
            shares = []


def _split(shares: list[Layer]) -> Layer:
    """Return the layer that makes all equal parts of a tensor."""
    return Layer(
        kind="split",
        name=shares[0].name,
        op_id=shares[0].op_id,
        inputs=shares[0].inputs,
        outputs=tuple(t for s in shares for t in s.outputs),
        shapes=tuple(shape for s in shares for shape in s.shapes),
        switches={"names": tuple(s.name for s in shares)},
    )


def _stored(context: Context, *names: str) -> dict[str, Tensor]:
    """Return the stored operands behind the first, by name."""
    found = context.inputs[1:]
    if not all(t.stored for t in found):
        raise context.fail("its weights are computed")
    return dict(zip(names, found, strict=False))


def _one(values: tuple[Any, ...]) -> Size:
    """Return the number that all axes share, or one for each.

    Examples
    --------
    >>> _one((3, 3)), _one((1, 7))
    (3, (1, 7))
    """
    whole = tuple(int(v) for v in values)
    return whole[0] if len(set(whole)) == 1 else whole


def border(size: int, kernel: int, stride: int, pad: Any) -> tuple[int, int]:
    """Return how many zeros stand before and behind an axis.

    ``"same"`` borders an odd kernel by its half on both sides, as the papers' PyTorch code does; an even kernel has no
    middle and gets what the output needs, the smaller part before.

    Examples
    --------
    >>> border(224, 3, 2, "same"), border(112, 2, 1, "same"), border(112, 2, 2, "same"), border(299, 3, 2, 0)
    ((1, 1), (0, 1), (0, 0), (0, 0))
    """
    if pad != "same":
        return (int(pad), int(pad))
    if kernel % 2:
        return (kernel // 2, kernel // 2)
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return (total // 2, total - total // 2)


def _window(context: Context, op: Any) -> dict[str, Any]:
    spatial = context.inputs[0].shape[1:-1]
    pads = [op.padding] * len(spatial) if isinstance(op.padding, str) else op.padding
    axes = zip(spatial, op.kernel, op.stride, pads, strict=True)
    borders = tuple(border(int(s), int(k), int(t), p) for s, k, t, p in axes)
    half = all(k % 2 == 1 and b == (k // 2, k // 2) for k, b in zip(op.kernel, borders, strict=True))
    none = all(b == (0, 0) for b in borders)
    return {
        "padding": "none" if none and not (half and op.padding == "same") else "half" if half else borders,
        "rank": len(spatial),
    }


@layer(ops.Conv)
def conv(context: Context) -> dict[str, Any]:
    """A convolution; a depthwise one has no groups of its own."""
    op = context.op
    weights = _stored(context, "weight", "bias")
    sizes: dict[str, Size] = {
        "in_channels": int(context.inputs[0].shape[-1]),
        "out_channels": int(context.output.shape[-1]),
        "kernel": _one(op.kernel),
        "stride": _one(op.stride),
    }
    if op.form == "grouped":
        sizes["groups"] = int(op.groups)
    switches = {"form": op.form, "bias": "bias" in weights, **_window(context, op)}
    return {"weights": weights, "switches": switches, "sizes": sizes}


@layer(ops.MatMul)
def linear(context: Context) -> dict[str, Any]:
    """A fully connected layer."""
    weights = _stored(context, "weight", "bias")
    if len(weights["weight"].shape) != 2:
        raise context.fail("its weight is no matrix")
    switches = {"bias": "bias" in weights, "tied": weights["weight"].tied}
    sizes = {"in_channels": int(context.inputs[0].shape[-1]), "out_channels": int(context.output.shape[-1])}
    return {"kind": "linear", "weights": weights, "switches": switches, "sizes": sizes}


@layer(ops.BatchNorm)
def batch_norm(context: Context) -> dict[str, Any]:
    """Batch norm with running statistics."""
    weights = _stored(context, "scale", "shift", "mean", "variance")
    return {"weights": weights, "sizes": {"in_channels": int(context.output.shape[-1])}}


@layer(ops.Norm)
def norm(context: Context) -> dict[str, Any]:
    """Layer norm over the channels."""
    weights = _stored(context, "scale", "shift")
    if context.op.form != "layer" or len(weights) != 2:
        raise context.fail(f"a norm of form {context.op.form!r} with {len(weights)} weights")
    return {"kind": "layer_norm", "weights": weights, "sizes": {"in_channels": int(context.output.shape[-1])}}


@layer(ops.Elementwise)
def elementwise(context: Context) -> dict[str, Any]:
    """An activation, a sum, or a product; the second operand may be a parameter."""
    op, tensors = context.op, context.inputs
    if op.function in ("add", "mul"):
        stored = {t.id.rpartition("/")[2]: t for t in tensors if t.stored}
        if len(tensors) != 2 or len(stored) == 2 or tensors[0].stored:
            raise context.fail("it takes a computed operand and another one")
        return {"kind": op.function, "weights": stored, **_free(context, stored)}
    if len(tensors) != 1:
        raise context.fail(f"element-wise {op.function!r} of {len(tensors)} operands")
    return {"kind": "activation", "switches": {"function": op.function}}


def _free(context: Context, stored: dict[str, Tensor]) -> dict[str, Any]:
    """Return switches and sizes of parameters that belong to no layer: a vector, or (1, tokens, channels)."""
    for tensor in stored.values():
        *lead, channels = (int(d) for d in tensor.shape)
        sizes: dict[str, Size] = {"in_channels": channels}
        if len(lead) == 2 and lead[1] != 1:
            sizes["tokens"] = lead[1]
        elif any(d != 1 for d in lead):
            raise context.fail(f"a parameter of shape {tensor.shape!r}")
        return {"switches": {"rank": len(lead) + 1}, "sizes": sizes}
    return {}


@layer(ops.Attention)
def attention(context: Context) -> dict[str, Any]:
    """Attention, with what is added to its scores: for each head, or for each window of an image."""
    op, tensors = context.op, context.inputs
    if op.heads != op.kv_heads:
        raise context.fail("heads share keys")
    extra = [tensors[3:][i] for i in range(len(tensors) - 3)]
    forms = tuple("window" if len(t.shape) == 4 else "head" for t in extra)
    sizes: dict[str, Size] = {"heads": int(op.heads)}
    buffers = {t.id.rpartition("/")[2]: t for t in extra if t.stored}
    if buffers:
        height, width, side = _grid(context)
        sizes |= {"height": height, "width": width, "window": side}
    return {"weights": buffers, "switches": {"causal": op.causal, "extra": forms}, "sizes": sizes}


@layer(ops.Reduce)
def mean(context: Context) -> dict[str, Any]:
    """Mean over all positions."""
    op = context.op
    rank = len(context.inputs[0].shape)
    if op.function != "mean" or tuple(a % rank for a in op.axes) != tuple(range(1, rank - 1)):
        raise context.fail(f"{op.function} over axes {op.axes!r}")
    return {"kind": "mean", "switches": {"rank": rank, "keep": op.keep}}


@layer(ops.Pool)
def pool(context: Context) -> dict[str, Any]:
    """Maximum or mean in a window; zeros of the border count for the mean."""
    op = context.op
    switches = {"function": op.function, **_window(context, op)}
    return {"switches": switches, "sizes": {"kernel": _one(op.kernel), "stride": _one(op.stride)}}


@layer(movement.Reshape)
def reshape(context: Context) -> dict[str, Any]:
    """Neighbouring axes become one."""
    old, new = context.inputs[0].shape, context.op.shape
    for first in (*range(1, len(old)), 0):
        last = first + len(old) - len(new)
        if last < len(old) and tuple(new) == (*old[:first], math.prod(old[first : last + 1]), *old[last + 1 :]):
            return {"kind": "flatten", "switches": {"first_axis": first, "last_axis": last, "rank": len(old)}}
    raise context.fail(f"from {old!r} to {new!r} no neighbouring axes become one")


@layer(movement.Part)
def part(context: Context) -> dict[str, Any]:
    """One of equal parts of the last axis, or the first element of another one."""
    op, x = context.op, context.inputs[0]
    rank = len(x.shape)
    axis = op.axis % rank
    size, whole = int(op.size), int(x.shape[axis])
    if axis == rank - 1 and whole % size == 0 and op.start % size == 0:
        return {"kind": "share", "switches": {"of": whole // size, "number": int(op.start) // size}}
    if size == 1 and op.start == 0 and axis == 1:
        return {"kind": "first"}
    raise context.fail(f"{size!r} elements from {op.start!r} on, of axis {axis!r}")


@layer(movement.Expand)
def expand(context: Context) -> dict[str, Any]:
    """A vector that every example gets in front of its tokens: part of the concatenation that reads it."""
    source, readers = context.inputs[0], context.graph.readers[context.op.outputs[0]]
    shape = context.op.shape
    ones = source.stored and len(shape) == 3 and tuple(source.shape[:2]) == (1, 1) and shape[1] == 1
    reader = context.graph.ops[readers[0]] if len(readers) == 1 else None
    if not ones or not isinstance(reader, movement.Concat) or reader.inputs[0] != context.op.outputs[0]:
        raise context.fail("only a vector in front of the tokens of every example is repeated")
    return {"kind": "repeated"}


@layer(movement.Concat)
def concat(context: Context) -> dict[str, Any]:
    """Tensors side by side along an axis; or a trained vector in front of tokens."""
    tensors, rank = context.inputs, len(context.output.shape)
    axis = context.op.axis % rank
    first = context.graph.ops.get(context.graph.producers.get(tensors[0].id, ""))
    if isinstance(first, movement.Expand) and axis == 1 and len(tensors) == 2:
        token = context.graph.tensors[first.inputs[0]]
        weights = {token.id.rpartition("/")[2]: token}
        return {"kind": "prepend", "weights": weights, "sizes": {"in_channels": int(token.shape[-1])}}
    if any(t.stored for t in tensors):
        raise context.fail("a parameter beside computed tensors")
    return {"switches": {"axis": axis, "rank": rank}}


@layer(movement.Embedding)
def embedding(context: Context) -> dict[str, Any]:
    """Rows of a table: of tokens, of every position in order, or of the offsets inside a window."""
    index, table = context.inputs
    sizes: dict[str, Size] = {"rows": int(table.shape[0]), "out_channels": int(table.shape[1])}
    weights, form = {"table": table}, "tokens"
    if index.stored:
        weights["index"] = index
        if len(index.shape) == 2 and index.shape[0] == 1:
            form, sizes["tokens"] = "positions", int(index.shape[1])
        else:
            side = math.isqrt(math.isqrt(int(index.elements)))
            if side**4 != index.elements or (2 * side - 1) ** 2 != table.shape[0]:
                raise context.fail("it is not known what its stored indices are")
            form = "offsets"
            sizes = {"heads": int(table.shape[1]), "window": side}
    return {"weights": weights, "switches": {"form": form}, "sizes": sizes}


@layer(movement.Move)
def move(context: Context) -> dict[str, Any]:
    """A copy in another order, by its name."""
    op, x, y = context.op, context.inputs[0].shape, context.output.shape
    if op.function in ("space_to_depth", "space_to_batch", "batch_to_space"):
        return {"kind": op.function}
    if op.function == "roll":
        side = _grid(context)[2]
        axis = next((a for a, name in ((1, "height"), (2, "width")) if name in context.op_id), None)
        if axis is None:
            raise context.fail("it does not say which axis rolls")
        back = any(context.graph.ops[i].kind == "move" for i in _before(context))
        return {"kind": "roll", "switches": {"axis": axis, "back": back}, "sizes": {"window": side}}
    if op.function == "window_partition":
        return {"kind": "window_partition", "sizes": {"window": math.isqrt(int(y[1]))}}
    if op.function == "window_reverse":
        return {
            "kind": "window_reverse",
            "sizes": {"window": math.isqrt(int(x[1])), "height": int(y[1]), "width": int(y[2])},
        }
    if op.function == "transpose" and len(x) == 2 and len(y) == 3 and y[0] == x[1]:
        return {"kind": "heads_first"}
    raise context.fail(f"a copy {op.function!r} from {x!r} to {y!r}")


def _block(context: Context) -> str:
    return context.op_id.partition("/")[0]


def _before(context: Context) -> list[str]:
    """Return the ops of the same block that cut an image into windows and stand before this op."""
    ids = list(context.graph.ops)
    return [
        i
        for i in ids[: ids.index(context.op_id)]
        if i.partition("/")[0] == _block(context) and getattr(context.graph.ops[i], "function", "") == "window_reverse"
    ]


def _grid(context: Context) -> tuple[int, int, int]:
    """Return height, width and side of the windows of the block that an op stands in."""
    for op_id, op in context.graph.ops.items():
        if op_id.partition("/")[0] == _block(context) and getattr(op, "function", "") == "window_partition":
            _, height, width, _ = (int(d) for d in context.graph.tensors[op.inputs[0]].shape)
            return height, width, math.isqrt(int(context.graph.tensors[op.outputs[0]].shape[1]))
    raise context.fail("its block has no windows")
