"""A plugin: an op, a block made of it, a reward, and a folder with a device, a runtime, a model and a space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import conv_bn_act
from roofline.families import Family
from roofline.graph.builder import GraphBuilder
from roofline.graph.op import Op
from roofline.graph.tensor import Shape, Tensor
from roofline.numeric import Array, Numeric
from roofline.paths import add_data
from roofline.search.evolution.rewards import reward
from roofline.work.registry import Tensors, rule
from roofline.work.types import Work

add_data(Path(__file__).parent)  # hardware_specs/, runtimes/, models/, spaces/


@dataclass(frozen=True, kw_only=True, eq=False)
class Walsh(Op):
    """Fast Walsh-Hadamard transform of the channels of every position."""

    kind: ClassVar[str] = "walsh"

    @property
    def family(self) -> Family:
        """Needs all channels before its first result, like a norm."""
        return "reduction"

    def infer(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Return the input's shape."""
        return (shapes[0],)


@rule(Walsh)
def walsh(op: Walsh, inputs: Tensors, outputs: Tensors) -> Work:
    """n log2 n additions for n channels."""
    x = inputs[0]
    return Work(simple_ops=x.elements * np.log2(x.shape[-1]))


@dataclass(frozen=True, kw_only=True)
class Mixer(Block):
    """A convolution, and the transform of its result."""

    channels: Numeric
    stride: Numeric

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the ops."""
        x = conv_bn_act(b, inputs[0], self.channels, kernel=3, stride=self.stride, activation="relu")
        return (b.add_op("walsh", Walsh, x),)


@stage("walsh_mixer")
class MixerStage(Stage):
    """What a file may say about a stage of such blocks."""

    width_fields = ("channels",)

    channels: int
    stride: int = 1

    def make(self, index: int, ports: Ports) -> Block:
        """Return block number `index`."""
        return Mixer(channels=self.channels, stride=self.stride if index == 0 else 1)


@reward("halvings")
def halvings(objective: Any, genomes: Any, latency_s: Array, accuracy: Array) -> Array:
    """Two points of accuracy for each halving of the geometric mean of the latencies."""
    return np.asarray(accuracy - 2.0 * np.log2(latency_s).mean(axis=1))
