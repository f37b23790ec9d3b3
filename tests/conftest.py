"""What every test shares: the checkout's path and reproducible property tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from places import ROOT

settings.register_profile("roofline", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("roofline")

#: a plugin adds to the package when it is imported, also by whoever looks for doctests
collect_ignore = ["helpers/example_plugin"]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout under test."""
    return ROOT
