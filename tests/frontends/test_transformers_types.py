"""A sample of the model types of transformers; `benchmarks/coverage_transformers.py` does all of them.

Each is built with few layers from its default configuration and fed as `transformers_types` says; the multiply-adds are
those that torch counts when it runs the model.
"""

from __future__ import annotations

import pytest
from transformers_types import compared

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks

#: what each is in the sample for
SAMPLE = {
    "deberta-v2": "buckets of positions",
    "rt_detr_v2": "sizes of levels as a tensor of a list",
    "encodec": "strides kept in buffers",
    "qwen2_5_vl_vision": "windows of a grid that is given",
    "qwen3_moe": "experts",
    "mamba2": "states in chunks",
    "swinv2": "relative positions",
    "t5": "two sides",
}


@pytest.mark.parametrize("name", SAMPLE)
def test_multiply_adds_are_those_that_torch_counts(name: str) -> None:
    found = compared(name)
    assert (found.status, found.detail if found.status != "lowers" else "") == ("lowers", "")
