"""Damage everything that is read, again and again: ``python benchmarks/attack.py [MUTATIONS [SEED [LOADER ...]]]``.

Each loader has files that are fine. A mutant has some of its bytes, numbers, words, lines or values changed, and is
read and used: what comes is a result whose numbers are finite, or a `RooflineError` in one line, in seconds, and never
a traceback. Damaged stores of a sweep go on to the results of an undisturbed one, or are refused.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loaders import LOADERS, Loader
from patience import patience

from roofline.errors import RooflineError

#: seconds that a mutant may take; the largest that are fine take a tenth
PATIENCE_S = 30
#: bytes of address space: what a hostile size would ask for is more
MEMORY_BYTES = 24 * 2**30
#: what a hand, a merge, a tool or an enemy leaves in the place of a value
WILD = (
    *("0", "-1", "1e400", "-1e308", "nan", "inf", "-0.0", "0.5", "1e-320", "9223372036854775808", "9" * 5000),
    *("true", "null", '""', '"x"', '"\\u0000"', '"\\ud800"', '"\x1b[2J"', "[]", "{}", "[[1]]", "[1, 2, 3]", "[" * 70),
    *('"' + "x" * 200_000 + '"', "{ value = 1 }", '{ value = -1, unit = "GHz" }', "0x" + "f" * 40, "é", "9" * 400),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 1e308, 10**18, 10**30, 2**63, "", "x", "fp32", "conv", "\x00", "\x1b[2J", "a" * 5000),
    *([], {}, [0], [[1]], [1, "x"], {"a": 1}, [None], [-1, -1], [10**12] * 3, [1] * 1000),
)
#: bytes in which words are looked for
WINDOW = 2**16
WORD = re.compile(rb'-?\d[\d.eE+-]*|"[^"\n]{0,80}"|[A-Za-z_]\w*')


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A mutant on which something else than a result or a line came."""

    loader: str
    number: int
    what: str


def mutant(content: bytes, dice: random.Random) -> bytes:
    """Return content with one to three changes."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        content = dice.choice(CHANGES)(content, dice)
    return content


def _bytes(content: bytes, dice: random.Random) -> bytes:
    at = dice.randint(0, len(content))
    return content[:at] + dice.randbytes(dice.randint(0, 8)) + content[at + dice.randint(0, 8) :]


def _bits(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(min(dice.randint(1, 4), len(changed))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randint(0, len(content))]


def _moved(content: bytes, dice: random.Random) -> bytes:
    start, at = dice.randint(0, len(content)), dice.randint(0, len(content))
    return content[:at] + content[start : start + dice.randint(0, 200)] + content[at:]


def _words(content: bytes, dice: random.Random) -> bytes:
    """Put something wild, or another word of the file, in the place of a number, a text or a name."""
    start = dice.randrange(len(content) - WINDOW) if len(content) > WINDOW else 0
    found = list(WORD.finditer(content, start, start + WINDOW))
    if not found:
        return _bytes(content, dice)
    place = dice.choice(found)
    new = dice.choice(found)[0] if dice.random() < 0.3 else dice.choice(WILD).encode(errors="surrogatepass")
    return content[: place.start()] + new + content[place.end() :]


def _lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.split(b"\n")
    i, j = dice.randrange(len(lines)), dice.randrange(len(lines))
    match dice.randrange(4):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            cells = lines[i].split(b",")
            cells[dice.randrange(len(cells))] = dice.choice(WILD).encode(errors="surrogatepass")
            lines[i] = b",".join(cells)
    return b"\n".join(lines)


def _values(content: bytes, dice: random.Random) -> bytes:
    """Put something else in the place of a value of JSON."""
    try:
        tree = json.loads(content) if content[:1] in b"{[" else None
    except ValueError:
        tree = None
    if tree is None:
        return _words(content, dice)
    places = [(outer, key) for outer in _outer(tree) for key in _keys(outer)]
    if not places:
        return _words(content, dice)
    outer, key = dice.choice(places)
    match dice.randrange(4):
        case 0:
            del outer[key]
        case 1:
            other, place = dice.choice(places)
            outer[key] = json.loads(json.dumps(other[place])) if other is not outer or place != key else None
        case _:
            outer[key] = dice.choice(VALUES)
    return json.dumps(tree).encode()


def _keys(outer: Any) -> list[Any]:
    return list(outer) if isinstance(outer, dict) else list(range(len(outer)))


def _outer(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (dict, list)):
        yield tree
        for inner in (tree[key] for key in _keys(tree)):
            yield from _outer(inner)


def _packed(content: bytes, dice: random.Random) -> bytes:
    """Change a file inside a zip file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old:
            parts = {name: old.read(name) for name in old.namelist()}
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return _words(content, dice)
    chosen = dice.choice(list(parts)) if parts else None
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, part in parts.items():
            packed.writestr(
                name, dice.choice((_bytes, _bits, _cut, _words, _values))(part, dice) if name == chosen else part
            )
    return new.getvalue()


