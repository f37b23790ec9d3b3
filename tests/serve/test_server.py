"""The service under clients that mean it ill: it answers the others, gives everything back, and ends when it is to."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from roofline.serve import gate as gates
from roofline.serve import pool as pools
from roofline.serve.gate import Gate
from roofline.serve.limits import Limits

SERVE = """
import json, socket, sys
from roofline.serve.gate import Gate
from roofline.serve.limits import Limits
from roofline.serve.server import Server
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
Server(Gate(Limits(**json.loads(sys.argv[1])))).run(sockets=[listener])
"""
#: seconds in which a healthy service says so, and a generous bound on what takes no time
HEALTHY_S, SOON_S = 0.2, 20.0
HALF = b"POST /simulate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"


class Running:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process, self.port = process, int(process.stdout.readline())

    def socket(self, sent: bytes = b"") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=SOON_S)
        made.sendall(sent)
        return made

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        words = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, words, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.load(answer)
        connection.close()
        return answer.status, found


@contextmanager
def running(**limits: Any) -> Iterator[Running]:
    words = [sys.executable, "-c", SERVE, json.dumps(limits)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def long_one(blocks: int, name: str = "s") -> dict[str, Any]:
    """Return a request that takes seconds if it has thousands of blocks."""
    stage = {"name": name, "block": "mbconv", "repeats": blocks, "channels": 8, "expand": 1, "kernel": 3, "stride": 1}
    family = {"family": "x", "title": "x", "sources": {"a": "b"}, "variants": {"v": {"image_size": 32}}}
    return {"architecture": family | {"stages": [stage]}, "device": "v100", "kernels": True}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_its_time_whatever_is_under_way(number: int) -> None:
    with running(grace_s=0.3) as service, ExitStack() as stack:
        assert service.ask("/health")[0] == 200
        for sent in (b"", b"GET /hea", HALF, posted(long_one(20_000))):
            stack.enter_context(service.socket(sent))
        time.sleep(0.2)
        began = time.monotonic()
        service.process.send_signal(number)
        assert service.process.wait(SOON_S) in (0, -number)
        assert time.monotonic() - began < 5
        assert service.process.stderr is not None
        said = service.process.stderr.read()
        assert "Traceback" not in said or number == signal.SIGINT, said


def test_sockets_that_say_nothing_shut_nobody_out() -> None:
    with running(connections=8, header_s=0.5, idle_s=0.5, time_s=1.0) as service, ExitStack() as stack:
        idle = [stack.enter_context(service.socket(sent)) for sent in [b"", b"GET /health HT", HALF] * 8]
        for _ in range(5):
            began = time.monotonic()
            assert service.ask("/health")[0] == 200
        assert time.monotonic() - began < HEALTHY_S
        ended = [end_of(one) for one in idle]
        assert all(end.startswith(b"HTTP/1.1 408 ") for end in ended if end)
        assert service.ask("/health")[0] == 200


def end_of(connection: socket.socket) -> bytes:
    """Return what the service sends before it closes a connection."""
    found = b""
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            found += part
    return found


def test_a_body_that_stops_is_told_so() -> None:
    with running(time_s=0.5) as service, service.socket(HALF) as half:
        assert end_of(half).startswith(b"HTTP/1.1 408 ")


def test_a_head_without_an_end_is_cut() -> None:
    with running() as service, service.socket(b"GET /health HTTP/1.1\r\n") as endless:
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < SOON_S:
                endless.sendall(b"x-a: " + b"a" * 4_000 + b"\r\n")
        assert time.monotonic() - began < SOON_S
        assert service.ask("/health")[0] == 200


def test_an_answer_that_nobody_takes_is_dropped() -> None:
    with running(take_s=1.0) as service, socket.socket() as greedy:
        greedy.settimeout(SOON_S)
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", service.port))
        greedy.sendall(posted(long_one(200, name="s" * 3_000)))  # for ten megabytes
        assert greedy.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        time.sleep(2)
        assert not end_of(greedy).endswith(b"}")


def posted(content: Any) -> bytes:
    """Return a whole request."""
    words = json.dumps(content).encode()
    head = "POST /simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(words)}\r\n\r\n".encode() + words


def test_health_while_all_processes_are_busy() -> None:
    with running(time_s=3.0) as service, ExitStack() as stack:
        service.ask("/health")
        for _ in range(3):
            stack.enter_context(service.socket(posted(long_one(20_000))))
        waits = []
        for _ in range(20):
            began = time.monotonic()
            assert service.ask("/health")[0] == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.02)
        assert sorted(waits)[-2] < HEALTHY_S  # but one, which the machine may have kept waiting
        assert service.ask("/simulate", {"model": "resnet-18", "device": "v100"})[0] == 200


# the gate, with clients made of two functions -----------------------------------------------


async def asked(gate: Gate, *messages: dict[str, Any] | float, path: str = "/simulate") -> list[dict[str, Any]]:
    """Return what the gate sends to a client whose messages, and seconds between them, these are."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        while left:
            message = left.pop(0)
            if isinstance(message, dict):
                return message
            await asyncio.sleep(message)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message | {"body": bytes(message.get("body", b""))})

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await gate(scope, receive, send)
    return sent


