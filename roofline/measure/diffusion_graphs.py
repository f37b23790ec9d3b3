"""Text-to-image pipelines as op graphs: text encoders, the transformer of one step, and the image decoder.

The networks are those of diffusers and transformers, built from the facts of their published configurations (the
``config.json`` files of each model on Hugging Face), in bf16 and without weights, as diffusers was until the middle of
2025: norms of queries and keys are written out. The scheduler's few element-wise ops on latent images are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from roofline.errors import InputError
from roofline.graph.opgraph import OpGraph
from roofline.measure.timm_networks import import_beside

#: pixels along a side of one latent pixel, and latent pixels along a side of one token
PIXELS_PER_LATENT, LATENTS_PER_TOKEN = 8, 2
#: what text encoders return for each token, T5's and CLIP's
T5_FEATURES, CLIP_FEATURES = 4096, 768
CLIP_TOKENS = 77
#: its decoder has a convolution more at its entrance than FLUX's
LATENT_CHANNELS_OF_SDXL = 4
#: google/t5-v1_1-xxl, the encoder of both pipelines
T5 = {
    "vocab_size": 32128, "d_model": T5_FEATURES, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
#: openai/clip-vit-large-patch14, its text half
CLIP = {
    "hidden_size": CLIP_FEATURES, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": CLIP_TOKENS, "projection_dim": 768,
}  # fmt: skip
#: the image decoder of SDXL, and FLUX's with more channels
DECODER = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 1024,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
#: black-forest-labs/FLUX.1-dev and -schnell, which differ in the guidance that only dev embeds
FLUX = {
    "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128, "num_attention_heads": 24, "in_channels": 64,
    "joint_attention_dim": T5_FEATURES, "pooled_projection_dim": CLIP_FEATURES, "axes_dims_rope": (16, 56, 56),
}  # fmt: skip
#: PixArt-alpha/PixArt-Sigma-XL-2-1024-MS
PIXART = {
    "num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8,
    "cross_attention_dim": 1152, "caption_channels": T5_FEATURES, "sample_size": 128, "patch_size": LATENTS_PER_TOKEN,
    "interpolation_scale": 2, "use_additional_conditions": False,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What a published text-to-image model runs.

    Attributes
    ----------
    transformer
        Class of diffusers and its configuration.
    tokens
        Of the text, filled up to.
    latent_channels
        Of the images that the transformer works on.
    pooled
        Whether CLIP's summary of the text enters, too.
    guided
        Every step runs with the text and without it, as one batch of twice the examples; so do the text encoders, one
        after the other.
    """

    transformer: tuple[str, Mapping[str, Any]]
    tokens: int
    latent_channels: int
    pooled: bool
    guided: bool


