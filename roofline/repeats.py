"""Kernels of repeated blocks, as one row: a reader wants the seven equal layers of a stage named once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Columns that add up over repeats; all others are equal among them, or are taken from the first.
SUMMED = ("count", "time_s", "share", "macs", "flops", "vector_ops", "traffic_bytes")


def merge_repeats(kernels: pd.DataFrame) -> pd.DataFrame:
    """Return the kernels of a report with equal ones of a stage merged, in order of first appearance.

    Kernels are equal when stage, name within the block, kind, bound and (to three digits) time and traffic are. Times,
    shares and counts of work are sums; ``count`` says of how many; the name is that of the stage where it is not 1.
    """
    within = kernels["kernel"].str.partition("/")[2]
    keys = [
        kernels["stage"],
        within,
        kernels["kind"],
        kernels["bound"],
        kernels["time_s"].map("{:.2e}".format),
        kernels["traffic_bytes"].map("{:.2e}".format),
    ]
    groups = kernels.groupby([key.to_numpy() for key in keys], sort=False)
    merged = groups.first()
    merged[list(SUMMED)] = groups[list(SUMMED)].sum()
    many = merged["count"] > 1
    merged.loc[many, "kernel"] = (
        merged["stage"] + "/" + merged.index.get_level_values(1) + " ×" + merged["count"].astype(str)
    )[many]
    return merged.reset_index(drop=True)