def body(content: Any) -> dict[str, Any]:
    return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}


@contextmanager
def gate_of(**limits: Any) -> Iterator[Gate]:
    made = Gate(Limits(**limits))
    try:
        yield made
    finally:
        made.end()


def alive(pool: pools.Pool) -> list[int]:
    return [worker.process.pid for worker in pool._all]


def is_dead(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1:  # its other threads hold its sockets
            return True
        time.sleep(0.05)
    return False


def test_work_that_is_given_up_ends_with_its_process() -> None:
    with gate_of() as gate:

        async def all_of_it() -> None:
            await asked(gate, body(long_one(1_500)))
            (first,) = alive(gate.long)
            gate.limits = Limits(time_s=0.2)
            sent = await asked(gate, body(long_one(20_000)))
            gate.limits = Limits()
            assert sent[0]["status"] == 503 and b"longer than" in sent[1]["body"]
            await asyncio.sleep(0)
            assert not alive(gate.long) and is_dead(first)
            assert (await asked(gate, body(long_one(1_500))))[0]["status"] == 200

        asyncio.run(all_of_it())
        assert gate._held_bytes == 0


def test_what_turns_out_to_be_long_waits_with_the_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with gate_of() as gate:

        async def all_of_it() -> None:
            assert (await asked(gate, body(long_one(5))))[0]["status"] == 200
            assert (len(alive(gate.brief)), len(alive(gate.long))) == (1, 0)
            monkeypatch.setattr(gates, "BRIEF_S", 0.01)
            assert (await asked(gate, body(long_one(900))))[0]["status"] == 200
            assert (len(alive(gate.brief)), len(alive(gate.long))) == (0, 1)

        asyncio.run(all_of_it())


def test_a_client_that_leaves_takes_its_work_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PATIENCE_S", 0.01)
    with gate_of() as gate:
        gone = {"type": "http.disconnect"}
        assert asyncio.run(asked(gate, body(long_one(20_000)), 1.0, gone)) == []
        assert not alive(gate.long)


def test_a_process_that_dies_is_one_failed_request() -> None:
    with gate_of() as gate:

        async def all_of_it() -> None:
            await asked(gate, body(long_one(1_500)))
            (first,) = alive(gate.long)
            asyncio.get_running_loop().call_later(0.2, os.kill, first, signal.SIGKILL)
            assert (await asked(gate, body(long_one(20_000))))[0]["status"] == 503
            assert (await asked(gate, body(long_one(1_500))))[0]["status"] == 200
            (second,) = alive(gate.long)
            os.kill(second, signal.SIGKILL)
            assert is_dead(second)
            assert (await asked(gate, body(long_one(1_500))))[0]["status"] == 200  # nothing was under way

        asyncio.run(all_of_it())


def test_a_system_without_room_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with gate_of() as gate:
        monkeypatch.setattr(pools, "Worker", full)
        sent = asyncio.run(asked(gate, body(long_one(5))))
        assert sent[0]["status"] == 503 and b"no room" in sent[1]["body"]


def test_memory_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with gate_of() as gate:

        async def all_of_it() -> None:
            await asked(gate, body(long_one(5)))
            assert len(alive(gate.brief)) == 1
            monkeypatch.setattr(pools, "SPARE_BYTES", -(1 << 40))
            await asked(gate, body(long_one(5)))
            assert not alive(gate.brief)
            monkeypatch.undo()
            monkeypatch.setattr(pools, "REST_S", 0.05)
            monkeypatch.setattr(pools, "RESTING_BYTES", -(1 << 40))
            await asked(gate, body(long_one(5)))
            await asyncio.sleep(0.2)
            assert not alive(gate.brief)

        asyncio.run(all_of_it())


def test_large_bodies_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "BRIEF_BYTES", 700)
    with gate_of(held_bytes=1_000) as gate:

        async def both() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            part = {"type": "http.request", "body": b" " * 800, "more_body": True}
            first = asyncio.ensure_future(asked(gate, part, 0.2, {"type": "http.disconnect"}))
            await asyncio.sleep(0.05)
            return await asked(gate, part), await first

        second, first = asyncio.run(both())
        assert second[0]["status"] == 503 and b"ask again" in second[1]["body"]
        gate._held_bytes = 1_000
        assert asyncio.run(asked(gate, body({})))[0]["status"] == 422  # a small one is read
        gate._held_bytes -= 1_000
        assert first == [] and gate._held_bytes == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold processes to it")
def test_memory_of_a_process_has_a_limit() -> None:
    with gate_of(memory_bytes=256 << 20) as gate:

        async def all_of_it() -> None:
            assert (await asked(gate, body(long_one(5))))[0]["status"] == 200
            sent = await asked(gate, body(long_one(1_000, name="s" * 20_000)))
            assert sent[0]["status"] == 422 and b"needs more memory" in sent[1]["body"]
            assert (await asked(gate, body(long_one(5))))[0]["status"] == 200

        asyncio.run(all_of_it())
