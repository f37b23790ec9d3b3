"""The runtime as a value. Each of its constants is declared here, once, with all that anybody asks about it.

What reads and checks files, fits, ablates and writes the pages follows from these declarations (`software.constant`): a
new constant is a field below, the formula that uses it, and a number in the files.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline.numeric import Numeric
from roofline.software.constant import GPU, TPU, Range, Without, constant, constants_of
from roofline.software.stack import Stack

#: a rate so high that the work it stands for costs nothing
FREE = 1e9
#: a share so small that nothing stays on chip
NOTHING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Runtime(Stack):
    """A software stack, in SI units; what it fuses and calls is told by `Stack`."""

    # how the software drives the matrix unit
    matrix_fraction: float = constant(
        "matrix.fraction",
        "share of the peak that large products reach in the steady state",
        unit="fraction",
        fitted=Range(
            0.5, 1.0, "best shapes reach 0.77 to 0.97 of the peak (MAMF table); below 0.5 a better kernel would be used"
        ),
        on_host=Range(
            0.2, 1.0, "the peak is the best rate measured on the very machine; usual shapes reach a part of it"
        ),
        told_by="large products and convolutions",
        without=Without(1.0, "achieved matrix rate", "matrix units at their peak"),
    )
    product_fraction: float = constant(
        "matrix.product_fraction",
        "further factor on products of one tap: matrix products and 1 x 1 convolutions",
        unit="fraction",
        default=1.0,
        on_host=Range(0.1, 1.0, "libraries of products may know a processor less well than libraries of convolutions"),
        told_by="products beside convolutions of several taps",
    )
    grouped_fraction: float = constant(
        "matrix.grouped_fraction",
        "tensor cores: further factor on convolutions in groups",
        unit="fraction",
        default=1.0,
        fitted=Range(
            0.3, 1.0, "from one group at a time to kernels that pipeline them as well as one product", kinds=GPU
        ),
        without=Without(1.0, "grouped kernels", "groups as fast as one product", kinds=GPU),
    )
    nchw_fraction: float = constant(
        "matrix.nchw_fraction",
        "share of the traffic of channels-first convolutions that needs no conversion to channels last and back",
        unit="fraction",
        fitted=Range(0.0, 1.0, "from all of the traffic converted to channels last and back to none", kinds=GPU),
        on_host=Range(0.3, 1.0, "layout conversions read and write what the convolution reads and writes"),
        told_by="convolutions in both memory formats",
        without=Without(1.0, "channels-first cost", "both memory formats equal", kinds=GPU),
    )
    weight_load_rows: float = constant(
        "matrix.weight_load",
        "systolic arrays: a tile of weights costs at least as many row times",
        unit="cycles",
        fitted=Range(32.0, 128.0, "a tile of 128 rows of weights enters 1 to 4 rows a cycle", kinds=TPU),
        told_by="products with few rows",
        without=Without(0.0, "weight load", "tiles of weights load at no cost", kinds=TPU),
    )
    tap_folding: float = constant(
        "matrix.tap_folding",
        "systolic arrays: 1 where kernel taps share the array's rows with the channels, 0 where each tap is a pass",
        unit="fraction",
        fitted=Range(0.0, 1.0, "from one pass per kernel tap to taps that share the array's rows", kinds=TPU),
        without=Without(0.0, "tap folding", "every kernel tap is a pass", kinds=TPU),
    )
    partial_sum_ops: float = constant(
        "matrix.partial_sum_ops",
        "vector operations for each output element and each pass over K beyond the first",
        fitted=Range(0.0, 2.0, "one addition, or a load and an addition", kinds=TPU),
        told_by="products with a long inner dimension",
        without=Without(0.0, "partial sums", "passes over K are added for nothing", kinds=TPU),
    )
    k_loop_elements: float = constant(
        "matrix.k_loop",
        "tensor cores: elements of K that the start and end of a tile's loop cost",
        fitted=Range(
            0.0, 400.0, "a tile's loop fills and drains a pipeline of 3 to 5 stages of 32 or 64 elements", kinds=GPU
        ),
        told_by="products with a short inner dimension",
        without=Without(0.0, "K loop", "loops start and end at no cost", kinds=GPU),
    )
    tile_reuse_elements: float = constant(
        "matrix.tile_reuse",
        "tensor cores: operand elements fetched per side of a tile, in units of multiply-accumulates",
        fitted=Range(0.0, 2.0, "operands are fetched at most twice through shared memory", kinds=GPU),
        told_by="products of many sizes in the fastest format",
        without=Without(0.0, "operand fetch", "operands of a tile are free", kinds=GPU),
    )
    lane_reuse_elements: float = constant(
        "matrix.lane_reuse",
        "the same for formats whose products run on the vector lanes (fp32 without TF32)",
        fitted=Range(
            0.0,
            16.0,
            "warps fetch their own parts of a tile's operands: three to eight times the tile's own",
            kinds=GPU,
        ),
        without=Without(0.0, part_of="operand fetch"),
    )
    alignment_elements: float = constant(
        "matrix.alignment",
        "tensor cores: 16-bit channels are padded to a multiple of it",
        without=Without(1.0, "channel alignment", "no padding of channels", kinds=GPU),
    )
    winograd: bool = constant(
        "matrix.winograd",
        "whether convolutions on vector lanes take Winograd's algorithm where that is faster",
        default=False,
        without=Without(False, "Winograd", "convolutions on vector lanes by their definition"),
    )

    # how it drives the vector unit
    vector_fraction: float = constant(
        "vector.fraction",
        "share of the vector unit's peak reached in the steady state",
        unit="fraction",
        fitted=Range(
            0.15, 1.0, "issue slots are shared with loads, stores and addresses: a third is usual, a seventh the worst"
        ),
        on_host=Range(0.02, 1.0, "from full vectors to a scalar loop", logarithmic=True),
        told_by="sigmoid, GELU and exponentials on tensors that fit into a cache",
        without=Without(FREE, "vector work", "the vector unit is infinitely fast"),
    )
    window_ops: float = constant(
        "vector.window_ops",
        "operations of the load path for each element of a sliding window of a depthwise convolution",
        fitted=Range(
            0.1, 20.0, "from operands kept in registers to a dozen loads and addresses around each", logarithmic=True
        ),
        on_host=Range(0.2, 200.0, "from operands kept in registers to a scalar loop over the window", logarithmic=True),
        told_by="depthwise convolutions of several kernels",
        without=Without(0.0, "window loads", "elements of sliding windows load at no cost"),
    )
    pool_ops: float | None = constant(
        "vector.pool_ops",
        "the same for each element of a window of pooling; left out: `window_ops`",
        default=None,
        on_host=Range(
            0.2, 500.0, "from full vectors to a scalar loop that compares and remembers a place", logarithmic=True
        ),
        told_by="pooling of several kernels",
    )
    gradient_window_ops: float | None = constant(
        "vector.gradient_window_ops",
        "the same in gradients of depthwise convolutions; left out: `window_ops`",
        default=None,
    )
    kept_weights: float = constant(
        "vector.kept_weights",
        "vector units that issue bundles: weights of a sliding window that stay in registers from result to result",
        default=FREE,
        without=Without(FREE, "window refills", "the weights of every window stay in registers", kinds=TPU),
    )
    refinement_ops: float = constant(
        "vector.refinement_ops",
        "operations that refine the estimate of a transcendental slot into an exponential or a reciprocal",
        default=0.0,
        without=Without(0.0, "refined transcendentals", "a transcendental takes its own slot alone", kinds=TPU),
    )
    access_ops: float = constant(
        "vector.access_ops",
        "operations of the load path for each element that the vector unit reads or writes",
        fitted=Range(0.0, 8.0, "from vector loads that hide to an instruction of its own for each byte"),
        on_host=Range(0.0, 16.0, "from loads that hide to scalar loads"),
        told_by="element-wise ops on half-precision tensors",
        without=Without(0.0, "element loads", "elements of tensors load at no cost"),
    )
    broadcast_ops: float = constant(
        "vector.broadcast_ops",
        "further ones for each element in kernels that pair it with smaller tensors, or add up channel by channel",
        default=0.0,
        fitted=Range(
            0.0, 16.0, "from places that vector loads find to a division and narrow loads for each element", kinds=GPU
        ),
        without=Without(
            0.0,
            "operands of other shapes",
            "elements beside smaller operands load like others",
            part_of="element loads",
        ),
    )
    conversion_ops: float = constant(
        "vector.conversion_ops",
        "vector operations to convert one narrow element on its way in or out of the vector unit",
        fitted=Range(0.0, 4.0, "a conversion is one instruction, or a few with packing"),
        told_by="element-wise ops in half and in single precision",
        without=Without(0.0, "dtype conversion", "conversions are free"),
    )
    emulated_conversion_ops: float = constant(
        "vector.emulated_conversion_ops",
        "the same for a format that the device only stores, wherever an element is read or written",
        fitted=Range(
            0.0, 32.0, "without an instruction for it: shifts, masks and selects, for subnormal numbers too", kinds=TPU
        ),
        without=Without(0.0, part_of="dtype conversion"),
    )

    # how it drives the memory
    bandwidth_fraction: float = constant(
        "memory.fraction",
        "share of the nominal bandwidth reached in the steady state",
        unit="fraction",
        fitted=Range(0.6, 0.95, "measured DRAM bandwidth is 0.75 to 0.92 of nominal (habitat device table)"),
        on_host=Range(0.1, 1.0, "of the best copy measured on the very machine"),
        told_by="streams larger than every cache",
        without=Without(1.0, "achieved bandwidth", "memory at its nominal bandwidth"),
    )
    movement_fraction: float = constant(
        "memory.movement_fraction",
        "further factor for kernels that only copy in another order, where all elements part",
        unit="fraction",
        fitted=Range(
            0.1, 1.0, "strides use a third of a GPU's burst at worst, 4 bytes of the 32 that a TPU moves at once"
        ),
        on_host=Range(0.02, 1.0, "a transposing copy uses one number of each cache line at worst", logarithmic=True),
        told_by="transposes and concatenations",
        without=Without(1.0, "strided copies", "copies in another order as fast as plain ones"),
    )
    memory_latency_s: float = constant(
        "memory.latency",
        "start of the bandwidth ramp: time = latency + bytes / bandwidth",
        unit="us",
        fitted=Range(
            0.0, 20.0, "a full GPU keeps 3 MB in flight, 3 us of its DRAM: a few waves of it at either end of a kernel"
        ),
        told_by="streams of all sizes, from 4 KiB up",
        without=Without(0.0, "memory ramp", "the first byte comes at once"),
    )
    residency_share: float = constant(
        "memory.residency_share",
        "share of each on-chip level that keeps tensors between kernels",
        unit="fraction",
        fitted=Range(0.01, 1.0, "from a cache that keeps nothing to one that keeps all it can hold"),
        on_host=Range(0.05, 1.0, "from a cache shared with others to one of its own"),
        told_by="element-wise ops on tensors around the size of each cache",
        without=Without(NOTHING, "residency", "nothing stays on chip"),
    )
    sum_wait: float = constant(
        "memory.sum_wait",
        "share of an element's streaming time that each operation adds, where kernels add up what they also write",
        default=0.0,
        fitted=Range(
            0.0,
            1.0,
            "an operation takes 4 to 20 clocks, memory some 500: from none waited for to all of them",
            kinds=GPU,
        ),
        without=Without(0.0, "sums of own results", "kernels stream what they add up and write", kinds=GPU),
    )
    result_padding: float = constant(
        "memory.result_padding",
        "results of a channels-first program that pad by less are copied into its own order; 0: never",
        default=0.0,
        without=Without(0.0, "order of results", "results stay in the compiler's order", kinds=TPU),
    )

    # what starting costs
    program_s: float = constant(
        "launch.program",
        "time per run",
        unit="us",
        fitted=Range(
            1.0, 1000.0, "from the launch of a recorded graph to a dispatch by a remote host", logarithmic=True
        ),
    )
    host_s: float = constant(
        "launch.host",
        "host time per kernel",
        unit="us",
        fitted=Range(
            1.0, 40.0, "an eager op takes a core 5 to 10 us, a slow one three times that", kinds=GPU, logarithmic=True
        ),
        told_by="networks of many small ops at batch 1, the device idle at the start",
        without=Without(0.0, "host queue", "the host is never late", kinds=GPU),
    )
    floor_s: float = constant(
        "launch.floor",
        "device time per kernel at least",
        unit="us",
        fitted=Range(
            0.5,
            16.0,
            "kernels in a row are 1 to 3 us apart on GPUs, several times that where each is started by the one before; "
            "TPU ops take at least 0.85 us",
            logarithmic=True,
        ),
        on_host=Range(
            0.3, 100.0, "from an addition of a few numbers to an op that starts threads and plans", logarithmic=True
        ),
        told_by="networks of many small ops at batch 1",
        without=Without(0.0, "kernel floor", "kernels start at no cost"),
    )
    overlap: float = constant(
        "launch.overlap",
        "1: engines overlap fully, 0: they take turns",
        unit="fraction",
        fitted=Range(0.0, 1.0, "from engines that take turns to engines that never wait"),
        on_host=Range(0.0, 1.0, "from loads that wait for arithmetic to loads that never do"),
        told_by="kernels that compute and move data alike: products with fused activations",
        without=Without(1.0, "imperfect overlap", "engines overlap fully"),
    )
    trace_s: float = constant(
        "launch.trace",
        "time per op for which the device waits while the host traces the program anew",
        unit="us",
        default=0.0,
        fitted=Range(
            1.0, 200.0, "a call, shape inference and a node: as an eager op, or several", kinds=TPU, logarithmic=True
        ),
        without=Without(0.0, "tracing", "a program is traced once", kinds=TPU),
    )

    # how an engine serves language models
    sequence_s: float = constant(
        "serving.sequence",
        "time per step of a decoder and sequence in it: sampling, scheduling, text",
        unit="us",
        default=0.0,
        without=Without(0.0, "sequences", "an engine handles any number of sequences at once", kinds=GPU),
    )
    memory_share: float = constant(
        "serving.memory_share",
        "share of the main memory that an engine uses for weights, activations and cache",
        unit="fraction",
        default=1.0,
    )
    joins_cores: bool = constant(
        "serving.joins_cores",
        "whether the cores of a chip run one program together, each with its part of every weight and head",
        default=False,
    )
    block_tokens: float = constant(
        "serving.block_tokens",
        "tokens for which the cache of a sequence is reserved at a time",
        default=1.0,
    )

    @property
    def serves(self) -> bool:
        """Whether it is an engine that answers requests: it keeps a cache in blocks, or memory for it."""
        return self.block_tokens > 1.0 or self.memory_share < 1.0

    def run_s(self, sequences: Numeric = 0.0) -> Numeric:
        """Return the time per run [s]: of a step of a decoder also that of the sequences in it."""
        return self.program_s + self.sequence_s * sequences


#: the declarations, in the order in which files state them
CONSTANTS = constants_of(Runtime)
Runtime.__doc__ = f"{Runtime.__doc__}\n\n    Attributes\n    ----------\n    " + "".join(
    f"{c.field}\n        {c.what[0].upper()}{c.what[1:]}.\n    " for c in CONSTANTS
)
