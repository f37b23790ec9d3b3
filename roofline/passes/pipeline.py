"""The ordered list of rewrites between a network and the kernels of a runtime."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.dtypes import Precision
from roofline.errors import InputError, nearest
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Layout
from roofline.passes.attention import decompose_attention
from roofline.passes.batch_norm import fold_batch_norm
from roofline.passes.composites import split_composites
from roofline.passes.fuse import fuse
from roofline.passes.kernels import Kernel, make_kernels
from roofline.passes.layout import set_layout
from roofline.passes.precision import apply_precision
from roofline.passes.saved import MODES, saved_for_backward
from roofline.runtime.spec import Runtime


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What of a runtime decides kernels: runtimes of equal policy share their kernel lists."""

    precision: Precision
    layout: Layout
    fold_batch_norm: bool
    attention: str
    epilogue: tuple[str, ...]
    prologue: tuple[str, ...]
    fuse_movement: bool
    epilogue_functions: tuple[str, ...] | None = None
    split: tuple[str, ...] = ()
    mode: str = "inference"


def policy(runtime: Runtime, precision: Precision, layout: Layout | None = None, mode: str = "inference") -> Policy:
    """Return the part of a runtime that rewrites graphs.

    Raises
    ------
    InputError
        No such mode.
    """
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}{nearest(mode, MODES)}")
    return Policy(
        precision=precision,
        layout=layout or runtime.default_layout,
        fold_batch_norm=runtime.fold_batch_norm,
        attention=runtime.attention,
        epilogue=runtime.epilogue,
        prologue=runtime.prologue,
        fuse_movement=runtime.fuse_movement,
        epilogue_functions=runtime.epilogue_functions,
        split=runtime.split,
        mode=mode,
    )


def rewrite(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return the graph as the runtime's compiler leaves it, before fusion."""
    if policy.attention == "decomposed":
        graph = decompose_attention(graph)
    if policy.fold_batch_norm:
        graph = fold_batch_norm(graph)
    graph = split_composites(graph, policy.split)
    graph = apply_precision(graph, policy.precision)
    return set_layout(graph, policy.layout)


def saved_tensors(graph: OpGraph, policy: Policy) -> frozenset[str]:
    """Return the tensors that a rewritten graph keeps for a backward pass; none in inference."""
    return saved_for_backward(graph) if policy.mode == "forward_saving" else frozenset()


def lower(graph: OpGraph, policy: Policy) -> tuple[OpGraph, tuple[Kernel, ...]]:
    """Return the rewritten graph and its kernels in execution order."""
    graph = rewrite(graph, policy)
    saved = saved_tensors(graph, policy)
    groups = fuse(
        graph,
        policy.epilogue,
        policy.prologue,
        fuse_movement=policy.fuse_movement,
        epilogue_functions=policy.epilogue_functions,
        written=saved,
    )
    return graph, make_kernels(graph, groups, saved=saved)
