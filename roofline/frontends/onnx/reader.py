"""Walking the nodes of an ONNX graph: constants are folded, the rest is handed to the lowering of its operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

from roofline.dtypes import DTYPES
from roofline.errors import GraphError, InputError, RooflineError, UnknownOpError
from roofline.frontends.onnx.constants import evaluate, repeats_weights, trains
from roofline.frontends.onnx.file import ModelFile
from roofline.frontends.onnx.images import image_inputs
from roofline.frontends.onnx.inputs import Inputs
from roofline.frontends.onnx.older import modern
from roofline.frontends.onnx.order import execution_order, label, sources
from roofline.frontends.onnx.patterns import Patterns
from roofline.frontends.onnx.registry import FIRST, RULES, STANDARD, Node
from roofline.frontends.onnx.values import Constant, Scope, Sizes, UndecidedError, Value, dtype_of
from roofline.frontends.onnx.views import identity, stored
from roofline.frontends.onnx.writer import Writer
from roofline.graph.empty import without_empty
from roofline.graph.op import show
from roofline.graph.opgraph import OpGraph
from roofline.graph.state import with_state
from roofline.graph.views import channels_last
from roofline.graph.writer import assembled, needed

#: elements of inputs that decide sizes and choices: integers and booleans
DECIDING = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)
#: graphs within graphs, functions within functions
MAX_DEPTH = 24
#: what a malformed node can raise inside a lowering; it becomes one clear line
MALFORMED = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError)


class Reader(Writer):
    """Lowers the graphs of one file into one op graph."""

    def __init__(self, file: ModelFile, *, recognise: bool = True) -> None:
        super().__init__()
        self.file = file
        self.recognise = recognise
        #: op id -> the first output of the node of the file's own graph that it comes from
        self.origins: dict[str, str] = {}
        self.missing: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.versions = file.versions
        self.names = Scope()
        self._attributes: dict[str, AttributeProto] = {}
        #: stored tensors of the graphs inside nodes, by graph: a body that is lowered again reads the same ones
        self._inner: dict[int, tuple[GraphProto, dict[str, Value]]] = {}
        #: names that somebody reads in the graph that is being lowered
        self._read: set[str] = set()
        self._calls: tuple[tuple[str, str], ...] = ()

    # graphs -------------------------------------------------------------------

    def graph(self, graph: GraphProto, scope: Scope) -> None:
        """Lower all nodes of a graph into `scope`."""
        if scope.depth > MAX_DEPTH:
            raise GraphError(f"graphs are nested more than {MAX_DEPTH} deep")
        known = self._inner.setdefault(id(graph), (graph, {}))[1]
        for tensor in graph.initializer:
            if tensor.name not in known:
                known[tensor.name] = self._initializer(tensor)
            scope.define(tensor.name, known[tensor.name])
        for sparse in graph.sparse_initializer:
            dims = tuple(sparse.dims)
            value = Value(
                shape=dims, dtype=dtype_of(sparse.values.data_type), constant=Constant(name=sparse.values.name)
            )
            scope.define(sparse.values.name, value)
        self.nodes(graph.node, scope, {o.name for o in graph.output})

    def nodes(self, nodes: Iterable[NodeProto], scope: Scope, outputs: set[str]) -> None:
        """Lower nodes in an order in which each comes after what it reads."""
        ordered, read = execution_order(list(nodes), scope.find)
        axis = -1 if self.versions.get(STANDARD, 1) >= 13 else 1  # of a softmax that names none
        patterns = Patterns(ordered, outputs, scope, softmax_axis=axis) if self.recognise else None
        outer = self.names, self._read
        self.names, self._read = scope, outputs.union(read)
        inside = scope.parent is not None or bool(self._calls)
        try:
            for index, node in enumerate(ordered):
                count = len(self.ops)
                with self._at(node):
                    if patterns is None or not patterns.lower(self, index):
                        self.node(node, scope)
                if not inside:
                    added = islice(reversed(self.ops), len(self.ops) - count)
                    self.origins.update(dict.fromkeys(added, next(filter(None, node.output), node.name)))
        finally:
            self.names, self._read = outer

    def entered(self, name: str, value: Value, *, image: bool) -> Value:
        """Return an input of the graph as a tensor, or as the constant that it is pinned to."""
        if value.known:
            return value.renamed(self.unique(name))
        order = channels_last(value.rank) if image else identity(value.rank)
        tensor = self.leaf(name, stored(value.shape, order), value.dtype, "input")
        return replace(value, tensor=tensor, order=order)

    def subgraph(self, graph: GraphProto, inputs: Sequence[Value]) -> list[Value]:
        """Lower the body of a loop or the branch of a condition and return its outputs."""
        scope = Scope(self.names)
        if len(inputs) != len(graph.input):
            raise GraphError(f"a graph of {len(graph.input)} inputs is given {len(inputs)}")
        for declared, value in zip(graph.input, inputs, strict=True):
            scope.define(declared.name, value)
        self.graph(graph, scope)
        found = [scope.find(o.name) for o in graph.output]
        if None in found:
            self.report_missing()
        return [value for value in found if value is not None]

    def _initializer(self, tensor: TensorProto) -> Value:
        value = self.file.initializer(tensor)
        name = self.unique(tensor.name) if value.constant is not None and not value.baked else tensor.name
        return value.renamed(name)

    # nodes --------------------------------------------------------------------

    def node(self, node: NodeProto, scope: Scope) -> None:
        """Lower one node and name its outputs."""
        results = self._results(node, scope)
        for position, name in enumerate(node.output):
            if name:
                scope.define(name, results[position] if position < len(results) else self._absent(node, position))

    @contextmanager
    def _at(self, node: NodeProto) -> Iterator[None]:
        """Work on a node: errors inside say that they come from it."""
        self.budget.spend()
        outer, self.place = self.place, node.name or node.op_type.lower() or "node"
        try:
            yield
        except UnknownOpError:
            raise
        except UndecidedError as error:
            pins = self._deciding(node)
            kind = InputError if pins else UndecidedError  # the node around this one may know
            raise _placed(kind(f"{error}{pins}"), node, self.place) from None
        except RooflineError as error:
            raise _placed(error, node, self.place) from None
        except MALFORMED as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _placed(GraphError(f"malformed ({why})"), node, self.place) from error
        finally:
            self.place = outer

    def _absent(self, node: NodeProto, position: int) -> Value:
        """Return an output that no rule gives: nobody may read it."""
        why = f"output {position} of {label(node, self.place)} is not supported: only inference is"
        return Value(shape=(), dtype=DTYPES["fp32"], absent=why)

    def _deciding(self, node: NodeProto) -> str:
        """Return how to pin the inputs of the file that a size or a choice at a node comes from."""
        whole = self.file.model.graph
        inputs = {i.name: i.type.tensor_type.elem_type for i in whole.input}
        found = [name for name in sources(whole, node) if inputs.get(name, TensorProto.FLOAT) in DECIDING]
        return f"; or pin its value with values={{{found[0]!r}: ...}}" if found else ""

    def _results(self, proto: NodeProto, scope: Scope) -> Sequence[Value | None]:
        domain = STANDARD if proto.domain == "ai.onnx" else proto.domain
        key = (domain, proto.op_type)
        inputs = tuple(scope.find(name) if name else None for name in proto.input)
        unknown = any(value is None and name for value, name in zip(inputs, proto.input, strict=True))
        function = self.file.functions.get(key)
        if key not in RULES and function is None:
            shapes = ", ".join("?" if v is None else show(v.shape) for v in inputs)
            self.missing.setdefault(key, []).append((self.place, shapes))
            return [None] * len(proto.output)
        if unknown:
            return [None] * len(proto.output)
        node = Node(
            op=proto.op_type,
            domain=domain,
            name=self.place,
            inputs=inputs,
            outputs=len(proto.output),
            version=self.versions.get(domain, 1),
            attributes=self._read_attributes(proto),
            read=self._positions(proto),
        )
        if key not in RULES and function is not None:
            return self._call(function, node, proto)
        return self.lower(modern(self, node), proto.output)

    def _positions(self, proto: NodeProto) -> frozenset[int]:
        """Return which outputs of a node somebody reads; a node with one is there because somebody does."""
        if len(proto.output) == 1:
            return FIRST
        return frozenset(i for i, name in enumerate(proto.output) if name in self._read)

    def lower(self, node: Node, names: Sequence[str] = ()) -> Sequence[Value]:
        """Return the outputs of a node: computed now where all inputs are known, else lowered."""
        given = node.given
        folds = (
            bool(given)
            and all(v.known for v in given)
            and not any(isinstance(a, GraphProto) for a in node.attributes.values())
        )
        shape_only = node.op in ("Shape", "Size") and node.domain == STANDARD
        if (folds or shape_only) and (found := evaluate(node)) is not None:
            kept = [v if self.budget.remembers(v.elements) else replace(v, data=None) for v in found]
            return [v if v.baked else v.renamed(self.unique(self._name(names, i))) for i, v in enumerate(kept)]
        if not folds:
            return _listed(RULES[node.domain, node.op](self, node))
        scratch = self.scratch()
        results = _listed(RULES[node.domain, node.op](scratch, node))
        if repeats_weights(node, [v.elements for v in results]):
            return _listed(RULES[node.domain, node.op](self, node))  # weights stay small where the file has them so
        return [self._folded(v, node, self._name(names, i)) for i, v in enumerate(results)]

    def _name(self, names: Sequence[str], position: int) -> str:
        return (names[position] if position < len(names) else "") or self.place

    def _folded(self, value: Value, node: Node, name: str) -> Value:
        """Return the result of known inputs as a constant of the program."""
        if value.quantized is not None or value.parts is not None:
            return value
        source = node.given[0].constant
        if value.known and source is not None and value.constant is source:
            return value  # another view of the same weights
        constant = Constant(name=self.unique(name), trained=trains(node) and value.dtype.kind == "float")
        return Value(shape=value.shape, dtype=value.dtype, constant=constant, data=value.data)

    def _read_attributes(self, proto: NodeProto) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute in proto.attribute:
            name = attribute.name
            if attribute.ref_attr_name:
                if attribute.ref_attr_name not in self._attributes:
                    continue
                attribute = self._attributes[attribute.ref_attr_name]
            found[name] = self.file.attribute(attribute)
        return found

    def _call(self, function: FunctionProto, node: Node, proto: NodeProto) -> list[Value | None]:
        """Lower the body of a function of the file in its own names."""
        key = (function.domain, function.name)
        if key in self._calls or len(self._calls) > MAX_DEPTH:
            raise GraphError(f"function {function.name!r} calls itself")
        scope = Scope()
        for position, name in enumerate(function.input):
            value = node.get(position)
            if value is not None:
                scope.define(name, value)
        attributes = {a.name: a for a in function.attribute_proto} | {a.name: a for a in proto.attribute}
        kept = self._calls, self._attributes, self.versions
        self._calls, self._attributes = (*self._calls, key), attributes
        self.versions = {**self.versions, **{o.domain: int(o.version) for o in function.opset_import}}
        self.nodes(function.node, scope, set(function.output))
        self._calls, self._attributes, self.versions = kept
        return [scope.values[name] if name in scope.values else scope.find(name) for name in function.output]

    # errors -------------------------------------------------------------------

    def report_missing(self) -> None:
        """Raise one error that lists every operator without lowering, if there are any.

        Raises
        ------
        UnknownOpError
            Names each operator, its domain, count, first place and shapes.
        """
        if not self.missing:
            return
        kinds = []
        for (domain, operator), places in self.missing.items():
            place, shapes = places[0]
            name = f"{domain}::{operator}" if domain else operator
            kinds.append(f"{name!r} x{len(places)}, first at {place!r} ({shapes})")
        domain, operator = next(iter(self.missing))
        where = f", domain={domain!r}" if domain else ""
        raise UnknownOpError(
            f"{self.file.name}: no lowering for ONNX operators {'; '.join(kinds)}: "
            f"register one with @lowering({operator!r}{where})"
        )


def read(
    path: str | Path, *, dims: Sizes, values: Mapping[str, Any], name: str | None, recognise: bool
) -> tuple[OpGraph, dict[str, str]]:
    """Return the op graph of a file, and the node that each op comes from; see `roofline.frontends.onnx.traced`."""
    file = ModelFile(path)
    graph = file.model.graph
    stored_names = {t.name for t in graph.initializer}
    inputs = Inputs(file.name, [i for i in graph.input if i.name not in stored_names], dims, values)
    reader = Reader(file, recognise=recognise)
    images = image_inputs(graph)
    for key, value in zip(inputs.types, inputs, strict=True):
        reader.names.define(key, reader.entered(key, value, image=key in images))
    try:
        reader.graph(graph, reader.names)
    except MALFORMED as error:
        if isinstance(error, RooflineError):
            raise
        raise GraphError(f"{file.name}: malformed ({type(error).__name__})") from error
    reader.report_missing()
    outputs = [_returned(reader, found) for o in graph.output if (found := reader.names.find(o.name)) is not None]
    return _pruned(reader, outputs, name or Path(path).stem), reader.origins


def _returned(reader: Reader, value: Value) -> list[str]:
    """Return the tensors of an output; in neither memory order it is copied into the written one."""
    if value.parts is not None:
        return [t for part in value.parts for t in _returned(reader, part)]
    reader.place = "output"
    if value.tensor is None:
        return [reader.read(value).id]
    if value.order != channels_last(value.rank):
        value = reader.copied(value)
    return [reader.read(value, value.order).id]


def _pruned(reader: Reader, outputs: list[list[str]], name: str) -> OpGraph:
    """Return the graph without what no output needs: runtimes drop it too."""
    ids = tuple(dict.fromkeys(t for group in outputs for t in group))
    if not ids:
        raise GraphError(f"{reader.file.name}: the graph has no outputs")
    return with_state(without_empty(assembled(needed(reader.ops, ids), reader.tensors, ids, name)))


def _listed(result: Value | Sequence[Value]) -> Sequence[Value]:
    return [result] if isinstance(result, Value) else result


def _placed(error: RooflineError, node: NodeProto, place: str) -> RooflineError:
    """Return the error with the node it comes from in its line."""
    known = isinstance(error, (GraphError, InputError)) or type(error) in _REBUILT
    return (type(error) if known else GraphError)(f"{label(node, place)}: {error}")


_REBUILT = tuple(RooflineError.__subclasses__())
