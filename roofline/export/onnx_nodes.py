"""An ONNX graph as far as it is written: nodes, constants, and weights that nobody has drawn yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from onnx import helper, numpy_helper

from roofline.export.layers import Layer
from roofline.export.network import Network

#: operator set
OPSET = 20
#: file format: that of onnx 1.15, which brought operator set 20
IR_VERSION = 9
#: permutations of images
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A stored tensor before anybody draws it: `deviation` of normal numbers, or all equal to `value`."""

    name: str
    shape: tuple[int, ...]
    deviation: float = 0.0
    value: float = 0.0


@dataclass
class Nodes:
    """The graph as far as it is written.

    Attributes
    ----------
    nodes
        In order.
    weights
        What is trained, and running statistics.
    constants
        Names of the constants of the program.
    """

    network: Network
    nodes: list[Any] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, called as the node, and return it."""
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, layer: Layer, part: str, *shape: int, deviation: float = 0.0, value: float = 0.0) -> str:
        """Add a weight of a layer and return its name."""
        name = f"{layer.op_id}.{part}" if part else layer.op_id
        self.weights.append(Weight(name=name, shape=shape, deviation=deviation, value=value))
        return name

    def constant(self, name: str, value: Any, dtype: str = "int64") -> str:
        """Add a constant and return its name; one of a known name is there already."""
        if name not in self.constants:
            self.constants.add(name)
            tensor = numpy_helper.from_array(np.asarray(value, dtype=dtype))
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    def reshape(self, name: str, x: str, *shape: int) -> str:
        """Reshape `x`: 0 keeps an axis, -1 takes the rest."""
        return self.add("Reshape", name, x, self.constant(f"{name}.shape", shape))


Rule: TypeAlias = Callable[[Nodes, Layer, list[str], str], str]
