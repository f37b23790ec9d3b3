"""What a runtime file says, and the runtime as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from roofline.device.spec import Kind
from roofline.families import Family
from roofline.quantity import Count, Cycles, Fraction, SpecFile, Time

Attention = Literal["fused", "decomposed"]


class Fusion(SpecFile):
    """Which ops become one kernel. `why` says where the policy is known from.

    `epilogue_functions` limits what the kernels of products absorb (all element-wise functions where it is missing);
    `split` names functions that run as chains of simpler ones. With `layout_copies` tensors keep the memory format that
    the op before left, and are copied where the next one wants another.
    """

    fold_batch_norm: bool
    attention: Attention
    epilogue: tuple[Family, ...]
    prologue: tuple[Family, ...]
    movement: bool
    epilogue_functions: tuple[str, ...] | None = None
    split: tuple[str, ...] = ()
    layout_copies: bool = False
    why: str


class MatrixConstants(SpecFile):
    """How the software drives the matrix unit; where a file leaves out `product_fraction` or `grouped_fraction`: 1."""

    fraction: Fraction
    product_fraction: Fraction | None = None
    grouped_fraction: Fraction | None = None
    nchw_fraction: Fraction
    weight_load: Cycles
    tap_folding: Fraction
    partial_sum_ops: Count
    k_loop: Count
    tile_reuse: Count
    lane_reuse: Count
    alignment: Count
    winograd: bool = False


class VectorConstants(SpecFile):
    """How the software drives the vector unit; `pool_ops` and `gradient_window_ops` are `window_ops` by default."""

    fraction: Fraction
    window_ops: Count
    pool_ops: Count | None = None
    gradient_window_ops: Count | None = None
    access_ops: Count
    broadcast_ops: Count | None = None
    conversion_ops: Count
    emulated_conversion_ops: Count


class MemoryConstants(SpecFile):
    """How the software drives the memory."""

    fraction: Fraction
    movement_fraction: Fraction
    latency: Time
    residency_share: Fraction
    sum_wait: Count | None = None
    result_padding: Count | None = None


class LaunchConstants(SpecFile):
    """What starting costs."""

    program: Time
    host: Time
    floor: Time
    overlap: Fraction
    trace: Time | None = None


class RuntimeFile(SpecFile):
    """A file in ``runtimes/``."""

    name: str
    title: str
    device_kinds: tuple[Kind, ...] = Field(min_length=1)
    default_layout: Literal["nhwc", "nchw"]
    sources: dict[str, str] = Field(min_length=1)
    fusion: Fusion
    matrix: MatrixConstants
    vector: VectorConstants
    memory: MemoryConstants
    launch: LaunchConstants


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A software stack, in SI units.

    Attributes
    ----------
    fold_batch_norm, attention, epilogue, prologue, fuse_movement
        Fusion policy: which op families absorb the point-wise ops that follow them, and that precede them, and whether
        copies in another order join point-wise kernels.
    epilogue_functions, split
        Functions that kernels of products absorb (None: all), and functions that run as chains of simpler ones.
    layout_copies
        Whether tensors are copied between ops that want different memory formats; else the compiler arranges them.
    matrix_fraction, vector_fraction, bandwidth_fraction
        Achieved share of each peak in the steady state.
    nchw_fraction
        Share of the traffic of channels-first convolutions that needs no conversion to channels last and back.
    weight_load_rows
        Systolic arrays: a tile of weights costs at least as many row times.
    tap_folding
        Systolic arrays: 1 where kernel taps share the array's rows with the channels, 0 where each tap is a pass.
    partial_sum_ops
        Vector operations for each output element and each pass over K beyond the first.
    k_loop_elements, tile_reuse_elements, lane_reuse_elements, alignment_elements
        Tensor cores: start and end of the K loop, operand elements fetched per side of a tile in units of
        multiply-accumulates (by tensor cores, and by formats whose products run on the vector lanes), alignment of
        16-bit channels.
    window_ops, pool_ops, gradient_window_ops, access_ops
        Operations of the load path for each element of a sliding window of a depthwise convolution, for each one of
        pooling and of a depthwise convolution's gradients (None: the same), and for each element that the vector unit
        reads or writes.
    broadcast_ops
        Further operations of the load path for each element in kernels that pair elements with smaller tensors, or add
        them up channel by channel.
    winograd
        Whether convolutions on vector lanes take Winograd's algorithm where that is faster.
    conversion_ops, emulated_conversion_ops
        Vector operations to convert one narrow element on its way in or out of the vector unit; and to convert one
        element of a format that the device only stores, wherever it is read or written.
    movement_fraction
        Further factor on the bandwidth of kernels that only copy in another order.
    sum_wait
        Share of a streaming element's time that each operation on it adds, in kernels that add up over positions what
        they also write.
    memory_latency_s
        Start of the bandwidth ramp: time = latency + bytes / bandwidth.
    residency_share
        Share of each on-chip level that keeps tensors between kernels.
    result_padding
        Largest padding at which results of a channels-first program are copied into its own order; 0: never.
    program_s, host_s, floor_s, trace_s
        Per run; host time per kernel; device time per kernel at least; time per op for which the device waits while
        the host traces the program anew.
    overlap
        1: engines overlap fully, 0: they take turns.
    product_fraction
        Further factor on products of one tap: matrix products and 1 x 1 convolutions.
    """

    name: str
    title: str
    device_kinds: tuple[str, ...]
    default_layout: Literal["nhwc", "nchw"]
    fold_batch_norm: bool
    attention: Attention
    epilogue: tuple[str, ...]
    prologue: tuple[str, ...]
    fuse_movement: bool
    epilogue_functions: tuple[str, ...] | None
    split: tuple[str, ...]
    layout_copies: bool
    matrix_fraction: float
    nchw_fraction: float
    weight_load_rows: float
    tap_folding: float
    partial_sum_ops: float
    k_loop_elements: float
    tile_reuse_elements: float
    lane_reuse_elements: float
    alignment_elements: float
    winograd: bool
    vector_fraction: float
    window_ops: float
    pool_ops: float | None
    gradient_window_ops: float | None
    access_ops: float
    broadcast_ops: float
    conversion_ops: float
    emulated_conversion_ops: float
    bandwidth_fraction: float
    movement_fraction: float
    memory_latency_s: float
    residency_share: float
    result_padding: float
    program_s: float
    host_s: float
    floor_s: float
    trace_s: float
    overlap: float
    product_fraction: float = 1.0
    grouped_fraction: float = 1.0
    sum_wait: float = 0.0


