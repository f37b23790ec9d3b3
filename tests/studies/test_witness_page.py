"""The section of the accuracy page on XLA's compiler: its figures, and that other tools leave it alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from test_witness import COMPILED, compared, kernel

from roofline.studies.beside import Witness

TIMES_S = (20e-9, 10e-9, 10e-9, 5e-9)


@pytest.fixture(scope="module")
def tool(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "tools" / "witness.py"))


@pytest.fixture(scope="module")
def found() -> Witness:
    apart = (kernel("fusion.1", 85.0, "conv"), kernel("fusion.4", 1.0, "swish"), *COMPILED[3:])
    runs = (compared("tpu-v5e", TIMES_S), compared("tpu-v2", TIMES_S), compared("tpu-v2", TIMES_S, apart))
    return Witness(runs=runs, versions={"jax": "0.10.2", "libtpu": "0.0.42.1"})


def test_what_the_section_says(tool: dict[str, Any], found: Witness) -> None:
    text = tool["section"](found)
    assert text.startswith("## Against XLA's own compiler\n")
    assert (
        "Estimates of a compiler, not measurements" in text and "3 programs, compiled ahead of time with libtpu" in text
    )
    assert "| tpu-v5e | 1 | 0.79 | 0.0 % |" in text  # 67.5 of 85 cycles, and one run is its own median
    assert "| swish -> mean | XLA | 2 | 2 |" in text  # the third run has the mean in no kernel: nothing to compare
    assert "| conv -> swish | the prediction | 1 | 3 |" in text


def test_a_line_for_each_network_and_device(tool: dict[str, Any], found: Witness) -> None:
    runs = found.summary.assign(batch=[1, 8, 1])
    lines = tool["by_network"](runs).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2].startswith("| tiny | tpu-v5e | 0.79, 1.00, 60% | – | – |")


def test_a_section_is_replaced_and_nothing_else(tool: dict[str, Any]) -> None:
    page = "# Page\n\nhead\n\n## Mine\n\n### below\n\ntext\n\n## Next\n\nend\n"
    within = tool["with_section"]
    assert within(page, "## Mine", "## Mine\n\nnew") == "# Page\n\nhead\n\n## Mine\n\nnew\n\n## Next\n\nend\n"
    assert within(page, "## Other", "## Other\n\nnew").endswith("## Next\n\nend\n\n## Other\n\nnew\n")
    assert within(within(page, "## Next", "## Next\n\n1"), "## Next", "## Next\n\n2").endswith("text\n\n## Next\n\n2\n")
