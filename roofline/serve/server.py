"""How long connections last: uvicorn's server with an eye on those that only wait, and an end that comes in time.

uvicorn closes a connection that was idle between two requests. It waits for ever for the first one, for a head and for
the taking of an answer, accepts as many connections as there are files, and ends only once the last body is there. Here
all of these have their time, the connection that has been silent for longest makes room for one too many, and what is
not done in time at the end is cut.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from roofline.serve.gate import Gate
from roofline.serve.limits import Limits

#: bytes of a head
HEAD_BYTES = 64 * 2**10
#: seconds that a thread keeps the interpreter from the loop
TURN_S = 0.0005
#: files beside connections, and files of a request: its socket, its body
OTHER_FILES, REQUEST_FILES = 64, 2


class Connection(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
    """A connection that knows how long its client has kept it waiting."""

    #: most of them, and seconds for the head of a request and the taking of an answer
    most = Limits.connections
    header_s, take_s, idle_s = Limits.header_s, Limits.take_s, Limits.idle_s

    def connection_made(self, transport: Any) -> None:
        """Take a connection; one too many replaces the one that has been silent for longest."""
        super().connection_made(transport)
        self._heard = asyncio.get_running_loop().time()
        self._asked: float | None = None
        self._full: float | None = None
        self._head_bytes = 0
        if len(self.connections) > self.most:
            waiting = [other for other in self.connections if other.is_silent]
            min(waiting, key=lambda other: other._heard).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head has its time from its first byte on."""
        self._heard = asyncio.get_running_loop().time()
        before = self.cycle
        if self.is_between and self._asked is None:
            self._asked = self._heard
        super().data_received(data)
        if self.cycle is not before:  # the head is there
            self._asked, self._head_bytes = None, 0
        elif self._asked is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.abort()

    def on_response_complete(self) -> None:
        """Go on to the next request: from now on it is the client's turn."""
        self._heard = asyncio.get_running_loop().time()
        super().on_response_complete()

    @property
    def is_between(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_silent(self) -> bool:
        """Whether it is the client's turn."""
        return self.is_between or bool(self.cycle.more_body)

    def close_if_late(self, now: float) -> None:
        """Cut the connection if a request, its head or the taking of its answer has taken too long."""
        if not self.transport.get_write_buffer_size():
            self._full = None
        elif self._full is None:
            self._full = now
        waits = ((self._full, self.take_s), (self._asked, self.header_s), (self._idle, self.idle_s))
        if any(since is not None and now - since > most for since, most in waits):
            self.transport.abort()

    @property
    def _idle(self) -> float | None:
        return self._heard if self.is_between and self._full is None else None


class Server(uvicorn.Server):
    """The service as a server.

    Parameters
    ----------
    gate
        What answers; its limits hold for the connections, too.
    """

    def __init__(self, gate: Gate) -> None:
        limits = gate.limits
        own = {
            "most": min(limits.connections, _files() // REQUEST_FILES),
            "header_s": limits.header_s,
            "take_s": limits.take_s,
            "idle_s": limits.idle_s,
        }
        config = uvicorn.Config(
            gate,
            http=type("Connection", (Connection,), own),
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_s) + 1,
            timeout_graceful_shutdown=int(limits.grace_s) + 2,
        )
        super().__init__(config)
        self._gate = gate

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end; the loop takes its turn from the threads beside it at once."""
        sys.setswitchinterval(TURN_S)
        await super().serve(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections, ten times a second."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            connection.close_if_late(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: requests under way have their time, then processes and connections are cut."""
        cut = asyncio.ensure_future(self._cut())
        await super().shutdown(sockets)
        cut.cancel()

    async def _cut(self) -> None:
        await asyncio.sleep(self._gate.limits.grace_s)
        self._gate.end()
        await asyncio.sleep(0.2)  # those that waited for a process are told
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _files() -> int:
    """Return how many files connections may take, having raised a low limit as far as the system allows."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = REQUEST_FILES * Limits.connections + OTHER_FILES
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft != resource.RLIM_INFINITY:
            return max(2, soft - OTHER_FILES)
    return 1 << 30
