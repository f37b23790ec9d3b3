"""What every runtime runs as one kernel, though exporters write it as several nodes.

Recognised: ``x * Sigmoid(x)`` (swish), ``x * HardSigmoid(x)`` (hard swish), ``x / 2 * (1 + Erf(x / sqrt 2))`` (GELU),
``MatMul + vector`` (a linear layer's bias), and softmax between two products (attention, with the scales and masks
around it). A pattern holds only where nobody else reads what lies inside it; the nodes inside are dropped like
everything that no output needs. A runtime without fused attention takes it apart again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from roofline.frontends.onnx.rules.attention import attend
from roofline.frontends.onnx.rules.products import product_of
from roofline.frontends.onnx.values import Scope, Value
from roofline.frontends.onnx.writer import Writer

_GATES = {"Sigmoid": "swish", "HardSigmoid": "hard_swish"}


@dataclass(frozen=True, kw_only=True)
class _Attention:
    """Names around the nodes of a decomposed attention."""

    q: str
    k: str
    v: str
    straight: str
    biases: tuple[str, ...]
    axis: int

    def fits(self, q: Value, k: Value, v: Value) -> bool:
        """Return whether the shapes are those of attention: heads side by side, softmax over the keys."""
        same = 3 <= q.rank == k.rank == v.rank and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        return same and self.axis in (-1, q.rank - 1) and (q.shape[-1], v.shape[-2]) == k.shape[-2:]


class Patterns:
    """Patterns among the nodes of one graph, found before it is lowered."""

    def __init__(self, nodes: Sequence[NodeProto], outputs: set[str], scope: Scope, *, softmax_axis: int) -> None:
        self.nodes, self.scope, self.softmax_axis = nodes, scope, softmax_axis
        self.producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        self.readers: dict[str, int] = dict.fromkeys(outputs, 1)
        self.reader: dict[str, list[int]] = {}
        for i, node in enumerate(nodes):
            for name in node.input[: {"CastLike": 1, "Shape": 0}.get(node.op_type, len(node.input))]:
                self.readers[name] = self.readers.get(name, 0) + 1
                self.reader.setdefault(name, []).append(i)
        self.nested = any(a.HasField("g") or a.graphs for node in nodes for a in node.attribute)
        self.claimed: set[int] = set()
        self.gates: dict[int, tuple[str, str]] = {}
        self.biases: dict[int, tuple[int, str]] = {}
        self.attentions: dict[int, _Attention] = {}
        if not self.nested:  # graphs inside nodes may read anything
            for i, node in enumerate(nodes):
                self._find(i, node)

    def lower(self, w: Writer, index: int) -> bool:
        """Lower the pattern that ends at a node; return whether the node is part of one."""
        node = self.nodes[index]
        if index in self.gates:
            function, name = self.gates[index]
            return self._emit(w, node, [name], lambda x: w.pointwise(function, x[0]))
        if index in self.biases:
            product, bias = self.biases[index]
            names = [*self.nodes[product].input[:2], bias]
            place = self.nodes[product]
            return self._emit(w, node, names, lambda x: product_of(w, x[0], x[1], x[2]), place)
        found = self.attentions.get(index)
        if found is None:
            return False
        q, k, v = (self.scope.find(name) for name in (found.q, found.k, found.v))
        if q is None or k is None or v is None or not found.fits(q, k, v):
            return False

        def attention(x: list[Value]) -> Value:
            q, k, v, straight, *biases = x
            if straight.shape != (*v.shape[:-1], q.shape[-1]):
                straight = w.transposed(k, (*range(k.rank - 2), k.rank - 1, k.rank - 2))
            return attend(w, q, straight, v, biases=tuple(biases))

        return self._emit(w, node, [found.q, found.k, found.v, found.straight, *found.biases], attention)

    def _emit(
        self,
        w: Writer,
        node: NodeProto,
        names: Sequence[str],
        make: Callable[[list[Value]], Value],
        place: NodeProto | None = None,
    ) -> bool:
        values = [self.scope.find(name) for name in names]
        if place is not None:
            w.place = place.name or w.place
        result = None if None in values else make([v for v in values if v is not None])
        self.scope.define(node.output[0], result)
        return True

    # finding ------------------------------------------------------------------

    def _find(self, index: int, node: NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            return
        if node.op_type == "Mul" and len(node.input) == 2:
            self._find_gate(index, node)
        elif node.op_type == "Add" and len(node.input) == 2:
            self._find_bias(index, node)
        elif node.op_type == "Softmax":
            self._find_attention(index, node)

    def _alone(self, name: str, *operators: str) -> tuple[int, NodeProto] | None:
        """Return the node that writes `name`, if it is one of `operators` and has no other reader."""
        index = self.producer.get(name)
        if index is None or self.readers.get(name) != 1 or index in self.claimed:
            return None
        node = self.nodes[index]
        right = node.op_type in operators and node.domain in ("", "ai.onnx") and len(node.output) == 1
        return (index, node) if right else None

    def _find_gate(self, index: int, node: NodeProto) -> None:
        for gate, x in (node.input, reversed(node.input)):
            found = self._alone(gate, *_GATES)
            if found is not None and found[1].input[0] == x:
                if found[1].op_type == "HardSigmoid" and not _is_hard_swish(found[1]):
                    continue
                self.claimed.add(found[0])
                self.gates[index] = (_GATES[found[1].op_type], x)
                return
        self._find_gelu(index, node)

    def _find_gelu(self, index: int, node: NodeProto) -> None:
        """Find x / 2 * (1 + erf(x / sqrt 2)), the three factors in any order."""
        factors: list[str] = []
        inside: list[int] = []
        for name in node.input:
            inner = self._alone(name, "Mul")
            if inner is not None and len(inner[1].input) == 2:
                inside.append(inner[0])
                factors += inner[1].input
            else:
                factors.append(name)
        for name in factors if len(factors) == 3 else ():
            found = self._one_plus_erf(name)
            rest = [f for f in factors if f != name]
            if found is not None and found[0] in rest:
                rest.remove(found[0])
                if len(rest) == 1 and self._scalar(rest[0]):
                    self.claimed.update((*inside, *found[1]))
                    self.gates[index] = ("gelu", found[0])
                    return

    def _one_plus_erf(self, name: str) -> tuple[str, list[int]] | None:
        """Return x and the nodes of 1 + erf(x / sqrt 2) where `name` is that."""
        total = self._alone(name, "Add")
        for value, one in (total[1].input, reversed(total[1].input)) if total is not None else ():
            erf = self._alone(value, "Erf")
            scaled = self._alone(erf[1].input[0], "Div", "Mul") if erf is not None else None
            if total is None or erf is None or scaled is None or not self._scalar(one):
                continue
            if self._scalar(scaled[1].input[1]):
                return scaled[1].input[0], [total[0], erf[0], scaled[0]]
        return None

    def _find_bias(self, index: int, node: NodeProto) -> None:
        for product, bias in (node.input, reversed(node.input)):
            found = self._alone(product, "MatMul")
            if found is None or bias in self.producer or product == bias:
                continue
            weight, vector = self._stored(found[1].input[1]), self._stored(bias)
            if weight is not None and weight.rank == 2 and vector is not None and vector.shape == weight.shape[1:]:
                self.claimed.add(found[0])
                self.biases[index] = (found[0], bias)
                return

    def _stored(self, name: str) -> Value | None:
        index = self.producer.get(name)
        if index is not None:  # weights that an exporter transposes at run time
            node = self.nodes[index]
            inner = self._stored(node.input[0]) if node.op_type == "Transpose" and node.input else None
            return None if inner is None or inner.rank != 2 else Value(shape=inner.shape[::-1], dtype=inner.dtype)
        value = self.scope.values.get(name)
        return value if value is not None and value.known else None

    def _scalar(self, name: str) -> bool:
        value = self._stored(name)
        index = self.producer.get(name)
        constant = index is not None and self.nodes[index].op_type in ("Constant", "Sqrt", "Cast", "CastLike")
        return constant or (value is not None and value.elements == 1)

    def _find_attention(self, index: int, node: NodeProto) -> None:
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), self.softmax_axis)
        inside, biases = [index], []
        name = node.input[0] if node.input else ""
        while (found := self._alone(name, "Mul", "Div", "Add", "Where")) is not None:
            at, step = found
            if step.op_type == "Where" and len(step.input) == 3:
                name = step.input[1 if self._leads_to_product(step.input[1]) else 2]
                biases.append(step.input[0])
            elif step.op_type == "Add":
                sides = [i for i, n in enumerate(step.input) if self._leads_to_product(n)]
                if len(sides) != 1:
                    return
                name = step.input[sides[0]]
                biases.append(step.input[1 - sides[0]])
            elif len(step.input) == 2 and self._scalar(step.input[1]):
                name = step.input[0]
            else:
                return
            inside.append(at)
        scores = self._alone(name, "MatMul")
        weights, reader = self._weights(node.output[0])
        if scores is None or reader is None:
            return
        context = self.nodes[reader]
        if context.op_type != "MatMul" or context.input[0] != weights:
            return
        q, scaled_q = self._unscaled(scores[1].input[0])
        k, scaled_k = self._unscaled(scores[1].input[1])
        if self._stored(k) is not None or self._stored(context.input[1]) is not None:
            return
        self.claimed.update((*inside, scores[0], *scaled_q, *scaled_k))
        self.attentions[reader] = _Attention(
            q=q, k=k, v=context.input[1], straight=self._straight(k), biases=tuple(reversed(biases)), axis=axis
        )

    def _weights(self, name: str) -> tuple[str, int | None]:
        """Return the attention weights and the node that reads them: rows of NaN may be replaced in between."""
        readers = self.reader.get(name, [])
        if self.readers.get(name) == 2 and [self.nodes[i].op_type for i in readers] == ["IsNaN", "Where"]:
            check, replaced = (self.nodes[i] for i in readers)
            if replaced.input[0] == check.output[0] and replaced.input[2] == name:
                name = replaced.output[0]
                readers = self.reader.get(name, [])
        return name, readers[0] if self.readers.get(name) == 1 and readers else None

    def _straight(self, name: str) -> str:
        """Return the keys before they were transposed, also where batch and heads were merged around it."""
        start = name
        for operator in ("Reshape", "Transpose", "Reshape"):
            found = self._alone(name, operator)
            if found is None:
                return start
            name = found[1].input[0]
        return name

    def _leads_to_product(self, name: str) -> bool:
        """Whether a name is the scores of a product, scaled or masked."""
        for _ in range(4):
            found = self._alone(name, "MatMul", "Mul", "Div", "Where", "Add")
            if found is None:
                return False
            if found[1].op_type == "MatMul":
                return True
            name = found[1].input[1] if found[1].op_type == "Where" else found[1].input[0]
        return False

    def _unscaled(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return a factor of the scores without the scale that exporters multiply it with."""
        found = self._alone(name, "Mul", "Div")
        if found is not None and self._scalar(found[1].input[1]):
            return found[1].input[0], (found[0],)
        return name, ()


def _is_hard_swish(node: NodeProto) -> bool:
    found = {a.name: a.f for a in node.attribute}
    return bool(abs(found.get("alpha", 0.2) - 1 / 6) < 1e-3 and abs(found.get("beta", 0.5) - 0.5) < 1e-3)
