"""Graphs from files that `roofline.graph.serial` describes.

Nothing in a file is executed, and nothing is taken on trust: shapes are inferred again and compared.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_args

from roofline.dtypes import DTYPES
from roofline.errors import GraphError, RooflineError, nearest
from roofline.graph.empty import without_empty
from roofline.graph.fields import MAX_NUMBER, checked, field_types
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.serial import FORMAT, SCHEMA_VERSION, op_class, op_classes
from roofline.graph.tensor import Part, Role, Tensor
from roofline.reading import parse_json, read_text

TENSOR_KEYS = {"id", "shape", "dtype", "role", "tied", "part"}
HEAD_KEYS = {"format", "schema_version", "roofline_version", "name", "outputs", "examples", "tensors", "ops"}


def load_graph(path: str | Path) -> OpGraph:
    """Read a graph that `save_graph` wrote.

    Raises
    ------
    GraphError
        The file is no such graph: unreadable, of another version, with unknown kinds or fields, a cycle, or shapes
        that do not infer.
    """
    path = Path(path)
    content = parse_json(read_text(path, GraphError), path.name, GraphError, strict=True)
    try:
        return from_dict(content)
    except RooflineError as error:
        error.add_note(f"in graph file {path.name!r}")
        raise


def from_dict(content: Any) -> OpGraph:
    """Return the graph that `as_dict` described; see `load_graph`."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise GraphError(f"not a saved graph: no 'format' = {FORMAT!r}")
    if content.get("schema_version") != SCHEMA_VERSION or isinstance(content["schema_version"], bool):
        raise GraphError(
            f"schema version {content.get('schema_version')!r} of a saved graph; this package reads {SCHEMA_VERSION}"
        )
    _only(content, HEAD_KEYS, "the graph")
    name = checked(content.get("name"), str, "name")
    tensors: dict[str, Tensor] = {}
    for entry in _entries(content.get("tensors"), "tensors"):
        tensor = _tensor(entry)
        if tensor.id in tensors:
            raise GraphError(f"tensor {tensor.id!r} is there twice")
        tensors[tensor.id] = tensor
    ops: dict[str, Op] = {}
    for entry in _entries(content.get("ops"), "ops"):
        op_id = checked(entry.get("id"), str, "the id of an op")
        if op_id in ops:
            raise GraphError(f"op {op_id!r} is there twice")
        ops[op_id] = _op(op_id, entry)
    outputs = checked(content.get("outputs"), tuple[str, ...], "outputs")
    graph = OpGraph(ops, tensors, outputs, name)
    if "examples" in content:
        graph = graph.with_examples(checked(content["examples"], int, "examples"))
    _check(graph)
    return graph


def _check(graph: OpGraph) -> None:
    """Raise unless every op infers the shapes the file states; whatever goes wrong inside an op is the file's fault."""
    for op_id, op in graph.ops.items():
        try:
            graph.check_op(op)
            op.products(*graph.arguments(op))
            _check_memory(graph, op)
            op.touched(*graph.arguments(op))
        except RooflineError:
            raise
        except Exception as error:
            raise GraphError(f"op {op_id!r} of kind {op.kind!r} does not fit its tensors: {error}") from None
    without_empty(graph)  # refuses what is made of nothing


def _check_memory(graph: OpGraph, op: Op) -> None:
    """Raise unless every result fits into the memory that it is said to be written over."""
    for result, over in zip(op.outputs, op.into, strict=False):
        if over not in graph.tensors or graph.tensors[graph.memory(over)].elements < graph.tensors[result].elements:
            raise op.fail(f"{result!r} is written into {over!r}, which is no tensor of that size")


def _entries(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise GraphError(f"{what!r} must be a list of objects")
    return value


def _only(entry: dict[str, Any], allowed: set[str], where: str) -> None:
    for key in entry:
        if key not in allowed:
            raise GraphError(f"unknown key {key!r} in {where}{nearest(key, allowed)}")


def _tensor(entry: dict[str, Any]) -> Tensor:
    name = checked(entry.get("id"), str, "the id of a tensor")
    where = f"tensor {name!r}"
    _only(entry, TENSOR_KEYS, where)
    dtype = checked(entry.get("dtype"), str, f"dtype of {where}")
    if dtype not in DTYPES:
        raise GraphError(f"unknown dtype {dtype!r} of {where}{nearest(dtype, DTYPES)}")
    role: Any = entry.get("role")
    if role not in get_args(Role):
        raise GraphError(f"unknown role {role!r} of {where}{nearest(str(role), get_args(Role))}")
    shape = checked(entry.get("shape"), tuple[float, ...], f"shape of {where}")
    if not all(0 <= d <= MAX_NUMBER for d in shape) or math.prod(shape) > MAX_NUMBER:
        raise GraphError(f"shape {list(shape)!r} of {where} is out of range: 0 to 2**53 elements")
    tied = checked(entry.get("tied", False), bool, f"tied of {where}")
    part: Any = entry.get("part", "")
    if part not in get_args(Part):
        raise GraphError(f"unknown part {part!r} of {where}{nearest(str(part), get_args(Part))}")
    return Tensor(id=name, shape=shape, dtype=DTYPES[dtype], role=role, tied=tied, part=part)


def _op(op_id: str, entry: dict[str, Any]) -> Op:
    kind = checked(entry.get("kind"), str, f"kind of op {op_id!r}")
    cls = op_class(kind)
    if cls is None:
        raise GraphError(f"unknown kind {kind!r} of op {op_id!r}{nearest(kind, op_classes())}")
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls)}
    _only(entry, {"id", "kind", *known}, f"op {op_id!r}")
    values: dict[str, Any] = {}
    for name, f in known.items():
        if name in entry:
            values[name] = checked(entry[name], field_types(cls)[name], f"{name} of op {op_id!r}")
        elif f.default is MISSING:
            raise GraphError(f"op {op_id!r} of kind {kind!r} lacks {name!r}")
    op = cls(**values)
    if not op.outputs or not 0 < float(op.times) <= MAX_NUMBER:
        raise GraphError(f"op {op_id!r} needs outputs, and times in 1..2**53")
    return op
