"""What a picture needs of a report; `Report` of the floor above has all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from roofline.hardware.spec import Device

if TYPE_CHECKING:
    import pandas as pd


By: TypeAlias = Literal["stage", "block", "kind", "kernel"]


class RunReport(Protocol):
    """One simulated run; units as in the names, totals of the whole batch."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def device(self) -> str:
        """Name of the device."""

    @property
    def runtime(self) -> str:
        """Name of the runtime."""

    @property
    def dtype(self) -> str:
        """Name of the precision."""

    @property
    def batch(self) -> int:
        """Examples in the run."""

    @property
    def phase(self) -> str | None:
        """Which step of a decoder it is; None for other networks."""

    @property
    def asked(self) -> str:
        """What is run, in words."""

    @property
    def idle_cores(self) -> int:
        """Program instances of the chip without work."""

    @property
    def latency_s(self) -> float:
        """Time of the run."""

    @property
    def intensity_flops_per_byte(self) -> float:
        """Operational intensity of the whole run."""

    @property
    def achieved_flops_per_s(self) -> float:
        """FLOPs of the run over its latency."""

    @property
    def ridge_flops_per_byte(self) -> float:
        """Intensity at which the roof bends."""

    @property
    def peak_flops_per_s(self) -> float:
        """Matrix peak of the chip at the run's precision."""

    @property
    def kernels(self) -> pd.DataFrame:
        """One row per kernel of one core, in execution order."""

    @property
    def device_spec(self) -> Device:
        """The device that was simulated."""


class WaterfallReport(RunReport, Protocol):
    """A run that knows the terms of its latency."""

    def waterfall(self, by: By | None = None) -> pd.DataFrame:
        """Terms that add up to the latency, of the run or of each stage, block, kind or kernel."""


def title(report: RunReport) -> str:
    """Return the line that names a run."""
    step = f", {report.asked}" if report.phase else ""
    return f"{report.model} on {report.device}, {report.runtime}, {report.dtype}, batch {report.batch:,}{step}"
