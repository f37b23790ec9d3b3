"""Networks of the Accel-NASBench space, by the names that the benchmark publishes them under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from roofline.arch.block import Stage
from roofline.arch.load import model
from roofline.arch.spec import Arch
from roofline.errors import InputError, nearest

#: the variant of ``models/accel-nasbench.toml`` that supplies stem, widths, strides and head
BASE = "accel-nasbench-b0"
#: number of stages in which a network chooses
BLOCKS = 7
#: repeats may be 4 in this stage only
DEEP_BLOCK = 5
#: squeeze width as a share of the block's input, where a stage has squeeze-excite
SE_RATIO = 0.25
#: letter of the published name -> what it may be, in every stage but `DEEP_BLOCK`
CHOICES: dict[str, tuple[int, ...]] = {"e": (1, 4, 6), "k": (3, 5), "l": (1, 2, 3), "se": (0, 1)}


def choices(block: int, letter: str) -> tuple[int, ...]:
    """Return the values that ``block{block}_{letter}`` may have."""
    return (*CHOICES[letter], 4) if letter == "l" and block == DEEP_BLOCK else CHOICES[letter]


def accel_nasbench_arch(mapping: Mapping[str, Any], *, name: str | None = None, image_size: int | None = None) -> Arch:
    """Return the network of a published dictionary.

    Parameters
    ----------
    mapping
        ``block0_e`` ... ``block6_se`` (the benchmark's dictionary) or ``b0_e`` ... ``b6_se`` (its table): expansion e,
        kernel k, repeats l and squeeze-excite se of the seven stages. Numbers may be strings, as read from CSV.
    name
        Default: a name made of the choices, ``accel-nasbench-e6k3l1se0-...``.
    image_size
        Pixels per side; default 224.

    Raises
    ------
    InputError
        A choice is missing, is none of the space, or a key is not one of the space.

    Examples
    --------
    >>> keys = {f"block{i}_{c}": v for i in range(7) for c, v in (("e", 6), ("k", 3), ("l", 1), ("se", 0))}
    >>> [stage.repeats for stage in accel_nasbench_arch(keys).stages]
    [1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    chosen = [{letter: _choice(mapping, block, letter) for letter in CHOICES} for block in range(BLOCKS)]
    known = {f"{prefix}{i}_{c}" for prefix in ("block", "b") for i in range(BLOCKS) for c in CHOICES}
    if unknown := sorted(set(mapping) - known):
        raise InputError(f"unknown choice {unknown[0]!r}{nearest(unknown[0], known)}")
    base = model(BASE)
    stages = tuple(_stage(base.stages[i + 1], **values) for i, values in enumerate(chosen))
    made = name or "accel-nasbench-" + "-".join("".join(f"{c}{v}" for c, v in values.items()) for values in chosen)
    arch = replace(
        base,
        name=made,
        title=f"Accel-NASBench {made}",
        stages=(base.stages[0], *stages, base.stages[-1]),
        published=None,
    )
    return arch.with_image_size(image_size)


def _choice(mapping: Mapping[str, Any], block: int, letter: str) -> int:
    long, short = f"block{block}_{letter}", f"b{block}_{letter}"
    if (long in mapping) == (short in mapping):
        raise InputError(f"{long!r} is {'given twice' if long in mapping else 'missing'} (also spelled {short!r})")
    key = long if long in mapping else short
    allowed = choices(block, letter)
    for value in allowed:
        if mapping[key] == value or mapping[key] == str(value):
            return value
    raise InputError(f"{key!r} must be one of {', '.join(map(str, allowed))}, got {mapping[key]!r}")


@lru_cache(maxsize=1024)
def _stage(stage: Stage, *, e: int, k: int, l: int, se: int) -> Stage:  # noqa: E741  (the published letters)
    return stage.model_copy(update={"expand": e, "kernel": k, "repeats": l, "se_ratio": SE_RATIO if se else 0.0})
