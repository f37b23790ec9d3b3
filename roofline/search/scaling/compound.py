"""Compound scaling of a base network to a family: by latency on real devices, or by FLOPs as the papers did.

EfficientNet scales depth, width and resolution together, alpha^phi, beta^phi, gamma^phi, to a number of FLOPs (Tan and
Le, arXiv 1905.11946); EfficientNet-X does so to a latency (Li et al., arXiv 2102.05610). Here every member is a real
network with rounded repeats and channels, its latency is that of `simulate`, and its accuracy is a law's, with error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack

from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.engine.options import SpaceOptions
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.accuracy.protocol import Prediction
from roofline.search.accuracy.scaling_law import ScalingLaw, base_of, scaling_law, scaling_laws
from roofline.search.scaling.family import AccuracyLaw, Answer, ScaledBy, ScaledFamily
from roofline.search.scaling.forms import Limits
from roofline.search.scaling.grid import Grid, scaling_grid
from roofline.search.scaling.pick import loads, pick_common, pick_free
from roofline.search.scaling.promise import settled
from roofline.search.scaling.targets import check_given, check_reach, read_targets

Coefficients: TypeAlias = Literal["common", "free"]
#: predicted gap [percentage points] below which the order of two networks is a coin toss: 58 % of pairs are ordered
#: right (pairs of Accel-NASBench, Ahmad et al., arXiv 2404.08005, by predicted gap)
TIE_PP = 0.25
#: a member that uses less of its target than this ends where the range does
USED = 0.9


def compound_scale(
    base: str | Path | Arch,
    device: Any,
    targets: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    *,
    times: Sequence[float] | None = None,
    like: str | Sequence[str] | None = None,
    accuracy: str | Callable[..., Any] = "all-families",
    objective: ScaledBy = "latency",
    coefficients: Coefficients = "common",
    base_top1: float | None = None,
    tie_pp: float = TIE_PP,
    limits: Limits | None = None,
    **options: Unpack[SpaceOptions],
) -> ScaledFamily:
    """Scale a base network's depth, width and resolution to a family.

    Each member is the cheapest of the networks that accuracy cannot tell from the most accurate one within its target,
    which is a hard limit. By latency it then gives way to the fastest network that is predicted to be no less accurate:
    no FLOPs-scaled one of equal predicted accuracy is faster; for several devices see `search.scaling.promise`.

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
        ``common``: one alpha, beta, gamma, and a phi per member, from which members by latency are then moved.
        ``free``: each member its own.
    base_top1
        Top-1 accuracy [%] of the base; by default the published one where it is known.
    tie_pp
        Predicted gap [percentage points] below which accuracy cannot tell networks apart.
    limits
        How far is looked.
    **options
        As `Oracle`.

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
        prediction = oracle.predict(grid, grid.depth, grid.width, grid.resolution)
        triple = None
        if coefficients == "common":
            picks, triple = pick_common(grid, costs, wanted, prediction.mean, tie_pp, names)
        else:
            picks = pick_free(costs, wanted, prediction.mean, tie_pp)
        if objective == "latency":
            picks = settled(grid, wanted, prediction.mean, picks)
        answers[oracle.name] = Answer(accuracy=oracle, prediction=prediction, picks=tuple(picks), triple=triple)
    return _merged(grid, objective, names, wanted, costs, answers, tie_pp)


def _merged(
    grid: Grid,
    objective: ScaledBy,
    names: list[str],
    wanted: Array,
    costs: Array,
    answers: dict[str, Answer],
    tie_pp: float,
) -> ScaledFamily:
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
        grid=grid,
        objective=objective,
        names=tuple(names[i] for i in kept),
        targets=wanted[kept],
        answers={name: replace(a, picks=tuple(a.picks[i] for i in kept)) for name, a in answers.items()},
        tie_pp=tie_pp,
        notes=tuple(notes),
    )


def _accuracies(base: Arch, accuracy: str | Callable[..., Any], base_top1: float | None) -> list[AccuracyLaw]:
    """Return what is asked about accuracy: the law in the wanted calibration and the others, or a user's function."""
    if callable(accuracy):
        name = getattr(accuracy, "__name__", type(accuracy).__name__)
        return [AccuracyLaw(name=name, recipe="user", function=accuracy)]
    first, known = scaling_law(accuracy), base_of(base, base_top1)
    laws = [first, *(law for law in scaling_laws().values() if law is not first and law.knows(known))]

    def function(law: ScalingLaw) -> Callable[..., Prediction]:
        return lambda depth, width, pixels: law.predict(known, depth, width, pixels / base.image_size)

    return [AccuracyLaw(name=law.name, recipe=known.recipe, function=function(law)) for law in laws]
