"""The former place of `roofline.studies`: two import paths that pages told, kept for one minor version."""

from __future__ import annotations

import sys
import warnings

from roofline.studies import intensity, sweep

warnings.warn("roofline.analysis ends with version 0.3: import from roofline.studies", DeprecationWarning, stacklevel=2)
for _module in (intensity, sweep):
    sys.modules[_module.__name__.replace("studies", "analysis")] = _module
