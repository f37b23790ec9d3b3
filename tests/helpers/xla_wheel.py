"""Whether programs can be compiled for TPUs here: a mark for tests that need it."""

from __future__ import annotations

import pytest

from roofline.errors import InputError
from roofline.xla.programs import versions


def _missing() -> str:
    try:
        versions()
    except InputError as error:
        return str(error)
    return ""


needs_wheel = pytest.mark.skipif(bool(_missing()), reason=_missing() or "present")
