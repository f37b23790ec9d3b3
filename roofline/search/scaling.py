"""Compound scaling of a base network to a family: by latency on real devices, or by FLOPs as the papers did.

EfficientNet scales depth, width and resolution together, alpha^phi, beta^phi, gamma^phi, to a number of FLOPs (Tan and
Le, arXiv 1905.11946); EfficientNet-X does so to a latency (Li et al., arXiv 2102.05610). Here every member is a real
network with rounded repeats and channels, its latency is that of `simulate`, and its accuracy is a law's, with error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.accuracy.adapters import FromFunction
from roofline.search.accuracy.protocol import Prediction, checked, written
from roofline.search.accuracy.scaling_law import ScalingLaw, base_of, scaling_law, scaling_laws
from roofline.search.scaling_grid import Grid, scaling_grid
from roofline.search.scaling_pick import Pick, Triple, loads, pick_common, pick_free
from roofline.search.scaling_space import Limits
from roofline.search.scaling_targets import check_given, check_reach, read_targets

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Objective: TypeAlias = Literal["latency", "flops"]
Coefficients: TypeAlias = Literal["common", "free"]
#: names of shipped networks, or label -> names
Beside: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]
#: predicted gap [percentage points] below which the order of two networks is a coin toss: 58 % of pairs are ordered
#: right (pairs of Accel-NASBench, Ahmad et al., arXiv 2404.08005, by predicted gap)
TIE_PP = 0.25
#: a member that uses less of its target than this ends where the range does
USED = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Accuracy:
    """What says how accurate scaled networks are: the law in one calibration, or a user's function."""

    name: str
    recipe: str
    function: Callable[..., Any]

    def predict(self, grid: Grid, depth: Array, width: Array, pixels: Array) -> Prediction:
        """Return the accuracy [%] at multiples of depth and width and at resolutions [px], each (N,).

        Raises
        ------
        InputError
            The function fails, or returns something else than N finite accuracies.
        """
        oracle = FromFunction(
            grid.oracle.space, lambda _: self.function(depth, width, pixels), name=self.name, recipe=self.recipe
        )
        return checked(oracle, np.zeros((len(depth), grid.oracle.space.length), dtype=np.int8))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The family that one accuracy asks for: picks, and the coefficients they share (None where they are free)."""

    accuracy: Accuracy
    prediction: Prediction
    picks: tuple[Pick, ...]
    triple: Triple | None

    def figure(self, row: int) -> str:
        """Return the accuracy of a network as it may be printed."""
        found = self.prediction
        return written(
            float(found.mean[row]), float(found.half_width[row]), self.accuracy.recipe,
            in_domain=bool(found.in_domain[row]),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaledFamily:
    """A base network scaled to a family.

    Attributes
    ----------
    grid
        All scaled networks that were looked at, with their costs.
    names
        Members, one per distinct network.
    targets
        Per member and constraint, (M, C): seconds on each device, or MACs of one example (C = 1).
    answers
        By accuracy; the first is the one that was asked for, the others are the other calibrations.
    notes
        What a reader should know: members merged, ranges that end too early, dimensions that cannot scale.
    """

    grid: Grid
    objective: Objective
    names: tuple[str, ...]
    targets: Array
    answers: Mapping[str, Answer]
    tie_pp: float
    notes: tuple[str, ...] = field(default=())

    @property
    def answer(self) -> Answer:
        """The answer that was asked for."""
        return next(iter(self.answers.values()))

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices."""
        return self.grid.oracle.devices

    @cached_property
    def members(self) -> tuple[Arch, ...]:
        """The recommended networks; `simulate` gives the latencies of the table."""
        prefix = f"{self.grid.base.name}-{'lacs' if self.objective == 'latency' else 'flops'}"
        picks = self.answer.picks
        return tuple(self.grid.arch(p.row, f"{prefix}-{n}") for p, n in zip(picks, self.names, strict=True))

    def table(self) -> pd.DataFrame:
        """Return one row per member: multiples, counts, latencies [ms], accuracy with all that belongs to it."""
        import pandas as pd

        from roofline.search.scaling_report import rows

        return pd.DataFrame(rows(self))

    def save(self, folder: str | Path, *, plots: bool = True) -> list[Path]:
        """Write the family: ``family.csv``, ``summary.json``, ``architectures/*.toml`` and pictures."""
        from roofline.search.scaling_report import save

        return save(self, folder, plots=plots)

    def plot(self, *, device: int = 0, beside: Beside = (), path: str | Path | None = None) -> Figure:
        """Draw accuracy over latency: the family, FLOPs-scaled networks, and shipped networks `beside` them."""
        from roofline.search.scaling_plots import plot_curves

        return plot_curves(self, device=device, beside=beside, path=path)

    def plot_path(self, *, beside: Beside = (), path: str | Path | None = None) -> Figure:
        """Draw depth, width and resolution over cost, on logarithmic axes, and those of shipped networks `beside`."""
        from roofline.search.scaling_plots import plot_path

        return plot_path(self, beside=beside, path=path)


