"""Families with mixtures of experts behind grouped-query attention."""

from __future__ import annotations

from typing import Any

from roofline.errors import InputError
from roofline.frontends.huggingface.config import Config
from roofline.frontends.huggingface.dense import grouped, kinds_of, mlp
from roofline.frontends.huggingface.registry import Table, decoder, family


def experts(config: Config, *, hidden: int, **fields: Any) -> Table:
    """Return a mixture of experts; `fields` are those that the family adds."""
    names = ("num_local_experts", "n_routed_experts", "num_experts")
    count = next((name for name in names if config.table.get(name) is not None), names[0])
    stated = {"kind": "experts", "experts": config.number(count), "top_k": config.number("num_experts_per_tok")}
    activation = {"activation": config.activation("hidden_act", "hidden_activation")}
    return {name: value for name, value in {**stated, "hidden": hidden, **activation, **fields}.items() if value != 0}


def balanced(config: Config, **fields: Any) -> Table:
    """Return experts as DeepSeek-V3 chooses them: by sigmoids, with a bias that balances them, beside shared ones."""
    hidden = config.number("moe_intermediate_size")
    shared = hidden * config.number("n_shared_experts", 0, least=0)
    return experts(config, hidden=hidden, shared_hidden=shared, routing="sigmoid", correction=True, **fields)


def dense_first(config: Config, layers: int, first: int = 0) -> list[str]:
    """Return which second part each layer has: as listed, or dense in the first few (by default `first`)."""
    listed = config.words("mlp_layer_types", layers)
    if listed is not None:
        return ["experts" if word == "sparse" else "dense" for word in listed]
    first = config.number("first_k_dense_replace", first, least=0)
    return ["dense" if i < first else "experts" for i in range(layers)]


@family("mixtral")
def mixtral(config: Config) -> list[Table]:
    """Mixtral: softmax of all scores, the chosen ones normalised."""
    layers = config.layers
    parts = {"attention": grouped(config), "experts": experts(config, hidden=config.number("intermediate_size"))}
    return decoder(config, parts, ["attention experts"] * layers)


@family("qwen3_moe", "qwen3_vl_moe_text")
def qwen3_moe(config: Config) -> list[Table]:
    """Qwen 3 with experts, in every layer unless it says otherwise."""
    layers = config.layers
    dense, every = config.numbers("mlp_only_layers"), config.number("decoder_sparse_step", 1)
    parts = {
        "attention": grouped(config, qk_norm="head"),
        "dense": mlp(config),
        "experts": experts(config, hidden=config.number("moe_intermediate_size")),
    }
    second = ["dense" if i in dense or (i + 1) % every else "experts" for i in range(layers)]
    return decoder(config, parts, [f"attention {name}" for name in second])


@family("gpt_oss")
def gpt_oss(config: Config) -> list[Table]:
    """Gpt-oss: biases everywhere, a score in every softmax that takes weight away, every second layer windowed."""
    layers = config.layers
    attention = grouped(config, bias=True, out_bias=True, sinks=True)
    hidden = config.number("intermediate_size")
    chosen = experts(config, hidden=hidden, routing="softmax_of_chosen", router_bias=True, bias=True)
    parts = {
        "near": {**attention, "window": config.number("sliding_window")},
        "full": attention,
        "experts": {**chosen, "activation": "swiglu_limited"},
    }
    return decoder(config, parts, [f"{kind} experts" for kind in kinds_of(config, layers, 2)])


@family("minimax_m2")
def minimax(config: Config) -> list[Table]:
    """MiniMax M2: one norm of all queries and one of all keys, half of each head turns."""
    layers = config.layers
    attention = grouped(config, qk_norm="width", rotary=config.rotary(config.head_size, 0.5))
    hidden = config.number("intermediate_size")
    chosen = experts(config, hidden=hidden, routing="sigmoid", correction=True)
    return decoder(config, {"attention": attention, "experts": chosen}, ["attention experts"] * layers)


@family("glm4_moe")
def glm4(config: Config) -> list[Table]:
    """GLM 4.5 to 4.7: the first layers dense, half of each head turns."""
    layers = config.layers
    norm = {"qk_norm": "head"} if config.flag("use_qk_norm") else {}
    attention = grouped(config, out_bias=False, rotary=config.rotary(config.head_size, 0.5), **norm)
    parts = {"attention": attention, "dense": mlp(config), "experts": balanced(config)}
    return decoder(config, parts, [f"attention {name}" for name in dense_first(config, layers)])


