"""Networks of pytorch-image-models as op graphs, traced when needed and kept in a folder."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from roofline.calibration.measured.types import SavedGraph
from roofline.engine.lowering import lower_graph
from roofline.engine.table import KernelTable, merge_equal_kernels
from roofline.errors import RooflineError
from roofline.files import atomic
from roofline.fingerprint import code_hash, versions
from roofline.graph.load import load_graph
from roofline.graph.opgraph import OpGraph
from roofline.measure.timm_graphs import TimmNetwork, trace
from roofline.passes.policy import Policy

#: whose versions decide how a traced graph looks, beside our own code
LIBRARIES = ("torch", "timm")
T = TypeVar("T")


class GraphSource:
    """Builds the networks that results files name; a folder keeps them between runs.

    Parameters
    ----------
    folder
        Where graphs and kernel tables are kept, as pickles of this package's own classes: name a folder that only you
        write to. They are made again when the code that makes them changes. None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.known: dict[tuple[TimmNetwork, int], OpGraph | RooflineError] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def graph(self, network: TimmNetwork, batch: int) -> OpGraph:
        """Return a network at a batch size.

        Raises
        ------
        RooflineError
            It cannot be built or lowered, or PyTorch or timm is not installed.
        """
        key = (network, batch)
        if key not in self.known:
            try:
                self.known[key] = self._kept((network, batch), trace.__module__, OpGraph, lambda: trace(network, batch))
            except RooflineError as error:
                self.known[key] = error
        found = self.known[key]
        if isinstance(found, RooflineError):
            raise found
        return found

    def table(self, network: TimmNetwork | SavedGraph, batch: int, kernel_policy: Policy) -> KernelTable:
        """Return the kernels of a network under a runtime's policy, equal ones merged; a saved graph has its own batch.

        Raises
        ------
        RooflineError
            It cannot be built or lowered, or PyTorch or timm is not installed.
        """
        if isinstance(network, SavedGraph):
            return merge_equal_kernels(lower_graph(load_graph(network.path), kernel_policy).table)
        return self._kept(
            (network, batch, kernel_policy),
            __name__,
            KernelTable,
            lambda: merge_equal_kernels(lower_graph(self.graph(network, batch), kernel_policy).table),
        )

    def _kept(self, what: tuple[Any, ...], module: str, kind: type[T], make: Callable[[], T]) -> T:
        if self.folder is None:
            return make()
        digest = hashlib.sha256(f"{what!r} {versions(*LIBRARIES)} {code_hash(module)}".encode()).hexdigest()[:24]
        path = self.folder / f"{what[0].name}-{digest}.pickle"
        if path.is_file():
            with suppress(pickle.UnpicklingError, AttributeError, ImportError, EOFError):
                found = pickle.loads(path.read_bytes())
                if isinstance(found, kind):
                    return found
        made = make()
        with atomic(path) as temporary:
            temporary.write_bytes(pickle.dumps(made))
        return made
