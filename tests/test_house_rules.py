"""The architecture and the taste of the project, as tests: what a second contributor cannot know is said here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from places import ROOT

import roofline as rf

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
    ("export",),  # networks as code
    ("frontends",),
    ("passes",),
    ("work",),
    ("cost",),
    ("engine",),
    ("plot",),
    ("report",),
    ("measure", "xla"),
    ("calibration", "search", "studies"),
    ("analysis",),  # the former name of studies
    ("cluster",),
    ("__init__",),  # the public surface
    ("serve",),
    ("cli",),
    ("__main__",),
)
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}
#: the same inside the search
ROOMS: tuple[tuple[str, ...], ...] = (("space",), ("oracle",), ("accuracy",), ("evolution", "scaling"))
ROOM = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}

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


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.parent.name == "search"], ids=identify)
def test_rooms_of_the_search_lie_above_one_another(path: Path) -> None:
    own = path.parent.name
    assert own in ROOM, f"room {own!r} of the search has no place: give it one in ROOMS"
    for name, line in imports(path):
        room = (*name.split("."), "", "")[2]
        if name.startswith("roofline.search.") and room != own:
            assert ROOM[room] < ROOM[own], f"{identify(path)}:{line} imports {name}, which is not below it"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def arrows() -> nx.DiGraph[str]:
    """Return which module imports which: a package where a name of its ``__init__`` is meant."""
    modules = {module_of(path): path for path in SOURCES}
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, path in modules.items():
        for name, _ in imports(path):
            other = name if name in modules else name.rpartition(".")[0]
            if other in modules and other != module:
                graph.add_edge(module, other)
    return graph


def test_no_module_needs_itself() -> None:
    """No circle, also not through imports inside functions or for type checking only."""
    graph = arrows()
    assert graph.number_of_edges() > len(SOURCES)
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1]
    assert not circles, f"modules that need each other: {circles}"


def formulas_fed_by_key(module: ast.Module) -> Iterator[ast.Call]:
    """Yield calls of something from ``roofline.cost`` whose arguments come out of a mapping."""
    known = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("roofline.cost")
        for alias in node.names
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and any(keyword.arg is None for keyword in node.keywords):
            root = node.func
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in known:
                yield node


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_formulas_take_values_that_are_checked(path: Path) -> None:
    """Nothing goes into a formula out of a ``dict[str, Any]``, where mypy would not see it."""
    fed = [node.lineno for node in formulas_fed_by_key(parse(path))]
    assert not fed, f"{identify(path)}: lines {fed} feed a formula from a mapping: make it a value"
    if path.parent.name == "cost":
        assert "dict[str, Any]" not in path.read_text(encoding="utf-8"), identify(path)


def test_the_reader_of_formulas_sees_mappings() -> None:
    text = "from roofline.cost import fold, matrix\nmatrix.time_s(**sizes)\nfold.sum(x, y=1)\nother(**sizes)\n"
    assert [node.lineno for node in formulas_fed_by_key(ast.parse(text))] == [2]


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


def test_no_module_has_the_name_of_a_public_function() -> None:
    """``import roofline.x`` puts the module into the package: it would hide a function ``rf.x``."""
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(rf.__all__)
