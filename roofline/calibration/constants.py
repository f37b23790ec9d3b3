"""The constants of a runtime that may be fitted: in which range, in which unit, and why that range."""

from __future__ import annotations

from collections.abc import Sequence

from roofline.calibration.constant import Constant
from roofline.calibration.host import HOST_CONSTANTS, HOST_DEFAULT
from roofline.errors import InputError
from roofline.names import lookup
from roofline.runtime.spec import Runtime

#: more constants than this would describe the data instead of the machine
MOST_FITTED = 10


CONSTANTS: tuple[Constant, ...] = (
    Constant(
        field="matrix_fraction", place="matrix.fraction", low=0.5, high=1.0, unit="fraction",
        why="best shapes reach 0.77 to 0.97 of the peak (MAMF table); below 0.5 a better kernel would be used",
    ),
    Constant(
        field="grouped_fraction", place="matrix.grouped_fraction", low=0.3, high=1.0, unit="fraction", kinds=("gpu",),
        why="from kernels that take one group at a time to those that pipeline them as well as one product",
    ),
    Constant(
        field="bandwidth_fraction", place="memory.fraction", low=0.6, high=0.95, unit="fraction",
        why="measured DRAM bandwidth is 0.75 to 0.92 of nominal (habitat device table)",
    ),
    Constant(
        field="movement_fraction", place="memory.movement_fraction", low=0.1, high=1.0, unit="fraction",
        why="strides use a third of a GPU's burst at worst, 4 bytes of the 32 that a TPU moves at once",
    ),
    Constant(
        field="vector_fraction", place="vector.fraction", low=0.15, high=1.0, unit="fraction",
        why="issue slots are shared with loads, stores and addresses: a third is usual, a seventh the worst",
    ),
    Constant(
        field="overlap", place="launch.overlap", low=0.0, high=1.0, unit="fraction",
        why="from engines that take turns to engines that never wait",
    ),
    Constant(
        field="floor_s", place="launch.floor", low=0.5, high=4.0, unit="us", logarithmic=True,
        why="dependent kernels are 1 to 3 us apart on GPUs; ops on a TPU take at least 0.85 us",
    ),
    Constant(
        field="host_s", place="launch.host", low=1.0, high=40.0, unit="us", kinds=("gpu",), logarithmic=True,
        why="an eager op costs 5 to 10 us of one CPU core, a slow core three times that",
    ),
    Constant(
        field="memory_latency_s", place="memory.latency", low=0.0, high=20.0, unit="us",
        why="a full GPU keeps 3 MB in flight, 3 us of its DRAM: a few waves of it at either end of a kernel",
    ),
    Constant(
        field="residency_share", place="memory.residency_share", low=0.01, high=1.0, unit="fraction",
        why="from a cache that keeps nothing to one that keeps all it can hold",
    ),
    Constant(
        field="window_ops", place="vector.window_ops", low=0.1, high=20.0, unit=None,
        logarithmic=True, why="from operands kept in registers to a dozen loads and address computations around each",
    ),
    Constant(
        field="access_ops", place="vector.access_ops", low=0.0, high=8.0, unit=None,
        why="from vector loads that hide to an instruction of its own for each byte",
    ),
    Constant(
        field="broadcast_ops", place="vector.broadcast_ops", low=0.0, high=16.0, unit=None, kinds=("gpu",),
        why="from places that vector loads find to a division, a remainder and narrow loads for each element",
    ),
    Constant(
        field="sum_wait", place="memory.sum_wait", low=0.0, high=1.0, unit=None, kinds=("gpu",),
        why="an operation takes 4 to 20 clocks and memory some 500: from none of them waited for to all, one by one",
    ),
    Constant(
        field="conversion_ops", place="vector.conversion_ops", low=0.0, high=4.0, unit=None,
        why="a conversion is one instruction, or a few with packing",
    ),
    Constant(
        field="emulated_conversion_ops", place="vector.emulated_conversion_ops", low=0.0, high=32.0, unit=None,
        kinds=("tpu",), why="without a conversion instruction: shifts, masks and selects, for subnormal numbers too",
    ),
    Constant(
        field="k_loop_elements", place="matrix.k_loop", low=0.0, high=400.0, unit=None, kinds=("gpu",),
        why="a tile's loop fills and drains a pipeline of 3 to 5 stages of 32 or 64 elements",
    ),
    Constant(
        field="tile_reuse_elements", place="matrix.tile_reuse", low=0.0, high=2.0, unit=None, kinds=("gpu",),
        why="operands are fetched at most twice through shared memory",
    ),
    Constant(
        field="lane_reuse_elements", place="matrix.lane_reuse", low=0.0, high=16.0, unit=None, kinds=("gpu",),
        why="a warp fetches its own part of a tile's operands: three to eight times the tile's own, in short reads",
    ),
    Constant(
        field="nchw_fraction", place="matrix.nchw_fraction", low=0.0, high=1.0, unit="fraction", kinds=("gpu",),
        why="from all of the traffic converted to channels last and back to none",
    ),
    Constant(
        field="weight_load_rows", place="matrix.weight_load", low=32.0, high=128.0, unit="cycles", kinds=("tpu",),
        why="a tile of 128 rows of weights enters 1 to 4 rows a cycle",
    ),
    Constant(
        field="partial_sum_ops", place="matrix.partial_sum_ops", low=0.0, high=2.0, unit=None, kinds=("tpu",),
        why="one addition, or a load and an addition",
    ),
    Constant(
        field="tap_folding", place="matrix.tap_folding", low=0.0, high=1.0, unit="fraction", kinds=("tpu",),
        why="from one pass per kernel tap to taps that share the array's rows",
    ),
    Constant(
        field="trace_s", place="launch.trace", low=1.0, high=200.0, unit="us", kinds=("tpu",), logarithmic=True,
        why="a traced op costs Python's call, shape inference and a node of the graph: as an eager op, or several",
    ),
    Constant(
        field="program_s", place="launch.program", low=1.0, high=1000.0, unit="us", logarithmic=True,
        why="from the launch of a recorded graph to the dispatch of a program by a remote host",
    ),
)  # fmt: skip

