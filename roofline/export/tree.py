"""The modules of a network, read from the names of its ops: ``s1.0/se/reduce`` stands in module ``se`` of ``s1.0``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from roofline.export.layers import Layer
from roofline.export.order import channels_first
from roofline.export.rules import layers_of
from roofline.graph.opgraph import OpGraph


@dataclass(eq=False)
class Module:
    """Layers and modules in the order in which they run.

    Attributes
    ----------
    name, path
        Its own name, and with those around it (``s1.0/se``); the network itself has none.
    inputs, outputs
        Computed tensors that enter and leave, by id.
    """

    name: str
    path: str
    steps: list[Layer | Module] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def layers(self) -> Iterator[Layer]:
        """Yield every layer inside, in order."""
        for step in self.steps:
            if isinstance(step, Module):
                yield from step.layers()
            else:
                yield step

    def modules(self) -> Iterator[Module]:
        """Yield every module inside, inner ones first, and then itself."""
        for step in self.steps:
            if isinstance(step, Module):
                yield from step.modules()
        yield self


def module_tree(graph: OpGraph, *, first: bool = False) -> Module:
    """Return a network as nested modules; `first` says whether its images have their channels first.

    Raises
    ------
    UnknownOpError
        An op is no layer that can be written.
    """
    root = Module(name="", path="")
    for layer in channels_first(graph, layers_of(graph)) if first else layers_of(graph):
        module = root
        for name in layer.op_id.split("/")[:-1]:
            module = _inside(module, name)
        module.steps.append(layer)
    _connect(root, set(graph.outputs))
    root.inputs = tuple(t.id for t in graph.tensors.values() if t.role == "input")
    root.outputs = graph.outputs
    return root


def _inside(module: Module, name: str) -> Module:
    """Return the module of that name that is being written, or a new one."""
    last = module.steps[-1] if module.steps else None
    if isinstance(last, Module) and last.name == name:
        return last
    taken = {step.name for step in module.steps if isinstance(step, Module)}
    if name in taken:  # ops of others stand between: a second module
        name = next(f"{name}_{n}" for n in range(2, len(taken) + 3) if f"{name}_{n}" not in taken)
    made = Module(name=name, path=f"{module.path}/{name}" if module.path else name)
    module.steps.append(made)
    return made


def _connect(module: Module, wanted: set[str]) -> None:
    """Find out which tensors enter and leave each module; `wanted` are those that are read outside of this one."""
    read = [set(reads(step)) for step in module.steps]
    for i, step in enumerate(module.steps):
        if isinstance(step, Module):
            made = {t for layer in step.layers() for t in layer.outputs}
            later = wanted.union(*read[i + 1 :])
            step.inputs = tuple(dict.fromkeys(t for layer in step.layers() for t in layer.inputs if t not in made))
            step.outputs = tuple(t for layer in step.layers() for t in layer.outputs if t in later)
            _connect(step, later)


def reads(step: Layer | Module) -> Iterator[str]:
    """Yield the computed tensors that a layer, or anything inside a module, reads."""
    for layer in step.layers() if isinstance(step, Module) else (step,):
        yield from layer.inputs
