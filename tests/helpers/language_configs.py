"""Public configurations of the language models in ``models/``: class and keys, as their ``config.json`` states them."""

from __future__ import annotations

from typing import Any

#: model -> (class of the configuration in transformers, its keys)
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {}


def _add(
    name: str, cls: str, vocab: int, width: int, layers: int, heads: int, kv_heads: int, hidden: int, positions: int,
    **more: Any,
) -> None:  # fmt: skip
    CONFIGS[name] = (
        cls,
        {
            "vocab_size": vocab, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "intermediate_size": hidden, "max_position_embeddings": positions,
            "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, **more,
        },
    )  # fmt: skip


for _name, _numbers in {
    "llama-2-7b": (32000, 4096, 32, 32, 32, 11008, 4096),
    "llama-2-13b": (32000, 5120, 40, 40, 40, 13824, 4096),
    "llama-2-70b": (32000, 8192, 80, 64, 8, 28672, 4096),
    "llama-3-8b": (128256, 4096, 32, 32, 8, 14336, 8192),
    "llama-3-70b": (128256, 8192, 80, 64, 8, 28672, 8192),
    "llama-3.1-8b": (128256, 4096, 32, 32, 8, 14336, 131072),
    "llama-3.1-70b": (128256, 8192, 80, 64, 8, 28672, 131072),
    "llama-3.1-405b": (128256, 16384, 126, 128, 8, 53248, 131072),
}.items():
    _add(_name, "LlamaConfig", *_numbers)
_add("llama-3.2-1b", "LlamaConfig", 128256, 2048, 16, 32, 8, 8192, 131072, tie_word_embeddings=True)
_add("llama-3.2-3b", "LlamaConfig", 128256, 3072, 28, 24, 8, 8192, 131072, tie_word_embeddings=True)
_add("llama-4-scout", "Llama4TextConfig", 202048, 5120, 48, 40, 8, 8192, 10485760, intermediate_size_mlp=16384,
     num_local_experts=16, interleave_moe_layer_step=1, use_qk_norm=True)  # fmt: skip
_add("llama-4-maverick", "Llama4TextConfig", 202048, 5120, 48, 40, 8, 8192, 1048576, intermediate_size_mlp=16384,
     num_local_experts=128, interleave_moe_layer_step=2, use_qk_norm=False)  # fmt: skip

_add("mistral-7b-v0.1", "MistralConfig", 32000, 4096, 32, 32, 8, 14336, 32768, sliding_window=4096)
_add("mistral-7b-v0.3", "MistralConfig", 32768, 4096, 32, 32, 8, 14336, 32768, sliding_window=None)
_add("mixtral-8x7b", "MixtralConfig", 32000, 4096, 32, 32, 8, 14336, 32768)
_add("mixtral-8x22b", "MixtralConfig", 32000, 6144, 56, 48, 8, 16384, 65536)

for _name, _numbers, _tied in (
    ("qwen2.5-0.5b", (151936, 896, 24, 14, 2, 4864, 32768), True),
    ("qwen2.5-1.5b", (151936, 1536, 28, 12, 2, 8960, 131072), True),
    ("qwen2.5-3b", (151936, 2048, 36, 16, 2, 11008, 32768), True),
    ("qwen2.5-7b", (152064, 3584, 28, 28, 4, 18944, 131072), False),
    ("qwen2.5-14b", (152064, 5120, 48, 40, 8, 13824, 131072), False),
    ("qwen2.5-32b", (152064, 5120, 64, 40, 8, 27648, 131072), False),
    ("qwen2.5-72b", (152064, 8192, 80, 64, 8, 29568, 131072), False),
):
    _add(_name, "Qwen2Config", *_numbers, tie_word_embeddings=_tied)
for _name, _numbers, _tied in (
    ("qwen3-0.6b", (151936, 1024, 28, 16, 8, 3072, 40960), True),
    ("qwen3-1.7b", (151936, 2048, 28, 16, 8, 6144, 40960), True),
    ("qwen3-4b", (151936, 2560, 36, 32, 8, 9728, 40960), True),
    ("qwen3-8b", (151936, 4096, 36, 32, 8, 12288, 40960), False),
    ("qwen3-14b", (151936, 5120, 40, 40, 8, 17408, 40960), False),
    ("qwen3-32b", (151936, 5120, 64, 64, 8, 25600, 40960), False),
):
    _add(_name, "Qwen3Config", *_numbers, head_dim=128, tie_word_embeddings=_tied)
for _name, _numbers, _experts, _hidden in (
    ("qwen3-30b-a3b", (151936, 2048, 48, 32, 4, 6144, 40960), 128, 768),
    ("qwen3-235b-a22b", (151936, 4096, 94, 64, 4, 12288, 40960), 128, 1536),
    ("qwen3-coder-480b-a35b", (151936, 6144, 62, 96, 8, 8192, 262144), 160, 2560),
):
    _add(_name, "Qwen3MoeConfig", *_numbers, head_dim=128, num_experts=_experts, num_experts_per_tok=8,
         moe_intermediate_size=_hidden, decoder_sparse_step=1)  # fmt: skip

