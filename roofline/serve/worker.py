"""The process that answers requests: it reads, computes and renders, where it can be ended at any moment.

One request after the other comes through a socket and goes through the application of `roofline.serve.app`, whole: the
process that holds the connections looks at nothing inside it.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from roofline.plugins import load_plugins
from roofline.serve.app import create_app
from roofline.serve.direct import answer
from roofline.serve.frames import packed, receive
from roofline.serve.limits import Limits
from roofline.serve.memory import cap_memory, resident_bytes

#: how far a process that works stands back
NICE = 5


def run(link: socket.socket, limits: Limits, plugins: Sequence[str] = ()) -> None:
    """Answer requests until the other side closes the socket, or ends this process; `plugins` are loaded first."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the service ends it: others that share its terminal do not
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):  # who holds the connections goes first
        os.nice(NICE)
    cap_memory(limits.memory_bytes)
    load_plugins(*plugins)
    app = create_app(limits)
    service = app.state.service
    with suppress(EOFError, ConnectionError):
        while (request := receive(link)) is not None:
            head, body = request
            before = resident_bytes() - service.table_bytes
            status, headers, content = answer(app, head, body)
            del body, request
            stopped, service.stopped = service.stopped, False
            told = {
                "status": status,
                "stopped": stopped,
                "headers": [[part.decode("latin-1") for part in header] for header in headers],
                "grown_bytes": resident_bytes() - service.table_bytes - before,
            }
            link.sendall(packed(told, content))
