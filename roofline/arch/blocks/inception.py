"""Inception-v3 (arXiv 1512.00567, as torchvision and timm build it): branches that meet in a concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.arch.block import Block, Ports, Stage, stage
from roofline.arch.blocks.common import conv_bn_act, global_pool
from roofline.graph.builder import GraphBuilder
from roofline.graph.tensor import Tensor
from roofline.numeric import Numeric

#: the five modules: 35x35, reduction to 17x17, 17x17 with factorised 7x7, reduction to 8x8, 8x8 with split branches
Form = Literal["a", "b", "c", "d", "e"]
VALID = (0, 0)


@dataclass(frozen=True, kw_only=True)
class InceptionStem(Block):
    """Three 3x3 convolutions, pooling, a 1x1 and a 3x3 convolution, pooling: 299 -> 35 pixels."""

    activation: str

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Add the stem's ops."""
        x, act = inputs[0], self.activation
        x = conv_bn_act(b, x, 32, kernel=3, stride=2, padding=VALID, activation=act, name="conv1")
        x = conv_bn_act(b, x, 32, kernel=3, padding=VALID, activation=act, name="conv2")
        x = conv_bn_act(b, x, 64, kernel=3, activation=act, name="conv3")
        x = b.pool(x, "max", kernel=3, stride=2, padding=VALID, name="pool1")
        x = conv_bn_act(b, x, 80, activation=act, name="conv4")
        x = conv_bn_act(b, x, 192, kernel=3, padding=VALID, activation=act, name="conv5")
        return (b.pool(x, "max", kernel=3, stride=2, padding=VALID, name="pool2"),)


@stage("inception_stem")
class InceptionStemStage(Stage):
    """Inception-v3's stem."""

    activation: str = "relu"

    def make(self, index: int, ports: Ports) -> Block:
        """Return the stem."""
        return InceptionStem(activation=self.activation)


@dataclass(frozen=True, kw_only=True)
class InceptionBlock(Block):
    """One module; `width` is what varies inside a form: the pooled branch of "a", the 7x7 branches of "c"."""

    width: Numeric
    activation: str
    form: Form
    pooled: bool

    def build(self, b: GraphBuilder, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Build the branches and concatenate them."""
        branches = {"a": self._a, "b": self._b, "c": self._c, "d": self._d, "e": self._e}[self.form]
        return (global_pool(b, b.concat(branches(b, inputs[0])), wanted=self.pooled),)

    def _chain(self, b: GraphBuilder, x: Tensor, name: str, *steps: tuple[Numeric, int, int]) -> Tensor:
        """Return `x` after convolutions of (channels, kernel height, kernel width)."""
        for i, (channels, height, width) in enumerate(steps, 1):
            x = conv_bn_act(b, x, channels, kernel=(height, width), activation=self.activation, name=f"{name}_{i}")
        return x

    def _reduce(self, b: GraphBuilder, x: Tensor, channels: Numeric, name: str) -> Tensor:
        """Return `x` after a 3x3 stride-2 convolution without padding."""
        return conv_bn_act(
            b, x, channels, kernel=3, stride=2, padding=VALID, activation=self.activation, name=f"{name}_reduce"
        )

    def _pooled(self, b: GraphBuilder, x: Tensor, channels: Numeric) -> Tensor:
        return self._chain(b, b.pool(x, "mean", kernel=3, name="pool"), "pool_conv", (channels, 1, 1))

    def _a(self, b: GraphBuilder, x: Tensor) -> list[Tensor]:
        return [
            self._chain(b, x, "branch1x1", (64, 1, 1)),
            self._chain(b, x, "branch5x5", (48, 1, 1), (64, 5, 5)),
            self._chain(b, x, "branch3x3", (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            self._pooled(b, x, self.width),
        ]

    def _b(self, b: GraphBuilder, x: Tensor) -> list[Tensor]:
        double = self._chain(b, x, "branch3x3", (64, 1, 1), (96, 3, 3))
        return [
            self._reduce(b, x, 384, "branch1x1"),
            self._reduce(b, double, 96, "branch3x3"),
            b.pool(x, "max", kernel=3, stride=2, padding=VALID, name="pool"),
        ]

    def _c(self, b: GraphBuilder, x: Tensor) -> list[Tensor]:
        w = self.width
        return [
            self._chain(b, x, "branch1x1", (192, 1, 1)),
            self._chain(b, x, "branch7x7", (w, 1, 1), (w, 1, 7), (192, 7, 1)),
            self._chain(b, x, "branch7x7x2", (w, 1, 1), (w, 7, 1), (w, 1, 7), (w, 7, 1), (192, 1, 7)),
            self._pooled(b, x, 192),
        ]

    def _d(self, b: GraphBuilder, x: Tensor) -> list[Tensor]:
        return [
            self._reduce(b, self._chain(b, x, "branch3x3", (192, 1, 1)), 320, "branch3x3"),
            self._reduce(b, self._chain(b, x, "branch7x7", (192, 1, 1), (192, 1, 7), (192, 7, 1)), 192, "branch7x7"),
            b.pool(x, "max", kernel=3, stride=2, padding=VALID, name="pool"),
        ]

    def _e(self, b: GraphBuilder, x: Tensor) -> list[Tensor]:
        return [
            self._chain(b, x, "branch1x1", (320, 1, 1)),
            self._split(b, self._chain(b, x, "branch3x3", (384, 1, 1)), "branch3x3"),
            self._split(b, self._chain(b, x, "branch3x3x2", (448, 1, 1), (384, 3, 3)), "branch3x3x2"),
            self._pooled(b, x, 192),
        ]

    def _split(self, b: GraphBuilder, x: Tensor, name: str) -> Tensor:
        halves = [self._chain(b, x, f"{name}_wide", (384, 1, 3)), self._chain(b, x, f"{name}_high", (384, 3, 1))]
        return b.concat(halves, name=f"{name}_concat")


@stage("inception")
class InceptionStage(Stage):
    """Modules of one `form`; with `pool` the last ends with the global mean."""

    form: Form
    width: int = 192
    activation: str = "relu"
    pool: bool = False

    def make(self, index: int, ports: Ports) -> Block:
        """Return one module."""
        return InceptionBlock(
            width=self.width if self.form in ("a", "c") else 0,
            activation=self.activation,
            form=self.form,
            pooled=self.pool and index == self.repeats - 1,
        )
