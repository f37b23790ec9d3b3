"""For which numbers a runtime has kernels: what may be proposed, since whatever is asked for is simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from roofline.dtypes import DTYPES
from roofline.errors import nearest
from roofline.quantity import SpecFile


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in DTYPES:
            raise ValueError(f"unknown dtype {name!r}{nearest(name, DTYPES)}")
    return names


Numbers = Annotated[tuple[str, ...], AfterValidator(_known)]


class KernelsTable(SpecFile):
    """``[kernels]``; `why` says where it is known from."""

    products: Numbers
    convolutions: Numbers
    attention: Numbers
    weights: Numbers = ()
    caches: Numbers = ()
    why: str


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Dtypes for which a runtime has kernels, by the class of ops.

    Attributes
    ----------
    products, convolutions, attention
        Both operands have the dtype.
    weights
        Products widen weights of the dtype as they load them; activations have 16 bits or more.
    caches
        Attention reads keys and values of the dtype beside wide queries.
    """

    products: tuple[str, ...]
    convolutions: tuple[str, ...]
    attention: tuple[str, ...]
    weights: tuple[str, ...]
    caches: tuple[str, ...]


def kernels_of(table: KernelsTable | None) -> Kernels | None:
    """Return what a file says; None where it says nothing."""
    return None if table is None else Kernels(**table.model_dump(exclude={"why"}))
