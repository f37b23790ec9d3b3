"""Element-wise ops: one kernel each."""

from __future__ import annotations

from typing import Any

from roofline.frontends.torch import values as views
from roofline.frontends.torch.registry import aten
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer

#: function of `roofline.work.functions` -> ATen ops that are it, whatever their number of tensor operands
_SAME = {
    "add": "add",
    "sub": "sub rsub",
    "mul": "mul",
    "div": "div true_divide floor_divide",
    "remainder": "remainder fmod",
    "logical": "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not "
    "bitwise_left_shift bitwise_right_shift __lshift__ __rshift__ __and__ __or__",
    "max": "maximum fmax clamp_min",
    "min": "minimum fmin clamp_max",
    "neg": "neg",
    "scale": "deg2rad rad2deg ldexp",
    "xlogy": "xlogy special_xlog1py special_entr",
    "cross": "linalg_cross",
    "abs": "abs",
    "sign": "sign sgn",
    "round": "floor ceil round trunc frac",
    "compare": "eq ne lt le gt ge isnan isinf isfinite isposinf isneginf signbit isin",
    "select": "where masked_fill nan_to_num copysign heaviside",
    "relu": "relu threshold",
    "leaky_relu": "leaky_relu _prelu_kernel prelu rrelu rrelu_with_noise",
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "clamp": "clamp hardtanh hardshrink softshrink",
    "exp": "exp exp2 expm1",
    "log": "log log2 log10 log1p logit",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "sin": "sin sinc",
    "cos": "cos",
    "tan": "tan",
    "arc": "asin acos atan atan2 sinh cosh asinh acosh atanh angle",
    "sigmoid": "sigmoid",
    "log_sigmoid": "log_sigmoid_forward log_sigmoid",
    "swish": "silu",
    "tanh": "tanh",
    "erf": "erf",
    "erfc": "erfc special_erfcx",
    "erf_inv": "erfinv special_ndtri",
    "lgamma": "lgamma digamma",
    "elu": "elu celu selu",
    "softplus": "softplus logaddexp logaddexp2",
    "mish": "mish",
    "lerp": "lerp",
    "addcmul": "addcmul",
    "addcdiv": "addcdiv",
    "hypot": "hypot",
}


def _register(function: str, names: str) -> None:
    @aten(names)
    def rule(w: Writer, a: Any, out: Any) -> Any:
        operands = [v for v in a.values() if isinstance(v, Value)]
        first = out[0] if isinstance(out, tuple) else out  # log_sigmoid_forward brings a buffer along
        return w.pointwise(function, first, *operands)


for _function, _names in _SAME.items():
    _register(_function, _names)


@aten("hardtanh.default")
def _hardtanh(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("relu6" if (a.min_val, a.max_val) == (0, 6) else "clamp", out, a.input)


@aten("gelu")
def _gelu(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("gelu_tanh" if a.approximate == "tanh" else "gelu", out, a.input)


@aten("pow square float_power")
def power(w: Writer, a: Any, out: Any) -> Value:
    """PyTorch's kernel multiplies for the exponents 2 and 3, and takes roots for a half."""
    exponent = a.get("exponent", 2)
    operands = [v for v in (a.get("self"), exponent) if isinstance(v, Value)]
    number = float(exponent) if isinstance(exponent, (int, float)) else 0.0
    function = {2.0: "square", 3.0: "cube", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(number, "pow")
    return w.pointwise(function, out, *operands)


@aten("glu")
def _glu(w: Writer, a: Any, out: Any) -> Value:
    half = a.input.shape[a.dim] // 2
    parts = [views.part(a.input, a.dim, start, half) for start in (0, half)]
    return w.pointwise("glu", out, *parts)


@aten("complex polar")
def _complex_(w: Writer, a: Any, out: Any) -> Value:
    return w.pointwise("polar" if w.op_name == "polar" else "identity", out, *a.values())
