"""A request through the application, in whatever thread or process asks.

The application waits for nothing: its body is there, and what it computes it computes at once. So its coroutine runs
as the function that it is, without an event loop.
"""

from __future__ import annotations

import traceback
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI

from roofline.serve.answers import mistake
from roofline.serve.app import BODY

#: a header: name and value
Header = tuple[bytes, bytes]


def answer(app: FastAPI, head: dict[str, Any], body: Any) -> tuple[int, list[Header], bytes]:
    """Return status, headers and body of the answer to a request.

    Parameters
    ----------
    app
        What `create_app` made.
    head
        ``method``, ``path``, ``query`` and the content ``type`` of the body.
    body
        Bytes, or what holds them.
    """
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": head["method"],
        "path": head["path"],
        "query_string": head["query"].encode("latin-1"),
        "root_path": "",
        "headers": [(b"content-type", head["type"].encode("latin-1"))] if head["type"] else [],
        "client": None,
        "server": None,
        BODY: body,
    }
    status = 500
    headers: list[Header] = []
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            parts.append(message.get("body", b""))

    try:
        app(scope, receive, send).send(None)
    except StopIteration:
        return status, headers, parts[0] if len(parts) == 1 else b"".join(parts)
    except Exception:  # a fault of the package: the application has said so in words that are no JSON
        traceback.print_exc()
    sorry = mistake(500, "a fault of the service; its log says more")
    return 500, sorry.raw_headers, bytes(sorry.body)
