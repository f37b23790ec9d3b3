"""A hash of all that a cache depends on: some modules, what they import, and the data files that any of these names.

Imports are followed from file to file, those inside functions too; those for type checkers alone decide no number. A
package that loads whatever lies in its folder depends on all of it. Nothing is listed by hand, so nothing is forgotten.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from roofline.paths import added_data
from roofline.plugins import plugin_files, plugins
from roofline.reading import read_text

_PACKAGE = Path(__file__).resolve().parent
# Patterns instead of a parser, which would need ten times as long: a saved table loads at once.
_TYPES_ONLY = re.compile(r"\nif TYPE_CHECKING:(?:\n[ \t].*|\n(?=\n))*")
#: a folder of these holds what others wrote
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_IMPORT = re.compile(r"\n[ \t]*(?:from ([\w.]+) import (\((?:[^)#]|#.*)*\)|.*)|import ([\w.]+))")


def code_hash(*modules: str) -> str:
    """Return the hash of modules of this package and of all they depend on, every plugin included.

    Examples
    --------
    >>> code_hash("roofline.cost.memory") == code_hash("roofline.cost.matrix")
    False
    """
    found = _package_hash(*modules)
    return hashlib.sha256(f"{found} {_plugins_hash(plugins())}".encode()).hexdigest() if plugins() else found


@cache
def _plugins_hash(names: tuple[str, ...]) -> str:
    """Return the hash of the plugins' programs, of all in the packages that they are, and of the data that they add."""
    digest = hashlib.sha256()
    for module, text in plugin_files().items():
        file = Path(text)
        digest.update(f"{module} {program_hash(file) if file.suffix == '.py' else ''}\n".encode())
        if file.name == "__init__.py":
            for path in sorted(file.parent.rglob("*")):
                if path.suffix in (".py", ".toml") and path.is_file():
                    digest.update(f"{path.relative_to(file.parent).as_posix()}\n".encode() + path.read_bytes())
    for path in (path for root in added_data() for path in sorted(root.glob("*/*.toml"))):
        digest.update(f"{path.parent.name}/{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _package_hash(*modules: str) -> str:
    digest = hashlib.sha256()
    for module in sorted(closure(*modules)):
        contents = {_files()[module]: _text(module).encode()}
        for path, content in (contents | {path: path.read_bytes() for path in _data(module)}).items():
            digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def code_of(*values: object) -> str:
    """Return the hash of our code behind some values, by their classes; a class of the user's own is left out."""
    modules = {type(value).__module__ for value in values}
    return code_hash(*sorted(modules & _files().keys()))


def program_hash(file: Path) -> str:
    """Return the hash of somebody's program: its file, and the files of its folder and the working one that it imports.

    What is installed counts by its version (`versions`), and what a program reads when it runs does not count.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    found: dict[Path, str] = {}
    wanted = [file.resolve()]
    home = next(folder for folder in wanted[0].parents if not (folder / "__init__.py").is_file())
    roots = [root for root in dict.fromkeys((home, Path.cwd())) if not _INSTALLED & set(root.parts)]
    while wanted:
        path = wanted.pop()
        if path not in found:
            found[path] = read_text(path)
            wanted += [place for name in _named("\n" + found[path]) for place in _places(name, path, roots)]
    texts = sorted(hashlib.sha256(text.encode()).hexdigest() for text in found.values())
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()


def _places(name: str, importer: Path, roots: list[Path]) -> Iterator[Path]:
    """Yield the files under some folders that an import of a dotted name runs."""
    dots = len(name) - len(name.lstrip("."))
    for root in [importer.parents[dots - 1]] if dots else roots:
        place = root
        for part in name.lstrip(".").split("."):
            place = place / part
            yield from (file.resolve() for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of other people's packages that a cache depends on; those not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def closure(*modules: str) -> set[str]:
    """Return modules of this package with all of its modules that they load when they are imported and called."""
    found: set[str] = set()
    wanted = list(modules)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += _imported(name)
    return found


@cache
def _imported(module: str) -> tuple[str, ...]:
    names = set(_named(_TYPES_ONLY.sub("", _text(module))))
    if "pkgutil" in names:  # it loads the folder it lies in
        folder = _files()[module].parent
        names |= {name for name, path in _files().items() if folder in (path.parent, path.parent.parent)}
    names |= {name.rpartition(".")[0] for name in (module, *names)}  # a package runs before what lies in it
    return tuple(names & _files().keys())


def _named(text: str) -> Iterator[str]:
    """Yield the dotted names of all imports in a text: modules, and what is taken from them."""
    for base, names, plain in _IMPORT.findall(text):
        yield base or plain
        for line in names.strip("()").splitlines():
            yield from (f"{base}.{part.split()[0]}" for part in line.partition("#")[0].split(",") if part.strip())


@cache
def _files() -> dict[str, Path]:
    """Return module -> file of the package; without the package itself, which only says where its names lie."""
    found = {}
    for folder, _, names in os.walk(_PACKAGE):
        package = ".".join(("roofline", *Path(folder).relative_to(_PACKAGE).parts))
        for name in names:
            if name.endswith(".py"):
                found[f"{package}.{name[:-3]}".removesuffix(".__init__")] = Path(folder, name)
    del found["roofline"]
    return found


@cache
def _text(module: str) -> str:
    return _files()[module].read_text(encoding="utf-8")


def _data(module: str) -> list[Path]:
    """Return the data files beside a module, or in a folder ``data`` there, that it names or is named like."""
    path, text = _files()[module], _text(module)
    return [file for file in _beside(path.parent) if file.name in text or file.stem == path.stem]


@cache
def _beside(folder: Path) -> tuple[Path, ...]:
    files = (*folder.iterdir(), *(folder / "data").glob("*"))
    return tuple(sorted(f for f in files if f.suffix not in (".py", ".pyc", ".pyi", "") and f.is_file()))
