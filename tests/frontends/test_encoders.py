"""Encoders of transformers: attention stays one op, with masks, relative biases and keys of another length."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from torch_networks import import_torchvision

import roofline as rf
from roofline.graph.ops import Attention

torch: Any = pytest.importorskip("torch")
pytest.importorskip("transformers")

B, T, D, HEADS, MLP, LAYERS, WORDS, PATCHES = 2, 384, 768, 12, 3072, 2, 1000, 196
SIZES = {"hidden_size": D, "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
T5 = {"vocab_size": WORDS, "d_model": D, "d_kv": 64, "d_ff": MLP, "num_layers": LAYERS, "num_heads": HEADS}


@pytest.fixture(scope="module")
def library() -> Any:
    import_torchvision()
    return importlib.import_module("transformers")


def lowered(make: Any, inputs: dict[str, Any]) -> rf.OpGraph:
    with torch.device("meta"):
        network = make().to(torch.bfloat16)
    return rf.from_torch(network, kwargs=inputs)


def ids(tokens: int = T) -> Any:
    return torch.zeros(B, tokens, dtype=torch.long)


def encoder(library: Any, name: str) -> rf.OpGraph:
    if name == "vit":
        image = {"pixel_values": torch.empty(B, 3, 224, 224, dtype=torch.bfloat16)}
        return lowered(lambda: library.ViTModel(library.ViTConfig(**SIZES)), image)
    if name == "clip":
        sizes = SIZES | {"max_position_embeddings": T}
        return lowered(lambda: library.CLIPTextModel(library.CLIPTextConfig(**sizes)), {"input_ids": ids()})
    if name == "t5":
        return lowered(lambda: library.T5EncoderModel(library.T5Config(**T5)), {"input_ids": ids()})
    masked = {"attention_mask": torch.ones(B, T, dtype=torch.long)} if name == "bert, padded" else {}
    sizes = SIZES | {"vocab_size": WORDS}
    return lowered(lambda: library.BertModel(library.BertConfig(**sizes)), {"input_ids": ids(), **masked})


@pytest.mark.parametrize("name", ["bert", "bert, padded", "t5", "clip", "vit"])
def test_attention_is_one_op_that_a_library_runs(library: Any, name: str) -> None:
    graph = encoder(library, name)
    tokens = PATCHES + 1 if name == "vit" else T
    attentions = [op for op in graph.ops.values() if isinstance(op, Attention)]
    assert len(attentions) == LAYERS
    for op in attentions:
        assert [graph.tensors[t].shape for t in op.inputs[:3]] == [(B, tokens, D)] * 3
        assert (op.heads, op.kv_heads, op.causal, len(op.inputs) > 3) == (HEADS, HEADS, name == "clip", name == "t5")
    products = LAYERS * B * tokens * (4 * D * D + 2 * D * MLP)
    scores = LAYERS * B * 2 * tokens * tokens * D
    beside = {"vit": B * PATCHES * D * 3 * 16 * 16 + B * D * D}.get(name, B * D * D if "bert" in name else 0)
    assert graph.macs == products + scores + beside, "and the embedding of patches, and what pools"
    times = {
        runtime: rf.simulate(graph, "h100-sxm", runtime=runtime, dtype="bf16").kernels
        for runtime in ("pytorch_eager", "xdit")
    }
    plain, ours = (k[k.kind == "attention"].time_s.sum() for k in times.values())
    assert len(times["xdit"]) == len(times["pytorch_eager"]) and plain != ours > 0


def test_cross_attention_reads_keys_of_another_length(library: Any) -> None:
    network = lambda: library.T5ForConditionalGeneration(library.T5Config(**T5))  # noqa: E731
    graph = lowered(network, {"input_ids": ids(), "decoder_input_ids": ids(7), "use_cache": False})
    lengths = [
        tuple(graph.tensors[t].shape[1] for t in op.inputs[:2])
        for op in graph.ops.values()
        if isinstance(op, Attention)
    ]
    assert sorted(lengths) == sorted([(T, T), (7, 7), (7, T)] * LAYERS)
    for runtime in ("xdit", "pytorch_compile", "vllm"):
        report = rf.simulate(graph, "h100-sxm", runtime=runtime, dtype="bf16")
        assert (report.kernels.kind == "attention").sum() == len(lengths)
