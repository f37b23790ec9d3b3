"""The folder of a measurement: what the device is, one row per case, and the graph of each program.

Rows are appended one by one and flushed, so that an interrupted run loses the case it was in and nothing else; what is
there is not measured again.
"""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path

from pydantic import BaseModel, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from roofline.errors import InputError
from roofline.files import write_text
from roofline.graph.opgraph import OpGraph
from roofline.graph.serial import save_graph
from roofline.measure.facts import Facts
from roofline.reading import parse_csv, parse_json, read_text
from roofline.specfile import one_line

FACTS, GRAPHS = "facts.json", "graphs"
#: single ops and whole programs are files of their own: a fit counts files equally
OPS, NETWORKS, LEFT_OUT = "ops.csv", "networks.csv", "left-out.csv"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured case, as it stands in the folder.

    Attributes
    ----------
    case
        Its name.
    graph
        File of its graph, inside the folder.
    latency_us, spread, samples, outliers
        See `roofline.measure.timing.Timing`.
    clock
        What measured: ``wall``, ``cpu`` (time of the one thread that ran) or ``event`` (of the device).
    clock_mhz, power_w
        Of the device right after the case, where its driver tells.
    note
        What a reader should know: a busy machine, a slow one, sizes that were cut.
    """

    case: str
    family: str
    whole: int
    device: str
    runtime: str
    dtype: str
    layout: str
    batch: int
    graph: str
    latency_us: float
    spread: float
    samples: int
    outliers: int
    clock: str
    clock_mhz: float | None = None
    power_w: float | None = None
    note: str = ""


COLUMNS = tuple(f.name for f in fields(Row))


class Folder:
    """A folder of measurements.

    Parameters
    ----------
    path
        Made where it does not exist.

    Raises
    ------
    InputError
        It cannot be made or written, or it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / GRAPHS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write the folder {str(path)!r}: {error.strerror or error}") from None
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write the folder {str(path)!r}: no permission")

    def claim(self, facts: Facts) -> None:
        """Write what the device is; a folder that has been begun must be of the same device.

        Raises
        ------
        InputError
            It holds measurements of another one.
        """
        path = self.path / FACTS
        if os.path.isfile(path):
            found = read_facts(self.path)
            differ = [name for name in ("name", "backend", "threads") if getattr(found, name) != getattr(facts, name)]
            if differ:
                texts = ", ".join(f"{name} {getattr(found, name)!r} (now {getattr(facts, name)!r})" for name in differ)
                raise InputError(f"{str(self.path)!r} holds measurements with {texts}: choose another --output")
            return
        write_text(path, json.dumps(asdict(facts), indent=2) + "\n")

    def known(self, file: str) -> set[tuple[str, str]]:
        """Return (case, runtime) of the rows of a file; a last line that was cut short is dropped from it."""
        path = self.path / file
        if not os.path.isfile(path):
            return set()
        text = read_text(path)
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the run was ended while it wrote
            write_text(path, whole)
        columns, rows = parse_csv(whole, file)
        if whole and columns != COLUMNS:
            raise InputError(f"{str(path)!r} is no file of measurements of this version: choose another --output")
        return {(row["case"], row["runtime"]) for _, row in rows if len(row) == len(columns)}

    def add_graph(self, graph: OpGraph, name: str) -> str:
        """Write the graph of a case and return its place in the folder."""
        place = f"{GRAPHS}/{name.replace(' ', '-')}.json"
        save_graph(graph, self.path / place)
        return place

    def add(self, file: str, row: Row) -> None:
        """Append a row and see it written."""
        path = self.path / file
        values = {name: "" if value is None else value for name, value in asdict(row).items()}
        fresh = not path.is_file() or path.stat().st_size == 0
        with path.open("a", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(values)
            out.flush()
            os.fsync(out.fileno())


def read_facts(folder: Path) -> Facts:
    """Return what the device of a folder is.

    Raises
    ------
    InputError
        The folder has no facts, or they are not readable.
    """
    path = folder / FACTS
    if not os.path.exists(path):
        raise InputError(f"{str(folder)!r} is no folder of measurements: it has no {FACTS}")
    content = parse_json(read_text(path), path.name)
    try:
        Facts(**content)  # it refuses names that it does not know, the other wrong types
        facts = TypeAdapter(Facts).validate_python(content)
        TypeAdapter(list[tuple[str, PositiveFloat, PositiveInt]]).validate_python(facts.caches)
        numbers = chain(asdict(facts).values(), *facts.caches)
        if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
            raise TypeError("a number is not finite")
        return facts
    except ValidationError as error:
        raise InputError(f"{str(path)!r} cannot be read: {one_line(error, BaseModel, path.name)}") from None
    except TypeError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from None
