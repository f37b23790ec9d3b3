"""A user's own accuracy: any function, any scikit-learn-style regressor, any table of trained networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, RooflineError
from roofline.numeric import Array
from roofline.reading import parse_csv, read_text
from roofline.search.accuracy.protocol import Prediction, as_genomes
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Genomes
from roofline.stats import conformal_quantile

#: column of Accel-NASBench's table that holds its accuracy
TARGET = "val_top1"


class FromFunction:
    """Any callable genomes (N, L) -> accuracies (N,), or -> (mean, half_width, in_domain).

    `hash`, where one is given, stands for all that the function depends on: a search does not go on with another.

    Examples
    --------
    >>> from roofline.search.space.load import search_space
    >>> oracle = FromFunction(search_space("vit"), lambda genomes: genomes.sum(axis=1), name="mine")
    >>> oracle.predict(oracle.space.sample(2)).mean.shape
    (2,)
    """

    def __init__(
        self,
        space: BaseSpace,
        function: Callable[[Genomes], Any],
        *,
        name: str = "user function",
        recipe: str = "user",
        half_width: float = float("nan"),
        kind: Literal["accuracy", "score"] = "accuracy",
        hash: str | None = None,
    ) -> None:
        self.space, self.function, self.name, self.recipe = space, function, name, recipe
        self.half_width, self.kind, self.hash = half_width, kind, hash

    def predict(self, architectures: Any) -> Prediction:
        """Return what the function says; without a statement of its own everything is in its domain."""
        genomes = as_genomes(self.space, architectures)
        answer = self.function(genomes)
        if isinstance(answer, Prediction):
            return answer
        if isinstance(answer, tuple):
            if len(answer) != 3:
                raise InputError(f"{self.name!r} must return (mean, half_width, in_domain), got {len(answer)} values")
            mean, half_width, in_domain = answer
            return Prediction(
                mean=np.asarray(mean, dtype=np.float64),
                half_width=np.asarray(half_width, dtype=np.float64),
                in_domain=np.asarray(in_domain, dtype=bool),
            )
        mean = np.asarray(answer, dtype=np.float64)
        widths, inside = np.full(len(genomes), self.half_width), np.ones(len(genomes), dtype=bool)
        return Prediction(mean=mean, half_width=widths, in_domain=inside)


def one_hot(space: BaseSpace, genomes: Genomes) -> Array:
    """Return a column per option of every gene, (N, sum of sizes)."""
    return np.hstack([np.eye(size)[genomes[:, gene]] for gene, size in enumerate(space.sizes)])


class FromRegressor(FromFunction):
    """Any fitted regressor with ``predict(X) -> (N,)``, on one-hot genomes or on your own `features`.

    With `held_out` = (genomes, accuracies) that it was not fitted to, predictions carry a 90 % conformal half-width.
    """

    def __init__(
        self,
        space: BaseSpace,
        regressor: Any,
        *,
        features: Callable[[Genomes], Any] | None = None,
        held_out: tuple[Any, Any] | None = None,
        name: str = "",
        recipe: str = "user",
    ) -> None:
        if not callable(getattr(regressor, "predict", None)):
            raise InputError(f"a regressor needs a method predict, {type(regressor).__name__!r} has none")
        encode = features or (lambda genomes: one_hot(space, genomes))
        half_width = float("nan")
        if held_out is not None:
            errors = np.asarray(regressor.predict(encode(space.check(held_out[0])))).ravel() - np.asarray(held_out[1])
            half_width = conformal_quantile(np.abs(errors), 0.9)

        def predict(genomes: Genomes) -> Array:
            return np.asarray(regressor.predict(encode(genomes))).ravel()

        super().__init__(space, predict, name=name or type(regressor).__name__, recipe=recipe, half_width=half_width)


class FromTable:
    """Trained networks and nothing else: accuracies of known genomes; others are an error, not a guess."""

    kind: Literal["accuracy", "score"] = "accuracy"

    def __init__(
        self,
        space: BaseSpace,
        architectures: Sequence[Mapping[str, Any]] | Genomes,
        accuracies: Any,
        *,
        name: str = "table",
        recipe: str = "user",
        half_width: float = 0.0,
    ) -> None:
        self.space, self.name, self.recipe, self.half_width = space, name, recipe, half_width
        self.genomes = np.asarray(as_genomes(space, architectures), dtype=np.int8)
        self.accuracies = np.asarray(accuracies, dtype=np.float64)
        if self.accuracies.shape != (len(self.genomes),) or not np.isfinite(self.accuracies).all():
            raise InputError(f"table {name!r} needs one finite accuracy per network, {len(self.genomes)} of them")
        self._rows = {row.tobytes(): i for i, row in enumerate(self.genomes)}

    @property
    def hash(self) -> str:
        """Of all that predictions depend on."""
        return hashlib.sha256(self.genomes.tobytes() + self.accuracies.tobytes()).hexdigest()

    def predict(self, architectures: Any) -> Prediction:
        """Return the accuracies in the table.

        Raises
        ------
        InputError
            A genome is not in it.
        """
        genomes = np.ascontiguousarray(as_genomes(self.space, architectures), dtype=np.int8)
        rows = [self._rows.get(genome.tobytes(), -1) for genome in genomes]
        if -1 in rows:
            raise InputError(f"table {self.name!r} has no accuracy of genome {genomes[rows.index(-1)].tolist()!r}")
        return Prediction(
            mean=self.accuracies[rows],
            half_width=np.full(len(rows), self.half_width),
            in_domain=np.ones(len(rows), dtype=bool),
        )


def read_table(path: str | Path, space: BaseSpace) -> tuple[NDArray[np.int8], dict[str, Array]]:
    """Return the genomes of a table's rows, and its other columns; cells without a number are NaN.

    Raises
    ------
    InputError
        The file cannot be read, or a row is no network of the space.
    """
    path = Path(path)
    columns, rows = parse_csv(read_text(path), path.name)
    if not rows:
        raise InputError(f"{path.name} has no rows")
    known = {name for choice in space.choices for name in (choice.name, *choice.aliases)}
    genomes = []
    for line, row in rows:
        try:
            genomes.append(space.encode({k: v for k, v in row.items() if k in known}))
        except RooflineError as error:
            error.add_note(f"in line {line} of {path.name!r}")
            raise
    others = [name for name in columns if name not in known]
    return np.stack(genomes), {name: np.array([_number(row.get(name)) for _, row in rows]) for name in others}


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")
