"""Measuring: plans, samples, folders, and what happens when a run is interrupted, disturbed or out of memory."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import InputError, UnknownNameError
from roofline.graph.builder import GraphBuilder
from roofline.measure.backend import Program, State
from roofline.measure.facts import Facts
from roofline.measure.plan import Case, plan
from roofline.measure.run import measure
from roofline.measure.store import NETWORKS, OPS, Folder, read_facts
from roofline.measure.timing import FEWEST, Sample, repeat, summary
from roofline.measure.watch import EVERY_S

FACTS = Facts(name="toy", kind="cpu", backend="torch", vendor="toy", software="none")


class Clock:
    """A clock that only moves when somebody works or waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class Toy:
    """A device whose every run takes a millisecond for each unit of the largest size, as long as it fits."""

    clock, layout = "wall", "nchw"

    def __init__(self, clock: Clock, *, fits: int = 10**9, facts: Facts = FACTS) -> None:
        self.wall, self.fits, self.facts = clock, fits, facts
        self.slowness, self.built, self.released = 1.0, list[str](), 0
        self.before: Callable[[Case], None] = lambda case: None

    def runtime(self, compiled: bool) -> str:
        return "pytorch_compile_cpu" if compiled else "pytorch_eager_cpu"

    def builds(self, case: Case) -> bool:
        return case.build != "foreign"

    def check_dtype(self, dtype: str) -> None:
        if dtype != "fp32":
            raise InputError(f"toy does not compute in {dtype!r}; it does in 'fp32'")

    def program(self, case: Case) -> Program:
        self.before(case)
        if max(case.sizes) * case.batch > self.fits:
            raise MemoryError("full")
        self.built.append(case.name)

        def run() -> Sample:
            seconds = 1e-3 * self.slowness * max(case.sizes)
            self.wall.wait(seconds)
            return Sample(time_s=seconds)

        b = GraphBuilder(case.name)
        graph = b.graph([b.relu(b.input("x", (case.batch, *case.sizes)))])
        return Program(run=run, graph=lambda: graph)

    def state(self) -> State:
        return State(clock_mhz=1500.0)

    def out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def release(self) -> None:
        self.released += 1


def op(*sizes: int, build: str = "relu") -> Case:
    return Case(build=build, sizes=sizes, family=build)


def run(toy: Toy, folder: Path, *cases: Case) -> Any:
    return measure(toy, folder, cases, clock=toy.wall, pause=toy.wall.wait)


def rows(folder: Path, file: str = OPS) -> list[dict[str, str]]:
    with (folder / file).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


# plans ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cpu", "gpu", "tpu"])
def test_a_plan_names_each_case_once_and_a_small_one_is_shorter(kind: str) -> None:
    full = plan(kind, dtypes=("fp32", "fp16"), compiled=True)
    assert len({(c.name, c.compiled) for c in full}) == len(full)
    assert len(plan(kind, size="small")) < len(plan(kind)) < len(full)
    assert {c.network for c in full} == {True, False}
    assert all(c.network for c in full if c.compiled)  # an op is the same with and without a compiler


def test_a_plan_of_nothing_known_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown size of the plan 'tiny'"):
        plan("cpu", size="tiny")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no plan for a device of kind 'abacus'; allowed: 'cpu', 'gpu', 'tpu'"):
        plan("abacus")


def test_every_case_has_a_builder() -> None:
    pytest.importorskip("torch")
    from roofline.measure.torch_networks import BUILDERS
    from roofline.measure.torch_ops import OPS as BUILT

    for case in plan("gpu"):
        assert case.build in (BUILDERS if case.network else BUILT), case.name


# samples -------------------------------------------------------------------------------------------------------------


def test_disturbed_samples_do_not_count_unless_most_are() -> None:
    quiet = [Sample(time_s=t) for t in (1.0, 1.01, 1.02, 0.99, 1.0)]
    stolen = [Sample(time_s=2.0, stolen=0.5)] * 2
    found = summary([*quiet, *stolen])
    assert found.time_s == 1.0 and not found.busy and found.outliers == 2
    noisy = [Sample(time_s=t, stolen=0.5) for t in (1.0, 1.2, 1.4, 1.6, 1.8)]
    found = summary(noisy)
    assert found.busy and found.time_s == pytest.approx(1.2)  # the lower quartile of five is the second
    with pytest.raises(InputError, match="no samples"):
        summary([])