@family("mimo_v2_flash")
def mimo(config: Config) -> list[Table]:
    """MiMo V2: windowed layers with twice the key heads and a score that takes weight away; narrower values."""
    layers = config.layers
    size = {"value_size": config.number("v_head_dim"), "rotary": config.rotary(config.head_size, 0.334)}
    near = grouped(config, sinks=True, out_bias=False, window=config.number("sliding_window"), **size)
    parts = {
        "near": {**near, "kv_heads": 2 * config.kv_heads},
        "full": grouped(config, out_bias=False, **size),
        "dense": mlp(config),
        "experts": balanced(config),
    }
    kinds = kinds_of(config, layers, 6)
    if config.words("layer_types", layers) is None:
        kinds[0] = "full"
    pairs = zip(kinds, dense_first(config, layers, 1), strict=True)
    return decoder(config, parts, [" ".join(pair) for pair in pairs])


@family("llama4_text")
def llama4(config: Config) -> list[Table]:
    """Llama 4: most layers turn and see chunks of the context (counted as windows), the others see all and do not."""
    layers = config.layers
    listed = config.numbers("no_rope_layers")
    every = config.number("no_rope_layer_interval", 4)
    turns = [bool(v) for v in listed] if listed else [bool((i + 1) % every) for i in range(layers)]
    step = config.number("interleave_moe_layer_step", 1)
    routed = config.numbers("moe_layers") or list(range(step - 1, layers, step))
    bare = {"qk_norm": "bare"} if config.flag("use_qk_norm", True) else {}
    hidden = config.number("intermediate_size")
    chosen = experts(config, hidden=hidden, shared_hidden=hidden, routing="sigmoid")
    parts = {
        "near": grouped(config, window=config.number("attention_chunk_size", 8192), **bare),
        "full": grouped(config, rotary=0),
        "dense": mlp(config, config.number("intermediate_size_mlp")),
        "experts": {**chosen, "normalized": False},
    }
    second = ["experts" if i in routed else "dense" for i in range(layers)]
    first = ["near" if turn else "full" for turn in turns]
    return decoder(config, parts, [" ".join(pair) for pair in zip(first, second, strict=False)])


@family("gemma4_text")
def gemma4(config: Config) -> list[Table]:
    """Gemma 4 with experts beside a dense network; layers that see all have wider heads whose values are their keys."""
    layers = config.layers
    near = grouped(config, qk_norm="head", value_norm=True, window=config.number("sliding_window"))
    _without(config, "hidden_size_per_layer_input", "num_kv_shared_layers")
    listed = config.inside("per_layer_config")
    wide_layer = listed.inside(next(iter(listed.table), ""))
    size = wide_layer.number("head_dim", config.number("global_head_dim", 512))
    same = config.flag("attention_k_eq_v")
    kv_heads = config.number("num_global_key_value_heads", config.kv_heads) if same else config.kv_heads
    kv_heads = wide_layer.number("num_key_value_heads", kv_heads)
    wide = {"head_size": size, "kv_heads": kv_heads, "rotary": int(0.25 * size), "values_are_keys": same}
    dense = mlp(config)
    if config.flag("enable_moe_block"):
        table = {**config.table, "num_experts_per_tok": config.number("top_k_experts")}
        chosen = experts(Config(table, config.where), hidden=config.number("moe_intermediate_size"))
        dense = {**chosen, "scaled_router": True, "beside_hidden": dense["hidden"]}
    parts = {"near": near, "full": grouped(config, qk_norm="head", value_norm=True, **wide), "mlp": dense}
    kinds = kinds_of(config, layers, 6)
    fields = {"norms": "around", "scaled": True, "tied": True}
    capped = {"capped": True} if config.table.get("final_logit_softcapping") else {}
    return decoder(config, parts, [f"{kind} mlp" for kind in [*kinds[:-1], "full"]], **fields, **capped)


def _without(config: Config, *names: str) -> None:
    """Raise where a configuration asks for what has no rule here."""
    for name in names:
        if config.number(name, 0, least=0):
            raise InputError(f"{config.where}: {name} {config.table[name]!r} has no rule: only 0 is known")
