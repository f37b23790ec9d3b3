"""Number formats and precisions.

A *dtype* is how one tensor is stored. A *precision* is what a user asks a run for: everything in one dtype, or
``amp_*``: fp32 weights and activations with the per-op cast lists of autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.names import lookup


@dataclass(frozen=True, kw_only=True)
class DType:
    """A storage format of `bits` bits per element."""

    name: str
    bits: int
    kind: Literal["float", "complex", "int", "bool"]

    @property
    def bytes(self) -> float:
        """Bytes per element; int4 has half a byte."""
        return self.bits / 8

    @property
    def differentiable(self) -> bool:
        """Whether a tensor of it can have a gradient."""
        return self.kind in ("float", "complex")

    @property
    def numbers(self) -> int:
        """Real numbers per element: two of a complex one."""
        return 2 if self.kind == "complex" else 1

    @property
    def part(self) -> DType:
        """The format that is computed in: that of the real and the imaginary part of a complex number, else its own."""
        return DTYPES[f"fp{self.bits // 2}"] if self.kind == "complex" else self


DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        DType(name="fp64", bits=64, kind="float"),
        DType(name="fp32", bits=32, kind="float"),
        DType(name="tf32", bits=32, kind="float"),  # stored as fp32, multiplied with a 10-bit mantissa
        DType(name="bf16", bits=16, kind="float"),
        DType(name="fp16", bits=16, kind="float"),
        DType(name="fp8", bits=8, kind="float"),
        DType(name="int8", bits=8, kind="int"),
        DType(name="int4", bits=4, kind="int"),
        DType(name="int32", bits=32, kind="int"),
        DType(name="int64", bits=64, kind="int"),
        DType(name="bool", bits=8, kind="bool"),
        DType(name="int2", bits=2, kind="int"),
        DType(name="complex32", bits=32, kind="complex"),
        DType(name="complex64", bits=64, kind="complex"),
        DType(name="complex128", bits=128, kind="complex"),
        DType(name="nvfp4", bits=4, kind="float"),  # e2m1 of blocks of 16 that share an e4m3 scale (NVIDIA Blackwell)
        DType(name="mxfp4", bits=4, kind="float"),  # these share an e8m0 scale in blocks of 32 (OCP MX v1.0)
        DType(name="mxfp6", bits=6, kind="float"),
        DType(name="mxfp8", bits=8, kind="float"),
        DType(name="e8m0", bits=8, kind="float"),  # a power of two: scales, never operands
    )
}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What a run computes in: `compute` everywhere, or with `autocast` only in the ops of the cast list.

    With `own` every tensor has the format that its program gives it; `compute` is that of its products.
    """

    name: str
    compute: DType
    autocast: bool = False
    own: bool = False

    @property
    def storage(self) -> DType:
        """The dtype of weights and of activations that no cast touches."""
        return DTYPES["fp32"] if self.autocast else self.compute


PRECISIONS: dict[str, Precision] = {
    **{
        n: Precision(name=n, compute=DTYPES[n]) for n in ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4")
    },
    **{f"amp_{n}": Precision(name=f"amp_{n}", compute=DTYPES[n], autocast=True) for n in ("fp16", "bf16")},
    **{f"own_{n}": Precision(name=f"own_{n}", compute=DTYPES[n], own=True) for n in ("fp16", "bf16")},
}
_SPELLINGS = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16"}


def dtype(name: str) -> DType:
    """Return a dtype by name (``"bf16"``, also ``"bfloat16"``).

    Raises
    ------
    UnknownNameError
        No such dtype.
    """
    return lookup(_SPELLINGS.get(name.lower(), name), DTYPES, "dtype")


def precision(name: str) -> Precision:
    """Return a precision by name: a float or integer dtype, ``amp_fp16``, ``amp_bf16``, ``own_fp16`` or ``own_bf16``.

    Raises
    ------
    UnknownNameError
        No such precision.

    Examples
    --------
    >>> precision("amp-bf16").storage.name, precision("bfloat16").compute.bits
    ('fp32', 16)
    """
    return lookup(_SPELLINGS.get(name.lower(), name), PRECISIONS, "dtype")
