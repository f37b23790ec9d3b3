"""Plugins: what lies outside the package works as what ships, in every verb and worker, or not, in one line."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from pages import blocks
from places import ROOT

from roofline.cli.app import VERBS, app
from roofline.cluster import executors
from roofline.errors import InputError

EXAMPLE = ROOT / "tests" / "helpers" / "example_plugin"
NAMES = ("ROOFLINE_PLUGINS", "PYTHONPATH")


def environment(*folders: Path, plugins: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    kept["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *folders)))
    return kept | ({"ROOFLINE_PLUGINS": plugins} if plugins else {})


def python(code: str, *folders: Path, plugins: str = "", cwd: Path | None = None) -> str:
    words, env = [sys.executable, "-c", code], environment(*folders, plugins=plugins)
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def roofline(*words: str, folders: tuple[Path, ...] = (EXAMPLE.parent,), plugins: str = "") -> tuple[int, str, str]:
    env = environment(*folders, plugins=plugins)
    done = subprocess.run([sys.executable, "-m", "roofline", *words], capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr


# every kind of thing ---------------------------------------------------------------------


WORKS = """
import numpy as np
import roofline as rf
assert rf.load_plugins("example_plugin") == ("example_plugin",) == rf.load_plugins("example_plugin")
assert {"walsh-s"} < set(rf.models()) and {"acme-1"} < set(rf.devices()) and {"acme"} < set(rf.runtimes())
report = rf.simulate("walsh-s", "ACME one", batch=4)
assert (report.device, report.runtime) == ("acme-1", "acme")
# taps x inputs x outputs x positions: stem, s0.0, s0.1, s1, head's convolution and classes
macs = 9*3*32*32**2 + 9*32*64*16**2 + 9*64*64*16**2 + 9*64*128*8**2 + 128*256*8**2 + 256*10
assert report.macs_per_example == macs, (report.macs_per_example, macs)
oracle = rf.Oracle(rf.search_space("walsh"), ["acme-1", "v100"], batch=4)
genomes = oracle.space.sample(20, seed=0)
wanted = [[rf.simulate(oracle.space.decode(g), d, batch=4).latency_s for d in oracle.devices] for g in genomes]
np.testing.assert_allclose(oracle.latency_s(genomes), wanted, rtol=1e-9)
from roofline.search.accuracy.scores import Score
objective = rf.Objective(oracle=oracle, accuracy=Score("params", oracle), reward="halvings")
found = objective.evaluate(genomes)
np.testing.assert_allclose(found.fitness, found.accuracy - 2 * np.log2(found.latency_s).mean(axis=1))
from roofline.report.provenance import provenance
graph = rf.op_graph("walsh-s")
graph.save("g.json")
assert rf.simulate(rf.load_graph("g.json"), "acme-1").latency_s == rf.simulate(graph, "acme-1").latency_s
assert any(row[:2] == ("plugin", "example_plugin") for row in provenance(report)["Versions"])
"""


def test_everything_that_a_plugin_adds_works(tmp_path: Path) -> None:
    python(WORKS, EXAMPLE.parent, cwd=tmp_path)


def test_the_page_shows_the_plugin() -> None:
    page = ROOT / "docs" / "plugins.md"
    assert (EXAMPLE / "__init__.py").read_text(encoding="utf-8") in blocks(page, "py")
    assert [(EXAMPLE / f).read_text(encoding="utf-8") for f in ("models/walsh.toml", "spaces/walsh.toml")] == blocks(
        page, "toml"
    )[:2]


# three ways to name one --------------------------------------------------------------------


def test_every_verb_takes_plugins() -> None:
    taking = {
        c.name for c in app.registered_commands if c.callback and "plugin" in inspect.signature(c.callback).parameters
    }
    assert taking == {verb.__name__.rpartition(".")[2] for verb in VERBS}


@pytest.mark.parametrize("way", ["option", "before the verb", "variable", "entry point"])
def test_a_plugin_may_be_named_in_several_ways(way: str, tmp_path: Path) -> None:
    words, folders, variable = ["devices", "--format", "csv"], [EXAMPLE.parent], ""
    if way == "option":
        words += ["--plugin", "example_plugin"]
    elif way == "before the verb":
        words = ["--plugin", "example_plugin", *words]
    elif way == "variable":
        variable = "example_plugin"
    else:
        (info := tmp_path / "acme-1.0.dist-info").mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[roofline.plugins]\nacme = example_plugin\n")
        folders.append(tmp_path)
    status, out, err = roofline(*words, folders=tuple(folders), plugins=variable)
    assert status == 0, err
    assert "acme-1" in out


# workers --------------------------------------------------------------------------------------


WORKERS = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
import roofline as rf
from roofline.cluster.plan import Plan
from roofline.search.accuracy.scores import Score

if __name__ == "__main__":
    rf.load_plugins("example_plugin")
    os.environ.pop("ROOFLINE_PLUGINS")  # as in a process on another machine: the task itself must bring them
    plan = Plan(models=("walsh-s", "resnet-18"), devices=("acme-1",))
    oracle = rf.Oracle("walsh", "acme-1")
    objective = rf.Objective(oracle=oracle, accuracy=Score("params", oracle), reward="halvings")
    options = {"islands": 2, "evaluations": 400, "epoch": 100, "population": 32, "batch": 8, "baselines": False}
    alone = rf.run_plan(plan, "a.sqlite", workers=0)
    best = rf.evolve_islands(oracle.space, objective, workers=0, **options).best
    assert alone["error"].isna().all()
    if sys.argv[1] == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            apart = rf.run_plan(plan, "b.sqlite", executor=executor)
            other = rf.evolve_islands(oracle.space, objective, executor=executor, **options).best
    else:
        apart = rf.run_plan(plan, "b.sqlite", workers=1)
        other = rf.evolve_islands(oracle.space, objective, workers=1, **options).best
    assert apart.equals(alone)
    np.testing.assert_array_equal(best.genomes, other.genomes)
"""


