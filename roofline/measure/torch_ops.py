"""Single ops of the plan as PyTorch modules with the shapes of their inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
Op: TypeAlias = tuple[nn.Module, Shapes]


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return what the function makes of them."""
        return self.function(*tensors)


def _matmul(m: int, n: int, k: int) -> Op:
    return nn.Linear(k, n), ((m, k),)


def _bmm(b: int, m: int, n: int, k: int) -> Op:
    return Apply(torch.bmm), ((b, m, k), (b, k, n))


def _conv(n: int, c: int, size: int, out: int, kernel: int, stride: int, groups: int) -> Op:
    return nn.Conv2d(c, out, kernel, stride, kernel // 2, groups=groups, bias=False), ((n, c, size, size),)


def _depthwise(n: int, c: int, size: int, kernel: int, stride: int) -> Op:
    return _conv(n, c, size, c, kernel, stride, c)


def _max_pool(n: int, c: int, size: int, kernel: int, stride: int) -> Op:
    return nn.MaxPool2d(kernel, stride, kernel // 2), ((n, c, size, size),)


def _attention(n: int, heads: int, tokens: int, width: int) -> Op:
    return Apply(F.scaled_dot_product_attention), ((n, heads, tokens, width),) * 3


def _flat(module: nn.Module, inputs: int = 1) -> Callable[[int], Op]:
    return lambda elements: (module, ((elements,),) * inputs)


def _image(make: Callable[[int], nn.Module]) -> Callable[[int, int, int], Op]:
    return lambda n, c, size: (make(c), ((n, c, size, size),))


def _scale(n: int, c: int, size: int) -> Op:
    return Apply(torch.mul), ((n, c, size, size), (n, c, 1, 1))


def _concat(n: int, c: int, size: int) -> Op:
    return Apply(lambda x, y: torch.cat((x, y), 1)), ((n, c, size, size),) * 2


def _rows(make: Callable[[int], nn.Module]) -> Callable[[int, int, int], Op]:
    return lambda n, rows, columns: (make(columns), ((n, rows, columns),))


#: name in the plan -> builder of its sizes
OPS: dict[str, Callable[..., Op]] = {
    "matmul": _matmul,
    "bmm": _bmm,
    "conv": _conv,
    "depthwise": _depthwise,
    "max_pool": _max_pool,
    "stream": _flat(Apply(lambda x: x * 1.5)),
    "add": _flat(Apply(torch.add), 2),
    "relu": _flat(nn.ReLU()),
    "relu6": _flat(nn.ReLU6()),
    "hard_swish": _flat(nn.Hardswish()),
    "sigmoid": _flat(nn.Sigmoid()),
    "silu": _flat(nn.SiLU()),
    "gelu": _flat(nn.GELU()),
    "tanh": _flat(nn.Tanh()),
    "exp": _flat(Apply(torch.exp)),
    "batch_norm": _image(nn.BatchNorm2d),
    "mean": _image(lambda c: Apply(lambda x: x.mean((2, 3)))),
    "scale": _scale,
    "concat": _concat,
    "to_rows": _image(lambda c: Apply(lambda x: x.permute(0, 2, 3, 1).contiguous())),
    "layer_norm": _rows(nn.LayerNorm),
    "softmax": _rows(lambda c: nn.Softmax(-1)),
    "attention": _attention,
}


def tensors(shapes: Shapes, **options: Any) -> list[Tensor]:
    """Return random tensors of these shapes."""
    return [torch.randn(shape, **options) for shape in shapes]