PIPELINES: dict[str, Pipeline] = {
    "black-forest-labs/FLUX.1-dev": Pipeline(
        transformer=("FluxTransformer2DModel", FLUX | {"guidance_embeds": True}),
        tokens=512, latent_channels=16, pooled=True, guided=False,
    ),
    "black-forest-labs/FLUX.1-schnell": Pipeline(
        transformer=("FluxTransformer2DModel", FLUX | {"guidance_embeds": False}),
        tokens=256, latent_channels=16, pooled=True, guided=False,
    ),
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": Pipeline(
        transformer=("PixArtTransformer2DModel", PIXART), tokens=300, latent_channels=4, pooled=False, guided=True
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PipelinePart:
    """A network of a pipeline: ``t5``, ``clip``, ``transformer`` or ``decoder``, for images of a size in pixels."""

    model: str
    part: str
    height: int
    width: int

    @property
    def name(self) -> str:
        """Last word of the model's name, and the part."""
        return f"{self.model.rpartition('/')[2]}-{self.part}"


def parts_of(model: str, height: int, width: int, steps: int) -> list[tuple[PipelinePart, int, int]]:
    """Return the networks of a pipeline: (network, examples for each image, runs one after the other).

    Raises
    ------
    InputError
        No such pipeline, or not of this image size.
    """
    facts = _facts(model)
    side = PIXELS_PER_LATENT * LATENTS_PER_TOKEN
    if height % side or width % side:
        raise InputError(f"{model}: images are multiples of {side} pixels, got {height!r} x {width!r}")
    twice = 2 if facts.guided else 1
    runs = {"t5": (1, twice), "clip": (1, twice), "transformer": (twice, steps), "decoder": (1, 1)}
    return [
        (PipelinePart(model=model, part=part, height=height, width=width), *counts)
        for part, counts in runs.items()
        if facts.pooled or part != "clip"
    ]


def trace_part(network: PipelinePart, batch: int) -> OpGraph:
    """Return a network of a pipeline as the PyTorch front end lowers it.

    Raises
    ------
    InputError
        PyTorch, diffusers or transformers is not installed, or does not build it.
    """
    facts = _facts(network.model)
    with _quietly() as (torch, diffusers, transformers):
        from roofline.frontends.torch import from_torch

        with torch.device("meta"):
            made = _network(network.part, facts, diffusers, transformers).to(torch.bfloat16)
        inputs = _inputs(network, facts, torch, batch)
        return from_torch(made, kwargs=inputs, name=network.name)


def _network(part: str, facts: Pipeline, diffusers: Any, transformers: Any) -> Any:
    if part == "t5":
        return transformers.T5EncoderModel(transformers.T5Config(**T5))
    if part == "clip":
        return transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP))
    if part == "decoder":
        last = facts.latent_channels == LATENT_CHANNELS_OF_SDXL
        sizes = DECODER | {"latent_channels": facts.latent_channels}
        whole = diffusers.AutoencoderKL(**sizes, use_quant_conv=last, use_post_quant_conv=last)
        whole.forward = whole.decode
        return whole
    name, own_sizes = facts.transformer
    made = getattr(diffusers, name)(**own_sizes)
    written_out = diffusers.models.normalization.RMSNorm
    for module in list(made.modules()):
        for key, norm in list(module.named_children()):
            if type(norm).__name__ == "RMSNorm":  # of torch from 0.35 on, in one kernel from torch 2.9 on
                module.register_module(key, written_out(norm.weight.shape, eps=norm.eps))
    return made


def _inputs(network: PipelinePart, facts: Pipeline, torch: Any, batch: int) -> dict[str, Any]:
    def bf16(*shape: int) -> Any:
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")

    latents = (network.height // PIXELS_PER_LATENT, network.width // PIXELS_PER_LATENT)
    tokens = latents[0] * latents[1] // LATENTS_PER_TOKEN**2
    mask = torch.ones(batch, facts.tokens, dtype=torch.long)
    if network.part == "t5":
        return {"input_ids": torch.zeros_like(mask)} | ({"attention_mask": mask} if facts.guided else {})
    if network.part == "clip":
        return {"input_ids": torch.zeros(batch, CLIP_TOKENS, dtype=torch.long)}
    if network.part == "decoder":
        return {"z": bf16(batch, facts.latent_channels, *latents)}
    text = {"encoder_hidden_states": bf16(batch, facts.tokens, T5_FEATURES)}
    if facts.guided:
        step = {"timestep": torch.ones(batch, dtype=torch.long), "encoder_attention_mask": mask}
        none = {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        return {"hidden_states": bf16(batch, facts.latent_channels, *latents)} | text | step | none
    places = {"img_ids": bf16(tokens, 3), "txt_ids": bf16(facts.tokens, 3)}
    guidance = {"guidance": torch.empty(batch, device="meta")} if facts.transformer[1]["guidance_embeds"] else {}
    step = {"timestep": bf16(batch), "pooled_projections": bf16(batch, CLIP_FEATURES)}
    features = facts.latent_channels * LATENTS_PER_TOKEN**2
    return {"hidden_states": bf16(batch, tokens, features)} | text | step | places | guidance


def _facts(model: str) -> Pipeline:
    if model not in PIPELINES:
        raise InputError(f"pipeline {model!r} is not known: {', '.join(map(repr, PIPELINES))} are")
    return PIPELINES[model]


@contextmanager
def _quietly() -> Iterator[tuple[Any, Any, Any]]:
    """Yield torch, diffusers and transformers, which say nothing meanwhile but why they do not work."""
    transformers, diffusers = (import_beside(name, "text-to-image networks") for name in ("transformers", "diffusers"))
    import torch

    before = diffusers.logging.get_verbosity()
    diffusers.logging.set_verbosity_error()
    try:
        yield torch, diffusers, transformers
    except (ImportError, RuntimeError) as error:  # how the libraries say that one of their own imports fails
        line = " ".join(str(error).split())[-120:]
        raise InputError(f"text-to-image networks cannot be built here: {line}") from None
    finally:
        diffusers.logging.set_verbosity(before)
