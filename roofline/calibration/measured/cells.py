"""The cells of one row: text that becomes numbers, or a reason why it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from roofline.errors import InputError, RooflineError, nearest
from roofline.hardware.load import device, devices
from roofline.names import key

#: how files spell devices, where that is none of the project's own spellings
DEVICES: dict[str, str] = {
    "NVIDIA H100 (sm_90)": "h100-sxm",
    "NVIDIA A100-PCIE-40GB": "a100-40gb",
    "NVIDIA A100 80GB PCIe": "a100-80gb",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-32GB": "v100",
    "NV_V100": "v100",
    "H100": "h100-sxm",
    "A100": "a100-80gb",  # of LLMCompass: its GELU moves more bytes per second than the 40 GB part has
    "a100_sxm": "a100-80gb",  # its products of experts stream 2.0 TB/s
    "Nvidia A100 GPU": "a100-40gb",  # of LLM-Inference-Bench: its machine has that one
    "h200_sxm": "h200",
    "NVIDIA H200": "h200",
    "b200_sxm": "b200",
    "gb200": "b200",  # its two chips are these, beside a host of their own; 1200 W of power have no file
    "Google TPU v6e (Trillium)": "tpu-v6e",
}
#: two figures of one row that say the same thing may differ by this share, from rounding
AGREEMENT = 0.05
#: of a number that is neither a slip nor lost on the way to other units
LEAST = 1e-30


class Cells:
    """One row by column name; every read that fails says which column."""

    def __init__(self, row: int, values: Mapping[str, str]) -> None:
        self.row, self.values = row, values

    def text(self, column: str) -> str:
        """Return the text of a cell.

        Raises
        ------
        InputError
            There is none.
        """
        value = (self.values.get(column) or "").strip()
        if not value:
            raise InputError(f"no {column}")
        return value

    def number(self, column: str) -> float:
        """Return a positive finite number.

        Raises
        ------
        InputError
            The cell is empty, not a number, or none of a duration or size.
        """
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"{column} is no number: {text!r}") from None
        if not LEAST <= value <= 1 / LEAST:
            raise InputError(f"{column} must be positive and finite, got {text!r}")
        return value

    def integer(self, column: str, least: int = 1) -> int:
        """Return a whole number of at least `least`.

        Raises
        ------
        InputError
            It is none.
        """
        text = self.text(column)
        with suppress(ValueError):
            value = float(text)
            if value.is_integer() and value >= least:
                return int(value)
        raise InputError(f"{column} must be a whole number of at least {least}, got {text!r}")

    def integers(self, *columns: str) -> Iterator[int]:
        """Yield whole positive numbers."""
        for column in columns:
            yield self.integer(column)

    def agree(self, what: str, found: float, expected: float) -> None:
        """Raise unless two figures of the row agree: the usual cause is another unit than the file's.

        Raises
        ------
        InputError
            They differ by more than rounding.
        """
        if abs(found / expected - 1.0) > AGREEMENT:
            raise InputError(f"{what} is {found:.4g} where the row's other figures give {expected:.4g}: mixed units")

    def device(self, column: str) -> str:
        """Return the canonical name of the device that a cell names.

        Raises
        ------
        InputError
            It is not one of the project's.
        """
        text = self.text(column)
        try:
            return DEVICES.get(text) or device(text).name
        except RooflineError:
            raise InputError(f"device {text!r} is not known{nearest(text, [*DEVICES, *devices()])}") from None


def device_in(words: list[str]) -> str | None:
    """Return the device that one of `words` names, also without its maker's prefix.

    Examples
    --------
    >>> device_in(["amp", "4090"]), device_in(["amp", "rtx3090"]), device_in(["cpu"])
    ('rtx-4090', 'rtx-3090', None)
    """
    for word in reversed(words):
        spelling = key(word)
        for name in devices():
            if len(spelling) >= 2 and (key(name) == spelling or key(name).removeprefix("rtx") == spelling):
                return name
    return None
