"""The architecture and the taste of the project, as tests: what a second contributor cannot know is said here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "roofline"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: From the ground up. A file imports from floors below its own and from its own folder, nothing else;
#: folders that share a floor (calibration, search and studies) do not know each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("",),  # words: the modules at the top of the package
    ("hardware",),
    ("graph",),
    ("software",),  # its fusion policy names families of ops
    ("arch",),
    ("frontends",),
    ("passes",),
    ("work",),
    ("cost",),
    ("engine",),
    ("plot",),
    ("report",),
    ("measure",),
    ("calibration", "search", "studies"),
    ("analysis",),  # the former name of studies
    ("cluster",),
    ("__init__",),  # the public surface
    ("serve",),
    ("cli",),
    ("__main__",),
)
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}

#: Below its floor and still out of bounds: counts never see the machine, formulas never see a graph.
BANNED: dict[str, tuple[str, ...]] = {
    "work": ("roofline.hardware", "roofline.software", "roofline.passes", "roofline.frontends"),
    "cost": ("roofline.graph", "roofline.arch", "roofline.frontends", "roofline.passes", "networkx"),
}

EXTENSIONS = {"", ".py", ".md", ".toml", ".cfg", ".csv", ".ipynb", ".json", ".txt", ".yml", ".yaml", ".sh"}
UNTRACKED = re.compile(r"\.(?!ci$|github$|gitignore$).*|__pycache__|build|dist|tour|.*\.egg-info")


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of everything a file imports, inside functions and ``TYPE_CHECKING`` too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def folder_of(parts: tuple[str, ...]) -> str:
    """Return the folder of FLOORS to which the module ``roofline.<parts>`` belongs."""
    if not parts or parts == ("__init__",):
        return "__init__"
    if (PACKAGE / parts[0]).is_dir() or parts[0] in FLOOR:
        return parts[0]
    return "" if (PACKAGE / f"{parts[0]}.py").is_file() else "__init__"


def tree(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every text file of the project, whether or not it is committed yet."""
    for path in sorted(folder.iterdir()):
        if UNTRACKED.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from tree(path)
        elif path.suffix in EXTENSIONS:
            yield path


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_imports_point_down(path: Path) -> None:
    own = folder_of(path.relative_to(PACKAGE).with_suffix("").parts)
    assert own in FLOOR, f"folder {own!r} has no floor: give it one in FLOORS"
    for name, line in imports(path):
        top, *rest = name.split(".")
        if top != "roofline":
            continue
        other = folder_of(tuple(rest))
        assert other == own or FLOOR[other] < FLOOR[own], (
            f"{identify(path)}:{line} imports {name}, which is not below it"
        )


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_counts_never_see_the_machine_and_formulas_never_see_a_graph(path: Path) -> None:
    banned = BANNED.get(folder_of(path.relative_to(PACKAGE).with_suffix("").parts), ())
    for name, line in imports(path):
        bad = [b for b in banned if name == b or name.startswith(b + ".")]
        assert not bad, f"{identify(path)}:{line} imports {name}"


def test_the_import_reader_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import a.b\nfrom .x import y\nfrom .. import z\ndef f():\n    from roofline.hardware import spec\n"
    path = tmp_path / "roofline" / "cost" / "m.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [name for name, _ in imports(path)] == ["a.b", "roofline.cost.x.y", "roofline.z", "roofline.hardware.spec"]


def is_structural(test: ast.expr) -> bool:
    """Return whether a condition asks what something *is* (None, a name, a type), never how large it is."""
    if isinstance(test, ast.BoolOp):
        return all(is_structural(value) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return is_structural(test.operand)
    if isinstance(test, ast.Compare):
        names = [test.left, *test.comparators]
        return any(isinstance(n, ast.Constant) and (n.value is None or isinstance(n.value, str)) for n in names)
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return False


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name == "cost"], ids=identify)
def test_formulas_do_not_branch_on_values(path: Path) -> None:
    for node in ast.walk(parse(path)):
        assert not isinstance(node, ast.Match), f"{identify(path)}:{node.lineno}"
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            where = f"{identify(path)}:{node.lineno}"
            assert is_structural(node.test), (
                f"{where} branches on `{ast.unparse(node.test)}`: use np.where or np.minimum"
            )


@pytest.mark.parametrize(
    ("condition", "structural"),
    [
        ("x is None", True),
        ("style == 'systolic'", True),
        ("split is not None and not isinstance(x, float)", True),
        ("x > 0", False),
        ("x", False),
        ("style == 'systolic' and m < 8", False),
        ("np.any(x)", False),
    ],
)
def test_the_branch_rule_tells_structure_from_values(condition: str, structural: bool) -> None:
    assert is_structural(ast.parse(condition, mode="eval").body) is structural


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield (dotted name, definition) of public classes and functions, methods included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_public_things_have_docstrings(path: Path) -> None:
    module = parse(path)
    if not module.body:
        return
    bare = [name for name, node in public(module) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert ast.get_docstring(module), f"{identify(path)} does not say what it is for"
    assert not bare, f"{identify(path)}: no docstring on {', '.join(bare)}"


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_nothing_is_left_unfinished(path: Path) -> None:
    marks = re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))
    assert not marks, f"{identify(path)}: {marks}"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "NotImplementedError" not in ast.unparse(node.exc), f"{identify(path)}:{node.lineno}"


def test_no_python_file_is_long() -> None:
    long = {identify(p): n for p in tree() if p.suffix == ".py" and (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"over 400 lines, split them: {long}"


def test_no_file_mentions_a_path_of_somebodys_machine() -> None:
    folders = "|".join(["work", "farm", "tmp", "root", "home", "Users", "opt"])
    pattern = re.compile(rf"(?<![\w.*~/-])/(?:{folders})/")
    found = [
        f"{identify(path)}:{number}: {line.strip()[:80]}"
        for path in tree()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_import_is_light() -> None:
    heavy = ["pandas", "matplotlib", "torch", "scipy", "typer"]
    code = f"import sys, roofline.studies.gap; print(*(m for m in {heavy} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == [], "the package and its studies must load quickly; import these where they are used"


def test_public_functions_survive_the_import_of_folders_with_their_name() -> None:
    """``roofline.engine`` is a folder and ``rf.simulate`` a function: whoever comes first, users get the function."""
    code = (
        "import roofline as rf, roofline.hardware.load, roofline.software.load, roofline.report.run;"
        "print(*(callable(getattr(rf, name)) for name in ('device', 'runtime', 'simulate')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["True"] * 3
