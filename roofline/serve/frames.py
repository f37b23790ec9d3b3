"""What goes between the service and a process that works for it: a head in JSON, and bytes.

A frame is the lengths of both, the head, the bytes. A large body goes as a file without a name, so that no process
copies it: the descriptor travels with the first byte of the frame.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import socket
import struct
import tempfile
from typing import Any

_SIZES = struct.Struct("!IQ")
#: a body up to it travels in its frame
INLINE_BYTES = 64 * 2**10
#: whether descriptors travel between processes here
SENDS_FILES = hasattr(socket, "send_fds")


class Body:
    """The body of a request as it comes in; the memory of a large one is given back when it is closed."""

    def __init__(self) -> None:
        self.size = 0
        self.content: bytes | bytearray = b""
        self._file = -1

    def add(self, part: bytes) -> None:
        """Append a part."""
        self.size += len(part)
        if self._file < 0 and (self.size <= INLINE_BYTES or not SENDS_FILES):
            self.content = part if not self.content else bytearray(self.content) + part
            return
        if self._file < 0:
            self._file = _nameless()
            _write(self._file, self.content)
            self.content = b""
        _write(self._file, part)

    @property
    def file(self) -> int | None:
        """The descriptor of a large body."""
        return None if self._file < 0 else self._file

    def close(self) -> None:
        """Give its memory back."""
        self.content = b""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("roofline")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def packed(head: dict[str, Any], content: bytes | bytearray = b"") -> bytes:
    """Return a frame."""
    words = json.dumps(head).encode()
    return b"".join([_SIZES.pack(len(words), len(content)), words, content])


# on the side that waits for nobody -----------------------------------------------------


async def ask(link: socket.socket, head: dict[str, Any], body: Body) -> tuple[dict[str, Any], memoryview]:
    """Send a request and return the head and the content of the answer.

    Raises
    ------
    EOFError
        The process has ended.
    """
    loop = asyncio.get_running_loop()
    message = packed(head, body.content)
    try:
        if body.file is not None:
            message = message[socket.send_fds(link, [message], [body.file]) :]
        if message:
            await loop.sock_sendall(link, message)
        start = await loop.sock_recv(link, INLINE_BYTES)
        while len(start) < _SIZES.size or len(start) < _SIZES.size + _SIZES.unpack_from(start)[0]:
            if not (more := await loop.sock_recv(link, INLINE_BYTES)):
                raise EOFError
            start += more
        words, size = _SIZES.unpack_from(start)
        head, first = json.loads(start[_SIZES.size : _SIZES.size + words]), start[_SIZES.size + words :]
        if len(first) == size:
            return head, memoryview(first)
        content = memoryview(bytearray(size))
        content[: len(first)] = first
        left = content[len(first) :]
        while left:
            if not (count := await loop.sock_recv_into(link, left)):
                raise EOFError
            left = left[count:]
        return head, content
    except ConnectionError:
        raise EOFError from None


# on the side that does one thing after another -----------------------------------------


def receive(link: socket.socket) -> tuple[dict[str, Any], bytes | mmap.mmap] | None:
    """Return the head and the body of the next request; None when there is none any more."""
    descriptors: list[int] = []
    if SENDS_FILES:
        start, descriptors, _, _ = socket.recv_fds(link, _SIZES.size, 1)
    else:
        start = link.recv(_SIZES.size)
    if not start:
        return None
    words, size = _SIZES.unpack(start + _wait_for(link, _SIZES.size - len(start)))
    rest = _wait_for(link, words + size)
    head, content = json.loads(rest[:words]), rest[words:]
    if not descriptors:
        return head, content
    with os.fdopen(descriptors[0], "rb") as file:
        return head, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _wait_for(link: socket.socket, size: int) -> bytes:
    content = link.recv(size, socket.MSG_WAITALL) if size else b""
    if len(content) < size:
        raise EOFError
    return content
