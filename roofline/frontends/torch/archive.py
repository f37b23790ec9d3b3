"""Files of programs are archives: what is in one, read by name and within limits, and which operators it may name.

A reader of torch runs code that a file brings along: pickles, expressions, names of functions. So nothing of a file
reaches torch before it has been looked through here, and never the file itself: only what was looked through.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

import torch

from roofline.errors import InputError
from roofline.frontends.torch.registry import RULES
from roofline.text import words

#: most bytes of a text in an archive
LIMIT_TEXT = 2**28
#: what an op of torch is told by words: how to round or pad, never where to write
_SPOKEN = words(
    "UPLO activation approximate assert_msg chars cls dict el equation fillchar idx ind indexing input inputs "
    "interpolation item key l message mode msg new norm old ord p pad_mode padding padding_side reduce rounding_mode s "
    "self separator side string substr t to_add type values a b device_type driver"
)


class Archive:
    """The entries of a zip file by their names below its one folder.

    Raises
    ------
    InputError
        It is no zip file, is damaged, or has two entries of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InputError(f"{str(path)!r} is not a saved program: {error}") from None
        names = [info.filename for info in self._file.infolist() if not info.is_dir()]
        shared = {name.partition("/")[0] for name in names}
        self.folder = shared.pop() if len(shared) == 1 and "/" in "".join(names[:1]) else ""
        self.names = {name[len(self.folder) + 1 :] if self.folder else name: name for name in names}
        if len(self.names) != len(names):
            raise self.refused("two entries have one name")

    def bytes(self, name: str, limit: int = LIMIT_TEXT) -> bytes:
        """Return the bytes of an entry of at most `limit` bytes.

        Raises
        ------
        InputError
            There is no such entry, it is larger, or it is damaged.
        """
        if name not in self.names:
            raise self.refused(f"it has no {name!r}")
        try:
            if self._file.getinfo(self.names[name]).file_size > limit:
                raise self.refused(f"{name!r} has more than {limit} bytes")
            return self._file.read(self.names[name])
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise self.refused(str(error)) from None

    def refused(self, why: str) -> InputError:
        """Return the error that this file is not read."""
        return InputError(f"{str(self.path)!r} is not a saved program: {why}")


@lru_cache(maxsize=1)
def speaking() -> frozenset[str]:
    """Return the names of ops that take words with an unknown meaning, such as the name of a file to write."""
    found = set()
    for schema in torch._C._jit_get_all_schemas():
        space, _, op = schema.name.partition("::")
        if space in ("aten", "prim") and any("str" in str(a.type) and a.name not in _SPOKEN for a in schema.arguments):
            found.add(op)
    return frozenset(found)


def refuse_foreign(archive: Archive, name: str) -> None:
    """Refuse an op (``"aten.add.Tensor"``, ``"aten.add"``) that is none of tensors and numbers, and has no rule either.

    Raises
    ------
    InputError
        It may do anything.
    """
    space, op = name.split(".")[:2]
    if name not in RULES and f"{space}.{op}" not in RULES and (space != "aten" or op in speaking()):
        raise archive.refused(f"it calls {name[:80]!r}, which is no op of tensors and has no lowering rule")
