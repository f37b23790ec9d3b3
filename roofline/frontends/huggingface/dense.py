"""Families of grouped-query attention with one feed-forward network in every layer."""

from __future__ import annotations

from roofline.frontends.huggingface.config import Config
from roofline.frontends.huggingface.registry import Table, decoder, family


def grouped(config: Config, **fields: object) -> Table:
    """Return grouped attention as most families have it; `fields` are those that differ."""
    bias = config.flag("attention_bias")
    stated: Table = {
        "kind": "grouped", "heads": config.heads, "kv_heads": config.kv_heads, "head_size": config.head_size,
        "bias": bias, "out_bias": bias, "rotary": config.rotary(config.head_size), **fields,
    }  # fmt: skip
    if stated["rotary"] == stated["head_size"]:
        del stated["rotary"]
    return {name: value for name, value in stated.items() if value is not False}


def mlp(config: Config, hidden: int | None = None, **fields: object) -> Table:
    """Return the gated feed-forward network."""
    hidden = config.number("intermediate_size") if hidden is None else hidden
    stated = {"kind": "mlp", "hidden": hidden, "activation": config.activation("hidden_act", "hidden_activation")}
    return {**stated, **({"bias": True} if config.flag("mlp_bias") else {}), **fields}


def kinds_of(config: Config, layers: int, interval: int = 0) -> list[str]:
    """Return whether each layer is full or windowed: as listed, or every `interval`-th full; 0: all are full."""
    listed = config.words("layer_types", layers)
    if listed is not None:
        return ["near" if word in ("sliding_attention", "chunked_attention") else "full" for word in listed]
    return ["near" if interval and (i + 1) % interval else "full" for i in range(layers)]


def windowed(config: Config, attention: Table, kinds: list[str], second: Table) -> list[Table]:
    """Return a decoder whose attention is windowed in some layers."""
    near = {**attention, "window": config.number("sliding_window", 0)}
    if not near["window"] or "near" not in kinds:
        return decoder(config, {"attention": attention, "mlp": second}, ["attention mlp"] * len(kinds))
    return decoder(config, {"near": near, "full": attention, "mlp": second}, [f"{kind} mlp" for kind in kinds])


@family("llama", "mistral", "ministral", "seed_oss", "smollm3")
def llama(config: Config) -> list[Table]:
    """Llama, and what is built as it is; a window is that of every layer, unless layers are listed."""
    layers = config.layers
    attention = grouped(config)
    if config.table.get("attention_out_bias") is not None:
        attention = grouped(config, out_bias=config.flag("attention_out_bias"))
    kinds = kinds_of(config, layers)
    if config.number("sliding_window", 0) and config.words("layer_types", layers) is None:
        kinds = ["near"] * layers
    return windowed(config, attention, kinds, mlp(config))


@family("qwen2", "mimo")
def qwen2(config: Config) -> list[Table]:
    """Qwen 2 and 2.5, MiMo without its heads for extra tokens: biases of queries, keys and values."""
    return _windowed_where_used(config, grouped(config, bias=True, out_bias=False))


@family("qwen3", "qwen3_vl_text")
def qwen3(config: Config) -> list[Table]:
    """Qwen 3: a norm of each head's queries and keys."""
    return _windowed_where_used(config, grouped(config, qk_norm="head"))


def _windowed_where_used(config: Config, attention: Table) -> list[Table]:
    layers = config.layers
    kinds = kinds_of(config, layers) if config.flag("use_sliding_window") else ["full"] * layers
    return windowed(config, attention, kinds, mlp(config))


@family("gemma2", "gemma3_text")
def gemma(config: Config) -> list[Table]:
    """Gemma 2 and 3: norms around each part, a scaled and tied embedding, windows in most layers."""
    third = config.table.get("model_type") == "gemma3_text"
    defaults = {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
    given = {k: v for k, v in config.table.items() if v is not None}
    config = Config({**(defaults if third else {}), "hidden_act": "gelu_pytorch_tanh", **given}, config.where)
    layers = config.layers
    kinds = kinds_of(config, layers, config.number("sliding_window_pattern", 6 if third else 2))
    attention = grouped(config, **({"qk_norm": "head"} if third else {}))
    near = {**attention, "window": config.number("sliding_window")}
    parts = {"near": near, "full": attention, "mlp": mlp(config)}
    capped = {"capped": True} if config.table.get("final_logit_softcapping") else {}
    fields = {"norms": "around", "scaled": True, "tied": True, **capped}
    return decoder(config, parts, [f"{kind} mlp" for kind in kinds], **fields)


@family("olmo2", "olmo3")
def olmo(config: Config) -> list[Table]:
    """OLMo 2 and 3: norms behind each part, one norm of all queries and one of all keys."""
    layers = config.layers
    attention = grouped(config, qk_norm="width")
    near = {**attention, "window": config.number("sliding_window", 0)}
    kinds = kinds_of(config, layers) if near["window"] else ["full"] * layers
    parts = {"near": near, "full": attention, "mlp": mlp(config)}
    return decoder(config, parts, [f"{kind} mlp" for kind in kinds], norms="behind")
