"""What of a network a run is of: sizes, lengths and steps, each refused where it means nothing."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rf
from roofline.cli import main
from roofline.engine.asked import contexts, tokens
from roofline.errors import InputError


def test_contexts_are_numbers_with_shares() -> None:
    assert contexts(4096) == ((4096, 1.0),)
    assert contexts("1k:0.5,8k:0.5") == ((1024, 0.5), (8192, 0.5)) == contexts(((1024, 3), (8192, 3)))
    assert contexts("0") == ((0, 1.0),)
    assert tokens("2M", "context") == 2 * 1024 * 1024


@pytest.mark.parametrize("value", ["", "4q", "1k:", "1k:0", "1k:-1", "-1", -1, 2.5, (), ((1, 2, 3),), ((1, "x"),)])
def test_what_is_no_context_is_refused_in_a_line(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        rf.simulate("gpt2", "h100-sxm", phase="decode", context=value)
    assert "\n" not in str(caught.value) and "context" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("resnet-18", {"length": 128}, "length is for networks of tokens, and 'resnet-18' takes images"),
        ("resnet-18", {"phase": "decode"}, "phase is for decoders, and 'resnet-18' is none"),
        ("bert-base", {"prefix": 5}, "prefix is for decoders, and 'bert-base' is none"),
        ("bert-base", {"length": 0}, "length must be a whole number in 1..131072, got 0"),
        ("bert-base", {"length": 64, "image_size": 64}, "give length"),
        ("gpt2", {"phase": "decoed"}, "unknown phase 'decoed'; nearest: 'decode'"),
        ("gpt2", {"phase": "prefill", "context": 5}, "context is for phase 'decode' or 'mixed': .* prefix"),
        ("gpt2", {"context": 5}, "context is for phase"),
        ("gpt2", {"phase": "decode", "prefix": 5}, "prefix is for phase 'prefill' or 'mixed': .* context"),
        ("gpt2", {"phase": "decode", "decoding": 5}, "decoding is for phase 'mixed'"),
        ("gpt2", {"phase": "mixed"}, "give decoding, how many"),
        ("gpt2", {"phase": "decode", "mode": "training"}, "phase is for mode 'inference', not 'training'"),
    ],
)
def test_what_means_nothing_is_refused_in_a_line(model: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        rf.simulate(model, "h100-sxm", **options)
    assert "\n" not in str(caught.value)


def test_a_graph_has_no_other_step() -> None:
    with pytest.raises(InputError, match="phase is fixed in a graph: lower the network again"):
        rf.simulate(rf.op_graph("bert-base"), "h100-sxm", phase="decode")


def test_tokens_in_image_size_end_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    right = rf.simulate("bert-base", "h100-sxm", length=64)
    with pytest.warns(DeprecationWarning, match="give length") as told:
        found = rf.simulate("bert-base", "h100-sxm", image_size=64)
    assert len(told) == 1 and found.latency_s == right.latency_s and found.length == 64
    assert main(["simulate", "bert-base", "-d", "h100-sxm", "--image-size", "64"]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "give length" in error and error.count("\n") == 1


def test_a_network_of_tokens_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = rf.simulate("bert-base", "h100-sxm", length=64, batch=8)
    assert run.tokens == 8 * 64 and run.tokens_per_s == run.tokens / run.latency_s
    assert main(["simulate", "bert-base", "-d", "h100-sxm", "-l", "64", "-b", "8"]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert "64 tokens" in head and "nhwc" not in head and "px" not in head
    image = rf.simulate("resnet-18", "h100-sxm")
    assert image.tokens is None and image.tokens_per_s is None and "examples/s" in str(image)
