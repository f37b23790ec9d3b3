"""Modules outside the package that add to it: blocks, ops, rewards, and folders of devices, runtimes, models, spaces.

A plugin is a module that registers things when it is imported, or adds data by `roofline.paths.add_data`. It is named
by ``--plugin`` or `load_plugins`, by the environment variable ``ROOFLINE_PLUGINS``, or by an entry point of something
that is installed. The last two are loaded when a name is first looked up; processes that this one starts have all.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from threading import RLock
from types import ModuleType

from roofline.errors import InputError, RooflineError, line_of

#: entry points whose values are modules
GROUP = "roofline.plugins"
#: comma list of modules
VARIABLE = "ROOFLINE_PLUGINS"
#: what fills the registries that ship; by name, for they lie above: a plugin comes after them, so that a name that is
#: registered twice is the plugin's mistake
SHIPPED = ("roofline.arch.blocks", "roofline.work")

_LOADED: dict[str, ModuleType] = {}
_LOCK = RLock()
_found = _finding = False


def load_plugins(*modules: str) -> tuple[str, ...]:
    """Load plugins, each once, and return the names of all that are loaded; modules of the working folder are found.

    Raises
    ------
    InputError
        A module cannot be imported, or registers a name that is taken.
    """
    find_plugins()
    with _LOCK:
        for module in modules:
            _load(module)
            if module not in (named := _listed()):  # processes that this one starts load it too
                os.environ[VARIABLE] = ",".join([*named, module])
    return plugins()


def find_plugins() -> None:
    """Load the plugins of entry points and of the environment, unless that is done; raises as `load_plugins`."""
    global _found, _finding
    if _found:
        return
    with _LOCK:
        if _found or _finding:  # a plugin that is being loaded looks up a name
            return
        _finding = True
        try:
            for module, where in _named():
                _load(module, where)
            _found = True
        finally:
            _finding = False


def plugins() -> tuple[str, ...]:
    """Return the names of the plugins that are loaded, in order."""
    return tuple(_LOADED)


def plugin_files() -> dict[str, str]:
    """Return module -> file of the plugins that are loaded."""
    return {name: str(module.__file__) for name, module in _LOADED.items() if module.__file__ is not None}


def _listed() -> list[str]:
    return [word for text in os.environ.get(VARIABLE, "").split(",") if (word := text.strip())]


def _named() -> Iterator[tuple[str, str]]:
    """Yield module and, for messages, who names it."""
    from importlib import metadata  # slow to import

    for point in metadata.entry_points(group=GROUP):
        owner = "" if point.dist is None else f" of {point.dist.name!r}"
        yield point.module, f", entry point {point.name!r}{owner},"
    for module in _listed():
        yield module, f" of {VARIABLE}"


def _load(module: str, where: str = "") -> None:
    if module in _LOADED:
        return
    for shipped in SHIPPED:
        importlib.import_module(shipped)
    serial = importlib.import_module("roofline.graph.serial")
    before = serial.concrete_ops()
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
        serial.check_kinds(before)
    except RooflineError as error:
        raise InputError(f"plugin {module!r}{where}: {line_of(error)}") from error
    except (Exception, SystemExit) as error:  # somebody's program may fail in any way
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"plugin {module!r}{where} cannot be imported: {text}") from error
    _LOADED[module] = found
