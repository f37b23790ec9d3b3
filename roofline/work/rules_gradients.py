"""Rules of the ops in `roofline.graph.gradients`, and vector operations per element of derivatives."""

from __future__ import annotations

from roofline.graph import gradients
from roofline.graph.op import Op
from roofline.numeric import product
from roofline.work.functions import COMPLEX, ERF, FUNCTIONS, SIGMOID, TANH
from roofline.work.registry import Tensors, rule
from roofline.work.types import Work

#: softmax: dy y, its sum, subtract, times y
SOFTMAX_GRAD_SIMPLE = 4.0
#: norm: dy scale, x hat (2), both sums (3), their shares (3), times the reciprocal deviation
NORM_GRAD_SIMPLE = 10.0
#: batch statistics: sum, square, sum of squares
BATCH_STATISTICS_SIMPLE = 3.0
#: sums of dy and of dy (x - mean)
AFFINE_GRAD_SIMPLE = 4.0
#: attention, per score: scale, subtract the row's logarithm; P (dP - row sum) and the scale; one exponential
ATTENTION_GRAD_SIMPLE, ATTENTION_GRAD_TRANSCENDENTAL = 5.0, 1.0
#: optimizer, per parameter: w - lr g; m = b m + g before it; Adam: moments 3 and 4, correction 2, epsilon, step 2; root
#: and quotient
OPTIMIZER_OPS: dict[str, tuple[float, float]] = {"sgd": (2.0, 0.0), "momentum": (4.0, 0.0), "adam": (12.0, 2.0)}


def _conv_grad(op: Op, inputs: Tensors, outputs: Tensors) -> Work:
    """The product; a depthwise window loads an operand for every multiply-accumulate."""
    products = op.products(inputs, outputs)
    return Work(contractions=products, gradient_loads=products[0].macs if products[0].form == "depthwise" else 0.0)


rule(gradients.ConvInputGrad)(_conv_grad)
rule(gradients.ConvWeightGrad)(_conv_grad)


