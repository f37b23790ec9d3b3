"""How fast the service answers on loopback, one process: ``python benchmarks/bench_serve.py``; ratios to no service."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from timer import least

import roofline as rf

REQUESTS, CANDIDATES, ROUNDS = 1000, 2_000_000, 5
#: simulations a second, and candidates a second as a share of the oracle's own rate, that are wanted
WANTED_SIMULATIONS, WANTED_SHARE = 500.0, 1 / 3
STARTUP_S = 60.0


@contextmanager
def service() -> Iterator[http.client.HTTPConnection]:
    """Yield a connection to a service of its own process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "roofline.cli", "serve", "--port", str(port)],
                              stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert server.stdout is not None
        server.stdout.readline()  # it says when it listens
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STARTUP_S)
        ask(connection, "GET", "/health")
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection
    finally:
        server.terminate()
        server.wait()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> bytes:
    """Return the body of an answer.

    Raises
    ------
    RuntimeError
        The service refused.
    """
    binary = isinstance(body, (bytes, memoryview))
    headers = {"Content-Type": "application/octet-stream" if binary else "application/json"}
    content = body if binary or body is None else json.dumps(body)
    connection.request(method, path, body=content, headers=headers)
    answer = connection.getresponse()
    found = answer.read()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{answer.status}: {found[:200]!r}")
    return found


def simulations(connection: http.client.HTTPConnection) -> None:
    """Ask for the same few networks again and again, one request each."""
    wanted: list[dict[str, Any]] = [
        {"model": m, "device": d, "batch": 8} for m in ("resnet-50", "efficientnet-b0") for d in ("v100", "tpu-v3")
    ]

    def remote() -> None:
        for i in range(REQUESTS):
            ask(connection, "POST", "/simulate", wanted[i % len(wanted)])

    def local() -> None:
        for i in range(REQUESTS):
            rf.simulate(**wanted[i % len(wanted)]).to_dict()

    local()
    remote()
    there, here = REQUESTS / least(remote, ROUNDS), REQUESTS / least(local, ROUNDS)
    met = "met" if there >= WANTED_SIMULATIONS else "MISSED"
    print(f"simulations: {there:,.0f}/s (wanted {WANTED_SIMULATIONS:,.0f}, {met}); in process {here:,.0f}/s")


def candidates(connection: http.client.HTTPConnection, space: str, count: int = CANDIDATES) -> None:
    """Ask for the latencies of many genomes at once."""
    oracle = rf.Oracle(space, "tpu-v3", batch=128).build()
    genomes = oracle.space.sample(count, seed=1)
    body = np.ascontiguousarray(genomes).tobytes()
    path = f"/latency/binary?space={space}&devices=tpu-v3&batch=128"
    answers: list[bytes] = []

    def remote() -> None:
        answers[:] = [ask(connection, "POST", path, body)]

    remote()
    there, here = count / least(remote, ROUNDS), count / least(lambda: oracle.latency_s(genomes), ROUNDS)
    if not np.array_equal(np.frombuffer(answers[0]), oracle.latency_s(genomes)[:, 0]):
        raise RuntimeError("the service and the oracle differ")
    met = "met" if there >= WANTED_SHARE * here else "MISSED"
    print(f"{space}: {there:,.0f} candidates/s, {there / here:.2f} of the {here:,.0f}/s in process"
          f" (wanted {WANTED_SHARE:.2f}, {met})")  # fmt: skip


def main() -> None:
    """Print everything."""
    with service() as connection:
        simulations(connection)
        candidates(connection, "accel-nasbench")
        candidates(connection, "efficientnet-x")


if __name__ == "__main__":
    main()
