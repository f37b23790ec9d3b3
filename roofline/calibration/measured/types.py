"""A measured row as a value: what ran, where, and how long it took."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeAlias

from roofline.arch.block import Block, Ports
from roofline.arch.spec import Arch
from roofline.engine.machine import Machine
from roofline.graph.op import Layout
from roofline.measure.timm_graphs import TimmNetwork
from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True)
class SingleOp:
    """One op: a block of one op and what enters it."""

    block: Block
    ports: Ports


@dataclass(frozen=True, kw_only=True)
class SavedGraph:
    """A program as the graph that was saved where it was measured; `whole` where its time holds the host's part too."""

    path: Path
    whole: bool

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.stem


class LibraryCall(ABC):
    """A call of a kernel library as it was measured: what it was asked, and the protocol of the measurement.

    What surrounds a library's kernels in a benchmark (weights left in a cache, routing that was made up) is said here,
    and `simulate` never sees it.
    """

    @classmethod
    @abstractmethod
    def times_s(cls, calls: Sequence[Self], machine: Machine) -> Array:
        """Return the predicted time of each call on a machine [s]."""


@dataclass(frozen=True, kw_only=True)
class ImagePipeline:
    """A text-to-image model as published, by its name: text encoders, `steps` of a transformer, an image decoder."""

    model: str
    height: int
    width: int
    steps: int


#: of a run that keeps a device at its limit: 1,163 bf16 products on an H200 that draws what it may
#: (h200_gemm_power.csv.gz) take as long as under this share of the limit, with a median error of 2.6 %
STEADY_POWER = 0.7

Workload: TypeAlias = Arch | SingleOp | TimmNetwork | SavedGraph | ImagePipeline | LibraryCall


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured latency.

    Attributes
    ----------
    row
        Line of the file (the header is line 1), or place in an archive.
    label
        The workload in words.
    workload
        A whole network or a single op.
    batch
        Examples per run; 1 for a single op, whose shape says all.
    latency_s
        Of one run of the whole batch.
    family
        Group that is left out together when generality is tested.
    offset_group
        Rows whose times contain the same unknown share of the measuring program; None where times are clean.
    apart
        Why the row is no test of the model; such rows are reported beside the others.
    dataset
        Name of the file.
    power_share
        Share of the device's power limit that it may draw: kernel libraries are fitted to replays of milliseconds,
        which a limit on the mean of some tenths of a second lets draw more (see `STEADY_POWER`).
    """

    row: int
    label: str
    workload: Workload
    device: str
    runtime: str
    dtype: str
    latency_s: float
    family: str
    layout: Layout | None = None
    batch: int = 1
    cores: int | None = None
    mode: str = "inference"
    optimizer: str | None = None
    offset_group: str | None = None
    apart: str | None = None
    dataset: str = ""
    power_share: float = 1.0

    @property
    def network(self) -> bool:
        """Whether a whole network ran."""
        if isinstance(self.workload, SavedGraph):
            return self.workload.whole
        return not isinstance(self.workload, SingleOp | LibraryCall)

    @property
    def condition(self) -> str:
        """What it counts as one data set with: the rows of its file, device, precision and layout."""
        return " ".join(word for word in (self.dataset, self.device, self.dtype, self.layout) if word)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that is not used, and why."""

    row: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of one file.

    Attributes
    ----------
    name
        File name without folder.
    format
        Name of the format it was read as.
    measurements, rejected
        Every row is in one of the two (a row with figures of several devices may be in both).
    """

    name: str
    format: str
    measurements: tuple[Measurement, ...]
    rejected: tuple[Rejected, ...] = ()

    def without(self, bad: tuple[Rejected, ...], kept: tuple[Measurement, ...]) -> Dataset:
        """Return the data set with more rows rejected."""
        return replace(self, measurements=kept, rejected=self.rejected + bad)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the person says of a file, beside what it says itself.

    Attributes
    ----------
    device
        Where rows name their device: use those of this one only. Where they do not: the device.
    runtime, dtype, layout
        In place of what the file's conventions say.
    family_column
        Column that names the family of each row.
    limit
        Use this many rows, evenly spread over the file.
    cache
        Folder that keeps traced networks.
    """

    device: str | None = None
    runtime: str | None = None
    dtype: str | None = None
    layout: Layout | None = None
    family_column: str | None = None
    limit: int | None = None
    cache: Path | None = field(default=None, compare=False)
