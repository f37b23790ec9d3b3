"""A device, a runtime and a precision as the numbers that the cost formulas take, seen from one core."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from roofline.cost.chip import Chip
from roofline.cost.matrix import SPLITS, TILES
from roofline.cost.memory import Tile
from roofline.dtypes import DTYPES, Precision
from roofline.engine.table import DTYPE_CODES
from roofline.graph.op import Layout
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.software.libraries.attention import AttentionLibrary
from roofline.software.libraries.experts import ExpertsLibrary
from roofline.software.libraries.library import Library
from roofline.software.libraries.paged_attention import PagedAttentionLibrary
from roofline.software.libraries.products import ProductsLibrary
from roofline.software.spec import Runtime

#: floating-point arithmetic of vector units is this wide: narrower formats are converted
WORD_BITS = 32
#: `alignment` of a runtime counts elements of this size: what is aligned are bytes (8 of 16 bits, 4 of 32, 16 of 8)
ALIGNED_BYTES = 2.0
#: tensor cores fetch elements of this size transposed, 8 x 8 at a time; larger ones take an instruction for each word
#: (PTX ISA: ldmatrix, and the transposed operands of wgmma, are for 16-bit formats)
TRANSPOSED_BYTES = 2.0
#: images whose width is cut into pieces where the copies this takes go through the main memory; where there is memory
#: on chip for tensors, it is done for all that leave a register's sublanes empty. Seen in programs compiled ahead of
#: time with libtpu 0.0.42.1: at 1 image a core on TPU v2 and v3, at 1 to 7 from v4i on. The first is the default limit
#: of openxla/xla space_to_batch_converter.h
CUT_IMAGES = 1.0
#: time that a half-filled register takes of a whole one, where some kernels pack two into one: depthwise kernels of
#: EfficientNet-B0 and X-B0 compiled for TPU v2 (libtpu 0.0.42.1) take 0.80 and 0.77 of the time of 8 images for 4
HALF_REGISTER = 0.78
#: bytes that one lane loads at a time
LOAD_BYTES = 4


#: the lowest compute capability whose processors form clusters that share loads (CUDA C++ Programming Guide, thread
#: block clusters)
CLUSTERS = 9.0
L = TypeVar("L", bound=Library)


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """The kernel libraries of a runtime that have kernels for a device, in order of preference."""

    products: tuple[ProductsLibrary, ...] = ()
    attention: tuple[AttentionLibrary, ...] = ()
    experts: tuple[ExpertsLibrary, ...] = ()
    paged_attention: tuple[PagedAttentionLibrary, ...] = ()

    def without(self, effect: str) -> Libraries:
        """Return them without an effect, as their constants declare it."""
        return Libraries(**{f.name: tuple(one.without(effect) for one in getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Machine:
    """One core of a device under a runtime; rates by dtype are indexed by `DTYPE_CODES`, NaN where there are none.

    `fetches_again` is 1 where processors fetch what they share, or do not keep, again; 0 where whole maps are moved.
    """

    device: Device
    runtime: Runtime
    precision: Precision
    layout: Layout
    cores: int
    units: float
    rows: float
    columns: float
    fill_rows: float
    row_time_s: Array
    unit_macs_per_s: Array
    operand_macs: Array
    stored_only: Array
    on_lanes: Array
    element_bytes: Array
    alignment: Array
    tile_reuse: Array
    narrow: Array
    lane_fraction: float
    convolution_fraction: float
    batched_tile: float
    matrix_fraction: float
    simple_ops_per_s: float
    transcendental_ops_per_s: float
    load_ops_per_s: float
    loads_per_s: float
    stores_per_s: float
    transposes_per_s: float
    bandwidths_bytes_per_s: tuple[float, ...]
    capacities_bytes: tuple[float, ...]
    bandwidth_fraction: float
    fetches_again: float
    lanes: float
    sublanes: float
    tile: Tile
    register: Tile
    libraries: Libraries = Libraries()
    tiles: tuple[tuple[int, int], ...] = TILES
    splits: tuple[int, ...] = SPLITS

    @property
    def slots(self) -> bool:
        """Whether the vector units issue bundles: arithmetic, transcendentals, loads and stores side by side."""
        return self.device.vector.loads_per_clock is not None

    @property
    def systolic(self) -> bool:
        """Whether the matrix units are systolic arrays."""
        return self.device.matrix.systolic

    def chip(self, dtypes: NDArray[np.int64]) -> Chip:
        """Return what kernel libraries see; its matrix rates are those of a column of `DTYPE_CODES`."""
        near = len(self.bandwidths_bytes_per_s) > 1
        device = self.device
        return Chip(
            processors=self.units,
            clock_hz=device.matrix.clock_hz or device.clock_hz or np.nan,
            macs_per_s=self.unit_macs_per_s[dtypes],
            lane_ops_per_s=self.simple_ops_per_s / self.units,
            transcendental_ops_per_s=self.transcendental_ops_per_s / self.units,
            local_bytes_per_s=device.local_bytes_per_s,
            near_bytes_per_s=self.bandwidths_bytes_per_s[-1],
            far_bytes_per_s=self.bandwidths_bytes_per_s[0],
            near_bytes=device.shared_memory[0].capacity_bytes if near else 0.0,
            multicast=float((device.capability or 0.0) >= CLUSTERS),
            operand_sharing=float(device.matrix.operand_sharing),
            budget_w=np.inf if device.tdp_w is None else device.tdp_w,
        )

    def check_dtype(self, codes: NDArray[np.int64]) -> None:
        """Raise unless the device multiplies matrices of every dtype in `codes`.

        Raises
        ------
        InputError
            Names the dtype, and those the device has.
        """
        for code in np.unique(codes):
            if np.isnan(self.unit_macs_per_s[int(code)]):
                self.device.peak_flops_per_s(list(DTYPE_CODES)[int(code)])


def machine_for(device: Device, runtime: Runtime, precision: Precision, layout: Layout, cores: int) -> Machine:
    """Return what one of `cores` busy cores sees: its own units, and its share of the memory.

    `engine.setting.resolve` has checked that the device has the dtype and the cores.
    """
    matrix = device.matrix
    rows, columns = float(matrix.rows or 1), float(matrix.cols or 1)
    stored_only, on_lanes = np.zeros(len(DTYPE_CODES)), np.zeros(len(DTYPE_CODES))
    unit_macs = np.full(len(DTYPE_CODES), np.nan)
    for name, rate in matrix.rates.items():
        stored_only[DTYPE_CODES[name]] = float(rate.stored_only)
        on_lanes[DTYPE_CODES[name]] = float(rate.runs_on == "vector")
        unit_macs[DTYPE_CODES[name]] = rate.peak_flops_per_s / (2.0 * device.cores * matrix.units)
    element_bytes = np.array([dtype.bytes for dtype in DTYPES.values()])
    overrides = device.overrides.get(runtime.name, {})
    clock_ratio = overrides.get("clock_ratio", 1.0)
    matrix_fraction = overrides.get("matrix_fraction", runtime.matrix_fraction)
    runtime = replace(runtime, window_ops=overrides.get("window_ops", runtime.window_ops))
    share = 1.0 / device.cores
    return Machine(
        device=device,
        runtime=runtime,
        precision=precision,
        layout=layout,
        cores=cores,
        units=float(matrix.units),
        rows=rows,
        columns=columns,
        fill_rows=rows + columns,
        row_time_s=rows * columns / (unit_macs * clock_ratio),
        unit_macs_per_s=unit_macs * clock_ratio,
        stored_only=stored_only,
        on_lanes=on_lanes,
        element_bytes=element_bytes,
        alignment=np.where(
            on_lanes > 0, 1.0, np.maximum(1.0, runtime.alignment_elements * ALIGNED_BYTES / element_bytes)
        ),
        tile_reuse=np.where(
            on_lanes > 0,
            runtime.lane_reuse_elements,
            runtime.tile_reuse_elements * np.maximum(1.0, element_bytes / TRANSPOSED_BYTES),
        ),
        narrow=np.array([float(dtype.kind == "float" and dtype.bits < WORD_BITS) for dtype in DTYPES.values()]),
        operand_macs=unit_macs * element_bytes / (device.local_bytes_per_s * matrix.operand_sharing),
        lane_fraction=overrides.get("lane_fraction", runtime.matrix_fraction),
        convolution_fraction=overrides.get("convolution_fraction", matrix_fraction),
        batched_tile=float(matrix.batched_lane_tile or 0),
        matrix_fraction=matrix_fraction,
        simple_ops_per_s=device.vector_simple_ops_per_s * share * clock_ratio,
        transcendental_ops_per_s=device.vector_transcendental_ops_per_s * share * clock_ratio,
        load_ops_per_s=_load_ops_per_s(device) * share * clock_ratio,
        loads_per_s=device.per_second(device.vector.loads_per_clock) * share * clock_ratio,
        stores_per_s=device.per_second(device.vector.stores_per_clock) * share * clock_ratio,
        transposes_per_s=device.per_second(device.vector.transposes_per_clock) * share * clock_ratio,
        bandwidths_bytes_per_s=tuple(
            level.bandwidth_bytes_per_s * share for level in (device.main_memory, *device.shared_memory)
        ),
        capacities_bytes=tuple(
            level.capacity_bytes * share * runtime.residency_share for level in device.shared_memory
        ),
        bandwidth_fraction=overrides.get("bandwidth_fraction", runtime.bandwidth_fraction),
        fetches_again=float(not device.moves_tiles),
        lanes=float(device.vector.lanes),
        sublanes=float(device.vector.sublanes),
        tile=_tile(device, half=0.5),
        register=_tile(device, half=HALF_REGISTER),
        libraries=Libraries(
            products=_for(device, runtime.products),
            attention=_for(device, runtime.fused_attention),
            experts=_for(device, runtime.experts),
            paged_attention=_for(device, runtime.paged_attention),
        ),
    )


def _for(device: Device, libraries: tuple[L, ...]) -> tuple[L, ...]:
    """Return the libraries among some that have kernels for a device."""
    return tuple(one for one in libraries if one.runs_on(device.kind, device.capability))


def _tile(device: Device, *, half: float) -> Tile:
    lanes, sublanes = float(device.vector.lanes), float(device.vector.sublanes)
    cut_images = sublanes - 1.0 if device.shared_memory else CUT_IMAGES
    return Tile(lanes=lanes, sublanes=sublanes, half=half, cut_images=cut_images)


def _load_ops_per_s(device: Device) -> float:
    """Return how many elements a chip's vector units load or store per second.

    On a GPU each lane of the load path moves a word of the processor's first-level memory per clock; machines that
    stream operands load whole registers beside their arithmetic, so that only lane operations count.
    """
    if device.matrix.systolic:
        return device.vector_simple_ops_per_s
    return device.local_bytes_per_s * device.cores * device.matrix.units / LOAD_BYTES
