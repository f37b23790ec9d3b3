"""Programs as the compiler gets them: exported from a JAX function, told apart by their text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from roofline.errors import InputError

EXTRA = "pip install 'roofline[witness]'"
#: where in whose files an instruction was written: it changes with every edit, the program does not
_PLACES = re.compile(r'^#loc.*$\n?|\s*loc\(#?\w+\)|\s*loc\("[^"]*"\(#?\w+\)\)', re.MULTILINE)
_SCOPES = re.compile(r'^#loc\d* = loc\("(jit\([^"]*)"\(', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exported:
    """A program, ready to be compiled elsewhere.

    Attributes
    ----------
    content
        As `jax.export` serializes it.
    key
        Hash of its text and of the names of its scopes.
    """

    content: bytes
    key: str


def exported(function: Callable[..., Any], specs: Sequence[Any]) -> Exported:
    """Export a function of arrays for TPUs; nothing is computed.

    Parameters
    ----------
    specs
        Its arguments as `jax.ShapeDtypeStruct`, or trees of them.

    Raises
    ------
    InputError
        JAX or what it needs to export is not installed, or the function does not trace with these shapes.
    """
    versions()
    import jax
    from jax import export

    try:
        made = export.export(jax.jit(function), platforms=["tpu"])(*specs)
    except Exception as error:  # whatever a user's function raises
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the program cannot be exported: {type(error).__name__}: {reason}") from error
    text = made.mlir_module()
    words = "\n".join([_PLACES.sub("", text), *_SCOPES.findall(text)])
    return Exported(content=bytes(made.serialize()), key=hashlib.sha256(words.encode()).hexdigest())


def versions() -> dict[str, str]:
    """Return the versions of what compiles.

    Raises
    ------
    InputError
        Something is missing, or libtpu is not of the versions that JAX asks for.
    """
    found = {}
    for package in ("jax", "libtpu", "flatbuffers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            raise InputError(f"witness needs {package}, which is not installed: {EXTRA}") from None
    wanted = wanted_by_jax(metadata.requires("jax") or ())
    if wanted and not found["libtpu"].startswith(wanted):
        raise InputError(f"libtpu {found['libtpu']} does not fit jax {found['jax']}, which asks for {wanted}*: {EXTRA}")
    return {package: found[package] for package in ("jax", "libtpu")}


def wanted_by_jax(requirements: Sequence[str]) -> str:
    """Return how the version of libtpu must begin for JAX, ``""`` where JAX does not say.

    Examples
    --------
    >>> wanted_by_jax(["numpy>=2.0", 'libtpu==0.0.42.*; extra == "tpu"'])
    '0.0.42.'
    """
    for line in requirements:
        if found := re.match(r"libtpu\s*==\s*([\d.]+)(\*?)", line):
            return found[1]
    return ""
