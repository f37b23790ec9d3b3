"""Optimised HLO as text, read into computations and instructions: only what kernels are told from.

The text is what ``as_text()`` of a compiled JAX program gives (https://openxla.org/xla/terminology): computations of
instructions ``%name = shape opcode(operands), attributes``, shapes as ``bf16[8,56]{1,0:T(8,128)(2,1)S(1)}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from roofline.errors import InputError

_HEAD = re.compile(r"(ENTRY )?%([^ (]+) \(.*\{$")
_LINE = re.compile(r"  (?:ROOT )?%(\S+) = (.*)$")
_ARRAY = re.compile(r"[a-z]\w*\[([\d,<=]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_CALLED = re.compile(r"(?:calls|body|to_apply|true_computation|false_computation)=%([^\s,]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_NAMES = re.compile(r"%([^\s,)]+)")
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_EMITTER = re.compile(r'"emitter":"(\w+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    shape
        As it is written, with layout, tiles and memory space; a tuple's in parentheses.
    calls
        Computations that run as part of it; those that reductions apply to pairs are no part.
    op_name
        Path of named scopes, ending in the primitive; empty where the compiler made the instruction itself.
    cycles
        The compiler's estimate [clock cycles], 0 where it has none.
    emitter
        The name of what writes its inner loop, where the compiler says so.
    trips
        How often the body of a loop runs, 1 where that is unknown or there is none.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    calls: tuple[str, ...]
    op_name: str
    cycles: int
    emitter: str
    trips: int

    @cached_property
    def elements(self) -> int:
        """Elements of the largest array that it returns."""
        return max((math.prod(sizes) for sizes, _, _ in arrays(self.shape)), default=0)


@dataclass(frozen=True, kw_only=True)
class Module:
    """A program: its computations by name, in the order of their instructions, and which one it starts with."""

    computations: dict[str, dict[str, Instruction]]
    entry: str


def parse(text: str) -> Module:
    """Read a program.

    Raises
    ------
    InputError
        The text has no entry computation: it is not optimised HLO.
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _LINE.match(line)):
            current[found[1]] = _instruction(found[1], found[2])
    if not entry:
        raise InputError("no entry computation: this is not the text of a compiled program")
    return Module(computations=computations, entry=entry)


def _instruction(name: str, rest: str) -> Instruction:
    shape, rest = _until_balanced(rest)
    opcode, _, rest = rest.partition("(")
    operands, attributes = _until_balanced(f"({rest}")
    calls = _CALLED.findall(attributes) if opcode not in APPLYING else []
    calls += [n for group in _BRANCHES.findall(attributes) for n in _NAMES.findall(group)]
    op_name, cycles, emitter = (pattern.search(attributes) for pattern in (_OP_NAME, _CYCLES, _EMITTER))
    trips = _TRIPS.search(attributes)
    return Instruction(
        name=name,
        opcode=opcode,
        shape=shape,
        operands=tuple(_NAMES.findall(operands)),
        calls=tuple(calls),
        op_name=op_name[1].replace("\\", "") if op_name else "",
        cycles=int(cycles[1]) if cycles else 0,
        emitter=emitter[1] if emitter else "",
        trips=int(trips[1]) if trips else 1,
    )


#: opcodes whose ``to_apply`` says how two elements become one, and is no work of its own
APPLYING = frozenset(
    [
        *("reduce", "reduce-window", "select-and-scatter", "scatter", "sort", "map"),
        *("all-reduce", "reduce-scatter", "reduce-precision"),
    ]
)


def _until_balanced(text: str) -> tuple[str, str]:
    """Return what stands before the first space outside parentheses, and what stands behind it."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and letter in " ,":
            return text[:i], text[i + 1 :]
    return text, ""


def arrays(shape: str) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], str]]:
    """Yield the sizes, the order of dimensions from minor to major, and the tiles and memory space of each array.

    Examples
    --------
    >>> list(arrays("(f32[8,192]{1,0:T(8,128)S(1)}, u32[]{:S(2)})"))
    [((8, 192), (1, 0), 'T(8,128)S(1)'), ((), (), 'S(2)')]
    """
    for sizes, order, rest in _ARRAY.findall(shape):
        numbers = tuple(int(re.sub(r"\D", "", d)) for d in sizes.split(",") if d)
        yield numbers, tuple(int(d) for d in order.split(",") if d), rest


def memory_space(tiles: str) -> int:
    """Return the number of the memory that an array lies in: 0 is the main memory.

    Examples
    --------
    >>> memory_space("T(8,128)(2,1)S(1)"), memory_space("T(8,128)")
    (1, 0)
    """
    found = _SPACE.search(tiles)
    return int(found[1]) if found else 0
