"""Configurations of language models: files and the transformers library agree; what is wrong says so in one line."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from language_configs import CONFIGS
from torch_networks import import_torchvision

import roofline as rf
from roofline.arch.build import build_graph
from roofline.arch.load import model, models
from roofline.arch.spec import Arch
from roofline.arch.step import Step
from roofline.errors import InputError, RooflineError
from roofline.frontends.huggingface.registry import FAMILIES, _stages

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks

SMALL: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
HEADS: dict[str, Any] = {**SMALL, "intermediate_size": 256, "head_dim": 32}
ROUTED: dict[str, Any] = {
    **HEADS, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "num_key_value_heads": 4,
    "n_group": 2, "topk_group": 1,
}  # fmt: skip
LATENT: dict[str, Any] = {
    **{k: v for k, v in ROUTED.items() if k != "head_dim"}, "kv_lora_rank": 32, "q_lora_rank": 48,
    "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32,
}  # fmt: skip
INDEX = {"index_n_heads": 4, "index_head_dim": 32, "index_topk": 16}
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 32,
}  # fmt: skip
#: (class of the configuration, its keys) of what a family may say
TINY: list[tuple[str, dict[str, Any]]] = [
    ("LlamaConfig", {**HEADS, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("MistralConfig", {**HEADS, "sliding_window": 16}),
    ("Qwen2Config", {**SMALL, "intermediate_size": 256}),
    ("Qwen3Config", HEADS),
    ("SeedOssConfig", HEADS),
    ("Gemma2Config", HEADS),
    ("Gemma3TextConfig", {**HEADS, "num_hidden_layers": 8, "sliding_window": 64}),
    ("Olmo2Config", {**SMALL, "intermediate_size": 256}),
    ("MixtralConfig", HEADS),
    ("Qwen3MoeConfig", {**HEADS, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                        "decoder_sparse_step": 2}),
    ("GptOssConfig", {**HEADS, "num_local_experts": 8, "sliding_window": 32}),
    ("MiniMaxM2Config", {**HEADS, "num_local_experts": 8, "num_experts_per_tok": 2}),
    ("Glm4MoeConfig", {**ROUTED, "use_qk_norm": True, "attention_bias": True}),
    ("MiMoV2FlashConfig", {**ROUTED, "num_key_value_heads": 2, "v_head_dim": 16}),
    ("Llama4TextConfig", {**HEADS, "intermediate_size_mlp": 192, "num_local_experts": 4,
                          "interleave_moe_layer_step": 2}),
    ("Gemma4TextConfig", {**HEADS, "num_hidden_layers": 6, "global_head_dim": 64, "num_global_key_value_heads": 1,
                          "attention_k_eq_v": True, "enable_moe_block": True, "num_experts": 8, "top_k_experts": 2,
                          "moe_intermediate_size": 64, "hidden_size_per_layer_input": 0, "sliding_window": 32}),
    ("DeepseekV3Config", {**LATENT, "first_k_dense_replace": 2}),
    ("DeepseekV3Config", {**LATENT, "q_lora_rank": None, "attention_bias": True}),
    ("DeepseekV32Config", {**LATENT, **INDEX}),
    ("GlmMoeDsaConfig", {**LATENT, **INDEX, "indexer_types": ["full", "shared", "full", "shared"]}),
    ("GlmMoeDsaConfig", {**LATENT, **INDEX, "index_topk_freq": 2}),
    ("Qwen3_5TextConfig", {**HEADS, **DELTA}),
    ("Qwen3_5MoeTextConfig", {**HEADS, **DELTA, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                              "shared_expert_intermediate_size": 32}),
    ("NemotronHConfig", {**HEADS, "layers_block_type": ["mamba", "mlp", "mamba", "moe", "attention", "mlp"],
                         "mamba_num_heads": 8, "mamba_head_dim": 32, "n_groups": 2, "ssm_state_size": 16,
                         "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                         "moe_shared_expert_intermediate_size": 48, "moe_latent_size": 32}),
]  # fmt: skip


@pytest.fixture(scope="module")
def transformers() -> Any:
    pytest.importorskip("transformers")
    import_torchvision()
    return importlib.import_module("transformers")


def params(transformers: Any, config: Any) -> int:
    """Return the parameters of the model that the library builds, shared ones once."""
    torch: Any = importlib.import_module("torch")
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
    return sum({id(p): p.numel() for p in module.parameters()}.values())


def saved(config: Any, folder: Path) -> Arch:
    config.save_pretrained(folder)
    return rf.from_huggingface(folder)


def cache_elements(arch: Arch, step: Step, batch: int, tokens: int = 1) -> float:
    graph = build_graph(arch.at(step).with_length(tokens), batch)
    return float(sum(t.elements for t in graph.tensors.values() if t.role == "cache"))


@pytest.mark.parametrize(("cls", "keys"), TINY, ids=[f"{cls}{i}" for i, (cls, _) in enumerate(TINY)])
def test_parameters_are_those_that_the_library_makes(
    cls: str, keys: dict[str, Any], transformers: Any, tmp_path: Path
) -> None:
    config = getattr(transformers, cls)(**keys)
    graph = build_graph(saved(config, tmp_path))
    graph.check_shapes()
    assert graph.params == params(transformers, config)


@pytest.mark.parametrize(("cls", "keys"), TINY, ids=[f"{cls}{i}" for i, (cls, _) in enumerate(TINY)])
def test_lists_that_hubs_leave_out_are_as_the_library_fills_them(
    cls: str, keys: dict[str, Any], transformers: Any, tmp_path: Path
) -> None:
    config = getattr(transformers, cls)(**keys)
    whole = saved(config, tmp_path)
    table = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    lists = {"layer_types", "mlp_layer_types", "indexer_types", "no_rope_layers", "moe_layers"} - set(keys)
    short = written(tmp_path, {key: value for key, value in table.items() if key not in lists})
    assert rf.from_huggingface(short).stages == whole.stages


@pytest.mark.parametrize("name", CONFIGS)
def test_files_are_what_the_public_configurations_say(name: str, transformers: Any, tmp_path: Path) -> None:
    """Layers, sizes and parameters of each file; so MACs and caches are those of the configuration in every step."""
    cls, keys = CONFIGS[name]
    config = getattr(transformers, cls)(**keys)
    arch, read = model(name), saved(config, tmp_path)
    assert arch.stages == read.stages
    assert arch.published is not None and arch.published.params == params(transformers, config)
    assert build_graph(arch).params == arch.published.params


def test_every_decoder_has_its_configuration() -> None:
    assert set(CONFIGS) == {name for name in models() if model(name).decodes}


@pytest.mark.parametrize(
    ("name", "each", "fixed"),
    [
        # numbers of each token in all layers, and of each sequence once it is longer than windows
        ("llama-3-8b", 32 * 2 * 8 * 128, 0),
        ("qwen3-30b-a3b", 48 * 2 * 4 * 128, 0),
        ("mistral-7b-v0.1", 0, 32 * 2 * 8 * 128 * 4096),
        ("gemma-3-27b", 10 * 2 * 16 * 128, 52 * 2 * 16 * 128 * 1024),  # 62 layers: every sixth is full
        ("gpt-oss-120b", 18 * 2 * 8 * 64, 18 * 2 * 8 * 64 * 128),
        ("deepseek-v3", 61 * (512 + 64), 0),
        ("deepseek-v3.2", 61 * (512 + 64 + 128), 0),  # and the keys of the index
        ("qwen3.5-397b-a17b", 15 * 2 * 2 * 256, 0),
        ("nemotron-3-nano-30b-a3b", 6 * 2 * 2 * 128, 0),
        ("mimo-v2-flash", 9 * 4 * (192 + 128), 39 * 8 * (192 + 128) * 128),
        ("gemma-4-26b-a4b", 5 * 2 * 2 * 512, 25 * 2 * 8 * 256 * 1024),
    ],
)
def test_caches_by_hand(name: str, each: int, fixed: int) -> None:
    for context, batch in ((5000, 1), (8000, 3)):
        found = cache_elements(model(name), Step(phase="decode", context=context), batch)
        assert found == batch * (each * (context + 1) + fixed)


def test_the_state_of_recurrent_layers_does_not_grow() -> None:
    def state(context: int) -> float:
        graph = build_graph(model("qwen3.5-27b").at(Step(phase="decode", context=context)).with_length(1), 2)
        return float(sum(t.elements for t in graph.tensors.values() if t.role == "state"))

    # 48 layers of 48 heads of 128 x 128, and three tokens of what is convolved
    assert state(10) == state(100_000) == 2 * 48 * (48 * 128 * 128 + 3 * (2 * 16 + 48) * 128)


def test_active_parameters_are_as_the_names_say() -> None:
    """Multiply-adds of a decoding step of one sequence without its cache, in billions: what is active of each model."""
    for name, least, most in (
        ("qwen3-30b-a3b", 2.9, 3.4), ("qwen3-235b-a22b", 21, 22.5), ("deepseek-v3", 36.5, 38), ("gpt-oss-120b", 4.5, 6),
        ("qwen3.5-397b-a17b", 15.5, 17.5), ("kimi-k2", 31, 33.5), ("nemotron-3-nano-30b-a3b", 2.8, 3.4),
        ("llama-4-maverick", 13, 17.5), ("gemma-4-26b-a4b", 3.3, 4.2), ("glm-5", 39, 41.5), ("minimax-m2", 9, 11),
    ):  # fmt: skip
        graph = build_graph(model(name).at(Step(phase="decode", context=1)).with_length(1), 1)
        assert least < graph.macs / 1e9 < most, (name, graph.macs / 1e9)


@pytest.mark.parametrize(
    ("layers", "stages"),
    [
        (["a"] * 5, [("layers", 5)]),
        (["a", "b"] * 3 + ["a"], [("layers", 7)]),
        (["a"] * 3 + ["b"] * 20, [("first", 3), ("layers", 20)]),
        (list("abcdefghijklmnopqrst"), [("first", 8), ("layers", 12)]),
    ],
)
def test_layers_become_stages(layers: list[str], stages: list[tuple[str, int]]) -> None:
    found = _stages(layers)
    assert [(name, len(its)) for name, its in found] == stages
    assert [layer for _, its in found for layer in its] == layers


LLAMA = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 256, "max_position_embeddings": 64,
}  # fmt: skip
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}


def written(tmp_path: Path, table: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({**LLAMA, "model_type": "lama"}, "unknown model_type 'lama'; nearest: 'llama'"),
        (
            {**LLAMA, "model_type": "phimax", "auto_map": {"AutoModel": "modeling.Phi"}},
            "it comes with code of its own, which is never run",
        ),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "missing key 'hidden_size'"),
        ({**LLAMA, "hidden_size": "wide"}, "hidden_size must be a whole number in 1..1073741824, got 'wide'"),
        ({**LLAMA, "num_hidden_layers": 0}, "num_hidden_layers must be a whole number"),
        ({**LLAMA, "num_key_value_heads": 3}, "4 heads do not share 3 key heads evenly"),
        ({**LLAMA, "hidden_act": "silo"}, "unknown hidden_act 'silo'; nearest: 'silu'"),
        ({**MIXTRAL, "num_experts_per_tok": 5}, "a token takes 5 of 4 experts: top_k is at most experts"),
        ({**LLAMA, "sliding_window": 65}, "a window of 65 is longer than the 64 positions"),
        ({**LLAMA, "num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number in 1..20000, got 1000000000"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "it has no model_type"),
        ({"hidden_size": 8}, "it has no model_type"),
    ],
)
def test_a_bad_configuration_says_what_is_wrong(table: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(RooflineError) as caught:
        rf.from_huggingface(written(tmp_path, table))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_a_folder_without_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.json"):
        with pytest.raises(InputError, match="cannot be read"):
            rf.from_huggingface(path)


def test_code_that_comes_along_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "modeling.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    arch = rf.from_huggingface(written(tmp_path, {**LLAMA, "auto_map": {"AutoModel": "modeling.Model"}}))
    assert (arch.family, arch.name, arch.image_size) == ("llama", tmp_path.name, 64)


def test_a_sequence_is_no_longer_than_positions(tmp_path: Path) -> None:
    arch = rf.from_huggingface(written(tmp_path, LLAMA))
    with pytest.raises(RooflineError, match="beyond the 64 positions"):
        rf.simulate(arch, "h100-sxm", phase="decode", context=64)


def test_text_inside_of_more_is_found(tmp_path: Path) -> None:
    inner = {k: v for k, v in LLAMA.items() if k != "model_type"} | {"model_type": "gemma3_text", "sliding_window": 16}
    arch = rf.from_huggingface(written(tmp_path, {"model_type": "gemma3", "text_config": inner, "vision_config": {}}))
    assert build_graph(arch).params > 0


def test_neither_torch_nor_transformers_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, roofline as rf; rf.simulate(rf.from_huggingface(sys.argv[1]), 'h100-sxm'); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    path = written(tmp_path, LLAMA)
    assert subprocess.run([sys.executable, "-c", program, str(path)], timeout=120, check=False).returncode == 0


def test_every_family_is_tested() -> None:
    """Each type is built above, or reads as one that is."""
    same = {
        "ministral": "llama", "smollm3": "llama", "mimo": "qwen2", "kimi_k2": "deepseek_v3", "qwen3_vl_text": "qwen3",
        "qwen3_vl_moe_text": "qwen3_moe", "olmo3": "olmo2",
    }  # fmt: skip
    words = {cls.removesuffix("Config").removesuffix("Text").replace("_", "").lower() for cls, _ in TINY}
    for kind, reader in FAMILIES.items():
        assert same.get(kind, kind).removesuffix("_text").replace("_", "") in words, kind
        assert reader is FAMILIES[same.get(kind, kind)]
