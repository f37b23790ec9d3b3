"""Networks as files in a folder, one for each form."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from roofline.arch.spec import Arch
from roofline.errors import InputError, nearest
from roofline.export.api import network, to_onnx
from roofline.export.jax_text import jax_text
from roofline.export.spelling import attribute
from roofline.export.torch_text import torch_text
from roofline.files import write_text
from roofline.graph.opgraph import OpGraph

#: form -> what its file is called behind the network's name
FORMS = {"torch": "_torch.py", "onnx": ".onnx", "jax": "_jax.py"}


def forms(names: Sequence[str]) -> tuple[str, ...]:
    """Return the forms that a network is to be written in.

    Raises
    ------
    InputError
        There is no such form, or none is named.

    Examples
    --------
    >>> forms(["onnx", "torch"])
    ('onnx', 'torch')
    """
    for name in names:
        if name not in FORMS:
            raise InputError(f"no network is written as {name!r}{nearest(name, FORMS)}")
    if not names:
        raise InputError(f"name a form: {', '.join(FORMS)}")
    return tuple(dict.fromkeys(names))


def file_of(name: str, form: str, folder: Path) -> Path:
    """Return where a network of that name is written.

    Examples
    --------
    >>> file_of("resnet-50", "torch", Path("out")).as_posix(), file_of("resnet-50", "onnx", Path("out")).as_posix()
    ('out/resnet_50_torch.py', 'out/resnet-50.onnx')
    """
    stem = re.sub(r"[^\w.-]", "_", name).lstrip(".") if form == "onnx" else attribute(name)
    return folder / f"{stem}{FORMS[form]}"


def export(
    model: str | Path | Arch | OpGraph,
    to: Sequence[str],
    folder: str | Path,
    *,
    image_size: int | None = None,
    weights: bool = True,
    force: bool = False,
) -> list[Path]:
    """Write a network into a folder, which is made if it is missing, and return the files that were written.

    Parameters
    ----------
    model
        A name, a file, an architecture, or its op graph.
    to
        Of ``"torch"``, ``"onnx"`` and ``"jax"``.
    image_size
        Pixels per side, or tokens; by default the network's own.
    weights
        Whether ONNX files hold weights.
    force
        Whether files that exist are overwritten.

    Raises
    ------
    InputError
        No such form; a file exists, or cannot be written.
    UnknownOpError
        The network has an op that a form does not have.
    """
    chosen, folder = forms(to), Path(folder)
    made = network(model, image_size=image_size)
    paths = {form: file_of(made.name, form, folder) for form in chosen}
    for path in paths.values():
        if os.path.exists(path) and not force:
            raise InputError(f"{str(path)!r} exists: give --force to overwrite it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into {str(folder)!r}: {error.strerror or error}") from None
    written: list[Path] = []
    for form, path in paths.items():
        if form == "onnx":
            written += to_onnx(model, path, image_size=image_size, weights=weights)
            continue
        first = form == "torch"
        text = torch_text(network(model, image_size=image_size, first=True)) if first else jax_text(made)
        write_text(path, text)
        written.append(path)
    return written
