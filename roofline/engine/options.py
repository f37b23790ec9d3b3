"""The options of a run, each declared once; every door takes, explains and reads them from here.

A new option is one key below, and a line where `engine.setting` or a pass makes use of it: requests, studies, plan
files, the service and the verbs of the command line have it then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    SupportsIndex,
    TypeAlias,
    TypedDict,
    TypeVar,
    get_type_hints,
)

from roofline.errors import InputError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from roofline.dtypes import Precision
    from roofline.software import formats
    from roofline.software.spec import Runtime


@dataclass(frozen=True, kw_only=True)
class Option:
    """What people are told of an option, and how they write it.

    Attributes
    ----------
    help
        What it is.
    unset
        What it is where nobody says it, in words.
    kind
        What text is read as.
    default
        Value in a request that does not have it; None is up to the device, the runtime or the network.
    together
        Value for networks that are asked for together and compared, where it is another one.
    letter
        Short form on the command line.
    flag
        Long form on the command line, where it is not the name.
    """

    help: str
    unset: str = ""
    kind: type[int] | type[str] | type[bool] | UnionType = str
    default: Any = None
    together: Any = None
    letter: str = ""
    flag: str = ""

    @property
    def text(self) -> str:
        """What it is, and what it is by default, in a sentence."""
        return f"{self.help}; default: {self.unset}." if self.unset else f"{self.help}."


#: how many tokens are kept: a number, text (``"4k"``, ``"1k:0.5,8k:0.5"``), or pairs of a number and its share
Context: TypeAlias = SupportsIndex | str | tuple[tuple[int, float], ...] | None
# what a door takes for an option of each kind: a value, one per device, or several (see the aliases below)
Count = TypeVar("Count")
Format = TypeVar("Format")
Stack = TypeVar("Stack")
Order = TypeVar("Order")


class DeviceOptions(TypedDict, Generic[Count, Format, Stack, Order], total=False):
    """Options that may differ from device to device of one call."""

    batch: Annotated[
        Count, Option(help="Examples per run", unset="1, or the graph's", kind=int, together=1, letter="-b")
    ]
    dtype: Annotated[Format, Option(help="bf16, fp16, int8, amp_fp16, ...", unset="the device's")]
    runtime: Annotated[Stack, Option(help="Software that runs it", unset="the device's", letter="-r")]
    layout: Annotated[Order, Option(help="nchw or nhwc", unset="the runtime's")]
    cores: Annotated[Count, Option(help="Program instances", unset="all", kind=int)]
    format: Annotated[
        Format,
        Option(
            help="Numbers of weights, activations and cache: fp8-kv8, w4a16, ...; --format takes them too",
            unset="all of the dtype",
            flag="--number-format",
        ),
    ]


class NetworkOptions(DeviceOptions[Count, Format, Stack, Order], total=False):
    """Options of a network that runs forward: what a search space is asked for."""

    image_size: Annotated[Count, Option(help="Pixels per side", unset="the model's", kind=int)]


class StepOptions(NetworkOptions[Count, Format, Stack, Order], total=False):
    """Options of a network of images or tokens, and of one step of a decoder: the axes of a sweep."""

    length: Annotated[
        Count, Option(help="New tokens per sequence", unset="the model's, one in decode", kind=int, letter="-l")
    ]
    phase: Annotated[
        str | Sequence[str] | None, Option(help="Step of a decoder: prefill, decode or mixed", unset="prefill")
    ]
    context: Annotated[
        Context | Sequence[Context],
        Option(
            help="Tokens that each decoding sequence keeps already: a number, or shares such as 1k:0.5,8k:0.5",
            unset="the model's length",
            kind=int | str,
        ),
    ]
    prefix: Annotated[Count, Option(help="Tokens of each prompt that are cached already", unset="none", kind=int)]
    decoding: Annotated[
        Count, Option(help="Of a mixed step: sequences that decode beside its prompts", unset="none", kind=int)
    ]


class Options(StepOptions[Count, Format, Stack, Order], total=False):
    """All options of a run."""

    mode: Annotated[str, Option(help="inference, training or forward_saving", default="inference")]
    optimizer: Annotated[str | None, Option(help="Of a training step: sgd, momentum or adam", unset="adam")]
    recompute: Annotated[
        bool,
        Option(
            help="Train without saved activations: run blocks again before their backward", kind=bool, default=False
        ),
    ]
    strict: Annotated[bool, Option(help="Refuse a run that does not fit into the memory", kind=bool, default=False)]


T = TypeVar("T")
#: one value for all devices, or device -> value
Each: TypeAlias = "T | Mapping[Any, T]"
#: one value, or several to go through
Axis: TypeAlias = "T | Sequence[T]"
_Count: TypeAlias = "SupportsIndex | None"
_Format: TypeAlias = "str | Precision | formats.Format | None"
_Stack: TypeAlias = "str | Path | Runtime | None"
_Order: TypeAlias = "str | None"
RunOptions: TypeAlias = "Options[_Count, _Format, _Stack, _Order]"
EachOptions: TypeAlias = "Options[Each[_Count], Each[_Format], Each[_Stack], Each[_Order]]"
SweepOptions: TypeAlias = "Options[Axis[_Count], Axis[_Format], Axis[_Stack], Axis[_Order]]"
#: batches are gone through, the others may differ between the two sides
MigrationOptions: TypeAlias = "Options[Axis[_Count] | Each[_Count], Each[_Format], Each[_Stack], Each[_Order]]"
SpaceOptions: TypeAlias = "NetworkOptions[Each[_Count], Each[_Format], Each[_Stack], Each[_Order]]"


def declared(options: type) -> dict[str, Option]:
    """Return the options in a TypedDict, in its order."""
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(options, include_extras=True).items()}


PER_DEVICE, OF_SPACE = declared(DeviceOptions), declared(NetworkOptions)
AXES, OPTIONS = declared(StepOptions), declared(Options)


def check_known(names: Iterable[str], known: Collection[str]) -> None:
    """Raise InputError with the nearest name where an option is none."""
    for name in names:
        if name not in known:
            raise InputError(f"unknown option {name!r}{nearest(name, known)}")
