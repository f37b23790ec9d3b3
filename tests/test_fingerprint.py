"""Caches refuse what other code wrote: the code is found by following imports, and the outcome is looked at here."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from places import ROOT

from roofline.fingerprint import _data, _imported, closure, code_hash, code_of, versions
from roofline.paths import FOLDERS
from roofline.search.evolution.aging import Aging

PACKAGE = ROOT / "roofline"
#: changes one file after the other and prints, as JSON, what each cache then asks for
KEYS = """
import json, sys
from pathlib import Path
from roofline import fingerprint
from roofline.calibration.measured.graphs import GraphSource, _Files
from roofline.cli.graph_cache import _content_key
from roofline.cli.programs import Source
from roofline.cluster.identity import identities
from roofline.cluster.networks import Unit
from roofline.cluster.plan import Plan
from roofline.measure.timm_graphs import TimmNetwork, trace
from roofline.search.oracle.latency import Oracle

def kept(module):
    source = GraphSource(Path(module))
    before = set(source.folder.iterdir())
    files = _Files("txt", lambda made, path: path.write_text("1"), lambda path: 1)
    source._kept((TimmNetwork(name="n", image_size=8),), module, files, lambda: 1)
    return len(before) == len(list(source.folder.iterdir()))

def keys():
    for cached in vars(fingerprint).values():
        getattr(cached, "cache_clear", lambda: None)()
    return {
        "tables": Oracle("accel-nasbench", "tpu-v3").hash["version"],
        "timm graphs": kept(trace.__module__), "timm kernels": kept(GraphSource.__module__),
        **{kind: _content_key(programs, kind) for kind in ("onnx", "torch", "jax")},
        "sweep": identities(Plan(models=("resnet-18",), devices=("tpu-v3",)), [unit])[unit.key],
    }

Path("x.onnx").write_bytes(b"")
unit = Unit(kind="model", name="resnet-18")
programs = Source(onnx=Path("x.onnx"), torch="json:f", jax="json:f")
keys()
found = {"": keys()}
for name in sys.argv[1:]:
    file = Path(fingerprint.__file__).parent / name
    text = file.read_text()
    file.write_text(text + "\\nCHANGED = 1\\n")
    found[name] = keys()
    file.write_text(text)
print(json.dumps(found))
"""
FRONT_ENDS = {"onnx", "torch", "jax"}
TRACED, KERNELS = {"timm graphs", "timm kernels", "torch", "sweep"}, {"tables", "timm kernels", "sweep"}
EVERY = {*TRACED, *KERNELS, *FRONT_ENDS}
REFUSING = {
    "numeric.py": EVERY,
    "graph/resampling.py": EVERY,
    "cost/memory.py": KERNELS,  # a reader of measurements asks which batches fit
    "work/rules_gradients.py": KERNELS,  # a registry filled by its package
    "arch/blocks/swin.py": KERNELS,  # one that loads its folder
    "frontends/torch/rules/resample.py": TRACED | {"tables"},  # spaces over one's own modules
    "frontends/onnx/rules/recurrent.py": {"onnx", "sweep", "tables"},
    "frontends/jax/rules/control.py": {"jax", "tables"},
    "report/intervals.toml": {"sweep", "timm kernels"},  # data
    "plot/bars.py": {"sweep", "timm kernels"},  # reports can draw themselves
    "search/evolution/pareto.py": set(),
    "serve/app.py": set(),
}


def run(code: str, root: Path, folder: Path, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for folder in ("roofline", *FOLDERS):
        shutil.copytree(ROOT / folder, root / folder)
    return root


@pytest.fixture(scope="module")
def keys(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(run(KEYS, copied, tmp_path_factory.mktemp("keys"), *REFUSING))
    assert found[""].keys() == EVERY
    return found


@pytest.mark.parametrize("file", REFUSING)
def test_caches_refuse_when_a_leaf_changes(keys: dict[str, dict[str, object]], file: str) -> None:
    assert {name for name in EVERY if keys[file][name] != keys[""][name]} == REFUSING[file]


def test_saved_tables_are_refused_in_one_line_when_a_constant_changes(copied: Path, tmp_path: Path) -> None:
    path = copied / "roofline" / "cost" / "matrix.py"
    text = path.read_text()
    load = "rf.Oracle('accel-nasbench', 'v100').load('t.npz')"
    run(f"import roofline as rf; rf.Oracle('accel-nasbench', 'v100').save('t.npz'); {load}", copied, tmp_path)
    changed, count = re.subn(r"(?m)^([A-Z_]+ = )(\d+)$", r"\g<1>1\2", text, count=1)
    assert count
    path.write_text(changed)
    with pytest.raises(AssertionError, match=r"t\.npz is stale: it was built for another version; build it again"):
        run(f"import roofline as rf; {load}", copied, tmp_path)
    path.write_text(text)


TORCH = """
import torch, roofline as rf
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten())
rf.from_torch(net, (2, 3, 8, 8))
"""
JAX = "import jax.numpy as jnp, roofline as rf; rf.from_jax(lambda x: jnp.tanh(x @ x.T).sum(), jnp.ones((2, 3)))"
ONNX = """
import onnx, roofline as rf
from onnx import helper as h
x, y = (h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 3]) for n in "xy")
onnx.save(h.make_model(h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", [x], [y])), "x.onnx")
rf.from_onnx("x.onnx")
"""
LOADED = "\nimport sys; print(*(name for name in sys.modules if name.startswith('roofline.')))"


@pytest.mark.parametrize(
    ("entry", "work"),
    [
        ("roofline.search.oracle.latency", "import roofline as rf; rf.Oracle('resnet', ['tpu-v3', 'v100']).build()"),
        ("roofline.frontends.torch", TORCH),
        ("roofline.frontends.jax", JAX),
        ("roofline.frontends.onnx", ONNX),
    ],
)
def test_what_runs_is_among_what_is_hashed(tmp_path: Path, entry: str, work: str) -> None:
    """Whatever Python itself loads for the work, registries included."""
    library = entry.rpartition(".")[2]
    if library in FRONT_ENDS and find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    loaded = set(run(work + LOADED, ROOT, tmp_path).split()) - {"roofline.version"}
    assert entry in loaded
    assert loaded <= closure(entry)


def parsed(path: Path) -> set[str]:
    """Return the modules that a file imports, as Python's parser tells it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if is_module(name)}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_are_read_as_the_parser_reads_them(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    wanted, found = parsed(path), set(_imported(module))
    wanted |= {name.rpartition(".")[0] for name in (module, *wanted)}
    more = found - wanted
    assert wanted - {"", "roofline"} <= found
    assert (
        not more
        or "import pkgutil" in path.read_text()
        or "    from roofline" in path.read_text().partition('\n"""\n')[0]
    )


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_data_files_belong_to_the_module_that_names_them() -> None:
    assert [path.name for path in _data("roofline.report.interval")] == ["intervals.toml"]
    assert [path.name for path in _data("roofline.studies.published")] == ["published.toml"]
    assert [path.name for path in _data("roofline.search.accuracy.pairwise")] == ["accel_nasbench_pairwise.json"]
    assert not _data("roofline.engine.lowering")


def test_code_of_values() -> None:
    class Own:
        """Somebody's own."""

    assert code_of(Aging(), Own()) == code_of(Aging()) == code_hash("roofline.search.evolution.aging")


def test_versions_leave_out_what_is_not_installed() -> None:
    assert versions("numpy", "no-such-package").keys() == {"numpy"}
