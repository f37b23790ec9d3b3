"""The look-up table of a space on a device, for others' search code: CSV, JSON, or YAML keyed as in Once-for-All.

Latency of a network = program + the larger of the sums of device and of host time over its blocks; on runtimes that do
not dispatch kernel by kernel, host time is 0 and the table simply adds up.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from roofline.engine.evaluate import block_costs, kernel_costs
from roofline.engine.setting import Setting
from roofline.errors import InputError
from roofline.files import write_text
from roofline.search.oracle.latency import Oracle
from roofline.search.oracle.tables import time_columns

Rows: TypeAlias = Literal["block", "stage"]
Form = Literal["csv", "json", "yaml"]
SUFFIXES: dict[str, Form] = {".csv": "csv", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}
#: what a block's row says besides its shape and its times: fields of the costs
COUNTS = ("macs", "params", "traffic_bytes", "weight_bytes", "live_bytes")


def block_rows(oracle: Oracle) -> list[dict[str, Any]]:
    """Return one row per distinct block of the space, for the oracle's one device: shapes, fields, time, counts."""
    target = _only(oracle)
    walked = oracle.walked(target)
    rows: dict[int, dict[str, Any]] = {}
    for group in walked.groups:
        costs = block_costs(group.table, kernel_costs(group.table, target.machine))
        columns = {"device_ms": costs.device_s * 1e3, "host_ms": costs.host_s * 1e3}
        columns |= {name: getattr(costs, name) for name in COUNTS}
        for i, row in enumerate(group.rows.tolist()):
            rows[row] = walked.steps.told(row) | {name: float(column[i]) for name, column in columns.items()}
    return _distinct([rows[row] for row in sorted(rows)])


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the keys of blocks that differ in something no key says (what another block left them, say)."""
    seen: dict[str, int] = {}
    for row in rows:
        name = row["key"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            row["key"] = f"{name}-variant:{seen[name]}"
    return rows


def stage_rows(oracle: Oracle) -> Iterator[dict[str, Any]]:
    """Yield one row per stage and combination of the choices that it hears."""
    _only(oracle)
    space = oracle.space
    device, host = time_columns(0)
    for table in oracle.tables(0):
        for entry in np.flatnonzero(~np.isnan(table.columns[device])).tolist():
            options = np.unravel_index(entry, table.shape) if table.shape else ()
            chosen = {
                space.names[g]: space.choices[g].values[int(o)] for g, o in zip(table.genes, options, strict=True)
            }
            times = {"device_ms": table.columns[device][entry] * 1e3, "host_ms": table.columns[host][entry] * 1e3}
            counts = {name: float(table.columns[name][entry]) for name in COUNTS}
            yield {"stage": table.stages[0], "choices": chosen, **times, **counts}


def about(oracle: Oracle) -> dict[str, Any]:
    """Return what a table is of; times are of a run of `core_batch` examples on each core."""
    target = _only(oracle)
    runtime, dtype = target.runtime, target.policy.precision.name
    head = {"space": oracle.space.name, "device": target.device.name, "runtime": runtime.name, "dtype": dtype}
    batches = {"batch": target.batch, "core_batch": target.core_batch}
    return {**head, **batches, "program_ms": runtime.program_s * 1e3, "hash": oracle.hash}


def write(oracle: Oracle, path: str | Path, *, by: Rows = "block") -> int:
    """Write the table as its suffix says (.csv, .json, .yaml) and return the number of rows.

    Raises
    ------
    InputError
        Another suffix, YAML by stage, several devices, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {path.name!r}; allowed: {', '.join(SUFFIXES)}")
    if by not in ("block", "stage"):
        raise InputError(f"a table is by 'block' or by 'stage', got {by!r}")
    form = SUFFIXES[path.suffix.lower()]
    if form == "yaml" and by == "stage":
        raise InputError("YAML keys name blocks: use by='block'")
    rows = block_rows(oracle) if by == "block" else list(stage_rows(oracle))
    write_text(path, text(oracle, rows, form))
    return len(rows)


def text(oracle: Oracle, rows: list[dict[str, Any]], form: Form) -> str:
    """Return rows in a format."""
    head = about(oracle)
    if form == "json":
        return json.dumps({"schema_version": 1, **head, "rows": rows}, indent=1) + "\n"
    if form == "csv":
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**r, "choices": json.dumps(r["choices"])} if "choices" in r else r for r in rows)
        return buffer.getvalue()
    lines = [f"# {name}: {value}" for name, value in head.items() if name != "hash"]
    lines += [f"{json.dumps(r['key'])}: {{mean: {r['device_ms']:.9g}, host: {r['host_ms']:.9g}}}" for r in rows]
    return "\n".join([*lines, f"program: {{mean: {head['program_ms']:.9g}, host: 0}}"]) + "\n"


def _only(oracle: Oracle) -> Setting:
    if len(oracle.targets) != 1:
        raise InputError(f"a table is of one device, got {', '.join(oracle.devices)}")
    return oracle.targets[0]