def _zipped(content: bytes, dice: random.Random) -> bytes:
    packed = gzip.compress(content, compresslevel=1)
    return packed if dice.random() < 0.3 else _bits(packed, dice) if dice.random() < 0.5 else _cut(packed, dice)


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_bytes, _bits, _cut, _moved, _lines, _lines, _zipped),
    *(_words,) * 6,
    *(_values,) * 6,
    *(_packed,) * 4,
)


def outcome(loader: Loader, path: Path) -> str | None:
    """Return what is wrong with how a file is read and used; None where nothing is."""
    try:
        with patience(PATIENCE_S), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            numbers = loader.use(path)
    except RooflineError as error:
        told = [str(error), *getattr(error, "__notes__", [])]
        return None if all(told) and not any("\n" in line for line in told) else f"not one line: {told!r:.300}"
    except (Exception, RecursionError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-6:]))
        return f"{type(error).__name__}: {str(error)[:160]!r} at {places}"
    return (
        None if all(math.isfinite(number) for number in numbers) else f"numbers that are not finite: {numbers!r:.200}"
    )


def attack(loader: Loader, mutations: int, seed: int, folder: Path) -> Iterator[Failure | None]:
    """Yield what is wrong with each mutant, or None."""
    seeds = loader.seeds(folder)
    for name, content in seeds.items():
        (folder / name).write_bytes(content)
        if wrong := outcome(loader, folder / name):
            raise RuntimeError(f"{loader.name}: the file that is fine is not: {wrong}")
    dice = random.Random(f"{seed} {loader.name}")
    for number in range(mutations):
        name = dice.choice(list(seeds))
        path = folder / name
        path.write_bytes(mutant(seeds[name], dice))
        wrong = outcome(loader, path)
        yield Failure(loader=loader.name, number=number, what=wrong) if wrong else None


def main() -> int:
    """Attack, and say what was found; 1 if anything was."""
    mutations = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    chosen = [loader for loader in LOADERS if loader.name in sys.argv[3:] or not sys.argv[3:]]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    whole = sum(loader.weight for loader in chosen)
    shares = [math.ceil(mutations * loader.weight / whole) for loader in chosen]
    failures: list[Failure] = []
    for loader, share in zip(chosen, shares, strict=True):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as home:
            found = [failure for failure in attack(loader, share, seed, Path(home)) if failure is not None]
        print(
            f"{loader.name}: {share} mutants in {time.monotonic() - began:.0f} s, {len(found)} tracebacks", flush=True
        )
        for what, count in Counter(failure.what for failure in found).most_common(12):
            print(f"  {count} x {what}", flush=True)
        failures += found
    print(f"{sum(shares):,} mutants of {len(chosen)} loaders, seed {seed}: {len(failures)} tracebacks")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
