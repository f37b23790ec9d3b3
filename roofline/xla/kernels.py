"""From a compiled program to its kernels: what they hold of the program's own ops, how long they are thought to take.

The program wraps each of its ops in a named scope, and the compiler carries those names along (``op_name``), through
fusion and recomputation alike. A kernel *holds* an op where it does the op's main work: the division by a count that
ends a mean may move into the next kernel, but the sum over positions is where the mean is computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from roofline.xla.hlo import Instruction, Module, arrays, memory_space

#: instructions that compute nothing: they say where values stand
NOTHING = frozenset(
    [
        *("parameter", "constant", "broadcast", "bitcast", "tuple", "get-tuple-element"),
        *("iota", "after-all", "opt-barrier"),
    ]
)
#: instructions that change a value's format or place; an op's main work only where it has no other
MOVING = frozenset(("convert", "copy", "copy-start", "reshape", "transpose", "slice", "concatenate", "pad", "reverse"))
#: instructions whose computations are launched kernel by kernel
ENTERED = frozenset(["while", "call", "conditional", "async-start"])
#: instructions of the entry that wait for another, or end it
ENDS = frozenset(["copy-done", "async-done", "async-update", "slice-done", "all-reduce-done"])
#: number of a memory in layouts -> its name: what is kept between kernels lies in 3 on TPU v4i and v4, in 1 from v5e on
MEMORIES = {0: "HBM", 1: "VMEM", 3: "CMEM"}
#: an instruction belongs to the main work of its op if it touches at least this share of what the largest one does
MAIN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class CompiledKernel:
    """One kernel of a compiled program.

    Attributes
    ----------
    cycles
        The compiler's estimate for all of its runs [clock cycles]; 0 where it has none (transfers that run beside).
    ops
        The program's ops whose main work it does.
    named
        Ops of which it does anything at all: all of `ops`, and what is only converted, copied or finished here.
    layout
        Of its largest result, as the compiler writes it: order of dimensions from minor to major, and tiles.
    space
        Number of the memory that its largest result lies in; see `MEMORIES`.
    opcode, emitter
        What the compiler calls the instruction, and the writer of its inner loop.
    """

    name: str
    opcode: str
    emitter: str
    cycles: float
    ops: tuple[str, ...]
    named: tuple[str, ...]
    layout: str
    space: int

    @property
    def memory(self) -> str:
        """The memory that its largest result lies in, by name."""
        return MEMORIES.get(self.space, str(self.space))


@dataclass(frozen=True, kw_only=True)
class _Touched:
    """One instruction's part of an op."""

    op: str
    elements: int
    moving: bool


def compiled_kernels(module: Module, scopes: Mapping[str, str]) -> tuple[CompiledKernel, ...]:
    """Return the kernels of a program in the order of its instructions.

    Parameters
    ----------
    scopes
        Named scope of the program -> the op that what stands in it belongs to.
    """
    found = [(instruction, times, tuple(_touched(module, place, instruction, scopes)))
             for place, instruction, times in _launched(module, module.entry, 1)]  # fmt: skip
    most: dict[tuple[str, bool], int] = {}
    for _, _, parts in found:
        for part in parts:
            most[part.op, part.moving] = max(most.get((part.op, part.moving), 0), part.elements)
    working = {op for op, moving in most if not moving}

    def main(part: _Touched) -> bool:
        return part.moving == (part.op not in working) and part.elements >= MAIN_SHARE * most[part.op, part.moving]

    kernels = []
    for instruction, times, parts in found:
        named = tuple(dict.fromkeys(part.op for part in parts))
        held = tuple(dict.fromkeys(part.op for part in parts if main(part)))
        kernels.append(replace(_kernel(instruction, times), ops=held, named=named))
    return tuple(kernels)


def _launched(module: Module, computation: str, times: int) -> Iterator[tuple[str, Instruction, int]]:
    """Yield the instructions that run as kernels, with their computation and how often they run; loops are entered."""
    for instruction in module.computations[computation].values():
        if instruction.opcode in ENTERED:
            for called in instruction.calls:
                yield from _launched(module, called, times * instruction.trips)
        elif instruction.opcode not in NOTHING | ENDS:
            yield computation, instruction, times


def _touched(module: Module, place: str, instruction: Instruction, scopes: Mapping[str, str]) -> Iterator[_Touched]:
    """Yield which ops an instruction does work of, those inside fusions by themselves."""
    if instruction.calls:
        for called in instruction.calls:
            for inner in module.computations[called].values():
                yield from _touched(module, called, inner, scopes)
    elif instruction.opcode not in NOTHING and (scope := scope_of(instruction.op_name, scopes)):
        beside = module.computations[place]
        sizes = [beside[name].elements for name in instruction.operands if name in beside]
        elements = max(instruction.elements, *sizes, 0)
        yield _Touched(op=scopes[scope], elements=elements, moving=instruction.opcode in MOVING)


def scope_of(op_name: str, known: Collection[str]) -> str:
    """Return the scope that an instruction stands in: the innermost of its path that is known, ``""`` if none is.

    Examples
    --------
    >>> scope_of("jit(f)/stem/conv/jit(silu)/neg", {"stem", "stem/conv", "neg/x"})
    'stem/conv'
    """
    parts = op_name.split("/")
    for end in range(len(parts), 0, -1):
        for start in range(end):
            if (found := "/".join(parts[start:end])) in known:
                return found
    return ""


def _kernel(instruction: Instruction, times: int) -> CompiledKernel:
    largest = max(arrays(instruction.shape), key=lambda array: _size(array[0]), default=((), (), ""))
    order = ",".join(str(d) for d in largest[1])
    tiles = largest[2].partition("S(")[0]
    return CompiledKernel(
        name=instruction.name,
        opcode=instruction.opcode,
        emitter=instruction.emitter,
        cycles=float(instruction.cycles * times),
        ops=(),
        named=(),
        layout=f"{{{order}:{tiles}}}" if tiles else f"{{{order}}}",
        space=memory_space(largest[2]),
    )


def _size(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def homes(kernels: tuple[CompiledKernel, ...]) -> Mapping[str, tuple[int, ...]]:
    """Return the positions of the kernels that hold each op: several where the compiler computes it again."""
    found: dict[str, tuple[int, ...]] = {}
    for position, kernel in enumerate(kernels):
        for op in kernel.ops:
            found[op] = (*found.get(op, ()), position)
    return found
