"""Why a run takes as long as it does: the same kernels on machines that lack one flaw after the other.

The kernel table is costed by the same formulas on a ladder of idealised machines. What a kernel gains from one rung to
the next is the term named after the flaw that went away; so terms add up to the latency, whatever the formulas are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from roofline.cost import fold
from roofline.engine.evaluate import kernel_costs
from roofline.engine.machine import Machine
from roofline.engine.table import DTYPE_CODES, KernelTable
from roofline.errors import InputError, nearest
from roofline.graph.op import Contraction
from roofline.numeric import Array
from roofline.report.numbers import Run

if TYPE_CHECKING:
    import pandas as pd

    from roofline.plot.protocol import By


GROUPS: tuple[By, ...] = ("stage", "block", "kind", "kernel")
IDEAL, TILES, HOST = "ideal compute", "tile padding", "host"
#: what the host costs belongs to no kernel: it stands under this name
WHOLE_RUN = "(run)"


def _no_floor(machine: Machine) -> Machine:
    libraries = machine.libraries.without("kernel floor")
    return replace(machine, runtime=replace(machine.runtime, floor_s=0.0), libraries=libraries)


def _full_overlap(machine: Machine) -> Machine:
    libraries = machine.libraries.without("imperfect overlap")
    return replace(machine, runtime=replace(machine.runtime, overlap=1.0), libraries=libraries)


def _nominal_rates(machine: Machine) -> Machine:
    """Return a machine on which every constant that is a fraction of a rate is 1, or more where that was measured."""
    nominal: list[dict[str, Any]] = [
        {field.name: max(1.0, getattr(spec, field.name)) for field in fields(spec) if field.name.endswith("_fraction")}
        for spec in (machine.runtime, machine)
    ]
    return replace(machine, runtime=replace(machine.runtime, **nominal[0]), **nominal[1])


def _no_layout(machine: Machine) -> Machine:
    return replace(machine, lanes=1.0, sublanes=1.0)


def _free_memory(machine: Machine) -> Machine:
    bandwidths = tuple(np.inf for _ in machine.bandwidths_bytes_per_s)
    return replace(machine, bandwidths_bytes_per_s=bandwidths, libraries=machine.libraries.without("exposed memory"))


def _free_vector(machine: Machine) -> Machine:
    return replace(
        machine,
        simple_ops_per_s=np.inf,
        transcendental_ops_per_s=np.inf,
        load_ops_per_s=np.inf,
        loads_per_s=np.inf,
        stores_per_s=np.inf,
        transposes_per_s=np.inf,
    )


def _fed_arrays(machine: Machine) -> Machine:
    runtime = replace(machine.runtime, weight_load_rows=0.0, k_loop_elements=0.0)
    return replace(machine, runtime=runtime, fill_rows=0.0)


Rung: TypeAlias = tuple[str, Callable[[Machine], Machine]]
#: every engine but that of the ideal compute: what it holds up, and the machine on which it takes no time
FREE: dict[str, Rung] = {
    "memory": ("exposed memory", _free_memory),
    "vector": ("vector contention", _free_vector),
}
#: from the real machine down: each rung takes one more flaw away, and the term is what that saves
LADDER: tuple[Rung, ...] = (
    ("kernel floor", _no_floor),
    ("imperfect overlap", _full_overlap),
    ("achieved rates", _nominal_rates),
    ("layout padding", _no_layout),
    *FREE.values(),
    ("weight load and fill", _fed_arrays),
)
#: from the ideal up to the latency
TERMS = (IDEAL, TILES, *(term for term, _ in reversed(LADDER)), HOST)


def ideal_time_s(table: KernelTable, machine: Machine) -> Array:
    """Return what each kernel's multiply-accumulates take at the peak of their format [s]; depthwise ones included.

    Winograd's algorithm may take less: then there is nothing but ideal time in its kernel.
    """
    c, count = table.contractions, table.kernel_count
    macs_per_s = machine.units * machine.unit_macs_per_s
    macs = np.asarray(Contraction(m=c.m, n=c.n, k=c.k, batch=c.batch, taps=c.taps).macs)
    others = table.kernels.macs - fold.segment_sum(macs, c.kernel, count)  # those of the vector unit
    compute = macs_per_s[DTYPE_CODES[machine.precision.compute.name]]
    return np.asarray(fold.segment_sum(macs / macs_per_s[c.dtype], c.kernel, count) + others / compute)


def kernel_terms_s(table: KernelTable, machine: Machine) -> Array:
    """Return what one run of each kernel spends on each term of `TERMS` but the last [s], shape (terms, kernels).

    The columns add up to the time of the kernels.
    """
    rungs = [kernel_costs(table, machine).time_s]
    for _, without in LADDER:
        machine = without(machine)
        rungs.append(kernel_costs(table, machine).time_s)
    ideal_s = np.minimum(ideal_time_s(table, machine), rungs[1])
    rungs = [rungs[0], *(np.maximum(rung, ideal_s) for rung in rungs[1:]), ideal_s]
    saved = [above - below for above, below in pairwise(rungs)]
    return np.stack([ideal_s, *reversed(saved)])


def waterfall_frame(run: Run, by: By | None = None) -> pd.DataFrame:
    """Return the terms as a table; see `Report.waterfall`."""
    import pandas as pd

    if by is not None and by not in GROUPS:
        raise InputError(f"cannot split a waterfall by {by!r}{nearest(str(by), GROUPS)}")
    rows = run.kernel_rows
    table = run.lowered.table
    terms_s = table.kernels.times[rows] * kernel_terms_s(table, run.machine)[:, rows]
    host_s = run.latency_s - run.device_s  # program start, and what dispatch takes longer than the device
    owner, names = _groups(run, by)
    groups = int(owner.max()) + 1
    whole = np.zeros((groups + (by is not None), len(TERMS)))
    for position, term_s in enumerate(terms_s):
        whole[:groups, position] = fold.segment_sum(term_s, owner, groups)
    whole[-1, -1] = host_s
    columns = {name: np.repeat(np.array(values, dtype=object), len(TERMS)) for name, values in names.items()}
    time_s = whole.ravel()
    return pd.DataFrame({**columns, "term": TERMS * len(whole), "time_s": time_s, "share": time_s / run.latency_s})


def _groups(run: Run, by: By | None) -> tuple[Any, dict[str, list[str]]]:
    """Return the group of every kernel of the run, and what the groups are called; the last is the host's."""
    import pandas as pd

    kernels = run.kernels
    if by is None:
        return np.zeros(len(kernels), dtype=np.int64), {}
    if by == "kernel":
        found = {name: [*kernels[name], WHOLE_RUN] for name in ("kernel", "stage")}
        return np.arange(len(kernels)), found
    owner, names = pd.factorize(kernels[by])
    return owner, {by: [*(str(name) for name in names), WHOLE_RUN]}
