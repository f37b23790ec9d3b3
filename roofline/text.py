"""Numbers as people read them: a few significant digits, an SI prefix, a unit."""

from __future__ import annotations

import math
import re

#: what a terminal may take for a command, or cannot show: control characters (line feed and tab apart), marks that
#: turn the order of writing, and halves of characters
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_SMALL = ("", "m", "u", "n", "p")


def engineering(value: float, unit: str = "", digits: int = 3) -> str:
    """Return a quantity with an SI prefix and `digits` significant digits.

    Examples
    --------
    >>> engineering(123e12, "FLOP/s"), engineering(1.2345e9, "B/s"), engineering(940), engineering(7.5e-6, "s")
    ('123 TFLOP/s', '1.23 GB/s', '940', '7.50 us')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))) / 3)
    power = max(-len(_SMALL) + 1, min(power, len(_PREFIXES) - 1))
    prefix = _PREFIXES[power] if power >= 0 else _SMALL[-power]
    if not unit and not prefix and float(value).is_integer():
        return f"{value:.0f}"
    return f"{significant(value / 1000.0**power, digits)} {prefix}{unit}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """Return `value` in plain notation with at least `digits` significant digits and commas between thousands.

    Examples
    --------
    >>> significant(0.012345), significant(12.3456), significant(1234567.8), significant(0)
    ('0.0123', '12.3', '1,234,568', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:,.{max(decimals, 0)}f}"


def percent(share: float) -> str:
    """Return a share in per cent; what is there but rounds to nothing says so.

    Examples
    --------
    >>> percent(0.1234), percent(0.0001), percent(0), percent(1)
    ('12.3 %', '<0.1 %', '0 %', '100 %')
    """
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{share * 100:.0f} %" if share == 0 or share >= 0.9995 else f"{share * 100:.1f} %"


def counted(number: int, noun: str) -> str:
    """Return a number of things.

    Examples
    --------
    >>> counted(1, "run"), counted(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def gibibytes(size_bytes: float) -> str:
    """Return a footprint in GiB.

    Examples
    --------
    >>> gibibytes(16 * 2**30), gibibytes(2**20)
    ('16.0 GiB', '0.000977 GiB')
    """
    return f"{significant(size_bytes / 2**30)} GiB"


def shorten(name: str, longest: int = 34) -> str:
    """Return `name` with its middle left out when it is too long for a label.

    Examples
    --------
    >>> shorten("stage3.block2.expand+bn+swish", 15)
    'stage3.…n+swish'
    """
    if len(name) <= longest:
        return name
    head = longest // 2
    return f"{name[:head]}…{name[-(longest - head - 1) :]}"


def printable(text: str) -> str:
    r"""Return a text that anybody may have written as one that can be sent to a terminal, drawn, and kept in a file.

    Examples
    --------
    >>> printable("a\x1b[2Jb\ud800")
    'a\\x1b[2Jb\\ud800'
    """
    return UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text: how long lists of names are written in this package."""
    return tuple(text.split())


def pairs(text: str) -> dict[str, str]:
    """Return a table that is written as words; a name without value stands for itself.

    Examples
    --------
    >>> pairs("add add_any=add exp2=exp")
    {'add': 'add', 'add_any': 'add', 'exp2': 'exp'}
    """
    return {name: value or name for name, _, value in (word.partition("=") for word in text.split())}
