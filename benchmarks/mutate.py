"""Mutation testing: change one operator, comparison, constant or extremum at a time and see whether a test notices.

    python benchmarks/mutate.py roofline/cost roofline/work [--limit N] [--seconds S]

Every mutant is tried on a copy of the checkout, with the tests that belong to its folder. Survivors that
``benchmarks/equivalent_mutants.toml`` explains are counted apart; any other ends the run with status 1.
Each runs in a fork of this process, which has imported what the tests need beside roofline: POSIX only.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = ROOT / "benchmarks" / "equivalent_mutants.toml"

#: folder -> the tests that must notice a change in it
TESTS = {
    "roofline/cost": ("tests/cost/test_cost_*.py",),
    "roofline/work": ("tests/work/test_work*.py", "tests/graph/test_graph_macs.py"),
}
#: what every run of the tests imports, once for all
PRELOADED = ("numpy", "networkx", "hypothesis", "pytest")
#: a mutant that takes longer hangs, which a person would notice
TIME_LIMIT_S = 300.0

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE,
    ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}  # fmt: skip
NAMES = {
    "minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min", "ceil": "floor", "floor": "ceil",
    "any": "all", "all": "any", "sum": "max",
}  # fmt: skip
#: expressions large enough to recognise a mutant by
TELLING = (ast.BinOp, ast.BoolOp, ast.Compare, ast.Call, ast.Subscript, ast.Tuple, ast.arguments, ast.stmt)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file: where, the smallest expression that shows it before and after, and the whole new text."""

    file: str
    scope: str
    line: int
    before: str
    after: str
    text: str

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What names the mutant while lines move."""
        return self.file, self.scope, self.before, self.after


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    tree = ast.parse(text)
    for index, (node, _, _) in enumerate(_places(tree)):
        if not _changed(copy.deepcopy(node)):
            continue
        changed = ast.parse(text)
        spot, shown, scope = _places(changed)[index]
        before, line = ast.unparse(shown), getattr(shown, "lineno", getattr(spot, "lineno", 0))
        _changed(spot)
        yield Mutant(
            file=file,
            scope=scope,
            line=line,
            before=before,
            after=ast.unparse(shown),
            text=ast.unparse(changed),
        )


def _changed(node: ast.AST) -> bool:
    """Change a node in place; return whether there was anything to change."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NAMES:
        node.func.attr = NAMES[node.func.attr]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
        node.func.id = NAMES[node.func.id]
    else:
        return False
    return True


def _places(tree: ast.Module) -> list[tuple[ast.AST, ast.AST, str]]:
    """Return (node, expression that shows it, function or class around it) of everything outside annotations."""
    found: list[tuple[ast.AST, ast.AST, str]] = []

    def visit(node: ast.AST, shown: ast.AST, scope: str) -> None:
        found.append((node, shown, scope))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}".removeprefix(".")
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                visit(value, value, f"{scope}[{key and ast.unparse(key)}]")
            return
        for name, field in ast.iter_fields(node):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                    visit(child, child if isinstance(child, TELLING) else shown, scope)

    visit(tree, tree, "")
    return found


def run_tests(folder: str, tests: list[str]) -> None:
    """Run tests in this process, silently, and leave it with pytest's status."""
    import hypothesis
    import pytest

    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(folder)
    sys.path[:] = [folder, *(path for path in sys.path if path not in ("", str(ROOT)))]
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failure need not be made small
    hypothesis.settings.register_profile("mutate", phases=phases, derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutate")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:logging", "-o", "addopts="]
    os._exit(int(pytest.main([*options, "--hypothesis-profile=mutate", *tests])))


def survives(folder: Path, tests: list[str]) -> bool:
    """Return whether the tests pass in a process of their own."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(str(folder), tests))
    process.start()
    process.join(TIME_LIMIT_S)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def tests_of(file: str, checkout: Path) -> list[str]:
    """Return the tests that must notice a change in a file."""
    patterns = next(patterns for folder, patterns in TESTS.items() if file.startswith(folder + "/"))
    return sorted(path.relative_to(checkout).as_posix() for pattern in patterns for path in checkout.glob(pattern))


def explained() -> dict[tuple[str, str, str, str], str]:
    """Return why some mutants cannot be told from the original."""
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])
    return {(row["file"], row["scope"], row["before"], row["after"]): row["why"] for row in rows}


def main() -> int:
    """Try the mutants and print those that no test notices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=list(TESTS), help="files or folders (default: all that have tests)")
    parser.add_argument("--limit", type=int, help="try so many, chosen at random")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after this time")
    parser.add_argument("--list", action="store_true", help="print the mutants and try none")
    options = parser.parse_args()

    files = [file for path in options.paths for file in sorted((ROOT / path).rglob("*.py")) or [ROOT / path]]
    names = [file.relative_to(ROOT).as_posix() for file in files]
    found = [mutant for name in names for mutant in mutants(name, (ROOT / name).read_text(encoding="utf-8"))]
    if options.limit is not None and options.limit < len(found):
        found = random.Random(0).sample(found, options.limit)
    if options.list:
        print("\n".join(f"{m.file}:{m.line} {m.scope}: {m.before}  ->  {m.after}" for m in found))
        return 0

    for name in PRELOADED:
        importlib.import_module(name)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["PYTEST_PLUGINS"] = "_hypothesis_pytestplugin"
    reasons, counts, start = explained(), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkout"
        ignore = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "site", "tour", "docs", "notebooks")
        shutil.copytree(ROOT, folder, ignore=ignore)
        tests_by_file = {name: tests_of(name, folder) for name in names}
        for tests in {tuple(tests) for tests in tests_by_file.values()}:
            if not survives(folder, list(tests)):
                print(f"error: the tests fail without any change: {' '.join(tests)}", file=sys.stderr)
                return 2
        for mutant in found:
            if time.monotonic() - start > options.seconds:
                counts["not tried"] += 1
                continue
            target = folder / mutant.file
            original = target.read_text(encoding="utf-8")
            _write(target, mutant.text)
            alive = survives(folder, tests_by_file[mutant.file])
            _write(target, original)
            why = reasons.get(mutant.identity) if alive else None
            verdict = "killed" if not alive else "equivalent" if why else "survived"
            counts[verdict] += 1
            if verdict == "survived":
                print(f"{mutant.file}:{mutant.line} {mutant.scope}: {mutant.before}  ->  {mutant.after}", flush=True)
    print(f"{len(found)} mutants of {len(names)} files in {time.monotonic() - start:.0f} s: ", end="")
    print(", ".join(f"{counts[name]} {name}" for name in ("killed", "equivalent", "survived", "not tried")))
    return 1 if counts["survived"] else 0


def _write(path: Path, text: str) -> None:
    """Write a module and forget its bytecode, which is trusted while size and second of change are the same."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
