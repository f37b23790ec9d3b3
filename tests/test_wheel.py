"""What a user installs: the built wheel, in a clean environment, far from the checkout."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import roofline as rf

#: import name -> the requirement that brings it, where they differ
BROUGHT_BY = {"google": "protobuf", "mpl_toolkits": "matplotlib", "pydantic_core": "pydantic"}


def build(source: Path, folder: Path) -> Path:
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scripts folder of an environment with the wheel, and with the dependencies of this one within reach.

    A ``.pth`` file inside a folder that is itself on the path by a ``.pth`` file is not read: an editable install in
    the present environment does not leak into this one.
    """
    folder = tmp_path_factory.mktemp("clean") / "env"
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = subprocess.run([scripts / "python", "-c", where], capture_output=True, text=True, check=True).stdout
    near = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    Path(purelib.strip(), "dependencies.pth").write_text("\n".join(near) + "\n")
    return scripts


def run(scripts: Path, folder: Path, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([scripts / words[0], *words[1:]], cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_installed_package_is_the_wheel(installed: Path, tmp_path: Path, checkout: Path) -> None:
    place = Path(run(installed, tmp_path, "python", "-c", "import roofline; print(roofline.__file__)").strip())
    assert installed.parent.resolve() in place.resolve().parents
    assert checkout not in place.resolve().parents


def test_the_wheel_lists_every_device(installed: Path, tmp_path: Path) -> None:
    out = run(installed, tmp_path, "roofline", "devices")
    assert all(name in out for name in rf.devices())
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_simulates_as_the_checkout_does(installed: Path, tmp_path: Path) -> None:
    words = ["roofline", "simulate", "efficientnet-b0", "--device", "tpu-v3", "--batch", "8"]
    assert "Latency" in run(installed, tmp_path, *words)
    rows = run(installed, tmp_path, *words, "--format", "csv").splitlines()
    report = rf.simulate("efficientnet-b0", "tpu-v3", batch=8)
    assert rows[0].split(",") == list(report.kernels.columns)
    assert len(rows) == 1 + len(report.kernels)
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_carries_every_data_file(wheel: Path, checkout: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("hardware_specs", "runtimes", "libraries", "formats", "models", "spaces"):
        files = [path.name for path in (checkout / folder).glob("*.toml")]
        assert files
        assert {f"roofline/data/{folder}/{name}" for name in files} <= inside
    assert {"roofline/py.typed", "roofline/__init__.pyi"} <= inside
    assert {f"roofline/report/page/page.{kind}" for kind in ("html", "css", "js")} <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert {name.split("/")[0] for name in inside} == {"roofline", f"roofline-{rf.__version__}.dist-info"}


def test_the_wheel_is_the_same_from_another_folder_at_another_time(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name in ("roofline", "hardware_specs", "runtimes", "libraries", "formats", "models", "spaces"):
        shutil.copytree(checkout / name, elsewhere / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(checkout / name, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1e9, 1e9))  # in 2001
    again = build(elsewhere, tmp_path / "dist")
    assert again.name == wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_every_import_is_a_declared_dependency(checkout: Path) -> None:
    """What the package imports is in the standard library, required, or (in a front end or a tool) in an extra."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "test" for line in lines]
    declared = {re.split(r"[\[<>=!~ ]", line)[0].replace("-", "_").lower() for line in project["dependencies"] + extras}
    known = declared | set(sys.stdlib_module_names) | {"roofline", "sklearn"}
    for path in (checkout / "roofline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            missing = {BROUGHT_BY.get(top, top) for top in tops} - known
            assert not missing, f"{path.name}:{getattr(node, 'lineno', 0)} imports {missing}, which nothing requires"
