"""From an architecture to its blocks, and to one whole op graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from roofline.arch import load
from roofline.arch.block import Block, Port, Ports, out_ports
from roofline.arch.spec import Arch
from roofline.dtypes import DTYPES
from roofline.errors import RooflineError
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.numeric import whole_number

#: a batch beyond it is a typing mistake; sizes stay exact in float64
MAX_BATCH = 1 << 20
#: channels of an image
RGB = 3


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A block at its place in a network."""

    name: str
    stage: str
    block: Block
    inputs: Ports
    outputs: Ports


def input_port(arch: Arch, batch: int) -> Port:
    """Return what enters the network: images (N, S, S, 3), or token ids (N, T).

    Raises
    ------
    InputError
        The batch is not a whole number in 1..1048576.
    """
    batch, size = whole_number(batch, "batch", most=MAX_BATCH), arch.image_size
    if arch.input == "tokens":
        return Port(shape=(batch, size), dtype=DTYPES["int32"], data=True)
    return Port(shape=(batch, size, size, RGB), data=True)


@lru_cache(maxsize=512, typed=True)
def instances(arch: Arch, batch: int) -> tuple[Instance, ...]:
    """Return the network's blocks in execution order, with the shapes that flow between them.

    Raises
    ------
    InputError
        The batch is out of range.
    RooflineError
        A block does not fit its input; a note names the block.
    """
    found: list[Instance] = []
    ports: Ports = (input_port(arch, batch),)
    for stage in arch.stages:
        for index in range(stage.repeats):
            name = stage.name if stage.repeats == 1 else f"{stage.name}.{index}"
            try:
                block = stage.make(index, ports)
                outputs = out_ports(block, ports)
            except RooflineError as error:
                error.add_note(f"in block {name!r} of {arch.name!r} at input size {arch.image_size}")
                raise
            found.append(Instance(name=name, stage=stage.name, block=block, inputs=ports, outputs=outputs))
            ports = outputs
    return tuple(found)


@lru_cache(maxsize=32, typed=True)
def build_graph(arch: Arch, batch: int = 1) -> OpGraph:
    """Return the whole network as one op graph, in fp32 and before any pass."""
    b = GraphBuilder(arch.name)
    port = input_port(arch, batch)
    tensors: tuple[Tensor, ...] = (b.input("tokens" if arch.input == "tokens" else "image", port.shape, port.dtype),)
    for instance in instances(arch, batch):
        with b.scope(instance.name):
            tensors = instance.block.build(b, *tensors)
    return b.graph(list(tensors))


def op_graph(model: str | Path | Arch, *, batch: int = 1, image_size: int | None = None) -> OpGraph:
    """Return a network by name, file or value as one op graph.

    Raises
    ------
    UnknownNameError
        No such network.
    InputError
        Batch or image size is out of range.

    Examples
    --------
    >>> op_graph("efficientnet-b0").params
    5288548.0
    """
    arch = load.model(model).with_input_size(image_size, "image size")
    return build_graph(arch, whole_number(batch, "batch", most=MAX_BATCH))
