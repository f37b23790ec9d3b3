"""Requests to a language model as a value: prompts in, tokens out, and the steps that this takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from roofline.arch.build import MAX_BATCH
from roofline.arch.spec import MAX_POSITIONS
from roofline.errors import InputError
from roofline.numeric import Array, whole_number


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Requests that are alike, so many at a time.

    Attributes
    ----------
    prompt
        Tokens of each prompt that are to be computed.
    output_tokens
        Tokens of each answer; the first one comes out of the prompt's own step.
    batch
        Sequences at a time.
    prefix
        Tokens before each prompt whose keys and values are cached already.
    chunk
        Tokens of prompts that enter a step at most; None: all of them in one.

    Raises
    ------
    InputError
        A number is out of range.

    Examples
    --------
    >>> work = Workload(prompt=2048, output_tokens=512, batch=32)
    >>> work.decode_steps, work.kept
    (511, 2559)
    """

    prompt: int
    output_tokens: int
    batch: int = 1
    prefix: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no workload."""
        for name, most in (("prompt", MAX_POSITIONS), ("output_tokens", MAX_POSITIONS), ("batch", MAX_BATCH)):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, most=most))
        if self.prefix != 0 or isinstance(self.prefix, bool):
            object.__setattr__(self, "prefix", whole_number(self.prefix, "prefix", most=MAX_POSITIONS))
        if self.chunk is not None:
            object.__setattr__(self, "chunk", whole_number(self.chunk, "chunk", most=MAX_POSITIONS))

    @property
    def decode_steps(self) -> int:
        """Steps behind the prompt's: one for each token but the first."""
        return self.output_tokens - 1

    @property
    def kept(self) -> int:
        """Tokens of a sequence whose keys and values are kept in the end: all but the last one that came out."""
        return self.prefix + self.prompt + self.decode_steps

    @property
    def entering(self) -> tuple[int, int]:
        """Sequences and new tokens of the largest step that prompts enter in."""
        if self.chunk is None:
            return self.batch, self.prompt
        return max(1, min(self.batch, self.chunk // self.prompt)), min(self.prompt, self.chunk)

    def check(self, positions: int, model: str) -> None:
        """Raise InputError where a sequence grows beyond the positions of a network."""
        if self.kept + 1 > positions:
            parts = [f"{self.prefix:,} of the prefix"] * bool(self.prefix) + [f"{self.prompt:,} of the prompt"]
            said = " and ".join([*parts, f"{self.output_tokens:,} of the answer"])
            raise InputError(f"{said} are more tokens than the {positions:,} positions of {model!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRows:
    """Steps as columns, and how often each runs."""

    times: Array
    sequences: Array
    new: Array
    context: Array


def prompt_steps(work: Workload) -> StepRows:
    """Return the steps in which the prompts of a batch enter, one after the other where a step does not take them all.

    Examples
    --------
    >>> rows = prompt_steps(Workload(prompt=1000, output_tokens=1, batch=2, chunk=400))
    >>> rows.times.tolist(), rows.new.tolist(), rows.context.tolist()
    ([2.0, 2.0, 2.0], [400.0, 400.0, 200.0], [0.0, 400.0, 800.0])
    """
    at_once, most = work.entering
    if most < work.prompt:
        done = np.arange(0, work.prompt, most)
        rows = [(work.batch, 1, min(most, work.prompt - d), work.prefix + d) for d in done.tolist()]
    else:
        whole, rest = divmod(work.batch, at_once)
        rows = [(n, s, work.prompt, work.prefix) for n, s in ((whole, at_once), (1, rest)) if n and s]
    return _rows(rows)


def decode_nodes(work: Workload, most: int) -> StepRows:
    """Return decode steps that stand for all of an answer, at most so many: the sum of times x latency is that of all.

    A step in between counts for its two neighbours as linear interpolation would have it.
    """
    first, count = work.prefix + work.prompt, work.decode_steps
    if count < 1:
        return _rows([])
    nodes = np.unique(np.round(np.linspace(0.0, count - 1.0, min(count, most))))
    steps = np.arange(count, dtype=np.float64)
    after = np.clip(np.searchsorted(nodes, steps), 1, max(len(nodes) - 1, 1))
    times = np.zeros(len(nodes))
    if len(nodes) == 1:
        times[0] = count
    else:
        share = (steps - nodes[after - 1]) / (nodes[after] - nodes[after - 1])
        np.add.at(times, after, share)
        np.add.at(times, after - 1, 1.0 - share)
    return _rows([(t, work.batch, 1, first + n) for t, n in zip(times.tolist(), nodes.tolist(), strict=True)])


def _rows(rows: Sequence[tuple[float, float, float, float]]) -> StepRows:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return StepRows(**{f.name: column for f, column in zip(fields(StepRows), columns, strict=True)})
