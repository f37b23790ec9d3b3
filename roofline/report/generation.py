"""What it takes to answer requests with a language model: the steps of prompts and answers, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from roofline.arch.spec import Arch
from roofline.engine.options import RunOptions
from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import StepRows, Workload, decode_nodes, prompt_steps
from roofline.errors import DoesNotFitError, InputError
from roofline.files import json_head
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.report.answers import Answers
from roofline.report.generation_text import as_dict, notebook_html
from roofline.report.room import rooms_of
from roofline.report.run import Request, request_of
from roofline.report.steady import steady_of

#: decode steps that stand for those of an answer, evenly spaced: what lies between is close to linear
NODES = 65
#: options that a workload says
SAID = ("length", "phase", "context", "decoding", "image_size", "mode", "optimizer", "recompute")


@dataclass(frozen=True, kw_only=True, eq=False)
class Generation(Answers):
    """The result of `generate`: the numbers of `Answers`, and how they are shown."""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        return json_head() | as_dict(self)

    def __str__(self) -> str:
        work, numbers = self.work, self.format or self.dtype
        tpot = "" if self.tpot_s is None else f"{self.tpot_s * 1e3:.2f} ms per token, "
        return (
            f"{self.model} on {self.device} ({self.runtime}, {numbers}, batch {work.batch}, {work.prompt:,} + "
            f"{work.output_tokens:,} tokens): first token {self.ttft_s * 1e3:.1f} ms, {tpot}"
            f"{self.tokens_per_s:,.0f} tokens/s"
        )

    def __repr__(self) -> str:
        return f"<Generation: {self}>"

    def _repr_html_(self) -> str:
        return notebook_html(self)


def generate(
    model: str | Path | Arch,
    device: str | Path | Device,
    work: Workload | None = None,
    *,
    prompt: int | None = None,
    output_tokens: int | None = None,
    chunk: int | None = None,
    **options: Unpack[RunOptions],
) -> Generation:
    """Predict how long a language model takes to answer, how many tokens it writes per second, and what fits.

    Parameters
    ----------
    model
        A decoder: name, file or `Arch`.
    device
        Name, file or spec.
    work
        The requests; else prompt, output_tokens, chunk, and of the options batch and prefix say them: see `Workload`.
    **options
        As `simulate`, but for what a workload says.

    Returns
    -------
    Generation
        Time to first token, time per output token, tokens per second, memory, and what bounds each phase.

    Raises
    ------
    UnknownNameError
        No such model, device, runtime or dtype.
    InputError
        The model is no decoder, a number is out of range, or a sequence grows beyond its positions.
    DoesNotFitError
        With ``strict=True``, weights, activations and cache need more memory than there is; the largest batch that does
        not is named.

    Examples
    --------
    >>> found = generate("llama-3-8b", "h100-sxm", prompt=2048, output_tokens=512, batch=32)
    >>> found.bounds
    {'prefill': 'matrix', 'decode': 'memory'}
    """
    given: dict[str, Any] = {"prompt": prompt, "output_tokens": output_tokens, "chunk": chunk}
    given |= {"batch": options.pop("batch", None), "prefix": options.pop("prefix", None)}
    said = {name: value for name, value in given.items() if value is not None}
    if work is None:
        if prompt is None or output_tokens is None:
            raise InputError("give prompt and output_tokens, or a Workload")
        work = Workload(**said)
    elif said:
        raise InputError(f"a Workload says {next(iter(said))}: give one or the other")
    return generate_many(model, device, [work], **options)[0]


def generate_many(
    model: str | Path | Arch,
    device: str | Path | Device,
    works: Sequence[Workload],
    **options: Unpack[RunOptions],
) -> list[Generation]:
    """Return the answers to several kinds of requests; arguments and errors as `generate`."""
    for name in SAID:
        if options.get(name) not in (None, False, "inference"):
            raise InputError(f"{name} is for single runs: a workload says which steps there are")
    strict = bool(options.pop("strict", False))
    oracle = StepOracle(model, device, **options)
    for work in works:
        work.check(oracle.arch.positions, oracle.arch.name)
    prompts = [prompt_steps(work) for work in works]
    answers = [decode_nodes(work, NODES) for work in works]
    prompt_s = _sums_s(oracle, prompts, "prefill")
    decode_s = _sums_s(oracle, answers, "decode")
    rooms = rooms_of(oracle, works)
    if strict and (full := [room for room in rooms if not room.fits]):
        raise DoesNotFitError(full[0].warnings[0])
    steady = steady_of(oracle, works)
    return [
        Generation(
            work=work,
            model=oracle.arch.name,
            setting=oracle.setting,
            prompt_request=_prompt_request(work, {"model": model, "device": device, **options}),
            decode_request=_decode_request(work, {"model": model, "device": device, **options}),
            prompt_s=float(prompt_s[i]),
            decode_s=float(decode_s[i]),
            room=rooms[i],
            steady=steady[i],
        )
        for i, work in enumerate(works)
    ]


def _sums_s(oracle: StepOracle, rows: Sequence[StepRows], phase: Any) -> Array:
    """Return the time of the steps of each workload, all of them costed together."""
    counts = [len(r.times) for r in rows]
    if not sum(counts):
        return np.zeros(len(rows))
    columns = (np.concatenate([getattr(r, name) for r in rows]) for name in ("times", "sequences", "new", "context"))
    times, sequences, new, context = columns
    latency_s = oracle(sequences, new, context, phase=phase, remember=False)
    return np.asarray(np.bincount(np.repeat(np.arange(len(rows)), counts), times * latency_s, minlength=len(rows)))


def _prompt_request(work: Workload, shared: Mapping[str, Any]) -> Request:
    rows = prompt_steps(work)
    step = {"batch": int(rows.sequences[-1]), "length": int(rows.new[-1]), "prefix": int(rows.context[-1])}
    return request_of(**{**shared, **step})


def _decode_request(work: Workload, shared: Mapping[str, Any]) -> Request:
    middle = work.prefix + work.prompt + max(work.decode_steps - 1, 0) // 2
    step = {"phase": "decode", "batch": work.batch, "context": middle, "prefix": None}
    return request_of(**{**shared, **step})
