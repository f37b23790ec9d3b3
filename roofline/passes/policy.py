"""What passes may ask: the switches of the runtime, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, cast, get_args

from roofline.dtypes import Precision
from roofline.errors import InputError, nearest
from roofline.graph.gradients import STATES, Optimizer
from roofline.graph.op import Layout
from roofline.software.formats import Format
from roofline.software.spec import Runtime

Mode: TypeAlias = Literal["inference", "forward_saving", "training"]
#: what a training step runs where nothing else is asked for: the optimizer that needs the most memory
DEFAULT_OPTIMIZER: Optimizer = "adam"
#: weights and gradients need a floating-point format of at least so many bits
TRAINABLE_BITS = 16


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What of a runtime and of a run decides kernels: runs of equal policy share their kernel lists.

    A field that has the name of a runtime's constant takes its value: a pass that a runtime switches on needs no more.
    """

    precision: Precision
    layout: Layout
    fold_batch_norm: bool
    attention: str
    epilogue: tuple[str, ...]
    prologue: tuple[str, ...]
    fuse_movement: bool
    epilogue_functions: tuple[str, ...] | None = None
    batch_norm_functions: tuple[str, ...] = ()
    nested_convolutions: bool = False
    image_copies: bool = False
    split: tuple[str, ...] = ()
    layout_copies: bool = False
    merge_products: bool = False
    shared_keys: bool = False
    mode: Mode = "inference"
    optimizer: Optimizer | None = None
    recompute: bool = False
    format: Format | None = None


def policy(
    runtime: Runtime,
    precision: Precision,
    layout: Layout | None = None,
    mode: str = "inference",
    optimizer: str | None = None,
    recompute: bool = False,
    format: Format | None = None,
) -> Policy:
    """Return the part of a runtime that rewrites graphs.

    Raises
    ------
    InputError
        No such mode or optimizer; one of training's options without training; or training under a runtime or in a
        precision that does not train.
    """
    if mode not in get_args(Mode):
        raise InputError(f"unknown mode {mode!r}{nearest(mode, get_args(Mode))}")
    if format is not None and mode != "inference":
        raise InputError(f"format {format.name!r} is for mode 'inference', not {mode!r}")
    if mode == "training":
        optimizer = optimizer or DEFAULT_OPTIMIZER
        if optimizer not in STATES:
            raise InputError(f"unknown optimizer {optimizer!r}{nearest(optimizer, STATES)}")
        if runtime.fold_batch_norm:
            raise InputError(f"runtime {runtime.name!r} does not train: it folds batch norms into fixed weights")
        if runtime.serves:
            raise InputError(f"runtime {runtime.name!r} does not train: it serves")
        if precision.storage.kind != "float" or precision.storage.bits < TRAINABLE_BITS:
            raise InputError(f"no training in {precision.name!r}: weights and gradients need fp32, bf16, fp16 or amp")
    else:
        for option, given in (("optimizer", optimizer is not None), ("recompute", recompute)):
            if given:
                raise InputError(f"{option} is for mode 'training', not {mode!r}")
    switches = {f.name: getattr(runtime, f.name) for f in fields(Policy) if hasattr(runtime, f.name)}
    return Policy(
        precision=precision,
        layout=layout or runtime.default_layout,
        mode=cast(Mode, mode),
        optimizer=cast("Optimizer | None", optimizer),
        recompute=recompute,
        format=format,
        **switches,
    )
