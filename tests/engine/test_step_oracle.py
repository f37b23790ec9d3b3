"""The oracle of steps says what `simulate` says of each step, whatever was asked before."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rf
from roofline.arch.step import Phase
from roofline.engine.step_columns import layers_of
from roofline.engine.step_oracle import PAGE
from roofline.errors import InputError

SETTINGS = [("llama-3-8b", "h100-sxm", "pytorch_compile"), ("llama-2-7b", "tpu-v7x", "xla_tpu")]
#: sequences, new tokens, context: also on both sides of the end of a page, and a mean that is no whole number
STEPS = [(1, 1, 1), (32, 1, PAGE - 1), (32, 1, PAGE), (7, 1, 1000.5), (3, 200, 0), (1, 17, 300), (5, 1, 4000)]


@pytest.mark.parametrize(("model", "device", "runtime"), SETTINGS)
def test_it_equals_simulate(model: str, device: str, runtime: str) -> None:
    oracle = rf.StepOracle(model, device, runtime=runtime)
    found = oracle(*np.array(STEPS).T)
    for (batch, new, context), seconds in zip(STEPS, found.tolist(), strict=True):
        step: dict[str, object] = {"length": new, "prefix": int(context)}
        if new == 1:
            step = {"phase": "decode", "context": ((int(context), 0.5), (int(context + 0.5), 0.5))}
            if context == int(context):
                step["context"] = int(context)
        alone = rf.simulate(model, device, runtime=runtime, batch=batch, **step)  # type: ignore[arg-type]
        if context != int(context):  # the mean of 1000 and 1001, or what that rounds to
            assert alone.step is not None
            assert alone.step.context == 1000.5
        assert seconds == pytest.approx(alone.latency_s, rel=1e-9)


def test_it_equals_simulate_of_mixed_steps() -> None:
    oracle = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="pytorch_compile")
    seconds = oracle([1, 2], [512, 64], [0, 100], decoding=[30, 3], decoding_contexts=[700, 9])
    for batch, new, prefix, decoding, context, found in zip(
        [1, 2], [512, 64], [0, 100], [30, 3], [700, 9], seconds.tolist(), strict=True
    ):
        alone = rf.simulate(
            "llama-3-8b",
            "h100-sxm",
            runtime="pytorch_compile",
            phase="mixed",
            batch=batch,
            length=new,
            prefix=prefix,
            decoding=decoding,
            context=context,
        )
        assert found == pytest.approx(alone.latency_s, rel=1e-9)


def test_what_was_asked_before_changes_nothing() -> None:
    first = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="pytorch_compile")
    random = np.random.default_rng(0)
    batch, context = random.integers(1, 9, 50), random.integers(1, 3000, 50)
    together = first(batch, 1, context)
    second = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="pytorch_compile")
    apart = [float(second(int(n), 1, int(c))) for n, c in zip(batch, context, strict=True)]
    assert together.tolist() == apart
    assert first(batch, 1, context).tolist() == apart
    assert first(batch.reshape(5, 10), 1, context.reshape(5, 10)).shape == (5, 10)


def test_more_kept_or_more_sequences_never_take_less() -> None:
    oracle = rf.StepOracle("llama-3-8b", "a100-80gb", runtime="pytorch_compile")
    contexts = np.arange(1, 8000, 37)
    along = oracle(16, 1, contexts)
    assert (np.diff(along) >= -1e-12).all()
    assert along[-1] > along[0]
    assert oracle(64, 1, 4000) > oracle(16, 1, 4000) > oracle(1, 1, 4000)


@pytest.mark.parametrize("phase", ["prefill", "decode", "mixed"])
def test_layers_that_are_alike_are_costed_once(phase: Phase) -> None:
    """The first of 32 layers embeds the tokens, the head keeps nothing: one layer's attention stands for all."""
    oracle = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="pytorch_compile")
    layers = layers_of(oracle.arch, phase, oracle.setting.policy)
    assert [layer.times for layer in layers] == [1, 31, 1]
    assert len(layers[0].moving) == len(layers[1].moving)
    assert sum(len(layer.moving) * layer.times for layer in layers) == sum(n for la in layers for _, n in la.costed)
    assert 32 in dict(layers[0].costed).values()
    assert not layers[-1].moving


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"batch": 0}, "batch must be whole numbers of at least 1, got 0.0"),
        ({"batch": 1, "new_tokens": 1.5}, "new_tokens must be whole numbers of at least 1, got 1.5"),
        ({"batch": 1, "contexts": float("nan")}, "contexts must be numbers of at least 0, got nan"),
        ({"batch": 1, "contexts": 8192}, "a step of 8,193 tokens is beyond the 8,192 positions of 'llama-3-8b'"),
        ({"batch": 1, "decoding": 1, "decoding_contexts": 8192}, "beyond the 8,192 positions"),
        ({"batch": [1, 2], "contexts": [1, 2, 3]}, "columns of a step differ in length"),
    ],
)
def test_a_step_that_cannot_be_is_one_line(step: dict[str, float], message: str) -> None:
    oracle = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="pytorch_compile")
    with pytest.raises(InputError, match=message):
        oracle(**step)  # type: ignore[arg-type]


def test_other_networks_have_no_steps() -> None:
    with pytest.raises(InputError, match="'resnet-50' is no decoder"):
        rf.StepOracle("resnet-50", "v100")
    with pytest.raises(InputError, match="batch is said with each step"):
        rf.StepOracle("llama-3-8b", "h100-sxm", batch=4)
