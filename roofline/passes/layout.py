"""Memory format: channels last or channels first, as the program asks the runtime for it."""

from __future__ import annotations

from dataclasses import replace

from roofline.errors import InputError, nearest
from roofline.graph.movement import Concat, Move, Reshape
from roofline.graph.op import Layout, Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm, Cast, Conv, Elementwise, MatMul, Norm, Pool
from roofline.graph.resampling import Pad, Resize
from roofline.graph.tensor import Arrival, Tensor
from roofline.numeric import same
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter

LAYOUTS: tuple[Layout, ...] = ("nhwc", "nchw")
#: ops that leave their result in the format of their first operand
KEEP_FORMAT: tuple[type[Op], ...] = (Elementwise, Cast, BatchNorm, Pool, Pad, Resize, Concat)
#: images have at least this many dimensions: batch, two sides, channels; and what they turn into, tokens
IMAGE_RANK, TOKEN_RANK = 4, 3


def check_layout(layout: str) -> Layout:
    """Return `layout` in lower case.

    Raises
    ------
    InputError
        It is neither ``nhwc`` nor ``nchw``.
    """
    for known in LAYOUTS:
        if layout.lower() == known:
            return known
    raise InputError(f"unknown layout {layout!r}{nearest(layout, LAYOUTS)}")


def apply_layout(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph` in the memory format of the run, with copies where the runtime makes them."""
    return (follow_layout if policy.layout_copies else set_layout)(graph, policy.layout)


def set_layout(graph: OpGraph, layout: Layout) -> OpGraph:
    """Return `graph` with its convolutions in a memory format; the runtime says what that costs."""
    if all(op.layout == layout for op in graph.ops.values() if isinstance(op, Conv)):
        return graph
    ops = {i: replace(op, layout=layout) if isinstance(op, Conv) else op for i, op in graph.ops.items()}
    return OpGraph(ops, graph.tensors, graph.outputs, graph.name)


def follow_layout(graph: OpGraph, layout: Layout) -> OpGraph:
    """Return `graph` as a framework runs it that passes memory formats from op to op, and copies where they differ.

    Images enter in `layout`, and so do the weights that are stored. A convolution is channels last if its image or its
    weights are (PyTorch, cudnn_conv_suggest_memory_format); weights that the program computes are channels first. Group
    norm works channels first (ATen, native_group_norm on CUDA); norms and products over the channels, channels last.
    What other ops return has no format, and is copied by nobody.
    """
    new = Rewriter(graph)
    formats: dict[str, Layout] = {}
    for op_id, op in graph.ops.items():
        place = op.broadcast.index(False) if isinstance(op, Elementwise) else 0
        image = graph.tensors[op.inputs[place]] if op.inputs else None
        now = _format(image, formats, layout)
        if image is None or image.stored or (now is None and not isinstance(op, (Conv, Norm, MatMul))):
            new.keep(op_id, op)
            continue
        wanted = _wanted(op, graph, now or layout, layout)
        kept = op if op.layout == wanted else replace(op, layout=wanted)
        if now is not None and wanted != now:
            kept = replace(kept, inputs=(_copy(new, op_id, new.tensors[new.now(image.id)], wanted), *op.inputs[1:]))
        new.keep(op_id, kept)
        if _passes_on(op, image, graph):
            formats.update(dict.fromkeys(op.outputs, wanted))
    for t in graph.outputs:
        if t in graph.producers:
            new.put(replace(new.tensors[new.now(t)], arrival=Arrival(layout=formats.get(t))))
    return new.result()


def _format(image: Tensor | None, formats: dict[str, Layout], layout: Layout) -> Layout | None:
    if image is None or len(image.shape) < TOKEN_RANK:
        return None
    if image.role == "input" and image.arrival is not None:
        return formats.get(image.id, image.arrival.layout)
    enters = image.role == "input" and len(image.shape) >= IMAGE_RANK
    return formats.get(image.id, layout if enters else None)


def _passes_on(op: Op, image: Tensor, graph: OpGraph) -> bool:
    """Whether the format of an op's result is known: that in which it takes its image."""
    if isinstance(op, Reshape):  # tokens of an image stay as they lie
        shape = graph.tensors[op.outputs[0]].shape
        return bool(shape) and same(shape[-1], image.shape[-1])
    if isinstance(op, Concat) and len(image.shape) < IMAGE_RANK:  # written anew
        return False
    return isinstance(op, (Conv, Norm, MatMul, *KEEP_FORMAT))


def _wanted(op: Op, graph: OpGraph, now: Layout, layout: Layout) -> Layout:
    """Return the format in which an op takes its image."""
    if isinstance(op, Conv):
        return layout if layout == "nhwc" and _stored(graph, op.inputs[1]) else now
    if isinstance(op, Norm):
        return "nchw" if op.form == "group" else "nhwc"
    return "nhwc" if isinstance(op, MatMul) else now


def _stored(graph: OpGraph, tensor: str) -> bool:
    """Whether a weight is a parameter, or the cast of one."""
    root = graph.root(tensor)
    producer = graph.producers.get(root)
    if producer is not None and isinstance(graph.op(producer), Cast):
        return _stored(graph, graph.op(producer).inputs[0])
    return graph.tensors[root].stored


def _copy(new: Rewriter, op_id: str, image: Tensor, layout: Layout) -> str:
    name, times = f"{op_id}.to_{layout}", new.graph.op(op_id).times
    return new.add_op(name, Move, image, function="relayout", shape=image.shape, times=times).id
