"""What lowering reads of an ONNX file, as a hash: what is kept of a network depends on it, and on no weight."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roofline.errors import RooflineError
from roofline.frontends.onnx.file import ModelFile


def content_hash(path: str | Path) -> str:
    """Return the hash of a model and of the small tensors that lie in files beside it.

    Raises
    ------
    InputError
        No such file, or it is not an ONNX model.
    """
    file = ModelFile(path)
    found = hashlib.sha256(file.model.SerializeToString(deterministic=True))
    for tensor in _outside(file.model):
        try:
            data = file.initializer(tensor).data
        except RooflineError as error:  # lowering will say so
            found.update(str(error).encode(errors="backslashreplace"))
        else:
            found.update(b"" if data is None else repr(data.tolist()).encode())
    return found.hexdigest()


def _outside(message: Any) -> Iterator[Any]:
    """Yield the tensors with external data that are anywhere in a message."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in value if hasattr(value, "__len__") else (value,):
            if inner.DESCRIPTOR.name != "TensorProto":
                yield from _outside(inner)
            elif inner.external_data:
                yield inner
