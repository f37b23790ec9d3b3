"""Options that several verbs share, and the reading of ``DEVICE=VALUE``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from roofline.engine.options import OPTIONS, PER_DEVICE, Option
from roofline.errors import InputError, UnknownNameError
from roofline.names import key, lookup

if TYPE_CHECKING:
    from roofline.hardware.spec import Device

T = TypeVar("T")
V = TypeVar("V", bound=Callable[..., None])


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
LimitOption = Annotated[int | None, typer.Option("--limit", help="Rows per file, evenly spread.")]
DeviceOption = Annotated[str, typer.Option("--device", "-d", help="A device name (roofline devices), or a TOML file.")]
SpaceArgument = Annotated[
    str | None,
    typer.Argument(metavar="SPACE", help="accel-nasbench, efficientnet-x, resnet, vit, a file, or module:space."),
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="MODULE:SPACE", help="A space of your own blocks, instead of SPACE.")
]
EACH = "one value, or DEVICE=VALUE,..."
ModelsArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="Model names, files, saved graphs (.json), config.json; comma lists too."),
]
DevicesOption = Annotated[list[str], typer.Option("--device", "-d", help="Repeat it, or give a comma list.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[DEVICE:]FIELD*=2", help="A hypothetical device: =, *= or /= a number; repeatable."),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
ExportOption = Annotated[
    list[str] | None,
    typer.Option("--export", metavar="FORM", help="Also write the networks as torch, onnx or jax into --output."),
]


def space_word(space: str | None, source: str | None) -> str:
    """Return which space is meant.

    Raises
    ------
    InputError
        None is, or two are, or `source` names nothing in a module.
    """
    if (space is None) == (source is None):
        raise InputError("give SPACE or --from MODULE:SPACE, one of them")
    if source is not None and ":" not in source:
        raise InputError(f"--from takes MODULE:SPACE, got {source!r}")
    return space or str(source)


def takes(options: Mapping[str, Option], *, before: str, each: bool = False) -> Callable[[V], V]:
    """Return what gives a verb, which ends in ``**options``, those of a run that it does not declare itself.

    Parameters
    ----------
    before
        Parameter of the verb that they precede in its help.
    each
        Whether devices stand side by side: what may differ between them is text for `each_device` then.
    """

    def extend(verb: V) -> V:
        hints = get_type_hints(verb, include_extras=True)
        own = inspect.signature(verb).parameters
        found = [p.replace(annotation=hints[p.name]) for p in own.values() if p.kind is not p.VAR_KEYWORD]
        place = list(own).index(before)
        found[place:place] = [_parameter(name, option, each) for name, option in options.items() if name not in own]
        found = [p.replace(kind=p.KEYWORD_ONLY) for p in found]
        vars(verb).update(__signature__=inspect.Signature(found), __annotations__={p.name: p.annotation for p in found})
        return verb

    return extend


def _parameter(name: str, option: Option, each: bool) -> inspect.Parameter:
    default, text, kind = option.default, option.text, option.kind
    if each and option.together is not None:
        default, text = option.together, f"{option.help}."
    if each and name in PER_DEVICE:
        default, text, kind = default and str(default), f"{text.removesuffix('.')}; {EACH}", str
    kind = str if kind == int | str else kind
    wanted: Any = kind if default is not None else kind | None
    said = typer.Option(_flag(name, option), *filter(None, [option.letter]), help=text)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[wanted, said])


def _flag(name: str, option: Option) -> str:
    return option.flag or "--" + name.replace("_", "-")


def number_formats_apart(args: Sequence[str]) -> list[str]:
    """Return words of a command line in which ``--format`` is what is printed, and another word for number formats.

    Raises
    ------
    InputError
        A value is neither.
    """
    found, flag, forms = list(args), OPTIONS["format"].flag, [form.value for form in Format]
    for i, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option != "--format" or (not equals and i + 1 == len(args)):
            continue
        value = value if equals else args[i + 1]
        if value in forms:
            continue
        _check_numbers(value, forms)
        found[i] = f"{flag}{equals}{value if equals else ''}"
    return found


def _check_numbers(value: str, forms: list[str]) -> None:
    """Raise unless a value names number formats, of all devices or of each."""
    from roofline.software.formats import formats

    known = {key(name) for name in formats()}
    for word in words([value]) or [value]:
        name = word.rpartition("=")[2]
        if key(name) not in known and not name.endswith(".toml"):
            raise InputError(
                f"--format takes what is printed ({', '.join(forms)}) or a number format ({', '.join(formats())}), got "
                f"{value!r}"
            )


def each_device(options: Mapping[str, Any], named: Iterable[tuple[str, Device]]) -> dict[str, Any]:
    """Return options as functions take them: those of each device by the devices that the names stand for."""
    found, pairs = dict(options), list(named)
    for name in PER_DEVICE.keys() & options.keys():
        read: Any = OPTIONS[name].kind
        values = per_device(options[name], [given for given, _ in pairs], _flag(name, OPTIONS[name]), read)
        found[name] = {device: values[given] for given, device in pairs}
    return found


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
        A value is given for a device that is not simulated.

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
            raise UnknownNameError(f"{option} names device {device!r}, which is not simulated") from None
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
    from roofline.hardware.load import device
    from roofline.hardware.variant import changed, parse_change

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
