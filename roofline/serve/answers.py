"""Answers in JSON, mistakes among them."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class Json(JSONResponse):
    """JSON in ASCII: a name of lone surrogates that came in goes out again, escaped."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def mistake(status: int, message: str) -> Json:
    """Return the answer to a request that cannot be served."""
    return Json({"error": " ".join(message.split())}, status_code=status)
