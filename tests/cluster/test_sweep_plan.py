"""Sweeps of plans: what a plan names, rows that stay whatever dies, and one bad network that is no dead sweep."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import ROOT

import roofline as rf
from roofline.cli import main
from roofline.cluster import run as running
from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan, load_plan, units_of
from roofline.cluster.run import run_plan
from roofline.cluster.store import open_store
from roofline.cluster.work import columns_of, rows
from roofline.errors import InputError, SpecError

PLAN = Plan(
    models=("resnet-18", "efficientnet-b[01]"),
    devices=("tpu-v3", "v100"),
    batch=(1, 4),
    fields={"hbm.bandwidth_bytes_per_s": (9e11, 18e11)},
)
NO_PARQUET = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="the extra 'dask' is not installed")
SUFFIXES = pytest.mark.parametrize("name", ["a.sqlite", pytest.param("a.parquet", marks=NO_PARQUET)])


def sweep(output: Path, plan: Plan = PLAN, **more: Any) -> pd.DataFrame:
    return run_plan(plan, output, **{"workers": 0, **more})


# plans --------------------------------------------------------------------------------


def test_patterns_files_and_sizes(tmp_path: Path) -> None:
    graph = tmp_path / "g.json"
    rf.op_graph("resnet-18").save(graph)
    plan = Plan(models=("vit-[st]*-16", "resnet-18", str(graph), "resnet-18"), devices=("v100",), image_size=(128, 224))
    found = units_of(plan)
    assert [u.key for u in found if u.image_size == 224] == [
        f"{kind}:{name}@224"
        for kind, name in (("model", "vit-ti-16"), ("model", "vit-s-16"), ("model", "resnet-18"), ("file", str(graph)))
        if name in rf.models() or kind == "file"
    ]
    assert len({u.key for u in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('models = ["resnet-18"]', "missing key 'devices'"),
        ('devices = ["v100"]', "names no networks"),
        ('models = ["resnet-1"]\ndevices = ["v100"]', "nothing fits 'resnet-1'; nearest: 'resnet-18'"),
        ('models = ["x*"]\ndevices = ["v100"]', "nothing fits 'x*'"),
        ('models = ["resnet-18"]\ndevices = ["v101"]', "unknown device 'v101'"),
        ('models = ["resnet-18"]\ndevices = ["v100"]\nbatches = [1]', "unknown key 'batches'; nearest: 'batch'"),
        ('models = ["resnet-18"]\ndevices = ["v100"]\nbatch = []', "at least 1 item"),
        ("models = [", "not valid TOML"),
    ],
)
def test_a_bad_plan_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    assert main(["sweep", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "a.sqlite"), "-w", "0"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "a.sqlite").exists()


# rows ---------------------------------------------------------------------------------


@SUFFIXES
def test_rows_are_those_of_simulate(tmp_path: Path, name: str) -> None:
    frame = sweep(tmp_path / name)
    assert list(frame.columns) == columns_of(PLAN) and len(frame) == 3 * 2 * 2 * 2
    one = frame[(frame["network"] == "resnet-18") & (frame["device"].str.startswith("v100")) & (frame["batch"] == 4)]
    one = one[one["hbm.bandwidth_bytes_per_s"] == 9e11]
    device = rf.device("v100").with_overrides({"hbm.bandwidth_bytes_per_s": 9e11})
    assert one["latency_ms"].item() == rf.simulate("resnet-18", device, batch=4).latency_ms
    assert frame["error"].isna().all()
    pd.testing.assert_frame_equal(frame, sweep(tmp_path / name), check_exact=True)  # nothing is computed again


def test_both_stores_and_any_executor_hold_the_same(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'dask' is not installed")
    with ThreadPoolExecutor(3) as threads:
        a, b = sweep(tmp_path / "a.sqlite"), sweep(tmp_path / "b.parquet", executor=threads, workers=3)
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    with sqlite3.connect(tmp_path / "a.sqlite") as db:
        assert db.execute("select count(*), count(distinct unit) from runs").fetchone() == (24, 3)
    db.close()
    assert len(pd.read_parquet(tmp_path / "b.parquet")) == 24


def test_what_cannot_run_is_a_row_that_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    plan = Plan(models=(str(broken), "resnet-18"), devices=("tpu-v3", "v100"), dtype=("bf16", "fp16"))
    frame = sweep(tmp_path / "a.sqlite", plan)
    bad = frame[frame["network"] == str(broken)]
    assert len(bad) == 4 and bad["error"].str.contains("not a saved graph").all() and bad["latency_ms"].isna().all()
    good = frame[frame["network"] == "resnet-18"].set_index(["base_device", "dtype"])
    assert set(good.index[good["error"].isna()]) == {("tpu-v3", "bf16"), ("v100", "fp16")}


def test_other_peoples_networks(tmp_path: Path) -> None:
    for library in ("timm", "transformers"):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    plan = Plan(timm=("resnet18",), transformers=("bert", "whisper"), devices=("v100",), batch=(1, 2))
    frame = sweep(tmp_path / "a.sqlite", plan)
    fine = frame[frame["error"].isna()]
    assert sorted(fine["network"]) == ["bert", "bert", "resnet18", "resnet18"]
    assert fine.groupby("network")["latency_ms"].apply(lambda x: x.is_monotonic_increasing).all()
    assert frame.loc[frame["network"] == "whisper", "error"].str.contains("main input").all()
    own = rf.simulate("resnet-18", "v100", batch=2)
    two = fine[(fine["network"] == "resnet18") & (fine["batch"] == 2)]
    assert two["params"].item() == own.params and two["macs_per_example"].item() == own.macs_per_example


def test_any_exception_of_a_network_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("their\nbug")

    monkeypatch.setattr("roofline.cluster.work.network_of", fails)
    found = rows(PLAN, Unit(kind="timm", name="x"))
    assert len(found) == 8 and {row["error"] for row in found} == {"ZeroDivisionError: their bug"}


# deaths -------------------------------------------------------------------------------


class Dying(Executor):
    """Loses its workers after some units."""

    def __init__(self, units: int) -> None:
        self.left = units

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        future: Future[Any] = Future()
        if self.left < 0:
            future.set_exception(ConnectionError("gone"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@SUFFIXES
@pytest.mark.parametrize("units", [0, 1, 2])
def test_lost_workers_lose_no_rows(tmp_path: Path, name: str, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="run it again"):
        sweep(tmp_path / name, executor=Dying(units))
    computed: list[str] = []

    def counted(plan: Plan, unit: Unit) -> Any:
        computed.append(unit.key)
        return rows(plan, unit)

    monkeypatch.setattr(running, "rows", counted)
    again = sweep(tmp_path / name)
    assert 3 - len(computed) in (0, 1, 2)  # what was in flight may be computed twice, what was kept is not
    monkeypatch.undo()
    pd.testing.assert_frame_equal(again, sweep(tmp_path / f"other-{name}"), check_exact=True)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_sweep_plan import PLAN, sweep
sweep(sys.argv[1], PLAN.model_copy(update={"models": ("efficientnet-*",)}))
"""


