"""Write the section of ``docs/accuracy.md`` on XLA's own compiler: ``python tools/witness.py FOLDER [--kept-only]``.

FOLDER keeps compiled programs. Without ``--kept-only`` what is missing there is compiled first, which takes hours.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

import pandas as pd
from accuracy import HEADS, PAGE, percent, table, with_section

import roofline as rf
from roofline.studies.beside import Witness

#: the networks of the table; those behind take part where they are compiled
MODELS = (
    *("efficientnet-b0", "efficientnet-x-b0", "resnet-50"),
    *("efficientnet-b3", "efficientnet-x-b3", "mobilenetv2-1.0", "vit-b-16", "bert-base", "gpt2"),
)
DEVICES = ("tpu-v2", "tpu-v3", "tpu-v4i", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e")
BATCHES = (1, 8, 128)
#: kinds of neighbours that are listed
MOST_KINDS = 12


def section(found: Witness) -> str:
    """Return the section."""
    runs, date = found.summary, datetime.date.today().isoformat()
    same = found.pairs["predicted"].eq(found.pairs["compiled"]).mean()
    parts = [
        HEADS["witness"],
        f"**Estimates of a compiler, not measurements.** {len(runs)} programs, {found.source}, {date}"
        " ([what is compared](witness.md)). Ratio: predicted over compiled time of the kernels that match; a factor is"
        " the median ratio of a device.",
        "### After one factor per device",
        by_device(found),
        f"Medians over all programs: rank correlation of kernel times {runs['spearman'].median():.2f}, error after one"
        f" factor per device {percent(runs['factor_error'].abs().median())}, neighbours that both fuse or both keep"
        f" apart {percent(runs['same_share'].median())} ({percent(same)} of all pairs).",
        "### Network by network: ratio, rank correlation, same neighbours",
        by_network(runs),
        "### Neighbours that only one side fuses",
        apart(found.pairs),
    ]
    return "\n\n".join(parts)


def by_device(found: Witness) -> str:
    """Return what one factor leaves on each device."""
    head = ("device", "programs", "factor", "median error", "worst", "rank correlation", "same neighbours", "unmatched")
    rows = [
        [
            *(row["device"], str(row["runs"]), f"{row['factor']:.2f}"),
            *(percent(row[name]) for name in ("median_error", "worst_error")),
            *(f"{row['spearman']:.2f}", percent(row["same_share"]), percent(row["unmatched_share"])),
        ]
        for row in found.devices.to_dict("records")
    ]
    return table(head, rows)


def by_network(runs: pd.DataFrame) -> str:
    """Return a line for each network and device, with a column for each batch."""
    rows = []
    for (model, device), group in runs.groupby(["model", "device"], sort=False):
        cells = {
            row["batch"]: f"{row['ratio']:.2f}, {row['spearman']:.2f}, {row['same_share']:.0%}"
            for row in group.to_dict("records")
        }
        rows.append([str(model), str(device), *(cells.get(batch, "–") for batch in BATCHES)])
    return table(("network", "device", *(f"batch {batch}" for batch in BATCHES)), rows, 2)


def apart(pairs: pd.DataFrame) -> str:
    """Return which kinds of neighbours only one side fuses, the most frequent first."""
    differing = pairs[pairs["predicted"] != pairs["compiled"]]
    counts = differing.groupby(["kinds", "predicted"]).size().sort_values(ascending=False, kind="stable")
    whole = pairs.groupby("kinds").size()
    rows = [
        [row["kinds"], "the prediction" if row["predicted"] else "XLA", f"{row['size']:,}", f"{whole[row['kinds']]:,}"]
        for row in counts.head(MOST_KINDS).reset_index(name="size").to_dict("records")
    ]
    return table(("ops", "fused by", "pairs", "of"), rows, 2)


def main() -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description="Write the section of docs/accuracy.md on XLA's own compiler.")
    parser.add_argument("folder", type=Path, help="keeps compiled programs")
    parser.add_argument("--kept-only", action="store_true", help="compile nothing")
    parser.add_argument("--output", type=Path, default=PAGE)
    arguments = parser.parse_args()

    def say(done: int, total: int, name: str) -> None:
        print(f"{done} of {total} {name}", file=sys.stderr, flush=True)

    found = rf.witness(
        MODELS, DEVICES, batch=BATCHES, cache=arguments.folder, kept_only=arguments.kept_only, progress=say
    )
    text = arguments.output.read_text("utf-8") if arguments.output.is_file() else ""
    arguments.output.write_text(with_section(text, HEADS["witness"], section(found)), "utf-8")


if __name__ == "__main__":
    main()
