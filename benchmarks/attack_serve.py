"""Attack the service: ``python benchmarks/attack_serve.py [--mutants 20000] [--seconds 60] [--seed 1]``.

First broken graphs and architectures, one a request: each answer is a result or one line with status 422. Then, for a
minute, 64 clients whose requests are good but for every tenth, which is hostile, beside 400 sockets that say nothing:
every good request is answered, the service says within `HEALTHY_S` that it is well, and its memory comes back.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import roofline as rf
from roofline.graph.serial import as_dict
from roofline.specfile import read_toml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from op_examples import EXAMPLES  # noqa: E402

CLIENTS, IDLE_SOCKETS, HOSTILE_SHARE = 64, 400, 0.1
#: seconds for health, and for idle processes to be given back; bytes that may stay
HEALTHY_S, REST_S, STAYING_BYTES = 0.2, 10.0, 100e6
PATIENCE_S = 120.0
JSON, BINARY = "application/json", "application/octet-stream"
SPACE = "accel-nasbench"


class Running:
    """The service, as the command starts it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        words = [sys.executable, "-m", "roofline.cli", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that does not wait for more to send."""
        made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        made.connect()
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def memory_bytes(self) -> int:
        """Return what all its processes hold, what they share counted once."""
        total = 0
        for process in [one := psutil.Process(self.process.pid), *one.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total


@contextmanager
def running() -> Iterator[Running]:
    """Yield the service; it has to end when it is told to."""
    service = Running()
    try:
        yield service
        service.process.terminate()
        began = time.monotonic()
        service.process.wait(30)
        print(f"ended {time.monotonic() - began:.1f} s after it was told to")
    finally:
        service.process.kill()


def ask(connection: http.client.HTTPConnection, path: str, body: Any, kind: str = JSON) -> tuple[int, bytes]:
    """Return status and content of an answer."""
    connection.request("GET" if body is None else "POST", path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, answer.read()


# mutants ------------------------------------------------------------------------------

WILD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 7, 64, -(2**31), 2**31, 2**53, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300),
    *("", "x", "\ud800", "\x00", "float16", "fp16", [], {}, [[]], [0], [1, 1], [-1], [0, 0, 0, 0], ["x"], {"a": 1}),
]


def originals() -> list[dict[str, Any]]:
    """Return requests that are fine: a graph of every kind of op, and an architecture of every family."""
    found: list[dict[str, Any]] = []
    for example in EXAMPLES.values():
        found.append({"graph": as_dict(example.graph(*example.sizes)), "device": "v100"})
    for path in sorted((ROOT / "models").glob("*.toml")):
        content = read_toml(path)
        name, variant = next(iter(content["variants"].items()))
        short = content | {"variants": {name: variant}}
        found.append({"architecture": short, "device": "tpu-v3", "batch": 4})
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) inside a value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(value, key), *places(inner)]
    return found


def mutant(content: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a request with one to three things wrong."""
    found = deepcopy(content)
    for _ in range(chance.choice([1, 1, 2, 3])):
        if not (where := places(found)):
            break
        inside, key = chance.choice(where)
        other, far = chance.choice(where)
        how = chance.randrange(6)
        if how == 0:
            del inside[key]
        elif how == 1:
            inside[key] = deepcopy(other[far])
        elif how == 2 and isinstance(inside, list):
            inside.insert(key, deepcopy(inside[key]))
        elif how == 3 and isinstance(inside[key], (int, float)):
            inside[key] = inside[key] * chance.choice([-1, 0, 2, 3, 0.5, 1000, 10**9, 10**18]) + chance.choice(
                [0, 0, 1, -1]
            )
        elif how == 4 and isinstance(inside[key], str) and isinstance(other[far], str):
            inside[key] = other[far]
        else:
            inside[key] = deepcopy(chance.choice(WILD))
    return found


def attack_with_mutants(service: Running, count: int, seed: int) -> bool:
    """Send broken requests and say what came back; whether it was what it should be."""
    bases, statuses = originals(), Counter[int]()
    connection = service.connect()
    for base in bases:
        if (status := ask(connection, "/simulate", json.dumps(base))[0]) != 200:
            raise RuntimeError(f"{status}: {json.dumps(base)[:300]}")
    bad: list[str] = []

    def client(own: int) -> None:
        chance, connection = random.Random(seed * 1000 + own), service.connect()
        for _ in range(count // 4):
            words = json.dumps(mutant(chance.choice(bases), chance))
            status, content = ask(connection, "/simulate", words)
            statuses[status] += 1
            if status == 422:
                fine = list(json.loads(content)) == ["error"] and b"\n" not in content
            else:
                fine = status == 200 and 0 <= json.loads(content)["latency_s"] < float("inf")
            if not fine:
                bad.append(f"{status} {content[:300]!r}: {words[:2000]}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    told = ", ".join(f"{n:,} x {status}" for status, n in sorted(statuses.items()))
    print(f"mutants: {count:,} of {len(bases)} graphs and architectures, seed {seed}: {told}; {len(bad)} bad")
    for line in bad[:10]:
        print(line)
    return not bad


# a minute ------------------------------------------------------------------------------


def good_requests() -> list[tuple[str, Any, str]]:
    """Return (path, body, kind) of what a search asks."""
    space = rf.search_space(SPACE)
    few, many = space.sample(10, seed=1), space.sample(20_000, seed=2)
    graph = as_dict(rf.op_graph("resnet-18", batch=2))
    architecture = read_toml(ROOT / "models" / "efficientnet-x.toml")
    bodies: list[tuple[str, Any]] = [
        *(
            ("/simulate", {"model": m, "device": d, "batch": 8})
            for m in ("resnet-50", "vit-s-16")
            for d in ("v100", "tpu-v3")
        ),
        ("/simulate/batch", {"simulations": [{"model": m, "device": "v100"} for m in ("resnet-18", "mnasnet-a1")]}),
        ("/simulate", {"graph": graph, "device": "a100-40gb"}),
        ("/simulate", {"architecture": architecture, "variant": "efficientnet-x-b0", "device": "tpu-v3"}),
        ("/latency", {"space": SPACE, "devices": ["tpu-v3"], "genomes": few.tolist()}),
    ]
    return [
        *((path, json.dumps(body), JSON) for path, body in bodies),
        (f"/latency/binary?space={SPACE}&devices=tpu-v3", np.ascontiguousarray(many).tobytes(), BINARY),
        ("/names", None, JSON),
    ]


def hostile_requests() -> list[tuple[str, bytes]]:
    """Return (path, body) of what nobody should ask."""
    stage = {"name": "s", "block": "mbconv", "channels": 8, "expand": 1, "kernel": 3, "stride": 1}
    family = {"family": "x", "title": "x", "sources": {"a": "b"}, "variants": {"v": {"image_size": 32}}}

    def brought(count: int, repeats: int, **more: Any) -> dict[str, Any]:
        stages = [stage | {"name": f"s{i}", "repeats": repeats} for i in range(count)]
        return {"architecture": family | {"stages": stages} | more, "device": "v100", "kernels": True}

    tensors = ",".join(f'{{"id":"t{i}","shape":[1],"dtype":"fp32","role":"input"}}' for i in range(1_200_000))
    head = '{"device":"v100","graph":{"format":"roofline-graph","schema_version":1,"outputs":[],"ops":[],"tensors":['
    variants = {f"v{i}": {"image_size": 32} for i in range(400_000)}
    genomes = ",".join(["[" + ",".join("0" * 28) + "]"] * (121 * 2**20 // 58))
    latency = f'{{"space":"{SPACE}","devices":["v100"],"genomes":['
    return [
        ("/latency", f"{latency}{genomes}]}}".encode()),
        ("/simulate/batch", json.dumps({"simulations": [brought(1000, 1)] * 256}).encode()),
        ("/simulate", (head + tensors + "]}}").encode()),
        ("/simulate", json.dumps(brought(1, 1, variants=variants)).encode()),
        ("/simulate", json.dumps(brought(1, 20_000)).encode()),
        ("/simulate", json.dumps(brought(50, 400)).encode()),
        ("/simulate", b'{"graph":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"),
        ("/simulate", b'{"device": "v100", "model": "resnet-50", "model": "resnet-18"}'),
        ("/latency/binary?space=efficientnet-x&devices=v100&batch=77", b"\1" * 2**20),
    ]


class Crowd:
    """Clients that ask what is good, and what is not."""

    def __init__(self, service: Running, seed: int) -> None:
        self.service, self.seed = service, seed
        self.good, self.hostile = good_requests(), hostile_requests()
        self.answered, self.refused = 0, Counter[str]()
        self.failed: list[str] = []
        self.slowest_s = 0.0

    def run(self, seconds: float, hostile_share: float) -> None:
        """Ask for some seconds."""
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda own: self._client(own, until, hostile_share), range(CLIENTS)))

    def _client(self, own: int, until: float, hostile_share: float) -> None:
        chance, connection = random.Random(self.seed * 1000 + own), self.service.connect()
        while time.monotonic() < until:
            if chance.random() < hostile_share:
                self._hostile(chance, until)
                continue
            path, body, kind = chance.choice(self.good)
            began = time.monotonic()
            try:
                status, content = ask(connection, path, body, kind)
            except (OSError, http.client.HTTPException) as error:
                status, content, connection = 0, repr(error).encode(), self.service.connect()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.answered += 1
            if status != 200:
                self.failed.append(f"{path}: {status} {content[:200]!r}")

    def _hostile(self, chance: random.Random, until: float) -> None:
        path, body = chance.choice(self.hostile)
        how = chance.randrange(4)
        try:
            connection = self.service.connect()
            if how == 0:  # half of it, and silence
                connection.putrequest("POST", path)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body[: len(body) // 2])
                time.sleep(min(5.0, max(0.0, until - time.monotonic())))
                told = "half"
            elif how == 1:  # all of it, and away
                connection.request("POST", path, body, {"Content-Type": JSON})
                time.sleep(1.0)
                told = "left"
            else:
                told = str(ask(connection, path, body, BINARY if "binary" in path else JSON)[0])
            connection.close()
        except (OSError, http.client.HTTPException):
            told = "cut"
        self.refused[told] += 1


def probe(port: int, seconds: float, out: Any) -> None:
    """Ask for health twenty times a second, each on a connection of its own, and send how long it took.

    Beside it goes how much longer than asked for a sleep took: how late the machine itself is, busy as it is.
    """
    until, waits, late = time.monotonic() + seconds, [], []
    while time.monotonic() < until:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        status = ask(connection, "/health", None)[0]
        connection.close()
        waits.append(time.monotonic() - began if status == 200 else float("inf"))
        began = time.monotonic()
        time.sleep(0.05)
        late.append(time.monotonic() - began - 0.05)
    out.send((waits, late))


def probing(service: Running, seconds: float) -> Callable[[], tuple[list[float], list[float]]]:
    """Start to probe in another process; return what waits for what it found."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=probe, args=(service.port, seconds, there))
    process.start()

    def result() -> tuple[list[float], list[float]]:
        found: tuple[list[float], list[float]] = here.recv()
        process.join()
        return found

    return result


def attack_for_a_minute(service: Running, seconds: float, seed: int) -> bool:
    """Send good requests and others side by side; whether the good ones noticed nothing."""
    crowd = Crowd(service, seed)
    crowd.run(seconds / 4, 0.0)
    good_alone = crowd.answered / (seconds / 4)
    time.sleep(REST_S)
    before, crowd.answered, crowd.slowest_s = service.memory_bytes(), 0, 0.0
    waits_of = probing(service, seconds)
    with ExitStack() as stack:
        for _ in range(IDLE_SOCKETS):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        crowd.run(seconds, HOSTILE_SHARE)
    waits, machine = (np.sort(seconds) for seconds in waits_of())
    time.sleep(REST_S)
    stays = service.memory_bytes() - before
    late = int((waits > HEALTHY_S).sum())
    told = ", ".join(f"{n} x {what}" for what, n in sorted(crowd.refused.items()))
    print(f"{CLIENTS} clients for {seconds:.0f} s: {crowd.answered:,} good requests ({good_alone:,.0f}/s alone),"
          f" {len(crowd.failed)} failed, the slowest {crowd.slowest_s:.1f} s; hostile: {told}")  # fmt: skip
    ms = [f"{seconds * 1e3:.0f} ms" for seconds in (waits[int(len(waits) * 0.99)], waits[-1], HEALTHY_S, machine[-1])]
    print(f"health: {len(waits)} times, 99 % within {ms[0]}, the slowest {ms[1]}, {late} above {ms[2]};"
          f" sleeps beside it were up to {ms[3]} late")  # fmt: skip
    print(f"memory: {before / 1e6:,.0f} MB before, {stays / 1e6:+,.0f} MB afterwards")
    for line, count in Counter(crowd.failed).most_common(10):
        print(f"{count} x {line}")
    return not crowd.failed and late == 0 and stays <= STAYING_BYTES


def main() -> int:
    """Attack; 1 if anything gave way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with running() as service:
        held = [
            attack_with_mutants(service, options.mutants, options.seed) if options.mutants else True,
            attack_for_a_minute(service, options.seconds, options.seed) if options.seconds else True,
        ]
    print("held" if all(held) else "GAVE WAY")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
