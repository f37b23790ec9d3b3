"""Networks of other people's libraries as op graphs, traced when needed and kept in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from roofline.calibration.measured.types import ImagePipeline, SavedGraph
from roofline.engine.lowering import lower_graph
from roofline.engine.table import KernelTable, merge_equal_kernels
from roofline.engine.table_file import load_table, save_table
from roofline.errors import RooflineError
from roofline.fingerprint import code_hash, versions
from roofline.graph.load import load_graph
from roofline.graph.opgraph import OpGraph
from roofline.measure.diffusion_graphs import PipelinePart, parts_of, trace_part
from roofline.measure.timm_graphs import TimmNetwork, trace
from roofline.passes.policy import Policy

Traced: TypeAlias = TimmNetwork | PipelinePart
T = TypeVar("T")
#: how a network is traced, and whose versions decide how its graph looks, beside our own code
TRACES: dict[type[Any], tuple[Callable[[Any, int], OpGraph], tuple[str, ...]]] = {
    TimmNetwork: (trace, ("torch", "timm")),
    PipelinePart: (trace_part, ("torch", "diffusers", "transformers")),
}


class GraphSource:
    """Builds the networks that results files name; a folder keeps them between runs.

    Parameters
    ----------
    folder
        Where graphs and kernel tables are kept, as files of data that run nothing when they are read. They are made
        again when the code that makes them changes, and where they are damaged. None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.known: dict[tuple[Traced, int], OpGraph | RooflineError] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def graph(self, network: Traced, batch: int) -> OpGraph:
        """Return a network at a batch size.

        Raises
        ------
        RooflineError
            It cannot be built or lowered, or PyTorch or its library is not installed.
        """
        key = (network, batch)
        if key not in self.known:
            make, _ = TRACES[type(network)]
            try:
                self.known[key] = self._kept((network, batch), make.__module__, GRAPHS, lambda: make(network, batch))
            except RooflineError as error:
                self.known[key] = error
        found = self.known[key]
        if isinstance(found, RooflineError):
            raise found
        return found

    def tables(
        self, workload: TimmNetwork | SavedGraph | ImagePipeline, batch: int, kernel_policy: Policy
    ) -> list[tuple[KernelTable, int]]:
        """Return the kernels of every network that a workload runs, as `table` does, and how often it runs.

        Raises
        ------
        RooflineError
            One cannot be built or lowered, or its library is not installed.
        """
        if not isinstance(workload, ImagePipeline):
            return [(self.table(workload, batch, kernel_policy), 1)]
        parts = parts_of(workload.model, workload.height, workload.width, workload.steps)
        return [(self.table(part, batch * examples, kernel_policy), runs) for part, examples, runs in parts]

    def table(self, network: Traced | SavedGraph, batch: int, kernel_policy: Policy) -> KernelTable:
        """Return the kernels of a network under a runtime's policy, equal ones merged; a saved graph has its own batch.

        Raises
        ------
        RooflineError
            It cannot be built or lowered, or PyTorch or its library is not installed.
        """
        if isinstance(network, SavedGraph):
            return merge_equal_kernels(lower_graph(load_graph(network.path), kernel_policy).table)
        return self._kept(
            (network, batch, kernel_policy),
            __name__,
            TABLES,
            lambda: merge_equal_kernels(lower_graph(self.graph(network, batch), kernel_policy).table),
        )

    def _kept(self, what: tuple[Any, ...], module: str, files: _Files[T], make: Callable[[], T]) -> T:
        if self.folder is None:
            return make()
        libraries = TRACES[type(what[0])][1]
        digest = hashlib.sha256(f"{what!r} {versions(*libraries)} {code_hash(module)}".encode()).hexdigest()[:24]
        path = self.folder / f"{what[0].name}-{digest}.{files.ending}"
        if path.is_file():
            with suppress(RooflineError):
                return files.load(path)
        made = make()
        files.save(made, path)
        return made


@dataclass(frozen=True)
class _Files(Generic[T]):
    """How something is kept in files."""

    ending: str
    save: Callable[[T, Path], None]
    load: Callable[[Path], T]


GRAPHS = _Files("graph.json", OpGraph.save, load_graph)
TABLES = _Files("table.npz", save_table, load_table)
