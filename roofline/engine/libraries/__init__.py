"""Kernels whose time a library of the runtime decides: their rows of the costs are put in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from roofline.engine.costs import KernelCosts
from roofline.engine.libraries import attention, experts, paged_attention, products
from roofline.engine.machine import Machine
from roofline.engine.table import KernelTable

Apply: TypeAlias = Callable[[KernelTable, Machine, KernelCosts], KernelCosts]
#: each returns the costs as they are where the runtime calls no library of its kind on the device
LIBRARIES: tuple[Apply, ...] = (products.apply, attention.apply, experts.apply, paged_attention.apply)


def with_libraries(table: KernelTable, machine: Machine, costs: KernelCosts) -> KernelCosts:
    """Return the costs with those of the kernels that libraries decide."""
    for apply in LIBRARIES:
        costs = apply(table, machine, costs)
    return costs
