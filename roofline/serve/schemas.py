"""What requests and answers look like: the service's OpenAPI schema is made from these classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from roofline.engine.options import OF_SPACE, OPTIONS, Option
from roofline.specfile import with_fields

Name = Annotated[str, Field(min_length=1, max_length=200)]
#: the largest whole number that every JSON reader keeps exact
Whole = Annotated[int, Field(ge=1, le=2**53)]
TYPES: dict[Any, Any] = {int: Whole, str: Name, bool: bool, int | str: Whole | Name}


class Strict(BaseModel):
    """Unknown keys are mistakes, numbers are not read out of strings."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _with(options: Mapping[str, Option]) -> Callable[[type[Strict]], type[Strict]]:
    """Return what gives a class the options of a run; one that is left out is up to device, runtime or network."""
    fields = {
        name: (TYPES[option.kind] | None, Field(default=None, description=option.text))
        for name, option in options.items()
    }
    return lambda model: with_fields(model, fields)


@_with(OPTIONS)
class Simulation(Strict):
    """One network on one device.

    `model` is the name of a shipped network, `architecture` the content of an architecture file (with `variant`, where
    it holds several), `graph` that of a saved graph: one of the three.
    """

    device: Name
    model: Name | None = None
    architecture: dict[str, Any] | None = None
    variant: Name | None = None
    graph: dict[str, Any] | None = None
    kernels: bool = False


class Simulations(Strict):
    """Several simulations, costed together."""

    simulations: list[Simulation] = Field(min_length=1)


@_with(OF_SPACE)
class OracleOptions(Strict):
    """A search space on some devices, as `rf.Oracle` takes them; options hold for all of the devices."""

    space: Name
    devices: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64, strict=False)]

    if TYPE_CHECKING:

        def __init__(self, **keys: Any) -> None: ...


class OracleQuery(OracleOptions):
    """The same as query parameters, where numbers arrive as text; `devices` is repeated."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    devices: Annotated[list[Name], Field(min_length=1, max_length=64)]  # type: ignore[assignment]


class Candidates(OracleOptions):
    """Genomes of a search space: rows of option numbers, in the order of the space's genes."""

    genomes: list[list[Annotated[int, Field(ge=0, le=127)]]]


class Latencies(BaseModel):
    """Seconds per run: a row per candidate, a column per device."""

    devices: list[str]
    latency_s: list[list[float]]


class Names(BaseModel):
    """What requests may name."""

    models: list[str]
    devices: list[str]
    runtimes: list[str]
    spaces: list[str]


class Gene(BaseModel):
    """One choice of a space, with the values its option numbers stand for."""

    name: str
    values: list[Any]


class SpaceAnswer(BaseModel):
    """The genes of a search space."""

    name: str
    genes: list[Gene]


class Health(BaseModel):
    """That the service answers, and of which version it is."""

    status: str
    roofline_version: str


class Mistake(BaseModel):
    """What was wrong, in one line."""

    error: str
