"""Matrix products and convolutions: their operands are read in whatever order memory has them."""

from __future__ import annotations

from math import prod
from typing import Any

from roofline.errors import InputError, UnknownOpError
from roofline.frontends.jax.registry import lowering
from roofline.frontends.jax.values import Operand, Value, dtype_of
from roofline.frontends.jax.writer import Writer
from roofline.graph.op import ContractionForm
from roofline.graph.ops import Conv, MatMul
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric


@lowering("dot_general")
def dot_general(w: Writer, equation: Any, left: Operand, right: Operand) -> Operand:
    """Write a product of stacked matrices, or of rows with one matrix."""
    aval = equation.outvars[0].aval
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = equation.params["dimension_numbers"]
    a, b = w.spread(w.value(left)), w.spread(w.value(right))
    sides = [(a, tuple(lhs_contract), tuple(lhs_batch)), (b, tuple(rhs_contract), tuple(rhs_batch))]
    swapped = not lhs_batch and a.tensor.stored and not b.tensor.stored
    if swapped:
        sides.reverse()
    (rows, k_rows, batch), (columns, k_columns, column_batch) = sides
    free = [i for i in rows.memory if i not in (*k_rows, *batch)]
    other = [i for i in range(len(columns.shape)) if i not in (*k_columns, *column_batch)]
    batches = [rows.shape[i] for i in batch]
    m_sizes, n_sizes = [rows.shape[i] for i in free], [columns.shape[i] for i in other]
    k = prod(rows.shape[i] for i in k_rows)
    lead = [*batches, prod(m_sizes)] if batch else (m_sizes or [1])
    x = w.reshape(w.arranged(rows, [*batch, *free, *k_rows]), [*lead, k])
    matrix = w.reshape(w.arranged(columns, [*column_batch, *k_columns, *other]), [*batches, k, prod(n_sizes)])
    x, lead = _at_least_a_matrix(w, x, lead)
    made = w.emit(_named(w, columns, "dot"), MatMul, x, matrix, dtype=dtype_of(aval))
    note = ([rows.shape[i] for i in sorted(free)] if batch else m_sizes, n_sizes)
    w.products[made.id] = (tuple(batches), tuple(note[0]), tuple(note[1]))
    tensor = w.reshape(made, [*batches, *m_sizes, *n_sizes])
    return _result(tensor, tuple(aval.shape), len(batch), free, other, swapped)


@lowering("ragged_dot_general")
def ragged_dot(w: Writer, equation: Any, left: Operand, right: Operand, sizes: Operand) -> Operand:
    """Write rows that each meet the matrix of their group as groups of equal size: balanced routing."""
    aval = equation.outvars[0].aval
    numbers = equation.params["ragged_dot_dimension_numbers"]
    a, b = w.value(left), w.value(right)
    plain = (
        len(a.shape) == 2
        and len(b.shape) == 3
        and tuple(numbers.lhs_ragged_dimensions) == tuple(numbers.rhs_group_dimensions) == (0,)
    )
    if not plain:
        raise UnknownOpError("a ragged product other than (rows, k) x (groups, k, columns) has no rule")
    (rows, k), groups = a.shape, b.shape[0]
    if rows % groups:
        raise InputError(f"{rows} rows cannot be spread evenly over {groups} groups of a ragged product")
    (_, contracted), _ = numbers.dot_dimension_numbers
    order = [0, contracted[0], 3 - contracted[0]]
    x = w.reshape(w.arranged(a, [0, 1]), (groups, rows // groups, k))
    made = w.emit(_named(w, b, "ragged_dot"), MatMul, x, w.arranged(b, order), dtype=dtype_of(aval))
    return Value.plain(w.reshape(made, tuple(aval.shape)))


def _named(w: Writer, weight: Value, otherwise: str) -> str:
    """Return the name of the layer that a weight belongs to, where the program names no scopes."""
    layer = weight.tensor.id.rpartition("/")[0]
    return layer if weight.tensor.role == "parameter" and layer and not w.place else otherwise


def _at_least_a_matrix(w: Writer, x: Tensor, lead: list[int]) -> tuple[Tensor, list[int]]:
    return (w.reshape(x, (1, *x.shape)), [1]) if len(x.shape) < 2 else (x, lead)  # type: ignore[arg-type]


def _result(
    tensor: Tensor, shape: tuple[int, ...], batch: int, free: list[int], other: list[int], swapped: bool
) -> Value:
    """Return what memory holds, (batch, rows, columns), with the axes as the program has them: left before right."""
    row_axes = [batch + free.index(i) for i in sorted(free)]
    column_axes = [batch + len(free) + other.index(i) for i in sorted(other)]
    later = [*column_axes, *row_axes] if swapped else [*row_axes, *column_axes]
    return Value(tensor=tensor, shape=shape, axes=(*range(batch), *later))


@lowering("conv_general_dilated")
def convolution(w: Writer, equation: Any, left: Operand, right: Operand) -> Operand:
    """Write a convolution; one over a dilated input is a transposed one.

    Groups of examples that each meet filters of their own (the gradient of a grouped convolution's weights) are read as
    groups of channels.
    """
    p, aval = equation.params, equation.outvars[0].aval
    lhs_spec, rhs_spec, out_spec = p["dimension_numbers"]
    x = w.arranged(w.value(left), [lhs_spec[0], *lhs_spec[2:], lhs_spec[1]])
    out_shape = tuple(aval.shape[i] for i in (out_spec[0], *out_spec[2:], out_spec[1]))
    weight = w.value(right)
    kernel = tuple(weight.shape[i] for i in rhs_spec[2:])
    filters = w.arranged(weight, [*rhs_spec[2:], rhs_spec[1], rhs_spec[0]])
    groups, apart = int(p["feature_group_count"]), int(p["batch_group_count"])
    if apart != 1:
        n, *sides, c = map(int, x.shape)
        x, groups = w.reshape(x, (n // apart, *sides, c * apart)), apart
    channels = int(x.shape[-1])
    form: ContractionForm = "dense" if groups == 1 else "depthwise" if groups == channels else "grouped"
    if any(d != 1 for d in p["lhs_dilation"]):
        filters = w.reshape(filters, (*kernel, channels, out_shape[-1] // groups))
        made = w.emit(
            _named(w, weight, "conv_transpose"),
            ConvTranspose,
            x,
            filters,
            dtype=dtype_of(aval),
            kernel=kernel,
            shape=out_shape,
            groups=groups,
            form=form,
        )
    else:
        pads = tuple(
            centred(low + high, size, dilation)
            for (low, high), size, dilation in zip(p["padding"], kernel, p["rhs_dilation"], strict=True)
        )
        made = w.emit(
            _named(w, weight, "conv"),
            Conv,
            x,
            filters,
            dtype=dtype_of(aval),
            kernel=kernel,
            stride=tuple(map(int, p["window_strides"])),
            padding=pads,
            groups=groups,
            form=form,
        )
    places = [out_spec[0], *out_spec[2:], out_spec[1]]
    axes = tuple(places.index(i) for i in range(len(places)))
    return Value(tensor=made, shape=tuple(aval.shape), axes=axes)


def centred(border: int, kernel: int, dilation: int) -> Numeric:
    """Return the border per side that gives an undilated window the same output size.

    Examples
    --------
    >>> centred(2, 3, 1), centred(4, 3, 2), centred(1, 2, 1)
    (1, 1, 0.5)
    """
    total = border - (kernel - 1) * (dilation - 1)
    return total // 2 if total % 2 == 0 else total / 2