def runtime_of(file: RuntimeFile) -> Runtime:
    """Return the runtime that a validated file describes."""
    product_fraction, grouped_fraction = file.matrix.product_fraction, file.matrix.grouped_fraction
    return Runtime(
        name=file.name,
        title=file.title,
        device_kinds=file.device_kinds,
        default_layout=file.default_layout,
        fold_batch_norm=file.fusion.fold_batch_norm,
        attention=file.fusion.attention,
        epilogue=file.fusion.epilogue,
        prologue=file.fusion.prologue,
        fuse_movement=file.fusion.movement,
        epilogue_functions=file.fusion.epilogue_functions,
        split=file.fusion.split,
        layout_copies=file.fusion.layout_copies,
        matrix_fraction=file.matrix.fraction.si,
        nchw_fraction=file.matrix.nchw_fraction.si,
        weight_load_rows=file.matrix.weight_load.si,
        tap_folding=file.matrix.tap_folding.si,
        partial_sum_ops=file.matrix.partial_sum_ops.si,
        k_loop_elements=file.matrix.k_loop.si,
        tile_reuse_elements=file.matrix.tile_reuse.si,
        lane_reuse_elements=file.matrix.lane_reuse.si,
        alignment_elements=file.matrix.alignment.si,
        winograd=file.matrix.winograd,
        vector_fraction=file.vector.fraction.si,
        window_ops=file.vector.window_ops.si,
        pool_ops=None if file.vector.pool_ops is None else file.vector.pool_ops.si,
        gradient_window_ops=None if file.vector.gradient_window_ops is None else file.vector.gradient_window_ops.si,
        access_ops=file.vector.access_ops.si,
        broadcast_ops=file.vector.broadcast_ops.si if file.vector.broadcast_ops else 0.0,
        conversion_ops=file.vector.conversion_ops.si,
        emulated_conversion_ops=file.vector.emulated_conversion_ops.si,
        bandwidth_fraction=file.memory.fraction.si,
        movement_fraction=file.memory.movement_fraction.si,
        memory_latency_s=file.memory.latency.si,
        residency_share=file.memory.residency_share.si,
        result_padding=file.memory.result_padding.si if file.memory.result_padding else 0.0,
        program_s=file.launch.program.si,
        host_s=file.launch.host.si,
        floor_s=file.launch.floor.si,
        trace_s=file.launch.trace.si if file.launch.trace else 0.0,
        overlap=file.launch.overlap.si,
        product_fraction=1.0 if product_fraction is None else product_fraction.si,
        grouped_fraction=1.0 if grouped_fraction is None else grouped_fraction.si,
        sum_wait=file.memory.sum_wait.si if file.memory.sum_wait else 0.0,
    )
