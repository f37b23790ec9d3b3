"""Whole generations: how rows are read, few decode steps for all of them, and how far off predictions are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from places import MEASUREMENTS

from roofline.calibration.measured import load
from roofline.calibration.measured.generations import GenerationCall
from roofline.calibration.validate import validate
from roofline.engine.step_oracle import StepOracle
from roofline.engine.workload import Workload

HEADER = "Hardware,Num of Hardware,Framework,Model,Input Output Length,Batch Size,Latency,Throughput"
GOOD = "Nvidia A100 GPU,1,vLLM,meta-llama/Meta-Llama-3-8B,128,16,2.0,2048"
GENERATIONS = MEASUREMENTS / "llm" / "a100_generation.csv"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "generation.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_is_prompts_and_answers(tmp_path: Path) -> None:
    (found,) = load(written(tmp_path, GOOD)).measurements
    assert isinstance(found.workload, GenerationCall)
    assert found.workload.work == Workload(prompt=128, output_tokens=128, batch=16)
    assert (found.workload.model, found.device, found.runtime) == ("llama-3-8b", "a100-40gb", "vllm-0.4")
    assert found.latency_s == 2.0


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("GPU,1,", "GPU,4,", "4 chips: one is predicted"),
        ("vLLM", "llama.cpp", "framework 'llama.cpp' is none of 'vLLM', 'TensorRT-LLM'"),
        ("Meta-Llama-3-8B", "Meta-Llama-3-9B", "model 'meta-llama/Meta-Llama-3-9B' is not known; nearest"),
        (",2048", ",1024", "mixed units"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    found = load(written(tmp_path, GOOD, GOOD.replace(old, new)))
    assert len(found.measurements) == 1
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize(("runtime", "batch", "length"), [("vllm-0.4", 16, 700), ("tensorrt_llm-0.10", 1, 130)])
def test_few_decode_steps_stand_for_all(runtime: str, batch: int, length: int) -> None:
    oracle = StepOracle("llama-2-7b", "a100-40gb", runtime=runtime, dtype="fp16")
    work = Workload(prompt=length, output_tokens=length, batch=batch)
    every = oracle(batch, 1, np.arange(length, 2 * length - 1), phase="decode")  # the prompt's step writes the first
    whole = float(oracle(batch, length, 0)) + every.sum()
    assert len(every) == length - 1
    assert GenerationCall(model="llama-2-7b", dtype="fp16", work=work).time_s(oracle) == pytest.approx(whole, rel=1e-4)


@pytest.mark.skipif(not GENERATIONS.is_file(), reason="needs the shared measurements")
def test_generations_are_predicted() -> None:
    found = {c.runtime: c.agreement() for c in validate([GENERATIONS]).comparisons}
    assert {name: one.count for name, one in found.items()} == {"tensorrt_llm-0.10": 33, "vllm-0.4": 33}
    assert found["tensorrt_llm-0.10"].median < 0.05
    assert found["vllm-0.4"].median < 0.05
    assert all(one.tau > 0.95 and one.within_20 == 1.0 for one in found.values())
