"""Element-wise functions: what each derivative is written in, after PyTorch's derivatives.yaml."""

from __future__ import annotations

from roofline.errors import UnknownOpError
from roofline.graph.indexing import Fill
from roofline.graph.ops import Cast, Elementwise
from roofline.passes.backward.registry import backward
from roofline.passes.backward.tape import Step

#: the derivative is written in the result ...
IN_RESULT = frozenset({"relu", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "reciprocal", "tan"})
#: ... in the operands ...
IN_OPERANDS = frozenset(
    {
        *("relu6", "leaky_relu", "clamp", "abs", "hard_sigmoid", "hard_swish", "log", "square", "cube", "pow", "sin"),
        *("cos", "cbrt", "arc", "erf", "erfc", "erf_inv", "lgamma", "max", "min", "remainder", "lerp", "elu"),
        *("addcmul", "addcdiv", "hypot", "swish", "gelu", "gelu_tanh", "mish", "softplus", "log_sigmoid", "glu"),
        *("xlogy", "cross", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "ctc_step"),
    }
)
#: ... in the operands, but the first is a term of a sum, and dy passes on to it
FIRST_IS_A_TERM = frozenset({"remainder", "addcmul", "addcdiv"})
#: ... in the operands, and one kernel gives the gradient of all
CELLS = frozenset({"lstm_cell", "gru_cell"})


@backward(Elementwise)
def elementwise(step: Step[Elementwise]) -> None:
    """One kernel for each operand; sums pass dy on as it is."""
    op, dy = step.op, step.dy
    name, places = op.function, [i for i in range(len(op.inputs)) if step.needs(i)]
    if name in ("add", "identity"):
        for i in places:
            step.give(i, dy)
    elif name == "sub":
        step.give(0, dy)
        if step.needs(1):
            step.give(1, step.pointwise("d1", "neg", dy))
    elif name == "rotary":  # turned back
        step.give(0, step.pointwise("d1", name, dy, step.x(1)))
    elif name in ("neg", "scale") or (name == "div" and len(op.inputs) == 1):  # by a constant
        for i in places:
            step.give(i, step.pointwise("dx", name, dy, like=step.inputs[i]))
    elif name in ("mul", "select"):
        _product(step, places)
    elif name == "div":
        if step.needs(0):
            step.give(0, step.pointwise("d0", "div", dy, step.x(1), like=step.inputs[0]))
        if step.needs(1):
            step.give(1, step.pointwise("d1", "div_grad", dy, step.x(1), step.y(), like=step.inputs[1]))
    elif name in CELLS:
        found = step.pointwise("dx", f"{name}_grad", dy, *(step.x(i) for i in range(len(op.inputs))))
        for i in places:
            step.give(i, found)
    elif name in IN_RESULT:
        step.give(0, step.pointwise("dx", f"{name}_grad", dy, step.y(), like=step.inputs[0]))
    elif name in IN_OPERANDS:
        if name in FIRST_IS_A_TERM:
            step.give(0, dy)
            places = [i for i in places if i]
        for i in places:
            operands = [step.x(j) for j in range(len(op.inputs))]
            step.give(i, step.pointwise(f"d{i}", f"{name}_grad", dy, *operands, like=step.inputs[i]))
    else:
        raise UnknownOpError(
            f"{step.tape.source.name}: element-wise function {name!r} at {step.op_id!r} has no derivative: it is not "
            "trained through"
        )


def _product(step: Step[Elementwise], places: list[int]) -> None:
    """Each factor's gradient is dy times the others; a selection passes dy where its condition says so."""
    count = range(len(step.op.inputs))
    for i in places:
        if step.op.function == "mul":
            function, others = "mul", [j for j in count if j != i]
        else:
            function, others = "select_grad", [j for j in count if not step.inputs[j].dtype.differentiable][:1]
        step.give(i, step.pointwise(f"d{i}", function, step.dy, *map(step.x, others), like=step.inputs[i]))


@backward(Cast)
def cast(step: Step[Cast]) -> None:
    """The gradient is converted back."""
    if step.needs(0):
        step.give(0, step.add("dx", Cast, step.dy, dtype=step.inputs[0]))


@backward(Fill)
def nothing(step: Step[Fill]) -> None:
    """Made from nothing: no operand to pass a gradient to."""
