"""What is said of a program that asks for values which nobody knows: where, in which line, and what to pin."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Protocol

import torch

from roofline.frontends.torch.known import KnownValues
from roofline.frontends.torch.values import Node, Value
from roofline.frontends.torch.writer import Writer

_HERE = str(Path(__file__).parent)
#: files of torch, of this package and of Python's own library are not the user's program, what is installed may be
_OTHERS = (str(Path(torch.__file__).parent) + os.sep, _HERE + os.sep, "<frozen", "<string", "<eval")
_LIBRARY, _INSTALLED = (sysconfig.get_paths()[name] for name in ("stdlib", "purelib"))
#: so much of a line is shown
CHARACTERS = 72


class Running(Protocol):
    """What is known of a program while it runs: `roofline.frontends.torch.reader.Tracer`."""

    writer: Writer
    inputs: dict[str, torch.Tensor]
    known: KnownValues

    @property
    def place(self) -> str:
        """Path of the module that runs."""

    def value(self, tensor: torch.Tensor) -> Value:
        """Return what a torch tensor is in the graph."""


def asked(tracer: Running, op: str, tensors: Iterable[torch.Tensor]) -> str:
    """Return what is said of a program that asks `op` for the values of tensors, while it runs."""
    names = list(dict.fromkeys(_origins(tracer, tensors)))
    whole = [name for name in names if not tracer.inputs[name].is_floating_point()]
    if whole:
        advice = f"give {_listed(whole)} with values, or pin it with an option of the model"
    elif names:
        advice = f"it comes from {_listed(names)}, so pin it with an option of the model"
    else:
        advice = "pin it with an option of the model, or give integer and boolean inputs with their values"
    line = line_of(_frames())
    place = tracer.place or "the program"
    return (
        f"{place!r} depends on data ({op!r} of a tensor){line and f' at {line}'}, and there are only shapes: {advice}"
    )


def _listed(names: list[str]) -> str:
    return " and ".join(map(repr, names)) if len(names) < 4 else f"{names[0]!r} and {len(names) - 1} more"


def _origins(tracer: Running, tensors: Iterable[torch.Tensor]) -> Iterator[str]:
    """Yield the inputs that tensors are computed from, as far as their values are not known."""
    unknown = {name: tracer.value(x).node for name, x in tracer.inputs.items() if tracer.known.of(x) is None}
    waiting: list[str] = []
    for x in tensors:
        node: Node | None = tracer.value(x).node if x.device.type == "meta" else None
        while node is not None and node.tensor is None:
            yield from (name for name, entered in unknown.items() if entered is node)
            node = None if node.source is None else node.source.node
        if node is not None and node.tensor is not None:
            waiting.append(node.tensor.id)
    names = {node.tensor.id: name for name, node in unknown.items() if node.tensor is not None}
    made = {t: op for op in tracer.writer.ops.values() for t in op.outputs}
    seen = set(waiting)
    while waiting:
        tensor = waiting.pop()
        if tensor in names:
            yield names[tensor]
        new = [t for t in (made[tensor].inputs if tensor in made else ()) if t not in seen]
        seen.update(new)
        waiting += new


def _frames() -> Iterator[tuple[FrameType, int]]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def raised_at(trace: TracebackType | None) -> str:
    """Return the line of the user's program in which an error was raised; empty where it was in none."""
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return line_of(reversed(found))


def line_of(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the innermost line that is the user's, as ``file.py:12 (x.item())``: what called the lowering is not."""
    for frame, number in frames:
        file = frame.f_code.co_filename
        if file == str(Path(_HERE, "api.py")):
            break
        if not file.startswith(_OTHERS) and (file.startswith(_INSTALLED) or not file.startswith(_LIBRARY)):
            text = " ".join(linecache.getline(file, number).split())
            shown = text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 4]} ..."
            return f"{Path(file).name}:{number}" + (f" ({shown})" if shown else "")
    return ""
