"""Number formats of language models: which numbers each class of tensors is kept and multiplied in.

A class that a file leaves out keeps the precision of the run. What a device cannot multiply, it stores all the same:
products then widen weights as they load them, and activations stay wide (`Format.on`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from roofline.dtypes import DTYPES, DType, Precision
from roofline.errors import InputError, nearest
from roofline.graph.tensor import Scales, Shape
from roofline.hardware.spec import Device
from roofline.names import lookup
from roofline.numeric import Numeric, ceil_div, product
from roofline.paths import data_files
from roofline.quantity import Sources, SpecFile
from roofline.specfile import Stamp, load_spec, stamp

#: formats of numbers whose blocks of scales matrix units apply themselves, where they multiply them at all
IN_MATRIX = ("nvfp4", "mxfp4", "mxfp6", "mxfp8")
#: bytes of the scale of a whole tensor beside those of its blocks: fp32
TENSOR_SCALE_BYTES = 4.0
#: other tensors than the quantized ones have so many bits at least
WIDE_BITS = 16


@dataclass(frozen=True, kw_only=True)
class Number:
    """What the numbers of a class of tensors are.

    Attributes
    ----------
    dtype
        Format of an element.
    scale
        Format of a scale.
    along, across
        Elements along the sum of the product, and beside it, that share a scale; 0: all.
    tensor_scale
        Whether the tensor has an fp32 scale beside those of its blocks.
    dynamic
        Of activations: scales are found at run time, from the values.
    """

    dtype: DType
    scale: DType
    along: int = 0
    across: int = 0
    tensor_scale: bool = False
    dynamic: bool = False

    def scales(self, shape: Shape, axis: int) -> Scales:
        """Return the scales of an operand whose dimension `axis`, -1 or -2, is summed over; those before are apart."""
        beside = -3 - axis
        blocks = [] if self.whole else [*shape[:-2]]
        blocks += [ceil_div(shape[i], size) for i, size in ((axis, self.along), (beside, self.across)) if size]
        count = product(blocks)
        size: Numeric = count * self.scale.bytes + TENSOR_SCALE_BYTES * float(self.tensor_scale)
        return Scales(bytes=size, run=self.along or math.inf, in_matrix=self.dtype.name in IN_MATRIX)

    @property
    def whole(self) -> bool:
        """Whether one scale stands for the whole tensor."""
        return not (self.along or self.across)

    @property
    def bits(self) -> float:
        """Bits per element of a large tensor, with its share of the scales of blocks along the sum."""
        shared = self.along * (self.across or math.inf) if self.along else math.inf
        return self.dtype.bits + self.scale.bits / shared


@dataclass(frozen=True, kw_only=True)
class Format:
    """Which numbers the tensors of a language model have; a class that is None keeps the precision of the run.

    Attributes
    ----------
    base
        Precision of all that is not quantized, where the format says it.
    weights, experts, embeddings, head
        Parameters: of products, of the products of experts, of look-ups, of the output layer.
    activations
        What enters the products of quantized weights and experts; None: it stays wide.
    cache
        Keys and values.
    queries
        What is multiplied with them; None: it stays wide, and they are widened.
    limits
        What stays wide on a device though the format says otherwise.
    """

    name: str
    title: str
    base: str | None = None
    weights: Number | None = None
    experts: Number | None = None
    embeddings: Number | None = None
    head: Number | None = None
    activations: Number | None = None
    cache: Number | None = None
    queries: Number | None = None
    limits: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether nothing is quantized."""
        return not any(getattr(self, kind) for kind in CLASSES)

    def on(self, device: Device, precision: Precision) -> Format:
        """Return the format as a device runs it: weight-only where it does not multiply the activations' numbers.

        Raises
        ------
        InputError
            The rest of the network has less than 16 bits, or is cast op by op, or is not what the format says.
        """
        compute = precision.compute
        if precision.autocast or compute.kind != "float" or compute.bits < WIDE_BITS:
            raise InputError(f"format {self.name!r} is beside fp16, bf16, tf32 or fp32, not {precision.name!r}")
        if self.base is not None and self.base != precision.name:
            raise InputError(f"format {self.name!r} is beside {self.base!r}, not {precision.name!r}")
        found = self
        for kind, stored in (("activations", "weights"), ("queries", "keys and values")):
            number: Number | None = getattr(self, kind)
            if number is not None and not multiplies(device, number.dtype.name):
                why = f"{device.name!r} does not multiply {number.dtype.name!r}: in format {self.name!r} {stored} are "
                limits = (*found.limits, f"{why}widened to {compute.name!r}")
                wide: dict[str, Any] = {kind: None, "limits": limits}
                found = replace(found, **wide)
        return found


def multiplies(device: Device, number: str) -> bool:
    """Return whether a device has matrix units for a format of numbers."""
    rate = device.matrix.rates.get(number)
    return rate is not None and not rate.stored_only and rate.runs_on == "matrix"


class NumberTable(SpecFile):
    """A class of tensors in a file: a block of scales is (elements along the sum, elements beside it), 0 for all."""

    number: str
    scale: str
    block: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    tensor_scale: bool = False
    dynamic: bool = False

    @model_validator(mode="after")
    def _check(self) -> NumberTable:
        for key in (self.number, self.scale):
            if key not in DTYPES:
                raise ValueError(f"unknown dtype {key!r}{nearest(key, DTYPES)}")
        return self

    def value(self) -> Number:
        """Return what the table says."""
        along, across = self.block
        return Number(
            dtype=DTYPES[self.number],
            scale=DTYPES[self.scale],
            along=along,
            across=across,
            tensor_scale=self.tensor_scale,
            dynamic=self.dynamic,
        )


class FormatFile(SpecFile):
    """A file in ``formats/``."""

    name: str
    title: str
    sources: Sources
    why: str
    base: str | None = None
    weights: NumberTable | None = None
    experts: NumberTable | None = None
    embeddings: NumberTable | None = None
    head: NumberTable | None = None
    activations: NumberTable | None = None
    cache: NumberTable | None = None
    queries: NumberTable | None = None

    @model_validator(mode="after")
    def _check(self) -> FormatFile:
        if self.activations and not (self.weights or self.experts):
            raise ValueError("activations are those of quantized weights or experts: give one of these")
        if self.queries and not self.cache:
            raise ValueError("queries are multiplied with quantized keys and values: give cache")
        return self


#: the classes of tensors, in the order of files
CLASSES = ("weights", "experts", "embeddings", "head", "activations", "cache", "queries")


def formats() -> list[str]:
    """Return the names of all shipped number formats.

    Examples
    --------
    >>> "fp8-kv8" in formats()
    True
    """
    return list(data_files("formats"))


def format(name: str | Path | Format) -> Format:
    """Return a number format by name, from a file, or as it is.

    Raises
    ------
    UnknownNameError
        No such format.

    Examples
    --------
    >>> format("w4a16").weights.bits
    4.125
    """
    if isinstance(name, Format):
        return name
    path = _path(str(name))
    return _load(path, stamp(path))


def format_file(name: str | Path) -> FormatFile:
    """Return the file behind a format, with its sources."""
    return load_spec(_path(str(name)), FormatFile)


def _path(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else lookup(name, data_files("formats"), "format")


@lru_cache(maxsize=64)
def _load(path: Path, version: Stamp) -> Format:
    file = load_spec(path, FormatFile)
    numbers = {kind: table.value() for kind in CLASSES if (table := getattr(file, kind)) is not None}
    return Format(name=file.name, title=file.title, base=file.base, **numbers)
