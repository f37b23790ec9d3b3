"""Matrix products: MatMul, Gemm, Einsum and their fused forms."""

from __future__ import annotations

import math

from roofline.dtypes import DTYPES, DType
from roofline.errors import GraphError, ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering
from roofline.frontends.onnx.rules.convolutions import activated, bias_of, integers_behind, result_of
from roofline.frontends.onnx.values import Value
from roofline.frontends.onnx.views import broadcast, identity
from roofline.frontends.onnx.writer import Writer
from roofline.graph import ops


def product_of(w: Writer, a: Value, b: Value, bias: Value | None = None, dtype: DType | None = None) -> Value:
    """Add a (..., M, K) x b (..., K, N), with a bias (N,)."""
    if not a.rank or not b.rank:
        raise ShapeError("a scalar is no operand of a matrix product")
    drop = [i for i, v in ((-2, a), (-1, b)) if v.rank == 1]
    a = w.reshaped(a, (1, a.shape[0])) if a.rank == 1 else a
    b = w.reshaped(b, (b.shape[0], 1)) if b.rank == 1 else b
    a, b = integers_behind(a, b)
    lead = broadcast(a.shape[:-2], b.shape[:-2])
    if all(d == 1 for d in b.shape[:-2]):
        b = w.reshaped(b, b.shape[-2:])
        a = w.reshaped(a, (1,) * (len(lead) + 2 - a.rank) + a.shape)
    else:
        a, b = w.expanded(a, (*lead, *a.shape[-2:])), w.expanded(b, (*lead, *b.shape[-2:]))
    weight = w.read(b, role="parameter" if b.known else None)
    out = w.add(ops.MatMul, w.read(a), weight, *bias_of(w, bias), dtype=dtype or result_of(a))
    value = w.value(out)
    shape = [size for i, size in enumerate(value.shape, -value.rank) if i not in drop]
    return w.reshaped(value, tuple(shape))


@lowering("MatMul")
def matmul(w: Writer, node: Node) -> Value:
    """Product with numpy's rules for ranks."""
    return product_of(w, node[0], node[1])


@lowering("FusedGemm", domain=MICROSOFT)
def fused_gemm(w: Writer, node: Node) -> Value:
    """Product, bias, activation."""
    return activated(w, node, gemm(w, node))


@lowering("Gemm")
def gemm(w: Writer, node: Node) -> Value:
    """Product of two matrices, either of them transposed, and a bias of any shape that broadcasts."""
    a, b, c = node[0], node[1], node.get(2)
    if a.rank != 2 or b.rank != 2:
        raise ShapeError(f"ranks {a.rank} and {b.rank}; allowed: 2")
    a = w.transposed(a, (1, 0)) if node.integer("transA", 0) else a
    b = w.transposed(b, (1, 0)) if node.integer("transB", 0) else b
    if a.shape[1] != b.shape[0]:
        raise ShapeError(f"contracted dimensions disagree: {a.shape[1]} and {b.shape[0]}")
    constant = c is not None and (c.known or c.stored_integers is not None)
    if c is None or (constant and c.elements == b.shape[1]):
        return product_of(w, a, b, c)
    return w.pointwise("add", product_of(w, a, b), c)


