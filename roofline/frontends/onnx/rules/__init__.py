"""The rules, by topic; importing this package registers them."""

from __future__ import annotations

from roofline.frontends.onnx.rules import (  # noqa: F401
    attention,
    contrib,
    contrib_attention,
    control,
    convolutions,
    experts,
    indexing,
    linear_attention,
    losses,
    norms,
    pointwise,
    products,
    quantized,
    recurrent,
    resize,
    sampling,
    sequences,
    shapes,
    spectral,
)
