"""Families whose layers are mostly recurrent: state of a fixed size beside some layers of attention."""

from __future__ import annotations

from roofline.errors import InputError, nearest
from roofline.frontends.huggingface.config import Config
from roofline.frontends.huggingface.dense import grouped, mlp
from roofline.frontends.huggingface.experts import balanced, experts
from roofline.frontends.huggingface.registry import Table, decoder, family

#: layers of Nemotron-H, as letters of a pattern and as words of a list
LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "experts"}
WORDS = {
    "mamba": "mamba",
    "linear_attention": "mamba",
    "attention": "attention",
    "full_attention": "attention",
    "mlp": "mlp",
    "moe": "experts",
}


@family("qwen3_5_text", "qwen3_5_moe_text")
def qwen35(config: Config) -> list[Table]:
    """Qwen 3.5: every fourth layer sees all, with a gate; the others follow the gated delta rule."""
    layers = config.layers
    every = config.number("full_attention_interval", 4)
    listed = config.words("layer_types", layers)
    listed = listed or ["full_attention" if not (i + 1) % every else "linear_attention" for i in range(layers)]
    delta = {
        "kind": "delta", "heads": config.number("linear_num_value_heads"),
        "key_heads": config.number("linear_num_key_heads"), "key_size": config.number("linear_key_head_dim"),
        "value_size": config.number("linear_value_head_dim"), "kernel": config.number("linear_conv_kernel_dim", 4),
    }  # fmt: skip
    full = grouped(config, qk_norm="head", gated=True, rotary=config.rotary(config.head_size, 0.25))
    if config.table.get("num_experts") is None:
        second = mlp(config)
    else:
        shared = config.number("shared_expert_intermediate_size")
        hidden = config.number("moe_intermediate_size")
        second = experts(config, hidden=hidden, shared_hidden=shared, shared_gate=True)
    parts = {"delta": delta, "full": full, "mlp": second}
    return decoder(config, parts, ["full mlp" if word == "full_attention" else "delta mlp" for word in listed])


@family("nemotron_h")
def nemotron(config: Config) -> list[Table]:
    """Nemotron-H and Nemotron 3: each layer is one part, Mamba 2, attention, a feed-forward network or experts."""
    kinds = _kinds(config)
    function = {"mlp_hidden_act": config.table.get("mlp_hidden_act") or "relu2"}
    named = Config({**config.table, "hidden_act": function["mlp_hidden_act"]}, config.where)
    parts: dict[str, Table] = {
        "mamba": {
            "kind": "mamba2", "heads": config.number("mamba_num_heads"), "key_heads": config.number("n_groups"),
            "key_size": config.number("ssm_state_size"), "value_size": config.number("mamba_head_dim"),
            "kernel": config.number("conv_kernel", 4), "chunk": config.number("chunk_size", 128),
            "conv_bias": config.flag("use_conv_bias", True),
        },
        "attention": grouped(config, rotary=0),
    }  # fmt: skip
    if "mlp" in kinds:
        parts["mlp"] = mlp(named, gated=False)
    if "experts" in kinds:
        shared = config.number("moe_shared_expert_intermediate_size")
        narrow = config.number("moe_latent_size", 0)
        parts["experts"] = {**balanced(named, latent=narrow), "gated": False, "shared_hidden": shared}
    return decoder(config, parts, kinds)


def _kinds(config: Config) -> list[str]:
    pattern = config.table.get("hybrid_override_pattern")
    if isinstance(pattern, str) and config.table.get("layers_block_type") is None:
        unknown = [letter for letter in pattern if letter not in LETTERS]
        if unknown:
            raise InputError(f"{config.where}: hybrid_override_pattern: unknown letter {unknown[0]!r}")
        return [LETTERS[letter] for letter in pattern]
    listed = config.words("layers_block_type", 1)
    if listed is None:
        raise InputError(f"{config.where}: missing key 'layers_block_type'")
    every = config.words("layers_block_type", len(config.table["layers_block_type"])) or []
    for word in every:
        if word not in WORDS:
            raise InputError(f"{config.where}: layers_block_type: unknown word {word!r}{nearest(word, WORDS)}")
    return [WORDS[word] for word in every]