@rule(gradients.AttentionGrad)
def attention_grad(op: gradients.AttentionGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """Five products; softmax and its gradient of every score, and the sums of trained biases; dy out per row."""
    products = op.products(inputs, outputs)
    scores = product((products[0].batch, products[0].m, products[0].n))
    simple = ATTENTION_GRAD_SIMPLE + len(inputs[5:]) + len(op.biases)
    return Work(
        contractions=products,
        simple_ops=scores * simple + 2.0 * inputs[0].elements,
        transcendental_ops=scores * ATTENTION_GRAD_TRANSCENDENTAL,
    )


@rule(gradients.SoftmaxGrad)
def softmax_grad(op: gradients.SoftmaxGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """Every element."""
    return Work(simple_ops=outputs[0].elements * SOFTMAX_GRAD_SIMPLE)


@rule(gradients.NormGrad)
def norm_grad(op: gradients.NormGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """Every element."""
    return Work(simple_ops=outputs[0].elements * NORM_GRAD_SIMPLE)


@rule(gradients.BatchStatistics)
def batch_statistics(op: gradients.BatchStatistics, inputs: Tensors, outputs: Tensors) -> Work:
    """Every element read."""
    return Work(simple_ops=inputs[0].elements * BATCH_STATISTICS_SIMPLE)


@rule(gradients.AffineGrad)
def affine_grad(op: gradients.AffineGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """Every element read."""
    return Work(simple_ops=inputs[0].elements * AFFINE_GRAD_SIMPLE)


@rule(gradients.PoolGrad)
def pool_grad(op: gradients.PoolGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """One operation per window element, as forward."""
    window = inputs[0].elements * product(op.kernel)
    return Work(simple_ops=window, window_loads=window)


@rule(gradients.ResizeGrad)
def resize_grad(op: gradients.ResizeGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """A multiplication and an addition for every neighbour."""
    elements = inputs[0].elements * op.neighbours
    return Work(simple_ops=2.0 * elements, window_loads=elements)


@rule(gradients.SampleGrad)
def sample_grad(op: gradients.SampleGrad, inputs: Tensors, outputs: Tensors) -> Work:
    """The difference of the neighbours again, a multiplication and an addition for each, times dy, summed."""
    elements = inputs[0].elements * op.neighbours
    return Work(simple_ops=2.0 * elements + 2.0 * inputs[0].elements, window_loads=elements)


@rule(gradients.SumTo)
def sum_to(op: gradients.SumTo, inputs: Tensors, outputs: Tensors) -> Work:
    """One addition per element read."""
    return Work(simple_ops=inputs[0].elements)


@rule(gradients.Spread)
def spread(op: gradients.Spread, inputs: Tensors, outputs: Tensors) -> Work:
    """One multiplication per element written."""
    return Work(simple_ops=outputs[0].elements)


@rule(gradients.Scatter)
def scatter(op: gradients.Scatter, inputs: Tensors, outputs: Tensors) -> Work:
    """One addition per value where they accumulate."""
    return Work(simple_ops=inputs[0].elements * float(op.accumulate))


@rule(gradients.OptimizerStep)
def optimizer_step(op: gradients.OptimizerStep, inputs: Tensors, outputs: Tensors) -> Work:
    """Operations of the algorithm for every parameter."""
    simple, transcendental = OPTIMIZER_OPS[op.algorithm]
    return Work(simple_ops=inputs[0].elements * simple, transcendental_ops=inputs[0].elements * transcendental)


#: (simple, transcendental) operations per element of dx from dy and what was saved: of the dearest operand where there
#: are several. Where the derivative needs the function's own value again (swish, GELU), that is counted too
DERIVATIVES: dict[str, tuple[float, float]] = {
    "relu": (1.0, 0.0),
    "relu6": (2.0, 0.0),
    "leaky_relu": (2.0, 0.0),
    "clamp": (2.0, 0.0),
    "abs": (2.0, 0.0),  # dy or -dy
    "hard_sigmoid": (3.0, 0.0),
    "hard_swish": (5.0, 0.0),  # two comparisons, x / 3 + 1/2, times dy
    "sigmoid": (3.0, 0.0),  # dy y (1 - y)
    "tanh": (3.0, 0.0),  # dy (1 - y^2)
    "exp": (1.0, 0.0),
    "sqrt": (2.0, 1.0),
    "rsqrt": (4.0, 0.0),  # dy y^3, times a half
    "reciprocal": (3.0, 0.0),
    "log": (1.0, 1.0),
    "square": (2.0, 0.0),
    "cube": (3.0, 0.0),
    "pow": (4.0, 2.0),  # by a constant
    "sin": (3.0, 1.0),
    "cos": (4.0, 1.0),
    "tan": (3.0, 0.0),  # dy (1 + y^2)
    "cbrt": (4.0, 2.0),  # dy / 3 exp2(-2/3 log2 |x|)
    "arc": (3.0, 1.0),  # dy / (1 + x^2), or a root of it
    "erf": (4.0, 1.0),
    "erfc": (4.0, 1.0),
    "erf_inv": (FUNCTIONS["erf_inv"][0] + 4, FUNCTIONS["erf_inv"][1] + 1),  # dy times a half root of pi, exp(y^2)
    "lgamma": (24.0, 3.0),  # digamma: Lanczos' logarithm, quotient and rational function
    "div": (3.0, 1.0),  # of the divisor: -dy y / b
    "max": (2.0, 0.0),
    "min": (2.0, 0.0),
    "select": (1.0, 0.0),
    "remainder": (4.0, 1.0),  # of the divisor: -dy floor(x / b)
    "lerp": (2.0, 0.0),
    "addcmul": (2.0, 0.0),
    "addcdiv": (4.0, 1.0),  # of the divisor
    "hypot": (5.0, 1.0),
    "elu": (3.0, 1.0),
    "batch_norm": (7.0, 0.0),  # (n dy - its sum - (x - mean) sum(dy (x - mean)) / var) factor, as XLA has it
    "max_over": (2.0, 0.0),
    "statistic": (3.0, 1.0),  # of a variance, norm or logarithm of a sum: the element's share of it, times dy
    "swish": (SIGMOID[0] + 5, SIGMOID[1]),  # dy (s + x s (1 - s))
    "gelu": (ERF[0] + 9, ERF[1] + 1),  # the normal distribution 3, its density 3 and exp, times x, sum, times dy
    "gelu_tanh": (TANH[0] + 15, TANH[1]),  # its argument 5; dy / 2 (1 + t) (1 + x (1 - t) (c + 3 a c x^2)) 10
    "mish": (FUNCTIONS["softplus"][0] + TANH[0] + SIGMOID[0] + 6, FUNCTIONS["softplus"][1] + TANH[1] + SIGMOID[1]),
    "softplus": (SIGMOID[0] + 1, SIGMOID[1]),
    "log_sigmoid": (SIGMOID[0], SIGMOID[1]),  # of -x, whose sign goes into a constant; times dy
    "xlogy": (3.0, 1.0),  # of the second: dy x / y, 0 where x is 0
    "cross": (3.0, 0.0),
    "mse_loss": (3.0, 0.0),  # 2 d dy
    "smooth_l1_loss": (5.0, 0.0),  # d / beta, bounded, times dy
    "huber_loss": (4.0, 0.0),
    "binary_cross_entropy": (6.0, 1.0),  # dy (x - y) / (x (1 - x)), the divisor bounded
    "ctc_step": (17.0, 5.0),  # the table from behind, with the one from before an exponential, times dy, summed
    "glu": (SIGMOID[0] + 4, SIGMOID[1]),  # of the gate: dy x s (1 - s)
    # the gates again without the result (1 of an LSTM, 3 of a GRU), then 22 and 15 products and sums for all of them
    "lstm_cell": (FUNCTIONS["lstm_cell"][0] + 21.0 / 4, FUNCTIONS["lstm_cell"][1]),
    "gru_cell": (FUNCTIONS["gru_cell"][0] + 12.0 / 3, FUNCTIONS["gru_cell"][1]),
}
FUNCTIONS.update({f"{name}_grad": ops for name, ops in DERIVATIVES.items()})
#: the same of complex numbers: dy times the conjugate of the derivative
COMPLEX_DERIVATIVES: dict[str, tuple[float, float]] = {
    "abs": (6.0, 2.0),  # dy over the length 3 + 1, times both parts
    "exp": (6.0, 0.0),
    "select": (2.0, 0.0),
    "square": (8.0, 0.0),
    "cube": (14.0, 0.0),
    "div": (19.0, 1.0),
    "sigmoid": (14.0, 0.0),
    "tanh": (13.0, 0.0),
    "sqrt": (14.0, 1.0),
    "reciprocal": (14.0, 0.0),
    "log": (12.0, 1.0),
    "sin": (19.0, 4.0),
    "cos": (21.0, 4.0),
}
COMPLEX.update({f"{name}_grad": ops for name, ops in COMPLEX_DERIVATIVES.items()})
