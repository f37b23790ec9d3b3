"""Results of networks that cannot be built here, or without the library that builds them, are one line."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from measured_files import TIMM, TIMM_TEXT, write

from roofline.cli import main


@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_without_the_library_that_builds_networks(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["validate", str(write(tmp_path, TIMM, TIMM_TEXT))]) == 2
    error = capsys.readouterr().err
    assert "no row can be predicted; row 2: " in error and "pip install" in error and error.count("\n") == 1


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_networks_that_cannot_be_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TIMM_TEXT.replace("resnet50,", "no_such_network,") + "vit_tiny_patch16_224,7,2000.0,128.0,256,4.11,11.11\n"
    assert main(["validate", str(write(tmp_path, TIMM, text))]) == 2
    error = capsys.readouterr().err
    assert "no row can be predicted; row 2: " in error and error.count("\n") == 1
