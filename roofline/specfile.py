"""Reading a TOML data file: every mistake becomes one line that names file, table, key and what was allowed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from roofline.errors import SpecError, nearest
from roofline.quantity import Quantity, SpecFile
from roofline.reading import check_whole, read_text

M = TypeVar("M", bound=BaseModel)
Stamp: TypeAlias = tuple[int, int, int, int]
#: of a file that a person writes by hand
MOST_BYTES = 4 * 2**20


def stamp(path: Path) -> Stamp:
    """Return what tells a changed file from the one before, for readers that cache: times [ns], size, place on disk.

    Raises
    ------
    SpecError
        The file cannot be read.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    SpecError
        The file cannot be read or is not TOML (a key listed twice included).
    """
    text = read_text(path, SpecError, MOST_BYTES)
    try:
        content = tomllib.loads(text)
        check_whole(content)
        return content
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path.name}: not valid TOML: {error}") from None


def load_spec(path: Path, model: type[M]) -> M:
    """Return `path` validated against the pydantic class `model`.

    Raises
    ------
    SpecError
        The file cannot be read, or it breaks the schema; also when a quantity names a source that ``[sources]`` lacks.
    """
    return parse_spec(read_toml(path), model, path.name)


def parse_spec(tables: Mapping[str, Any], model: type[M], where: str) -> M:
    """Return `tables` validated against `model`; `where` names the file in error messages."""
    try:
        spec = model.model_validate(tables)
    except ValidationError as error:
        raise SpecError(one_line(error, model, where)) from None
    known = getattr(spec, "sources", None)
    if known is not None:
        for path, quantity in quantities(spec):
            if quantity.source is not None and quantity.source not in known:
                raise SpecError(
                    f"{where}: [{path}]: unknown source {quantity.source!r}{nearest(quantity.source, known)}"
                )
    return spec


def with_fields(model: type[M], fields: Mapping[str, Any]) -> type[M]:
    """Return a pydantic class with more fields, (type, default) by name; those that it has itself stay its own."""
    more = {name: field for name, field in fields.items() if name not in model.model_fields}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, __module__=model.__module__, **more)


def quantities(value: Any, path: str = "") -> Iterator[tuple[str, Quantity]]:
    """Yield (dotted path, quantity) for every quantity inside a validated spec, in file order."""
    if isinstance(value, Quantity):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from quantities(getattr(value, name), f"{path}.{name}" if path else name)
        if isinstance(value, SpecFile):
            for name, quantity in value.short_quantities().items():
                yield f"{path}.{name}" if path else name, quantity
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from quantities(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            label = getattr(inner, "name", i)
            yield from quantities(inner, f"{path}.{label}")


def one_line(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Return the first mistake of a validation as one line: file, table, what is wrong, what was allowed.

    An unknown key goes before the missing one that it may be a slip for.
    """
    first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    place = ".".join(location[:-1])
    field = location[-1] if location else ""
    if first["type"] == "extra_forbidden":
        text = f"unknown key {field!r}{nearest(field, _allowed(model, first['loc'][:-1]))}"
    elif first["type"] == "missing":
        text = f"missing key {field!r}"
    elif first["type"] == "model_type" and first["ctx"]["class_name"] == "Quantity":
        place = ".".join(location)
        text = f"a number needs its source: {{ value = ..., unit = ..., source = ... }}, got {first['input']!r}"
    else:
        place = ".".join(location)
        text = first["msg"].removeprefix("Value error, ")
        if not isinstance(first["input"], (dict, list, BaseModel)) and repr(first["input"]) not in text:
            text += f", got {repr(first['input'])[:80]}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: " + (f"[{place}]: " if place else "") + text + more


def _allowed(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at `location` may have, as far as the schema tells."""
    for part in location:
        fields = getattr(model, "model_fields", None)
        annotation = fields[part].annotation if fields and part in fields else model
        model = _first_model(annotation)
    return list(getattr(model, "model_fields", {}))


def _first_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _first_model(inner)
        if found is not None:
            return found
    return None
