"""The lock of the test environment: exact, free of places, and no older than what it locks."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def locked(checkout: Path) -> list[Requirement]:
    lines = (checkout / "requirements" / "test.lock").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def required(checkout: Path) -> list[Requirement]:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]


def test_every_line_is_one_exact_version(locked: list[Requirement]) -> None:
    for line in locked:
        (version,) = line.specifier
        assert version.operator == "==" and "*" not in version.version, str(line)
        assert line.url is None, "where a package comes from is the business of whoever installs it"


def test_the_lock_is_that_of_the_present_requirements(checkout: Path, locked: list[Requirement]) -> None:
    """Run ``make lock`` after a change of the requirements."""
    for wanted in required(checkout):
        found = [line for line in locked if canonicalize_name(line.name) == canonicalize_name(wanted.name)]
        assert found, f"{wanted.name} is not locked: make lock"
        for line in found:
            assert wanted.specifier.contains(next(iter(line.specifier)).version), f"{wanted}, locked {line}: make lock"


def test_a_platform_gets_one_version_of_a_package(locked: list[Requirement]) -> None:
    for python in ("3.11.2", "3.12.1", "3.13.0"):
        here = {"python_version": python.rpartition(".")[0], "python_full_version": python}
        names = [canonicalize_name(line.name) for line in locked if not line.marker or line.marker.evaluate(here)]
        assert len(names) == len(set(names))