def test_samples_that_spread_are_repeated_for_longer() -> None:
    def samples(times_s: list[float]) -> int:
        clock, given = Clock(), iter(times_s * 100)

        def one() -> Sample:
            clock.wait(1.0)
            return Sample(time_s=next(given))

        return repeat(one, allowed_s=10.0, clock=clock).samples

    assert samples([1.0]) == 10
    assert samples([1.0, 1.5, 2.0]) == 20


def test_a_long_run_is_repeated_a_few_times_only() -> None:
    clock = Clock()

    def minute() -> Sample:
        clock.wait(60.0)
        return Sample(time_s=60.0)

    assert repeat(minute, allowed_s=1.0, clock=clock).samples == FEWEST


# runs ----------------------------------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    cases = [op(1), op(2), op(3), replace(op(4), network=True)]
    toy = Toy(Clock())

    def interrupt(case: Case) -> None:
        if case.sizes == (3,):
            raise KeyboardInterrupt

    toy.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(toy, tmp_path, *cases)
    with (tmp_path / OPS).open("a", encoding="utf-8") as text:
        text.write("relu 3 fp32,re")  # ended in the middle of a line
    again = Toy(Clock())
    outcome = run(again, tmp_path, *cases)
    assert (outcome.known, outcome.measured) == (2, 2)
    assert again.built[1:] == ["relu 3 fp32", "relu 4 b1 fp32"]  # after the product that the device is watched by
    assert [row["case"] for row in rows(tmp_path)] == ["relu 1 fp32", "relu 2 fp32", "relu 3 fp32"]
    assert [float(row["latency_us"]) for row in rows(tmp_path)] == [1000.0, 2000.0, 3000.0]
    assert rows(tmp_path, NETWORKS)[0]["whole"] == "1" and read_facts(tmp_path) == FACTS
    assert all((tmp_path / row["graph"]).is_file() for row in rows(tmp_path))


def test_what_does_not_fit_is_made_smaller_and_said(tmp_path: Path) -> None:
    toy = Toy(Clock(), fits=1000)
    outcome = run(toy, tmp_path, op(4000), replace(op(600), network=True, batch=4), op(10**6))
    assert rows(tmp_path)[0]["case"] == "relu 1000 fp32"
    assert rows(tmp_path)[0]["note"] == "out of memory at relu 4000 fp32"
    assert rows(tmp_path, NETWORKS)[0]["batch"] == "1"
    assert outcome.failed == {"relu 1000000 fp32": "out of memory at every size that was tried"}
    assert run(toy, tmp_path, op(4000)).measured == 0  # what it was cut down to is there


def test_a_case_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    toy = Toy(Clock())

    def fail(case: Case) -> None:
        if case.build == "bad":
            raise RuntimeError("no kernel\nfor this")

    toy.before = fail
    outcome = run(toy, tmp_path, op(1, build="bad"), op(2), op(3, build="foreign"))
    assert outcome.failed == {"bad 1 fp32": "RuntimeError: no kernel for this"}
    assert outcome.measured == 1 and toy.released >= 2


def test_a_device_that_gets_slower_is_noticed(tmp_path: Path) -> None:
    clock = Clock()
    toy = Toy(clock)

    def heat(case: Case) -> None:
        if case.sizes == (2,):
            toy.slowness = 1.5
            clock.wait(EVERY_S)

    toy.before = heat
    outcome = run(toy, tmp_path, op(1), op(2), op(3))
    notes = [row["note"] for row in rows(tmp_path)]
    assert notes == ["", "", "slow device: 1.50 of the best time of a product"]
    assert outcome.slow == 1
    assert rows(tmp_path)[2]["clock_mhz"] == "1500.0"


def test_a_format_that_the_device_lacks_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not compute in 'fp8'; it does in 'fp32'"):
        run(Toy(Clock()), tmp_path / "new", replace(op(1), dtype="fp8"))
    assert not (tmp_path / "new").exists()


def test_a_folder_keeps_to_one_device(tmp_path: Path) -> None:
    run(Toy(Clock()), tmp_path, op(1))
    other = Toy(Clock(), facts=replace(FACTS, name="another"))
    with pytest.raises(InputError, match=r"holds measurements with name 'toy' \(now 'another'\)"):
        run(other, tmp_path, op(1))
    (tmp_path / OPS).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="is no file of measurements of this version"):
        run(Toy(Clock()), tmp_path, op(1))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write the folder"):
        Folder(tmp_path / "file")
    with pytest.raises(InputError, match=r"is no folder of measurements: it has no facts\.json"):
        read_facts(tmp_path)
    (tmp_path / "facts.json").write_text('{"colour": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_facts(tmp_path)
