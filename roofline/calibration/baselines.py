"""What anybody could predict without a simulator: the bars that it has to clear."""

from __future__ import annotations

import numpy as np

from roofline.calibration.predict import Group, Prepared
from roofline.cost import fold
from roofline.engine.table import WRITE
from roofline.numeric import Array


def activations(group: Group) -> Array:
    """Return the elements that the convolutions and matrix products of each row write."""
    a, k = group.table.accesses, group.table.kernels
    counted = a.elements * (a.role == WRITE) * (k.macs[a.kernel] > 0)
    return group.total_of_kernels(fold.segment_sum(counted, a.kernel, group.table.kernel_count) * k.times)


def macs(group: Group) -> Array:
    """Return the multiply-accumulates of each row, of one core's share of the batch."""
    return group.total_of_kernels(group.table.kernels.times * group.table.kernels.macs)


def traffic(group: Group) -> Array:
    """Return the bytes that the kernels with products move; of all kernels where a row has no product."""
    k = group.table.kernels
    moved = k.times * k.traffic_bytes
    with_products = group.total_of_kernels(moved * (k.macs > 0))
    return np.where(with_products > 0, with_products, group.total_of_kernels(moved))


def plain_roofline(group: Group) -> Array:
    """Return max(FLOPs / peak, bytes / bandwidth) of each row [s], from the data sheet alone.

    Bytes are those of the convolutions and matrix products; everything else is taken to cost nothing.
    """
    device, share = group.device, 1.0 / group.device.cores
    peak = device.peak_flops_per_s(group.setting.policy.precision.compute.name) * share
    bandwidth = device.main_memory.bandwidth_bytes_per_s * share
    return np.maximum(2.0 * macs(group) / peak, traffic(group) / bandwidth)


def proportional(feature: Array, measured_s: Array) -> Array:
    """Return time = a x feature, with the factor that leaves as many rows too high as too low."""
    return np.asarray(feature * np.exp(np.median(np.log(measured_s / feature))))


def two_terms(first: Array, second: Array, measured_s: Array) -> Array:
    """Return time = a x first + b x second with a, b >= 0 and the smallest sum of squared relative errors."""
    columns = np.stack([first / measured_s, second / measured_s], axis=1)
    both = np.linalg.lstsq(columns, np.ones(len(measured_s)), rcond=None)[0]
    if (both < 0).any():  # the best of the two alone
        alone = [float((c @ np.ones(len(c))) / (c @ c)) for c in columns.T]
        errors = [float(((1.0 - a * c) ** 2).sum()) for a, c in zip(alone, columns.T, strict=True)]
        both = np.where(np.arange(2) == int(np.argmin(errors)), alone, 0.0)
    return np.asarray(both[0] * first + both[1] * second)


def baselines(prepared: Prepared) -> dict[str, Array]:
    """Return what each baseline predicts for each row [s]; one that says nothing of some row is left out.

    Calls of libraries, whose kernels nobody lists, have none. MACs and activations get one fitted factor each and their
    sum two, on the very rows they are compared on: an advantage that the simulator does not have.
    """
    if not prepared.tabled:
        return {}
    measured_s = prepared.measured_s
    multiplied, written = prepared.gather(macs), prepared.gather(activations)
    found: dict[str, Array] = {}
    if (multiplied > 0).all():
        found["MACs"] = proportional(multiplied, measured_s)
    if (written > 0).all():
        found["activations"] = proportional(written, measured_s)
    if len(found) == 2 and len(measured_s) > 2:
        found["MACs + activations"] = two_terms(multiplied, written, measured_s)
    return found | {"plain roofline": prepared.gather(plain_roofline)}
