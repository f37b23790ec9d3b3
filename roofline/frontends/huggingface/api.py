"""`from_huggingface`: from a folder or a ``config.json`` to an `Arch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import roofline.frontends.huggingface.dense
import roofline.frontends.huggingface.experts
import roofline.frontends.huggingface.latent
import roofline.frontends.huggingface.recurrent  # noqa: F401  (fills the registry)
from roofline.arch.load import stage_from
from roofline.arch.spec import Arch
from roofline.errors import InputError, nearest
from roofline.frontends.huggingface.config import Config
from roofline.frontends.huggingface.registry import FAMILIES

#: no configuration is larger
MOST_BYTES = 1 << 20
#: new tokens of a prompt where nobody says how many
LENGTH = 2048
#: where families of several modalities keep the configuration of their text
TEXT = ("text_config", "language_config", "llm_config")


def from_huggingface(path: str | Path, *, name: str | None = None) -> Arch:
    """Return a language model by its ``config.json``: its text layers, in all the steps of a decoder.

    The file is read as JSON: neither torch nor the transformers library is needed, and code that comes with a model is
    never run. Towers for images and heads for extra tokens are left out.

    Parameters
    ----------
    path
        The file, or the folder that holds it.
    name
        What the network is called; by default as the folder.

    Raises
    ------
    InputError
        There is no such file, it is no configuration, its family is unknown (the nearest are named), or a key is
        missing or out of range.
    """
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    table = _read(file)
    reader, config = _family(table, str(file))
    stages = tuple(stage_from(stated, f"{file}: {stated['name']}") for stated in reader(config))
    positions = config.number("max_position_embeddings", LENGTH)
    called = name or file.resolve().parent.name
    return Arch(
        name=called,
        family=str(table["model_type"]),
        title=called,
        image_size=min(positions, LENGTH),
        stages=stages,
        input="tokens",
        sources=(("config", str(file)),),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes()[: MOST_BYTES + 1]
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise InputError(f"{str(file)!r} is larger than a configuration is ({MOST_BYTES:,} bytes)")
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} is no JSON: {str(error)[:80]}") from None
    if not isinstance(table, dict) or not isinstance(table.get("model_type"), str):
        raise InputError(f"{str(file)!r} is no configuration of a model: it has no model_type")
    return table


def _family(table: dict[str, Any], where: str) -> tuple[Any, Config]:
    """Return what reads a configuration, and the part of it that says how the text is modelled."""
    kind = table["model_type"]
    inner = next((table[key] for key in TEXT if isinstance(table.get(key), dict)), None)
    if kind in FAMILIES:
        return FAMILIES[kind], Config(table, where)
    if inner is not None:
        named = {"model_type": f"{kind}_text", "tie_word_embeddings": table.get("tie_word_embeddings")}
        inner = {**named, **{k: v for k, v in inner.items() if v is not None}}
        if inner["model_type"] in FAMILIES:
            return FAMILIES[inner["model_type"]], Config(inner, f"{where}: text_config")
    own = "; it comes with code of its own, which is never run" if "auto_map" in table else ""
    raise InputError(f"{where}: unknown model_type {kind!r}{nearest(kind, FAMILIES)}{own}")
