"""Operators of ONNX Runtime that hold several standard ones: embeddings, activations, norms, channels-last images."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES, DType
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.rules.convolutions import conv, fused_conv, pool
from roofline.frontends.onnx.rules.norms import group_norm, normalised, softmax
from roofline.frontends.onnx.rules.products import product_of, unpacked
from roofline.frontends.onnx.rules.sampling import sampled
from roofline.frontends.onnx.rules.shapes import masked, part
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import axis_of
from roofline.frontends.onnx.writer import Writer
from roofline.graph import indexing, movement

FP32, INT32 = DTYPES["fp32"], DTYPES["int32"]

# embeddings ------------------------------------------------------------------------


def rows_of(w: Writer, table: Value, ids: Value, dtype: DType) -> Value:
    """Look rows of a table (V, C) up; integers leave as numbers."""
    if table.rank != 2:
        raise ShapeError(f"a table of shape {table.shape!r}; allowed: (V, C)")
    tensor = w.read(table, role="parameter" if table.known else None)
    return w.value(w.add(movement.Embedding, w.read(ids), tensor, dtype=dtype))


@lowering("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=MICROSOFT)
def embed_norm(w: Writer, node: Node) -> list[Value]:
    """Rows of words, positions and segments, their sum, its norm; the lengths of the masked examples; the sum."""
    ids, segments, words, positions = node[0], node.get(1), node[2], node[3]
    dtype = words.dtype if words.dtype.kind == "float" else FP32
    places = node.get(8) if node.op.startswith("Embed") else None
    total = rows_of(w, words, ids, dtype)
    if places is not None:
        total = w.pointwise("add", total, rows_of(w, positions, places, dtype))
    else:
        total = w.pointwise("add", total, part(w, positions, 0, 0, ids.shape[-1]))
    if segments is not None:
        total = w.pointwise("add", total, rows_of(w, node[4], segments, dtype))
    (out,) = normalised(w, total, -1, (node[5], node[6]))
    lengths = w.value(w.add(indexing.Fill, dtype=INT32, shape=(ids.shape[0],)))
    return [out, lengths, total]


@lowering("GatherBlockQuantized", domain=MICROSOFT)
def gather_quantized(w: Writer, node: Node) -> Value:
    """Rows of a table of few bits, turned to numbers as they are read."""
    table, ids, bits = node[0], node[1], node.integer("bits", 4)
    if axis_of(node.integer("gather_axis", 0), table.rank) or table.rank != 2:
        raise ShapeError(f"a table of shape {table.shape!r}; allowed: (V, C), gathered along its first axis")
    if table.dtype.bits == 8:  # several numbers to a byte
        table = unpacked(table, (table.shape[0], table.shape[1] * 8 // bits), bits)
    return rows_of(w, table, ids, node[2].dtype)


@lowering("RelativePositionBias", domain=MICROSOFT)
def relative_bias(w: Writer, node: Node) -> Value:
    """Look up a bias for each head and each distance of a query and a key."""
    table, lengths = node[0], [int(numbers(node[i], "a length")[0]) for i in (1, 2)]
    if table.rank != 2:
        raise ShapeError(f"a table of shape {table.shape!r}; allowed: (buckets, heads)")
    tensor = w.read(table, role="parameter" if table.known else None)
    return w.value(w.add(indexing.Gather, tensor, shape=(1, table.shape[1], *lengths)))


# products and activations ----------------------------------------------------------


@lowering("BiasSplitGelu", domain=MICROSOFT)
def split_gelu(w: Writer, node: Node) -> Value:
    """Add a bias; one half of the channels times GELU of the other."""
    x = w.pointwise("add", node[0], node[1])
    half = x.shape[-1] // 2
    if 2 * half != x.shape[-1]:
        raise ShapeError(f"channels of shape {x.shape!r} have no halves")
    left, right = (part(w, x, x.rank - 1, start, half) for start in (0, half))
    return w.pointwise("mul", left, w.pointwise("gelu", right))


@lowering("BiasAdd", domain=MICROSOFT)
def bias_add(w: Writer, node: Node) -> Value:
    """Add a bias and a residual."""
    return w.pointwise("add", w.pointwise("add", node[0], node[1]), node[2])


@lowering("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(w: Writer, node: Node) -> Value:
    """Softmax of scores and a bias, over all axes from one on."""
    return softmax(w, replace(node, inputs=(w.pointwise("add", node[0], node[1]),), version=1))


@lowering("GemmFastGelu", domain=MICROSOFT)
def product_gelu(w: Writer, node: Node) -> Value:
    """Product, bias, GELU by tanh."""
    return w.pointwise("gelu_tanh", product_of(w, node[0], node[1], node.get(2)))


@lowering("Trilu", domain=MICROSOFT)
def triangle(w: Writer, node: Node) -> Value:
    """Keep one triangle."""
    return masked(w, node)


# images ----------------------------------------------------------------------------


def channels_first(w: Writer, x: Value) -> Value:
    """View (N, *sides, C) as (N, C, *sides)."""
    if x.rank < 3:
        raise ShapeError(f"an image of shape {x.shape!r}; allowed: (N, *sides, C)")
    return w.transposed(x, (0, x.rank - 1, *range(1, x.rank - 1)))


def behind(w: Writer, x: Value) -> Value:
    """View (N, C, *sides) as (N, *sides, C)."""
    return w.transposed(x, (0, *range(2, x.rank), 1))


@lowering("NhwcConv", "NhwcFusedConv", "NhwcMaxPool", domain=MICROSOFT)
def channels_last(w: Writer, node: Node) -> Value:
    """Convolve or pool images (N, *sides, C)."""
    rule = {"NhwcConv": conv, "NhwcFusedConv": fused_conv, "NhwcMaxPool": pool}[node.op]
    images = [channels_first(w, v) if i in (0, 3) and v is not None else v for i, v in enumerate(node.inputs)]
    found = rule(w, replace(node, op=node.op.removeprefix("Nhwc"), inputs=tuple(images)))
    return behind(w, found if isinstance(found, Value) else found[0])


@lowering("SkipGroupNorm", domain=MICROSOFT)
def skip_group_norm(w: Writer, node: Node) -> list[Value]:
    """Group norm of an image, a residual and a bias; their sum is the second output."""
    total = w.pointwise("add", node[0], node[3])
    total = total if node.get(4) is None else w.pointwise("add", total, node[4])
    return [group_norm(w, replace(node, inputs=(total, node[1], node[2]))), total]


@lowering("CropAndResize", domain=MICROSOFT)
def crop(w: Writer, node: Node) -> Value:
    """Look at boxes of images on a grid of a stated size."""
    sides = tuple(int(s) for s in numbers(node[3], "the size of the crops"))
    function = "nearest" if node.text("mode", "bilinear") == "nearest" else "linear"
    return sampled(w, node[0], sides, node[1], node[2], count=node[1].shape[0], function=function)
