"""What every compiler does first: means, biases and transpositions that belong to the op beside them."""

from __future__ import annotations

from dataclasses import fields, replace

from roofline.frontends.jax.patterns.sketch import Sketch
from roofline.graph.movement import Move, Reshape
from roofline.graph.op import Op
from roofline.graph.ops import Attention, Conv, Elementwise, MatMul, Pool, Reduce, Softmax
from roofline.graph.resampling import ConvTranspose

CONTRACTIONS = (MatMul, Conv, ConvTranspose)


def fold_duplicates(sketch: Sketch) -> None:
    """Compute once what is asked for twice; what is updated in place, or written anew, is never the same."""
    first: dict[tuple[object, ...], Op] = {}
    for op_id in list(sketch.ops):
        op = sketch.ops[op_id]
        values = tuple((f.name, getattr(op, f.name)) for f in fields(op) if f.name != "outputs")
        if op.in_place or op.kind == "fill":
            continue
        twin = first.setdefault((type(op), *values), op)
        same_formats = all(
            sketch.tensors[a].dtype is sketch.tensors[b].dtype for a, b in zip(op.outputs, twin.outputs, strict=True)
        )
        if twin is not op and same_formats:
            for old, new in zip(op.outputs, twin.outputs, strict=True):
                sketch.rename(old, new)


def fold_means(sketch: Sketch) -> None:
    """A sum that is divided by a number is a mean."""
    for op_id, op in list(sketch.ops.items()):
        if not isinstance(op, Elementwise) or op.function not in ("scale", "div") or not all(op.broadcast[1:]):
            continue
        source = sketch.source(op.inputs[0])
        total = sketch.producer(source)
        counted = all(_is_fill(sketch, t) for t in op.inputs[1:])
        if not counted or not sketch.only_user(source):
            continue
        if isinstance(total, Reduce) and total.function == "sum":
            sketch.put(sketch.writer[source], replace(total, function="mean"))
        elif not (isinstance(total, Pool) and total.function == "mean"):
            continue
        _become_view(sketch, op_id, op)


def _is_fill(sketch: Sketch, tensor: str) -> bool:
    op = sketch.producer(tensor)
    return op is not None and op.kind == "fill"


def _become_view(sketch: Sketch, op_id: str, op: Op) -> None:
    shape = sketch.tensors[op.outputs[0]].shape
    if sketch.tensors[op.inputs[0]].shape == shape:
        sketch.rename(op.outputs[0], op.inputs[0])
    else:
        sketch.put(op_id, Reshape(inputs=op.inputs[:1], outputs=op.outputs, shape=shape, times=op.times))


def fold_softmax(sketch: Sketch) -> None:
    """exp(x - max) / sum along the last axis of memory is a softmax."""
    for op_id, op in list(sketch.ops.items()):
        if not isinstance(op, Elementwise) or op.function != "div" or op.broadcast != (False, True):
            continue
        x = _softmax_input(sketch, op)
        if x is not None:
            sketch.put(op_id, Softmax(inputs=(x,), outputs=op.outputs, times=op.times))


def _softmax_input(sketch: Sketch, op: Elementwise) -> str | None:
    exponential = sketch.producer(op.inputs[0])
    total = sketch.producer(sketch.source(op.inputs[1]))
    if not (isinstance(exponential, Elementwise) and exponential.function == "exp" and isinstance(total, Reduce)):
        return None
    difference = sketch.producer(exponential.inputs[0])
    if not isinstance(difference, Elementwise) or difference.function != "sub" or len(difference.inputs) != 2:
        return None
    largest = sketch.producer(sketch.source(difference.inputs[1]))
    last = (len(sketch.tensors[difference.inputs[0]].shape) - 1,)
    fits = (
        isinstance(largest, Reduce)
        and total.function == "sum"
        and largest.function == "max"
        and largest.axes == total.axes == last
        and sketch.source(largest.inputs[0]) == sketch.source(difference.inputs[0])
        and sketch.source(total.inputs[0]) == sketch.source(op.inputs[0])
        and len(sketch.users(op.inputs[0])) == 2
        and sketch.only_user(difference.outputs[0])
        and sketch.only_user(largest.outputs[0])
        and sketch.only_user(total.outputs[0])
    )
    return difference.inputs[0] if fits else None


def fold_biases(sketch: Sketch) -> None:
    """A parameter for each channel, added to a product that nobody else reads, is its bias."""
    for op_id, op in list(sketch.ops.items()):
        if not isinstance(op, Elementwise) or op.function != "add" or op.broadcast != (False, True):
            continue
        source, bias = sketch.source(op.inputs[0]), sketch.source(op.inputs[1])
        product, vector = sketch.producer(source), sketch.tensors[bias]
        if not isinstance(product, CONTRACTIONS) or len(product.inputs) != 2 or not vector.stored:
            continue
        channels = sketch.tensors[source].shape[-1]
        if vector.elements != channels or not sketch.only_user(source) or product.times != op.times:
            continue
        where = sketch.writer[source]
        flat = sketch.view(bias, (int(channels),), f"{where}/bias", op.times)
        sketch.put(where, replace(product, inputs=(*product.inputs, flat)))
        _become_view(sketch, op_id, op)


def fold_transposes(sketch: Sketch) -> None:
    """A copy beside a product is none: products read and write memory in any order."""
    for op_id, op in list(sketch.ops.items()):
        if isinstance(op, Move) and op.function == "transpose" and (_feeds_products(sketch, op) or _ends(sketch, op)):
            view = Reshape(inputs=op.inputs, outputs=op.outputs, shape=op.shape, times=op.times)
            sketch.put(op_id, view)


def _feeds_products(sketch: Sketch, op: Move) -> bool:
    users = sketch.users(op.outputs[0])
    return "" not in users and all(isinstance(sketch.ops[u], (*CONTRACTIONS, Attention)) for u in users)


def _ends(sketch: Sketch, op: Move) -> bool:
    """Whether the copied tensor is a product's result, as it is or after element-wise ops, and nobody else reads it."""
    source = sketch.source(op.inputs[0])
    while sketch.only_user(source):
        writer = sketch.producer(source)
        if isinstance(writer, (*CONTRACTIONS, Attention)):
            return True
        if not isinstance(writer, Elementwise) or writer.broadcast.count(False) != 1:
            return False
        source = sketch.source(writer.inputs[writer.broadcast.index(False)])
    return False
