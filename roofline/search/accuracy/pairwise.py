"""Pairwise ridge: the option that each gene takes, and every two together. Fitted to Accel-NASBench, it is its oracle.

The centred indicator of every option but a gene's first, and their products over pairs of genes: 930 terms and an
intercept. At run time it is a sum of table look-ups over pairs of stages.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from roofline.errors import InputError
from roofline.numeric import Array
from roofline.reading import parse_json, read_text
from roofline.search.accuracy.linear import COVERAGES, folds, out_of_fold, ridge, told_of_fit
from roofline.search.accuracy.protocol import Prediction, as_genomes
from roofline.search.oracle.tables import StageTable, gather
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Genomes
from roofline.search.space.load import search_space

DATA = Path(__file__).resolve().parent / "data"
#: chosen by 10-fold cross-validation among 0.1, 0.3, 1, 3, 10, 30
PENALTY = 3.0
FOLDS = 10


def indicators(genomes: Genomes, sizes: Sequence[int]) -> tuple[Array, list[int]]:
    """Return a column for every option but the first of each gene, and the gene of each column."""
    genes = [g for g, size in enumerate(sizes) for _ in range(1, size)]
    options = [o for size in sizes for o in range(1, size)]
    columns = [genomes[:, g] == o for g, o in zip(genes, options, strict=True)]
    return np.array(columns, dtype=np.float64).T, genes


def pairs(genes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of columns that belong to different genes."""
    return [(i, j) for i, j in itertools.combinations(range(len(genes)), 2) if genes[i] != genes[j]]


def terms(genomes: Genomes, sizes: Sequence[int], means: Array) -> Array:
    """Return the centred indicators and their products, (N, terms)."""
    single, genes = indicators(genomes, sizes)
    centred = single - means
    left, right = np.array(pairs(genes)).T
    return np.hstack([centred, centred[:, left] * centred[:, right]])


def fit(space: BaseSpace, genomes: Genomes, accuracy: Array, *, recipe: str, source: str) -> dict[str, Any]:
    """Fit to trained networks and return all that is shipped: coefficients, half-widths, and how well they do.

    Statistics are those of 10-fold cross-validation, half-widths split-conformal over its residuals.
    """
    means = indicators(genomes, space.sizes)[0].mean(axis=0)
    x = terms(genomes, space.sizes, means)
    predicted = out_of_fold_predictions(x, accuracy)
    weights, intercept = ridge(x, accuracy, PENALTY)
    return {
        "model": "pairwise ridge",
        "space": space.name,
        "choices": dict(zip(space.names, space.sizes, strict=True)),
        "recipe": recipe,
        "source": source,
        **told_of_fit(predicted, accuracy, PENALTY, FOLDS),
        "intercept": intercept,
        "means": means.round(12).tolist(),
        "weights": weights.round(9).tolist(),
    }


def out_of_fold_predictions(x: Array, accuracy: Array, seed: int = 0) -> Array:
    """Return cross-validated predictions of every row."""

    def learn(seen: Any) -> Any:
        weights, intercept = ridge(x[seen], accuracy[seen], PENALTY)
        return lambda rows: x[rows] @ weights + intercept

    return out_of_fold(learn, folds(len(accuracy), FOLDS, seed))


