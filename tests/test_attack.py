"""A sample of the attack on every loader and on the command line; thousands more run in ``make test-all``."""

from __future__ import annotations

import random
from pathlib import Path

import attack
import attack_words
import pytest
from loaders import LOADERS, Loader

from roofline.errors import InputError

#: those that take long have files in ``make test-all`` only
QUICK = [loader for loader in LOADERS if loader.name not in ("pt2", "store.parquet", "trace")]


@pytest.mark.parametrize("loader", QUICK, ids=lambda loader: loader.name)
def test_a_damaged_file_is_a_result_or_one_line(loader: Loader, tmp_path: Path) -> None:
    found = list(attack.attack(loader, 4 if loader.name == "store.sqlite" else 12, 5, tmp_path))
    assert len(found) > 3 and not any(found), [failure for failure in found if failure]


def test_wild_words_are_a_result_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attack_words.ENDED.clear()
    assert list(attack_words.attack(16, 5, tmp_path, own_process=0)) == []
    assert attack_words.ENDED[0] and attack_words.ENDED[2], "some lists are fine, and most are not"


# the harness sees what it is to see ---------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (KeyError("x"), "KeyError"),
        (RecursionError(), "RecursionError"),
        (InputError("two\nlines"), "not one line"),
        (InputError(""), "not one line"),
    ],
)
def test_whatever_else_comes_is_a_failure(raised: Exception, words: str, tmp_path: Path) -> None:
    def use(path: Path) -> list[float]:
        raise raised

    loader = Loader(name="x", seeds=lambda _: {}, use=use)
    assert words in (attack.outcome(loader, tmp_path) or "")


def test_numbers_are_finite_and_words_have_one_line(tmp_path: Path) -> None:
    for value, fine in ((1.0, True), (float("inf"), False), (float("nan"), False)):
        loader = Loader(name="x", seeds=lambda _: {}, use=lambda _, value=value: [value])  # type: ignore[misc]
        assert (attack.outcome(loader, tmp_path) is None) == fine
    assert attack_words.judged(0, "x", "warning: y\n") is None and attack_words.judged(2, "", "error: y\n") is None
    for status, out, error in ((2, "", ""), (2, "", "error: a\nb\n"), (1, "", "x"), (0, "\x1b[2J", "")):
        assert attack_words.judged(status, out, error)


def test_a_mutant_differs_and_follows_from_its_seed() -> None:
    content = b'{"a": [1, 2.5, "text"], "b": {"c": true}}\nname = 1\n' * 5
    mutants = {attack.mutant(content, random.Random(seed)) for seed in range(60)}
    assert len(mutants) > 50 and attack.mutant(content, random.Random(7)) == attack.mutant(content, random.Random(7))
