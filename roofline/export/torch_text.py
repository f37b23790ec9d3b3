"""The PyTorch writer: a readable module of modules, images channels first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from roofline.errors import UnknownOpError
from roofline.export.body import Step, body, docstring, wrapped
from roofline.export.classes import Class
from roofline.export.copied import copied, names_in
from roofline.export.layers import Size
from roofline.export.network import Call, Network, tied_layer
from roofline.export.spelling import attribute, camel, distinct, quoted, said
from roofline.export.torch_calls import BUILT, CALLED, running_sizes
from roofline.export.tree import Module

LAYERS = (Path(__file__).with_name("torch_layers.py"),)


def torch_text(network: Network) -> str:
    """Return the program.

    Parameters
    ----------
    network
        The network as modules and classes, with the order of its channels stated.

    Raises
    ------
    UnknownOpError
        A layer that has no form in PyTorch.
    """
    return _Writer(network).text()


def class_of(network: Network) -> str:
    """Return what the network's class is called, after its title: ``ResNet-50`` is ``ResNet50``."""
    first = network.title.partition(" ")[0]
    title = first if network.title.endswith(network.name) and network.name.startswith(first.lower()) else ""
    title = title + network.name.removeprefix(title.lower()) if title else network.title.partition(",")[0]
    return camel(title)


