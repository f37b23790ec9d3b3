"""What a plan file says: networks from anywhere, on devices, at every combination of options."""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from roofline.arch.load import models as shipped
from roofline.cluster import networks
from roofline.cluster.networks import Kind, Unit
from roofline.engine.options import AXES, OPTIONS
from roofline.errors import InputError, nearest
from roofline.quantity import SpecFile
from roofline.specfile import load_spec, with_fields

#: a whole number that the stores of results can hold: of 64 bits
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
KINDS: dict[Any, Any] = {int: Whole, int | str: Whole | str}
#: characters that make a name a pattern
WILD = frozenset("*?[")


def _with_options(plan: type[SpecFile]) -> type[SpecFile]:
    """Return a plan that has every option of a run: a list of values for each axis of a sweep, one of the others."""
    fields: dict[str, Any] = {name: (option.kind | None, option.default) for name, option in OPTIONS.items()}
    kinds = {name: KINDS.get(option.kind, option.kind) for name, option in AXES.items()}
    return with_fields(plan, fields | {name: (GenericAlias(tuple, (kind, ...)), ()) for name, kind in kinds.items()})


@_with_options
class Plan(SpecFile):
    """A sweep: every network on every device at every combination of the lists.

    Attributes
    ----------
    models
        Names or patterns of shipped networks (``"efficientnet-b*"``), and files: architectures (``.toml``), saved
        graphs (``.json``), ``.onnx``.
    timm, transformers
        Names or patterns of pytorch-image-models, and of model types of Hugging Face's transformers: built without
        weights, from their default configurations.
    fields
        Field of the device -> values.
    batch, image_size
        A network is lowered for each, where it must be; the other options of a run stand beside them.
    """

    models: tuple[str, ...] = ()
    timm: tuple[str, ...] = ()
    transformers: tuple[str, ...] = ()
    devices: tuple[str, ...] = Field(min_length=1)
    batch: tuple[Whole, ...] = Field(default=(1,), min_length=1)
    image_size: tuple[Whole, ...] = ()
    fields: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    if TYPE_CHECKING:

        def __init__(self, **keys: Any) -> None: ...

    @property
    def options(self) -> dict[str, Any]:
        """The options of every run but the input size: axes as lists of values, without what is left out."""
        given = {name: getattr(self, name) for name in OPTIONS if name != "image_size"}
        lists = {name: list(value) for name, value in given.items() if name in AXES and value}
        return lists | {name: value for name, value in given.items() if name not in AXES and value is not None}

    @property
    def digest(self) -> str:
        """Hash of the plan: results of another one are not mixed with its own."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_plan(path: str | Path) -> Plan:
    """Return the plan in a TOML file.

    Raises
    ------
    SpecError
        The file cannot be read, or says something unknown.
    """
    return load_spec(Path(path), Plan)


def units_of(plan: Plan) -> list[Unit]:
    """Return the plan's networks in its order, patterns resolved, each once.

    Raises
    ------
    InputError
        A pattern or name fits nothing, or there is no network at all.
    """
    found: list[tuple[Kind, str]] = []
    for text in plan.models:
        if Path(text).suffix.lower() in networks.SUFFIXES or ".toml:" in text:
            found.append(("file", text))
        else:
            found += [("model", name) for name in _matching(text, shipped(), "models")]
    if plan.timm:
        found += [("timm", name) for text in plan.timm for name in _matching(text, networks.timm_names(), "timm")]
    if plan.transformers:
        known = networks.transformers_names()
        found += [
            ("transformers", name) for text in plan.transformers for name in _matching(text, known, "transformers")
        ]
    if not found:
        raise InputError("the plan names no networks: give models, timm or transformers")
    sizes: tuple[int | None, ...] = plan.image_size or (None,)
    return [Unit(kind=kind, name=name, image_size=size) for kind, name in dict.fromkeys(found) for size in sizes]


def _matching(text: str, names: list[str], what: str) -> list[str]:
    if not WILD & set(text):
        found = [name for name in names if name == text]
    else:
        found = [name for name in names if fnmatchcase(name, text)]
    if not found:
        raise InputError(f"{what}: nothing fits {text!r}{nearest(text, names)}")
    return found
