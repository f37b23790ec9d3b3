"""What anybody could predict without a simulator: the bars that it has to clear."""

from __future__ import annotations

import numpy as np

from roofline.analysis import features
from roofline.analysis.predict import Group, Prepared
from roofline.numeric import Array


def plain_roofline(group: Group) -> Array:
    """Return max(FLOPs / peak, bytes / bandwidth) of each row [s], from the data sheet alone.

    Bytes are those of the convolutions and matrix products; everything else is taken to cost nothing.
    """
    device, share = group.device, 1.0 / group.device.cores
    peak = device.peak_flops_per_s(group.precision.compute.name) * share
    bandwidth = device.main_memory.bandwidth_bytes_per_s * share
    return np.maximum(2.0 * features.macs(group) / peak, features.traffic(group) / bandwidth)


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

    MACs and activations get one fitted factor each and their sum two, on the very rows they are compared on: an
    advantage that the simulator does not have.
    """
    measured_s = prepared.measured_s
    macs, written = prepared.gather(features.macs), prepared.gather(features.activations)
    found: dict[str, Array] = {}
    if (macs > 0).all():
        found["MACs"] = proportional(macs, measured_s)
    if (written > 0).all():
        found["activations"] = proportional(written, measured_s)
    if len(found) == 2 and len(measured_s) > 2:
        found["MACs + activations"] = two_terms(macs, written, measured_s)
    return found | {"plain roofline": prepared.gather(plain_roofline)}
