"""What a runtime file says: its fusion policy, and a table for each part with a key for each constant."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, create_model

from roofline.errors import SpecError
from roofline.families import Family
from roofline.hardware.silicon import Kind
from roofline.quantity import SpecFile
from roofline.software.constant import constants_of, tables
from roofline.software.kernels import KernelsTable, kernels_of
from roofline.software.libraries.attention import AttentionLibrary
from roofline.software.libraries.experts import ExpertsLibrary
from roofline.software.libraries.library import Library
from roofline.software.libraries.load import library
from roofline.software.libraries.paged_attention import PagedAttentionLibrary
from roofline.software.libraries.products import ProductsLibrary
from roofline.software.spec import Runtime
from roofline.software.stack import Attention


class Fusion(SpecFile):
    """Which ops become one kernel. `why` says where the policy is known from.

    `epilogue_functions` limits what the kernels of products absorb (all element-wise functions where it is missing);
    `batch_norm_functions` names what batch norms with stored statistics apply to their results, `split` functions that
    run as chains of simpler ones. With `layout_copies` tensors keep the memory format that the op before left, and are
    copied where the next one wants another. With `merge_products` products of one operand become one, with
    `shared_keys` keys that a program repeats for several query heads are read once.
    """

    fold_batch_norm: bool
    attention: Attention
    epilogue: tuple[Family, ...]
    prologue: tuple[Family, ...]
    movement: bool
    epilogue_functions: tuple[str, ...] | None = None
    batch_norm_functions: tuple[str, ...] = ()
    nested_convolutions: bool = False
    image_copies: bool = False
    split: tuple[str, ...] = ()
    layout_copies: bool = False
    merge_products: bool = False
    shared_keys: bool = False
    why: str


class LibrariesTable(SpecFile):
    """``[libraries]``: the kernel libraries that the runtime calls for ops of each kind, in order of preference."""

    products: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    paged_attention: tuple[str, ...] = ()


class RuntimeFile(SpecFile):
    """A file in ``runtimes/``, but for its tables of constants: `file_of` adds those."""

    name: str
    title: str
    device_kinds: tuple[Kind, ...] = Field(min_length=1)
    default_layout: Literal["nhwc", "nchw"]
    lane_layout: Literal["nhwc", "nchw"] | None = None
    sources: dict[str, str] = Field(min_length=1)
    fusion: Fusion
    libraries: LibrariesTable = LibrariesTable()
    kernels: KernelsTable | None = None


def file_of(runtime: type[Runtime]) -> type[RuntimeFile]:
    """Return the schema of the files of a class of runtimes: a table for each part, a key for each constant."""
    return create_model("RuntimeFile", __base__=RuntimeFile, **tables(constants_of(runtime)))


RUNTIME_FILE = file_of(Runtime)


def runtime_of(file: RuntimeFile, kind: type[Runtime] = Runtime) -> Runtime:
    """Return the runtime that a validated file describes."""
    values: dict[str, Any] = {c.field: c.value(file) for c in constants_of(kind)}
    values |= {"fuse_movement" if key == "movement" else key: value for key, value in file.fusion if key != "why"}
    values |= {name: getattr(file, name) for name in ("name", "title", "device_kinds", "default_layout")}
    values["lane_layout"] = file.lane_layout or file.default_layout
    values["kernels"] = kernels_of(file.kernels)
    values["products"] = _called(file, "products", ProductsLibrary)
    values["fused_attention"] = _called(file, "attention", AttentionLibrary)
    values["experts"] = _called(file, "experts", ExpertsLibrary)
    values["paged_attention"] = _called(file, "paged_attention", PagedAttentionLibrary)
    return kind(**values)


L = TypeVar("L", bound=Library)


def _called(file: RuntimeFile, kind: str, cls: type[L]) -> tuple[L, ...]:
    """Return the libraries of one kind that a runtime names.

    Raises
    ------
    SpecError
        One of them is of another kind.
    """
    found = []
    for name in getattr(file.libraries, kind):
        one = library(name)
        if not isinstance(one, cls):
            raise SpecError(f"runtime {file.name!r}: [libraries.{kind}]: {name!r} is a library of {one.kind}")
        found.append(one)
    return tuple(found)
