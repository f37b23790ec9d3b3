"""A network ready to be written: its classes, and how its blocks follow each other, equal neighbours as one loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from roofline.arch.block import Block
from roofline.errors import GraphError, UnknownOpError
from roofline.export.classes import Class, Classes
from roofline.export.layers import Layer, Size
from roofline.export.recipes import Recipe
from roofline.export.spelling import attribute
from roofline.export.tree import Module
from roofline.graph.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Call:
    """Blocks that run one after the other in the same way.

    Attributes
    ----------
    cls
        Their class.
    modules
        The blocks.
    stage
        The stage that the blocks belong to: their name without the number, or the name of the only block.
    inputs, outputs
        Variables that they read and write.
    """

    cls: Class
    stage: str
    modules: tuple[Module, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def first(self) -> str:
        """The name of the first block."""
        return self.modules[0].name

    @property
    def loop(self) -> bool:
        """Whether there are several."""
        return len(self.modules) > 1

    @property
    def tied(self) -> Layer | None:
        """The layer of the block that multiplies by the table of an embedding, if it has one."""
        return tied_layer(self.modules[0])

    @property
    def start(self) -> int:
        """The number of the first block in its stage."""
        return int(self.first.removeprefix(f"{self.stage}.")) if self.stage != self.first else 0

    @property
    def stop(self) -> int:
        """The number behind that of the last block."""
        return self.start + len(self.modules)

    @property
    def arguments(self) -> dict[str, Size]:
        """What the blocks tell their class."""
        return self.cls.arguments(self.modules[0])

    @property
    def every(self) -> dict[str, Size]:
        """The same with defaults."""
        at = self.cls.modules.index(self.modules[0])
        return {name: values[at] for name, values in self.cls.parameters.items()}


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a writer writes."""

    name: str
    title: str
    root: Module
    entering: tuple[Tensor, ...]
    recipe: Recipe
    blocks: Mapping[str, Block] = field(default_factory=dict)
    about: str = "Return the network's output."

    @cached_property
    def classes(self) -> Classes:
        """The classes of its modules."""
        return Classes(self.root, block_names(self.blocks))

    def about_class(self, made: Class) -> tuple[str, str]:
        """Return one line on what a class is, as its block says it, and one on where it stands."""
        where = [m.path for m in made.modules]
        places = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
        block = self.blocks.get(where[0])
        about = (block.__doc__ or "").strip().partition("\n")[0] if block else ""
        return about, f"In {places}."

    @cached_property
    def stages(self) -> dict[str, str]:
        """The stage of each block: ``s1`` of ``s1.0``, ``s1.1`` ..., where these are numbered without a gap."""
        names = [step.name for step in self.root.steps]
        numbered: dict[str, list[str]] = {}
        for name in names:
            numbered.setdefault(name.rpartition(".")[0], []).append(name)
        whole = {s for s, found in numbered.items() if found == [f"{s}.{i}" for i in range(len(found))]}
        return {name: s if (s := name.rpartition(".")[0]) in whole else name for name in names}

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the inputs of the network are called."""
        return tuple(_variable(t.id) for t in self.entering)

    def table_of(self, tied: Layer) -> tuple[str, ...]:
        """Return where the embedding stands whose table an output layer multiplies by.

        Raises
        ------
        UnknownOpError
            There is none, or the layer stands inside of a block's parts.
        """
        sizes = (tied.sizes["out_channels"], tied.sizes["in_channels"])
        for layer in self.root.layers():
            if layer.kind == "embedding" and (layer.sizes["rows"], layer.sizes["out_channels"]) == sizes:
                return tuple(layer.op_id.split("/"))
        raise UnknownOpError(f"op {tied.op_id!r} (linear) cannot be exported: no embedding has the table it is tied to")

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Its blocks in order."""
        return tuple(_looped(list(self._calls())))

    @property
    def returned(self) -> str:
        """The variables that hold its outputs."""
        self._calls_made()
        return ", ".join(self._variables[t] for t in self.root.outputs)

    @cached_property
    def _variables(self) -> dict[str, str]:
        return {t.id: _variable(t.id) for t in self.entering}

    def _calls_made(self) -> None:
        _ = self.calls

    def _calls(self) -> Iterator[Call]:
        text = self._variables
        last = {t: at for at, step in enumerate(self.root.steps) for t in step.inputs}
        last |= dict.fromkeys(self.root.outputs, len(self.root.steps))
        holder: dict[str, str] = {name: t for t, name in text.items()}
        for at, step in enumerate(self.root.steps):
            if isinstance(step, Layer):
                raise GraphError(f"op {step.op_id!r} stands in no block: names of a network are stage/op")
            inputs = tuple(text[t] for t in step.inputs)
            free = [n for n in ("x", "y", "z", "u", "w") if n not in holder or last.get(holder[n], -1) <= at]
            outputs = tuple(free[: len(step.outputs)])
            for tensor, name in zip(step.outputs, outputs, strict=True):
                text[tensor], holder[name] = name, tensor
            stage = self.stages[step.name]
            yield Call(cls=self.classes.of(step), stage=stage, modules=(step,), inputs=inputs, outputs=outputs)


def block_names(blocks: Mapping[str, Block]) -> dict[str, str]:
    """Return what each block is called as a class: its kind, and the switches in which blocks of one kind differ.

    Parameters
    ----------
    blocks
        Path -> block.
    """
    kinds: dict[type[Block], list[Block]] = {}
    for block in blocks.values():
        kinds.setdefault(type(block), []).append(block)
    names = {}
    for path, block in blocks.items():
        switches = [f.name for f in fields(block) if f.name not in block.size_fields()]
        differing = [s for s in switches if len({getattr(b, s) for b in kinds[type(block)]}) > 1]
        words = (_word(s, getattr(block, s)) for s in differing)
        names[path] = type(block).__name__ + "".join(words)
    return names


def _word(switch: str, value: object) -> str:
    text = switch.removeprefix("with_") if value is True else value if isinstance(value, str) else ""
    return "".join(part.capitalize() for part in text.split("_") if part != "none")


def tied_layer(module: Module) -> Layer | None:
    """Return the layer of a block that has the table of an embedding as its weight, if there is one.

    Raises
    ------
    UnknownOpError
        It stands inside of a part of the block.
    """
    found = next((layer for layer in module.layers() if layer.switches.get("tied")), None)
    if found is not None and found not in module.steps:
        raise UnknownOpError(
            f"op {found.op_id!r} (linear) cannot be exported: a tied layer inside of a part of a block"
        )
    return found


def _variable(tensor: str) -> str:
    name = attribute(tensor.rpartition("/")[2])
    return {"image": "x"}.get(name, name)


def _looped(calls: list[Call]) -> Iterator[Call]:
    """Yield calls with neighbours joined that belong to one stage and differ in nothing."""
    at = 0
    while at < len(calls):
        first, modules = calls[at], [calls[at].modules[0]]
        for other in calls[at + 1 :]:
            same = (other.cls, other.inputs, other.outputs, other.every, other.stage) == (
                first.cls, first.inputs, first.outputs, first.every, first.stage,
            )  # fmt: skip
            if not same:
                break
            modules.append(other.modules[0])
        yield replace(first, modules=tuple(modules))
        at += len(modules)