@pytest.mark.parametrize("where", ["processes", "dask"])
def test_workers_of_sweeps_and_islands_have_the_plugins(where: str, tmp_path: Path) -> None:
    if where == "dask":
        pytest.importorskip("distributed")
    (tmp_path / "script.py").write_text(WORKERS)
    words, env = [sys.executable, "script.py", where], environment(EXAMPLE.parent)
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_worker_without_the_plugin_says_so() -> None:
    """As what another machine makes of the task's pickle."""
    task = executors._unpacked(("nothing_here",), b"")
    with pytest.raises(InputError, match="a worker cannot take the task: plugin 'nothing_here' cannot be imported"):
        executors._run(pickle.loads(pickle.dumps(task)))


def test_the_service_has_the_plugins() -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "roofline", "serve", "--port", str(port), "--plugin", "example_plugin"]
    env = environment(EXAMPLE.parent)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            assert "serving" in process.stdout.readline()
            body = json.dumps({"model": "walsh-s", "device": "acme-1"}).encode()
            address = f"http://127.0.0.1:{port}/simulate"
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["device"] == "acme-1"
        finally:
            process.terminate()
            process.communicate(timeout=60)


# caches ----------------------------------------------------------------------------------------


HASHES = """
import json
from pathlib import Path
import roofline as rf
from roofline.cluster.identity import identities
from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan
from roofline.fingerprint import code_hash
rf.load_plugins("example_plugin")
oracle = rf.Oracle("walsh", "v100")
stale = None
if Path("t.npz").exists():
    try:
        oracle.load("t.npz")
    except rf.RooflineError as error:
        stale = str(error)
else:
    oracle.save("t.npz")
unit = Unit(kind="model", name="resnet-18")
swept = identities(Plan(models=("resnet-18",), devices=("v100",)), [unit])[unit.key]
print(json.dumps([code_hash("roofline.cost.memory"), swept, stale]))
"""


@pytest.mark.parametrize("file", ["__init__.py", "helping.py", "runtimes/acme.toml"])
def test_caches_depend_on_the_code_and_the_data_of_plugins(file: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "example_plugin" / "helping.py").write_text("")

    def hashes() -> list[str | None]:
        found: list[str | None] = json.loads(python(HASHES, tmp_path, cwd=tmp_path))
        return found

    first = hashes()
    assert first == hashes() and first[2] is None
    changed = tmp_path / "example_plugin" / file
    changed.write_text(changed.read_text() + "\n# changed\n")
    after = hashes()
    assert all(one != other for one, other in zip(first, after, strict=True))
    assert "is stale" in str(after[2])


# mistakes ----------------------------------------------------------------------------------------


STAGE = """
from roofline.arch.block import Stage, stage
@stage({name!r})
class Again(Stage):
    pass
"""
OP = """
from dataclasses import dataclass
from roofline.graph.op import Op
@dataclass(frozen=True, kw_only=True, eq=False)
class Again(Op):
    kind = {name!r}
    def infer(self, *shapes):
        return shapes
"""
RULE = (
    "from roofline.graph.ops import Conv\nfrom roofline.work.registry import rule\nrule(Conv)(lambda op, x, y: None)\n"
)
REWARD = "from roofline.search.evolution.rewards import reward\nreward('mnasnet')(lambda *given: None)\n"
DATA = "from pathlib import Path\nfrom roofline.paths import add_data\nadd_data(Path(__file__).parent / {name!r})\n"


