"""Fit the shipped oracles again: ``python tools/fit_accuracy.py TABLE.csv.gz [FOLDER]``.

TABLE is the benchmark's table: columns ``b0_e`` ... ``b6_se`` and ``val_top1``. Coefficients are written, never rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from roofline.errors import InputError, RooflineError
from roofline.files import atomic
from roofline.search.accuracy import pairwise, structural
from roofline.search.accuracy.adapters import TARGET, read_table
from roofline.search.space.load import search_space

SOURCE = "Ahmad et al., Accel-NASBench, DAC 2024, arXiv 2404.08005, Apache-2.0"
RECIPE = "16-epoch proxy"


def main(arguments: Sequence[str]) -> int:
    """Fit all oracles to a table and write them."""
    if not 1 <= len(arguments) <= 2:
        print((__doc__ or "").splitlines()[0], file=sys.stderr)
        return 2
    folder = Path(arguments[1]) if len(arguments) == 2 else pairwise.DATA
    space = search_space("accel-nasbench")
    try:
        genomes, columns = read_table(arguments[0], space)
        if TARGET not in columns:
            raise InputError(f"{arguments[0]} has no column {TARGET!r}")
        accuracy = columns[TARGET]
        for name, fit in (("pairwise", pairwise.fit), ("structural", structural.fit)):
            found = fit(space, genomes, accuracy, recipe=RECIPE, source=SOURCE)
            with atomic(folder / f"accel_nasbench_{name}.json") as temporary:
                temporary.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
            widths = ", ".join(f"{float(c):.0%} {w:.2f}" for c, w in found["half_width"].items())
            print(f"{found['model']}: tau {found['tau']:.3f}, RMSE {found['rmse']:.2f} pp, half-widths {widths}")
    except RooflineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
