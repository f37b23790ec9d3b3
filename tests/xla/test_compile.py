"""Asking the compiler: which chips it is asked about, what is kept, and every way in which it is not there."""

from __future__ import annotations

import gzip
import json
import subprocess
import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from xla_wheel import needs_wheel

import roofline as rf
from roofline.errors import InputError
from roofline.xla.compile import Compiled, compiled, place, shortened
from roofline.xla.programs import Exported, exported, versions, wanted_by_jax
from roofline.xla.targets import TOPOLOGIES, Target, target_of

V5E = Target(topology="v5e:1x1", programs=1, clock_hz=1.5e9)
PROGRAM = Exported(content=b"not a program", key="0" * 64)


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let packages seem to be there in these versions."""
    found = {"jax": "0.10.2", "libtpu": "0.0.42.1", "flatbuffers": "25.12.19"}

    def version(package: str) -> str:
        if package not in found:
            raise metadata.PackageNotFoundError(package)
        return found[package]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda package: ['libtpu==0.0.42.*; extra == "tpu"'])
    return found


def test_every_topology_is_a_shipped_tpu() -> None:
    for name in TOPOLOGIES:
        found = target_of(rf.device(name))
        assert found.clock_hz > 5e8 and found.programs in (1, 2)


def test_devices_that_are_no_target() -> None:
    with pytest.raises(InputError, match="'v100' is a GPU: XLA's ahead-of-time compiler knows TPUs only"):
        target_of(rf.device("v100"))
    own = replace(rf.device("tpu-v5e"), name="my-tpu")
    with pytest.raises(InputError, match="no topology is known for 'my-tpu'"):
        target_of(own)
    assert target_of(own, "v5e:1x1") == V5E
    with pytest.raises(InputError, match="'my-tpu' states no clock"):
        target_of(replace(own, clock_hz=None))


def test_the_cores_of_a_chip_share_its_batch_as_the_device_says() -> None:
    for name, (_, count) in TOPOLOGIES.items():
        if name != "tpu-v4":  # one program of both cores there, which a topology to compile for does not offer
            assert count == rf.device(name).cores, name


@pytest.mark.parametrize("missing", ["jax", "libtpu", "flatbuffers"])
def test_what_is_missing_is_named_with_what_to_install(wheels: dict[str, str], missing: str) -> None:
    del wheels[missing]
    with pytest.raises(InputError, match=rf"witness needs {missing}, .*: pip install 'roofline\[witness\]'"):
        versions()


def test_a_wheel_of_another_version_than_jax_wants(wheels: dict[str, str]) -> None:
    assert versions() == {"jax": "0.10.2", "libtpu": "0.0.42.1"}
    wheels["libtpu"] = "0.0.30"
    with pytest.raises(
        InputError, match=r"libtpu 0.0.30 does not fit jax 0.10.2, which asks for 0.0.42.\*: pip install"
    ):
        versions()


def test_what_jax_asks_for() -> None:
    assert wanted_by_jax(["numpy", "libtpu==0.0.12; extra == 'tpu'"]) == "0.0.12"
    assert wanted_by_jax(["libtpu-nightly==1.0"]) == ""


def answering(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None, stderr: str = "") -> list[list[str]]:
    """Let the worker answer so, or die; return the commands that were given."""
    asked: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append(command)
        if told is not None:
            Path(command[-1]).write_text(json.dumps(told), encoding="utf-8")
        return type("Ended", (), {"returncode": 0 if told else -6, "stderr": stderr})

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_results_are_kept_and_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: dict[str, str]) -> None:
    asked = answering(monkeypatch, {"text": "HLO", "memory": {"temp_size_in_bytes": 3}})
    first = compiled(PROGRAM, V5E, tmp_path / "cache")
    again = compiled(PROGRAM, V5E, tmp_path / "cache")
    assert (first.text, first.memory, first.known) == ("HLO", {"temp_size_in_bytes": 3}, False)
    assert again == replace(first, known=True) and len(asked) == 1
    assert asked[0][-2] == "v5e:1x1"
    compiled(PROGRAM, replace(V5E, topology="v6e:1x1"), tmp_path / "cache")
    compiled(replace(PROGRAM, key="1" * 64), V5E, tmp_path / "cache")
    wheels["libtpu"] = "0.0.42.7"
    compiled(PROGRAM, V5E, tmp_path / "cache")
    assert len(asked) == 4 and len(list((tmp_path / "cache").iterdir())) == 4


def test_a_damaged_file_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: dict[str, str]) -> None:
    asked = answering(monkeypatch, {"text": "HLO", "memory": {}})
    path = place(PROGRAM, V5E, tmp_path)
    assert path is not None
    for content in (b"", b"\x1f\x8bcut off", gzip.compress(b"[]"), gzip.compress(b'{"format": 0}')):
        path.write_bytes(content)
        assert compiled(PROGRAM, V5E, tmp_path).text == "HLO"
        assert compiled(PROGRAM, V5E, tmp_path).known
    assert len(asked) == 4


@pytest.mark.usefixtures("wheels")
def test_refusals_are_one_line_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answering(
        monkeypatch, {"stage": "topology", "refused": "Error: INVALID_ARGUMENT: Invalid TPU external name: TPU v77"}
    )
    with pytest.raises(
        InputError, match="the compiler refuses topology 'v77:1x1': Error: INVALID_ARGUMENT: Invalid TPU"
    ):
        compiled(PROGRAM, replace(V5E, topology="v77:1x1"), tmp_path)
    answering(
        monkeypatch, {"stage": "program", "refused": "Error: RESOURCE_EXHAUSTED:\n\n  18G of 16G hbm " + "x" * 900}
    )
    with pytest.raises(
        InputError, match=r"the compiler refuses the program for 'v5e:1x1': .*: 18G of 16G hbm x"
    ) as raised:
        compiled(PROGRAM, V5E, tmp_path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    answering(monkeypatch, None, "warning\nF0000 fatal: no such thing\n")
    with pytest.raises(InputError, match="the compiler ended with status -6: F0000 fatal: no such thing"):
        compiled(PROGRAM, V5E, tmp_path)
    assert list(tmp_path.iterdir()) == []  # what was refused is asked again


@pytest.mark.usefixtures("wheels")
def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot use cache folder"):
        compiled(PROGRAM, V5E, tmp_path / "file")


def test_reasons_are_shortened() -> None:
    assert shortened("a\n  b") == "a b"
    assert shortened("c" * 1000).endswith("c ...") and len(shortened("c" * 1000)) < 320


@needs_wheel
def test_a_program_is_compiled_for_a_chip_that_is_not_there() -> None:
    jax = pytest.importorskip("jax")
    spec = jax.ShapeDtypeStruct((256, 512), "bfloat16"), jax.ShapeDtypeStruct((512, 128), "bfloat16")
    made = exported(lambda x, w: jax.nn.relu(x @ w), spec)
    found: Compiled = compiled(made, V5E)
    assert "ENTRY" in found.text and found.memory["output_size_in_bytes"] >= 256 * 128 * 2
    with pytest.raises(InputError, match="refuses topology 'v77:1x1'"):
        compiled(made, replace(V5E, topology="v77:1x1"))


@needs_wheel
def test_the_key_is_that_of_the_program_not_of_where_it_is_written() -> None:
    jax = pytest.importorskip("jax")
    spec = (jax.ShapeDtypeStruct((8, 8), "float32"),)

    def scoped(name: str) -> Any:
        def f(x: Any) -> Any:
            with jax.named_scope(name):
                return x * 2 + 1

        return f

    here = exported(scoped("a"), spec)

    def f(x: Any) -> Any:
        with jax.named_scope("a"):
            y = x * 2
            return y + 1

    assert exported(f, spec).key == here.key
    assert exported(scoped("b"), spec).key != here.key  # kernels could not be told by the old names
    assert exported(lambda x: x * 3 + 1, spec).key != here.key


@needs_wheel
def test_the_key_is_that_of_the_program_whoever_asks() -> None:
    jax = pytest.importorskip("jax")
    spec = (jax.ShapeDtypeStruct((1, 8, 8, 4), "bfloat16"),)

    def pool(x: Any) -> Any:
        window = (1, 3, 3, 1)
        return jax.lax.reduce_window(jax.nn.relu(x), -float("inf"), jax.lax.max, window, (1, 2, 2, 1), "SAME")

    def again(depth: int) -> str:
        return again(depth - 1) if depth else exported(lambda x: pool(x), spec).key

    assert exported(pool, spec).key != exported(lambda x: jax.nn.relu(pool(x)), spec).key
    assert len({again(depth) for depth in (0, 1, 7)}) == 1


@needs_wheel
def test_a_program_that_does_not_trace() -> None:
    jax = pytest.importorskip("jax")
    with pytest.raises(InputError, match="the program cannot be exported: TypeError: "):
        exported(lambda x: x @ x, [jax.ShapeDtypeStruct((8, 4), "float32")])


def test_the_extra_installs_what_its_jax_asks_for(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(line.split("==") for line in project["optional-dependencies"]["witness"] if "==" in line)
    assert pinned["jax"] == pinned["jaxlib"]
    if metadata.version("jax") != pinned["jax"]:
        pytest.skip("another jax is installed than the extra's")
    assert pinned["libtpu"].startswith(wanted_by_jax(metadata.requires("jax") or ()))
