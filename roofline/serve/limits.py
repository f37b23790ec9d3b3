"""What one request may ask of the service, and the middleware that stops a body which is larger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from roofline.errors import InputError
from roofline.numeric import whole_number

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MIB = 2**20
#: a limit beyond it is none
MOST = 1 << 40
UNREADABLE, TOO_LARGE, UNPROCESSABLE, BUSY = 400, 413, 422, 503


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request.

    Attributes
    ----------
    body_bytes
        Largest body.
    simulations
        Networks in one batch of simulations.
    candidates
        Genomes in one batch.
    ops
        Ops of a graph, or blocks of an architecture, that a request brings along.
    time_s
        Seconds until a request is given up.
    oracles
        Tables of search spaces kept in memory; the one asked least recently goes.
    threads
        Requests computed side by side.
    """

    body_bytes: int = 128 * MIB
    simulations: int = 256
    candidates: int = 4_000_000
    ops: int = 20_000
    time_s: float = 60.0
    oracles: int = 8
    threads: int = 2

    def __post_init__(self) -> None:
        """Check that every limit is positive.

        Raises
        ------
        InputError
            One is not.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "time_s":
                if not value > 0:
                    raise InputError(f"time_s must be above 0, got {value!r}")
            else:
                whole_number(value, field.name, most=MOST)


class BodyLimit:
    """ASGI middleware: a body beyond the limit is answered 413, without being read to its end."""

    def __init__(self, app: App, *, limit_bytes: int, refusal: Callable[[str], App]) -> None:
        self.app, self.limit_bytes, self.refusal = app, limit_bytes, refusal

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refuse = self.refusal(f"the body is larger than {self.limit_bytes:,} bytes")
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self.limit_bytes:
                await refuse(scope, receive, send)
                return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit_bytes:
                raise _TooLargeError
            return message

        async def unless_refused(message: Message) -> None:
            if seen <= self.limit_bytes:
                await send(message)

        with suppress(_TooLargeError):
            await self.app(scope, counted, unless_refused)
        if seen > self.limit_bytes:
            await refuse(scope, receive, send)


class _TooLargeError(Exception):
    """A streamed body has gone over the limit."""
