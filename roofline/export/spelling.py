"""Names and texts of a network as code: whatever a stage is called, what is written is a name or a quoted text."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Sequence

from roofline.errors import InputError
from roofline.text import words

#: names that modules of PyTorch, or exported programs, have already
TAKEN = frozenset(
    words(
        "training forward type half float double to train eval apply share_memory cpu cuda buffers children modules "
        "parameters compile state_dict zero_grad self p new layer torch nn math jax lax jnp np i block"
    )
)


def attribute(name: str) -> str:
    """Return a name as that of an attribute or a variable.

    Examples
    --------
    >>> attribute("expand"), attribute("5b"), attribute("class"), attribute("a b")
    ('expand', 'stage_5b', 'class_', 'a_b')
    """
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    name = name if name.isidentifier() else f"stage_{name}"
    return f"{name}_" if name in TAKEN or keyword.iskeyword(name) else name


def camel(name: str) -> str:
    """Return a name as that of a class.

    Examples
    --------
    >>> camel("conv_to_batch"), camel("5b"), camel("ResNet-50")
    ('ConvToBatch', 'Block5b', 'ResNet50')
    """
    parts = re.split(r"[^A-Za-z0-9]+", name)
    text = "".join(part[:1].upper() + part[1:] for part in parts)
    return text if text.isidentifier() and not keyword.iskeyword(text) else f"Block{text}"


def quoted(text: str) -> str:
    """Return a text in quotes.

    Examples
    --------
    >>> quoted("s1.0")
    '"s1.0"'
    """
    return json.dumps(text)


def numbered(stage: str) -> str:
    """Return the f-string that makes the names of a stage's blocks.

    Examples
    --------
    >>> print(numbered("s1"), numbered("a{b}"))
    f"s1.{i}" f"a{{b}}.{i}"
    """
    return "f" + quoted(stage.replace("{", "{{").replace("}", "}}"))[:-1] + '.{i}"'


def said(text: str) -> str:
    """Return a text that may stand in a docstring: one line, without what would end it.

    Examples
    --------
    >>> said('the "deep" one'), said("a  b")
    ("the 'deep' one", 'a b')
    """
    return " ".join(text.split()).replace("\\", "/").replace('"', "'")


def distinct(names: Sequence[str], where: str) -> None:
    """Raise if two names are one as code.

    Raises
    ------
    InputError
        They are.

    Examples
    --------
    >>> distinct(["a", "b"], "stages")
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(attribute(name), name)
        if other != name:
            raise InputError(f"{where} {other!r} and {name!r} have one name in a program: {attribute(name)!r}")
