"""Answers to requests as numbers: the times of their phases, what bounds these, and what is held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from roofline.engine.setting import Setting
from roofline.engine.workload import Workload
from roofline.report.report import Report
from roofline.report.room import Room
from roofline.report.run import Request, simulate_many
from roofline.report.steady import Steady


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers to requests that are alike, a batch of them from first to last token, and in a steady stream.

    Attributes
    ----------
    work
        The requests.
    setting
        On what and how it runs.
    prompt_request, decode_request
        The last of the steps that prompts enter in, and the decode step in the middle of the answer.
    prompt_s, decode_s
        All steps of the prompts; all decode steps of the answers.
    room
        What it holds in memory, and what else would fit.
    steady
        The same number of requests in flight all the time, each that ends followed by the next one.
    """

    work: Workload
    model: str
    setting: Setting
    prompt_request: Request
    decode_request: Request
    prompt_s: float
    decode_s: float
    room: Room
    steady: Steady

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.setting.device.name

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.setting.runtime.name

    @property
    def dtype(self) -> str:
        """Name of the precision."""
        return self.setting.policy.precision.name

    @property
    def format(self) -> str | None:
        """Name of the number format; None where everything has the precision."""
        found = self.setting.policy.format
        return None if found is None else found.name

    @cached_property
    def prompt_run(self) -> Report:
        """Report of the last of the steps that prompts enter in."""
        return simulate_many([self.prompt_request])[0]

    @cached_property
    def decode_run(self) -> Report | None:
        """Report of the decode step in the middle of the answer; None where that is a single token."""
        return simulate_many([self.decode_request])[0] if self.work.decode_steps else None

    @property
    def ttft_s(self) -> float:
        """Time to first token: until every sequence of the batch has one."""
        return self.prompt_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token behind the first, on average over the answer."""
        return self.decode_s / self.work.decode_steps if self.work.decode_steps else None

    @property
    def latency_s(self) -> float:
        """Request latency: from the prompts to the last token of the batch."""
        return self.prompt_s + self.decode_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens written per second by the whole batch."""
        return self.work.batch * self.work.output_tokens / self.latency_s

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens written per second by the whole batch, once all prompts are in."""
        return None if self.tpot_s is None else self.work.batch / self.tpot_s

    @cached_property
    def expected_s(self) -> dict[str, tuple[float, float]]:
        """Where measurements of each phase are expected: its time by the interval of the step that stands for it."""
        found = {}
        for name, run, time_s in (
            ("prefill", self.prompt_run, self.prompt_s),
            ("decode", self.decode_run, self.decode_s),
        ):
            if run is not None:
                ends = run.interval.low_s, run.interval.high_s
                found[name] = (time_s * ends[0] / run.latency_s, time_s * ends[1] / run.latency_s)
        return found

    @property
    def bounds(self) -> dict[str, str]:
        """What each phase is bound by."""
        decode = {} if self.decode_run is None else {"decode": self.decode_run.bound}
        return {"prefill": self.prompt_run.bound} | decode

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know before trusting the numbers."""
        return self.room.warnings
