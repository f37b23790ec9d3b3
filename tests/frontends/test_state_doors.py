"""Caches and buffers that programs write, at three doors: state, in memory once, as counted by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_networks import import_torchvision

import roofline as rf
from roofline.report.report import Report

torch: Any = pytest.importorskip("torch")
F = torch.nn.functional
ROWS, C = 4096, 256
BUFFER = 4 * ROWS * C


def run(graph: rf.OpGraph) -> Report:
    return rf.simulate(graph, "v100", dtype="fp32")


class Writes(torch.nn.Module):  # type: ignore[misc]
    """A module that writes into its buffer and computes something else."""

    def __init__(self, write: Callable[..., Any]) -> None:
        super().__init__()
        self.register_buffer("held", torch.zeros(ROWS, C, device="meta"))
        self.write = write

    def forward(self, x: Any) -> Any:
        self.write(self.held, x)
        return x + 1


ROW_IDS = torch.arange(8)


@pytest.mark.parametrize(
    "write",
    [
        lambda k, x: k.add_(1),
        lambda k, x: k.copy_(x[:1].expand(ROWS, C)),
        lambda k, x: k.zero_(),
        lambda k, x: k.__setitem__(slice(0, 8), x),
        lambda k, x: k[:8].mul_(2),
        lambda k, x: k.view(-1)[5:9].fill_(0),
        lambda k, x: k.t()[:, :8].copy_(x.t()),
        lambda k, x: k.index_copy_(0, ROW_IDS, x),
        lambda k, x: k.__setitem__(ROW_IDS, x),
        lambda k, x: k.scatter_(0, torch.zeros(8, C, dtype=torch.long), x),
        lambda k, x: torch.add(k, 1, out=k),
        lambda k, x: (k.mul_(0.9), k.add_(0.1), k[:8].copy_(x)),
    ],
)
def test_a_buffer_that_is_written_is_there_once(write: Callable[..., Any]) -> None:
    """Whatever is written, and how often: the peak is the buffer, what enters, what is returned, and indices."""
    graph = rf.from_torch(Writes(write), (torch.rand(8, C),))
    report = run(graph)
    assert graph.tensors["held"].role == "state" and report.cache_bytes == BUFFER
    enters_and_leaves = 2 * 4 * 8 * C
    assert BUFFER < report.peak_memory_bytes <= BUFFER + enters_and_leaves + 8 * 8 * C
    assert report.params == 0


def test_a_buffer_that_is_only_read_is_no_state() -> None:
    graph = rf.from_torch(Writes(lambda k, x: x.add_(k[:8])), (torch.rand(8, C),))
    assert graph.tensors["held"].role == "buffer" and run(graph).cache_bytes == 0


def test_an_activation_in_place_is_one_buffer() -> None:
    """8 x 4096 results of the first product, over which the activation writes: never two of them."""
    first, second = torch.nn.Linear(64, 4096, bias=False), torch.nn.Linear(4096, 64, bias=False)
    for in_place, copies in ((True, 1), (False, 2)):
        module = torch.nn.Sequential(first, torch.nn.ReLU(inplace=in_place), second)
        activations = run(rf.from_torch(module, (torch.rand(8, 64),))).memory_bytes["activations"]
        assert activations == 4 * 8 * (copies * 4096 + (64 if in_place else 0))


def test_a_weight_that_is_masked_at_every_call_stays_a_weight() -> None:
    class Masked(torch.nn.Conv2d):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            self.weight.data *= x.sum()
            return super().forward(x)

    report = run(rf.from_torch(Masked(3, 4, 3, bias=False), (1, 3, 8, 8)))
    assert report.weight_bytes == 4 * 4 * 3 * 9 and report.cache_bytes == 0
    assert report.memory_bytes["activations"] == 4 * (3 * 8 * 8 + 4 * 6 * 6), "no second copy of the weights"


def test_caches_of_the_transformers_library() -> None:
    """A decoding step: 2 layers, keys and values of 4 examples, 2 heads and 64 tokens of 16 numbers, bf16."""
    pytest.importorskip("transformers")
    import_torchvision()
    transformers: Any = importlib.import_module("transformers")
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, dtype="bfloat16",
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    each = 4 * 2 * 16 * 2  # bytes of a token in one cache

    def filled(tokens: int) -> Any:
        return torch.empty(4, 2, tokens, 16, dtype=torch.bfloat16, device="meta")

    static = transformers.StaticCache(config=config, max_cache_len=64)
    static.early_initialization(batch_size=4, num_heads=2, head_dim=16, dtype=torch.bfloat16, device="meta")
    growing = transformers.DynamicCache([(filled(63), filled(63)) for _ in range(2)])
    for cache, tokens in ((static, 64), (growing, 63)):
        ids = torch.zeros(4, 1, dtype=torch.long)
        graph = rf.from_torch(model, (ids,), kwargs={"past_key_values": cache, "use_cache": True})
        report = rf.simulate(graph, "h100-sxm", dtype="bf16")
        weights = 2 * sum(p.numel() for p in model.parameters())
        assert report.weight_bytes == pytest.approx(weights, rel=0.01), "and the frequencies of the rotary embedding"
        assert report.cache_bytes == pytest.approx(2 * 2 * each * tokens, abs=64), "and counters of what is filled"
        assert report.batch == 4
    activations = report.memory_bytes["activations"]
    assert each * 64 < activations < 2 * each * 64, "one concatenation at a time: what it has read is let go"


def test_a_cache_given_to_a_function() -> None:
    def step(x: Any, keys: Any, position: Any) -> Any:
        keys.index_copy_(1, position, x)
        return F.scaled_dot_product_attention(x, keys, keys)

    given = (torch.rand(8, 1, 64), torch.rand(8, 100, 64), torch.tensor([3]))
    graph = rf.from_torch(step, given)
    assert graph.tensors["keys"].role == "cache" and graph.examples == 8
    assert run(graph).cache_bytes == 4 * 8 * 100 * 64
    assert run(graph.with_batch(16)).cache_bytes == 4 * 16 * 100 * 64


@pytest.mark.parametrize("longer", [True, False])
def test_a_cache_in_jax(longer: bool) -> None:
    jax = pytest.importorskip("jax")

    def step(x: Any, keys: Any) -> Any:
        keys = jax.numpy.concatenate([keys, x], 1) if longer else jax.lax.dynamic_update_slice(keys, x, (0, 3, 0))
        return jax.nn.softmax(x @ keys.swapaxes(1, 2)) @ keys, keys

    graph = rf.from_jax(step, np.ones((8, 1, 64), np.float32), np.ones((8, 100, 64), np.float32))
    state = [t for t in graph.tensors.values() if t.role == "cache"]
    assert [t.shape for t in state] == [(8, 100, 64)]
    peak = run(graph).peak_memory_bytes - 4 * 8 * 100 * 64
    assert peak > 4 * 8 * 101 * 64 if longer else peak < 4 * 8 * 64 * 8


def test_a_cache_of_flax() -> None:
    """Its keys and values, in place; what counts the filled ones is state."""
    jax, nnx = pytest.importorskip("jax"), pytest.importorskip("flax.nnx")
    layer = nnx.MultiHeadAttention(num_heads=4, in_features=64, decode=True, rngs=nnx.Rngs(0))
    layer.init_cache((8, 32, 64))
    graph = rf.from_jax(layer, jax.numpy.ones((8, 1, 64)))
    roles = {t.id: t.role for t in graph.tensors.values() if t.kept}
    assert roles == {"cache_index": "state", "cached_key": "cache", "cached_value": "cache"}
    assert run(graph).cache_bytes == 2 * 4 * 8 * 32 * 64 + 4
    assert run(graph.with_batch(16)).cache_bytes == 2 * 4 * 16 * 32 * 64 + 4


def test_a_cache_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx_files import model, node, write

    nodes = [
        node("Concat", "past x", "present", axis=1), node("Transpose", "present", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "s"), node("Softmax", "s", "p"), node("MatMul", "p present", "y"),
    ]  # fmt: skip
    made = model(nodes, {"x": (8, 1, 64), "past": (8, 100, 64)}, outputs="y present")
    graph = rf.from_onnx(write(made, tmp_path))
    assert graph.tensors["past"].role == "cache" and graph.inputs == ("x",)
    assert run(graph).cache_bytes == 4 * 8 * 100 * 64
