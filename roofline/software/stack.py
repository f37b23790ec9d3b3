"""What a software stack is, beside its constants: its fusion policy, and the kernels that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.software.kernels import Kernels
from roofline.software.libraries.attention import AttentionLibrary
from roofline.software.libraries.experts import ExpertsLibrary
from roofline.software.libraries.paged_attention import PagedAttentionLibrary
from roofline.software.libraries.products import ProductsLibrary

Attention = Literal["fused", "decomposed"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What a runtime fuses and calls.

    Attributes
    ----------
    fold_batch_norm, attention, epilogue, prologue, fuse_movement
        Fusion policy: which op families absorb the point-wise ops that follow them, and that precede them, and whether
        copies in another order join point-wise kernels.
    lane_layout
        Memory format of images where their products run on the vector lanes; `default_layout` where they do not.
    nested_convolutions, image_copies
        Whether a convolution is computed inside the kernel of the one that alone reads it, and whether images that
        enter are copied into the compiler's order.
    epilogue_functions, batch_norm_functions, split
        Functions that kernels of products absorb (None: all), that those of batch norms with stored statistics absorb,
        and that run as chains of simpler ones.
    layout_copies
        Whether tensors are copied between ops that want different memory formats; else the compiler arranges them.
    merge_products
        Whether products of one operand with several weights (queries, keys and values; a gate and what it gates) run as
        one.
    shared_keys
        Whether attention reads keys and values that query heads share once, where a program repeats them in copies.
    products, fused_attention, experts, paged_attention
        Kernel libraries that it calls, in order of preference; without one for a device, the constants below decide.
    kernels
        For which numbers it has kernels; None where nobody says it.
    """

    name: str
    title: str
    device_kinds: tuple[str, ...]
    default_layout: Literal["nhwc", "nchw"]
    lane_layout: Literal["nhwc", "nchw"]
    fold_batch_norm: bool
    attention: Attention
    epilogue: tuple[str, ...]
    prologue: tuple[str, ...]
    fuse_movement: bool
    epilogue_functions: tuple[str, ...] | None
    batch_norm_functions: tuple[str, ...]
    nested_convolutions: bool
    image_copies: bool
    split: tuple[str, ...]
    layout_copies: bool
    merge_products: bool = False
    shared_keys: bool = False
    products: tuple[ProductsLibrary, ...] = ()
    fused_attention: tuple[AttentionLibrary, ...] = ()
    experts: tuple[ExpertsLibrary, ...] = ()
    paged_attention: tuple[PagedAttentionLibrary, ...] = ()
    kernels: Kernels | None = None
