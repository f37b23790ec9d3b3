"""What a processor says of itself, and bad input of `roofline measure`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roofline.cli.app import main
from roofline.errors import InputError
from roofline.measure.choose import choose
from roofline.measure.facts import cpu_facts

# what a processor says of itself ------------------------------------------------------------------------------------


def test_facts_of_a_processor(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "vendor_id\t: Toy\nmodel name\t: Toy 9\ncpu MHz\t\t: 2000.0\nflags\t\t: fpu avx2 avx512f\n",
        "proc/meminfo": "MemTotal:       1000 kB\n",
    }
    for i, (level, kind, size, shared) in enumerate(
        [
            ("1", "Data", "48K", "0"),
            ("1", "Instruction", "32K", "0"),
            ("2", "Unified", "1024K", "0"),
            ("3", "Unified", "32768K", "0-3,8"),
        ]
    ):
        folder = f"sys/devices/system/cpu/cpu0/cache/index{i}"
        files |= {
            f"{folder}/level": level,
            f"{folder}/type": kind,
            f"{folder}/size": size,
            f"{folder}/shared_cpu_list": shared,
        }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = cpu_facts(2, "none", "torch", tmp_path)
    assert (found.name, found.lanes, found.clock_hz, found.memory_bytes) == ("Toy 9 (2 cores)", 16, 2e9, 1024e3)
    assert found.caches == [["L1", 49152.0, 1], ["L2", 1048576.0, 1], ["L3", 33554432.0, 5]]
    assert found.slug == "toy-9-2-cores"
    assert json.loads(json.dumps(found.caches)) == found.caches
    assert cpu_facts(1, "none", "torch", tmp_path / "nothing").lanes == 4  # a system without such files


# bad input on the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--backend", "tensorflow"], "no backend 'tensorflow'; allowed: 'jax', 'torch'"),
        (["measure", "--threads", "4096"], "threads must be 1 to"),
        (["measure", "--device-index", "7"], "no device 7"),
        (["measure", "--plan", "tiny"], "unknown size of the plan 'tiny'"),
        (["measure", "--dtype", "int3", "--threads", "1"], "does not compute in 'int3'; it does in 'fp64'"),
        (["measure", "--check", "--threads", "1"], "predicts nothing yet: run `roofline calibrate"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert main([*arguments, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]


def test_a_missing_framework_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name, module in (("torch", "torch"), ("jax", "roofline.measure.jax_backend")):
        monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
        with pytest.raises(InputError, match=rf"pip install 'roofline\[{name}\]'"):
            choose(name, 0)
