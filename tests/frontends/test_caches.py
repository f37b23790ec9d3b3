"""Key-value caches of transformers: bytes and multiply-adds of prefill and decode steps, counted by hand."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from torch_networks import import_torchvision

import roofline as rf

torch: Any = pytest.importorskip("torch")
pytest.importorskip("transformers")

B, PROMPT, SLOTS, WINDOW = 4, 96, 128, 64
LAYERS, D, HEADS, KV, HEAD, MLP, WORDS = 4, 256, 8, 2, 32, 512, 640
SIZES = {
    "vocab_size": WORDS, "hidden_size": D, "intermediate_size": MLP, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": HEAD, "max_position_embeddings": 256,
    "dtype": "bfloat16",
}  # fmt: skip
#: query, output, key and value projections, and the three of the gated layer
LAYER_MACS = 2 * D * HEADS * HEAD + 2 * D * KV * HEAD + 3 * D * MLP
ROW_BYTES = 2 * 2 * KV * HEAD  # keys and values of one token in one layer, bf16
LATENT, ROTARY = 64, 16


@pytest.fixture(scope="module")
def library() -> Any:
    import_torchvision()
    return importlib.import_module("transformers")


def config(library: Any, family: str) -> Any:
    if family == "llama":
        return library.LlamaConfig(**SIZES)
    if family == "mistral":
        return library.MistralConfig(**SIZES, sliding_window=WINDOW)
    if family == "gemma3":  # every second layer sees all
        kinds = ["sliding_attention", "full_attention"] * (LAYERS // 2)
        return library.Gemma3TextConfig(**SIZES, sliding_window=WINDOW, layer_types=kinds)
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"} | {"num_key_value_heads": HEADS}
    return library.DeepseekV3Config(
        **sizes, kv_lora_rank=LATENT, q_lora_rank=96, qk_rope_head_dim=ROTARY, qk_nope_head_dim=HEAD, v_head_dim=HEAD,
        first_k_dense_replace=LAYERS,
    )  # fmt: skip


def model(library: Any, family: str) -> tuple[Any, Any]:
    made = config(library, family)
    with torch.device("meta"):
        return made, library.AutoModelForCausalLM.from_config(made).to(torch.bfloat16)


def step(library: Any, family: str, kind: str) -> rf.OpGraph:
    """One new token behind a prompt, with a cache of the library's own making."""
    made, network = model(library, family)
    growing = library.DynamicCache(config=made)
    cache = growing if kind == "growing" else library.StaticCache(config=made, max_cache_len=SLOTS)
    with torch.no_grad():
        network(torch.zeros(B, PROMPT, dtype=torch.long, device="meta"), past_key_values=growing, use_cache=True)
        if cache is not growing:  # without data its counter says nothing: one token needs no number of it
            network(torch.zeros(B, 1, dtype=torch.long, device="meta"), past_key_values=cache, use_cache=True)
    ids = torch.zeros(B, 1, dtype=torch.long)
    return rf.from_torch(network, (ids,), kwargs={"past_key_values": cache, "use_cache": True})


def cache_bytes(graph: rf.OpGraph) -> float:
    return float(sum(t.bytes for t in graph.tensors.values() if t.role == "cache"))


def rows(family: str, full: int, window: int) -> int:
    """Tokens kept in all layers, where a layer without and one with a window keep so many."""
    return LAYERS * {"llama": full, "mistral": window}.get(family, 0) or LAYERS // 2 * (full + window)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
@pytest.mark.parametrize("kind", ["growing", "static"])
def test_a_decode_step(library: Any, family: str, kind: str) -> None:
    """A growing cache holds the prompt, or what the window leaves room for beside the new token; a static one slots."""
    graph = step(library, family, kind)
    kept = rows(family, PROMPT, WINDOW - 1) if kind == "growing" else rows(family, SLOTS, WINDOW)
    seen = rows(family, PROMPT + 1, WINDOW) if kind == "growing" else kept
    assert cache_bytes(graph) == B * ROW_BYTES * kept
    assert graph.macs == B * (LAYERS * LAYER_MACS + D * WORDS + 2 * HEADS * HEAD * seen)
    report = rf.simulate(graph, "h100-sxm", dtype="bf16")
    counters = 8 * LAYERS if kind == "static" else 0
    assert report.cache_bytes == cache_bytes(graph) + counters
    for op in graph.ops.values():
        assert op.kind != "attention" or graph.tensors[op.inputs[1]].shape[-1] == KV * HEAD, "keys are not repeated"


