"""Answers to requests: sums of single steps, memory by hand, and streams beside a queue that is played through."""

from __future__ import annotations

import json
from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import roofline as rf
from roofline.cli import main
from roofline.engine.workload import Workload, decode_nodes, prompt_steps
from roofline.errors import DoesNotFitError, InputError

MODEL, DEVICE, RUNTIME = "llama-3-8b", "h100-sxm", "tensorrt"
TOKEN_BYTES = 32 * 2 * 8 * 128 * 2  # layers, keys and values, heads, channels, bf16
WEIGHT_BYTES = 2 * 8_030_261_248


def generate(**options: Any) -> rf.Generation:
    return rf.generate(MODEL, DEVICE, runtime=RUNTIME, dtype="bf16", **options)


def step(**options: Any) -> rf.Report:
    return rf.simulate(MODEL, DEVICE, runtime=RUNTIME, dtype="bf16", **options)


def test_the_first_token_is_a_prefill_and_the_others_are_decode_steps() -> None:
    found = generate(prompt=300, output_tokens=6, batch=3)
    assert found.ttft_s == pytest.approx(step(length=300, batch=3).latency_s, rel=1e-9)
    steps = [step(phase="decode", batch=3, context=300 + i).latency_s for i in range(5)]
    assert found.tpot_s == pytest.approx(sum(steps) / 5, rel=1e-9)
    assert found.latency_s == found.ttft_s + found.decode_s
    assert found.tokens_per_s == pytest.approx(3 * 6 / found.latency_s)
    single = generate(prompt=300, output_tokens=1)
    assert single.tpot_s is None and single.decode_run is None and single.decode_s == 0


@pytest.mark.parametrize(
    ("model", "device", "runtime"),
    [
        (MODEL, DEVICE, RUNTIME),
        ("gemma-3-1b", "h100-sxm", "vllm"),  # windows of 512 tokens fill up on the way
        ("qwen3-30b-a3b", "h200", "tensorrt_llm"),  # experts
        ("llama-3.2-1b", "tpu-v6e", "jax_serving"),  # pages of the cache
    ],
)
def test_few_steps_stand_for_all_of_a_long_answer(model: str, device: str, runtime: str) -> None:
    found = rf.generate(model, device, runtime=runtime, prompt=77, output_tokens=2000, batch=16)
    oracle = rf.StepOracle(model, device, runtime=runtime)
    all_s = float(oracle(16, 1, np.arange(77, 77 + 1999), phase="decode").sum())
    assert found.decode_s == pytest.approx(all_s, rel=1e-3)


@pytest.mark.parametrize(("count", "most"), [(1, 5), (2, 5), (5, 5), (6, 5), (100, 7), (1999, 65)])
def test_nodes_add_up_to_what_is_linear(count: int, most: int) -> None:
    work = Workload(prompt=10, output_tokens=count + 1, prefix=3)
    rows = decode_nodes(work, most)
    assert len(rows.times) <= most and rows.times.sum() == pytest.approx(count)
    assert rows.times @ rows.context == pytest.approx(sum(range(13, 13 + count)))


def test_prompts_in_chunks_enter_all_their_tokens() -> None:
    for work in (
        Workload(prompt=1000, output_tokens=2, batch=3, chunk=300),
        Workload(prompt=100, output_tokens=2, batch=7, chunk=300),
        Workload(prompt=100, output_tokens=2, batch=7),
    ):
        rows = prompt_steps(work)
        assert rows.times @ (rows.sequences * rows.new) == work.batch * work.prompt
        assert (rows.sequences * rows.new).max() <= (work.chunk or work.batch * work.prompt)
    whole, cut = generate(prompt=2048, output_tokens=2), generate(prompt=2048, output_tokens=2, chunk=512)
    assert whole.ttft_s < cut.ttft_s < 2 * whole.ttft_s
    assert cut.room.activation_bytes < whole.room.activation_bytes


