"""Formulas of the element-wise functions, and the operations of a formula, counted one by one."""

from __future__ import annotations

import ast

#: one operation of the vector unit, and one of its slower path; ``polynomial(x, n)`` is n multiply-adds by Horner
SIMPLE = {"max", "min", "abs", "select", "compare", "convert", "round", "floor", "logical", "fraction"}
SLOW = {"exp2", "log2", "rcp", "sqrt", "rsqrt", "sine", "cosine"}

#: C is any constant; a constant factor or sign next to another one costs nothing
FORMULAS = {
    "identity": "x",
    "add": "x + y",
    "sub": "x - y",
    "mul": "x * y",
    "div": "x * rcp(y)",
    "max": "max(x, y)",
    "min": "min(x, y)",
    "neg": "-x",
    "abs": "abs(x)",
    "scale": "x * C",
    "compare": "compare(x, y)",
    "select": "select(x, y, z)",
    "relu": "max(x, 0)",
    "relu6": "min(max(x, 0), C)",
    "leaky_relu": "max(x, x * C)",
    "hard_sigmoid": "min(max(x * C + C, 0), C)",
    "hard_swish": "x * hard_sigmoid(x)",
    "exp": "exp2(x * C)",
    "log": "log2(x) * C",
    "sqrt": "sqrt(x)",
    "rsqrt": "rsqrt(x)",
    "reciprocal": "rcp(x)",
    "pow": "exp2(y * log2(abs(x)))",
    "sin": "sine(fraction(x * C))",
    "cos": "cosine(fraction(x * C))",
    "sigmoid": "rcp(C + exp2(-x * C))",
    "swish": "x * sigmoid(x)",
    "tanh": "polynomial(min(max(x, C), C), 6) * rcp(polynomial(x, 3))",
    "erf": "polynomial(min(max(x, C), C), 7) * rcp(polynomial(x, 4))",
    "gelu": "x * C * (C + erf(x * C))",
    "gelu_tanh": "x * C * (C + tanh((x + x * x * x * C) * C))",
    "elu": "select(x, exp2(x * C) - C)",
    "softplus": "select(x, log2(C + exp2(x * C)) * C)",
    "quantize": "min(max(round(x * C) + C, C), C)",
    "dequantize": "(convert(x) - C) * C",
    "mish": "x * tanh(softplus(x))",
    "cube": "x * x * x",
    "log_sigmoid": "softplus(x)",
    "lerp": "x + (y - x) * z",
    "addcmul": "x + y * z * C",
    "addcdiv": "x + y * rcp(z) * C",
    "hypot": "sqrt(x * x + y * y)",
    "rotary": "x * y + z * y",
    "glu": "x * sigmoid(y)",
    "erfc": "C - erf(x)",
    "square": "x * x",
    "sign": "compare(x, compare(x, y))",
    "round": "round(x)",
    "logical": "logical(x, y)",
    "remainder": "x - floor(x * rcp(y)) * y",
    "clamp": "min(max(x, C), C)",
    "cbrt": "exp2(log2(abs(x)) * C)",
    "tan": "sin(x) * rcp(cos(x))",
    "arc": "polynomial(min(max(x, C), C), 6) * rcp(polynomial(x, 3))",
    "erf_inv": "x * polynomial(sqrt(log2(C - x * x)), 9)",
    "xlogy": "select(x, x * log(y))",
    "cross": "a * b - c * d",
    "mse_loss": "square(x - y)",
    "smooth_l1_loss": "select(t := abs(x - y), t * t * C, t - C)",
    "huber_loss": "select(t := abs(x - y), t * t * C, (t - C) * C)",
    "binary_cross_entropy": "(y - C) * max(log(C - x), C) - y * max(log(x), C)",
    "ctc_step": "x + (m := max(a, max(b, c))) + log(exp(a - m) + exp(b - m) + exp(c - m))",
    "lgamma": "(x - C) * log(t := x + C) - t + log(polynomial(x - C, 8) * rcp(polynomial(x, 8)))",
}

#: the same of complex numbers z = a + ib and w = c + id: the formulas of the parts, and what both are made of
_PRODUCT, _LENGTH, _EXP = (
    ["a * c - b * d", "a * d + b * c"],
    ["sqrt(a * a + b * b)"],
    ["exp(a)", "e * cos(b)", "e * sin(b)"],
)
_RECIPROCAL = ["rcp(a * a + b * b)", "a * r", "-b * r"]
_QUOTIENT = ["a * c + b * d", "b * c - a * d", "rcp(c * c + d * d)", "x * r", "y * r"]
_LOG = ["log(length)", *_LENGTH, "arc(b)"]
_SQRT = [*_LENGTH, "sqrt((length + a) * C)", "b * C * rcp(root)"]
_SIGMOID = ["-a", "-b", *_EXP, "x + C", *_RECIPROCAL]
_CIRCULAR = ["sin(a)", "cos(a)", "exp(b)", "exp2(-b * C)", "s * (e + f) * C", "t * (e - f) * C"]
_SUM, _SCALED = ["a + c", "b + d"], ["a * C", "b * C"]
COMPLEX_FORMULAS = {
    "identity": ["a", "b"],
    "add": _SUM,
    "sub": ["a - c", "b - d"],
    "neg": ["-a", "-b"],
    "scale": _SCALED,
    "select": ["select(a, c, z)", "select(b, d, z)"],
    "compare": ["logical(compare(a, c), compare(b, d))"],
    "mul": _PRODUCT,
    "div": _QUOTIENT,
    "reciprocal": _RECIPROCAL,
    "square": ["a * a - b * b", "a * b * C"],
    "cube": ["a * a - b * b", "a * b * C", *_PRODUCT],
    "abs": _LENGTH,
    "arc": ["arc(b)"],
    "sign": [*_LENGTH, "rcp(length)", "a * r", "b * r"],
    "sqrt": _SQRT,
    "rsqrt": [*_SQRT, *_RECIPROCAL],
    "exp": _EXP,
    "log": _LOG,
    "pow": [*_LOG, *_PRODUCT, *_EXP],
    "sin": _CIRCULAR,
    "cos": _CIRCULAR,
    "polar": ["a * cos(b)", "a * sin(b)"],
    "sigmoid": _SIGMOID,
    "swish": [*_SIGMOID, *_PRODUCT],
    "tanh": [*_SCALED, *_EXP, "x - C", "x + C", *_QUOTIENT],
    "lerp": [*_SUM, *_PRODUCT, *_SUM],
    "addcmul": [*_PRODUCT, *_SCALED, *_SUM],
    "addcdiv": [*_QUOTIENT, *_SCALED, *_SUM],
}


def operations(formula: str) -> tuple[float, float]:
    """Return (simple, slow) operations of a formula."""
    simple, slow = 0.0, 0.0
    for node in ast.walk(ast.parse(formula, mode="eval")):
        if isinstance(node, ast.BinOp | ast.UnaryOp):
            simple += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            if name == "polynomial":
                simple += ast.literal_eval(node.args[1])
            elif name in SLOW:
                slow += 1
            elif name in SIMPLE:
                simple += 1
            else:
                more = operations(FORMULAS[name])
                simple, slow = simple + more[0], slow + more[1]
    return simple, slow


def total(formulas: list[str]) -> tuple[float, float]:
    """Return (simple, slow) operations of several formulas."""
    simple, slow = zip(*map(operations, formulas), strict=True)
    return sum(simple), sum(slow)
