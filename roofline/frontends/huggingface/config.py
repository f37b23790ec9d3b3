"""A ``config.json`` as it is read: numbers, switches and lists by name, and one line where one is missing or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline.arch.load import MAX_BLOCKS
from roofline.errors import InputError, nearest

#: the most that a number of a configuration may be
MOST = 1 << 30
#: activations by the library's names
ACTIVATIONS = {
    "silu": "swish",
    "swish": "swish",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}
MISSING: Any = object()


class Config:
    """Keys of a configuration, or of a table inside it."""

    def __init__(self, table: Mapping[str, Any], where: str) -> None:
        self.table, self.where = table, where

    def number(self, name: str, default: int | None = MISSING, *, least: int = 1, most: int = MOST) -> int:
        """Return a whole number; a key that is missing or null has the default.

        Raises
        ------
        InputError
            It is missing without a default, or no whole number in range.
        """
        value = self.table.get(name)
        if value is None:
            if default is MISSING:
                raise InputError(f"{self.where}: missing key {name!r}{nearest(name, self.table)}")
            return 0 if default is None else default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{self.where}: {name} must be a whole number in {least}..{most}, got {value!r}")
        return value

    def share(self, name: str, default: float) -> float:
        """Return a number in 0..1."""
        value = self.table.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{self.where}: {name} must be a number in 0..1, got {value!r}")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a switch."""
        value = self.table.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InputError(f"{self.where}: {name} must be true or false, got {value!r}")
        return value

    def words(self, name: str, count: int) -> list[str] | None:
        """Return a list of `count` words, None where there is none."""
        value = self.table.get(name)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < count:
            raise InputError(f"{self.where}: {name} must be a list of {count} words, got {str(value)[:80]!r}")
        return [str(word) for word in value[:count]]

    def numbers(self, name: str) -> list[int]:
        """Return a list of whole numbers; empty where there is none."""
        value = self.table.get(name) or []
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            raise InputError(f"{self.where}: {name} must be a list of whole numbers, got {str(value)[:80]!r}")
        return [int(v) for v in value]

    def inside(self, name: str) -> Config:
        """Return the table of that name; an empty one where there is none."""
        value = self.table.get(name)
        return Config(value if isinstance(value, dict) else {}, f"{self.where}: {name}")

    def activation(self, *names: str) -> str:
        """Return the activation that the first of the keys that is there names."""
        for name in names:
            value = self.table.get(name)
            if value is not None:
                if value not in ACTIVATIONS:
                    raise InputError(f"{self.where}: unknown {name} {value!r}{nearest(str(value), ACTIVATIONS)}")
                return ACTIVATIONS[value]
        return "swish"

    @property
    def layers(self) -> int:
        """Layers."""
        return self.number("num_hidden_layers", most=MAX_BLOCKS)

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.number("num_attention_heads")

    @property
    def kv_heads(self) -> int:
        """Key heads; by default every query head has one."""
        return self.number("num_key_value_heads", self.heads)

    @property
    def head_size(self) -> int:
        """Channels of a head; by default the heads share the width."""
        return self.number("head_dim", self.number("hidden_size") // self.heads)

    def rotary(self, size: int, default: float = 1.0) -> int:
        """Return how many channels of a head turn."""
        given = self.number("rotary_dim", 0)
        inside = self.inside("rope_parameters")
        share = inside.share("partial_rotary_factor", self.share("partial_rotary_factor", default))
        return given or int(size * share)
