"""Element-wise operators."""

from __future__ import annotations

from roofline.dtypes import DTYPES
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.values import Value, dtype_of
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill
from roofline.graph.movement import Reshape
from roofline.graph.ops import Cast
from roofline.text import pairs

#: operator -> function of one operand
UNARY = pairs(
    "Relu=relu LeakyRelu=leaky_relu Sigmoid=sigmoid Tanh=tanh Elu=elu Selu=elu Celu=elu HardSigmoid=hard_sigmoid "
    "HardSwish=hard_swish Softplus=softplus Mish=mish Softsign=div ThresholdedRelu=select Shrink=select Erf=erf "
    "Exp=exp Log=log Sqrt=sqrt Reciprocal=reciprocal Abs=abs Neg=neg Sign=sign Floor=round Ceil=round Round=round "
    "Sin=sin Cos=cos Tan=tan Asin=tan Acos=tan Atan=tan Sinh=tanh Cosh=tanh Asinh=tanh Acosh=tanh Atanh=tanh "
    "Not=compare BitwiseNot=compare Swish=swish"
)
BINARY = pairs(
    "Add=add Sub=sub Mul=mul Div=div PRelu=leaky_relu BitShift=scale BitwiseAnd=compare BitwiseOr=compare "
    "BitwiseXor=compare"
)
LOGICAL = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor")
VARIADIC = {"Sum": "add", "Max": "max", "Min": "min", "Mean": "add"}
BOOL = DTYPES["bool"]


@lowering(*UNARY)
def unary(w: Writer, node: Node) -> Value:
    """Apply one function to each element."""
    return w.pointwise(UNARY[node.op], node[0])


@lowering(*BINARY)
def binary(w: Writer, node: Node) -> Value:
    """Combine two broadcast operands; multiplying or dividing by a known scalar only scales."""
    a, b = node[0], node[1]
    scales = node.op == "Mul" and (a.baked or b.baked)
    function = "scale" if scales or (node.op == "Div" and b.baked) else BINARY[node.op]
    return w.pointwise("reciprocal" if node.op == "Div" and a.baked else function, a, b)


@lowering("Mod")
def mod(w: Writer, node: Node) -> Value:
    """Remainder: a division, a rounding, a multiplication."""
    return w.pointwise("div", node[0], node[1])


