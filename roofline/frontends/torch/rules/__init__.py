"""The rules, by topic; importing this package registers them."""

from __future__ import annotations

from roofline.frontends.torch.rules import (  # noqa: F401
    attention,
    convolution,
    create,
    experts,
    higher,
    index,
    linear,
    loss,
    move,
    narrow,
    norm,
    packed,
    pointwise,
    recurrent,
    reduce,
    resample,
    sampled,
    spectral,
    view,
)
