"""The service: its answers are those of the library, its limits hold, and no request makes it fail."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

import roofline as rf
from roofline.errors import InputError
from roofline.graph.serial import as_dict
from roofline.specfile import read_toml

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from attack_serve import mutant, originals
from places import ROOT
from starlette.testclient import TestClient

from roofline.cli import main
from roofline.serve.app import create_app
from roofline.serve.direct import answer
from roofline.serve.gate import Gate
from roofline.serve.limits import Limits

TINY = Limits(
    body_bytes=200_000, answer_bytes=80_000, values=20_000, simulations=3, candidates=50, ops=200, tensors=300,
    all_ops=250, variants=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(Gate(TINY, {"testserver"}), raise_server_exceptions=False) as made:
        yield made


def refused(answer: Any, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]
    assert words in message and "\n" not in message


# answers ------------------------------------------------------------------------------


def test_a_simulation_is_that_of_the_library(client: TestClient) -> None:
    wanted = {"model": "resnet-50", "device": "TPUv3", "batch": 8, "image_size": 192, "dtype": "bf16"}
    answer = client.post("/simulate", json=wanted)
    assert answer.json() == rf.simulate("resnet-50", "tpu-v3", batch=8, image_size=192).to_dict()
    training = {"model": "resnet-18", "device": "v100", "mode": "training", "optimizer": "sgd", "recompute": True}
    asked = rf.simulate("resnet-18", "v100", mode="training", optimizer="sgd", recompute=True)
    assert client.post("/simulate", json=training).json() == asked.to_dict()
    with_kernels = client.post("/simulate", json=wanted | {"kernels": True}).json()["kernels"]
    assert sum(k["time_s"] for k in with_kernels) == pytest.approx(answer.json()["device_s"])


def test_several_simulations_in_their_order(client: TestClient) -> None:
    wanted: list[dict[str, Any]] = [
        {"model": m, "device": "v100", "runtime": r} for m, r in (("vit-ti-16", "tensorrt"), ("resnet-18", None))
    ]
    answer = client.post("/simulate/batch", json={"simulations": wanted}).json()
    assert [a["model"] for a in answer] == ["vit-ti-16", "resnet-18"]
    assert answer == [rf.simulate(**one).to_dict() for one in wanted]


def test_networks_that_come_along(client: TestClient) -> None:
    graph = rf.op_graph("resnet-18", batch=2)
    answer = client.post("/simulate", json={"graph": as_dict(graph), "device": "a100-40gb"})
    assert answer.json() == rf.simulate(graph, "a100-40gb").to_dict()
    content = read_toml(ROOT / "models" / "efficientnet-x.toml")
    wanted = {"architecture": content, "variant": "efficientnet-x-b0", "device": "tpu-v3"}
    assert client.post("/simulate", json=wanted).json() == rf.simulate("efficientnet-x-b0", "tpu-v3").to_dict()


def test_candidates_as_json_and_as_bytes(client: TestClient) -> None:
    oracle = rf.Oracle("accel-nasbench", ["tpu-v3", "v100"], batch=16)
    genomes = oracle.space.sample(20, seed=4)
    options: dict[str, Any] = {"space": "accel-nasbench", "devices": ["tpu-v3", "v100"], "batch": 16}
    answer = client.post("/latency", json=options | {"genomes": genomes.tolist()}).json()
    assert answer["devices"] == ["tpu-v3", "v100"]
    np.testing.assert_array_equal(answer["latency_s"], oracle.latency_s(genomes))
    binary = client.post("/latency/binary", params=options, content=genomes.astype(np.int8).tobytes())
    np.testing.assert_array_equal(np.frombuffer(binary.content, "<f8").reshape(-1, 2), oracle.latency_s(genomes))
    assert client.post("/latency", json=options | {"genomes": []}).json()["latency_s"] == []
    genes = client.get("/spaces/accel-nasbench").json()["genes"]
    assert oracle.space.mapping(genomes[0]) == {
        gene["name"]: gene["values"][int(g)] for gene, g in zip(genes, genomes[0], strict=True)
    }


def test_names_are_those_of_the_package(client: TestClient) -> None:
    names = client.get("/names").json()
    assert (names["models"], names["devices"]) == (rf.models(), rf.devices())
    assert client.get("/health").json() == {"status": "ok", "roofline_version": rf.__version__}


# refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"model": "resnet-5", "device": "v100"}, "unknown model 'resnet-5'; nearest: 'resnet-50'"),
        ({"model": "resnet-50", "device": "v101"}, "nearest: 'v100'"),
        ({"model": "resnet-50"}, "device: Field required"),
        ({"device": "v100"}, "give one of 'model', 'architecture' and 'graph'"),
        ({"model": "resnet-50", "graph": {}, "device": "v100"}, "give one of"),
        ({"model": "resnet-50", "device": "v100", "batch": "8"}, "batch"),
        ({"model": "resnet-50", "device": "v100", "batch": 0}, "batch"),
        ({"model": "resnet-50", "device": "v100", "bach": 1}, "bach"),
        ({"model": "resnet-50", "device": "v100", "batch": 1 << 40}, "batch must be a whole number in 1..1048576"),
        ({"model": "resnet-50", "device": "tpu-v3", "runtime": "tensorrt"}, "does not run on a tpu"),
        ({"graph": {"ops": [{}] * 201}, "device": "v100"}, "at most 200"),
        ({"architecture": {"family": "x"}, "device": "v100"}, "architecture: missing key"),
    ],
)
def test_a_mistake_is_one_line(client: TestClient, wanted: dict[str, Any], words: str) -> None:
    refused(client.post("/simulate", json=wanted), 422, words)


@pytest.mark.parametrize("field", ["model", "device", "runtime"])
@pytest.mark.parametrize("path", ["/etc/passwd", "x.toml", "models/resnet.toml:resnet-50", "..\\x.TOML", "x.toml:y"])
def test_no_request_reads_a_file(
    client: TestClient, field: str, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    wanted = {"model": "resnet-50", "device": "v100"} | {field: path}
    refused(client.post("/simulate", json=wanted), 422, "reads no files")


def test_a_body_that_is_not_said_to_be_json(client: TestClient) -> None:
    answer = client.post("/simulate", content=b'{"model": "resnet-18", "device": "v100"}')
    refused(answer, 422, "the body must be a JSON object, sent with content-type: application/json")


def test_one_that_cannot_be_simulated_does_not_fail_its_neighbours(client: TestClient) -> None:
    b = rf.GraphBuilder("empty")
    empty = as_dict(b.graph([b.linear(b.input("x", (0, 8)), 4)]))
    good = {"model": "resnet-18", "device": "v100"}
    for bad, why in (({"graph": empty}, "nothing to run"), ({"model": "resnet-19"}, "unknown model"),
                     ({"model": "resnet-18", "dtype": "fp8"}, "fp8")):  # fmt: skip
        wanted = [good, bad | {"device": "v100"}, good]
        first, second, third = client.post("/simulate/batch", json={"simulations": wanted}).json()
        assert first == third == rf.simulate("resnet-18", "v100").to_dict()
        assert list(second) == ["error"] and why in second["error"]
        refused(client.post("/simulate", json=wanted[1]), 422, why)


def test_limits_hold(client: TestClient) -> None:
    one = {"model": "resnet-18", "device": "v100"}
    refused(client.post("/simulate/batch", json={"simulations": [one] * 4}), 422, "at most 3")
    options = {"space": "accel-nasbench", "devices": ["tpu-v3"]}
    refused(client.post("/latency/binary", params=options, content=b"\0" * 28 * 51), 422, "at most 50")
    refused(client.post("/latency/binary", params=options, content=b"\0" * 29), 422, "whole number of genomes")
    refused(client.post("/latency", json=options | {"genomes": [[0] * 28, [0]]}), 422, "genome 1 has 1 genes")
    refused(client.post("/latency", json=options | {"genomes": [[100] * 28]}), 422, "must be in 0..2, got 100")
    refused(client.post("/simulate", content=b"x" * 200_001), 413, "larger than 200,000 bytes")
    refused(client.post("/simulate", content=iter([b" " * 150_000] * 2)), 413, "larger than 200,000 bytes")
    refused(client.post("/simulate", json=brought(10**15)), 422, "")


def brought(blocks: int, **more: Any) -> dict[str, Any]:
    """Return a request that brings an architecture along."""
    stage = {"name": "s", "block": "mbconv", "repeats": blocks, "channels": 8, "expand": 1, "kernel": 3, "stride": 1}
    family = {"family": "x", "title": "x", "sources": {"a": "b"}, "variants": {"v": {"image_size": 32}}}
    return {"architecture": family | {"stages": [stage]}, "device": "v100"} | more


def test_no_list_is_without_a_limit(client: TestClient) -> None:
    network = brought(1)
    several: dict[str, Any] = network["architecture"] | {"variants": {f"v{i}": {"image_size": 8} for i in range(31)}}
    refused(client.post("/simulate", json=network | {"architecture": several}), 422, "31 variants; a network")
    long = network["architecture"] | {"stages": [{}] * 201}
    refused(client.post("/simulate", json=network | {"architecture": long}), 422, "201 stages; a network")
    refused(client.post("/simulate", json={"graph": {"tensors": [{}] * 301}, "device": "v100"}), 422, "301 tensors")
    refused(client.post("/simulate/batch", json={"simulations": [brought(150)] * 2}), 422, "more than 250 ops")
    refused(client.post("/latency", content=b"[" + b"0," * 20_000), 413, "more than 20,000 values")
    many = {"space": "accel-nasbench", "devices": ["v100"] * 64, "genomes": [[0] * 28] * 50}
    refused(client.post("/latency", json=many), 422, "the answer has more than")
    one = brought(15, kernels=True)
    assert client.post("/simulate", json=one).status_code == 200
    refused(client.post("/simulate/batch", json={"simulations": [one] * 2}), 422, "the answer has more than")


@pytest.mark.parametrize(
    "body", [b'{"device": "v100", "model": "resnet-50", "device": "a"}', b'{"graph": {"a": 1, "a": 1}}']
)
def test_a_key_that_is_given_twice(client: TestClient, body: bytes) -> None:
    answer = client.post("/simulate", content=body, headers={"content-type": "application/json"})
    refused(answer, 422, "is given twice")


@pytest.mark.parametrize("host", ["", "example.org", "testserver.example.org", "[", "testserver@example.org"])
def test_it_answers_for_its_own_names_only(client: TestClient, host: str) -> None:
    refused(client.get("/health", headers={"host": host}), 421, "not one that this service answers for")
    assert client.get("/health", headers={"host": "TestServer:8265"}).status_code == 200


def test_oracles_are_remembered_up_to_a_number(client: TestClient) -> None:
    from roofline.serve.schemas import OracleOptions
    from roofline.serve.service import Service

    service = Service(Limits(oracles=2))
    asked = [OracleOptions(space="accel-nasbench", devices=("v100",), batch=n) for n in (1, 2, 3)]
    first, second, _ = (service.oracle(a) for a in asked)
    assert service.oracle(asked[1]) is second
    assert service.oracle(asked[0]) is not first


@pytest.mark.parametrize("bad", [{"body_bytes": 0}, {"time_s": 0.0}, {"time_s": float("nan")}, {"workers": -1}])
def test_limits_are_positive(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Limits(**bad)


# anything at all ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200), path=st.sampled_from(["/simulate", "/simulate/batch", "/latency"]))
def test_bytes_are_refused(client: TestClient, body: bytes, path: str) -> None:
    assert client.post(path, content=body, headers={"content-type": "application/json"}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 90_000,
        b'{"model": "\\ud800", "device": "v100"}',
        b'{"model": "resnet-18", "device": "v100", "batch": NaN}',
        b'{"model": "resnet-18", "device": "v100", "batch": 1e999}',
        b'{"graph": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b', "device": "v100"}',
        b'{"architecture": {"family": "\\ud800"}, "device": "v100"}',
        b'{"model": "resnet-18", "device": "v100", "batch": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe",
        b"",
    ],
    ids=range(9),
)
def test_odd_json_is_refused(client: TestClient, body: bytes) -> None:
    refused(client.post("/simulate", content=body, headers={"content-type": "application/json"}), 422, "")


def test_broken_graphs_and_architectures_are_results_or_mistakes() -> None:
    chance, bases, statuses = random.Random(11), originals(), set()
    app = create_app()
    for _ in range(200):
        body = json.dumps(mutant(chance.choice(bases), chance)).encode()
        head = {"method": "POST", "path": "/simulate", "query": "", "type": "application/json"}
        status, _, content = answer(app, head, body)
        assert status in (200, 422), (status, body)
        assert (status == 422) == (list(json.loads(content)) == ["error"])
        statuses.add(status)
    assert statuses == {200, 422}


def test_what_the_schema_allows_never_fails() -> None:
    """Requests made from the service's own description, and broken in every way: answers are those it describes."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(TINY))
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        seen.add(operation.path)
        for mode in schemathesis.GenerationMode:

            @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                answer = case.call()
                checks = [not_a_server_error, response_schema_conformance]
                case.validate_response(answer, checks=checks)
                if answer.status_code < 500 and answer.status_code not in (404, 405):
                    case.validate_response(answer, checks=[status_code_conformance])

            try:
                check()
            except Unsatisfiable:  # where nothing can be wrong, or only in a way that no client can send
                assert (mode.is_negative and operation.method.upper() == "GET") or operation.path == "/latency/binary"
    assert seen == {
        "/health",
        "/names",
        "/spaces/{name}",
        "/simulate",
        "/simulate/batch",
        "/latency",
        "/latency/binary",
    }


# the verb -----------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_verb_serves_and_says_where(tmp_path: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "roofline.cli", "serve", "--port", str(port), "--allow-host", "example.org"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as it:
        try:
            assert it.stdout is not None
            assert it.stdout.readline() == f"serving on http://127.0.0.1:{port} until interrupted\n"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/health")  # at once: what it says is so
            assert json.load(connection.getresponse())["status"] == "ok"
            for host, status in (("example.org", 200), ("example.com", 421), (f"localhost:{port}", 200)):
                connection.request("GET", "/health", headers={"Host": host})
                answered = connection.getresponse()
                assert (answered.status, len(answered.read()) > 0) == (status, True)
            connection.close()
            again = subprocess.run(words, capture_output=True, text=True, timeout=60)
            taken = f"error: cannot listen on http://127.0.0.1:{port}: address already in use\n"
            assert (again.returncode, again.stdout, again.stderr) == (2, "", taken)
        finally:
            it.terminate()


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "no.such.host.invalid"])
def test_an_address_of_somewhere_else(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", host, "--port", str(free_port())]) == 2
    out, err = capsys.readouterr()
    assert not out and err.splitlines()[-1].startswith("error: cannot listen on http://")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["warning", "error"]
