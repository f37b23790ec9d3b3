"""The pages: their examples work, and they name what exists."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from pages import LINK, blocks
from places import ROOT
from test_house_rules import FLOORS

import roofline as rf
from roofline.errors import SpecError
from roofline.families import FAMILIES
from roofline.software.file import RUNTIME_FILE
from roofline.work.functions import function_ops

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.fixture
def runtime_page(tmp_path: Path) -> Path:
    text = blocks(DOCS / "adding-a-runtime.md", "toml")[0]
    path = tmp_path / "example.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_runtime_of_the_page(runtime_page: Path) -> None:
    fused = rf.simulate("resnet-50", "a100-80gb", batch=32, runtime=runtime_page)
    eager = rf.simulate("resnet-50", "a100-80gb", batch=32, runtime="pytorch_eager")
    assert fused.runtime == "example"
    assert fused.macs == eager.macs
    assert fused.traffic_bytes < eager.traffic_bytes
    assert fused.latency_s < eager.latency_s


def test_the_runtime_of_the_page_has_every_key_and_no_other(runtime_page: Path) -> None:
    tables = tomllib.loads(runtime_page.read_text(encoding="utf-8"))
    required = {name for name, field in RUNTIME_FILE.model_fields.items() if field.is_required()}
    assert required <= set(tables) <= set(RUNTIME_FILE.model_fields)
    runtime_page.write_text(runtime_page.read_text(encoding="utf-8").replace("overlap =", "overlapp ="))
    with pytest.raises(SpecError, match="overlap"):
        rf.runtime(runtime_page)


def test_the_pages_name_every_family() -> None:
    for page in ("adding-an-op.md", "adding-a-runtime.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert {name for name in FAMILIES if f"`{name}`" not in text} <= {"free"}


def test_the_cost_model_counts_functions_as_the_rules_do() -> None:
    text = (DOCS / "cost-model.md").read_text(encoding="utf-8")
    simple = [function_ops(name)[0] for name in ("relu", "relu6", "hard_sigmoid", "hard_swish")]
    assert " / ".join(f"{n:.0f}" for n in simple) in text
    for title, name in {"sigmoid": "sigmoid", "swish": "swish", "GELU (erf)": "gelu"}.items():
        cells = [f"{n:.0f}" for n in function_ops(name)]
        assert f"| {title} | {cells[0]} | {cells[1]} |" in text
    assert f"| tanh / erf | {function_ops('tanh')[0]:.0f} / {function_ops('erf')[0]:.0f} | 1 |" in text


def test_the_cost_model_names_every_constant_of_a_runtime() -> None:
    text = (DOCS / "cost-model.md").read_text(encoding="utf-8")
    tables = tomllib.loads((ROOT / "runtimes" / "xla_tpu.toml").read_text(encoding="utf-8"))
    names = {name for table in ("fusion", "matrix", "vector", "memory", "launch") for name in tables[table]}
    missing = {name for name in names if not re.search(rf"\b{name}\b", text)} - {"why"}
    assert not missing, f"docs/cost-model.md says nothing about {sorted(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:roofline|tests|docs|runtimes|models|spaces|hardware_specs)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_index_maps_the_package_from_the_ground_up() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "roofline").glob("*/__init__.py")}
    mapped = re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)
    assert sorted(mapped) == sorted(folders)
    floors = [floor for folders in FLOORS for floor in folders if floor in mapped]
    assert mapped == floors


def test_the_index_lists_every_page() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    listed = Counter(LINK.findall(text))
    assert {page.name: listed[page.name] for page in PAGES} == {page.name: page.name != "README.md" for page in PAGES}
    notebooks = {f"../notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {link: listed[link] for link in listed if link.endswith(".ipynb")} == dict.fromkeys(notebooks, 1)