@lowering("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(w: Writer, node: Node) -> Value:
    """Product with either operand transposed, scaled by a number."""
    a, b = (
        w.transposed(v, (*identity(v.rank)[:-2], v.rank - 1, v.rank - 2)) if node.integer(flag, 0) else v
        for v, flag in ((node[0], "transA"), (node[1], "transB"))
    )
    if node.integer("transBatchA", 0) or node.integer("transBatchB", 0):
        raise GraphError("transposed batch axes are not supported; allowed: transA, transB")
    out = product_of(w, a, b)
    return w.pointwise("scale", out) if node.number("alpha", 1.0) != 1.0 else out


@lowering("MatMulNBits", "MatMulBnb4", domain=MICROSOFT)
def matmul_of_few_bits(w: Writer, node: Node) -> Value:
    """Product with a weight of few bits that the kernel unpacks as it reads."""
    weight = unpacked(node[1], (node.integer("K"), node.integer("N")), node.integer("bits", 4))
    return product_of(w, node[0], weight, node.get(5))


def unpacked(packed: Value, shape: tuple[int, ...], bits: int) -> Value:
    """Return a weight that a file stores several to a byte."""
    if bits not in (2, 4, 8) or packed.constant is None:
        raise GraphError(f"{bits!r} bits; allowed: 2, 4 and 8, of a stored weight")
    return Value(shape=shape, dtype=DTYPES[f"int{bits}"], constant=packed.constant)


@lowering("Einsum")
def einsum(w: Writer, node: Node) -> Value:
    """Sums of products: two operands at a time, as batched matrix products."""
    operands = list(node.given)
    left, arrow, right = node.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands) or not operands:
        raise ShapeError(f"equation {node.text('equation', '')!r} has {len(terms)} operands, {len(operands)} are given")
    letters = [_spelled(term, v.rank) for term, v in zip(terms, operands, strict=True)]
    if not arrow:
        every = "".join(terms).replace(".", "")
        dots = max((t for t in letters), key=len)
        right = "".join(c for c in dots if c.isdigit()) + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    else:
        widest = max((sum(c.isdigit() for c in t) for t in letters), default=0)
        right = _spelled(right, widest + len(right.replace(".", "")))
    sizes: dict[str, int] = {}
    for term, value in zip(letters, operands, strict=True):
        if len(set(term)) != len(term):
            raise ShapeError(f"equation {node.text('equation', '')!r}: diagonals are not supported")
        for letter, size in zip(term, value.shape, strict=True):
            if sizes.setdefault(letter, size) not in (1, size) and size != 1:
                raise ShapeError(f"index {letter!r} has sizes {sizes[letter]} and {size}")
            sizes[letter] = max(sizes[letter], size)
    if not set(right) <= set(sizes):
        raise ShapeError(f"equation {node.text('equation', '')!r}: the result has indices of no operand")
    value, term = operands[0], letters[0]
    for i in range(1, len(operands)):
        needed = set(right).union(*letters[i + 1 :])
        value, term = _contract(w, (value, term), (operands[i], letters[i]), needed)
    value, term = _summed(w, value, term, set(right))
    return w.transposed(value, tuple(term.index(c) for c in right))


def _spelled(term: str, rank: int) -> str:
    """Return a term with an ellipsis spelled out as digits, the last axis being '0'."""
    count = rank - len(term.replace("...", ""))
    dots = "".join(str(i) for i in reversed(range(max(count, 0))))
    term = term.replace("...", dots)
    if len(term) != rank or (term and not term.isalnum()):
        raise ShapeError(f"term {term!r} of an equation does not fit rank {rank}")
    return term


def _summed(w: Writer, value: Value, term: str, kept: set[str]) -> tuple[Value, str]:
    axes = tuple(i for i, letter in enumerate(term) if letter not in kept)
    if not axes:
        return value, term
    out = w.add(ops.Reduce, w.read(value), axes=axes, function="sum", keep=False)
    return w.value(out), "".join(c for c in term if c in kept)


def _contract(w: Writer, left: tuple[Value, str], right: tuple[Value, str], needed: set[str]) -> tuple[Value, str]:
    """Return the product of two terms, summed over the indices that nobody needs any more."""
    a, a_term = _summed(w, *left, needed | set(right[1]))
    b, b_term = _summed(w, *right, needed | set(a_term))
    batch = [c for c in a_term if c in b_term and c in needed]
    inner = [c for c in a_term if c in b_term and c not in needed]
    rows, columns = [c for c in a_term if c not in b_term], [c for c in b_term if c not in a_term]
    if not inner:
        a, b = (
            _aligned(w, a, a_term, [*batch, *rows, *columns]),
            _aligned(w, b, b_term, [*batch, *rows, *columns]),
        )
        return w.pointwise("mul", a, b), "".join([*batch, *rows, *columns])
    a = w.transposed(a, tuple(a_term.index(c) for c in (*batch, *rows, *inner)))
    b = w.transposed(b, tuple(b_term.index(c) for c in (*batch, *inner, *columns)))
    nb, nr, nc = len(batch), len(rows), len(columns)
    outer = a.shape[:nb]
    shape = (*outer, *a.shape[nb : nb + nr], *b.shape[b.rank - nc :])
    k = math.prod(a.shape[nb + nr :])
    a = w.reshaped(a, (*outer, math.prod(a.shape[nb : nb + nr]), k))
    b = w.reshaped(b, (*outer, k, math.prod(b.shape[b.rank - nc :])))
    out = w.reshaped(product_of(w, a, b), shape)
    return out, "".join([*batch, *rows, *columns])


def _aligned(w: Writer, value: Value, term: str, letters: list[str]) -> Value:
    order = [c for c in letters if c in term]
    value = w.transposed(value, tuple(term.index(c) for c in order))
    sizes = dict(zip(order, value.shape, strict=True))
    return w.reshaped(value, tuple(sizes.get(c, 1) for c in letters))
