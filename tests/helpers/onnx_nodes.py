"""The node tests of the onnx package as files with fixed shapes, and the multiply-adds of each by hand formula.

A test holds a model and the arrays it is run on. Their shapes become the sizes of the inputs; an input that decides
shapes becomes an initialiser. The multiply-adds come from what the reference evaluator hands to each contraction while
it runs the model, bodies of loops and functions included: shapes and attributes alone, nothing that the project counts.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops._op import OpRunBinary

from roofline.graph.op import show
from roofline.graph.opgraph import OpGraph

#: elements of an input that may decide shapes
SMALL = 64
#: floats that decide shapes: scales, bounds of a range, also as the trip count of a loop
FLOATS_THAT_DECIDE = ("Resize", "Upsample", "Range", "OneHot", "Loop")
Counter = Callable[[dict[str, Any], list[Any], list[Any]], int]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A node test: its model, and the arrays of one run."""

    name: str
    model: ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def operator(self) -> str:
        """What it tests; the tests of function bodies are named like those of the operator."""
        nodes = self.model.graph.node
        return nodes[0].op_type if len(nodes) == 1 else self.name.removeprefix("test_").partition("_expanded")[0]


def collected(*modules: str) -> list[Case]:
    """Return the node tests that the installed onnx package makes: all, or at least those of some of its modules."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in modules:
            importlib.import_module(f"{node.__name__}.{name}")
        made = list(node._NodeTestCases) if modules else node.collect_testcases(None)
    return [
        Case(name=m.name, model=m.model, inputs=tuple(m.data_sets[0][0]), outputs=tuple(m.data_sets[0][1]))
        for m in made
        if m.model is not None and m.data_sets
    ]


def fixed(case: Case, *, pinned: bool) -> ModelProto:
    """Return the model with the shapes of the arrays; small integers as initialisers with `pinned`."""
    model = ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    floats = any(n.op_type in FLOATS_THAT_DECIDE for n in graph.node)
    kept = []
    for info, array in zip(graph.input, case.inputs, strict=False):
        array = np.asarray(array) if isinstance(array, np.generic) else array
        if isinstance(array, (np.ndarray, TensorProto)) and info.type.HasField("tensor_type"):
            stored = array if isinstance(array, TensorProto) else numpy_helper.from_array(array)
            if pinned and _decides(stored, floats):
                graph.initializer.add().CopyFrom(stored)
                graph.initializer[-1].name = info.name
                continue
            info.type.tensor_type.shape.CopyFrom(helper.make_tensor_type_proto(1, list(stored.dims)).tensor_type.shape)
        kept.append(info)
    del graph.input[:]
    graph.input.extend(kept)
    return model


def _decides(stored: TensorProto, floats: bool) -> bool:
    count = math.prod(stored.dims)
    kind = helper.tensor_dtype_to_np_dtype(stored.data_type).kind
    return len(stored.dims) <= 1 and count <= SMALL and (kind in "iub" or floats or not count)


def misshapen(case: Case, graph: OpGraph) -> str:
    """Return which outputs of a graph have a shape that no array of the test has; axes may be in any order."""
    if any(isinstance(array, list) or array is None for array in case.outputs):
        return ""  # sequences and optional values are taken apart
    wanted = [sorted(a.dims if isinstance(a, TensorProto) else np.shape(a)) for a in case.outputs]
    found = [graph.tensors[name].shape for name in graph.outputs]
    return ", ".join(show(shape) for shape in found if sorted(shape) not in wanted)


# multiply-adds by formula ------------------------------------------------------------------------------------------


def _size(value: Any) -> int:
    return math.prod(np.shape(value))


def _conv(attributes: dict[str, Any], x: list[Any], y: list[Any], weight: int = 1) -> int:
    """Every output is a sum over a group's channels and all taps."""
    return _size(y[0]) * _size(x[weight][0])