@pytest.mark.parametrize("given", [None, "growing", "static", "filled"])
def test_a_prompt_leaves_its_cache(library: Any, given: str | None) -> None:
    """Made during the run or there before it: the keys and values of the prompt, or all slots."""
    made, network = model(library, "llama")
    cache: Any = None
    if given == "growing":
        cache = library.DynamicCache(config=made)
    elif given is not None:
        cache = library.StaticCache(config=made, max_cache_len=SLOTS)
    if given == "filled":  # with data: its counter says that it is empty
        cache.early_initialization(batch_size=B, num_heads=KV, head_dim=HEAD, dtype=torch.bfloat16, device="cpu")
    ids = torch.zeros(B, PROMPT, dtype=torch.long)
    graph = rf.from_torch(network, (ids,), kwargs={"past_key_values": cache, "use_cache": True, "logits_to_keep": 1})
    tokens = PROMPT if given in (None, "growing") else SLOTS
    assert cache_bytes(graph) == B * ROW_BYTES * LAYERS * tokens
    scores = 2 * HEADS * HEAD * PROMPT  # a library slices the slots that are not filled away
    assert graph.macs == B * (LAYERS * PROMPT * (LAYER_MACS + scores) + D * WORDS)
    report = rf.simulate(graph, "h100-sxm", dtype="bf16")
    assert report.cache_bytes >= cache_bytes(graph) and report.memory_bytes["activations"] > 0


def test_a_cache_that_is_given_stays_as_it_was(library: Any) -> None:
    """Each lowering adds a token, and takes it back: the next one finds the same cache."""
    made, network = model(library, "llama")
    cache = library.DynamicCache(config=made)
    prompt, token = (torch.zeros(B, tokens, dtype=torch.long) for tokens in (PROMPT, 1))
    rf.from_torch(network, (prompt,), kwargs={"past_key_values": cache})
    assert cache.get_seq_length() == 0
    with torch.no_grad():
        network(prompt.to("meta"), past_key_values=cache)
    found = [rf.from_torch(network, (token,), kwargs={"past_key_values": cache}) for _ in range(2)]
    assert cache.get_seq_length() == PROMPT
    assert [cache_bytes(graph) for graph in found] == [B * ROW_BYTES * LAYERS * PROMPT] * 2


@pytest.mark.parametrize("kind", ["growing", "static"])
def test_latent_attention_keeps_latent_rows(library: Any, kind: str) -> None:
    graph = step(library, "deepseek", kind)
    tokens = PROMPT if kind == "growing" else SLOTS
    assert cache_bytes(graph) == 2 * B * tokens * LAYERS * (LATENT + ROTARY)


def test_what_is_read_of_another_sequence_is_kept_too(library: Any) -> None:
    """An encoder-decoder: its own tokens, and those of the encoder, which no step changes."""
    import_torchvision()
    made = library.T5Config(vocab_size=WORDS, d_model=D, d_kv=HEAD, d_ff=MLP, num_layers=2, num_heads=HEADS)
    with torch.device("meta"):
        network = library.T5ForConditionalGeneration(made)
    hidden = library.modeling_outputs.BaseModelOutput(last_hidden_state=torch.empty(B, 50, D, device="meta"))
    past = library.EncoderDecoderCache(library.DynamicCache(), library.DynamicCache())
    start = torch.zeros(B, 7, dtype=torch.long, device="meta")
    with torch.no_grad():
        network(encoder_outputs=hidden, decoder_input_ids=start, past_key_values=past, use_cache=True)
    given = {"encoder_outputs": hidden, "decoder_input_ids": torch.zeros(B, 1, dtype=torch.long), "use_cache": True}
    graph = rf.from_torch(network, kwargs={**given, "past_key_values": past})
    assert cache_bytes(graph) == 4 * 2 * B * HEADS * HEAD * 2 * (7 + 50)


def test_hidden_states_are_no_cache(library: Any) -> None:
    """They are made, returned, and become keys and values of the next layer: as activations."""
    made = library.BertConfig(
        vocab_size=WORDS, hidden_size=D, intermediate_size=MLP, num_hidden_layers=3, num_attention_heads=HEADS
    )
    with torch.device("meta"):
        network = library.BertModel(made)
    graph = rf.from_torch(
        network, (torch.zeros(B, 16, dtype=torch.long),), kwargs={"output_hidden_states": True, "use_cache": False}
    )
    assert cache_bytes(graph) == 0 and len(graph.outputs) > 4


def test_a_part_that_is_written_leaves_other_memory_alone() -> None:
    """Rows that a product has made are copied into a part of a new tensor: the product has memory of its own."""

    def program(x: Any, w: Any) -> Any:
        rows = torch.empty(8, 32, device=x.device)
        rows[:, :16] = (x @ w)[:, :16]
        rows[:, 16:] = x[:, :16]
        return rows

    graph = rf.from_torch(program, (torch.empty(8, 64), torch.empty(64, 24)))
    assert not graph.op("mm").into
    assert [op.kind for op in graph.ops.values() if op.into] == ["update", "update"]
