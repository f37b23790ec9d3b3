"""Decoders at two doors: the transformers library's modules, and files of the same configurations, step by step.

The networks are as wide as published ones and a few layers deep. Modules are on the meta device: nothing is computed.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from language_configs import CONFIGS
from torch_networks import import_torchvision

import roofline as rf
from roofline.arch.spec import Arch
from roofline.report.report import Report

torch: Any = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks

#: whose numbers a network has, and how many layers
DEPTHS = {"llama-3-8b": 2, "qwen3-8b": 2, "mixtral-8x7b": 2, "gemma-3-27b": 6, "minimax-m2": 2}
#: relative; what a module launches beside: counters of a cache, masks of windows, products with weights in fp32
CLOSE = 0.03


@lru_cache(maxsize=1)
def library() -> Any:
    import_torchvision()
    return importlib.import_module("transformers")


@lru_cache(maxsize=16)
def module(name: str, layers: int, **more: Any) -> tuple[Any, Any]:
    cls, keys = CONFIGS[name]
    config = getattr(library(), cls)(**{**keys, "num_hidden_layers": layers, **more})
    with torch.device("meta"):
        return config, library().AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def file_of(config: Any, folder: Path) -> Arch:
    config.save_pretrained(folder)
    return rf.from_huggingface(folder)


def ran(network: Any, **options: Any) -> Report:
    return rf.simulate(network, "h100-sxm", runtime="pytorch_compile", dtype="bf16", **options)


def lowered(made: Any, tokens: tuple[int, int], **kwargs: Any) -> rf.OpGraph:
    ids = torch.zeros(tokens, dtype=torch.long)
    return rf.from_torch(made, (ids,), kwargs={"use_cache": True, **kwargs})


@pytest.mark.parametrize("name", DEPTHS)
def test_prefill(name: str, tmp_path: Path) -> None:
    config, made = module(name, DEPTHS[name])
    theirs = ran(lowered(made, (2, 1024), logits_to_keep=1))
    ours = ran(file_of(config, tmp_path), batch=2, length=1024)
    assert theirs.params == ours.params and theirs.macs == ours.macs
    assert theirs.cache_bytes == ours.cache_bytes
    assert theirs.latency_s == pytest.approx(ours.latency_s, rel=CLOSE)


@pytest.mark.parametrize("name", DEPTHS)
def test_decoding_with_a_static_cache(name: str, tmp_path: Path) -> None:
    config, made = module(name, DEPTHS[name])
    batch, context = 8, 2047
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = library().StaticCache(config=config, max_cache_len=context + 1)
    cache.early_initialization(
        batch_size=batch, num_heads=config.num_key_value_heads, head_dim=size, dtype=torch.bfloat16, device="meta"
    )
    theirs = ran(lowered(made, (batch, 1), past_key_values=cache))
    ours = ran(file_of(config, tmp_path), batch=batch, phase="decode", context=context)
    assert theirs.params == ours.params and theirs.macs == pytest.approx(ours.macs, rel=1e-12)
    assert theirs.cache_bytes == pytest.approx(ours.cache_bytes, abs=64 * DEPTHS[name]), "and counters"
    assert theirs.latency_s == pytest.approx(ours.latency_s, rel=CLOSE)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-8b"])
def test_decoding_with_a_growing_cache(name: str, tmp_path: Path) -> None:
    """The module copies its cache to make it longer: with a short one the copy is small."""
    config, made = module(name, DEPTHS[name])
    batch, context, heads = 8, 255, config.num_key_value_heads
    size = config.hidden_size // config.num_attention_heads

    def filled() -> Any:
        return torch.empty(batch, heads, context, size, dtype=torch.bfloat16, device="meta")

    cache = library().DynamicCache([(filled(), filled()) for _ in range(DEPTHS[name])])
    theirs = ran(lowered(made, (batch, 1), past_key_values=cache))
    ours = ran(file_of(config, tmp_path), batch=batch, phase="decode", context=context)
    assert theirs.params == ours.params and theirs.macs == ours.macs
    token = DEPTHS[name] * 2 * batch * heads * size * 2  # the new one lies beside what was handed in
    assert theirs.cache_bytes == ours.cache_bytes - token
    assert theirs.latency_s == pytest.approx(ours.latency_s, rel=CLOSE)


def test_latent_attention_in_prefill(tmp_path: Path) -> None:
    """The library keeps the same rows; in decoding it expands them, where engines and files absorb."""
    config, made = module("deepseek-v3", 4, n_routed_experts=32)
    theirs = ran(lowered(made, (2, 1024), logits_to_keep=1))
    ours = ran(file_of(config, tmp_path), batch=2, length=1024)
    assert theirs.params == ours.params and theirs.macs == ours.macs
    assert theirs.cache_bytes == ours.cache_bytes == 4 * 2 * 1024 * 576 * 2
    assert theirs.latency_s == pytest.approx(ours.latency_s, rel=CLOSE)


def test_sinks_are_counted_where_the_library_writes_attention_out(tmp_path: Path) -> None:
    """The library has no fused attention with them: multiply-adds and parameters agree, the time does not."""
    config, made = module("gpt-oss-20b", 2)
    theirs = ran(lowered(made, (2, 256), logits_to_keep=1))
    ours = ran(file_of(config, tmp_path), batch=2, length=256)
    assert theirs.params == ours.params and theirs.macs == ours.macs


def test_a_plain_module_scores_every_position(tmp_path: Path) -> None:
    """Unless it is asked for the last one, as files are."""
    config, made = module("llama-3-8b", 2)
    every, last = lowered(made, (2, 128)), lowered(made, (2, 128), logits_to_keep=1)
    assert every.macs - last.macs == 2 * 127 * config.hidden_size * config.vocab_size


def test_how_many_experts_a_token_takes_is_found_in_the_program() -> None:
    _, made = module("mixtral-8x7b", 2)
    graph = lowered(made, (2, 16))
    assert [op.top_k for op in graph.ops.values() if isinstance(op, rf.graph.ops.GroupedMatMul)] == [2] * 4
