"""Programs in files: exported ones and TorchScript, told apart by what is in them."""

from __future__ import annotations

from pathlib import Path

import torch

from roofline.errors import InputError
from roofline.frontends.torch.archive import Archive


def load_program(path: str | Path) -> torch.export.ExportedProgram | torch.jit.ScriptModule:
    """Return the program of a file; no code that it brings along is run.

    Raises
    ------
    InputError
        There is no such file, or it is no program that can be read without running what is in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}")
    archive = Archive(path)
    if "models/model.json" in archive.names:
        from roofline.frontends.torch.saved import read_exported  # what reads JSON is slow to import

        return read_exported(archive)
    if "constants.pkl" in archive.names and "data.pkl" in archive.names:
        from roofline.frontends.torch.scripted import read_script

        return read_script(archive)
    if "data.pkl" in archive.names:
        raise archive.refused("a pickle, which runs code when it is read: save the module with torch.export.save")
    raise archive.refused("save it with torch.export.save or torch.jit.save")
