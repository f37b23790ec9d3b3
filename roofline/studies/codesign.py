"""Hardware and networks together: a grid of array size, memory bandwidth and on-chip memory for some networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from roofline.engine.options import RunOptions
from roofline.errors import InputError
from roofline.hardware.derive import label_of
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.hardware.variant import MOST_OF_A_COUNT, with_overrides
from roofline.numeric import whole_number
from roofline.stats import geometric_mean
from roofline.studies.compare import check_distinct, check_lists
from roofline.studies.shown import Shown
from roofline.studies.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COORDINATES = ("array", "bandwidth_factor", "on_chip_bytes")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CoDesign(Shown):
    """What `codesign` found. Shows itself as its `designs`.

    Attributes
    ----------
    base
        The device that the grid varies, and speed-ups refer to.
    table
        One row per design and model: the coordinates, model, latency_ms, speedup, bound, expected_low_ms,
        expected_high_ms.
    """

    base: Device
    table: pd.DataFrame

    @cached_property
    def designs(self) -> pd.DataFrame:
        """One row per design, the fastest first: the coordinates, geometric mean of the speed-ups, slowest, fastest."""
        import pandas as pd

        rows = []
        for place, group in self.table.groupby(list(COORDINATES), sort=False):
            gains = group["speedup"]
            rows.append(
                dict(zip(COORDINATES, place, strict=True))
                | {"speedup": geometric_mean(gains), "slowest": gains.min(), "fastest": gains.max()}
            )
        return pd.DataFrame(rows).sort_values("speedup", ascending=False, kind="stable").reset_index(drop=True)

    @property
    def finding(self) -> str:
        """The fastest design and the expected latency of each model on it, in one line each."""
        best = self.designs.iloc[0]
        rows = self.table[(self.table[list(COORDINATES)] == best[list(COORDINATES)]).all(axis=1)]
        size, factor, capacity = (best[name] for name in COORDINATES)
        head = (
            f"Fastest of {len(self.designs)} designs around {self.base.name}: arrays of {size:g} x {size:g},"
            f" {factor:g} x the bandwidth, {capacity / 2**20:,.0f} MiB on chip:"
            f" speed-up {best['speedup']:.2f} ({best['slowest']:.2f} to {best['fastest']:.2f})"
        )
        lines = [
            f"  {r.model}: {r.latency_ms:.3g} ms, expected {r.expected_low_ms:.3g} to {r.expected_high_ms:.3g} ms"
            for r in rows.itertuples()
        ]
        return "\n".join([head, *lines])

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the mean speed-up over array size and bandwidth, a panel per on-chip memory; written to `path`."""
        from roofline.plot.codesign import plot_codesign

        return plot_codesign(self.designs, title=self.base.name, path=path)

    @property
    def shown(self) -> pd.DataFrame:
        """`designs`."""
        return self.designs


def codesign(
    models: Sequence[Any],
    device: Any,
    *,
    arrays: Sequence[int] = (64, 128, 256),
    bandwidth_factors: Sequence[float] = (0.5, 1.0, 2.0),
    on_chip_bytes: Sequence[float] | None = None,
    equal_peak: bool = True,
    **options: Unpack[RunOptions],
) -> CoDesign:
    """Simulate networks on every combination of systolic array, main memory and on-chip memory.

    Parameters
    ----------
    models
        Names, files or specs.
    device
        A device with systolic arrays to start from.
    arrays
        Rows, and columns, of an array.
    bandwidth_factors
        Bandwidth of the main memory relative to that of `device`.
    on_chip_bytes
        Capacity of the memory that keeps tensors between kernels (CMEM, VMEM); 0 takes it away. By default what the
        device has, also nothing.
    equal_peak
        Whether smaller arrays come in larger numbers, at the same matrix peak; otherwise their number stays.
    **options
        As `simulate`; one value each.

    Raises
    ------
    InputError
        The device has no systolic array, no on-chip memory to vary, or cannot split its arrays as asked; or a design is
        not physical.
    """
    check_lists(models, [device])
    _check_axis("arrays", arrays)
    _check_axis("bandwidth_factors", bandwidth_factors)
    for name, value in options.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            raise InputError(f"option {name!r} takes one value, got {value!r}")
    base = load_device(device)
    if not base.matrix.systolic or base.matrix.rows is None or base.matrix.cols is None:
        raise InputError(f"device {base.name!r} has no systolic array to vary")
    shared = base.shared_memory[0] if base.shared_memory else None
    if on_chip_bytes is None:
        on_chip_bytes = [0.0] if shared is None else [shared.capacity_bytes]
    _check_axis("on_chip_bytes", on_chip_bytes)
    if shared is None and any(on_chip_bytes):
        raise InputError(f"device {base.name!r} keeps nothing on chip between kernels: on_chip_bytes must be [0]")
    places: dict[str, tuple[float, float, float]] = {}
    variants = []
    for array, factor, capacity in product(arrays, bandwidth_factors, on_chip_bytes):
        whole_number(array, "rows of an array", most=MOST_OF_A_COUNT)
        cells = base.matrix.units * base.matrix.rows * base.matrix.cols
        units = cells / array**2 if equal_peak else base.matrix.units
        if units != int(units):
            raise InputError(
                f"the {cells:,} cells of {base.name!r} are no whole number of arrays of {array} x {array}: give other"
                " arrays, or equal_peak=False"
            )
        changes: dict[str, float] = {"matrix.rows": array, "matrix.cols": array, "matrix.units": units}
        main = base.main_memory
        changes[f"{label_of(main)}.bandwidth_bytes_per_s"] = main.bandwidth_bytes_per_s * factor
        if shared is not None:
            changes[f"{label_of(shared)}.capacity_bytes"] = capacity
        variant = with_overrides(base, changes)
        places[variant.name] = (array, factor, capacity)
        variants.append(variant)
    found = sweep(models, variants, **options)
    before = sweep(models, [base], **options).set_index("model")["latency_ms"]
    for number, name in enumerate(COORDINATES):
        found[name] = [places[variant][number] for variant in found["device"]]
    found["speedup"] = found["model"].map(before) / found["latency_ms"]
    columns = [*COORDINATES, "model", "latency_ms", "speedup", "bound", "expected_low_ms", "expected_high_ms"]
    return CoDesign(base=base, table=found[columns])


def _check_axis(name: str, values: Any) -> None:
    """Raise InputError unless the values of one axis of the grid are numbers, one at least, each once."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InputError(f"{name} must be a list of numbers, got {values!r}")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise InputError(f"{name} must be numbers, got {values!r}")
    check_distinct(values, f"one of {name},")
