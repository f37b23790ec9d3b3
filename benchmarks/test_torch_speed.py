"""How long lowering a PyTorch network takes: ``python -m pytest benchmarks --benchmark-only -s``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from timm_rows import build

import roofline as rf

#: seconds that lowering a network may take
RESNET_50_S = 1.5

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks


NETWORKS = ("resnet50", "tf_efficientnet_b7", "vit_base_patch16_224", "swin_base_patch4_window7_224")


@pytest.mark.parametrize("name", NETWORKS)
def test_lower_from_pytorch(benchmark: Any, name: str) -> None:
    module, image = build(name)
    assert benchmark(rf.from_torch, module, image).macs > 0
    if name == "resnet50":
        assert benchmark.stats["median"] < RESNET_50_S
