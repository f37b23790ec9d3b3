"""``roofline calibrate``: fit a runtime's constants to measurements."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import output
from roofline.cli.options import ForceOption, Format, LimitOption, check_limit, words
from roofline.cli.validate import COLUMNS, cells
from roofline.errors import InputError
from roofline.files import json_text
from roofline.text import significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.calibration.calibrate import Calibration
    from roofline.stats import Agreement

FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What is printed: table or json.")]


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...|DIR", help="Measurements: published, or your own.")],
    runtime: Annotated[
        str | None, typer.Option("--runtime", "-r", help="The runtime to fit; its values are the start.")
    ] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--constants", help="What is fitted, at most ten; default: the usual ones.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", "-d", help="Only rows of this device.")] = None,
    limit: LimitOption = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", help="Cross-validate by family, device, fifth, set, largest, or none."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option("--witness", help="For --intervals: files of networks that no fit sees, each a set."),
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="Also fit each device's own two fractions.")] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", file_okay=False, help="Folder that keeps traced networks between runs.")
    ] = None,
    form: FormatOption = Format.table,
    intervals: Annotated[
        Path | None, typer.Option("--intervals", dir_okay=False, help="File of prediction intervals to update.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, help="Runtime file to write.")] = None,
    force: ForceOption = False,
) -> None:
    """Fit the constants that all devices of a runtime share, and say how well the fit does on what it has not seen.

    Single ops of any library count, networks where they ran under this runtime. Each constant stays in its physical
    range and is pulled to its present value. Files count equally, whatever their length.

    A folder DIR that `roofline measure` filled needs no option: every runtime in it is fitted, and files for runtimes
    and, where none is shipped, for the device are written into it.
    """
    output.check_suffix(file, (".toml",), force=force)
    output.check_suffix(intervals, (".toml",), force=True)  # a table in it is replaced, the rest is kept
    if form is Format.csv:
        raise InputError("calibrate prints a table or json")
    check_limit(limit)
    chosen = words(constants) if constants else None
    if any(os.path.isdir(path) for path in files):
        given: dict[str, Any] = {
            "--runtime": runtime,
            "--device": device,
            "--limit": limit,
            "--cache": cache,
            "--output": file,
        }
        given |= {"--intervals": intervals, "--own": own or None, "--witness": witness or None}
        for option in (name for name, value in given.items() if value is not None):
            raise InputError(f"{option} does not go with a folder: it says what it holds, and the files go into it")
        if len(files) > 1:
            raise InputError("give one folder of measurements, or files")
        from roofline.cli.own_device import calibrate_own

        folds = [name for name in words(leave_out or ["family"]) if name != "none"]
        calibrate_own(files[0], names=chosen, folds=folds, form=form, force=force)
        return
    if witness and intervals is None:
        raise InputError("--witness goes with --intervals: the networks take part in no fit")
    if runtime is None:
        raise InputError("name the runtime to fit with --runtime, or give a folder that `roofline measure` filled")
    from roofline.calibration.calibrate import calibrate, own_tables
    from roofline.calibration.measured import Options
    from roofline.calibration.runtime_file import write_runtime

    folds = [name for name in words(leave_out or ["family", "device"]) if name != "none"]
    found = calibrate(
        files,
        runtime,
        Options(device=device, limit=limit, cache=cache),
        names=chosen,
        folds=folds,
        own=own,
    )
    if file is not None:
        write_runtime(found, file)
    if intervals is not None:
        from roofline.calibration.intervals import runtime_interval, write_interval
        from roofline.calibration.sets import witnesses

        seen = witnesses(words(witness), found.runtime, Options(cache=cache)) if witness else None
        write_interval(found.runtime.name, runtime_interval(found, witnesses=seen), intervals)
    if form is Format.json:
        output.write(json_text(found.to_dict()))
    else:
        output.show(_constants(found), *_offsets(found), *_flat(found), *_accuracies(found), *_left_out(found))
        if own:
            output.show(own_tables(found.own, found.runtime.name, "roofline calibrate"))
    sys.stdout.flush()


def _constants(found: Calibration) -> Table:
    table = output.table(
        f"{found.runtime.name}, fitted to {len(found.prepared):,} rows",
        ("constant", "before", "after", "range", "unit"),
        ("before", "after"),
    )
    for c in found.constants:
        after = significant(found.fit.values[c.field] / c.si)
        table.add_row(
            c.place,
            significant(getattr(found.runtime, c.field) / c.si),
            after + (" (edge)" if c.field in found.fit.edges else ""),
            f"{c.low:g} to {c.high:g}",
            c.unit or "",
        )
    return table


def _offsets(found: Calibration) -> list[str]:
    return [f"added by the measuring program: {name} {call}" for name, call in found.fit.calls.items()]


def _flat(found: Calibration) -> list[str]:
    return [
        f"warning: the rows do not determine {', '.join(f.constants)}: the whole range moves predictions by "
        f"{f.effect:.1%} (root mean square)"
        for f in found.fit.flat
    ]


def _accuracies(found: Calibration) -> list[Table]:
    tables = [_table("fitted rows, before the fit", found.before), _table("fitted rows, after the fit", found.after)]
    held_out = {f"{h.by} {h.name}": h.agreement for h in found.held_out}
    return [*tables, _table("left out of the fit, then predicted", held_out)] if held_out else tables


def _table(title: str, rows: dict[str, Agreement]) -> Table:
    table = output.table(title, ("", *COLUMNS), COLUMNS)
    for name, agreement in rows.items():
        table.add_row(name, *cells(agreement))
    return table


def _left_out(found: Calibration) -> list[str]:
    return [
        f"{name}: {len(rows)} left out, the first: row {rows[0].row}: {rows[0].reason}"
        for name, rows in found.rejected.items()
    ]
