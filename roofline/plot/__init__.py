"""Pictures of a report. Every function draws on a figure outside pyplot's state and returns it."""

from __future__ import annotations

from roofline.plot.compare import plot_comparison
from roofline.plot.kernels import plot_kernels
from roofline.plot.roofline import plot_roofline
from roofline.plot.waterfall import plot_waterfall

__all__ = ["plot_comparison", "plot_kernels", "plot_roofline", "plot_waterfall"]
