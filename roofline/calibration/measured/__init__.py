"""Measurements that others published, read in their original formats; the readers beside this file are found."""

from __future__ import annotations

import importlib
import pkgutil

from roofline.calibration.measured.formats import FORMATS, load
from roofline.calibration.measured.types import Dataset, Measurement, Options, Rejected

__all__ = ["FORMATS", "Dataset", "Measurement", "Options", "Rejected", "load"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
