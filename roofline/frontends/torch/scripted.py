"""TorchScript: read from files whose source has been looked through.

A file of TorchScript is source text in torch's own language, compiled and run by torch, and objects in a restricted
pickle. The language knows ops that write files, and objects of compiled classes; neither is let in. What was looked
through is packed anew for torch's reader.
"""

from __future__ import annotations

import ast
import io
import pickletools
import re
import warnings
import zipfile
from typing import Any

import torch

from roofline.frontends.torch.archive import LIMIT_TEXT, Archive, refuse_foreign, speaking
from roofline.text import words

#: what pickles in TorchScript name
_OBJECTS = re.compile(
    r"(__torch__\.(?!torch\.classes)[\w. ]+|torch\._utils \w+|torch\.jit\._pickle \w+|torch \w+Storage|torch device|"
    r"collections OrderedDict)\Z"
)
#: what source names below ``ops.prim``
_PRIMITIVES = words(
    "NumToTensor RaiseException Print TupleIndex abs data device dtype is_cpu is_cuda is_meta is_quantized is_sparse "
    "itemsize layout max min name ndim rangelist requires_grad shape tolist type unchecked_cast "
    "unchecked_unwrap_optional"
)


def read_script(archive: Archive) -> torch.jit.ScriptModule:
    """Return the module of a file of TorchScript, its tensors without data.

    Raises
    ------
    InputError
        It is damaged, or holds something that is not let in.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name in archive.names:
            if name.endswith(".debug_pkl"):
                continue
            tensor = name.startswith(("data/", "constants/"))
            data = archive.bytes(name, 2**40 if tensor else LIMIT_TEXT)
            if name.endswith(".py"):
                _look_through_source(archive, name, data)
            elif name.endswith(".pkl"):
                _look_through_pickle(archive, name, data)
            out.writestr(f"program/{name}", data)
    packed.seek(0)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.jit.load(packed, map_location="meta")  # type: ignore[no-any-return, no-untyped-call]
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise archive.refused(first) from None


def _look_through_pickle(archive: Archive, name: str, data: bytes) -> None:
    try:
        for op, argument, _ in pickletools.genops(data):
            if op.name in ("STACK_GLOBAL", "INST", "REDUCE_EX") or op.name.startswith(("EXT", "PERSID")):
                raise archive.refused(f"{name!r} holds {op.name}")
            if op.name == "GLOBAL" and not _OBJECTS.match(str(argument)):
                raise archive.refused(f"{name!r} names {str(argument)[:80]!r}")
    except ValueError as error:
        raise archive.refused(f"{name!r}: {error}") from None


def _look_through_source(archive: Archive, name: str, data: bytes) -> None:
    try:
        nodes = list(ast.walk(ast.parse(data)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise archive.refused(f"{name!r}: {error}") from None
    for node in nodes:
        if not isinstance(node, ast.Attribute):
            continue
        path = _dotted(node)
        if node.attr in speaking() or path[:3] == ["__torch__", "torch", "classes"]:
            raise archive.refused(f"{name!r} names {'.'.join(path)!r}")
        if path[0] == "ops" and len(path) == 3 and not (path[1] == "prim" and path[2] in _PRIMITIVES):
            refuse_foreign(archive, f"{path[1]}.{path[2]}")


def _dotted(node: Any) -> list[str]:
    """Return the names of ``a.b.c``; the first is empty where it is not a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *names]
