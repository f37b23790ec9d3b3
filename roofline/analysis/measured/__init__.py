"""Measurements that others published, read in their original formats."""

from __future__ import annotations

import roofline.analysis.measured.folders
import roofline.analysis.measured.gpu_ops
import roofline.analysis.measured.latency_tables
import roofline.analysis.measured.networks
import roofline.analysis.measured.tpu_ops  # noqa: F401  (importing the readers fills the table of formats)
from roofline.analysis.measured.formats import FORMATS, load
from roofline.analysis.measured.types import Dataset, Measurement, Options, Rejected

__all__ = ["FORMATS", "Dataset", "Measurement", "Options", "Rejected", "load"]
