"""Options that several verbs share, and the reading of ``DEVICE=VALUE``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from roofline.errors import InputError, UnknownNameError
from roofline.names import key, lookup

if TYPE_CHECKING:
    from roofline.device.spec import Device

T = TypeVar("T")


class Format(StrEnum):
    """How a verb prints."""

    table = "table"
    json = "json"
    csv = "csv"


class Plot(StrEnum):
    """Which picture of a run is drawn."""

    roofline = "roofline"
    waterfall = "waterfall"
    kernels = "kernels"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What is printed.")]
LayoutOption = Annotated[str | None, typer.Option("--layout", help="nchw or nhwc; default: the runtime's.")]
ImageSizeOption = Annotated[
    int | None, typer.Option("--image-size", help="Pixels per side (or tokens); default: the model's.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Rows per file, evenly spread.")]
ModeOption = Annotated[str, typer.Option("--mode", help="inference, training or forward_saving.")]
OptimizerOption = Annotated[
    str | None, typer.Option("--optimizer", help="Of a training step: sgd, momentum or adam (the default).")
]
RecomputeOption = Annotated[
    bool, typer.Option("--recompute", help="Train without saved activations: run blocks again before their backward.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Refuse a run that does not fit into the memory.")]
DeviceOption = Annotated[str, typer.Option("--device", "-d", help="A device name (roofline devices), or a TOML file.")]
BatchOption = Annotated[int | None, typer.Option("--batch", "-b", help="Examples per run; default: 1, or the graph's.")]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="bf16, fp16, int8, amp_fp16, ...; default: the device's.")
]
RuntimeOption = Annotated[str | None, typer.Option("--runtime", "-r", help="Default: the device's.")]
CoreCountOption = Annotated[int | None, typer.Option("--cores", help="Program instances; default: all.")]
EACH = "one value, or DEVICE=VALUE,..."
ModelsArgument = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="Model names, files, saved graphs (.json); comma lists too.")
]
DevicesOption = Annotated[list[str], typer.Option("--device", "-d", help="Repeat it, or give a comma list.")]
BatchesOption = Annotated[str, typer.Option("--batch", "-b", help=f"Examples per run: {EACH}")]
DtypesOption = Annotated[str | None, typer.Option("--dtype", help=f"bf16, fp16, ...: {EACH}")]
RuntimesOption = Annotated[str | None, typer.Option("--runtime", "-r", help=f"Default: the device's; {EACH}")]
CoresOption = Annotated[str | None, typer.Option("--cores", help=f"Program instances: {EACH}")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[DEVICE:]FIELD*=2", help="A hypothetical device: =, *= or /= a number; repeatable."),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


def check_limit(limit: int | None) -> None:
    """Raise InputError unless `--limit` is absent or at least one row."""
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, got {limit}")


def words(values: list[str]) -> list[str]:
    """Return the names in a repeated option or argument, each of which may be a comma list.

    Examples
    --------
    >>> words(["tpu-v2,tpu-v3", "v100"])
    ['tpu-v2', 'tpu-v3', 'v100']
    """
    names = [name.strip() for value in values for name in value.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def per_device(text: str | None, devices: list[str], option: str, kind: Callable[[str], T]) -> dict[str, T | None]:
    """Return the value of an option for each device: one for all, or ``DEVICE=VALUE,...``, None where not given.

    Raises
    ------
    InputError
        A value is not of its kind, or ``VALUE`` and ``DEVICE=VALUE`` are mixed.
    UnknownNameError
        A value is given for a device that is not compared.

    Examples
    --------
    >>> per_device("v100=tensorflow", ["tpu-v3", "v100"], "--runtime", str)
    {'tpu-v3': None, 'v100': 'tensorflow'}
    >>> per_device("8", ["tpu-v3", "v100"], "--batch", int)
    {'tpu-v3': 8, 'v100': 8}
    """
    if text is None:
        return dict.fromkeys(devices)
    if "=" not in text:
        return dict.fromkeys(devices, _read(text, option, kind))
    values: dict[str, T | None] = dict.fromkeys(devices)
    for pair in words([text]):
        device, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"{option} takes one value for all devices or DEVICE=VALUE,..., got {text!r}")
        try:
            known = lookup(device, {name: name for name in devices}, "device")
        except UnknownNameError:
            raise UnknownNameError(f"{option} names device {device!r}, which is not compared") from None
        values[known] = _read(value, option, kind)
    return values


def by_device(text: str | None, devices: list[str], option: str, kind: Callable[[str], Any]) -> Any:
    """Return an option as one value, or by the names that the devices have."""
    if text is None:
        return None
    import roofline as rf

    found = per_device(text, devices, option, kind)
    return {rf.device(name).name: value for name, value in found.items() if value is not None}


def machines(names: Sequence[str] | Mapping[str, str], changes: list[str] | None) -> dict[str, Device]:
    """Return the device behind each name, with the changes of ``--set`` that concern it.

    A mapping names devices by the part they play: ``to:FIELD=...`` then concerns that one.

    Raises
    ------
    InputError
        A change is malformed or gives no possible device.
    UnknownNameError
        A change names a device that is not simulated, or a field that a device lacks.
    """
    from roofline.device.load import device
    from roofline.device.variant import changed, parse_change

    parts = names if isinstance(names, Mapping) else dict(zip(names, names, strict=True))
    found = {part: device(name) for part, name in parts.items()}
    wanted = [parse_change(text) for text in changes or ()]
    for change in wanted:
        if change.device is not None and not any(_means(change.device, (n, parts[n]), d) for n, d in found.items()):
            raise UnknownNameError(f"--set names device {change.device!r}, which is not simulated")
    return {
        part: changed(spec, [c for c in wanted if c.device is None or _means(c.device, (part, parts[part]), spec)])
        for part, spec in found.items()
    }


def _means(text: str, names: tuple[str, ...], spec: Device) -> bool:
    return key(text) in {key(spelling) for spelling in (*names, spec.name, *spec.aliases)}


def by_machine(values: dict[str, T | None], chips: dict[str, Device]) -> dict[Device, T | None]:
    """Return the values of `per_device` by the devices that the names stand for."""
    return {chips[name]: value for name, value in values.items()}


def _read(text: str, option: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{option} takes a whole number, got {text!r}") from None


def whole_numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a comma list.

    Raises
    ------
    InputError
        One is not a whole number.

    Examples
    --------
    >>> whole_numbers("8,32", "--batch")
    [8, 32]
    """
    return [_read(word, option, int) for word in words([text])]
