"""Operations of derivatives, optimizers and statistics, counted in a formula of each; what gradients fetch again."""

from __future__ import annotations

import pytest
from formulas import total
from op_examples import EXAMPLES

from roofline.errors import UnknownOpError
from roofline.graph.builder import GraphBuilder
from roofline.graph.gradients import STATES, OptimizerStep
from roofline.graph.ops import Statistic
from roofline.work import count, work_of
from roofline.work.functions import FUNCTIONS, complex_ops, function_ops
from roofline.work.rules import PER_ELEMENT
from roofline.work.rules_gradients import COMPLEX_DERIVATIVES, DERIVATIVES, OPTIMIZER_OPS

#: g is dy, y the saved result; x, y, z the operands where the derivative is written in them; the dearest one's
DERIVATIVE_FORMULAS = {
    "xlogy": "select(x, g * x * rcp(y))",
    "cross": "g * b - h * c",
    "mse_loss": "(x - y) * C * g",
    "smooth_l1_loss": "min(max((x - y) * C, C), C) * g",
    "huber_loss": "min(max(x - y, C), C) * g",
    "binary_cross_entropy": "g * (x - y) * rcp(max((C - x) * x, C))",
    "ctc_step": "so_far + exp(before + ctc_step(x)) * g",
    "relu": "select(y, g)",
    "relu6": "select(x, select(x, g))",
    "leaky_relu": "select(x, g, g * C)",
    "clamp": "select(x, select(x, g))",
    "abs": "select(x, g, -g)",
    "hard_sigmoid": "select(x, select(x, g * C))",
    "hard_swish": "select(x, select(x, g * (x * C + C), g))",
    "sigmoid": "g * y * (C - y)",
    "tanh": "g * (C - y * y)",
    "exp": "g * y",
    "sqrt": "g * C * rcp(y)",
    "rsqrt": "g * C * y * y * y",
    "reciprocal": "-g * y * y",
    "log": "g * rcp(x)",
    "square": "g * C * x",
    "cube": "g * C * x * x",
    "pow": "g * C * exp2(C * log2(abs(x)))",  # the exponent is a constant
    "sin": "g * cos(x)",
    "cos": "-g * sin(x)",
    "tan": "g * (C + y * y)",
    "cbrt": "g * C * exp2(C * log2(abs(x)))",
    "arc": "g * rcp(C + x * x)",  # atan; asin and its like have a reciprocal root
    "erf": "g * C * exp2(x * x * C)",
    "erfc": "g * C * exp2(x * x * C)",
    "erf_inv": "g * C * exp2((y := erf_inv(x)) * y * C)",
    "lgamma": "g * (log(t := x + C) + C * rcp(t) + polynomial(x - C, 8) * rcp(polynomial(x, 8)))",
    "div": "-(g * y * rcp(z))",
    "max": "select(compare(x, y), g)",
    "min": "select(compare(x, y), g)",
    "select": "select(x, g)",
    "remainder": "-g * floor(x * rcp(y))",
    "lerp": "g * (y - x)",
    "addcmul": "g * z * C",
    "addcdiv": "g * C * y * rcp(z * z)",
    "hypot": "g * x * rsqrt(x * x + y * y)",
    "elu": "select(x, g, g * exp2(x * C))",
    "batch_norm": "(g * C - C - (x - C) * C * C) * C",  # C are numbers of the channel
    "max_over": "select(compare(x, y), g)",
    "statistic": "g * exp2((x - y) * C)",  # of the logarithm of a sum
    "swish": "g * ((s := sigmoid(x)) + x * s * (C - s))",
    "gelu": "g * (C * (C + erf(x * C)) + x * exp2(x * x * C) * C)",
    "gelu_tanh": "g * C * (C + (t := tanh((x + x * (q := x * x) * C) * C))) * (C + x * (C - t) * (C + q * C))",
    "mish": "g * ((t := tanh(softplus(x))) + x * sigmoid(x) * (C - t * t))",
    "softplus": "g * sigmoid(x)",
    "log_sigmoid": "g * rcp(C + exp2(x * C))",
    "glu": "g * x * (s := sigmoid(y)) * (C - s)",
}
#: as for the cells themselves: formulas of all gates, and how many elements they are spread over
CELL_FORMULAS = {
    "lstm_cell": (
        [
            *("sigmoid(x + y)", "sigmoid(x + y)", "sigmoid(x + y)", "tanh(x + y)"),
            *("forget * cell + enter * new", "tanh(c)", "g * t * out * (C - out)", "dc + g * out * (C - t * t)"),
            *("d * cell * forget * (C - forget)", "d * new * enter * (C - enter)", "d * enter * (C - new * new)"),
            "d * forget",
        ],
        4,
    ),
    "gru_cell": (
        [
            *("sigmoid(x + y)", "sigmoid(x + y)", "tanh(x + reset * y)", "g * (rest := C - update) * (C - new * new)"),
            *("g * (old - new) * update * rest", "d * y * reset * (C - reset)", "d * reset", "g * update"),
        ],
        3,
    ),
}  # fmt: skip
OPTIMIZER_FORMULAS = {
    "sgd": ["w - g * C"],
    "momentum": ["m * C + g", "w - m * C"],
    "adam": [
        "m * C + g * C",
        "v * C + g * g * C",
        "w - m * C * rcp(sqrt(v) * C + C)",
    ],  # C has the corrections and rate
}
STATISTIC_FORMULAS = {
    "var": ["mean + (d := x - mean) * C", "squares + d * (x - mean)"],  # Welford (1962); C is one over the count
    "prod": ["so_far * x"],
    "sum": ["so_far + x"],
    "norm": ["so_far + x * x"],
    "max": ["max(so_far, x)"],
    "distance": ["so_far + (d := x - y) * d"],
    "logsumexp": ["so_far + exp2(x - max(largest, x))"],  # as for softmax, the change of base is left out
}


