"""What a torch tensor is in the op graph, and the algebra of views on it.

Torch states images as (N, C, H, W), the op graph as (N, H, W, C). So every torch tensor is a `Value`: a tensor of the
graph, and which torch dimension each of its axes is. Permutations only relabel the axes; other views are remembered
and become free ops of the graph when somebody reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from roofline.dtypes import DType
from roofline.graph import movement
from roofline.graph.op import Op
from roofline.graph.tensor import Role, Tensor
from roofline.graph.views import carried, significant

Dims = tuple[int, ...]


@dataclass(eq=False, kw_only=True)
class Node:
    """A tensor of the graph, or one that will be there when it is read.

    Attributes
    ----------
    shape
        Sizes of the native axes, in the order in which the value was stated.
    tensor
        The graph's tensor, once there is one.
    axes
        Native axis of each axis of the graph's tensor: a parameter is stored in the order of its first reader.
    source, make, fields
        A view that nobody has read yet: the value it shows, its op class and the fields of the op.
    beside
        Another result of the op that wrote this node: an output that the op has once somebody reads it.
    flat
        The order in which a reshape was made: while a value has it, its elements are its source's in torch's order.
    """

    shape: Dims
    dtype: DType
    name: str = ""
    role: Role = "activation"
    tensor: Tensor | None = None
    axes: Dims = ()
    source: Value | None = None
    make: type[Op] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    beside: Node | None = None
    flat: Dims | None = None
    tied: bool = False

    @property
    def placed(self) -> bool:
        """Whether the order of the axes is settled."""
        return self.tensor is not None or self.source is not None or bool(self.axes)

    @property
    def leaf(self) -> bool:
        """Whether the value enters the graph: an input, a parameter, a buffer."""
        return self.role != "activation"


@dataclass(frozen=True, eq=False, kw_only=True)
class Value:
    """A torch tensor: a node, and the torch dimension that each native axis of the node is."""

    node: Node
    order: Dims

    @property
    def shape(self) -> Dims:
        """The shape torch sees."""
        sizes = dict(zip(self.order, self.node.shape, strict=True))
        return tuple(sizes[d] for d in range(len(self.order)))

    @property
    def stored(self) -> Dims:
        """Torch dimension of each axis of the graph's tensor."""
        axes = self.node.axes
        return tuple(self.order[a] for a in axes) if axes else self.order

    @property
    def dtype(self) -> DType:
        """Storage format."""
        return self.node.dtype

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.order)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.node.shape)


def whole(node: Node) -> Value:
    """Return the value whose torch dimensions are the node's native axes."""
    return Value(node=node, order=tuple(range(len(node.shape))))


def permute(v: Value, dims: Dims) -> Value:
    """Return `v` with its dimension ``dims[i]`` as dimension i: a relabelling."""
    place = {d % v.rank: i for i, d in enumerate(dims)}
    return Value(node=v.node, order=tuple(place[d] for d in v.order))


def transpose(v: Value, a: int, b: int) -> Value:
    """Return `v` with two dimensions exchanged."""
    dims = list(range(v.rank))
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    return permute(v, tuple(dims))


def in_order(v: Value, order: Dims) -> Value:
    """Return the same torch tensor, its graph axes in `order`; a view of the stored tensor where that differs."""
    node = v.node
    if not node.placed and node.leaf:
        return v
    if significant(v.stored, v.shape) == significant(order, v.shape):
        return v if v.stored == order else _relabelled(v, order)
    return _reshaped(v, tuple(v.shape[d] for d in order), order)


def _reshaped(v: Value, sizes: Dims, order: Dims) -> Value:
    fields = {"shape": sizes}
    return Value(
        node=Node(shape=sizes, dtype=v.dtype, source=v, make=movement.Reshape, fields=fields, flat=order), order=order
    )


def cut(v: Value) -> bool:
    """Whether `v` shows a part of another tensor that does not lie in one piece."""
    node: Node | None = v.node
    while node is not None:
        if node.make is movement.Part and any(size > 1 for size in node.shape[: node.fields["axis"]]):
            return True
        node = node.source.node if node.source is not None else None
    return False


