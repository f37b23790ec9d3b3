"""Fitting what files of libraries of products say of each kernel, under constants that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from roofline.calibration.library_fit import SOFT, STEP
from roofline.calibration.measured.product_ops import NUMBERS, ProductCall
from roofline.calibration.predict import Prepared
from roofline.errors import InputError
from roofline.numeric import Array
from roofline.software.libraries.products import KernelFacts, ProductsLibrary
from roofline.software.spec import Runtime
from roofline.stats import Agreement, agreement

#: between which values the numbers of a kernel lie
RANGES = {
    "fraction": (0.2, 1.0),
    "bandwidth_fraction": (0.3, 1.2),
    "rounding_us": (0.0, 20.0),
    "rounding_cycles": (0.0, 5.0),
    "rounding_passes": (0.0, 8.0),
}


@dataclass(frozen=True, kw_only=True)
class KernelFit:
    """A kernel of a library with the numbers that were found, and how well it predicts its rows."""

    library: str
    facts: KernelFacts
    values: dict[str, float]
    agreement: Agreement


def fit_kernels(prepared: Prepared) -> Iterator[KernelFit]:
    """Yield each kernel that rows ran on, with those numbers fitted that its file states.

    Raises
    ------
    InputError
        SciPy is not installed.
    """
    try:
        from scipy.optimize import least_squares  # type: ignore[import-untyped]
    except ImportError:
        raise InputError("fitting needs SciPy: pip install 'roofline[calibrate]'") from None
    for library, facts, part in _by_kernel(prepared):
        names = [name for name in RANGES if name in facts.model_fields_set]
        low, high = np.array([RANGES[name] for name in names]).reshape(-1, 2).T
        measured_s = part.measured_s
        weight = _weights(part)

        def predict(
            x: Array,
            part: Prepared = part,
            facts: KernelFacts = facts,
            library: ProductsLibrary = library,
            names: list[str] = names,
        ) -> Array:
            changed = facts.model_copy(update=dict(zip(names, x.tolist(), strict=True)))
            return part.predict(_with_kernel(library, facts, changed))

        found = np.array([getattr(facts, name) for name in names])
        if names:
            found = least_squares(
                lambda x, of=predict, s=measured_s, w=weight: w * np.log(of(x) / s) / SOFT,
                np.clip(found, low + 1e-3, high - 1e-3),
                bounds=(low, high),
                loss="soft_l1",
                diff_step=STEP,
                x_scale=high - low,
            ).x
        yield KernelFit(
            library=library.name,
            facts=facts,
            values=dict(zip(names, found.tolist(), strict=True)),
            agreement=agreement(predict(found), measured_s),
        )


def _weights(part: Prepared) -> Array:
    """Return the weight of each row: devices count equally."""
    devices = np.unique([m.device for m in part.measurements], return_inverse=True)[1]
    counts = np.bincount(devices)
    return np.asarray(np.sqrt(counts.mean() / counts[devices]))


def _by_kernel(prepared: Prepared) -> Iterator[tuple[ProductsLibrary, KernelFacts, Prepared]]:
    """Yield the rows of each kernel of each library."""
    owners: list[tuple[str, int]] = [("", -1)] * len(prepared)
    libraries: dict[str, ProductsLibrary] = {}
    for group in prepared.groups:
        library = group.runtime.products[0]
        libraries[library.name] = library
        for place in group.places:
            call = prepared.measurements[place].workload
            if isinstance(call, ProductCall):
                form = NUMBERS[call.numbers]
                blocks, capability = bool(np.isfinite(form.run)), group.device.capability
                facts = library.kernel(form.compute, form.stored, blocks, capability=capability)
                owners[place] = library.name, library.facts.kernels.index(facts)
    for owner in dict.fromkeys(owners):
        if owner[1] >= 0:
            library = libraries[owner[0]]
            yield library, library.facts.kernels[owner[1]], prepared.subset([one == owner for one in owners])


def _with_kernel(library: ProductsLibrary, old: KernelFacts, new: KernelFacts) -> Callable[[Runtime], Runtime]:
    """Return what gives a runtime whose library has another kernel in place of one."""
    kernels = tuple(new if kernel is old else kernel for kernel in library.facts.kernels)
    changed = replace(library, facts=library.facts.model_copy(update={"kernels": kernels}))
    return lambda runtime: replace(runtime, products=(changed, *runtime.products[1:]))
