"""Accuracy of whole networks: a supernet's evaluation, a training, a predictor, asked in batches and never twice.

What such a function is given are networks, not genomes. Answers are kept in a file as they come, so that a search that
was killed asks nobody again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roofline.errors import InputError, RooflineError
from roofline.numeric import whole_number
from roofline.search.accuracy.protocol import Prediction, as_genomes
from roofline.search.space.base import BaseSpace

TABLES = """
create table if not exists about (key text primary key, value text not null);
create table if not exists networks (genome text primary key, mean real, half_width real, in_domain integer);
"""
#: mean, half-width, in domain
Answer = tuple[float, float, bool]


class FromNetworks:
    """Any callable that is given networks and returns their accuracies.

    Parameters
    ----------
    function
        List of networks -> an accuracy for each, or (means, half-widths, in domain). Networks are what `space.decode`
        returns, with `choices` by name (`to_torch()` and `parts` where the space is of modules).
    batch
        Most networks at a time.
    vectorised
        False: the function takes one network and returns one accuracy.
    store
        File that keeps the answers, of this and of later processes.
    hash
        Stands for all that the function depends on: answers of another one are refused.

    Examples
    --------
    >>> from roofline.search.space.load import search_space
    >>> space = search_space("vit")
    >>> oracle = FromNetworks(space, lambda networks: [n.image_size / 10 for n in networks])
    >>> oracle.predict(space.sample(1, seed=0)).mean.shape
    (1,)
    """

    def __init__(
        self,
        space: BaseSpace,
        function: Callable[[Any], Any],
        *,
        name: str = "user function",
        recipe: str = "user",
        half_width: float = float("nan"),
        kind: Literal["accuracy", "score"] = "accuracy",
        batch: int = 64,
        vectorised: bool = True,
        store: str | Path | None = None,
        hash: str | None = None,
    ) -> None:
        self.space, self.function, self.name, self.recipe = space, function, name, recipe
        self.half_width, self.kind, self.hash = half_width, kind, hash
        self.batch, self.vectorised = whole_number(batch, "batch of networks", most=1 << 20), vectorised
        self.store = None if store is None else Path(store)
        self._known: dict[str, Answer] = dict(self._stored()) if self.store else {}

    def predict(self, architectures: Any) -> Prediction:
        """Return what the function says of each network.

        Raises
        ------
        InputError
            It returns another number of accuracies than it was given networks, or what is none.
        """
        genomes = as_genomes(self.space, architectures)
        words = [self.space.text(genome) for genome in genomes]
        fresh = {word: row for row, word in enumerate(words) if word not in self._known}
        listed = list(fresh.items())
        for low in range(0, len(listed), self.batch):
            part = listed[low : low + self.batch]
            self._keep([word for word, _ in part], self._ask([self._network(genomes[row]) for _, row in part]))
        found = [self._known[word] for word in words]
        return Prediction(
            mean=np.array([mean for mean, _, _ in found], dtype=np.float64),
            half_width=np.array([width for _, width, _ in found], dtype=np.float64),
            in_domain=np.array([inside for _, _, inside in found], dtype=bool),
        )

    def _network(self, genome: Any) -> Any:
        return self.space.decode(genome)

    def _ask(self, networks: list[Any]) -> list[Answer]:
        said = self.function(networks) if self.vectorised else [self.function(network) for network in networks]
        parts = said if isinstance(said, tuple) else (said,)
        if len(parts) not in (1, 3):
            raise InputError(f"{self.name!r} must return (mean, half_width, in_domain), got {len(parts)} values")
        try:
            mean = np.asarray(parts[0], dtype=np.float64)
            widths = np.broadcast_to(np.asarray(parts[1] if len(parts) == 3 else self.half_width, float), mean.shape)
            inside = np.broadcast_to(np.asarray(parts[2] if len(parts) == 3 else True, dtype=bool), mean.shape)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name!r} returns no accuracies: {error}") from None
        if mean.shape != (len(networks),):
            raise InputError(f"{self.name!r} must return {len(networks)} accuracies, got shape {mean.shape!r}")
        if not np.isfinite(mean).all():
            row = int(np.flatnonzero(~np.isfinite(mean))[0])
            raise InputError(f"{self.name!r} returned {float(mean[row])!r} for network {networks[row].name!r}")
        return list(zip(mean.tolist(), widths.tolist(), inside.tolist(), strict=True))

    # what is kept ------------------------------------------------------------------

    def _about(self) -> dict[str, str]:
        return {"space": self.space.hash, "accuracy": self.name, "program": str(self.hash)}

    def _open(self) -> sqlite3.Connection:
        assert self.store is not None
        self.store.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(self.store, timeout=60.0)

    def _stored(self) -> Iterator[tuple[str, Answer]]:
        try:
            with closing(self._open()) as db, db:
                db.executescript(TABLES)
                known, wanted = dict(db.execute("select key, value from about")), self._about()
                other = [key for key, value in wanted.items() if known.get(key, value) != value]
                if other:
                    raise InputError(f"{str(self.store)!r} keeps answers of another {other[0]}: name another file")
                db.executemany("insert or replace into about values (?, ?)", wanted.items())
                for word, mean, width, inside in db.execute("select * from networks"):
                    yield word, (mean, float("nan") if width is None else width, bool(inside))
        except RooflineError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"cannot keep accuracies in {str(self.store)!r}: {error}") from None

    def _keep(self, words: list[str], answers: list[Answer]) -> None:
        self._known.update(zip(words, answers, strict=True))
        if self.store is None:
            return
        rows = [(word, *answer) for word, answer in zip(words, answers, strict=True)]
        try:
            with closing(self._open()) as db, db:
                db.executemany("insert or replace into networks values (?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"cannot keep accuracies in {str(self.store)!r}: {error}") from None
