"""Every model type of the transformers library, built small and fed by what its forward method asks for.

A type is built from its own default configuration with few layers: in its own width without weights, else narrow and
with weights. What goes in is told by the names of parameters, with sizes from the configuration; several ways are
tried, and the first that torch itself runs is the one that is compared.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.backends import mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode
from torch_networks import import_torchvision

import roofline as rf
from roofline.errors import RooflineError
from roofline.text import words

#: words of the options that say how deep a network is
DEPTHS = ("layers", "layer", "depth", "blocks")
DEPTH, EXPERTS = 2, 4
#: words with which an option is something else than a depth, or than how many experts there are
NO_DEPTH, NO_COUNT = {"per", "interval", "freq", "period", "every"}, {"per", "tok", "shared"}
#: options of a narrow network; only what is larger changes
NARROW = {
    64: words(
        "hidden_size d_model n_embd embed_dim hidden_dim dim moe_intermediate_size shared_expert_intermediate_size"
    ),
    128: words("intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff n_inner mlp_dim"),
    4: words("num_attention_heads encoder_attention_heads decoder_attention_heads n_head num_heads n_heads"),
    2: words("num_key_value_heads"),
    16: words("head_dim d_kv"),
}
#: parameters beyond which a type is not built with weights
MOST_WEIGHTS = 150_000_000


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a type fared: ``lowers``, ``differs`` (in multiply-adds), ``refused``, ``raises``; or it was not compared."""

    name: str
    status: str
    detail: str = ""


def types() -> list[str]:
    """Return the names of all types, in order."""
    return sorted(_configurations().CONFIG_MAPPING_NAMES)


def _configurations() -> Any:
    import_torchvision()
    return importlib.import_module("transformers.models.auto.configuration_auto")


# models ----------------------------------------------------------------------------------------------------------


def model_class(name: str, config_class: type) -> type | None:
    """Return the class of a type's plain model; else the first with the most words for what it is for."""
    auto: Any = importlib.import_module("transformers.models.auto.modeling_auto")
    transformers: Any = importlib.import_module("transformers")
    tables = [t for n, t in vars(auto).items() if n.endswith("MAPPING_NAMES") and isinstance(t, dict)]
    tables.sort(key=lambda t: t is not auto.MODEL_MAPPING_NAMES)
    for table in tables:
        found = table.get(name)
        found = getattr(transformers, found[0] if isinstance(found, (tuple, list)) else found or "", None)
        if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel):
            return found
    module = config_class.__module__.replace(".configuration_", ".modeling_")
    try:
        classes: list[Any] = [c for c in vars(importlib.import_module(module)).values() if inspect.isclass(c)]
    except ImportError:
        return None
    fitting = [
        c for c in classes if issubclass(c, transformers.PreTrainedModel) and c.config_class is config_class
        and not c.__name__.endswith("PreTrainedModel")
    ]  # fmt: skip
    return min(fitting, key=lambda c: (not c.__name__.endswith("Model"), len(c.__name__))) if fitting else None


def shrink(config: Any, width: str, seen: set[int] | None = None) -> Any:
    """Cut a configuration, and those in it, to few layers and experts; lists with an entry for each layer as well.

    `width` is ``"narrow"`` for one size of everything, ``"scaled"`` for the proportions of the default, or ``""``.
    """
    seen = seen if seen is not None else set()
    if id(config) in seen:
        return config
    seen.add(id(config))
    full, stages = None, len(getattr(config, "depths", None) or ())
    if width == "scaled":
        _scale(config)
    for size, names in NARROW.items() if width == "narrow" else ():
        for key in names:
            if isinstance(vars(config).get(key), int) and vars(config)[key] > size:
                _set(config, key, size)
    for key, value in list(vars(config).items()):
        said = key.strip("_").split("_")
        if hasattr(value, "to_dict"):
            shrink(value, width, seen)
        elif isinstance(value, bool) or not isinstance(value, int):
            continue
        elif said[-1] in DEPTHS and value > DEPTH and value != stages and not NO_DEPTH & set(said):
            full = value if full is None or key == "num_hidden_layers" else full
            _set(config, key, DEPTH)
        elif "experts" in said and {"num", "n"} & set(said) and value > EXPERTS and not NO_COUNT & set(said):
            _set(config, key, EXPERTS)
    for key, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and full is not None and len(value) == full:
            _set(config, key, type(value)(_spread(value)))
        elif key in ("depths", "layers_block", "num_blocks", "block_repeats") and isinstance(value, (list, tuple)):
            _set(config, key, [min(x, DEPTH) if isinstance(x, int) else x for x in value])
        elif key.startswith(("num_experts_per_tok", "moe_topk", "top_k", "moe_k", "num_selected_experts")):
            _set(config, key, min(value, DEPTH) if isinstance(value, int) else value)
    return config


