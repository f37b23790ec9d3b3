"""Modules that are alike up to their sizes become one class; what differs between them are its parameters.

A size is spelled where the class is written: as a parameter, as a multiple of one (``6 * in_channels``), or as the
number that all modules of the class share. Each spelling holds for every module of the class, by construction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from roofline.export.layers import DIMENSIONS, Layer, Size
from roofline.export.spelling import attribute, camel
from roofline.export.tree import Module

#: dimensions whose shared numbers are parameters all the same: a block says its widths where it is made
NAMED = ("width", "heads")
#: a width is spelled as a multiple of another one up to this factor
MOST_FACTOR = 64
#: a multiple that is spelled so often gets a name
OFTEN = 3


@dataclass(eq=False)
class Class:
    """A class of modules.

    Attributes
    ----------
    name
        In CamelCase.
    modules
        All that are of it; the first one stands for all where the order of steps is asked.
    parameters
        What it is told: name -> the value for each module.
    defaults
        Parameters that most modules leave as they are.
    spelled
        How its code spells a size: (number of the step, name of the size) -> text.
    named
        Multiples that are spelled often, by the name that the code gives them first.
    dimensions
        What each parameter is a size of.
    """

    name: str
    modules: list[Module]
    parameters: dict[str, list[Size]] = field(default_factory=dict)
    defaults: dict[str, Size] = field(default_factory=dict)
    spelled: dict[tuple[int, str], str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Module:
        """The module whose steps are written."""
        return self.modules[0]

    def arguments(self, module: Module) -> dict[str, Size]:
        """Return what a module of the class tells it, without defaults."""
        at = self.modules.index(module)
        given = {name: values[at] for name, values in self.parameters.items()}
        return {name: value for name, value in given.items() if self.defaults.get(name) != value}


class Classes:
    """The classes of a network.

    Attributes
    ----------
    found
        In an order in which each stands behind those that it is made of.
    """

    def __init__(self, root: Module, names: Mapping[str, str]) -> None:
        self.found: list[Class] = []
        self._of: dict[Module, Class] = {}
        alike: dict[Any, list[Module]] = {}
        for module in root.modules():
            if module is not root:
                alike.setdefault(_structure(module), []).append(module)
        taken: set[str] = set(RESERVED)
        for modules in alike.values():
            name = _class_name(modules, names, taken)
            taken.add(name)
            made = Class(name=name, modules=modules)
            self.found.append(made)
            self._of.update(dict.fromkeys(modules, made))
            _spell(made, self)

    def of(self, module: Module) -> Class:
        """Return the class of a module."""
        return self._of[module]


def _structure(module: Module) -> Any:
    """Return what modules of one class share: kinds, names, switches and wiring."""
    number: dict[str, int] = {t: i for i, t in enumerate(module.inputs)}
    steps = []
    for step in module.steps:
        wiring = tuple(number[t] for t in step.inputs)
        if isinstance(step, Module):
            steps.append((step.name, wiring, _structure(step)))
        else:
            switches = tuple(sorted(step.switches.items()))
            steps.append((step.name, wiring, (step.kind, switches, tuple(step.sizes), tuple(step.weights))))
        for t in step.outputs:
            number[t] = len(number)
    return tuple(steps), tuple(number[t] for t in module.outputs)


# names ---------------------------------------------------------------------------------------------------------------

#: what the scopes inside blocks are called as classes
TITLES = {"se": "SqueezeExcite", "attn": "SelfAttention", "mlp": "Mlp", "embed": "Embed"}
#: what layers are called already
RESERVED = ("Conv", "Linear", "BatchNorm", "LayerNorm", "Embedding", "Attention", "Gelu", "Layer", "Weights", "Module")


def _class_name(modules: list[Module], names: Mapping[str, str], taken: set[str]) -> str:
    """Return a name from the kind of block, where there is one, or from the name of the first module."""
    stem = modules[0].name.rpartition(".")[0] or modules[0].name
    title = camel(names.get(modules[0].path) or TITLES.get(stem) or stem)
    return next(t for t in (title, *(f"{title}{n}" for n in range(2, len(taken) + 3))) if t not in taken)


# sizes ---------------------------------------------------------------------------------------------------------------


def _spell(made: Class, classes: Classes) -> None:
    """Choose the parameters of a class and spell all its sizes."""
    for at, size, dimension, values in _slots(made, classes):
        made.spelled[at, size] = _spelling(made, at, size, dimension, values)
    _shorten(made)
    _name_multiples(made)
    for name, values in made.parameters.items():
        usual = {"stride": 1}.get(made.dimensions[name])
        if usual is not None and usual in values:
            made.defaults[name] = usual


def _slots(made: Class, classes: Classes) -> Iterator[tuple[int, str, str, list[Size]]]:
    """Yield (step, size, dimension, value for each module) of everything that the code of a class is told."""
    for at, step in enumerate(made.body.steps):
        same = [module.steps[at] for module in made.modules]
        if isinstance(step, Layer):
            for size in step.sizes:
                yield at, size, DIMENSIONS[size], [s.sizes[size] for s in same if isinstance(s, Layer)]
        else:
            inner = classes.of(step)
            rows = [inner.modules.index(s) for s in same if isinstance(s, Module)]
            for name, values in inner.parameters.items():
                yield at, name, inner.dimensions[name], [values[row] for row in rows]


def _spelling(made: Class, at: int, size: str, dimension: str, values: list[Size]) -> str:
    constant = len(set(values)) == 1
    if constant and (len(values) == 1 or dimension not in NAMED):
        return repr(values[0])
    known = {n: v for n, v in made.parameters.items() if made.dimensions[n] == dimension}
    for name, others in known.items():
        if others == values:
            return name
    if dimension == "width":
        for name, others in known.items():
            found = _multiple(name, others, values, 4 if constant else MOST_FACTOR)
            if found:
                return found
    name = _parameter(made, at, size)
    made.parameters[name] = values
    made.dimensions[name] = dimension
    return name


def _multiple(name: str, others: list[Size], values: list[Size], most: int) -> str:
    """Return the spelling of widths as a multiple, or a fraction, of a parameter; empty if they are none."""
    pairs = list(zip(others, values, strict=True))
    if not all(isinstance(a, int) and isinstance(b, int) for a, b in pairs):
        return ""
    up = {b // a if b % a == 0 else 0 for a, b in pairs}  # type: ignore[operator]
    down = {a // b if a % b == 0 else 0 for a, b in pairs}  # type: ignore[operator]
    for factors, text in ((up, f"{{}} * {name}"), (down, f"{name} // {{}}")):
        if len(factors) == 1 and 1 < (factor := next(iter(factors))) <= most:
            return text.format(factor)
    return ""


def _parameter(made: Class, at: int, size: str) -> str:
    """Return a name for what differs between the modules of a class."""
    step = made.body.steps[at]
    wanted = size
    if DIMENSIONS.get(size, "width") == "width":
        if size.endswith("channels") and "out" not in size and _enters(made.body, at):
            wanted = "in_channels"
        elif size.endswith("out_channels") and _leaves(made.body, at):
            wanted = "out_channels"
        else:
            wanted = f"{attribute(step.name)}_channels"
    names = (wanted, f"{attribute(step.name)}_{wanted}", *(f"{wanted}{n}" for n in range(2, 100)))
    return next(n for n in names if n not in made.parameters)


def _name_multiples(made: Class) -> None:
    """Give a multiple that is spelled often a name: that of the step that makes so many channels."""
    for text, times in Counter(made.spelled.values()).items():
        if (" * " in text or " // " in text) and times >= OFTEN:
            keys = [key for key, spelled in made.spelled.items() if spelled == text]
            at, _ = next((key for key in keys if key[1] == "out_channels"), keys[0])
            name = f"{attribute(made.body.steps[at].name)}_channels"
            if name not in made.parameters and name not in made.named:
                made.named[name] = text
                made.spelled = {key: name if spelled == text else spelled for key, spelled in made.spelled.items()}


#: layers that have as many channels behind as before
EVEN = (
    "batch_norm",
    "layer_norm",
    "activation",
    "add",
    "mul",
    "mean",
    "pool",
    "attention",
    "roll",
    "flatten",
    "first",
)


def _enters(body: Module, at: int) -> bool:
    """Return whether a step reads the channels that enter the module."""
    wide = set(body.inputs)
    for step in body.steps[:at]:
        if isinstance(step, Layer) and step.kind in EVEN and set(step.inputs) <= wide:
            wide.update(step.outputs)
    return set(body.steps[at].inputs) <= wide


def _leaves(body: Module, at: int) -> bool:
    """Return whether the channels that a step makes leave the module."""
    made = set(body.steps[at].outputs)
    for step in body.steps[at + 1 :]:
        if isinstance(step, Layer) and step.kind in EVEN and set(step.inputs) & made:
            made.update(step.outputs)
    return bool(made & set(body.outputs))


def _shorten(made: Class) -> None:
    """Call the width ``channels`` where what enters and what leaves a class have the same."""
    if "in_channels" not in made.parameters or "out_channels" in made.parameters or "channels" in made.parameters:
        return

    def renamed(text: str) -> str:
        return re.sub(r"\bin_channels\b", "channels", text)

    made.parameters = {renamed(n): v for n, v in made.parameters.items()}
    made.dimensions = {renamed(n): v for n, v in made.dimensions.items()}
    made.spelled = {at: renamed(text) for at, text in made.spelled.items()}
