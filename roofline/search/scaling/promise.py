"""What a family by latency promises: no member is slower than what scaling by FLOPs takes for as much accuracy.

On one device by construction: each member becomes the fastest network in the grid that is predicted to be no less
accurate and keeps the target, so that no network at all, scaled in whatever way, beats it. On several devices that may
be too much to ask: members then become networks that the FLOPs-scaled one beats on none of them, and where its targets
leave no such network, the trade is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofline.numeric import Array
from roofline.search.scaling.grid import Grid
from roofline.search.scaling.pick import EXACT, Index, Pick, cheapest, loads

#: times that a member is moved past its FLOPs-scaled one, which depends on the member's accuracy; what is left is told
ROUNDS = 8


def settled(grid: Grid, targets: Array, accuracy: Array, picks: Sequence[Pick]) -> list[Pick]:
    """Return picks whose rows keep the promise, for latency targets (M, D) [s].

    A row is exchanged for one of no lower predicted accuracy within its target: the one of least load, of these the
    one of least geometric mean over devices.
    """
    mean: Array = np.log(grid.latency_s).mean(axis=1)
    found = []
    for pick, wanted in zip(picks, targets, strict=True):
        load = loads(grid.latency_s, wanted)

        def best(row: int, slowest: Array | float, load: Array = load) -> int:
            """Return the row of least load that is no less accurate than `row` and nowhere slower than `slowest`."""
            fits = (accuracy >= accuracy[row]) & (load <= 1.0 + EXACT) & (grid.latency_s <= slowest).all(axis=1)
            rows: Index = np.flatnonzero(fits)
            return int(rows[np.lexsort((-accuracy[rows], mean[rows], load[rows]))[0]]) if len(rows) else row

        row = best(pick.row, np.inf)
        for _ in range(ROUNDS):
            twin = grid.latency_s[flops_scaled(grid, accuracy, [row])[0]]
            if (grid.latency_s[row] <= twin).all():
                break
            row = best(row, twin)
        found.append(replace(pick, row=row))
    return found


def flops_scaled(grid: Grid, accuracy: Array, rows: Sequence[int]) -> list[int]:
    """Return the networks of fewest MACs that are predicted to be at least as accurate as some rows."""
    return cheapest(grid, grid.macs, accuracy, accuracy[list(rows)], common=False)


def trades(grid: Grid, names: Sequence[str], rows: Sequence[int], twins: Sequence[int]) -> list[str]:
    """Return a line for each member that its FLOPs-scaled one beats on some device: by how much, and at what price."""
    found = []
    for name, row, twin in zip(names, rows, twins, strict=True):
        change = grid.latency_s[twin] / grid.latency_s[row] - 1.0
        if (change < 0.0).any():
            parts = [
                f"{100 * abs(share):.1f} % {'less' if share < 0.0 else 'more'} on {device}"
                for device, share in zip(grid.oracle.devices, change, strict=True)
            ]
            found.append(f"{name}: scaled by FLOPs, a network as accurate takes {', '.join(parts)}")
    return found
