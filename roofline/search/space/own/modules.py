"""Search spaces whose stages are made of somebody's own blocks, and the networks that are in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, RooflineError, SpecError
from roofline.graph.opgraph import OpGraph
from roofline.numeric import whole_number
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Value
from roofline.search.space.own.blocks import Flow, Lowered, asked, lower, make
from roofline.search.space.own.fragment import Fragment, fragment, joined
from roofline.search.space.own.stages import ModuleStage, content_of


@dataclass(frozen=True, kw_only=True)
class Part:
    """A block at its place in a network: its stage, label, number in the stage, and arguments."""

    stage: str
    block: str
    index: int
    arguments: tuple[tuple[str, Value], ...]

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"stage {self.stage!r}, block {self.block!r}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleSpace(BaseSpace):
    """A set of networks of somebody's own blocks, one behind the other.

    Attributes
    ----------
    input
        Shape of one example.
    dtype
        Of the input: ``"float32"``, or ``"int64"`` for tokens.
    origin
        What opens it in another process, and the word that names it: ``module:space``, or a file.
    """

    stages: tuple[ModuleStage, ...]
    input: tuple[int, ...]
    dtype: str = "float32"
    origin: tuple[Callable[[str], Any], str] | None = None

    @cached_property
    def genes_of_stages(self) -> tuple[tuple[int, ...], ...]:
        """For each stage the genes that change it."""
        return tuple(tuple(i for i, c in enumerate(self.choices) if s.name in c.stages) for s in self.stages)

    def stage_fields(self, stage: int, options: Sequence[int]) -> dict[str, Value]:
        """Return ``block``, ``repeats`` and the arguments of a stage for the options of the genes that it hears."""
        one = self.stages[stage]
        found: dict[str, Value] = {"block": next(iter(one.blocks)), "repeats": one.repeats[0]}
        found |= {name: values[0] for name, values in one.arguments.items()}
        for gene, option in zip(self.genes_of_stages[stage], options, strict=True):
            found |= {field: value for name, field, value in self.choices[gene].changes[option] if name == one.name}
        return found

    def decode(self, genome: Any, *, name: str | None = None) -> Network:
        """Return the network of one genome.

        Raises
        ------
        InputError
            The genome is out of range, or not a network of the space.
        """
        options, parts = self.options(genome), []
        for i, genes in enumerate(self.genes_of_stages):
            fields = self.stage_fields(i, [options[g] for g in genes])
            block, repeats = str(fields.pop("block")), int(fields.pop("repeats"))
            given = tuple(fields.items())
            parts += [
                Part(stage=self.stages[i].name, block=block, index=index, arguments=given) for index in range(repeats)
            ]
        return Network(
            name=name or f"{self.name}-{self.text(options)}",
            space=self,
            parts=tuple(parts),
            choices=self.mapping(options),
        )

    def flow(self, batch: int) -> Flow:
        """Return what enters a network."""
        return Flow(shape=(whole_number(batch, "batch", most=1 << 20), *self.input), dtype=self.dtype)

    def made(self, part: Part, shape: tuple[int, ...]) -> Any:
        """Return a block as its callable makes it for examples of a shape.

        Raises
        ------
        InputError
            The callable raises; the message says what.
        """
        stage = next(s for s in self.stages if s.name == part.stage)
        try:
            return make(stage.blocks[part.block], dict(part.arguments), shape, part.index)
        except RooflineError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.where(part)} cannot be made for {shape!r}: {type(error).__name__}: {error}"
            ) from error

    def where(self, part: Part) -> str:
        """Return how messages call a block."""
        return f"space {self.name!r}: {part}"

    @cached_property
    def _lowered(self) -> dict[Any, Lowered]:
        return {}

    def lowered(self, part: Part, flow: Flow) -> Lowered:
        """Return a block lowered for what flows into it; it is made and lowered once.

        Raises
        ------
        InputError, UnknownOpError
            It cannot be made or lowered, or what flows in does not fit it.
        """
        stage = next(s for s in self.stages if s.name == part.stage)
        block = stage.blocks[part.block]
        wants = asked(block, tuple(name for name, _ in part.arguments))
        given = tuple((name, value) for name, value in part.arguments if name in wants)
        key = id(block), given, part.index if "index" in wants else 0, flow
        if key not in self._lowered:
            self._lowered[key] = lower(self.made(part, flow.shape[1:]), flow, self.where(part))
        return self._lowered[key]

    def __reduce__(self) -> Any:
        """Pickle a space by where it is from: callables travel by name."""
        if self.origin is None:
            raise InputError(
                f"space {self.name!r} cannot travel to other processes: name it 'module:space', or as a file"
            )
        opened, word = self.origin
        return opened, (word,)

    def encode(self, mapping: Any) -> NDArray[np.int8]:
        """Return the genome of a mapping choice name -> value, or of a network of the space; see `BaseSpace.encode`."""
        return super().encode(mapping.choices if isinstance(mapping, Network) else mapping)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the space's content, the programs of its blocks among it."""
        content = {
            "name": self.name,
            "input": [list(self.input), self.dtype],
            "stages": [
                (s.name, {label: content_of(b) for label, b in s.blocks.items()}, s.repeats, dict(s.arguments))
                for s in self.stages
            ],
            "choices": [(c.name, c.values, c.changes) for c in self.choices],
            "forbidden": [dict(f) for f in self.forbidden],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network of a `ModuleSpace`.

    Attributes
    ----------
    parts
        Its blocks, in order.
    choices
        Choice -> value.
    """

    name: str
    space: ModuleSpace
    parts: tuple[Part, ...]
    choices: Mapping[str, Value]

    def blocks(self) -> Iterator[tuple[Part, Any]]:
        """Yield each block, made anew, in order."""
        flow = self.space.flow(1)
        for part in self.parts:
            yield part, self.space.made(part, flow.shape[1:])
            flow = self.space.lowered(part, flow).left

    def to_torch(self) -> Any:
        """Return the network as a `torch.nn.Sequential` of new modules.

        Raises
        ------
        InputError
            A block is no PyTorch module.
        """
        import torch

        made = []
        for part, block in self.blocks():
            if not isinstance(block, torch.nn.Module):
                raise InputError(f"{self.space.where(part)} is no torch.nn.Module but {type(block).__name__!r}")
            made.append(block)
        return torch.nn.Sequential(*made)

    def graph(self, batch: int = 1) -> OpGraph:
        """Return the whole network as one op graph, which `rf.simulate` accepts.

        Raises
        ------
        InputError
            There is no block, or one does not fit what flows into it.
        """
        flow, chain = self.space.flow(batch), None
        for part in self.parts:
            block = self.space.lowered(part, flow)
            chain = block.fragment if chain is None else after(chain, block.fragment)
            flow = block.left
        if chain is None or not chain.computes:
            raise InputError(f"{self.name!r} is no network: none of its blocks computes anything")
        return chain.graph([None], self.name)

    def __repr__(self) -> str:
        """Return the network in one line."""
        return f"Network({self.name!r}, {len(self.parts)} blocks)"


def after(chain: Fragment, block: Fragment) -> Fragment:
    """Return a chain with a block behind it."""
    ops, tensors, out = joined(chain, block)
    return fragment(ops, tensors, [f"a{t}" for t in chain.inputs], [out])


def module_space(
    name: str,
    stages: Sequence[ModuleStage],
    *,
    input: Sequence[int],
    dtype: str = "float32",
    title: str | None = None,
    forbidden: Sequence[Mapping[str, Sequence[Value]]] = (),
) -> ModuleSpace:
    """Return a search space over somebody's own blocks; see `module_stage`.

    Parameters
    ----------
    input, dtype
        Of one example: ``(3, 224, 224)``, or ``(128,)`` and ``"int64"`` for tokens.
    forbidden
        Combinations that are no networks: each maps choice names to the values that may not meet.

    Raises
    ------
    SpecError
        The space is empty, or a name is used twice.

    Examples
    --------
    >>> import torch
    >>> from roofline.search.space.own.stages import module_stage
    >>> def wide(shape, width):
    ...     return torch.nn.Linear(shape[-1], width)
    >>> space = module_space("wide", [module_stage("s", wide, width=[8, 16])], input=(4,))
    >>> space.names, space.size
    (('s_width',), 2)
    """
    if len({stage.name for stage in stages}) != len(stages):
        raise SpecError(f"space {name!r}: stage names are not unique")
    sizes = tuple(whole_number(d, f"space {name!r}: a dimension of the input", most=1 << 24) for d in input)
    choices = [choice for stage in stages for choice in stage.choices()]
    if stages and not choices:
        raise SpecError(f"space {name!r} chooses nothing: each of its stages has one block, one number, one argument")
    return ModuleSpace(
        name=name,
        title=title or name,
        choices=tuple(choices),
        forbidden=tuple({n: tuple(v) for n, v in combination.items()} for combination in forbidden),
        stages=tuple(stages),
        input=sizes,
        dtype=dtype,
    )
