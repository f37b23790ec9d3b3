"""Families of latent attention."""

from __future__ import annotations

from roofline.errors import InputError
from roofline.frontends.huggingface.config import Config
from roofline.frontends.huggingface.dense import mlp
from roofline.frontends.huggingface.experts import balanced, dense_first
from roofline.frontends.huggingface.registry import Table, decoder, family


def latent(config: Config) -> Table:
    """Return latent attention."""
    found = {
        "kind": "latent", "heads": config.heads, "latent": config.number("kv_lora_rank"),
        "rotary": config.number("qk_rope_head_dim"), "plain": config.number("qk_nope_head_dim"),
        "value_size": config.number("v_head_dim"), "query_latent": config.number("q_lora_rank", 0),
    }  # fmt: skip
    return {**found, "bias": True} if config.flag("attention_bias") else found


@family("deepseek_v3", "kimi_k2")
def deepseek(config: Config) -> list[Table]:
    """DeepSeek-V3 and R1, Kimi K2: the first layers dense, then experts; heads of extra tokens are left out."""
    layers = config.layers
    parts = {"attention": latent(config), "dense": mlp(config), "experts": balanced(config)}
    return decoder(config, parts, [f"attention {name}" for name in dense_first(config, layers)])


@family("deepseek_v32", "glm_moe_dsa")
def sparse(config: Config) -> list[Table]:
    """DeepSeek-V3.2 and GLM 5: an index chooses what queries see; some layers may take what the one before chose."""
    layers = config.layers
    shared = {**latent(config), "index_top_k": config.number("index_topk", 2048)}
    heads = config.number("index_n_heads", 64 if config.table.get("model_type") == "deepseek_v32" else 32)
    indexed = {**shared, "index_heads": heads, "index_size": config.number("index_head_dim", 128)}
    parts = {"attention": indexed, "shared": shared, "dense": mlp(config), "experts": balanced(config)}
    first = ["attention" if own else "shared" for own in _indexed(config, layers)]
    return decoder(config, parts, [" ".join(p) for p in zip(first, dense_first(config, layers), strict=True)])


def _indexed(config: Config, layers: int) -> list[bool]:
    """Return which layers have an index of their own: as listed, by a pattern of F and S, or every so often."""
    listed = config.words("indexer_types", layers)
    pattern = config.table.get("index_topk_pattern")
    if listed is None and pattern is not None:
        listed = [{"F": "full", "S": "shared"}.get(str(letter), str(letter)) for letter in pattern]
    if listed is not None:
        if len(listed) != layers or not set(listed) <= {"full", "shared"}:
            raise InputError(f"{config.where}: indexer_types must be 'full' or 'shared' for each of {layers} layers")
        return [word == "full" for word in listed]
    every, offset = config.number("index_topk_freq", 1), config.number("index_skip_topk_offset", 2, least=0)
    return [max(i - offset + 1, 0) % every == 0 for i in range(layers)]
