"""Steps as statements: which results get a name, which, and which stand inside the next call."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from roofline.export.layers import Layer
from roofline.export.spelling import attribute, said
from roofline.export.tree import Module

Step = Layer | Module
#: what results are called, in the order of preference
NAMES = ("x", "y", "z", "u", "w", "s", "t", "a", "b", "c", "d", "e", "f", "g", "h")
#: a call that would be longer gets a line of its own
LONGEST = 92
#: columns of a program
WIDTH = 110


@dataclass(frozen=True)
class Body:
    """The statements of a function, its arguments, and what it returns."""

    arguments: tuple[str, ...]
    statements: tuple[str, ...]
    returned: str


def body(module: Module, spell: Callable[[int, Step, Sequence[str]], str], names: Iterable[str] = NAMES) -> Body:
    """Return the body of the function that runs a module.

    Parameters
    ----------
    module
        Its steps, in order.
    spell
        ``(number of the step, step, texts of its operands) -> text`` of the call.
    names
        What the inputs are called, and then other results.
    """
    pool = tuple(dict.fromkeys((*names, *NAMES)))
    left = Counter(t for step in module.steps for t in step.inputs)
    left.update(module.outputs)
    text: dict[str, str] = {}  # tensor -> its variable, or the call that stands for it
    holder: dict[str, str] = {}  # variable -> the tensor it holds
    arguments = []
    for tensor, name in zip(module.inputs, pool, strict=False):
        text[tensor], holder[name] = name, tensor
        arguments.append(name)
    statements: list[str] = []
    last = len(module.steps) - 1
    for at, step in enumerate(module.steps):
        call = spell(at, step, [text[t] for t in step.inputs])
        for t in step.inputs:
            left[t] -= 1
        if len(step.outputs) == 1:
            (made,) = step.outputs
            following = module.steps[at + 1] if at < last else None
            if len(call) <= LONGEST and _stands_inside(module, made, following, left[made]):
                if following is not None:
                    around = spell(at + 1, following, [text.get(t, call) for t in following.inputs])
                if following is None or len(around) <= LONGEST:
                    text[made] = call
                    continue
        free = [n for n in pool if n not in holder or left[holder[n]] == 0]
        wanted = step.switches.get("names", ()) if isinstance(step, Layer) else ()
        chosen = tuple(map(attribute, wanted)) if wanted else tuple(free[: len(step.outputs)])
        statements.append(f"{', '.join(chosen)} = {call}")
        for tensor, name in zip(step.outputs, chosen, strict=True):
            text[tensor], holder[name] = name, tensor
    return Body(tuple(arguments), tuple(statements), ", ".join(text[t] for t in module.outputs))


def _stands_inside(module: Module, made: str, following: Step | None, uses: int) -> bool:
    """Return whether a result is read once, by the next step, or is what the module returns."""
    if following is None:
        return module.outputs == (made,)
    return uses == 1 and made in following.inputs


def atom(text: str) -> str:
    """Return an expression so that an operator or a dot may follow.

    Examples
    --------
    >>> atom("f(x + y)"), atom("x + y")
    ('f(x + y)', '(x + y)')
    """
    return f"({text})" if isinstance(ast.parse(text, mode="eval").body, ast.BinOp) else text


def summed(first: str, second: str) -> str:
    """Return a sum, added in this order."""
    return f"{first} + {atom(second)}"


def halved(kernel: str) -> str:
    """Return the text of half a kernel.

    Examples
    --------
    >>> halved("3"), halved("(1, 7)"), halved("kernel")
    ('1', '(0, 3)', 'kernel // 2')
    """
    numbers = [int(n) // 2 for n in re.findall(r"\d+", kernel)]
    if not numbers or not re.fullmatch(r"[\d(), ]+", kernel):
        return f"{kernel} // 2"
    return str(numbers[0]) if len(numbers) == 1 else str(tuple(numbers))


def wrapped(line: str, indent: int) -> list[str]:
    """Return a line of code, with what stands between its outer parentheses on lines of its own if it is too long.

    Examples
    --------
    >>> wrapped("x = f(y)", 4)
    ['    x = f(y)']
    """
    indent += len(line) - len(line.lstrip())
    line, space = line.lstrip(), " " * indent
    head, bracket, rest = line.partition("(")
    if len(space + line) <= WIDTH or not bracket or not re.search(r"\)(,| -> .*:)?$", line):
        return [space + line]
    inner, _, tail = rest.rpartition(")")
    if inner.count("(") != inner.count(")") or ") " in f"{inner.partition('(')[0]} ":
        return [space + line]
    return [f"{space}{head}(", *wrapped(inner, indent + 4), f"{space}){tail}"]


def docstring(about: str, places: str, indent: int) -> list[str]:
    """Return the lines of a docstring: what something is, and where it stands."""
    space = " " * indent
    about, places = said(about), said(places)
    line = f'{space}"""{f"{about} {places}".strip()}"""'
    return [line] if len(line) <= WIDTH or not about else [f'{space}"""{about}', "", f"{space}{places}", f'{space}"""']
