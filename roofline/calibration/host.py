"""Host processors (CPUs): which constants of their runtimes may be fitted, and in which range.

No shipped runtime is that of a framework on a CPU: a file that `roofline calibrate` wrote on a machine is good for that
machine.
"""

from __future__ import annotations

from pathlib import Path

from roofline.calibration.constant import Constant

#: the runtime file from which every fit on a host starts
HOST_RUNTIME = Path(__file__).with_name("host_runtime.toml")

HOST_CONSTANTS: tuple[Constant, ...] = (
    Constant(
        field="matrix_fraction", place="matrix.fraction", low=0.2, high=1.0, unit="fraction",
        why="the peak is the best rate measured on the very machine; usual shapes reach a part of it",
    ),
    Constant(
        field="product_fraction", place="matrix.product_fraction", low=0.1, high=1.0, unit="fraction",
        why="libraries of products may know a processor less well than libraries of convolutions",
    ),
    Constant(
        field="bandwidth_fraction", place="memory.fraction", low=0.1, high=1.0, unit="fraction",
        why="of the best copy measured on the very machine",
    ),
    Constant(
        field="vector_fraction", place="vector.fraction", low=0.02, high=1.0, unit="fraction", logarithmic=True,
        why="from full vectors to a scalar loop",
    ),
    Constant(
        field="floor_s", place="launch.floor", low=0.3, high=100.0, unit="us", logarithmic=True,
        why="from an addition of a few numbers to an op that starts threads and builds a plan",
    ),
    Constant(
        field="window_ops", place="vector.window_ops", low=0.2, high=200.0, unit=None, logarithmic=True,
        why="from operands kept in registers to a scalar loop over the window",
    ),
    Constant(
        field="pool_ops", place="vector.pool_ops", low=0.2, high=500.0, unit=None, logarithmic=True,
        why="from full vectors to a scalar loop that compares and remembers a place",
    ),
    Constant(
        field="access_ops", place="vector.access_ops", low=0.0, high=16.0, unit=None,
        why="from loads that hide to scalar loads",
    ),
    Constant(
        field="movement_fraction", place="memory.movement_fraction", low=0.02, high=1.0, unit="fraction",
        logarithmic=True, why="a transposing copy uses one number of each cache line at worst",
    ),
    Constant(
        field="residency_share", place="memory.residency_share", low=0.05, high=1.0, unit="fraction",
        why="from a cache shared with others to one of its own",
    ),
    Constant(
        field="overlap", place="launch.overlap", low=0.0, high=1.0, unit="fraction",
        why="from loads that wait for arithmetic to loads that never do",
    ),
    Constant(
        field="nchw_fraction", place="matrix.nchw_fraction", low=0.3, high=1.0, unit="fraction",
        why="layout conversions read and write what the convolution reads and writes",
    ),
)  # fmt: skip

#: what is fitted unless the person names something else
HOST_DEFAULT: tuple[str, ...] = (
    *("matrix_fraction", "product_fraction", "bandwidth_fraction", "vector_fraction", "floor_s", "window_ops"),
    *("pool_ops", "movement_fraction", "residency_share"),
)
