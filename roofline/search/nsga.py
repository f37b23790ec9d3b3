"""The former place of `roofline.search.evolution.nsga`, which a page named."""

from __future__ import annotations

import warnings
from typing import Any

from roofline.search.evolution import nsga
from roofline.search.evolution.objective import Objective


def pymoo_problem(objective: Objective) -> Any:
    """Return what `roofline.search.evolution.nsga.pymoo_problem` does; this path ends with version 0.3."""
    told = "roofline.search.nsga ends with version 0.3: import from roofline.search.evolution.nsga"
    warnings.warn(told, DeprecationWarning, stacklevel=2)
    return nsga.pymoo_problem(objective)