MISTAKES = [
    ("import no_such_module\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
    ("def f(:\n", "cannot be imported: SyntaxError"),
    ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    (STAGE.format(name="mbconv"), "block kind 'mbconv' is registered twice"),
    (STAGE.format(name="walsh_mixer"), "block kind 'walsh_mixer' is registered twice"),
    (OP.format(name="elementwise"), "op 'Again' has the kind 'elementwise' of 'Elementwise'"),
    (OP.format(name="walsh"), "op 'Again' has the kind 'walsh' of 'Walsh'"),
    (RULE, "op 'Conv' has two work rules"),
    (REWARD, "objective 'mnasnet' is registered twice"),
    (DATA.format(name="device"), "device 'my_chip' is there already"),
    (DATA.format(name="alias"), "device 'TPU v3' is there already"),
    (DATA.format(name="runtime"), "runtime 'xla_tpu' is there already"),
    (DATA.format(name="model"), "model 'resnet-50' is there already"),
    (DATA.format(name="stray"), "the name of variant 'resnet-5000' must begin with 'mine', the file's"),
    (DATA.format(name="space"), "search space 'vit' is there already"),
    (
        DATA.format(name="nothing"),
        "has none of the folders 'hardware_specs', 'runtimes', 'libraries', 'formats', 'models'",
    ),
    (DATA.format(name="broken"), "not valid TOML"),
]
FILES = {
    "device/hardware_specs/my-chip.toml": "", "device/hardware_specs/my_chip.toml": "",
    "alias/hardware_specs/mine.toml": "aliases = ['TPU v3']", "runtime/runtimes/xla_tpu.toml": "",
    "model/models/resnet-5.toml": "[variants.resnet-50]", "stray/models/mine.toml": "[variants.resnet-5000]",
    "space/spaces/vit.toml": "", "nothing/x.toml": "", "broken/hardware_specs/mine.toml": "a = = 1",
}  # fmt: skip
#: every plugin in a process of its own, which is a copy of one that has imported the package: that takes seconds
EACH = """
import os, sys
import roofline.arch.blocks, roofline.graph.serial, roofline.search.evolution.rewards, roofline.work
from roofline.cli import main
for i in range(int(sys.argv[1])):
    print(f"## {i}", file=sys.stderr, flush=True)
    if not (child := os.fork()):
        os._exit(main(["devices", "--plugin", "example_plugin", "--plugin", f"mine{i}"]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("mistakes")
    for name, content in (FILES | {f"mine{i}.py": text for i, (text, _) in enumerate(MISTAKES)}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    words, env = [sys.executable, "-c", EACH, str(len(MISTAKES))], environment(EXAMPLE.parent, folder)
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.split("## ")[1:]


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[message for _, message in MISTAKES])
def test_mistakes_end_in_one_line(said: list[str], number: int) -> None:
    _, err = said[number].rstrip("\n").split("\n", 1)
    assert err.startswith(f"error: plugin 'mine{number}'") and MISTAKES[number][1] in err
    assert len(err.splitlines()) == 1


def test_a_plugin_that_is_not_there_is_named_with_who_asks_for_it(tmp_path: Path) -> None:
    assert roofline("devices", "--plugin", "nothing_here")[2].startswith(
        "error: plugin 'nothing_here' cannot be imported"
    )
    assert "error: plugin 'nothing_here' of ROOFLINE_PLUGINS cannot" in roofline("devices", plugins="nothing_here")[2]
    (info := tmp_path / "acme-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[roofline.plugins]\nmine = nothing_here\n")
    status, _, err = roofline("devices", folders=(tmp_path,))
    assert status == 2 and "plugin 'nothing_here', entry point 'mine' of 'acme', cannot be imported" in err
    assert roofline("--help", plugins="nothing_here")[0] == 0


def test_one_that_fails_in_a_program_fails_again() -> None:
    """A name is not looked up as if nothing had been asked for."""
    tried = "try: rf.device('v100')\nexcept rf.RooflineError as e: print(e)\n"
    code = f"import roofline as rf\n{tried}{tried}"
    assert python(code, plugins="nothing_here").count("plugin 'nothing_here'") == 2
