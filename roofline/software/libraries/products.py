"""Dense products (GEMM): tiles, how they are fed, and what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from roofline.quantity import SpecFile
from roofline.software.constant import GPU, Range, Without, constant
from roofline.software.libraries.library import Facts, Library, Span, covers, family, library_kind

#: a rate so high that the work it stands for costs nothing
FREE = 1e18


class KernelFacts(SpecFile):
    """One of a library's kernels: which products it takes, and how well it was written.

    Attributes
    ----------
    compute, stored
        Formats that are multiplied, and that weights are kept in.
    blocks
        Whether scales change along the sum, and are no part of the format.
    capabilities
        The lowest and the highest compute capability it is taken on; all where they are missing.
    fraction, bandwidth_fraction
        Share of the matrix units' rate; further share of the main memory's bandwidth.
    tiles
        Output tiles (rows, columns); those of the chip's generation where they are missing.
    narrowest
        Its tiles have no side that is shorter.
    splits
        Parts that a sum is cut into at most.
    rounding_us, rounding_cycles
        What rounding activations takes beside the launch of a kernel where their scales are found on the way; and for
        each element of a row, which one thread block walks through.
    rounding_passes
        How often activations of two bytes are moved around the product, rounded and copied, in measurements of it.
    """

    compute: str
    stored: str
    blocks: bool = False
    capabilities: Span | None = None
    fraction: float = Field(default=1.0, gt=0, le=1.2)
    bandwidth_fraction: float = Field(default=1.0, gt=0, le=1.2)
    tiles: tuple[tuple[int, int], ...] | None = None
    narrowest: int = 8
    splits: int = Field(default=32, ge=1)
    rounding_us: float = Field(default=0.0, ge=0)
    rounding_cycles: float = Field(default=0.0, ge=0)
    rounding_passes: float = Field(default=0.0, ge=0)
    source: str

    def runs_on(self, capability: float | None) -> bool:
        """Whether it is taken on devices of a compute capability."""
        return covers(self.capabilities, capability)


class Draw(SpecFile):
    """Chips of some compute capabilities whose multiply-accumulates draw only a share of what others do."""

    capabilities: tuple[float, float]
    share: float = Field(gt=0, le=1)
    source: str


class ProductsFacts(Facts):
    """What files of such libraries say beside constants: their kernels, in order of preference, and what chips draw."""

    kernels: tuple[KernelFacts, ...] = Field(min_length=1)
    draws: tuple[Draw, ...] = ()


@library_kind("products")
@dataclass(frozen=True, kw_only=True)
class ProductsLibrary(Library):
    """A library of products. Its constants are shared by all chips; `cost.products` has the law that they are of."""

    facts_class: ClassVar[type[Facts]] = ProductsFacts
    facts: ProductsFacts

    launch_s: float = constant(
        "launch.start",
        "from one kernel of a captured graph to the next, whatever the clock",
        unit="us",
        without=Without(0.0, "kernel floor", "kernels of a captured graph follow each other at once", kinds=GPU),
    )
    launch_cycles: float = constant(
        "launch.cycles",
        "the same in clocks of the processors: scheduling of thread blocks, the first instructions, the last",
        unit="cycles",
        fitted=Range(500.0, 5000.0, "one or two round trips to the main memory", kinds=GPU),
        told_by="products of a few rows and columns",
        without=Without(0.0, part_of="kernel floor"),
    )
    split_launches: float = constant(
        "launch.split",
        "launches that cutting K takes: those of the kernel that adds up, and its sums",
        fitted=Range(0.5, 3.0, "from sums that hide behind others to a launch and its traffic", kinds=GPU),
        told_by="products of few outputs and a long sum",
        without=Without(1e9, "cuts of K", "K is never cut over processors", kinds=GPU),
    )
    latency_s: float = constant(
        "tiles.latency",
        "from the start of a thread block until its first operands are there",
        unit="ns",
        without=Without(0.0, "first operands", "operands are there when a thread block starts", kinds=GPU),
    )
    feed_bytes_per_s: float = constant(
        "tiles.feed",
        "operands that one processor fetches, where its threads copy for themselves",
        unit="GB/s",
        fitted=Range(10.0, 200.0, "two to four stages of a small tile in flight for 500 ns", kinds=GPU),
        told_by="products of many rows on chips whose matrix units are fast beside their cache",
        without=Without(FREE, "operand feed", "operands reach the matrix units at no cost", kinds=GPU),
    )
    port_bytes_per_clock: float = constant(
        "tiles.port",
        "the same where hardware copies for clusters of processors",
        unit="B/clk",
        without=Without(FREE, part_of="operand feed"),
    )
    epilogue_bytes_per_clock: float = constant(
        "tiles.epilogue",
        "results that leave one processor",
        unit="B/clk",
        fitted=Range(4.0, 64.0, "from single elements to whole lines", kinds=GPU, logarithmic=True),
        told_by="products with a short sum",
        without=Without(FREE, "epilogue", "results leave at no cost", kinds=GPU),
    )
    bulk_stores: float = constant(
        "tiles.bulk_stores",
        "how much faster results leave where hardware copies them in bulk",
        fitted=Range(1.0, 3.0, "from no gain to stores that no warp waits for", kinds=GPU),
        told_by="products with a short sum",
        without=Without(1.0, "bulk stores", "results leave all chips alike", kinds=GPU),
    )
    sharpness: float = constant(
        "tiles.sharpness",
        "exponent of the norm that joins what runs side by side: 1 adds up, infinity takes the longest",
        fitted=Range(1.5, 8.0, "from one after the other to the longest alone", kinds=GPU),
        without=Without(64.0, "imperfect overlap", "what runs side by side takes as long as the longest", kinds=GPU),
    )
    memory_fraction: float = constant(
        "memory.fraction",
        "share of the main memory's bandwidth that streams of operands and results reach",
        unit="fraction",
        fitted=Range(0.6, 0.95, "measured DRAM bandwidth is 0.75 to 0.92 of nominal", kinds=GPU),
        told_by="products of few rows with weights beyond every cache",
        without=Without(1.0, "achieved bandwidth", "memory at its nominal bandwidth", kinds=GPU),
    )
    processor_w: float = constant(
        "power.processor",
        "what a processor whose matrix units are busy draws at 1 GHz, beside its multiply-accumulates",
        unit="W",
        fitted=Range(0.1, 2.0, "300 to 1000 W over 100 to 150 processors at 1.4 to 2.5 GHz", kinds=GPU),
        told_by="large products on a chip with a low power limit",
        without=Without(0.0, "power", "no power limit", kinds=GPU),
    )
    mac_w: float = constant(
        "power.mac",
        "what one multiply-accumulate of 16-bit numbers a clock draws at 1 GHz",
        unit="W",
        without=Without(0.0, part_of="power"),
    )

    def drawn_w(self, capability: float | None) -> float:
        """Return what one multiply-accumulate a clock draws at 1 GHz on chips of a compute capability [W]."""
        shares = [d.share for d in self.facts.draws if covers(d.capabilities, capability)]
        return self.mac_w * min(shares, default=1.0)

    def kernel(self, compute: str, stored: str, blocks: bool, *, capability: float | None) -> KernelFacts:
        """Return the kernel for a product: of its formats, else of the nearest that there is.

        Nearest is what shares most of: whether weights are widened, what is multiplied, how weights are kept, whether
        scales change along the sum. Of these it is what runs on the chip, and the first.
        """
        widened = compute != stored
        return max(
            self.facts.kernels,
            key=lambda k: (
                (k.compute != k.stored) == widened,
                k.compute == family(compute),
                k.stored == family(stored),
                k.blocks == blocks,
                k.runs_on(capability),
            ),
        )
