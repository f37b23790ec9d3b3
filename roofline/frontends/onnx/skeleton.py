"""The bytes of an ONNX file without its weights: a model of gigabytes is parsed in milliseconds.

Protocol buffers are lists of (key, value); messages inside messages are length-delimited, so a field can be left out
by copying what lies around it and writing the new lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import TypeAlias

Buffer: TypeAlias = "bytes | mmap"

#: ModelProto.graph, GraphProto.initializer, and the fields of TensorProto that hold elements
_GRAPH, _INITIALIZER = 7, 5
_ELEMENTS = frozenset({4, 5, 6, 7, 9, 10, 11})
#: bytes of elements that are kept: shapes may follow from them
KEPT_BYTES = 65_536
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class MalformedError(ValueError):
    """The bytes are not those of a protocol buffer."""


def without_weights(data: Buffer) -> bytes:
    """Return the bytes of a model whose large initializers have no elements.

    Raises
    ------
    MalformedError
        The bytes end early or are of another format.
    """
    return b"".join(_copied(data, 0, len(data), (_GRAPH, _INITIALIZER)))


def _copied(data: Buffer, start: int, end: int, path: tuple[int, ...]) -> Iterator[bytes]:
    """Yield a message's fields; those on `path` are rewritten, and at its end large elements left out."""
    for number, wire, first, value, last in _fields(data, start, end):
        if wire != _DELIMITED:
            yield data[first:last]
        elif path and number == path[0]:
            inner = b"".join(_copied(data, value, last, path[1:]))
            yield _varint(number << 3 | _DELIMITED) + _varint(len(inner)) + inner
        elif path or number not in _ELEMENTS or last - value <= KEPT_BYTES:
            yield data[first:last]


def _fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (number, wire type, start, start of the value, end) of each field."""
    position = start
    while position < end:
        key, value = _read_varint(data, position, end)
        wire = key & 7
        if wire == _VARINT:
            _, last = _read_varint(data, value, end)
        elif wire == _DELIMITED:
            length, value = _read_varint(data, value, end)
            last = value + length
        elif wire in (_FIXED64, _FIXED32):
            last = value + (8 if wire == _FIXED64 else 4)
        else:
            raise MalformedError(f"wire type {wire}")
        if last > end:
            raise MalformedError("truncated")
        yield key >> 3, wire, position, value, last
        position = last


def _read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    result = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise MalformedError("truncated")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
