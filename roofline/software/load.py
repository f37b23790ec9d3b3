"""From a name or a file to a `Runtime`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from roofline.errors import InputError
from roofline.names import lookup
from roofline.paths import data_files
from roofline.software.based import stamps, tables
from roofline.software.file import RUNTIME_FILE, RuntimeFile, runtime_of
from roofline.software.spec import Runtime
from roofline.specfile import Stamp, parse_spec

FOLDER = "runtimes"
#: a name that stands for another one on each kind of device
FAMILIES = {"xla": {"tpu": "xla_tpu", "gpu": "xla_gpu"}}


def runtimes() -> list[str]:
    """Return the names of all shipped runtimes."""
    return list(data_files(FOLDER))


def runtime(name: str | Path | Runtime, device_kind: str | None = None) -> Runtime:
    """Return a runtime by name, from a file, or as it is.

    Parameters
    ----------
    name
        ``xla`` means ``xla_tpu`` or ``xla_gpu``, by `device_kind` (``"tpu"`` where that is not given).
    device_kind
        ``"tpu"``, ``"gpu"`` or ``"cpu"``: the runtime must run there.

    Raises
    ------
    UnknownNameError
        No such runtime.
    InputError
        The runtime does not run on that kind of device.
    """
    found = name if isinstance(name, Runtime) else _find(str(name), device_kind or "tpu")
    if device_kind is not None and device_kind not in found.device_kinds:
        fitting = [n for n in runtimes() if device_kind in _from_file(data_files(FOLDER)[n]).device_kinds]
        raise InputError(
            f"runtime {found.name!r} does not run on a {device_kind}; allowed: {', '.join(map(repr, fitting))}"
        )
    return found


def runtime_file(name: str | Path) -> RuntimeFile:
    """Return the file behind a runtime, with the source of every number."""
    return _file(_path(str(name), "tpu"))


def _find(name: str, device_kind: str) -> Runtime:
    return _from_file(_path(name, device_kind))


def _from_file(path: Path) -> Runtime:
    return _load(path, stamps(path, FOLDER))


def _path(name: str, device_kind: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    files = data_files(FOLDER)
    families = {family: files[members.get(device_kind, members["tpu"])] for family, members in FAMILIES.items()}
    return lookup(name, {**families, **files}, "runtime")


@lru_cache(maxsize=64)
def _load(path: Path, version: tuple[Stamp, ...]) -> Runtime:
    return runtime_of(_file(path))


def _file(path: Path) -> RuntimeFile:
    return parse_spec(tables(path, FOLDER), RUNTIME_FILE, path.name)
