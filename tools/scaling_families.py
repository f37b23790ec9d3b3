"""The families that ``tools/scaling.py`` writes about, each scaled once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from roofline.arch.load import model
from roofline.arch.spec import Arch
from roofline.numeric import Array
from roofline.search.scaling.compound import compound_scale
from roofline.search.scaling.family import ScaledBy, ScaledFamily
from roofline.search.scaling.forms import Limits
from roofline.search.scaling.pick import cheapest
from roofline.search.scaling.series import Series

DEVICES = {"tpu-v3": "TPU v3", "v100": "V100"}
LACS = {"tpu-v3": "x-tpu", "v100": "x-gpu"}
LIKE = "efficientnet-x-b1..b7"
BATCH = 128
#: wide enough for the largest members
WIDE = Limits(depth=(1.0, 6.5), width=(1.0, 4.5))


@cache
def base() -> Arch:
    """Return EfficientNet-X B0 with the squeeze-and-excite of B2 and larger: what the published members have."""
    found = model("efficientnet-x-b0")
    stages = tuple(
        s.model_copy(update={"se_coefficient": 1.0}) if hasattr(s, "se_coefficient") else s for s in found.stages
    )
    return replace(found, stages=stages)


@cache
def _family(devices: tuple[str, ...], objective: ScaledBy) -> ScaledFamily:
    return compound_scale(base(), devices, like=LIKE, objective=objective, limits=WIDE, batch=BATCH)


def family(device: str, objective: ScaledBy, calibration: str) -> ScaledFamily:
    """Return EfficientNet-X scaled to what X B1 to B7 cost; by FLOPs it is one family for both devices."""
    found = _family((device,) if objective == "latency" else tuple(DEVICES), objective)
    return asked(found, calibration)


def asked(found: ScaledFamily, calibration: str) -> ScaledFamily:
    """Return a family with another of its answers first."""
    first = {calibration: found.answers[calibration]}
    return replace(found, answers=first | dict(found.answers))


@cache
def _plain(one: bool) -> ScaledFamily:
    targets: dict[str, Any] = {"times": [2.0]} if one else {"like": "efficientnet-b1..b7"}
    limits = Limits(depth=(1, 2), width=(1, 2), resolution=(1, 1.5)) if one else Limits()
    return compound_scale("efficientnet-b0", "tpu-v3", objective="flops", limits=limits, **targets)


def plain(calibration: str, *, one: bool = False) -> ScaledFamily:
    """Return EfficientNet-B0 scaled by FLOPs to those of B1 to B7, or to twice its own alone."""
    return asked(_plain(one), calibration)


def names(label: str) -> list[str]:
    """Return the published members of ``x``, ``x-tpu`` or ``x-gpu``."""
    return [f"efficientnet-{label}-b{i}" for i in range(1, 8)]


@cache
def series(label: str, device: str, calibration: str) -> Series:
    """Return published members on a device."""
    return family(device, "latency", calibration).published(names(label))


def beside_flops(device: str, calibration: str) -> tuple[ScaledFamily, list[int], list[int], Array]:
    """Return the family by FLOPs, its rows, those by latency that are as accurate, and how much faster these are."""
    by_flops = family(device, "flops", calibration)
    grid, answer = by_flops.grid, by_flops.answer
    found = answer.prediction.mean
    least = found[[pick.best for pick in answer.picks]] - by_flops.tie_pp
    latency_s = grid.latency_s[:, by_flops.devices.index(device)]
    rows = cheapest(grid, latency_s, found, least, common=True)
    others = [pick.row for pick in answer.picks]
    return by_flops, others, rows, latency_s[others] / latency_s[rows]