@SUFFIXES
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_it_ends_as_if_undisturbed(tmp_path: Path, name: str) -> None:
    times, path = random.Random(7), tmp_path / name
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(ROOT / "tests" / "helpers")])
        while not path.exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(times.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    plan = PLAN.model_copy(update={"models": ("efficientnet-*",)})
    pd.testing.assert_frame_equal(sweep(path, plan), sweep(tmp_path / f"other-{name}", plan), check_exact=True)


@SUFFIXES
def test_results_of_another_plan_are_refused(tmp_path: Path, name: str) -> None:
    sweep(tmp_path / name)
    with pytest.raises(InputError, match="results of another plan"):
        sweep(tmp_path / name, PLAN.model_copy(update={"batch": (8,)}))


@SUFFIXES
def test_one_sweep_at_a_time(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / name, PLAN)
    with pytest.raises(InputError, match="another sweep is writing"):
        sweep(tmp_path / name)
    store.close()
    assert len(sweep(tmp_path / name)) == 24


@SUFFIXES
def test_who_opened_the_lock_before_it_was_let_go_keeps_others_out(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / name, PLAN)
    second = sqlite3.connect(next(tmp_path.rglob("*lock")), isolation_level=None)
    store.close()
    second.execute("begin exclusive")
    with pytest.raises(InputError, match="another sweep is writing"):
        open_store(tmp_path / name, PLAN)
    second.close()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "x.sqlite").write_bytes(b"x" * 4096)
    for path, words in (
        (tmp_path / "file" / "a.sqlite", "cannot write results"),
        (tmp_path / "x.sqlite", "cannot write results"),
        (tmp_path / "a.csv", "allowed suffixes"),
    ):
        with pytest.raises(InputError, match=words):
            sweep(path)
    with pytest.raises(SpecError, match="cannot read"):
        load_plan(tmp_path / "missing.toml")


# Dask ---------------------------------------------------------------------------------


def test_the_verb_on_a_local_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    (tmp_path / "plan.toml").write_text('models = ["resnet-18", "resnet-34"]\ndevices = ["v100"]\nbatch = [1, 8]\n')
    words = ["sweep", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "a.sqlite"), "--workers", "2"]
    done = subprocess.run([sys.executable, "-m", "roofline.cli", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "4 runs of 2 networks" in done.stdout and not done.stderr
    plan = load_plan(tmp_path / "plan.toml")
    pd.testing.assert_frame_equal(sweep(tmp_path / "a.sqlite", plan), sweep(tmp_path / "b.sqlite", plan))


def test_a_scheduler_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    (tmp_path / "plan.toml").write_text('models = ["resnet-18"]\ndevices = ["v100"]\n')
    words = ["sweep", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "a.sqlite"), "--scheduler", "tcp://127.0.0.1:9"]
    done = subprocess.run([sys.executable, "-m", "roofline.cli", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "no Dask scheduler answers" in done.stderr and "Traceback" not in done.stderr


def test_steps_of_decoders_and_number_formats_are_axes(tmp_path: Path) -> None:
    lists = {"phase": ("decode",), "context": (512, "4k"), "format": ("bf16", "fp8-kv8")}
    plan = Plan(models=("llama-3.2-1b",), devices=("h100-sxm",), batch=(1, 4), runtime=("vllm",), **lists)
    frame = sweep(tmp_path / "a.sqlite", plan)
    assert frame["error"].isna().all() and len(frame) == 2 * 2 * 2
    assert set(frame["context"]) == {512.0, 4096.0} and set(frame["format"]) == {"bf16", "fp8-kv8"}
    one = frame[(frame["batch"] == 4) & (frame["context"] == 4096.0) & (frame["format"] == "fp8-kv8")]
    run = rf.simulate(
        "llama-3.2-1b", "h100-sxm", runtime="vllm", phase="decode", context=4096, batch=4, format="fp8-kv8"
    )
    assert one["latency_ms"].item() == run.latency_ms and one["phase"].item() == "decode"
    pd.testing.assert_frame_equal(frame, sweep(tmp_path / "a.sqlite", plan), check_exact=True)
