"""Predictions beside what XLA's own compiler made of the same networks: the tables of `witness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.graph.opgraph import OpGraph
from roofline.report.report import Report
from roofline.stats import spearman
from roofline.studies.matched import Group, Pair, groups, pairs, places_of
from roofline.studies.shown import Shown
from roofline.xla.kernels import CompiledKernel
from roofline.xla.targets import Target

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """One network on one device at one batch: the prediction, and the program that the compiler made.

    Attributes
    ----------
    report
        The prediction.
    graph
        What was compiled, op by op.
    members
        Ops of each predicted kernel.
    compiled
        Kernels of the compiled program.
    examples
        Examples per compiled program: those of one of the `target`'s programs.
    target
        What it was compiled for.
    """

    report: Report
    graph: OpGraph
    members: tuple[tuple[str, ...], ...]
    compiled: tuple[CompiledKernel, ...]
    examples: int
    target: Target

    @cached_property
    def groups(self) -> list[Group]:
        """Kernels of both sides, matched by the ops that they hold."""
        return groups(self._places, len(self.members), self.compiled)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Neighbours in the graph, and who fuses them."""
        return pairs(self.graph, self._places, self.compiled)

    @cached_property
    def _places(self) -> dict[str, tuple[int, ...]]:
        return dict(places_of(self.members, self.graph.ops))

    @cached_property
    def times_ms(self) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...]:
        """Time of each group [ms]: predicted, compiled."""
        own = self.report.kernels["time_s"].to_numpy()
        theirs = np.array([kernel.cycles for kernel in self.compiled]) / self.target.clock_hz
        return (
            np.array([1e3 * own[list(group.ours)].sum() for group in self.groups]),
            np.array([1e3 * theirs[list(group.compiled)].sum() for group in self.groups]),
        )

    @property
    def head(self) -> dict[str, Any]:
        """What tells this run from others."""
        run = self.report
        return {"model": run.model, "device": run.device, "batch": run.batch, "dtype": run.dtype}

    def summary(self) -> dict[str, Any]:
        """Return the figures of the run; see `Witness.summary`."""
        ours, theirs = self.times_ms
        both = (ours > 0) & (theirs > 0)
        agreed = [pair.agree for pair in self.pairs]
        return self.head | {
            "examples_per_program": self.examples,
            "kernels": len(self.members),
            "compiled_kernels": sum(kernel.cycles > 0 for kernel in self.compiled),
            "predicted_ms": float(ours.sum()),
            "compiled_ms": float(theirs.sum()),
            "ratio": float(ours[both].sum() / theirs[both].sum()),
            "unmatched_share": float(theirs[~both].sum() / theirs.sum()),
            "spearman": spearman(ours[both], theirs[both]),
            "pairs": len(agreed),
            "same_share": float(np.mean(agreed)) if agreed else np.nan,
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Witness(Shown):
    """What `witness` found. Shows itself as its `summary`.

    Attributes
    ----------
    runs
        Network by network, device by device, batch by batch.
    refused
        (model, device, batch, reason) of what the compiler refuses.
    versions
        Of JAX and of the compiler.
    """

    runs: tuple[Compared, ...]
    refused: tuple[tuple[str, str, int, str], ...] = ()
    versions: dict[str, str]

    @property
    def source(self) -> str:
        """What compiled, in words."""
        return f"compiled ahead of time with libtpu {self.versions['libtpu']} and jax {self.versions['jax']}"

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per run.

        ``predicted_ms`` and ``compiled_ms`` are sums over kernels (of one program of the chip, without the start of the
        program), ``unmatched_share`` the part of the second that no predicted kernel stands for. Of kernels that match,
        ``ratio`` is predicted over compiled, and ``spearman`` the rank correlation of the times; ``same_share`` is that
        of the ``pairs`` of neighbouring ops which both fuse or both keep apart. ``factor_error`` is how far ``ratio``
        is from the device's median.
        """
        import pandas as pd

        found = pd.DataFrame([run.summary() for run in self.runs])
        found["factor_error"] = found["ratio"] / found.groupby("device")["ratio"].transform("median") - 1.0
        return found

    @cached_property
    def devices(self) -> pd.DataFrame:
        """One row per device: its ``factor`` (median ratio), and medians over its runs of what is left."""
        import pandas as pd

        rows = []
        for device, group in self.summary.groupby("device", sort=False):
            rows.append(
                {"device": device, "runs": len(group), "factor": group["ratio"].median()}
                | {
                    "median_error": group["factor_error"].abs().median(),
                    "worst_error": group["factor_error"].abs().max(),
                }
                | {name: group[name].median() for name in ("spearman", "same_share", "unmatched_share")}
            )
        return pd.DataFrame(rows)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per run and group of kernels that hold the same ops.

        Names of the kernels on both sides, the ops, cycles at the clock of the device, and of the compiler's slowest
        kernel layout, memory and emitter.
        """
        import pandas as pd

        return pd.DataFrame([row for run in self.runs for row in _rows(run)])

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """One row per run and compiled kernel that has an estimate."""
        import pandas as pd

        rows = [
            run.head
            | {"kernel": k.name, "opcode": k.opcode, "emitter": k.emitter, "cycles": k.cycles}
            | {"layout": k.layout, "memory": k.memory, "ops": " + ".join(k.ops), "serves": " + ".join(k.named)}
            for run in self.runs
            for k in run.compiled
            if k.cycles
        ]
        return pd.DataFrame(rows)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per run and pair of neighbouring ops: their names and kinds, and whether each side fuses them."""
        import pandas as pd

        rows = [
            run.head
            | {"producer": pair.producer, "consumer": pair.consumer}
            | {"kinds": " -> ".join(kind_of(run.graph, op) for op in (pair.producer, pair.consumer))}
            | {"predicted": pair.ours, "compiled": pair.compiled}
            for run in self.runs
            for pair in run.pairs
        ]
        return pd.DataFrame(rows)

    @property
    def shown(self) -> pd.DataFrame:
        """`summary`."""
        return self.summary


def _rows(run: Compared) -> Sequence[dict[str, Any]]:
    names, clock_hz = list(run.report.kernels["kernel"]), run.target.clock_hz
    rows = []
    for group, ours, theirs in zip(run.groups, *run.times_ms, strict=True):
        slowest = max((run.compiled[i] for i in group.compiled), key=lambda kernel: kernel.cycles, default=None)
        held = [op for i in group.ours for op in run.members[i]] or [
            op for i in group.compiled for op in run.compiled[i].named
        ]
        rows.append(
            run.head
            | {"kernels": " | ".join(names[i] for i in group.ours)}
            | {"compiled_kernels": " | ".join(run.compiled[i].name for i in group.compiled)}
            | {"ops": " + ".join(dict.fromkeys(held))}
            | {"cycles": ours * 1e-3 * clock_hz, "compiled_cycles": theirs * 1e-3 * clock_hz}
            | {"ratio": ours / theirs if theirs else np.nan}
            | {"layout": slowest.layout if slowest else "", "memory": slowest.memory if slowest else ""}
            | {"emitter": slowest.emitter if slowest else ""}
        )
    return rows


def kind_of(graph: OpGraph, op: str) -> str:
    """Return what an op is, as kernels are described: its function, else its kind, depthwise convolutions as such."""
    found = graph.op(op)
    return "depthwise" if found.family == "depthwise" else str(getattr(found, "function", found.kind))