_LINEAR: dict[str, Any] = {
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
}
_add("qwen3.5-27b", "Qwen3_5TextConfig", 248320, 5120, 64, 24, 4, 17408, 262144, linear_num_value_heads=48, **_LINEAR)
for _name, _width, _layers, _heads, _values, _experts, _top_k, _hidden in (
    ("qwen3.5-35b-a3b", 2048, 40, 16, 32, 256, 8, 512),
    ("qwen3.5-122b-a10b", 3072, 48, 32, 64, 256, 8, 1024),
    ("qwen3.5-397b-a17b", 4096, 60, 32, 64, 512, 10, 1024),
):
    _add(_name, "Qwen3_5MoeTextConfig", 248320, _width, _layers, _heads, 2, _hidden, 262144,
         linear_num_value_heads=_values, num_experts=_experts, num_experts_per_tok=_top_k,
         moe_intermediate_size=_hidden, shared_expert_intermediate_size=_hidden, **_LINEAR)  # fmt: skip

for _name, _numbers, _window in (
    ("gemma-3-1b", (262144, 1152, 26, 4, 1, 6912, 32768), 512),
    ("gemma-3-4b", (262208, 2560, 34, 8, 4, 10240, 131072), 1024),
    ("gemma-3-12b", (262208, 3840, 48, 16, 8, 15360, 131072), 1024),
    ("gemma-3-27b", (262208, 5376, 62, 32, 16, 21504, 131072), 1024),
):
    _add(_name, "Gemma3TextConfig", *_numbers, sliding_window=_window, head_dim=128 if "27b" in _name else 256)
_add("gemma-4-26b-a4b", "Gemma4TextConfig", 262144, 2816, 30, 16, 8, 2112, 262144, head_dim=256, global_head_dim=512,
     num_global_key_value_heads=2, attention_k_eq_v=True, enable_moe_block=True, num_experts=128, top_k_experts=8,
     moe_intermediate_size=704, hidden_size_per_layer_input=0, sliding_window=1024,
     final_logit_softcapping=30.0)  # fmt: skip

for _name, _layers, _experts in (("gpt-oss-20b", 24, 32), ("gpt-oss-120b", 36, 128)):
    _add(_name, "GptOssConfig", 201088, 2880, _layers, 64, 8, 2880, 131072, head_dim=64, num_local_experts=_experts,
         num_experts_per_tok=4, sliding_window=128)  # fmt: skip

_LATENT: dict[str, Any] = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "moe_intermediate_size": 2048, "n_shared_experts": 1, "num_experts_per_tok": 8,
}  # fmt: skip
for _name in ("deepseek-v3", "deepseek-r1"):
    _add(_name, "DeepseekV3Config", 129280, 7168, 61, 128, 128, 18432, 163840, n_routed_experts=256,
         first_k_dense_replace=3, **_LATENT)  # fmt: skip
_add("deepseek-v3.2", "DeepseekV32Config", 129280, 7168, 61, 128, 128, 18432, 163840, n_routed_experts=256,
     first_k_dense_replace=3, index_n_heads=64, index_head_dim=128, index_topk=2048, **_LATENT)  # fmt: skip
for _name, _positions in (("kimi-k2", 131072), ("kimi-k2.5", 262144)):
    _add(_name, "DeepseekV3Config", 163840, 7168, 61, 64, 64, 18432, _positions, n_routed_experts=384, n_group=1,
         topk_group=1, first_k_dense_replace=1, **_LATENT)  # fmt: skip
for _name in ("glm-5", "glm-5.1"):
    _add(_name, "GlmMoeDsaConfig", 154880, 6144, 78, 64, 64, 12288, 202752, n_routed_experts=256,
         first_k_dense_replace=3, index_n_heads=32, index_head_dim=128, index_topk=2048,
         **{**_LATENT, "q_lora_rank": 2048, "qk_nope_head_dim": 192, "v_head_dim": 256})  # fmt: skip

for _name, _positions in (("minimax-m2", 196608), ("minimax-m2.5", 196608), ("minimax-m2.7", 204800)):
    _add(_name, "MiniMaxM2Config", 200064, 3072, 62, 48, 8, 1536, _positions, head_dim=128, num_local_experts=256,
         num_experts_per_tok=8, rotary_dim=64)  # fmt: skip
_add("mimo-v2-flash", "MiMoV2FlashConfig", 152576, 4096, 48, 64, 4, 16384, 262144, head_dim=192, v_head_dim=128,
     n_routed_experts=256, num_experts_per_tok=8, moe_intermediate_size=2048, sliding_window=128)  # fmt: skip
_PATTERN = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
_add("nemotron-3-nano-30b-a3b", "NemotronHConfig", 131072, 2688, len(_PATTERN), 32, 2, 1856, 262144, head_dim=128,
     layers_block_type=[{"M": "mamba", "E": "moe", "*": "attention"}[letter] for letter in _PATTERN],
     mamba_num_heads=64, mamba_head_dim=64, n_groups=8, ssm_state_size=128, n_routed_experts=128,
     num_experts_per_tok=6, moe_intermediate_size=1856, moe_shared_expert_intermediate_size=3712)  # fmt: skip
