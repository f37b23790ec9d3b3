"""Products of experts: one launch for the rows of all experts that have any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from roofline.quantity import SpecFile
from roofline.software.constant import GPU, Range, Without, constant
from roofline.software.libraries.library import Facts, Library, Span, covers, family, library_kind


class KernelFacts(SpecFile):
    """One of a library's kernels: which products it takes, and how well it was written.

    Attributes
    ----------
    names
        What the library calls it where it says so, as measurements spell it.
    compute, stored
        Formats that are multiplied, and that weights are kept in.
    blocks
        Whether scales belong to blocks along the sum, not to whole rows or tensors.
    capabilities
        The lowest and the highest compute capability it is taken on; all where they are missing.
    fraction, bandwidth_fraction
        Share of the matrix units' rate, and of the main memory's bandwidth.
    launches
        Launches of a dense product that one of the two of a layer takes, with its half of what sorts rows by expert.
    passes
        How often rows are moved once more around both products, sorted, activated, quantized and summed; 1: read and
        written once in two bytes an element.
    all_rows
        Whether rows of other ranks' experts are moved too.
    gated
        Whether its first product makes a gate beside what is gated.
    """

    names: tuple[str, ...]
    compute: str
    stored: str
    blocks: bool = False
    capabilities: Span | None = None
    fraction: float = Field(gt=0, le=1)
    bandwidth_fraction: float = Field(gt=0, le=1)
    launches: float = Field(ge=0)
    passes: float = Field(ge=0)
    all_rows: bool = False
    gated: bool = True
    source: str

    def runs_on(self, capability: float | None) -> bool:
        """Whether it is taken on devices of a compute capability."""
        return covers(self.capabilities, capability)


class ExpertsFacts(Facts):
    """What files of such libraries say beside constants: their kernels, in order of preference, and tile heights."""

    heights: tuple[int, ...] = Field(min_length=1)
    kernels: tuple[KernelFacts, ...] = Field(min_length=1)


@library_kind("experts")
@dataclass(frozen=True, kw_only=True)
class ExpertsLibrary(Library):
    """A library of products of experts. Its constants are shared by all such libraries, and by all chips.

    Tiles are fed, and leave, as those of the library of dense products that the runtime calls.
    """

    facts_class: ClassVar[type[Facts]] = ExpertsFacts
    facts: ExpertsFacts

    tail: float = constant(
        "tiles.tail",
        "share of a wave that a launch of several waves ends with, beyond its tiles",
        unit="fraction",
        fitted=Range(0.0, 1.0, "from tiles that fill in for each other to whole waves", kinds=GPU),
        without=Without(0.0, "tail of waves", "tiles divide evenly over the processors", kinds=GPU),
    )
    sharpness: float = constant(
        "tiles.sharpness",
        "exponent of the norm that joins multiplying, feeding and reading weights",
        fitted=Range(1.0, 8.0, "from one after the other to the longest alone", kinds=GPU),
    )
    near_fraction: float = constant(
        "memory.near_fraction",
        "times the last cache's bandwidth that a device file states: most of those are estimates",
        fitted=Range(0.1, 4.0, "reads by few processors, up to estimates that are too low", kinds=GPU),
    )
    resident_share: float = constant(
        "memory.resident_share",
        "share of the last cache that keeps weights from run to run, in measurements that repeat one product",
        unit="fraction",
        fitted=Range(0.05, 1.0, "from a cache that keeps nothing to all of it", kinds=GPU),
    )
    token_passes: float = constant(
        "memory.token_passes",
        "times that all tokens of a layer are read and written around its experts, whoever has these",
        fitted=Range(0.0, 4.0, "none, or what is sorted, what is summed, and their copies", kinds=GPU),
        without=Without(0.0, "tokens of other ranks", "only rows of one's own experts are moved", kinds=GPU),
    )

    def kernel(self, compute: str, stored: str, blocks: bool, *, capability: float | None) -> KernelFacts:
        """Return the kernel for a product: of its formats, else of the nearest that there is.

        A library is taken to be written equally well for formats that it does not have: nearest is what shares most of
        what is multiplied, how weights are kept, and whether scales belong to blocks; the first of those.
        """
        gated = [k for k in self.facts.kernels if k.gated]
        taken = [k for k in gated if k.runs_on(capability)] or gated
        return max(taken, key=lambda k: (k.compute == family(compute), k.stored == family(stored), k.blocks == blocks))
