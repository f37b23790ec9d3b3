"""Continuous batching in closed form: so many requests in flight, each that ends followed by the next.

A step gives every decoding sequence a token, and may take a chunk of one prompt along. While a prompt enters, the other
B - 1 requests in flight decode; else all B do. A request needs `chunks` steps for its prompt and `decode_steps` tokens
behind the first, and all requests are alike, so for each that ends there are

    chunks mixed steps, and (decode_steps - chunks (B - 1)) / B without a prompt.

Where that would be less than none, every step is mixed, decode_steps / chunks sequences decode, and the others wait.
Little's law says how long each request takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import Workload
from roofline.numeric import Array


@dataclass(frozen=True, kw_only=True)
class Steady:
    """A steady stream of requests.

    Attributes
    ----------
    concurrency
        Requests in flight.
    mixed_share
        Share of the steps that take a part of a prompt along.
    ttft_s, tpot_s
        From a request's arrival to its first token, waiting included; per token behind it.
    requests_per_s
        Requests that end in a second.
    output_tokens
        Tokens of an answer.
    """

    concurrency: int
    mixed_share: float
    ttft_s: float
    tpot_s: float | None
    requests_per_s: float
    output_tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Tokens that all requests together write in a second."""
        return self.requests_per_s * self.output_tokens

    @property
    def latency_s(self) -> float:
        """From a request's arrival to its last token."""
        return self.concurrency / self.requests_per_s


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """One workload's stream on a core: the steps of a prompt as (new tokens, tokens before them).

    Each of the `cores` that have requests runs a stream of its own, of `batch` requests.
    """

    work: Workload
    batch: int
    cores: int
    chunks: tuple[tuple[float, float], ...]

    @property
    def full(self) -> bool:
        """Whether every step takes a part of a prompt along."""
        return len(self.chunks) * (self.batch - 1) >= self.work.decode_steps

    @property
    def beside(self) -> tuple[int, int]:
        """Sequences that decode beside a prompt: the whole numbers around their mean."""
        mean = self.work.decode_steps / len(self.chunks) if self.full else self.batch - 1.0
        return math.floor(mean), math.ceil(mean)

    @property
    def kept(self) -> float:
        """What a decoding sequence keeps on average."""
        return self.work.prefix + self.work.prompt + max(self.work.decode_steps - 1, 0) / 2.0

    def rows(self) -> list[tuple[float, ...]]:
        """Return the mixed steps: prompts, new tokens, those before them, decoding sequences, what these keep."""
        return [
            (self.cores, *chunk, n * self.cores, self.kept if n else 0.0) for n in self.beside for chunk in self.chunks
        ]

    def found(self, mixed_s: Array, plain_s: float) -> Steady:
        """Return the stream whose mixed steps take so long, and those without a prompt."""
        work, steps, count = self.work, self.work.decode_steps, len(self.chunks)
        low, high = self.beside
        share = steps / count - low if self.full and high > low else 0.0
        prompt_s = float((1.0 - share) * mixed_s[:count].sum() + share * mixed_s[count:].sum())
        plain = 0.0 if self.full else (steps - count * (self.batch - 1.0)) / self.batch
        request_s = prompt_s + plain * plain_s
        step_s = request_s / (count + plain)
        if not steps:
            ttft_s, tpot_s = self.batch * request_s, None
        elif self.full:
            ttft_s, tpot_s = self.batch * request_s - steps * step_s, step_s
        else:
            ttft_s, tpot_s = prompt_s, (self.batch * request_s - prompt_s) / steps
        return Steady(
            concurrency=work.batch,
            mixed_share=count / (count + plain),
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            requests_per_s=work.batch / self.batch / request_s,
            output_tokens=work.output_tokens,
        )


def steady_of(oracle: StepOracle, works: Sequence[Workload]) -> list[Steady]:
    """Return the steady stream of each workload, with its batch as the number of requests in flight."""
    streams = [_stream(work, oracle.setting.cores) for work in works]
    prompts, new, context, beside, kept = np.array([row for stream in streams for row in stream.rows()]).T
    mixed_s = oracle(prompts, new, context, decoding=beside, decoding_contexts=kept, remember=False)
    plain_s = oracle([s.batch * s.cores for s in streams], 1, [s.kept for s in streams], phase="decode", remember=False)
    ends = np.cumsum([len(stream.rows()) for stream in streams])
    parts = np.split(mixed_s, ends[:-1])
    return [stream.found(part, plain) for stream, part, plain in zip(streams, parts, plain_s.tolist(), strict=True)]


def _stream(work: Workload, cores: int) -> _Stream:
    most = min(work.prompt, work.chunk or work.prompt)
    chunks = tuple((min(most, work.prompt - done), work.prefix + done) for done in range(0, work.prompt, most))
    batch = math.ceil(work.batch / cores)
    return _Stream(work=work, batch=batch, cores=math.ceil(work.batch / batch), chunks=chunks)
