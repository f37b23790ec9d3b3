"""The page about schedulers: its code runs, and its trace keeps what must be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from pages import blocks
from places import ROOT


def test_the_code_of_the_page() -> None:
    first, trace = blocks(ROOT / "docs" / "step-oracle.md", "python")
    exec(compile(first, "step-oracle.md", "exec"), {})
    told: dict[str, Any] = {}
    exec(compile(trace, "step-oracle.md", "exec"), told)
    assert not told["running"]
    assert not told["waiting"]
    assert (told["first_s"] >= told["arrival_s"] + told["prefill_s"] - 1e-12).all()
    alone_s = float(told["oracle"](1, 1, 1))
    assert ((told["done_s"] - told["first_s"]) >= (told["output"] - 1) * alone_s * (1 - 1e-9)).all()
    assert np.sum(told["output"]) * alone_s > told["now"]  # 16 at once take less than one after the other
