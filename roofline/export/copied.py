"""Source text out of files: the functions, classes and constants that a text names, and those that they name."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=8)
def _definitions(path: Path) -> dict[str, str]:
    """Return name -> source of everything that a file defines at its top."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.get_source_segment(text, node) or ""
    return found


def names_in(text: str) -> set[str]:
    """Return the names that a program reads.

    Examples
    --------
    >>> sorted(names_in("y = relu(x).mean(axis=1)"))
    ['relu', 'x', 'y']
    """
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def copied(paths: Sequence[Path], text: str, constants: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Return the assignments and the definitions that `text` needs from files, in their order.

    Parameters
    ----------
    constants
        Values that take the place of those in the file.
    """
    known = {name: source for path in paths for name, source in _definitions(path).items()}
    wanted: set[str] = set()
    waiting = [text]
    while waiting:
        for word in names_in(waiting.pop()) & set(known) - wanted:
            wanted.add(word)
            waiting.append(known[word])
    assigned = [n for n in known if n in wanted and not known[n].startswith(("def ", "class ", "@"))]
    values = [f"{n} = {constants[n]!r}" if n in constants else known[n] for n in assigned]
    return values, [known[n] for n in known if n in wanted and n not in assigned]
