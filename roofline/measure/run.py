"""Working through a plan: what is there is skipped, what does not fit is made smaller, a slow machine is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from roofline.errors import InputError, RooflineError
from roofline.measure.backend import Backend
from roofline.measure.plan import Case
from roofline.measure.store import NETWORKS, OPS, Folder, Row
from roofline.measure.timing import Timing, repeat
from roofline.measure.watch import Watch

#: seconds of samples for a single op and for a network, before the first doubling
OP_S, NETWORK_S = 0.12, 0.6
#: times that a case is halved when memory runs out
HALVINGS = 5


@dataclass(kw_only=True)
class Outcome:
    """What became of a plan.

    Attributes
    ----------
    measured, known
        Cases measured now, and before.
    busy, slow
        Cases that other work disturbed, and those measured while the device ran below its own best.
    failed
        Case -> why it is missing.
    """

    measured: int = 0
    known: int = 0
    busy: int = 0
    slow: int = 0
    failed: dict[str, str] = field(default_factory=dict)


#: called with the cases that are done, all of them, and what comes next
Progress = Callable[[int, int, str], None]


def measure(
    backend: Backend,
    folder: Path,
    cases: Sequence[Case],
    *,
    file: str | None = None,
    progress: Progress = lambda done, total, name: None,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Measure what a folder lacks of a plan.

    Parameters
    ----------
    file
        Where the rows go; by default single ops and networks have a file each.
    clock, pause
        Seconds of the wall, and how to wait.

    Raises
    ------
    InputError
        The device lacks a format of the plan, or the folder is of another device or cannot be written.
    """
    for dtype in dict.fromkeys(case.dtype for case in cases):
        backend.check_dtype(dtype)
    cases = [case for case in cases if backend.builds(case)]
    place = Folder(folder)
    place.claim(backend.facts)
    known = {name: place.known(name) for name in ((OPS, NETWORKS) if file is None else (file,))}
    watch = Watch(backend, clock=clock, pause=pause)
    outcome = Outcome()
    for position, case in enumerate(cases):
        target = file or (NETWORKS if case.network else OPS)
        key = (case.name, backend.runtime(case.compiled))
        progress(position, len(cases), case.name)
        if key in known[target]:
            outcome.known += 1
            continue
        slow = watch.note()
        try:
            done, timing, graph = _fitting(backend, case, place, clock, watch.patience)
        except RooflineError as error:
            outcome.failed[case.name] = str(error)
            continue
        if (done.name, key[1]) not in known[target]:
            place.add(target, _row(backend, done, timing, graph, slow, case))
            known[target] |= {key, (done.name, key[1])}
            outcome.measured += 1
            outcome.busy += timing.busy
            outcome.slow += bool(slow)
    progress(len(cases), len(cases), "")
    return outcome


def _fitting(
    backend: Backend, case: Case, place: Folder, clock: Callable[[], float], patience: float
) -> tuple[Case, Timing, str]:
    """Return the case, or the largest of its halves that fits into the memory, with its timing and its graph."""
    for smaller in _halves(case):
        try:
            program = backend.program(smaller)
            allowed_s = patience * (NETWORK_S if case.network else OP_S)
            timing = repeat(program.run, allowed_s=allowed_s, clock=clock)
            return smaller, timing, place.add_graph(program.graph(), smaller.name)
        except RooflineError:
            raise
        except Exception as error:  # whatever a framework raises ends this case, not the run
            if not backend.out_of_memory(error):
                line = " ".join(str(error).split())[:160]
                raise InputError(f"{type(error).__name__}: {line}") from error
        finally:
            backend.release()
    raise InputError("out of memory at every size that was tried")


def _halves(case: Case) -> Iterable[Case]:
    """Yield a case, then the same with half the batch (a network) or half the largest size (an op), and so on."""
    yield case
    for _ in range(HALVINGS):
        if case.network:
            if case.batch == 1:
                return
            case = replace(case, batch=case.batch // 2)
        else:
            at = case.sizes.index(max(case.sizes))
            case = replace(case, sizes=(*case.sizes[:at], max(1, case.sizes[at] // 2), *case.sizes[at + 1 :]))
        yield case


def _row(backend: Backend, case: Case, timing: Timing, graph: str, slow: str, wanted: Case) -> Row:
    state, facts = backend.state(), backend.facts
    notes = [
        "busy machine: the lower quartile" if timing.busy else "",
        slow,
        f"out of memory at {wanted.name}" if case is not wanted else "",
    ]
    return Row(
        case=case.name,
        family=case.family,
        whole=int(case.network),
        device=facts.known_as or f"{facts.slug}.toml",
        runtime=backend.runtime(case.compiled),
        dtype=case.dtype,
        layout=backend.layout,
        batch=case.batch,
        graph=graph,
        latency_us=timing.time_s * 1e6,
        spread=round(timing.spread, 4),
        samples=timing.samples,
        outliers=timing.outliers,
        clock=backend.clock,
        clock_mhz=state.clock_mhz,
        power_w=state.power_w,
        note="; ".join(note for note in notes if note),
    )
