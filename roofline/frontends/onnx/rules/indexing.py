"""Look-ups, updates, sorting, running sums; and what only the data decides."""

from __future__ import annotations

from roofline.dtypes import DTYPES
from roofline.errors import InputError, ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.rules.shapes import part
from roofline.frontends.onnx.values import Dims, UndecidedError, Value, check_shape
from roofline.frontends.onnx.views import axis_of, identity, last
from roofline.frontends.onnx.writer import Writer
from roofline.graph import indexing, movement

INT64 = DTYPES["int64"]


@lowering("Gather")
def gather(w: Writer, node: Node) -> Value:
    """Pick along an axis: a view for one known index, rows of a table, or a copy of what is picked."""
    x, indices = node[0], node[1]
    axis = axis_of(node.integer("axis", 0), x.rank)
    shape = check_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), "result")
    if indices.data is not None and indices.elements == 1:
        index = int(indices.data.item())
        if not -x.shape[axis] <= index < x.shape[axis]:
            raise ShapeError(f"index {index} is out of range for {x.shape[axis]}")
        return w.reshaped(part(w, x, axis, index % x.shape[axis], 1), shape)
    if axis == 0 and x.rank == 2 and x.known:
        ids = w.read(indices)
        table = w.read(x, role="parameter" if x.dtype.kind == "float" else None)
        return w.value(w.add(movement.Embedding, ids, table, dtype=x.dtype))
    return picked(w, x, indices, shape)


def picked(w: Writer, source: Value, indices: Value, shape: Dims) -> Value:
    """Add a look-up with a result of `shape`."""
    tensors = (w.read(source, source.order or None), w.read(indices))
    return w.value(w.add(indexing.Gather, *tensors, shape=check_shape(shape, "result")))


@lowering("GatherElements")
def gather_elements(w: Writer, node: Node) -> Value:
    """Pick an element for each index."""
    return picked(w, node[0], node[1], node[1].shape)


@lowering("GatherND")
def gather_nd(w: Writer, node: Node) -> Value:
    """Pick a part of the source for each row of indices."""
    x, indices, batch = node[0], node[1], node.integer("batch_dims", 0)
    depth = indices.shape[-1] if indices.rank else 0
    if not batch >= 0 or batch + depth > x.rank or not indices.rank:
        raise ShapeError(f"indices of shape {indices.shape!r} do not fit {x.shape!r}")
    return picked(w, x, indices, (*indices.shape[:-1], *x.shape[batch + depth :]))


@lowering("ScatterND", "ScatterElements", "Scatter")
def scatter(w: Writer, node: Node) -> Value:
    """Overwrite or add to some elements, in place."""
    x, indices, updates = node[0], node[1], node[2]
    order = x.order or identity(x.rank)
    tensors = (w.read(x, order), w.read(updates), w.read(indices))
    accumulate = node.text("reduction", "none") != "none"
    return w.value(w.add(indexing.Update, *tensors, accumulate=accumulate), order)


@lowering("TensorScatter")
def tensor_scatter(w: Writer, node: Node) -> Value:
    """Write new keys or values into a cache, in place."""
    tensors = [w.read(v) for v in node.given]
    return w.value(w.add(indexing.Update, *tensors))


@lowering("OneHot")
def one_hot(w: Writer, node: Node) -> Value:
    """Compare indices with every class."""
    indices, depth = node[0], int(numbers(node[1], "the depth")[0])
    axis = axis_of(node.integer("axis", -1), indices.rank + 1)
    shape = check_shape((*indices.shape[:axis], depth, *indices.shape[axis:]), "result")
    wide = w.expanded(w.reshaped(indices, (*indices.shape[:axis], 1, *indices.shape[axis:])), shape)
    return w.pointwise("compare", wide, dtype=node[2].dtype)


@lowering("TopK")
def top_k(w: Writer, node: Node) -> list[Value]:
    """Sort along an axis and keep the largest."""
    x = node[0]
    kept = node.integer("k") if "k" in node.attributes else int(numbers(node[1], "k")[0])
    axis = axis_of(node.integer("axis", -1), x.rank)
    if not 1 <= kept <= x.shape[axis]:
        raise ShapeError(f"the {kept} largest of {x.shape[axis]}")
    order = last(x.rank, axis)
    outputs = w.write("", indexing.Sort, [w.read(x, order)], [x.dtype, INT64], kept=kept)
    return [w.value(t, order) for t in outputs]


@lowering("CumSum", "CumProd")
def running(w: Writer, node: Node) -> Value:
    """Sum or multiply up along an axis."""
    x = node[0]
    axis = axis_of(int(numbers(node[1], "the axis")[0]), x.rank)
    order = x.order or identity(x.rank)
    function = "sum" if node.op == "CumSum" else "product"
    return w.value(w.add(indexing.Scan, w.read(x, order), axis=order.index(axis), function=function), order)


# what only the data decides --------------------------------------------------------


@lowering(
    "NonZero NonMaxSuppression Unique StringNormalizer TfIdfVectorizer Multinomial RegexFullMatch "
    "StringConcat StringSplit ImageDecoder"
)
@lowering("BeamSearch", "GreedySearch", "Sampling", domain=MICROSOFT)
def decided_by_data(w: Writer, node: Node) -> Value:
    """Refuse what has a size that only the data decides.

    Raises
    ------
    InputError
        Always.
    """
    why = "the size of its result depends on the data: cut the model before this node"
    raise UndecidedError(why) if node.op == "NonZero" else InputError(why)


@lowering("RotaryEmbedding")
@lowering("RotaryEmbedding", domain=MICROSOFT)
def rotary(w: Writer, node: Node) -> Value:
    """Rotate pairs of channels: two multiplications and an addition for each element, angles from tables."""
    x = node[0]
    tables = [v for v in node.given[1:] if v.rank >= 2]
    angle = w.reshaped(tables[0], (tables[0].elements,)) if tables else None
    rotated = w.pointwise("mul", x) if angle is None else _scaled(w, x, angle)
    return w.pointwise("add", w.pointwise("mul", x), rotated)


def _scaled(w: Writer, x: Value, table: Value) -> Value:
    from roofline.graph.ops import Elementwise

    order = x.order or identity(x.rank)
    tensors = (w.read(x, order), w.read(table, role="buffer" if table.known else None))
    return w.value(w.add(Elementwise, *tensors, function="mul", broadcast=(False, True)), order)
