"""How networks begin: how weights are drawn, and what keeps norms from dividing by zero. Each with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import BatchNorm


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The constants of a family.

    Attributes
    ----------
    batch_norm_epsilon, layer_norm_epsilon
        Added to variances.
    truncated
        Whether numbers beyond two deviations are drawn again.
    conv_deviation
        Standard deviation of the weights of convolutions; 0: sqrt(2 / fan-out) (He et al., arXiv 1502.01852).
    linear_deviation
        The same of linear layers and embeddings.
    residual, residual_deviation
        Ends of the names of the linear layers whose results are added to the stream, where the paper draws them
        smaller, and the deviation of these.
    layer_scale
        What a branch is multiplied by before it has learned anything (Touvron et al., arXiv 2103.17239; ConvNeXt).
    """

    batch_norm_epsilon: float = 1e-5  # torch.nn.BatchNorm2d
    layer_norm_epsilon: float = 1e-5  # torch.nn.LayerNorm
    truncated: bool = False
    conv_deviation: float = 0.0
    linear_deviation: float = 0.01  # Goyal et al., arXiv 1706.02677, section 5.1: the classifier
    layer_scale: float = 1e-6
    residual: tuple[str, ...] = ()
    residual_deviation: float = 0.0


#: ResNet and what came after it
CONVOLUTIONAL = Recipe()
#: ViT and Swin as their authors' code draws them; BERT, section 3 of its code: truncated_normal_initializer(0.02)
TRANSFORMER = Recipe(layer_norm_epsilon=1e-6, truncated=True, conv_deviation=0.02, linear_deviation=0.02)

#: family -> what it does otherwise
FAMILIES = {
    # tensorflow/models research/slim: batch_norm_epsilon=0.001, truncated normals of deviation 0.1 for inception_v3
    "inception": replace(CONVOLUTIONAL, batch_norm_epsilon=1e-3, truncated=True, conv_deviation=0.1),
    # google-research/bert modeling.py: layer_norm epsilon 1e-12
    "bert": replace(TRANSFORMER, layer_norm_epsilon=1e-12),
    # openai/gpt-2 model.py: norm(epsilon=1e-5), random_normal_initializer(stddev=0.02)
    # and Radford et al., 2019, section 2.3: residual layers scaled by 1 / sqrt(number of residual layers)
    "gpt2": replace(TRANSFORMER, layer_norm_epsilon=1e-5, truncated=False, residual=("attn/proj", "mlp/fc2")),
    # microsoft/Swin-Transformer: torch.nn.LayerNorm
    "swin": replace(TRANSFORMER, layer_norm_epsilon=1e-5),
}


def recipe_of(graph: OpGraph, family: str = "") -> Recipe:
    """Return the recipe of a family; of an unknown one that of its kind: networks with batch norms, and others."""
    convolutional = any(isinstance(op, BatchNorm) for op in graph.ops.values())
    recipe = FAMILIES.get(family) or (CONVOLUTIONAL if convolutional else TRANSFORMER)
    if not recipe.residual:
        return recipe
    layers = sum(op_id.endswith(recipe.residual) for op_id in graph.ops)
    return replace(recipe, residual_deviation=recipe.linear_deviation / math.sqrt(max(layers, 1)))
