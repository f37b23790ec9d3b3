"""The application that holds the connections: it reads bodies, hands them on and gives answers back, and does no more.

What runs where, and why. An event loop holds all connections (`roofline.serve.server` says for how long). It must
answer at any moment, so that nothing whose length a client decides runs in it: it counts the bytes and the commas of a
body, and tells a quick request from another by its size and a few words in it.

A quick request names what it wants, and brings no network and no candidates along: its work is bounded by what the
package ships. It is answered by a thread of the same process, as a hop to another one would cost it more than it gains.

Everything else is read, computed and rendered in processes of its own (`roofline.serve.worker`), one request at a time
in each. A process can be ended whatever it does, which a thread cannot: that happens once the time of a request is up,
its client is gone or the service ends; another is forked in its place from one that has imported everything.

The processes are of three kinds, so that what is short waits for nothing that is long: one answers for candidates from
the tables that it keeps, one for networks that come along, as long as these are small and take no time, and one for the
rest. How large a network is, only its reader knows: the second kind has lower limits, and what they stop, or takes
longer than `BRIEF_S`, begins anew with the third.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response

from roofline.serve.answers import Json, mistake
from roofline.serve.app import create_app
from roofline.serve.direct import Header, answer
from roofline.serve.frames import INLINE_BYTES, Body
from roofline.serve.limits import BUSY, MIB, MISDIRECTED, SLOW, TOO_LARGE, Limits
from roofline.serve.pool import Pool
from roofline.version import __version__

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: quick requests computed side by side: more would only take turns
THREADS = 1
#: what a small network is, and the seconds and bytes of a request that brings some
BRIEF = {"ops": 1_000, "all_ops": 2_000, "tensors": 10_000, "variants": 100, "answer_bytes": 16 * MIB}
BRIEF_S, BRIEF_BYTES = 5.0, MIB
BINARY_PATH, SINGLE_PATH = "/latency/binary", "/simulate"
#: seconds after which a client is looked after: whether it is still there
PATIENCE_S = 1.0
#: an answer goes out in parts of this size, the next when the client has taken the one before
PART_BYTES = MIB
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEALTHY = Json({"status": "ok", "roofline_version": __version__})


class Gate:
    """ASGI application: requests within their limits, for the hosts that are allowed.

    Parameters
    ----------
    limits
        See `Limits`.
    hosts
        Names and addresses that requests may call this service by: not those of a page on the web which has its own
        name point to this machine.
    """

    def __init__(self, limits: Limits | None = None, hosts: Collection[str] = LOOPBACK) -> None:
        self.limits = limits or Limits()
        self.hosts = frozenset(host.lower() for host in hosts)
        brief = {name: min(most, getattr(self.limits, name)) for name, most in BRIEF.items()}
        self.tables, self.long = Pool(self.limits), Pool(self.limits)
        self.brief = Pool(replace(self.limits, **brief))
        self._app = create_app(self.limits)
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="roofline")
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or start and end with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.startup":
                await self.tables.warm()
            if kind == "lifespan.shutdown":
                self.end()
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    def end(self) -> None:
        """End all work; requests under way are told so."""
        for pool in (self.tables, self.brief, self.long):
            pool.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body()
        try:
            try:
                response = await self._answer(scope, receive, body)
            except OSError as error:
                raise _Refused(BUSY, f"the system has no room for it: {error.strerror or error}") from None
            finally:
                self._held_bytes -= body.size
                body.close()
            if response is not None:
                await self._give(response, send)
        except _Refused as refused:
            await refused.answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, body: Body) -> Response | None:
        """Return the answer; None when the client is gone."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if _hostname(host) not in self.hosts:
            raise _Refused(MISDIRECTED, f"host {host[:80]!r} is not one that this service answers for")
        if scope["path"] == "/health" and scope["method"] == "GET":
            return _HEALTHY
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self.limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.time_s):
                if not await self._read(receive, body, binary=scope["path"] == BINARY_PATH):
                    return None
        except TimeoutError:
            raise _Refused(SLOW, "the body took longer than one request may") from None
        head = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "type": headers.get(b"content-type", b"").decode("latin-1"),
        }
        return await self._work(head, body, receive)

    async def _read(self, receive: Receive, body: Body, *, binary: bool) -> bool:
        """Read the body; False when the client is gone."""
        values, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part, more = message.get("body", b""), message.get("more_body", False)
            if body.size + len(part) > self.limits.body_bytes:
                raise self._too_large()
            full = self._held_bytes + len(part) > self.limits.held_bytes
            if full and body.size + len(part) > BRIEF_BYTES:  # large bodies keep no small one out
                raise _Refused(BUSY, "the service holds as much as it may for others; ask again")
            if not binary:
                values += part.count(b",")
                if values >= self.limits.values:
                    most = f"{self.limits.values:,}"
                    raise _Refused(TOO_LARGE, f"the body has more than {most} values; {BINARY_PATH} takes bytes")
            body.add(part)
            self._held_bytes += len(part)
        return True

    async def _work(self, head: dict[str, Any], body: Body, receive: Receive) -> Response | None:
        """Have a process answer, until it does, the time is up or the client is gone."""
        if _is_quick(head["path"], body):
            loop, asked = asyncio.get_running_loop(), bytes(body.content)
            return _response(*await loop.run_in_executor(self._threads, answer, self._app, head, asked))
        work = asyncio.ensure_future(self._answer_somewhere(head, body))
        gone: asyncio.Future[None] | None = None
        try:
            async with asyncio.timeout(self.limits.time_s):
                await asyncio.wait([work], timeout=PATIENCE_S)
                if not work.done():
                    gone = asyncio.ensure_future(_gone(receive))
                    await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return None
            found, content = work.result()
        except TimeoutError:
            raise _Refused(BUSY, "it took longer than one request may") from None
        except EOFError:
            raise _Refused(BUSY, "what worked on it has ended: it needed too much, or the service ends") from None
        finally:
            work.cancel()
            if gone is not None:
                gone.cancel()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found["headers"]]
        return _response(found["status"], headers, content)

    async def _answer_somewhere(self, head: dict[str, Any], body: Body) -> tuple[dict[str, Any], memoryview]:
        """Return the head and the content of the answer of the process that a request is for."""
        large = body.size > BRIEF_BYTES
        if head["path"].startswith("/latency") and (head["path"] == BINARY_PATH or not large):
            return await self.tables.answer(head, body)
        if not large:
            with suppress(TimeoutError):
                found = await self.brief.answer(head, body, limit_s=BRIEF_S)
                if not found[0]["stopped"]:
                    return found
        return await self.long.answer(head, body)

    async def _give(self, response: Response, send: Send) -> None:
        """Send an answer in parts, each when the one before is taken: `roofline.serve.server` cuts who takes none."""
        content = memoryview(response.body)
        self._held_bytes += len(content)
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            for start in range(0, len(content) or 1, PART_BYTES):
                more = start + PART_BYTES < len(content)
                part = content[start : start + PART_BYTES]
                await send({"type": "http.response.body", "body": part, "more_body": more})
        finally:
            self._held_bytes -= len(content)

    def _too_large(self) -> _Refused:
        return _Refused(TOO_LARGE, f"the body is larger than {self.limits.body_bytes:,} bytes")


class _Refused(Exception):
    """A request that is not handed on."""

    def __init__(self, status: int, message: str) -> None:
        self.answer = mistake(status, message)
        if status == SLOW:
            self.answer.headers["connection"] = "close"  # what comes late would be taken for another request


def _is_quick(path: str, body: Body) -> bool:
    """Return whether a request brings no network and no list along; one that may hide that is taken to."""
    if path != SINGLE_PATH:
        return not path.startswith(("/simulate", "/latency"))
    return body.size <= INLINE_BYTES and not any(
        word in body.content for word in (b'"architecture"', b'"graph"', b"\\")
    )


def _response(status: int, headers: list[Header], content: bytes | memoryview) -> Response:
    response = Response(content, status_code=status)
    response.raw_headers = headers
    return response


@lru_cache(maxsize=256)
def _hostname(host: str) -> str | None:
    """Return the name or address in a header of a request."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname
    return None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
