"""Fit a kind of kernel library again: ``python tools/fit_libraries.py KIND FILE...``, and what it does to accuracy.

KIND is products, attention, experts or paged_attention; FILE are published measurements of its kernels. Prints the
constants for the files in ``libraries/``, and the error of each device, under constants that its rows helped to find
and that they did not. ``--effects`` also fits without each effect; ``--kernels`` fits what files say of each kernel
instead, under the constants that stand; ``--intervals`` writes into the file of intervals how far such kernels are
off; ``--rows N`` draws that many of each device and framework.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from roofline.calibration.intervals import write_interval
from roofline.calibration.kernel_fit import fit_kernels
from roofline.calibration.kernel_intervals import kernel_interval
from roofline.calibration.library_fit import by_library, effects, fit_library, left_out, library_constants, sampled
from roofline.calibration.measured import load
from roofline.calibration.predict import prepare
from roofline.errors import RooflineError
from roofline.software.libraries.library import KINDS
from roofline.stats import Agreement

INTERVALS = Path(__file__).parent.parent / "roofline" / "report" / "intervals.toml"


def main(arguments: Sequence[str]) -> int:
    """Fit, and print constants and errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("files", nargs="+")
    parser.add_argument("--family", action="append", help="only rows of it: a number format, a kernel")
    parser.add_argument("--rows", type=int, default=10**9)
    parser.add_argument("--effects", action="store_true")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--intervals", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        rows = [m for path in chosen.files for m in load(path).measurements]
        wanted = [m for m in rows if not chosen.family or m.family in chosen.family]
        prepared = sampled(prepare(wanted), chosen.rows)
        if chosen.intervals:
            found = kernel_interval(prepared, chosen.kind, f"tools/fit_libraries.py, {date.today()}")
            write_interval(chosen.kind, found, INTERVALS)
            print(f"within, 9 of 10: {found.devices}; a device left out: {found.new_device}")
            return 0
        if chosen.kernels:
            for one in fit_kernels(prepared):
                title = f"{one.library}: {one.facts.compute} x {one.facts.stored} {one.facts.capabilities or ''}"
                show(title, {", ".join(f"{name} {value:.3g}" for name, value in one.values.items()): one.agreement})
            return 0
        constants = library_constants(chosen.kind)
        fitted = fit_library(prepared, chosen.kind, constants)
        for name, c in constants.items():
            print(f"{c.place} = {fitted.values[name] / c.si:.4g} {c.unit or ''}")
        show("in sample", by_library(prepared, fitted.predicted_s))
        show("device left out", left_out(prepared, chosen.kind, constants))
        for name, (_, values) in effects(chosen.kind).items() if chosen.effects else ():
            show(
                f"fitted without {name}",
                by_library(prepared, fit_library(prepared, chosen.kind, constants, values).predicted_s),
            )
    except RooflineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show(title: str, found: Mapping[str, Agreement]) -> None:
    """Print one line for each group of rows."""
    print(title)
    for name, one in found.items():
        errors = f"median {one.median:6.1%}  mean {one.mape:6.1%}  bias {one.bias:+6.1%}  tau {one.tau:.3f}"
        print(f"  {name:45} {one.count:6}  {errors}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
