"""Vector operations per element of each element-wise function, as (simple, transcendental).

Counted from the arithmetic that compilers emit: a division is a reciprocal (transcendental) and a multiplication,
``exp(x)`` is one ``exp2`` with a multiplication before it, ``erf`` and ``tanh`` are a rational polynomial
(XLA's and CUDA's float32 versions have degree 6 to 13) with one reciprocal.
"""

from __future__ import annotations

from collections.abc import Mapping

from roofline.errors import UnknownOpError, nearest

SIGMOID = (3.0, 2.0)  # negate, scale, + 1; exp2, reciprocal
TANH = (12.0, 1.0)  # clamp 2, odd polynomial 6, even polynomial 3, multiply; reciprocal
ERF = (14.0, 1.0)  # clamp 2, odd polynomial 7, even polynomial 4, multiply; reciprocal

FUNCTIONS: dict[str, tuple[float, float]] = {
    "identity": (0.0, 0.0),
    "add": (1.0, 0.0),
    "sub": (1.0, 0.0),
    "mul": (1.0, 0.0),
    "div": (1.0, 1.0),
    "max": (1.0, 0.0),
    "min": (1.0, 0.0),
    "neg": (1.0, 0.0),
    "abs": (1.0, 0.0),
    "scale": (1.0, 0.0),  # by a constant
    "compare": (1.0, 0.0),
    "select": (1.0, 0.0),
    "relu": (1.0, 0.0),
    "relu6": (2.0, 0.0),
    "leaky_relu": (2.0, 0.0),
    "hard_sigmoid": (4.0, 0.0),  # multiply, add, clamp 2
    "hard_swish": (5.0, 0.0),
    "exp": (1.0, 1.0),
    "log": (1.0, 1.0),
    "sqrt": (0.0, 1.0),
    "rsqrt": (0.0, 1.0),
    "reciprocal": (0.0, 1.0),
    "pow": (2.0, 2.0),  # exp2(y log2 x)
    "sin": (2.0, 1.0),
    "cos": (2.0, 1.0),
    "sigmoid": SIGMOID,
    "swish": (SIGMOID[0] + 1, SIGMOID[1]),
    "tanh": TANH,
    "erf": ERF,
    "gelu": (ERF[0] + 4, ERF[1]),  # x / sqrt 2, erf, + 1, * x, / 2
    "gelu_tanh": (TANH[0] + 8, TANH[1]),  # x^3 2, * c, + x, * c; tanh; + 1, * x, / 2
    "elu": (3.0, 1.0),
    "softplus": (4.0, 2.0),
    "quantize": (5.0, 0.0),  # by the reciprocal scale, round, + zero point, clamp 2
    "dequantize": (3.0, 0.0),  # convert, - zero point, * scale
    "mish": (5.0 + TANH[0], 2.0 + TANH[1]),
    "cube": (2.0, 0.0),
    "log_sigmoid": (4.0, 2.0),  # min(x, 0) - log(1 + exp(-|x|))
    "lerp": (3.0, 0.0),
    "addcmul": (3.0, 0.0),
    "addcdiv": (3.0, 1.0),
    "hypot": (3.0, 1.0),
    "rotary": (3.0, 0.0),  # x times cosine, its partner times sine, their sum
    "glu": (SIGMOID[0] + 1, SIGMOID[1]),
    "lstm_cell": (2.0 + 0.75 * SIGMOID[0] + 0.5 * TANH[0], 0.75 * SIGMOID[1] + 0.5 * TANH[1]),  # per gate element:
    # three sigmoids and two tanh for four gates; f c + i g, o tanh(c), one addition of both matrix products each
    "gru_cell": ((7.0 + 2 * SIGMOID[0] + TANH[0]) / 3, (2 * SIGMOID[1] + TANH[1]) / 3),  # n + z (h - n), r y, additions
    "xlogy": (3.0, 1.0),  # logarithm (2), product, 0 where x is 0
    "cross": (3.0, 0.0),  # two products, their difference
    "mse_loss": (2.0, 0.0),
    "smooth_l1_loss": (6.0, 0.0),  # d = |x - y|; d d / 2 beta, d - beta / 2; select
    "huber_loss": (7.0, 0.0),  # the second times delta
    "binary_cross_entropy": (9.0, 2.0),  # (y - 1) log(1 - x) - y log x, both logarithms bounded
    "ctc_step": (13.0, 4.0),  # the largest of three, their exponentials below it summed; a logarithm and two additions
    "erfc": (ERF[0] + 1, ERF[1]),
    "square": (1.0, 0.0),
    "sign": (2.0, 0.0),  # two comparisons
    "round": (1.0, 0.0),  # floor, ceil, round, truncation
    "logical": (1.0, 0.0),  # and, or, xor, not, shifts
    "remainder": (4.0, 1.0),  # division, floor, multiply, subtract
    "clamp": (2.0, 0.0),
    "cbrt": (2.0, 2.0),  # exp2(log2 x / 3)
    "tan": (5.0, 3.0),  # sine over cosine
    "arc": (12.0, 1.0),  # asin, acos, atan, atan2, asinh ...: a rational polynomial as tanh's
    "erf_inv": (12.0, 2.0),  # log and root choose one of two polynomials of degree 9 (Giles, 2010)
    "lgamma": (25.0, 3.0),  # Lanczos: eight quotients as one rational function, two logarithms
    "threefry": (55.0, 0.0),  # random bits: 20 rounds of add, rotate (3), xor for two words (Salmon et al., 2011)
}

