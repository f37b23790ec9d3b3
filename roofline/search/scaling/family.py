"""A family of scaled networks: the picks, what is told of them, and what they leave behind; accuracies never bare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from roofline.arch.load import model, multiples
from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.search.accuracy.adapters import FromFunction
from roofline.search.accuracy.protocol import Prediction, checked, written
from roofline.search.accuracy.scaling_law import DIMENSIONS, scaling_laws
from roofline.search.scaling.grid import Grid
from roofline.search.scaling.pick import Pick, Triple
from roofline.search.scaling.promise import flops_scaled, trades
from roofline.search.scaling.series import Series
from roofline.search.scaling.targets import run
from roofline.search.space.folder import write_arch, write_tables
from roofline.stats import front
from roofline.text import significant

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: what targets are of
ScaledBy: TypeAlias = Literal["latency", "flops"]
#: names of shipped networks, or label -> names
Beside: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class AccuracyLaw:
    """What says how accurate scaled networks are: the scaling law in one calibration, or a user's function."""

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

    accuracy: AccuracyLaw
    prediction: Prediction
    picks: tuple[Pick, ...]
    triple: Triple | None

    def figure(self, row: int) -> str:
        """Return the accuracy of a network as it may be printed."""
        prediction = self.prediction
        mean, half_width = float(prediction.mean[row]), float(prediction.half_width[row])
        return written(mean, half_width, self.accuracy.recipe, in_domain=bool(prediction.in_domain[row]))


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
    objective: ScaledBy
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

    # rows ---------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """Return one row per member: multiples, counts, latencies [ms], accuracy with all that belongs to it."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return one flat row per member, in the answer of that name; by default the one that was asked for."""
        answer = self.answers[name or self.answer.accuracy.name]
        twins = self._flops_scaled(answer)
        result = []
        for i, pick in enumerate(answer.picks):
            chosen = self._point(answer, pick.row)
            row: dict[str, Any] = {"member": self.names[i], **chosen, "phi": pick.phi}
            row |= {f"target_{k}": float(v) for k, v in zip(self._constraints(), self.targets[i], strict=True)}
            row |= {f"start_{k}": v for k, v in self._point(answer, pick.start).items() if k != "figure"}
            row |= {f"best_{k}": v for k, v in self._point(answer, pick.best).items() if k != "figure"}
            row["tied"] = len(pick.tied)
            for dimension, values in zip(DIMENSIONS, self.grid.scale[pick.tied].T, strict=True):
                row |= {f"tied_{dimension}_least": float(values.min()), f"tied_{dimension}_most": float(values.max())}
            if twins:
                row |= {f"flops_scaled_{k}": v for k, v in self._point(answer, twins[i]).items() if k != "figure"}
            result.append(row)
        return result

    def _point(self, answer: Answer, row: int) -> dict[str, Any]:
        """Return one network of the grid as a flat row."""
        grid, prediction, accuracy = self.grid, answer.prediction, answer.accuracy
        scale = {"depth": float(grid.depth[row]), "width": float(grid.width[row])}
        counts = {"macs": float(grid.macs[row]), "params": float(grid.params[row])}
        times = {f"latency_ms_{d}": float(grid.latency_s[row, k] * 1e3) for k, d in enumerate(self.devices)}
        said = {"accuracy": float(prediction.mean[row]), "half_width_90": float(prediction.half_width[row])}
        trust = {"in_domain": bool(prediction.in_domain[row]), "recipe": accuracy.recipe, "figure": answer.figure(row)}
        return {**scale, "resolution_px": int(grid.resolution[row]), **counts, **times, **said, **trust}

    def trades(self, name: str | None = None) -> list[str]:
        """Return a line for each member that a FLOPs-scaled one as accurate beats somewhere; none on one device."""
        answer = self.answers[name or self.answer.accuracy.name]
        twins, rows = self._flops_scaled(answer), [pick.row for pick in answer.picks]
        return trades(self.grid, self.names, rows, twins) if twins else []

    def _flops_scaled(self, answer: Answer) -> list[int]:
        """Return what scaling by FLOPs takes for members that are predicted to be as accurate as those by latency."""
        if self.objective == "flops":
            return []
        return flops_scaled(self.grid, answer.prediction.mean, [pick.row for pick in answer.picks])

    def _limit(self, member: int) -> str:
        """Return a member's target as files say it."""
        if self.objective == "flops":
            return f"{significant(float(self.targets[member, 0]) / 1e9, 4)} GMACs"
        limits = zip(self.targets[member], self.devices, strict=True)
        return ", ".join(f"{significant(float(s) * 1e3, 4)} ms on {device}" for s, device in limits)

    def _constraints(self) -> list[str]:
        return ["macs"] if self.objective == "flops" else [f"s_{d}" for d in self.devices]

    def summary(self) -> dict[str, Any]:
        """Return the family as one JSON-able table: every answer, with the error of its calibration."""
        oracle = self.grid.oracle
        answers = {}
        for name, answer in self.answers.items():
            answers[name] = {
                "coefficients": _coefficients(answer.triple),
                "error_of_families_left_out_pp": left_out(name),
                "members": self.rows(name),
                "trades": self.trades(name),
            }
        runs = {
            t.device.name: {"runtime": t.runtime.name, "dtype": t.policy.precision.name, "batch": t.batch}
            for t in oracle.targets
        }
        about: dict[str, Any] = {"base": self.grid.base.name, "objective": self.objective, "targets": "hard limits"}
        about |= {"tie_pp": self.tie_pp, "devices": runs}
        return about | {"networks": len(self.grid), "notes": list(self.notes), "answers": answers}

    # series --------------------------------------------------------------------------

    def series(self, device: int = 0, *, starts: bool = False) -> Series:
        """Return the members, or with `starts` the networks at the family's coefficients."""
        picks = self.answer.picks
        grid, rows = self.grid, np.array([p.start if starts else p.row for p in picks])
        accuracy = self.answer.prediction.mean[rows]
        return self._series(self.names, grid.scale[rows], grid.macs[rows], grid.latency_s[rows], accuracy, device)

    def published(self, names: Sequence[str], device: int = 0) -> Series:
        """Return shipped networks of the base's family: simulated, their accuracy by the law.

        As everywhere, a depth counts as the one of the grid to which it rounds: one network has one accuracy.

        Raises
        ------
        InputError
            One is of another family: the law knows nothing of what sets it apart.
        """
        grid = self.grid
        archs = [model(name) for name in names]
        for arch in archs:
            if arch.family != grid.base.family:
                raise InputError(f"{arch.name!r} is of family {arch.family!r}, not of the base's, {grid.base.family!r}")
        depth, width = np.array([multiples(arch.name) for arch in archs]).T
        pixels = np.array([arch.image_size for arch in archs], dtype=np.float64)
        reports = [[run(arch, target) for target in grid.oracle.targets] for arch in archs]
        latency_s = np.array([[report.latency_s for report in row] for row in reports])
        macs = np.array([row[0].macs_per_example for row in reports])
        scale = np.stack([depth, width, pixels / grid.base.image_size], axis=1)
        accuracy = self.answer.accuracy.predict(grid, grid.named(depth), width, pixels).mean
        return self._series(tuple(arch.name for arch in archs), scale, macs, latency_s, accuracy, device)

    def _series(
        self, names: tuple[str, ...], scale: Array, macs: Array, latency_s: Array, accuracy: Array, device: int
    ) -> Series:
        """Return networks with multiples of the base's cost: the geometric mean over devices of its latency, or MACs.

        `latency_s` is (M, devices).
        """
        grid, base, latency_ms = self.grid, self.grid.base_row, latency_s[:, device] * 1e3
        by_latency = np.exp(np.log(latency_s / grid.latency_s[base]).mean(axis=1))
        cost = np.asarray(macs / grid.macs[base] if self.objective == "flops" else by_latency)
        return Series(names=names, scale=scale, macs=macs, latency_ms=latency_ms, accuracy=accuracy, cost=cost)

    def fronts(self, device: int = 0) -> dict[str, Any]:
        """Return rows of the grid that nobody beats in accuracy, by latency and by FLOPs; each in order of its cost."""
        grid, accuracy = self.grid, self.answer.prediction.mean
        costs = {"latency": grid.latency_s[:, device], "flops": grid.macs}
        return {name: front(np.stack([cost, -accuracy], axis=1)) for name, cost in costs.items()}

    # files and pictures ---------------------------------------------------------------

    def save(self, folder: str | Path, *, plots: bool = True) -> list[Path]:
        """Write ``family.csv``, ``summary.json``, ``architectures/NAME.toml`` and pictures of accuracy and path.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        folder = Path(folder)
        made = write_tables(folder, "family.csv", self.rows(), self.summary())
        for i, (arch, pick) in enumerate(zip(self.members, self.answer.picks, strict=True)):
            note = (
                f"roofline scale {self.grid.base.name}, objective {self.objective}, {', '.join(self.devices)}:"
                f" {self.answer.figure(pick.row)}; hard limit {self._limit(i)}"
            )
            made.append(write_arch(arch, folder / "architectures" / f"{arch.name}.toml", note))
        if plots:
            for k, device in enumerate(self.devices):
                made.append(folder / f"accuracy-{device}.png")
                self.plot(device=k, path=made[-1])
            made.append(folder / "path.png")
            self.plot_path(path=made[-1])
        return made

    def plot(self, *, device: int = 0, beside: Beside = (), path: str | Path | None = None) -> Figure:
        """Draw accuracy over latency: the family, FLOPs-scaled networks, and shipped networks `beside` them."""
        from roofline.search.scaling.plots import plot_curves

        grid, answer = self.grid, self.answer
        latency_ms, accuracy = grid.latency_s[:, device] * 1e3, answer.prediction.mean
        return plot_curves(
            self.series(device),
            answer.prediction.half_width[[p.row for p in answer.picks]],
            {name: (latency_ms[rows], accuracy[rows]) for name, rows in self.fronts(device).items()},
            {name: self.published(members, device) for name, members in _named(beside).items()},
            by=self.objective,
            latency=f"latency on {self.devices[device]}, batch {grid.oracle.targets[device].batch} [ms]",
            accuracy=f"predicted top-1 [%]\n{answer.accuracy.name}, {answer.accuracy.recipe}",
            path=path,
        )

    def plot_path(self, *, beside: Beside = (), path: str | Path | None = None) -> Figure:
        """Draw the coefficients' depth, width and resolution over cost, logarithmic, and those of networks `beside`."""
        from roofline.search.scaling.plots import plot_path

        title = f"by {'latency on ' + ' and '.join(self.devices) if self.objective == 'latency' else 'FLOPs'}"
        others = {name: self.published(members) for name, members in _named(beside).items()}
        return plot_path({title: self.series(starts=True)} | others, by=self.objective, path=path)


def _named(beside: Beside) -> dict[str, list[str]]:
    """Return networks by the family that their names begin with, unless families are named."""
    if isinstance(beside, Mapping):
        return {name: list(members) for name, members in beside.items()}
    families: dict[str, list[str]] = {}
    for name in beside:
        families.setdefault(name.rpartition("-")[0] or name, []).append(name)
    return families


def _coefficients(triple: Triple | None) -> dict[str, Any] | None:
    if triple is None:
        return None
    chosen = {"alpha": triple.alpha, "beta": triple.beta, "gamma": triple.gamma, "best": triple.best}
    return chosen | {"tied_least": triple.lowest, "tied_most": triple.highest, "tied": triple.count}


def left_out(name: str) -> float:
    """Return the error [percentage points] of a calibration for families it has not seen; NaN for other accuracies."""
    law = scaling_laws().get(name)
    return float("nan") if law is None else law.left_out_rmse
