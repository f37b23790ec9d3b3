"""What a scaled family leaves behind: a table, a summary, architecture files and pictures; accuracies never bare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from roofline.search.accuracy.scaling_law import DIMENSIONS, scaling_laws
from roofline.search.archfile import write_arch, write_tables
from roofline.search.scaling import Answer, ScaledFamily
from roofline.search.scaling_pick import cheapest
from roofline.stats import front


def rows(family: ScaledFamily, name: str | None = None) -> list[dict[str, Any]]:
    """Return one flat row per member, in the answer of that name; by default the one that was asked for."""
    answer = family.answers[name or family.answer.accuracy.name]
    twins = flops_scaled(family, answer) if family.objective == "latency" else []
    result = []
    for i, pick in enumerate(answer.picks):
        found = point(family, answer, pick.row)
        row: dict[str, Any] = {"member": family.names[i], **found, "phi": pick.phi}
        row |= {f"target_{k}": float(v) for k, v in zip(_targets(family), family.targets[i], strict=True)}
        row |= {f"best_{k}": v for k, v in point(family, answer, pick.best).items() if k != "figure"}
        row["tied"] = len(pick.tied)
        for dimension, values in zip(DIMENSIONS, family.grid.scale[pick.tied].T, strict=True):
            row |= {f"tied_{dimension}_least": float(values.min()), f"tied_{dimension}_most": float(values.max())}
        if twins:
            row |= {f"flops_scaled_{k}": v for k, v in point(family, answer, twins[i]).items() if k != "figure"}
        result.append(row)
    return result


def point(family: ScaledFamily, answer: Answer, row: int) -> dict[str, Any]:
    """Return one network of the grid as a flat row."""
    grid, found = family.grid, answer.prediction
    return {
        "depth": float(grid.depth[row]), "width": float(grid.width[row]), "resolution_px": int(grid.resolution[row]),
        "macs": float(grid.macs[row]), "params": float(grid.params[row]),
        **{f"latency_ms_{d}": float(grid.latency_s[row, k] * 1e3) for k, d in enumerate(family.devices)},
        "accuracy": float(found.mean[row]), "half_width_90": float(found.half_width[row]),
        "in_domain": bool(found.in_domain[row]), "recipe": answer.accuracy.recipe, "figure": answer.figure(row),
    }  # fmt: skip


def flops_scaled(family: ScaledFamily, answer: Answer) -> list[int]:
    """Return what scaling by FLOPs takes for members that are predicted to be as accurate as the family's."""
    accuracy = answer.prediction.mean
    least = accuracy[[pick.row for pick in answer.picks]]
    return cheapest(family.grid, family.grid.macs, accuracy, least, common=answer.triple is not None)


def fronts(family: ScaledFamily, device: int = 0) -> dict[str, Any]:
    """Return rows of the grid that nobody beats in accuracy, by latency and by FLOPs; each in order of its cost."""
    grid, accuracy = family.grid, family.answer.prediction.mean
    costs = {"latency": grid.latency_s[:, device], "flops": grid.macs}
    return {name: front(np.stack([cost, -accuracy], axis=1)) for name, cost in costs.items()}


def _targets(family: ScaledFamily) -> list[str]:
    return ["macs"] if family.objective == "flops" else [f"s_{d}" for d in family.devices]


def summary(family: ScaledFamily) -> dict[str, Any]:
    """Return the family as one JSON-able table: every answer, with the error of its calibration."""
    oracle = family.grid.oracle
    answers = {}
    for name, answer in family.answers.items():
        triple = answer.triple
        answers[name] = {
            "coefficients": None if triple is None else {
                "alpha": triple.alpha, "beta": triple.beta, "gamma": triple.gamma, "best": triple.best,
                "tied_least": triple.lowest, "tied_most": triple.highest, "tied": triple.count,
            },
            "error_of_families_left_out_pp": left_out(name),
            "members": rows(family, name),
        }  # fmt: skip
    runs = {t.device.name: {"runtime": t.machine.runtime.name, "dtype": t.machine.precision.name, "batch": t.batch}
            for t in oracle.targets}  # fmt: skip
    return {
        "base": family.grid.base.name, "objective": family.objective, "tie_pp": family.tie_pp, "devices": runs,
        "networks": len(family.grid), "notes": list(family.notes), "answers": answers,
    }  # fmt: skip


def left_out(name: str) -> float:
    """Return the error [percentage points] of a calibration for families it has not seen; NaN for other accuracies."""
    law = scaling_laws().get(name)
    return float("nan") if law is None else law.left_out_rmse


def save(family: ScaledFamily, folder: str | Path, *, plots: bool = True) -> list[Path]:
    """Write ``family.csv``, ``summary.json``, ``architectures/NAME.toml``, ``accuracy-DEVICE.png`` and ``path.png``.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    made = write_tables(folder, "family.csv", rows(family), summary(family))
    for arch, pick in zip(family.members, family.answer.picks, strict=True):
        note = (
            f"roofline scale {family.grid.base.name}, objective {family.objective}, {', '.join(family.devices)}:"
            f" {family.answer.figure(pick.row)}"
        )
        made.append(write_arch(arch, folder / "architectures" / f"{arch.name}.toml", note))
    if plots:
        for k, device in enumerate(family.devices):
            made.append(folder / f"accuracy-{device}.png")
            family.plot(device=k, path=made[-1])
        made.append(folder / "path.png")
        family.plot_path(path=made[-1])
    return made