def test_memory_and_what_fits_by_hand() -> None:
    found = generate(prompt=2048, output_tokens=512, batch=32)
    room = found.room
    assert room.weight_bytes == WEIGHT_BYTES and room.cache_bytes == 32 * (2048 + 511) * TOKEN_BYTES
    assert room.activation_bytes == step(length=2048, batch=32).memory_bytes["activations"]
    each = 2559 * TOKEN_BYTES + room.activation_bytes / 32
    assert room.largest_batch == int((80e9 - WEIGHT_BYTES) // each)
    assert generate(prompt=2048, output_tokens=512, batch=room.largest_batch).room.fits
    more = generate(prompt=2048, output_tokens=512, batch=room.largest_batch + 1)
    assert not more.room.fits and more.warnings[0].endswith(f"the largest batch that does is {room.largest_batch}")
    long = generate(prompt=2048, output_tokens=512, batch=64, chunk=512).room
    assert long.longest_context == int((80e9 - WEIGHT_BYTES - long.activation_bytes) // (64 * TOKEN_BYTES))


def test_what_does_not_fit_is_refused_where_asked() -> None:
    with pytest.raises(DoesNotFitError, match="the largest batch that does is 121"):
        generate(prompt=2048, output_tokens=512, batch=500, strict=True)
    with pytest.raises(DoesNotFitError, match=r"does not fit, the largest batch that does is \d+$") as told:
        step(phase="decode", batch=400, context=4096, strict=True)
    largest = int(str(told.value).split()[-1])
    assert step(phase="decode", batch=largest, context=4096).fits
    assert not step(phase="decode", batch=largest + 1, context=4096).fits
    assert "no batch does" in rf.generate("llama-3-70b", "h100-sxm", prompt=8, output_tokens=8).warnings[0]


def played(work: Workload, requests: int) -> tuple[float, float, float]:
    """Return requests per second, mean time to first token and mean time per token of a queue, step by step."""
    oracle = rf.StepOracle(MODEL, DEVICE, runtime=RUNTIME, dtype="bf16")
    cost_s = lru_cache(None)(lambda *sizes, **more: float(oracle(*sizes, **more)))
    most = min(work.prompt, work.chunk or work.prompt)
    waiting = deque([0.0] * work.batch)  # arrivals
    entering: tuple[float, int] | None = None
    running: list[list[float]] = []  # arrival, first token, tokens left
    now, done = 0.0, list[tuple[float, float, float]]()
    while len(done) < requests:
        if entering is None and waiting:
            entering = (waiting.popleft(), 0)
        kept = sum(work.prompt + work.decode_steps - left for *_, left in running) / max(len(running), 1)
        kept = round(kept / 32) * 32  # steps that are alike are asked for once
        if entering is None:
            now += cost_s(len(running), 1, kept, phase="decode")
        else:
            new = min(most, work.prompt - entering[1])
            now += cost_s(1, new, entering[1], decoding=len(running), decoding_contexts=kept)
        for sequence in running:
            sequence[2] -= 1
        ended = [s for s in running if s[2] <= 0]
        running = [s for s in running if s[2] > 0]
        done += [(arrived, first, now) for arrived, first, _ in ended]
        waiting.extend([now] * len(ended))
        if entering is not None:
            entering = (entering[0], entering[1] + new)
            if entering[1] == work.prompt:
                running.append([entering[0], now, float(work.decode_steps)])
                entering = None
    late = done[len(done) // 2 :]
    arrived, first, end = np.array(late).T
    rounds = len(late) // work.batch - 1  # requests come in bunches as they did first
    rate = rounds * work.batch / (end[rounds * work.batch] - end[0])
    return rate, float((first - arrived).mean()), float(((end - first) / work.decode_steps).mean())


@pytest.mark.parametrize(
    "work",
    [
        Workload(prompt=512, output_tokens=33, batch=4),
        Workload(prompt=512, output_tokens=65, batch=8, chunk=256),
        Workload(prompt=1024, output_tokens=9, batch=8, chunk=256),  # every step takes a chunk along
    ],
)
def test_a_stream_is_what_a_queue_comes_to(work: Workload) -> None:
    steady = generate(prompt=work.prompt, output_tokens=work.output_tokens, batch=work.batch, chunk=work.chunk).steady
    rate, ttft_s, tpot_s = played(work, 20 * work.batch)
    assert steady.requests_per_s == pytest.approx(rate, rel=0.05)
    assert steady.tpot_s == pytest.approx(tpot_s, rel=0.05)
    assert steady.ttft_s == pytest.approx(ttft_s, rel=0.15)
    assert steady.latency_s == pytest.approx(steady.ttft_s + work.decode_steps * (steady.tpot_s or 0.0), rel=1e-9)


def test_one_request_at_a_time_is_its_own_stream() -> None:
    found = generate(prompt=512, output_tokens=65)
    assert found.steady.latency_s == pytest.approx(found.latency_s, rel=1e-3)
    assert found.steady.ttft_s == pytest.approx(found.ttft_s, rel=1e-9)


def test_cores_run_streams_of_their_own() -> None:
    chip = rf.device("tpu-v7x")
    assert chip.cores == 2
    both, one = (rf.generate("llama-3.2-3b", chip, prompt=512, output_tokens=64, batch=n, cores=n // 4) for n in (8, 4))
    assert both.steady.requests_per_s == pytest.approx(2 * one.steady.requests_per_s)
    assert both.steady.ttft_s == pytest.approx(one.steady.ttft_s)
    assert both.steady.latency_s == pytest.approx(one.steady.latency_s)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": 0, "output_tokens": 5}, "prompt must be a whole number in 1.*, got 0"),
        ({"prompt": 5, "output_tokens": 0}, "output_tokens must be a whole number in 1.*, got 0"),
        ({"prompt": 5}, "give prompt and output_tokens, or a Workload"),
        ({"prompt": 5, "output_tokens": 5, "prefix": -1}, "prefix must be a whole number"),
        ({"prompt": 5, "output_tokens": 5, "chunk": 0}, "chunk must be a whole number"),
        ({"prompt": 8000, "output_tokens": 500}, "8,000 of the prompt and 500 of the answer are more tokens than"),
        ({"prompt": 5, "output_tokens": 5, "phase": "decode"}, "phase is for single runs"),
        ({"prompt": 5, "output_tokens": 5, "batch": 0}, "batch must be a whole number"),
        ({"work": Workload(prompt=5, output_tokens=5), "batch": 3}, "a Workload says batch"),
    ],
)
def test_what_is_no_workload_is_refused_in_a_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as told:
        generate(**options)
    assert "\n" not in str(told.value)


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = f"simulate {MODEL} -d {DEVICE} -r {RUNTIME} --prompt 2048 --output-tokens 512 -b 32".split()
    assert main(words) == 0
    shown = capsys.readouterr().out
    for said in (
        "Time to first token",
        "Time per output token",
        "Weights",
        "15.0 GiB",
        "Largest batch",
        "Prefill bound",
    ):
        assert said in shown
    assert main([*words, "-f", "json"]) == 0
    found, wanted = json.loads(capsys.readouterr().out), generate(prompt=2048, output_tokens=512, batch=32)
    assert found["ttft_s"] == wanted.ttft_s and found["memory"]["largest_batch"] == wanted.room.largest_batch
    assert main([*words, "-f", "csv"]) == 0
    assert "steady_tokens_per_s" in capsys.readouterr().out
    assert main(["simulate", MODEL, "-d", DEVICE, "--prompt", "5"]) == 2
    assert "--output-tokens is missing" in capsys.readouterr().err
