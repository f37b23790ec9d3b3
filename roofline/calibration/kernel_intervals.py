"""How far kernels of libraries are off, on devices that a fit had seen and on others: intervals of runs rest on it."""

from __future__ import annotations

import numpy as np

from roofline.calibration.library_fit import fit_library, left_out_s, library_constants
from roofline.calibration.predict import Prepared
from roofline.numeric import Array
from roofline.report.kernel_interval import COVERAGE, KernelInterval
from roofline.stats import conformal_quantile


def kernel_interval(prepared: Prepared, kind: str, source: str) -> KernelInterval:
    """Return the bounds of one kind of library: of each device, and of the worst one that was left out of a fit."""
    constants = library_constants(kind)
    fitted = _widths(prepared, fit_library(prepared, kind, constants).predicted_s)
    apart_s = left_out_s(prepared, kind, constants)
    apart = _widths(prepared, apart_s) if np.isfinite(apart_s).all() else {}
    return KernelInterval(
        devices=fitted, new_device=max(apart.values(), default=None), rows=len(prepared), source=source
    )


def _widths(prepared: Prepared, predicted_s: Array) -> dict[str, float]:
    """Return the bound of each device, that of the worst of its runtimes."""
    error = np.abs(np.log(prepared.measured_s / predicted_s))
    setups = [(m.device, m.runtime) for m in prepared.measurements]
    found: dict[str, float] = {}
    for setup in dict.fromkeys(setups):
        own = error[[one == setup for one in setups]]
        found[setup[0]] = max(found.get(setup[0], 0.0), round(conformal_quantile(own, COVERAGE), 3))
    return found