class _Writer:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.classes = network.classes

    def text(self) -> str:
        code = "\n\n\n".join([*map(self._class, self.classes.found), self._main()])
        recipe = {name.upper(): value for name, value in asdict(self.network.recipe).items()}
        constants, helpers = copied(LAYERS, code, recipe)
        text = "\n\n\n".join(["\n".join(constants), *helpers, code])
        head = f'"""{said(self.network.title)}, as a PyTorch module.\n\n    y = {self._usage()}\n"""'
        return "\n\n".join([head, _imports(text), text]) + "\n"

    def _usage(self) -> str:
        return f"{class_of(self.network)}()({', '.join(self.network.arguments)})"

    # classes -------------------------------------------------------------------------------------------------------

    def _class(self, made: Class) -> str:
        kept = self._kept(made)
        written = body(made.body, lambda at, step, x: self._call(made, at, step, x))
        told = sorted(made.parameters, key=lambda n: n in made.defaults)
        signature = ", ".join(["self", *(_declared(n, made) for n in told)])
        built = [f"{n} = {text}" for n, text in made.named.items()] + [f"self.{n} = {n}" for n in kept]
        distinct([step.name for step in made.body.steps], f"layers of {made.body.path!r}")
        for at, step in enumerate(made.body.steps):
            built += [f"self.{attribute(n)} = {made_}" for n, made_ in self._built(made, at, step)]
        arguments = [f"{a}: Tensor" for a in written.arguments]
        arguments += ["table: Tensor"] * (tied_layer(made.body) is not None)
        result = "Tensor" if len(made.body.outputs) == 1 else "tuple[Tensor, ...]"
        lines = [f"class {made.name}(nn.Module):", *docstring(*self.network.about_class(made), 4), ""]
        if built:
            lines += [*wrapped(f"def __init__({signature}) -> None:", 4), "        super().__init__()"]
            lines += [part for line in built for part in wrapped(line, 8)] + [""]
        lines += [f"    def forward({', '.join(['self', *arguments])}) -> {result}:"]
        lines += [part for line in written.statements for part in wrapped(line, 8)]
        return "\n".join([*lines, f"        return {written.returned}"])

    def _kept(self, made: Class) -> list[str]:
        """Return the parameters that are read when the module runs."""
        words: set[str] = set()
        for at, step in enumerate(made.body.steps):
            for size in running_sizes(step):
                words.update(re.findall(r"[A-Za-z_]\w*", made.spelled[at, size]))
        return [n for n in made.parameters if n in words]

    def _built(self, made: Class, at: int, step: Step) -> Iterator[tuple[str, str]]:
        """Yield (name, value) of everything that a step needs before it runs."""
        if isinstance(step, Module):
            inner = self.classes.of(step)
            values = {n: made.spelled[at, n] for n in inner.parameters}
            yield step.name, f"{inner.name}({', '.join(_given(inner, values))})"
            return
        sizes = {size: made.spelled[at, size] for size in step.sizes}
        rule = BUILT.get(step.kind)
        if rule:
            yield from rule(step, sizes)

    def _call(self, made: Class, at: int, step: Step, x: Sequence[str]) -> str:
        if isinstance(step, Module):
            return f"self.{attribute(step.name)}({', '.join(x)})"
        turned = step.switches.get("turned", ())
        turn = "channels_first" if step.switches.get("first") else "channels_last"
        x = [f"{turn}({text})" if turned and turned[i] else text for i, text in enumerate(x)]
        handed = step.switches.get("handed")
        sizes = {size: made.spelled[at, size] for size in running_sizes(step)}
        kept = {n: re.sub(r"([A-Za-z_]\w*)", r"self.\1", text) for n, text in sizes.items()}
        rule = CALLED.get(step.kind)
        if rule is None:
            raise UnknownOpError(f"op {step.op_id!r} ({step.kind}) has no form in PyTorch")
        return f"{handed}({rule(step, x, kept)})" if handed else rule(step, x, kept)

    # the network ---------------------------------------------------------------------------------------------------

    def _main(self) -> str:
        stages = [(stage, list(calls)) for stage, calls in groupby(self.network.calls, key=lambda c: c.stage)]
        distinct([stage for stage, _ in stages], "stages")
        lines = [f"class {class_of(self.network)}(nn.Module):", f'    """{said(self.network.title)}."""', ""]
        lines += ["    def __init__(self) -> None:", "        super().__init__()"]
        for stage, calls in stages:
            lines += [part for line in self._stage(stage, calls) for part in wrapped(line, 8)]
        lines += ["        self.apply(draw)"]
        if residual := [f"{quoted(end.replace('/', '.') + '.weight')}" for end in self.network.recipe.residual]:
            lines += ["        for name, weight in self.named_parameters():"]
            lines += [f"            if name.endswith(({', '.join(residual)})):"]
            lines += ["                normal(weight, RESIDUAL_DEVIATION)"]
        lines.append("")
        arguments = ", ".join(f"{a}: Tensor" for a in self.network.arguments)
        lines += [f"    def forward(self, {arguments}) -> Tensor:"]
        run = [line for stage, calls in stages for line in self._run(stage, calls)]
        returned = self.network.returned
        if run[-1].startswith(f"{returned} = "):
            returned = run.pop().partition(" = ")[2]
        return "\n".join([*lines, *(f"        {line}" for line in run), f"        return {returned}"])

    def _stage(self, stage: str, calls: list[Call]) -> list[str]:
        made = [(f"{c.cls.name}({', '.join(_given(c.cls, _literal(c.every)))})", len(c.modules)) for c in calls]
        if calls[0].stage == calls[0].first:
            return [f"self.{attribute(stage)} = {made[0][0]}"]
        if len(made) == 1:
            text, times = made[0]
            return [f"self.{attribute(stage)} = nn.ModuleList({text} for _ in range({times}))"]
        inner = [f"    {text}," if n == 1 else f"    *({text} for _ in range({n}))," for text, n in made]
        return [f"self.{attribute(stage)} = nn.ModuleList([", *inner, "])"]

    def _run(self, stage: str, calls: list[Call]) -> list[str]:
        name = f"self.{attribute(stage)}"
        if calls[0].stage == calls[0].first:
            return [self._one(name, calls[0])]
        lines = []
        for _, same in groupby(calls, key=lambda c: (c.inputs, c.outputs, c.tied is None)):
            run = list(same)
            if sum(len(c.modules) for c in run) == 1:
                lines.append(self._one(f"{name}[{run[0].start}]", run[0]))
                continue
            ends = (str(run[0].start or ""), "" if run[-1] is calls[-1] else str(run[-1].stop))
            part = f"{name}[{':'.join(ends)}]" if any(ends) else name
            lines += [f"for block in {part}:", f"    {self._one('block', run[0])}"]
        return lines

    def _one(self, block: str, call: Call) -> str:
        x = list(call.inputs)
        if call.tied:
            first, *inner = self.network.table_of(call.tied)
            stage = self.network.stages[first]
            number = f"[{first.removeprefix(f'{stage}.')}]" if stage != first else ""
            home = f"self.{attribute(stage)}{number}"
            x.append(".".join([home, *map(attribute, inner), "weight"]))
        return f"{', '.join(call.outputs)} = {block}({', '.join(x)})"


# words ----------------------------------------------------------------------------------------------------------------


def _declared(name: str, made: Class) -> str:
    pair = any(isinstance(v, tuple) for v in made.parameters[name])
    default = f" = {made.defaults[name]!r}" if name in made.defaults else ""
    return f"{name}: {'tuple[int, int]' if pair else 'int'}{default}"


def _literal(values: dict[str, Size]) -> dict[str, str]:
    return {n: repr(v) for n, v in values.items()}


def _given(cls: Class, values: dict[str, str]) -> list[str]:
    """Return what is told to a class by name, without defaults."""
    return [f"{n}={v}" for n, v in values.items() if n not in cls.defaults or v != repr(cls.defaults[n])]


def _imports(text: str) -> str:
    words = names_in(text)
    lines = ["import math", ""] if "math" in words else []
    lines += ["import torch"] + ["import torch.nn.functional as F"] * ("F" in words)
    return "\n".join([*lines, "from torch import Tensor, nn"])