def _scale(config: Any) -> None:
    """Divide heads and widths by what divides the number of heads."""
    heads = int(_first(_of(config, "num_attention_heads", "num_heads", "n_heads", "n_head", default=1)) or 1)
    width = int(_first(_of(config, "hidden_size", "d_model", "n_embd", "embed_dim", default=64)) or 64)
    by = heads & -heads
    while by > 1 and width // by < 64:
        by //= 2
    for key, value in list(vars(config).items()):
        scales = key in NARROW[64] or key in NARROW[128] or key.strip("_").split("_")[-1] in ("heads", "head", "groups")
        if scales and isinstance(value, int) and not isinstance(value, bool):
            _set(config, key, max(1, value // by))


def _spread(values: Any) -> list[Any]:
    """Return entries of a list for each layer: one of each kind where there are two."""
    return [values[0], next((v for v in values if v != values[0]), values[-1])][:DEPTH]


def _set(config: Any, key: str, value: Any) -> None:
    try:
        setattr(config, key, value)
    except Exception:  # a property of some configurations
        vars(config)[key] = value


def build(name: str, device: str, width: str) -> torch.nn.Module:
    """Return the small model of a type, in evaluation mode."""
    config = _configurations().CONFIG_MAPPING[name]()
    cls: Any = model_class(name, type(config))
    if cls is None:
        raise LookupError("no model class")
    shrunk = shrink(copy.deepcopy(config), width)
    for option in ("use_timm_backbone", "use_pretrained_backbone"):
        if hasattr(shrunk, option):
            setattr(shrunk, option, False)
    for option, value in (("use_cache", False), ("prediction_length", 8)):
        if hasattr(shrunk, option):
            setattr(shrunk, option, value)
    with torch.device(device):
        module: torch.nn.Module = cls._from_config(shrunk) if hasattr(cls, "_from_config") else cls(shrunk)
    return module.eval().requires_grad_(False)


# inputs ----------------------------------------------------------------------------------------------------------


def _of(config: Any, *names: str, default: Any = None) -> Any:
    """Return the first option of these names that a configuration, or one inside it, has."""
    inner = [config] + [value for value in vars(config).values() if hasattr(value, "to_dict")]
    for name in names:
        for one in inner:
            value = getattr(one, name, None)
            if value is not None:
                return value
    return default


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        size = (size.get("height", 224), size.get("width", 224))
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return int(size), int(size)


def _count(*shape: int) -> torch.Tensor:
    """Return token ids: some ordinary ones."""
    flat = torch.arange(torch.Size(shape).numel()) % 7 + 3
    return flat.view(shape)


def _made(config: Any) -> dict[str, Any]:
    """Return what parameters of these names are given."""
    channels = int(_of(config, "num_channels", "in_channels", "in_chans", default=3))
    height, width = _pair(_of(config, "image_size", "img_size", "input_image_size", default=224))
    hidden = int(_first(_of(config, "hidden_size", "d_model", "embed_dim", "n_embd", "hidden_dim", default=64)))
    mels = int(_of(config, "num_mel_bins", "input_dim", "feature_size", "input_feat_per_channel", default=80))
    frames = int(_of(config, "num_frames", "frames_per_clip", default=8))
    patch = _pair(_of(config, "patch_size", default=14))[0]
    steps = 2 * int(_of(config, "max_source_positions", default=1500))
    ids, mask = _count(2, 16), torch.ones(2, 16, dtype=torch.int64)
    image = torch.empty(2, channels, height, width)
    context, lags = int(_of(config, "context_length", default=32) or 32), _of(config, "lags_sequence", default=[0])
    series = context + max(lags or [0])
    grid = torch.tensor([[1, 8, 8]])
    depth = int(_of(config, "temporal_patch_size", default=2) or 2)
    given = {
        "input_ids": ids, "decoder_input_ids": ids[:, :5], "attention_mask": mask, "token_type_ids": mask * 0,
        "bbox": torch.zeros(2, 16, 4, dtype=torch.int64), "pixel_values": image, "image": image, "x": image,
        "pixel_mask": torch.ones(2, height, width, dtype=torch.int64), "images": image,
        "pixel_values_videos": torch.empty(2, frames, channels, height, width),
        "input_features": torch.empty(2, mels, steps), "input_values": torch.empty(2, 16000),
        "inputs_embeds": torch.empty(2, 16, hidden), "hidden_states": torch.empty(2, 16, hidden),
        "encoder_hidden_states": torch.empty(2, 16, hidden),
        "past_values": torch.empty(2, series), "past_time_features": torch.empty(2, series, 1),
        "past_observed_mask": torch.ones(2, series, dtype=torch.bool),
        "future_values": torch.empty(2, 8), "future_time_features": torch.empty(2, 8, 1),
        "grid_thw": grid, "image_grid_thw": grid, "position_ids": torch.arange(16).expand(2, 16),
        "spatial_shapes": torch.tensor([[16, 16]] * 2), "pixel_attention_mask": torch.ones(2, 256, dtype=torch.int64),
        "input_points": torch.empty(2, 1, 1, 2), "speech_input": torch.empty(2, 16000), "task_inputs": _count(2, 16),
        "waveform": torch.empty(2, 1, 16000), "spectrogram": torch.empty(2, 64, mels), "audio": torch.empty(2, 16000),
        "states": torch.empty(2, 8, 17), "actions": torch.empty(2, 8, 6), "rewards": torch.empty(2, 8, 1),
        "returns_to_go": torch.empty(2, 8, 1), "timesteps": torch.arange(8).expand(2, 8),
        "audio_values": torch.empty(2, 128, 16), "cu_seqlens": torch.tensor([0, 64]),
        "input_embeds": torch.empty(2, 16, hidden), "patches": torch.empty(64, channels * depth * patch * patch),
        "labels": None, "flattened_patches": torch.empty(2, 64, 770),
    }  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value


def feeds(module: Any) -> Iterator[dict[str, Any]]:
    """Yield the inputs that a module may take: what it requires, its main input, text, both sides, an image, sound."""
    made = _made(module.config)
    parameters = inspect.signature(module.forward).parameters
    required = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    main = getattr(module, "main_input_name", "input_ids")
    wanted = [
        [*required, main],
        [*required, main, "decoder_input_ids"],
        [*required, "input_ids", "attention_mask"],
        [*required, "input_ids", "bbox"],
        [*required, "input_ids", "pixel_values"],
        [*required, "input_ids", "input_features"],
        [*required, "input_ids", "decoder_input_ids", "pixel_values"],
        [*required, "pixel_values"],
        [*required, "input_features"],
        [*required, "input_values"],
        [*required, "inputs_embeds"],
        [n for n in parameters if n in made and n not in ("position_ids", "inputs_embeds", "labels")],
    ]
    tried: list[list[str]] = []
    for names in wanted:
        names = list(dict.fromkeys(n for n in names if n in parameters))
        if names and all(n in made for n in names) and names not in tried:
            tried.append(names)
            yield {n: made[n] for n in names}
            yield from _other_shapes(names, made, module.config)


def _other_shapes(names: list[str], made: dict[str, Any], config: Any) -> Iterator[dict[str, Any]]:
    """Yield the same inputs in the shapes that some kinds of networks take."""
    channels = int(_of(config, "num_channels", "in_channels", default=3))
    patch = _pair(_of(config, "patch_size", default=14))[0]
    other = {
        "input_features": [made["input_features"].transpose(1, 2), made["input_features"][:, None].transpose(2, 3)],
        "input_values": [made["input_values"][:, None], torch.empty(2, 2, 16000), torch.empty(2, 1024, 128)],
        "pixel_values": [made["pixel_values_videos"], made["pixel_values"][:, None], torch.empty(2, 3, 224, 224),
                         torch.empty(2, 3, 512, 512), torch.empty(2, 256, channels * patch * patch)],
        "hidden_states": [made["patches"], made["pixel_values"], made["hidden_states"].transpose(1, 2)],
        "past_values": [made["past_values"][..., None], torch.empty(2, 512, 1), torch.empty(2, 512)],
    }  # fmt: skip
    for name in names:
        for shape in other.get(name, ()):
            yield {**{n: made[n] for n in names}, name: shape}


# comparison ------------------------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def counted(module: torch.nn.Module, inputs: dict[str, Any], device: str) -> int:
    """Return the operations of products that torch counts in a run; raises what the run raises.

    Layers of oneDNN are left out of the run: the counter does not look into them.
    """
    placed = {n: x.to(device) if isinstance(x, torch.Tensor) else x for n, x in inputs.items()}
    counter, apart = FlopCounterMode(display=False), _experts_apart(module, device)
    with _quiet(), apart, sdpa_kernel(SDPBackend.MATH), mkldnn.flags(enabled=False), counter:
        out = module(**placed)
    if not any(isinstance(x, torch.Tensor) for x in pytree.tree_leaves(dict(out) if isinstance(out, dict) else out)):
        raise ValueError("returns no tensor")
    return int(counter.get_total_flops())


@contextmanager
def _experts_apart(module: Any, device: str) -> Iterator[None]:
    """Run experts as products that the counter knows: one after the other, or where there is no data, as a batch."""
    if not getattr(module, "_can_set_experts_implementation", bool)():
        yield
        return
    before = module.get_experts_implementation()
    module.set_experts_implementation("batched_mm" if device == "meta" else "eager")
    try:
        yield
    finally:
        module.set_experts_implementation(before)


def compared(name: str) -> Result:
    """Build a type, find inputs that torch itself runs, lower it and compare the multiply-adds."""
    built, why = False, ""
    for device, width in (("meta", ""), ("cpu", "narrow"), ("cpu", "scaled"), ("cpu", "")):
        try:
            with _quiet():
                if device == "cpu" and sum(p.numel() for p in build(name, "meta", width).parameters()) > MOST_WEIGHTS:
                    continue
                module = build(name, device, width)
        except Exception as error:
            why = why or f"{type(error).__name__}: {error}"[:200]
            continue
        built = True
        for inputs in feeds(module):
            try:
                flops = counted(module, inputs, device)
            except Exception as error:
                why = why or f"{', '.join(inputs)}: {type(error).__name__}: {str(error).splitlines()[:1]}"[:200]
                continue
            return _lowered(name, module, inputs, flops)
    return Result(name=name, status="not fed" if built else "not built", detail=why)


def _lowered(name: str, module: Any, inputs: dict[str, Any], flops: int) -> Result:
    fed = f"{', '.join(inputs)}"
    try:
        with _quiet():
            graph = rf.from_torch(module, kwargs=inputs)
    except RooflineError as error:
        return Result(name=name, status="refused", detail=f"{fed}: {error}"[:400])
    except Exception as error:
        return Result(name=name, status="raises", detail=f"{fed}: {type(error).__name__}: {error}"[:400])
    if 2 * graph.macs != flops:
        return Result(name=name, status="differs", detail=f"{fed}: {2 * graph.macs:.0f} operations, torch {flops}")
    return Result(name=name, status="lowers", detail=fed)
