"""From a word to an accuracy oracle: what ``roofline search --accuracy`` takes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from roofline.errors import InputError, nearest
from roofline.fingerprint import program_hash
from roofline.search.accuracy.adapters import TARGET, FromFunction, FromTable, read_table
from roofline.search.accuracy.networks import FromNetworks
from roofline.search.accuracy.pairwise import PairwiseRidge
from roofline.search.accuracy.protocol import AccuracyOracle
from roofline.search.accuracy.scores import BASELINES, Score
from roofline.search.accuracy.structural import Structural
from roofline.search.oracle.latency import Oracle
from roofline.search.space.own.load import named

WORDS = ("auto", "pairwise", "structural", *BASELINES)
#: columns of a user's table that may hold the accuracy
COLUMNS = ("accuracy", "top1", TARGET)


def accuracy_oracle(word: str, oracle: Oracle, *, store: Path | None = None) -> AccuracyOracle:
    """Return an accuracy oracle for the space of a latency oracle.

    Parameters
    ----------
    word
        ``auto`` (the best known for the space), ``pairwise``, ``structural``, ``params``, ``macs``, ``entropy``, a
        table ``FILE.csv`` with a column per choice and ``accuracy``, or ``module:function`` of a list of networks (of
        genomes (N, L), where its first parameter is called so).
    store
        Where answers of a function of networks are kept; see `FromNetworks`.

    Raises
    ------
    InputError
        No such oracle, or none is known for the space.
    """
    space = oracle.space
    if word == "auto":
        word = "pairwise" if space.name == "accel-nasbench" else "structural"
    if word == "pairwise":
        if space.name != "accel-nasbench":
            raise InputError(
                f"the pairwise ridge is of accel-nasbench, not of {space.name!r}; fit one, or use structural"
            )
        return PairwiseRidge(space=space)
    if word == "structural":
        return Structural(oracle)
    if word in BASELINES:
        return Score(word, oracle)
    if word.endswith((".csv", ".csv.gz")):
        genomes, columns = read_table(Path(word), space)
        names = [name for name in COLUMNS if name in columns]
        if not names:
            raise InputError(f"{word} has no column {' or '.join(map(repr, COLUMNS))}")
        known = np.isfinite(columns[names[0]])
        return FromTable(space, genomes[known], columns[names[0]][known], name=Path(word).name)
    if ":" in word:
        function = load_function(word)
        file = str(getattr(sys.modules[word.partition(":")[0]], "__file__", None))
        content = program_hash(Path(file)) if file.endswith(".py") else None
        if _takes_genomes(function):
            return FromFunction(space, function, name=word, hash=content)
        return FromNetworks(space, function, name=word, hash=content, store=store)
    raise InputError(f"unknown accuracy oracle {word!r}{nearest(word, WORDS)} (or FILE.csv, or module:function)")


def _takes_genomes(function: Callable[..., Any]) -> bool:
    try:
        return next(iter(inspect.signature(function).parameters), "") == "genomes"
    except (TypeError, ValueError):
        return False


def load_function(word: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names; modules of the working folder are found.

    Raises
    ------
    InputError
        There is none.
    """
    function = named(word)
    if not callable(function):
        raise InputError(f"{word!r} is not a function")
    return cast("Callable[..., Any]", function)
