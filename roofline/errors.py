"""Every error a user can cause. Each also inherits the builtin that fits, so that generic code can catch it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RooflineError(Exception):
    """Base of all errors raised on purpose; the message is one clear line."""


class SpecError(RooflineError, ValueError):
    """A TOML file (device, runtime, model) or a spec built in Python is not valid."""


class UnknownNameError(RooflineError, KeyError):
    """A model, device, runtime, dtype or field of that name does not exist."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class InputError(RooflineError, ValueError):
    """An argument is out of range or does not fit the others."""


class ShapeError(RooflineError, ValueError):
    """The shape of a tensor does not infer."""


class GraphError(RooflineError, ValueError):
    """A graph has a cycle, a dangling tensor or a node that is not an op."""


class UnknownOpError(RooflineError, NotImplementedError):
    """No rule says how much work an op is; it is never priced at zero."""


class DoesNotFitError(RooflineError, MemoryError):
    """The model needs more memory than the device has."""


def line_of(error: Exception) -> str:
    """Return an error and the notes to it in one line."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


#: similarity from which on a name is shown as near (difflib's own default)
CLOSE = 0.6


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; nearest: 'a', 'b'"`` for a misspelt name, or the choices where few or none is near.

    Examples
    --------
    >>> nearest("tpu-v9", ["tpu-v3", "t4"])
    "; nearest: 'tpu-v3'"
    >>> nearest("zebra", ["a", "b"])
    "; allowed: 'a', 'b'"
    """
    choices = sorted(names)
    lower = name.lower()
    scores = {choice: difflib.SequenceMatcher(None, lower, choice).ratio() for choice in choices}
    close = sorted((choice for choice in choices if scores[choice] >= CLOSE), key=lambda c: -scores[c])
    if close:
        return "; nearest: " + ", ".join(map(repr, close[:3]))
    shown = ", ".join(map(repr, choices[:12])) + (", ..." if len(choices) > 12 else "")
    return f"; allowed: {shown}" if choices else ""