def shared_run(order: Dims, other: Dims, shape: Dims) -> int:
    """Return how many elements are neighbours in both orders: the last dimensions that they have in common.

    Examples
    --------
    >>> shared_run((0, 2, 1, 3), (0, 1, 2, 3), (8, 12, 197, 64))
    64
    """
    run = 1
    for a, b in zip(reversed(significant(order, shape)), reversed(significant(other, shape)), strict=True):
        if a != b:
            break
        run *= shape[a]
    return run


def _relabelled(v: Value, order: Dims) -> Value:
    """Only dimensions of size 1 change place: the same bytes, stated in another shape."""
    shape = tuple(v.shape[d] for d in order)
    if tuple(v.shape[d] for d in v.stored) == shape:
        native = [0] * v.rank
        for axis, d in zip(v.node.axes or tuple(range(v.rank)), order, strict=True):
            native[axis] = d
        return Value(node=v.node, order=tuple(native))
    return _reshaped(v, shape, order)


def reshape(v: Value, shape: Dims) -> Value:
    """Return `v` viewed in another shape, the elements in torch's order."""
    if v.shape == shape:
        return v
    node = v.node
    if node.source is not None and node.flat == v.order:
        return reshape(node.source, shape)
    if not node.placed and node.leaf:
        v = settle(v, tuple(range(v.rank)))
    order = _split_order(v, shape)
    if order is None:
        v = in_order(v, tuple(range(v.rank)))
        order = tuple(range(len(shape)))
    return _reshaped(v, tuple(shape[d] for d in order), order)


def settle(v: Value, order: Dims, *, batch_first: bool = False) -> Value:
    """Decide the order in which a leaf is stored; an input keeps its first dimension, the batch, in front."""
    axes = tuple(v.order.index(d) for d in order)
    if batch_first and axes:
        axes = (0, *(a for a in axes if a != 0))
    v.node.axes = v.node.axes or axes
    return v


def _split_order(v: Value, shape: Dims) -> Dims | None:
    """Return the order of the new dimensions along the axes of `v`, or None where the axes must be reordered first."""
    order = carried(v.shape, v.stored, shape)
    if order is None:
        return None
    for d in range(len(shape)):
        if shape[d] == 1:
            order.insert(order.index(d - 1) + 1 if d else 0, d)
    return tuple(order)


def expand(v: Value, shape: Dims) -> Value:
    """Return `v` with dimensions of size 1 repeated to `shape`; missing leading dimensions are new."""
    if v.shape == shape:
        return v
    if len(shape) > v.rank:
        v = reshape(v, (1,) * (len(shape) - v.rank) + v.shape)
    if v.shape == shape:
        return v
    v = settled(v)
    sizes = tuple(shape[d] for d in v.stored)
    view = Node(shape=sizes, dtype=v.dtype, source=v, make=movement.Expand, fields={"shape": sizes})
    return Value(node=view, order=v.stored)


def settled(v: Value) -> Value:
    """Return `v`; a leaf without an order yet is stored as torch states it."""
    if not v.node.placed and v.node.leaf:
        settle(v, tuple(range(v.rank)))
    return v


def part(v: Value, dim: int, start: int, size: int, *, step: int = 1) -> Value:
    """Return `size` elements of dimension `dim` from `start`, as a view."""
    dim %= v.rank
    if size == v.shape[dim]:
        return v
    v = settled(v)
    axis = v.stored.index(dim)
    sizes = tuple(size if d == dim else v.shape[d] for d in v.stored)
    start = min(start, v.shape[dim] - size)  # of a strided part only the number of elements matters
    view = Node(
        shape=sizes, dtype=v.dtype, source=v, make=movement.Part, fields={"axis": axis, "size": size, "start": start}
    )
    return Value(node=view, order=v.stored)


def select(v: Value, dim: int, index: int) -> Value:
    """Return one element of a dimension, which vanishes."""
    dim %= v.rank
    index = index % v.shape[dim]
    one = part(v, dim, index, 1)
    return reshape(one, one.shape[:dim] + one.shape[dim + 1 :])
