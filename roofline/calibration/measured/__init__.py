"""Measurements that others published, read in their original formats."""

from __future__ import annotations

import roofline.calibration.measured.folders
import roofline.calibration.measured.gpu_ops
import roofline.calibration.measured.latency_tables
import roofline.calibration.measured.networks
import roofline.calibration.measured.tpu_ops  # noqa: F401  (importing the readers fills the table of formats)
from roofline.calibration.measured.formats import FORMATS, load
from roofline.calibration.measured.types import Dataset, Measurement, Options, Rejected

__all__ = ["FORMATS", "Dataset", "Measurement", "Options", "Rejected", "load"]