#: the same of complex numbers, in operations on real ones: the textbook's formulas, with the functions above
COMPLEX: dict[str, tuple[float, float]] = {
    "identity": (0.0, 0.0),
    "add": (2.0, 0.0),
    "sub": (2.0, 0.0),
    "neg": (2.0, 0.0),
    "scale": (2.0, 0.0),
    "select": (2.0, 0.0),
    "compare": (3.0, 0.0),  # both parts, and
    "mul": (6.0, 0.0),  # four multiplications, a difference and a sum
    "div": (11.0, 1.0),  # times the conjugate 6, square of the divisor's length 3, reciprocal, two multiplications
    "reciprocal": (6.0, 1.0),  # square of the length 3, reciprocal, two multiplications, negate
    "square": (5.0, 0.0),
    "cube": (11.0, 0.0),
    "abs": (3.0, 1.0),  # the root of the sum of squares
    "arc": (12.0, 1.0),  # the angle: an arctangent
    "sign": (5.0, 2.0),  # over the length
    "sqrt": (7.0, 3.0),  # length, half of its sum with the real part, root; the imaginary part over twice that
    "rsqrt": (13.0, 4.0),
    "exp": (7.0, 3.0),  # exponential of the real part times sine and cosine of the imaginary one
    "log": (16.0, 3.0),  # logarithm of the length, angle
    "pow": (29.0, 6.0),  # logarithm, product, exponential
    "sin": (13.0, 4.0),  # sine and cosine of the real part, hyperbolic ones (two exponentials) of the imaginary part
    "cos": (13.0, 4.0),
    "polar": (6.0, 2.0),  # length times cosine and sine
    "sigmoid": (16.0, 4.0),  # negate, exponential, + 1, reciprocal
    "swish": (22.0, 4.0),
    "tanh": (22.0, 4.0),  # of an exponential: - 1 over + 1
    "lerp": (10.0, 0.0),
    "addcmul": (10.0, 0.0),
    "addcdiv": (15.0, 1.0),
}


def complex_ops(name: str) -> tuple[float, float]:
    """Return (simple, transcendental) operations on real numbers for an element of a function of complex numbers.

    Raises
    ------
    UnknownOpError
        The function is not in the table.

    Examples
    --------
    >>> complex_ops("mul"), complex_ops("exp")
    ((6.0, 0.0), (7.0, 3.0))
    """
    return _looked_up(COMPLEX, f"function {name!r} of complex numbers", name)


def function_ops(name: str) -> tuple[float, float]:
    """Return (simple, transcendental) vector operations per element of an element-wise function.

    Raises
    ------
    UnknownOpError
        The function is not in the table.

    Examples
    --------
    >>> function_ops("relu"), function_ops("swish")
    ((1.0, 0.0), (4.0, 2.0))
    """
    return _looked_up(FUNCTIONS, f"element-wise function {name!r}", name)


def _looked_up(table: Mapping[str, tuple[float, float]], what: str, name: str) -> tuple[float, float]:
    if name not in table:
        raise UnknownOpError(f"no work rule for {what}{nearest(name, table)}")
    return table[name]