def test_every_table_has_its_formulas() -> None:
    assert {name.removesuffix("_grad") for name in FUNCTIONS if name.endswith("_grad")} == set(DERIVATIVES)
    assert set(DERIVATIVES) == {*DERIVATIVE_FORMULAS, *CELL_FORMULAS}
    assert set(OPTIMIZER_OPS) == set(OPTIMIZER_FORMULAS) == set(STATES)
    assert set(PER_ELEMENT) == set(STATISTIC_FORMULAS)


@pytest.mark.parametrize("name", DERIVATIVE_FORMULAS)
def test_a_derivative_costs_what_its_formula_does(name: str) -> None:
    assert function_ops(f"{name}_grad") == total([DERIVATIVE_FORMULAS[name]])


#: of complex numbers, in functions of them: dy times the conjugate of the derivative
COMPLEX_DERIVATIVE_FORMULAS = {
    "exp": ["mul"],
    "select": ["select"],
    "square": ["mul", "scale"],
    "cube": ["mul", "scale", "mul"],
    "div": ["mul", "div", "neg"],
    "sigmoid": ["mul", "mul", "sub"],
    "tanh": ["mul", "sub", "square"],
    "sqrt": ["mul", "scale", "reciprocal"],
    "reciprocal": ["mul", "mul", "neg"],
    "log": ["mul", "reciprocal"],
    "sin": ["mul", "cos"],
    "cos": ["mul", "sin", "neg"],
}


def test_a_complex_derivative_costs_what_its_formula_does() -> None:
    assert set(COMPLEX_DERIVATIVES) == {*COMPLEX_DERIVATIVE_FORMULAS, "abs"}
    for name, parts in COMPLEX_DERIVATIVE_FORMULAS.items():
        simple, slow = zip(*map(complex_ops, parts), strict=True)
        assert complex_ops(f"{name}_grad") == (sum(simple), sum(slow)), name
    assert complex_ops("abs_grad") == total(["sqrt(a * a + b * b)", "g * rcp(length)", "s * a", "s * b"])


@pytest.mark.parametrize("name", CELL_FORMULAS)
def test_a_cells_derivative_costs_what_its_formulas_do(name: str) -> None:
    formulas, elements = CELL_FORMULAS[name]
    simple, slow = total(formulas)
    assert function_ops(f"{name}_grad") == pytest.approx((simple / elements, slow / elements), rel=1e-12)


@pytest.mark.parametrize("algorithm", OPTIMIZER_FORMULAS)
def test_an_optimizer_costs_what_its_formulas_do(algorithm: str) -> None:
    b = GraphBuilder()
    w, *states, g = (b.input(f"x{i}", (3, 4)) for i in range(2 + len(STATES[algorithm])))
    outputs = tuple(f"step:{i}" for i in range(1 + len(states)))
    op = OptimizerStep(inputs=tuple(t.id for t in (w, *states, g)), outputs=outputs, algorithm=algorithm)  # type: ignore[arg-type]
    work = work_of(op, (w, *states, g), (w, *states))
    simple, slow = total(OPTIMIZER_FORMULAS[algorithm])
    assert (work.simple_ops, work.transcendental_ops) == (3 * 4 * simple, 3 * 4 * slow)


@pytest.mark.parametrize("function", STATISTIC_FORMULAS)
def test_a_statistic_costs_what_its_formulas_do(function: str) -> None:
    b = GraphBuilder()
    work = count(b.graph([b.add_op("s", Statistic, b.input("x", (3, 4)), axes=(1,), function=function)]))
    simple, slow = total(STATISTIC_FORMULAS[function])
    assert (work.simple_ops, work.transcendental_ops) == (3 * 4 * simple, 3 * 4 * slow)


def test_an_unknown_statistic_is_an_error_with_the_nearest() -> None:
    b = GraphBuilder()
    with pytest.raises(UnknownOpError, match="no work rule for statistic 'vor'; nearest: 'var'"):
        count(b.graph([b.add_op("s", Statistic, b.input("x", (3, 4)), axes=(1,), function="vor")]))


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example.op.__name__.endswith("Grad")])
def test_only_depthwise_windows_fetch_gradients_again(name: str) -> None:
    example = EXAMPLES[name]
    work = count(example.graph(*example.sizes))
    assert work.gradient_loads == (example.macs if "depthwise" in name else 0)  # an operand per multiply-accumulate
