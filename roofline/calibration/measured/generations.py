"""Whole generations: LLM-Inference-Bench's table, a fixed batch of prompts and the answers to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.arch.load import models
from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.types import LibraryCall, Measurement, Options
from roofline.engine.machine import Machine
from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import Workload, decode_nodes, prompt_steps
from roofline.errors import InputError, nearest
from roofline.names import key
from roofline.numeric import Array

#: decode steps that stand for all: half as many move no sum of the table by 0.01 %
NODES = 33
#: the benchmark's frameworks are of mid 2024
RUNTIMES = {"vLLM": "vllm-0.4", "TensorRT-LLM": "tensorrt_llm-0.10"}
#: words of a model's name on Hugging Face that say who made it, or how its files are laid out
EXTRA = re.compile(r"^meta-|-hf$|-v0\.\d$")


@dataclass(frozen=True, kw_only=True)
class GenerationCall(LibraryCall):
    """A batch of prompts that enter together, and all decode steps until the last token."""

    model: str
    dtype: str
    work: Workload

    @classmethod
    def times_s(cls, calls: Sequence[GenerationCall], machine: Machine) -> Array:
        """Return the time of each generation, from the prompts to the last token [s]."""
        found = np.empty(len(calls))
        for model in dict.fromkeys((c.model, c.dtype) for c in calls):
            oracle = StepOracle(model[0], machine.device, runtime=machine.runtime, dtype=model[1])
            for i, call in enumerate(calls):
                if (call.model, call.dtype) == model:
                    found[i] = call.time_s(oracle)
        return found

    def time_s(self, oracle: StepOracle) -> float:
        """Return the time by an oracle of the steps of its model [s]."""
        prompts, answers = prompt_steps(self.work), decode_nodes(self.work, NODES)
        return float(
            prompts.times @ oracle(prompts.sequences, prompts.new, prompts.context, phase="prefill")
            + answers.times @ oracle(answers.sequences, answers.new, answers.context, phase="decode")
        )


def model_named(text: str) -> str:
    """Return the model file that a name on Hugging Face means.

    Examples
    --------
    >>> model_named("meta-llama/Meta-Llama-3-8B"), model_named("meta-llama/Llama-2-7b-hf")
    ('llama-3-8b', 'llama-2-7b')

    Raises
    ------
    InputError
        There is none.
    """
    name = text.rpartition("/")[2].lower()
    for spelling in (name, EXTRA.sub("", EXTRA.sub("", name))):
        for model in models():
            if key(model) == key(spelling):
                return model
    raise InputError(f"model {text!r} is not known{nearest(name, models())}")


@measured_format(
    "llm-inference-bench",
    "LLM-Inference-Bench's table of generations",
    ("Hardware", "Num of Hardware", "Framework", "Model", "Input Output Length", "Batch Size", "Latency", "Throughput"),
)
def generations(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read a generation on one chip: as many tokens in as out; latency in s, tokens of both kinds per second."""
    chips, length, batch = cells.integers("Num of Hardware", "Input Output Length", "Batch Size")
    framework, latency_s = cells.text("Framework"), cells.number("Latency")
    if chips != 1:
        raise InputError(f"{chips} chips: one is predicted")
    if framework not in RUNTIMES:
        raise InputError(f"framework {framework!r} is none of {', '.join(map(repr, RUNTIMES))}")
    cells.agree("Latency", latency_s, batch * 2 * length / cells.number("Throughput"))
    model = model_named(cells.text("Model"))
    yield Measurement(
        row=cells.row,
        label=f"{model}: {batch} x {length} + {length} tokens",
        workload=GenerationCall(
            model=model, dtype="fp16", work=Workload(prompt=length, output_tokens=length, batch=batch)
        ),
        device=cells.device("Hardware"),
        runtime=RUNTIMES[framework],
        dtype="fp16",
        batch=batch,
        latency_s=latency_s,
        family=model,
    )
