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
    defined = [known[n] for n in known if n in wanted and n not in assigned]
    called = attributes_in("\n\n".join([text, *(d for d in defined if not d.startswith("class "))]))
    return values, [_of_use(d, called) if d.startswith("class ") else d for d in defined]


def attributes_in(text: str) -> set[str]:
    """Return what a program asks of objects.

    Examples
    --------
    >>> sorted(attributes_in("new.conv(3).weight"))
    ['conv', 'weight']
    """
    return {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}


def _of_use(source: str, called: set[str]) -> str:
    """Return a class without the methods that neither the program nor another method calls."""
    lines = source.splitlines()
    methods = {m.name: m for m in ast.parse(source).body[0].body if isinstance(m, ast.FunctionDef)}  # type: ignore[attr-defined]
    kept = {name for name in methods if name in called or name.startswith("__")}
    while True:
        inside = attributes_in("\n".join(ast.unparse(methods[name]) for name in kept))
        if not (more := inside & set(methods) - kept):
            break
        kept |= more
    for name, method in reversed(methods.items()):
        if name not in kept:  # with the empty line before it
            del lines[method.lineno - 2 : method.end_lineno]
    return "\n".join(lines)