def _conv_transpose(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    """Every input is spread over a group's channels and all taps."""
    return _size(x[0]) * _size(x[1][0])


def _matmul(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    return _size(y[0]) * int(np.shape(x[0])[-1])


def _gemm(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    return _size(y[0]) * int(np.shape(x[0])[0 if attributes.get("transA") else 1])


def _einsum(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    """All indices together, where two operands share one that the result lacks."""
    terms, _, result = attributes["equation"].replace(" ", "").partition("->")
    letters = terms.split(",")
    shapes = [np.shape(v) for v in x]
    if len(letters) == 1 or "." in terms:
        return _size(y[0]) * shapes[0][-1] if len(letters) == 2 else 0
    sizes = {c: n for term, shape in zip(letters, shapes, strict=True) for c, n in zip(term, shape, strict=True)}
    shared = set(letters[0]).intersection(*letters[1:]) - set(result)
    return math.prod(sizes.values()) if shared else 0


def _recurrent(gates: int) -> Counter:
    def count(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
        steps_by_batch = math.prod(np.shape(x[0])[:2])
        directions, _, width = np.shape(x[1])
        hidden = np.shape(x[2])[2]
        return int(steps_by_batch * directions * gates * hidden * (width + hidden))

    return count


def _attention(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    """Scores and context, for every query head over all keys, the past's too."""
    q, k, v = (np.shape(value) for value in x[:3])
    past = np.shape(x[4])[2] if len(x) > 4 and x[4] is not None else 0
    if len(q) == 4:
        batch, heads, queries, width = q
        keys, value_width = k[2] + past, v[3]
    else:
        heads, kv_heads = attributes["q_num_heads"], attributes["kv_num_heads"]
        batch, queries, width = q[0], q[1], q[2] // heads
        keys, value_width = k[1] + past, v[2] // kv_heads
    return int(batch * heads * queries * keys * (width + value_width))


def _linear_attention(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    """Per token: q S for each query head; for each state k v, and in the delta rules S k before it."""
    batch, tokens, _ = np.shape(x[0])
    heads, kv_heads = attributes["q_num_heads"], attributes["kv_num_heads"]
    state = np.shape(x[1])[2] // kv_heads * (np.shape(x[2])[2] // kv_heads)
    delta = "delta" in attributes.get("update_rule", "gated_delta")
    return int(batch * tokens * state * (heads + kv_heads * (1 + delta)))


def _affine_grid(attributes: dict[str, Any], x: list[Any], y: list[Any]) -> int:
    """Every place, with a one behind it, times the matrix of its image."""
    return _size(y[0]) * int(np.shape(x[0])[2])


FORMULAS: dict[str, Counter] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "DeformConv": _conv,
    "CausalConvWithState": _conv,
    "QLinearConv": lambda a, x, y: _conv(a, x, y, 3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
    "Attention": _attention,
    "FlexAttention": _attention,
    "LinearAttention": _linear_attention,
    "AffineGrid": _affine_grid,
}


def contracts(case: Case) -> bool:
    """Return whether a contraction stands anywhere in the model."""
    return any(n.op_type in FORMULAS for n in _nodes(case.model.graph, case.model.functions))


def expected_macs(case: Case) -> int | None:
    """Return the multiply-adds of a model; None where its arrays do not go through the reference evaluator."""
    nodes = case.model.graph.node
    if len(nodes) == 1 and nodes[0].op_type in FORMULAS:
        given = iter(case.inputs)
        arrays = [next(given) if name else None for name in nodes[0].input]
        return FORMULAS[nodes[0].op_type](_attributes(nodes[0]), arrays, list(case.outputs))
    if not contracts(case):
        return 0
    with _counted() as found, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            names = [i.name for i in case.model.graph.input]
            ReferenceEvaluator(case.model).run(None, dict(zip(names, case.inputs, strict=True)))
        except Exception:  # whatever the reference cannot do
            return None
    return sum(found)


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Note the multiply-adds of every contraction that the reference evaluator runs inside."""
    found: list[int] = []
    inside = [0]

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: Any, *args: Any, **options: Any) -> Any:
            node = self.onnx_node
            counts = node.op_type in FORMULAS and not inside[0]
            inside[0] += counts
            try:
                results = original(self, *args, **options)
            finally:
                inside[0] -= counts
            if counts:
                found.append(FORMULAS[node.op_type](_attributes(node), list(args), list(results)))
            return results

        return run

    kept = [(kind, kind.run) for kind in (OpRun, OpRunBinary)]
    for kind, original in kept:
        kind.run = noting(original)  # type: ignore[method-assign]
    try:
        yield found
    finally:
        for kind, original in kept:
            kind.run = original  # type: ignore[method-assign]


def _attributes(node: NodeProto) -> dict[str, Any]:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in found.items()}


def _nodes(graph: GraphProto, functions: Sequence[FunctionProto] = ()) -> Iterator[NodeProto]:
    for node in (*graph.node, *(n for f in functions for n in f.node)):
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