#: what is fitted unless the person names something else, by kind of device
DEFAULT: dict[str, tuple[str, ...]] = {
    "gpu": (
        *("matrix_fraction", "bandwidth_fraction", "vector_fraction", "overlap", "floor_s", "window_ops"),
        *("access_ops", "k_loop_elements", "tile_reuse_elements", "nchw_fraction"),
    ),
    "tpu": (
        *("matrix_fraction", "bandwidth_fraction", "vector_fraction", "overlap", "floor_s", "memory_latency_s"),
        *("window_ops", "conversion_ops", "weight_load_rows", "partial_sum_ops"),
    ),
    "cpu": HOST_DEFAULT,
}


def fitted_constants(runtime: Runtime, names: Sequence[str] | None = None) -> tuple[Constant, ...]:
    """Return the constants to fit, by name of the field or of the place in the file; by default the runtime's usual.

    Raises
    ------
    UnknownNameError
        No such constant.
    InputError
        None, or more than ten.
    """
    kind = runtime.device_kinds[0]
    of_kind = HOST_CONSTANTS if kind == "cpu" else [c for c in CONSTANTS if kind in c.kinds]
    known = {c.field: c for c in of_kind} | {c.place: c for c in of_kind}
    chosen = names or [name for name in DEFAULT[kind] if getattr(runtime, name) is not None]
    found = tuple(dict.fromkeys(lookup(name, known, "constant") for name in chosen))
    if len(found) > MOST_FITTED:
        raise InputError(f"{len(found)} constants are too many to fit: at most {MOST_FITTED}")
    return found