class PairwiseRidge:
    """An accuracy oracle of one space.

    Parameters
    ----------
    content
        What `fit` returns, or a JSON file of it; default: the one shipped for Accel-NASBench.
    coverage
        0.8, 0.9 or 0.95: the share of networks within the half-width.

    Examples
    --------
    >>> oracle = PairwiseRidge()
    >>> prediction = oracle.predict(oracle.space.sample(3, seed=0))
    >>> prediction.mean.shape, bool((prediction.mean <= 67.06).all())
    ((3,), True)
    """

    kind: Literal["accuracy", "score"] = "accuracy"

    def __init__(
        self,
        content: Mapping[str, Any] | str | Path | None = None,
        *,
        coverage: float = 0.9,
        space: BaseSpace | None = None,
    ) -> None:
        fitted = (
            content if isinstance(content, Mapping) else _read(Path(content or DATA / "accel_nasbench_pairwise.json"))
        )
        if coverage not in COVERAGES:
            raise InputError(f"coverage must be one of {', '.join(map(str, COVERAGES))}, got {coverage!r}")
        self.space = space or search_space(str(fitted["space"]))
        if dict(zip(self.space.names, self.space.sizes, strict=True)) != dict(fitted["choices"]):
            raise InputError(f"the pairwise ridge was fitted to other choices than those of {self.space.name!r}")
        self.recipe, self.source = str(fitted["recipe"]), str(fitted["source"])
        self.name = f"pairwise ridge on {fitted['space']}"
        self.half_width = float(fitted["half_width"][f"{coverage:g}"])
        self.lowest, self.highest = float(fitted["lowest"]), float(fitted["highest"])
        self.tau, self.rmse = float(fitted["tau"]), float(fitted["rmse"])
        self.intercept = float(fitted["intercept"])
        self._tables = _tables(self.space, np.array(fitted["means"]), np.array(fitted["weights"]), self.intercept)

    def predict(self, architectures: Any) -> Prediction:
        """Return top-1 accuracy [%]; what exceeds the best network ever trained is cut to it, and out of domain."""
        genomes = as_genomes(self.space, architectures)
        (raw,) = gather(self._tables, genomes, ("accuracy",))
        return Prediction(
            mean=np.minimum(raw, self.highest),
            half_width=np.full(len(raw), self.half_width),
            in_domain=(raw <= self.highest) & (raw >= self.lowest),
        )


@lru_cache(maxsize=8)
def _read(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = parse_json(read_text(path), path.name)
        content["weights"], content["means"], content["half_width"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} holds no pairwise ridge: {error}") from None
    return content


def _tables(space: BaseSpace, means: Array, weights: Array, intercept: float) -> tuple[StageTable, ...]:
    """Return the model as sums over pairs of gene groups: each group is the genes of one number in their names."""
    count = sum(space.sizes) - space.length
    first = np.concatenate([[0], np.cumsum([s - 1 for s in space.sizes])]).astype(int)
    linear, crossed = weights[:count], np.zeros((count, count))
    left, right = np.array(pairs([g for g, s in enumerate(space.sizes) for _ in range(1, s)])).T
    crossed[left, right] = weights[count:]
    crossed = crossed + crossed.T

    def columns(gene: int) -> Array:  # centred indicators of each option, (size, size - 1)
        return np.eye(space.sizes[gene])[:, 1:] - means[first[gene] : first[gene + 1]]

    def pair(a: int, b: int) -> Array:
        block = crossed[first[a] : first[a + 1], first[b] : first[b + 1]]
        return np.asarray(columns(a) @ block @ columns(b).T)

    groups = gene_groups(space)
    tables = []
    for x, y in itertools.combinations(range(len(groups)), 2):
        genes = tuple(sorted(groups[x] + groups[y]))
        shape = tuple(space.sizes[g] for g in genes)
        total = np.full(shape, intercept / (len(groups) * (len(groups) - 1) / 2))
        for g, h in itertools.combinations(genes, 2):
            inside = (g in groups[x]) == (h in groups[x])
            share = 1.0 / (len(groups) - 1) if inside else 1.0
            total = total + share * pair(g, h).reshape([space.sizes[k] if k in (g, h) else 1 for k in genes])
        for g in genes:
            own = columns(g) @ linear[first[g] : first[g + 1]] / (len(groups) - 1)
            total = total + own.reshape([space.sizes[k] if k == g else 1 for k in genes])
        tables.append(StageTable(stages=(), genes=genes, shape=shape, columns={"accuracy": total.ravel()}))
    return tuple(tables)


def gene_groups(space: BaseSpace) -> list[tuple[int, ...]]:
    """Return the genes in groups of one stage each."""
    groups: dict[str, list[int]] = {}
    for gene, choice in enumerate(space.choices):
        stage = next((s for changes in choice.changes for s, _, _ in changes), "")
        groups.setdefault(stage, []).append(gene)
    return [tuple(genes) for genes in groups.values()]
