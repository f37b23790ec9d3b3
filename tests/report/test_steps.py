"""Reports of one step of a decoder: memory and counts by hand, words without images, what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import roofline as rf
from roofline.errors import InputError
from roofline.report.summary import heading, summary_rows
from roofline.serve.schemas import Simulation
from roofline.serve.service import Service

LAYERS, KV_HEADS, HEAD = 32, 8, 128  # of Llama 3 8B
TOKEN_BYTES = LAYERS * 2 * KV_HEADS * HEAD * 2  # keys and values of a token in bf16: 128 KiB
PARAMS = 8_030_261_248


def test_weights_cache_and_activations_of_a_decode_by_hand() -> None:
    run = rf.simulate(
        "llama-3-8b", "h100-sxm", runtime="tensorrt", dtype="bf16", phase="decode", batch=32, context=4096
    )
    assert run.memory_bytes["weights"] == 2 * PARAMS
    assert run.memory_bytes["cache"] == run.cache_bytes == 32 * (4096 + 1) * TOKEN_BYTES
    widest = 32 * 128256 * 2  # the scores of the vocabulary
    assert widest <= run.memory_bytes["activations"] < 1.2 * widest
    assert run.tokens == 32 and run.tokens_per_s == run.throughput_per_s == 32 / run.latency_s
    assert run.bound == "memory" and run.context == 4096 and run.phase == "decode"
    read_bytes = 2 * (PARAMS - 128256 * 4096) + run.cache_bytes  # of the embedding only the rows of 32 tokens
    assert run.traffic_bytes == pytest.approx(read_bytes, rel=0.02)


def test_a_prefill_leaves_its_tokens_in_the_cache() -> None:
    whole = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", length=1024)
    rest = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", length=256, prefix=768)
    assert whole.cache_bytes == rest.cache_bytes == 1024 * TOKEN_BYTES
    assert whole.tokens == 1024 and rest.tokens == 256
    assert 0.2 * whole.latency_s < rest.latency_s < 0.5 * whole.latency_s  # a quarter of the products, more attention


def test_a_mixed_step_costs_more_than_either_and_less_than_both() -> None:
    shared: dict[str, Any] = {"runtime": "tensorrt", "dtype": "bf16"}
    prompt = rf.simulate("llama-3-8b", "h100-sxm", length=512, **shared)
    decode = rf.simulate("llama-3-8b", "h100-sxm", phase="decode", batch=32, context=2000, **shared)
    both = rf.simulate("llama-3-8b", "h100-sxm", phase="mixed", length=512, decoding=32, context=2000, **shared)
    assert max(prompt.latency_s, decode.latency_s) < both.latency_s < prompt.latency_s + decode.latency_s
    assert both.tokens == 512 + 32 and both.decoding == 32
    assert both.cache_bytes == (512 + 32 * 2001) * TOKEN_BYTES


def test_shares_of_contexts_keep_their_mean() -> None:
    both = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", phase="decode", batch=32, context="1k:0.5,3k:0.5")
    mean = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", phase="decode", batch=32, context=2048)
    assert both.latency_s == mean.latency_s and both.cache_bytes == mean.cache_bytes


def test_it_is_told_in_words_of_language_models() -> None:
    decode = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", phase="decode", batch=32, context=4096)
    prompt = rf.simulate("llama-3-8b", "h100-sxm", runtime="tensorrt", length=512, prefix=100, batch=2)
    assert heading(decode).endswith("batch 32, 1 core, decode, context 4,096")
    assert heading(prompt).endswith("batch 2, 1 core, prefill of 512 tokens, 100 cached")
    assert "nhwc" not in heading(decode) and "px" not in heading(decode)
    rows = {name: value for name, value, _ in summary_rows(decode)}
    assert rows["Weights"] == "15.0 GiB" and rows["Cache"] == "16.0 GiB"  # 2 x 8.03e9 B; 32 x 4097 x 128 KiB
    assert "tokens/s" in str(decode) and decode.to_dict()["context"] == 4096


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"phase": "decode", "context": 8192},
            "8,192 kept and 1 new tokens are beyond the 8,192 positions of 'llama-3-8b'",
        ),
        ({"phase": "decode", "context": "1k:0.5,9k:0.5"}, "9,216 kept and 1 new"),
        ({"length": 8193}, "8,193 tokens are beyond the 8,192 positions"),
        ({"length": 8000, "prefix": 200}, "200 kept and 8,000 new"),
        ({"phase": "mixed", "decoding": 4, "context": 8192, "length": 8}, "8,192 kept and 1 new"),
    ],
)
def test_tokens_beyond_the_positions_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        rf.simulate("llama-3-8b", "h100-sxm", **options)  # type: ignore[arg-type]


def test_an_engine_takes_time_for_each_sequence() -> None:
    plain = rf.runtime("tensorrt", "gpu")
    engine = replace(plain, sequence_s=1e-5)
    one, slow = (
        rf.simulate("llama-3-8b", "h100-sxm", runtime=runtime, phase="decode", batch=32, context=1000)
        for runtime in (plain, engine)
    )
    assert slow.latency_s == pytest.approx(one.latency_s + 32 * 1e-5, rel=1e-12)
    oracle = rf.StepOracle("llama-3-8b", "h100-sxm", runtime=engine)
    assert oracle(32, 1, 1000) == pytest.approx(slow.latency_s, rel=1e-12)
    bert, same = (rf.simulate("bert-base", "h100-sxm", runtime=runtime) for runtime in (plain, engine))
    assert bert.latency_s == same.latency_s, "an encoder has no steps"


@pytest.mark.parametrize("context", [1536, "1k:1,2k:1"])
def test_the_service_takes_steps(context: int | str) -> None:
    options: dict[str, Any] = {"runtime": "tensorrt", "phase": "decode", "batch": 4}
    asked = Simulation(device="h100-sxm", model="llama-3-8b", **options | {"context": context})
    run = rf.simulate("llama-3-8b", "h100-sxm", context=1536, **options)
    found = Service().simulate(asked)
    assert found["latency_ms"] == run.latency_ms and found["context"] == 1536 and found["tokens"] == 4


def test_a_step_is_held_against_the_memory_that_its_engine_uses() -> None:
    """A batch that is between 90 % and all of the memory does not fit under vLLM, and the table says of how much."""
    report = rf.simulate("llama-3-8b", "h100-sxm", runtime="vllm", phase="decode", context=8000, batch=57)
    assert 0.9 * report.memory_capacity_bytes < report.peak_memory_bytes < report.memory_capacity_bytes
    rows = {name: remark for name, _, remark in summary_rows(report)}
    assert rows["Peak memory"] == "of 67.1 GiB, 90.0 % of all: DOES NOT FIT"
