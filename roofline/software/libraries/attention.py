"""Fused attention: what its loops hide, and which cases it has kernels for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from roofline.quantity import SpecFile
from roofline.software.constant import GPU, Range, Without, constant
from roofline.software.libraries.library import Facts, Library, library_kind

#: wider than any head, more than any group, newer than any chip
ANY = (0.0, 1e9)


class AttentionKernel(SpecFile):
    """For which cases a library has a kernel: ranges include both ends. The first that fits is taken.

    Attributes
    ----------
    capabilities
        Compute capabilities.
    query_bits, kept_bits
        Of the formats of queries, and of keys and values.
    heads
        Widths of a head of queries.
    groups
        Query heads that share a head of keys.
    windowed, causal
        Only with (true) or only without (false); either where it is left out.
    floor_us
        Time from one kernel to the next beside all that sizes decide.
    serial
        Share of the shorter of products and softmax that the longer does not hide.
    fraction
        Of the rate of products that the library reaches elsewhere.
    narrow
        Whether products run at the rate of the kept format.
    """

    capabilities: tuple[float, float] = ANY
    query_bits: tuple[float, float] = ANY
    kept_bits: tuple[float, float] = ANY
    heads: tuple[float, float] = ANY
    groups: tuple[float, float] = ANY
    windowed: bool | None = None
    causal: bool | None = None
    floor_us: float
    serial: float = 1.0
    fraction: float = 1.0
    narrow: bool = False
    widths: tuple[int, ...] = ()
    why: str


class PromptFacts(AttentionKernel):
    """A kernel for many queries; see `roofline.cost.attention.PromptKernel`.

    `tile` is of queries and keys; `waits` counts how often a step waits: once for keys and values together, or twice.
    """

    tile: tuple[int, int]
    waits: int = 1
    pages: bool = False
    packs: bool = False
    splits: bool = False


class StepFacts(AttentionKernel):
    """A kernel for one query of each sequence; see `roofline.cost.attention.StepKernel`.

    `regroup_cycles` is that of two copies that put the queries of a group side by side, and back, where sequences and
    heads of keys are several. `reach` is the share that it gets of the bandwidth other kernels get, `depth` how much
    more it keeps in flight.
    """

    shares: bool = True
    rows: int = 16
    most_rows: int = 64
    splits: int = 128
    windows: bool = True
    converts: bool = False
    regroup_cycles: float = 0.0
    reach: float = 1.0
    depth: float = 1.0
    block_cycles: float
    combine_cycles: float = 0.0
    combine_each_cycles: float = 0.0


class AttentionFacts(Facts):
    """What a library has kernels for."""

    prompt: tuple[PromptFacts, ...] = ()
    step: tuple[StepFacts, ...] = ()


@library_kind("attention")
@dataclass(frozen=True, kw_only=True)
class AttentionLibrary(Library):
    """A library of fused attention: the constants that its kernels share, and those kernels."""

    facts_class: ClassVar[type[Facts]] = AttentionFacts
    facts: AttentionFacts

    softmax_ops: float = constant(
        "scores.softmax_ops",
        "lane operations for each score beside its exponential",
        told_by="long prompts of narrow heads",
        without=Without(0.0, "softmax of scores", "softmax costs its exponentials alone", kinds=GPU),
    )
    block_cycles: float = constant(
        "prompt.block",
        "of a block in a full processor beside its tiles",
        unit="cycles",
        fitted=Range(100.0, 30000.0, "a launch and some trips to memory", kinds=GPU, logarithmic=True),
        told_by="many short prompts",
        without=Without(0.0, "ends of blocks", "blocks of queries start and end at no cost", kinds=GPU),
    )
    step_cycles: float = constant(
        "prompt.step",
        "of a tile beside its scores: barriers, and waiting for keys",
        unit="cycles",
        fitted=Range(1.0, 3000.0, "two barriers, and up to a trip to the cache", kinds=GPU, logarithmic=True),
        told_by="long prompts of small tiles",
        without=Without(0.0, part_of="ends of blocks"),
    )
    key_cycles: float = constant(
        "prompt.page",
        "for each key of a tile, to find the page that it lies in",
        unit="cycles",
        fitted=Range(0.01, 50.0, "an address for each row of keys, by one warp", kinds=GPU, logarithmic=True),
        told_by="long prompts beside encoders",
        without=Without(0.0, "pages", "keys lie in one piece", kinds=GPU),
    )
    end_bytes_per_clock: float = constant(
        "prompt.end",
        "at which a processor loads a block's queries and stores its results",
        unit="B/clk",
        fitted=Range(4.0, 1000.0, "below what shared memory takes", kinds=GPU, logarithmic=True),
        told_by="many short prompts of wide heads",
        without=Without(1e9, part_of="ends of blocks"),
    )
    mixing: float = constant(
        "prompt.mixing",
        "exponent under which the work of all blocks and the way of the longest make the time",
        fitted=Range(1.0, 8.0, "from one after the other to the longer alone", kinds=GPU),
        told_by="prompts that do not fill the chip",
    )
    far_fraction: float = constant(
        "step.far",
        "share of the main memory's bandwidth that reading a cache reaches",
        unit="fraction",
        told_by="long caches",
        without=Without(1.0, "achieved bandwidth of caches", "caches are read at the nominal bandwidth", kinds=GPU),
    )
    near_speedup: float = constant(
        "step.near",
        "bandwidth of the last cache, in units of the main memory's nominal one",
        told_by="caches that fit into L2, read again",
    )
    load_bytes_per_clock: float = constant(
        "step.load",
        "at which one block loads keys and values",
        unit="B/clk",
        fitted=Range(3.0, 100.0, "two to four loads of 16 KiB in flight, 600 to 1000 clocks each", kinds=GPU),
        told_by="long caches of few heads",
        without=Without(1e9, "loads of a block", "one block loads as fast as all", kinds=GPU),
    )
    resident: float = constant(
        "step.resident",
        "blocks that share a processor at full speed",
        told_by="short caches of many heads",
    )
    row_cycles: float = constant(
        "step.row",
        "for each row of queries in a block",
        unit="cycles",
        fitted=Range(1.0, 3000.0, "loads and stores of a row, and its part of a reduction", kinds=GPU),
        told_by="short caches of large groups",
        without=Without(0.0, "rows of steps", "queries of a group cost what one costs", kinds=GPU),
    )
    convert_ops: float = constant(
        "step.convert",
        "lane operations to convert an element of a narrow cache",
        fitted=Range(0.01, 30.0, "an instruction, or a few with packing, scaling and transposing", kinds=GPU),
        told_by="eight-bit caches on chips before Hopper",
        without=Without(0.0, "conversion of caches", "narrow caches are read without conversion", kinds=GPU),
    )
    step_mixing: float = constant(
        "step.mixing",
        "exponent under which one block and all of them make the time",
        fitted=Range(1.0, 8.0, "from one after the other to the longer alone", kinds=GPU),
        told_by="caches of as many heads as there are processors",
    )
    memory_mixing: float = constant(
        "step.memory_mixing",
        "the same of what processors load and what memory delivers",
        told_by="long caches",
    )
