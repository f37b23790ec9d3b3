"""One call of an ATen op, known by its name and what went in, as an op graph."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from roofline.errors import InputError, UnknownOpError
from roofline.frontends.torch.api import from_torch
from roofline.graph.opgraph import OpGraph
from roofline.text import pairs

#: how PyTorch's profiler calls formats of tensors
FORMATS: dict[str, torch.dtype] = {
    name.replace("_", " "): getattr(torch, ours)
    for name, ours in pairs(
        "float=float32 double=float64 c10::Half=float16 c10::BFloat16=bfloat16 int=int32 long_int=int64 long=int64 "
        "bool unsigned_char=uint8 signed_char=int8 short=int16 short_int=int16"
    ).items()
}
#: arguments that a module stores
STORED = frozenset({"weight", "bias", "running_mean", "running_var"})


class _Call(nn.Module):
    """An ATen op with its stored arguments as parameters and its constants in place."""

    def __init__(self, function: Any, arguments: Sequence[Any], stored: dict[int, torch.Tensor]) -> None:
        super().__init__()
        self.function, self.arguments = function, list(arguments)
        self.named = [x.name for x in function._schema.arguments if x.kwarg_only]
        self.stored = {place: f"stored_{place}" for place in stored}
        for place, tensor in stored.items():
            self.register_parameter(self.stored[place], nn.Parameter(tensor, requires_grad=False))

    def forward(self, *tensors: Any) -> Any:
        """Return what the op makes of its inputs."""
        given = iter(tensors)
        filled = [next(given) if x is _Call else x for x in self.arguments]
        for place, name in self.stored.items():
            filled[place] = getattr(self, name)
        first = len(filled) - len(self.named)  # arguments by name come last in a schema
        return self.function(*filled[:first], **dict(zip(self.named, filled[first:], strict=True)))


def graph_of_call(name: str, dims: Sequence[Any], types: Sequence[str], constants: Sequence[str]) -> OpGraph:
    """Return the graph of a call as PyTorch's profiler records it with ``record_shapes=True``.

    Parameters
    ----------
    name
        ``aten::conv2d``.
    dims, types, constants
        ``Input Dims``, ``Input type`` and ``Concrete Inputs`` of the trace: one entry for each argument.

    Raises
    ------
    UnknownOpError
        It is no ATen op, or an op without a lowering rule.
    InputError
        What went in cannot be told, or is no tensor.
    """
    function = _overload(name, types)
    arguments: list[Any] = []
    inputs: list[Any] = []
    stored: dict[int, torch.Tensor] = {}
    for place, (schema, size, kind, text) in enumerate(
        zip(function._schema.arguments, dims, types, constants, strict=False)
    ):
        if kind in FORMATS:
            tensor = torch.empty(tuple(size), dtype=FORMATS[kind], device="meta")
            if schema.name in STORED and tensor.is_floating_point():
                stored[place] = tensor
                arguments.append(None)
            else:
                inputs.append(tensor)
                arguments.append(_Call)
        elif kind == "TensorList":
            inputs.append([torch.empty(tuple(one), device="meta") for one in size])
            arguments.append(_Call)
        else:
            arguments.append(_constant(text, schema))
    if not inputs:
        raise InputError("no tensor goes in")
    return from_torch(_Call(function, arguments, stored), tuple(inputs), name=name)


def _overload(name: str, types: Sequence[str]) -> Any:
    """Return the overload of an op that takes arguments of these types."""
    space, _, op = name.partition("::")
    packet = getattr(torch.ops.aten, op, None) if space == "aten" else None
    if packet is None:
        raise UnknownOpError(f"{name!r} is no ATen op")
    fitting = [getattr(packet, overload) for overload in packet.overloads() if not overload.endswith("out")]
    fitting = [f for f in fitting if len(f._schema.arguments) == len(types) and _fits(f, types)]
    if not fitting:
        raise UnknownOpError(f"{name!r} has no overload for {', '.join(types)}")
    return fitting[0]


def _fits(function: Any, types: Sequence[str]) -> bool:
    for schema, kind in zip(function._schema.arguments, types, strict=True):
        wanted = str(schema.type)
        if (kind in FORMATS) and "Tensor" not in wanted:
            return False
        if kind == "TensorList" and "List[" not in wanted:
            return False
        if kind == "Scalar" and "Tensor" in wanted:
            return False
    return True


def _constant(text: str, schema: Any) -> Any:
    """Return a constant as the trace spells it; an empty text is the default."""
    if not text:
        return schema.default_value if schema.has_default_value() else None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