@lowering("Pow")
def power(w: Writer, node: Node) -> Value:
    """A square, a root, a cube where the exponent is known; else the general power."""
    base, exponent = node[0], node[1]
    known = float(exponent.data.item()) if exponent.baked and exponent.data is not None else 0.0
    function = {2.0: "square", 3.0: "cube", 0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt", 1.0: "identity"}.get(known)
    return w.pointwise(function, base) if function else w.pointwise("pow", base, exponent)


@lowering(*LOGICAL)
def logical(w: Writer, node: Node) -> Value:
    """Compare two operands."""
    return w.pointwise("compare", node[0], node[1], dtype=BOOL)


@lowering("IsNaN", "IsInf")
def is_special(w: Writer, node: Node) -> Value:
    """Compare each element with itself, or with infinity."""
    return w.pointwise("compare", node[0], dtype=BOOL)


@lowering(*VARIADIC)
def variadic(w: Writer, node: Node) -> Value:
    """Combine any number of operands, two at a time."""
    first, *rest = node.given
    for other in rest:
        first = w.pointwise(VARIADIC[node.op], first, other)
    return w.pointwise("scale", first) if node.op == "Mean" else first


@lowering("Clip")
def clip(w: Writer, node: Node) -> Value:
    """Limit from below, from above, or both; from 0 to 6 it is ReLU6, from 0 on it is ReLU."""
    bounds: list[float | None] = []
    for name, position in (("min", 1), ("max", 2)):
        given = node.get(position)
        if name in node.attributes:
            bounds.append(node.number(name, 0.0))
        else:
            bounds.append(None if given is None or given.data is None else float(given.data.item()))
    low, high = (b is not None or node.get(i) is not None for i, b in enumerate(bounds, 1))
    if bounds[0] == 0 and (not high or (bounds[1] or 0) > 1e30):
        return w.pointwise("relu", node[0])
    return w.pointwise("relu6" if low and high else "max", node[0])


@lowering("Gelu")
@lowering("Gelu", "FastGelu", "QuickGelu", "BiasGelu", domain=MICROSOFT)
def gelu(w: Writer, node: Node) -> Value:
    """GELU, exact or with tanh; the fused forms add a bias first."""
    x = node[0] if node.get(1) is None else w.pointwise("add", node[0], node[1])
    if node.op == "QuickGelu":
        return w.pointwise("swish", x)
    fast = node.op == "FastGelu" or node.text("approximate", "none") == "tanh"
    return w.pointwise("gelu_tanh" if fast else "gelu", x)


@lowering("SwiGLU")
def gated(w: Writer, node: Node) -> Value:
    """Swish of the gate, times the other operand."""
    return w.pointwise("mul", w.pointwise("swish", node[0]), node[1])


@lowering("BitCast")
def bit_cast(w: Writer, node: Node) -> Value:
    """View the same bytes in another format of equal width."""
    x, wanted = node[0], dtype_of(node.integer("to"))
    if wanted.bits != x.dtype.bits:
        raise ShapeError(f"formats of {x.dtype.bits} and {wanted.bits} bits; allowed: of equal width")
    if x.known:
        return Value(shape=x.shape, dtype=wanted, constant=x.constant)
    tensor = w.read(x, x.order or None)
    return w.value(w.add(Reshape, tensor, shape=tensor.shape, dtype=wanted), x.order or None)


@lowering("Where")
def where(w: Writer, node: Node) -> Value:
    """Select between two operands."""
    condition, a, b = node[0], node[1], node[2]
    return w.pointwise("select", a, b, condition, dtype=a.dtype)


@lowering("Cast", "CastLike")
def cast(w: Writer, node: Node) -> Value:
    """Convert to another format; between formats of one kind that are equally wide nothing happens."""
    x = node[0]
    wanted = node[1].dtype if node.op == "CastLike" else dtype_of(node.integer("to"))
    if wanted is x.dtype:
        return x
    if x.known:
        return Value(shape=x.shape, dtype=wanted, constant=x.constant)
    order = x.order or None
    return w.value(w.add(Cast, w.read(x, order), dtype=wanted), order)


@lowering("Identity", "Dropout", "StopGradient")
@lowering("Dropout", "BiasDropout", domain=MICROSOFT)
def identity(w: Writer, node: Node) -> list[Value]:
    """Pass the input on: nothing is dropped at inference."""
    mask = Value(shape=node[0].shape, dtype=BOOL, constant=None, data=None, tensor=node[0].tensor, order=node[0].order)
    return [node[0], mask][: max(node.outputs, 1)]


@lowering("Bernoulli", "RandomNormalLike", "RandomUniformLike", "EyeLike")
def like(w: Writer, node: Node) -> Value:
    """Fill a tensor of the input's shape."""
    dtype = dtype_of(node.integer("dtype")) if "dtype" in node.attributes else node[0].dtype
    return w.value(w.add(Fill, dtype=dtype, shape=node[0].shape, function="random"))


@lowering("RandomNormal", "RandomUniform")
def random(w: Writer, node: Node) -> Value:
    """Fill a tensor of a stated shape."""
    dtype = dtype_of(node.integer("dtype", 1))
    return w.value(w.add(Fill, dtype=dtype, shape=node.integers("shape"), function="random"))


@lowering("Constant")
def constant(w: Writer, node: Node) -> Value:
    """Return the stored value of the node."""
    import numpy as np

    from roofline.frontends.onnx.values import known

    value = node.attributes.get("value")
    if isinstance(value, Value):
        return value.renamed(w.unique(w.place)) if value.elements > 1 else value
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        if name in node.attributes:
            return known(np.asarray(node.attributes[name]), name=w.unique(w.place))
    raise ShapeError("a constant without a number")


@lowering("ConstantOfShape", "Range")
def filled(w: Writer, node: Node) -> Value:
    """Fill a tensor whose size is known at load."""
    dtype = node[0].dtype
    if node.op == "Range":
        start, limit, delta = (numbers(node[i], "a range")[0] for i in range(3))
        shape: tuple[int, ...] = (max(0, -int(-(limit - start) // delta)),)
    else:
        shape = tuple(map(int, numbers(node[0], "the shape")))
        value = node.attributes.get("value")
        dtype = value.dtype if isinstance(value, Value) else DTYPES["fp32"]
    return w.value(w.add(Fill, dtype=dtype, shape=shape))


@lowering("Shape", "Size")
def shape(w: Writer, node: Node) -> Value:
    """Refuse: shapes are known at load, and computed there."""
    raise ShapeError("a shape that is not known at load")