def compound_scale(
    base: str | Path | Arch,
    device: Any,
    targets: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    *,
    times: Sequence[float] | None = None,
    like: str | Sequence[str] | None = None,
    accuracy: str | Callable[..., Any] = "all-families",
    objective: Objective = "latency",
    coefficients: Coefficients = "common",
    base_top1: float | None = None,
    tie_pp: float = TIE_PP,
    limits: Limits | None = None,
    **options: Any,
) -> ScaledFamily:
    """Scale a base network's depth, width and resolution to a family.

    Each member is the cheapest of the networks that accuracy cannot tell from the most accurate one within its target.

    Parameters
    ----------
    base
        Network to scale: name, file or `Arch`. It reads images.
    device
        One device or several; every target holds on all of them.
    targets
        Milliseconds per run (objective ``latency``; a mapping device -> list where devices differ), or 1e9 MACs of one
        example (objective ``flops``). Targets grow.
    times
        Instead of `targets`: multiples of the base's cost.
    like
        Instead of `targets`: networks whose costs are the targets, as a list or ``"efficientnet-b1..b7"``.
    accuracy
        A calibration of the scaling law, ``all-families`` or ``efficientnet``, or any function of depth, width
        (multiples) and resolution (pixels), each (N,), that returns accuracies (N,), a (mean, half_width, in_domain)
        or a `Prediction`.
    objective
        What targets are of.
    coefficients
        ``common``: one alpha, beta, gamma, and a phi per member. ``free``: each member its own.
    base_top1
        Top-1 accuracy [%] of the base; by default the published one where it is known.
    tie_pp
        Predicted gap [percentage points] below which accuracy cannot tell networks apart.
    limits
        How far is looked.
    **options
        batch, dtype, runtime, layout, cores, as in `Oracle`.

    Raises
    ------
    InputError
        A target is out of reach (the message shows the closest network), targets do not grow, or the base cannot be
        scaled.

    Examples
    --------
    >>> near = Limits(depth=(1, 2), width=(1, 1.5), resolution=(1, 1.5))
    >>> family = compound_scale("efficientnet-b0", "tpu-v3", times=[2, 4], batch=128, limits=near)
    >>> [arch.name for arch in family.members]
    ['efficientnet-b0-lacs-1', 'efficientnet-b0-lacs-2']
    """
    if objective not in ("latency", "flops"):
        raise InputError(f"objective must be 'latency' or 'flops', got {objective!r}")
    if coefficients not in ("common", "free"):
        raise InputError(f"coefficients must be 'common' or 'free', got {coefficients!r}")
    if not 0 <= tie_pp < 100:
        raise InputError(f"tie_pp must be a gap in percentage points, got {tie_pp!r}")
    check_given(targets, times, like)
    network = load_model(base)
    if isinstance(accuracy, str):
        law, known = scaling_law(accuracy), base_of(network, base_top1)
        if not law.knows(known):
            raise InputError(
                f"no network reaches more than {100.0 - law.floor:.4g} % by the law in calibration"
                f" {law.name!r}: a base of {known.top1:g} % cannot be scaled by it"
            )
    grid = scaling_grid(network, device, limits or Limits(), **options)
    costs = grid.latency_s if objective == "latency" else grid.macs[:, None]
    names, wanted = read_targets(grid, costs, objective, targets, times, like)
    check_reach(grid, costs, wanted, names, objective)
    answers = {}
    for oracle in _accuracies(network, accuracy, base_top1):
        found = oracle.predict(grid, grid.depth, grid.width, grid.resolution)
        triple = None
        if coefficients == "common":
            picks, triple = pick_common(grid, costs, wanted, found.mean, tie_pp, names)
        else:
            picks = pick_free(costs, wanted, found.mean, tie_pp)
        answers[oracle.name] = Answer(accuracy=oracle, prediction=found, picks=tuple(picks), triple=triple)
    return _merged(grid, objective, names, wanted, costs, answers, tie_pp)


def _merged(grid: Grid, objective: Objective, names: list[str], wanted: Array, costs: Array,
            answers: dict[str, Answer], tie_pp: float) -> ScaledFamily:  # fmt: skip
    """Return the family with each network once, and notes on what is merged or ends with the range."""
    picks = next(iter(answers.values())).picks
    notes = list(grid.notes)
    first: dict[int, int] = {}
    for i, pick in enumerate(picks):
        if pick.row in first:
            notes.append(f"{names[i]} rounds to the same network as {names[first[pick.row]]}: merged")
        first.setdefault(pick.row, i)
    for i, pick in ((i, picks[i]) for i in first.values()):
        for axis, at, what in zip(grid.axes, grid.scale[pick.best], ("depth", "width", "resolution"), strict=True):
            if len(axis) > 1 and at >= axis[-1]:
                notes.append(f"{names[i]}: the best network is at the end of the range of {what}, {at:g}: widen it")
        used = float(loads(costs[[pick.best]], wanted[i])[0])
        if used < USED:
            notes.append(
                f"{names[i]} uses {used:.0%} of its target: one step of rounding more is too large, or out of range"
            )
    kept = list(first.values())
    return ScaledFamily(
        grid=grid, objective=objective, names=tuple(names[i] for i in kept), targets=wanted[kept], tie_pp=tie_pp,
        notes=tuple(notes),
        answers={
            name: Answer(accuracy=a.accuracy, prediction=a.prediction, picks=tuple(a.picks[i] for i in kept),
                         triple=a.triple)
            for name, a in answers.items()
        },
    )  # fmt: skip


def _accuracies(base: Arch, accuracy: str | Callable[..., Any], base_top1: float | None) -> list[Accuracy]:
    """Return what is asked about accuracy: the law in the wanted calibration and the others, or a user's function."""
    if callable(accuracy):
        name = getattr(accuracy, "__name__", type(accuracy).__name__)
        return [Accuracy(name=name, recipe="user", function=accuracy)]
    first, known = scaling_law(accuracy), base_of(base, base_top1)
    laws = [first, *(law for law in scaling_laws().values() if law is not first and law.knows(known))]

    def function(law: ScalingLaw) -> Callable[..., Prediction]:
        return lambda depth, width, pixels: law.predict(known, depth, width, pixels / base.image_size)

    return [Accuracy(name=law.name, recipe=known.recipe, function=function(law)) for law in laws]
