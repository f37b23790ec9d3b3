"""Networks of other people's libraries for the tests of the PyTorch front end, all without weights."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.library


def import_torchvision() -> None:
    """Import torchvision's Python part: its compiled operators, built for another torch, are not needed."""
    register = torch.library.register_fake

    def lenient(op: Any, func: Any = None, /, **options: Any) -> Any:
        def decorate(function: Any) -> Any:
            try:
                return register(op, **options)(function)
            except RuntimeError:
                return function

        return decorate(func) if func is not None else decorate

    torch.library.register_fake = lenient
    try:
        importlib.import_module("torchvision")
    finally:
        torch.library.register_fake = register


@dataclass(frozen=True, kw_only=True)
class Network:
    """A module on the meta device with its inputs."""

    name: str
    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]


def ids(*shape: int) -> torch.Tensor:
    """Return token ids without data."""
    return torch.empty(shape, dtype=torch.int64, device="meta")


def floats(*shape: int) -> torch.Tensor:
    """Return floats without data."""
    return torch.empty(shape, device="meta")


def _text(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"input_ids": ids(2, 16), **more}


def _image(size: int = 224) -> dict[str, torch.Tensor]:
    return {"pixel_values": floats(2, 3, size, size)}


def _t5() -> dict[str, torch.Tensor]:
    return _text(decoder_input_ids=ids(2, 5))


def _clip() -> dict[str, torch.Tensor]:
    return _text(**_image())


def _whisper() -> dict[str, torch.Tensor]:
    return {"input_features": floats(2, 80, 3000), "decoder_input_ids": ids(2, 4)}


#: name -> (configuration class, its options, model class, inputs); sizes are the smallest that keep every kind of layer
TRANSFORMERS: dict[str, tuple[str, dict[str, Any], str, Callable[[], dict[str, torch.Tensor]]]] = {
    "bert": ("BertConfig", {"num_hidden_layers": 2}, "BertForMaskedLM",
             lambda: _text(attention_mask=torch.ones(2, 16, dtype=torch.int64))),
    "gpt2": ("GPT2Config", {"n_layer": 2, "use_cache": False}, "GPT2LMHeadModel", _text),
    "llama": ("LlamaConfig", {"num_hidden_layers": 2, "num_key_value_heads": 8, "use_cache": False}, "LlamaForCausalLM",
              _text),
    "mistral": ("MistralConfig", {"num_hidden_layers": 2, "use_cache": False}, "MistralForCausalLM", _text),
    "qwen2": ("Qwen2Config", {"num_hidden_layers": 2, "use_cache": False}, "Qwen2ForCausalLM", _text),
    "t5": ("T5Config", {"num_layers": 2, "use_cache": False}, "T5ForConditionalGeneration", _t5),
    "vit": ("ViTConfig", {"num_hidden_layers": 2}, "ViTForImageClassification", _image),
    "deit": ("DeiTConfig", {"num_hidden_layers": 2}, "DeiTForImageClassification", _image),
    "swin": ("SwinConfig", {"depths": [2, 2], "num_heads": [3, 6]}, "SwinForImageClassification", _image),
    "convnext": ("ConvNextConfig", {}, "ConvNextForImageClassification", _image),
    "resnet": ("ResNetConfig", {}, "ResNetForImageClassification", _image),
    "efficientnet": ("EfficientNetConfig", {}, "EfficientNetForImageClassification", _image),
    "mobilenet-v2": ("MobileNetV2Config", {}, "MobileNetV2ForImageClassification", _image),
    "segformer": ("SegformerConfig", {}, "SegformerForSemanticSegmentation", _image),
    "detr": ("DetrConfig", {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None,
                            "encoder_layers": 2, "decoder_layers": 2}, "DetrForObjectDetection", _image),
    "clip": ("CLIPConfig", {}, "CLIPModel", _clip),
    "whisper": ("WhisperConfig", {"encoder_layers": 2, "decoder_layers": 2, "use_cache": False},
                "WhisperForConditionalGeneration", _whisper),
    "wav2vec2": ("Wav2Vec2Config", {"num_hidden_layers": 2}, "Wav2Vec2ForCTC",
                 lambda: {"input_values": floats(2, 16000)}),
    "mamba": ("MambaConfig", {"num_hidden_layers": 2, "hidden_size": 256, "use_cache": False}, "MambaForCausalLM",
              _text),
}  # fmt: skip


def transformers_network(name: str) -> Network:
    """Return a network of the transformers library, built from its configuration on the meta device."""
    import_torchvision()
    transformers: Any = importlib.import_module("transformers")

    config_class, options, model_class, inputs = TRANSFORMERS[name]
    if name == "detr":
        options = {**options, "backbone_config": transformers.ResNetConfig(out_features=["stage4"])}
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        config = getattr(transformers, config_class)(**options)
        module = getattr(transformers, model_class)(config).eval()
    return Network(name=name, module=module, inputs=inputs())
