"""The ordered list of rewrites between a network and the kernels of a runtime.

A training step has three phases, each a graph of its own: between the two passes of a block the rest of the network
runs, so that nothing fuses, and nothing stays on chip, from one phase to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from roofline.dtypes import Precision
from roofline.errors import InputError, nearest
from roofline.graph.gradients import STATES, Optimizer, OptimizerStep
from roofline.graph.op import Layout
from roofline.graph.opgraph import OpGraph
from roofline.numeric import Numeric
from roofline.passes.attention import decompose_attention
from roofline.passes.backward import backward_of
from roofline.passes.backward.update import update_graph
from roofline.passes.batch_norm import fold_batch_norm, use_batch_statistics
from roofline.passes.composites import split_composites, split_pads
from roofline.passes.fuse import fuse
from roofline.passes.kernels import Kernel, make_kernels
from roofline.passes.layout import follow_layout, set_layout
from roofline.passes.precision import apply_precision
from roofline.runtime.spec import Runtime

Mode: TypeAlias = Literal["inference", "forward_saving", "training"]
#: what a training step runs where nothing else is asked for: the optimizer that needs the most memory
DEFAULT_OPTIMIZER: Optimizer = "adam"
#: weights and gradients need a floating-point format of at least so many bits
TRAINABLE_BITS = 16


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
    layout_copies: bool = False
    mode: Mode = "inference"
    optimizer: Optimizer | None = None
    recompute: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """A graph as the runtime runs it, and its kernels in execution order."""

    graph: OpGraph
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """What a runtime runs of a graph: a forward pass, and in training a backward pass and the optimizer's update.

    Attributes
    ----------
    saved_bytes
        Activations that wait for the backward pass.
    state_bytes
        Gradients of the parameters, and the optimizer's states.
    """

    phases: tuple[Phase, ...]
    saved_bytes: Numeric = 0.0
    state_bytes: Numeric = 0.0


def policy(
    runtime: Runtime,
    precision: Precision,
    layout: Layout | None = None,
    mode: str = "inference",
    optimizer: str | None = None,
    recompute: bool = False,
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
    if mode == "training":
        optimizer = optimizer or DEFAULT_OPTIMIZER
        if optimizer not in STATES:
            raise InputError(f"unknown optimizer {optimizer!r}{nearest(optimizer, STATES)}")
        if runtime.fold_batch_norm:
            raise InputError(f"runtime {runtime.name!r} does not train: it folds batch norms into fixed weights")
        if precision.storage.kind != "float" or precision.storage.bits < TRAINABLE_BITS:
            raise InputError(f"no training in {precision.name!r}: weights and gradients need fp32, bf16, fp16 or amp")
    else:
        for option, given in (("optimizer", optimizer is not None), ("recompute", recompute)):
            if given:
                raise InputError(f"{option} is for mode 'training', not {mode!r}")
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
        layout_copies=runtime.layout_copies,
        mode=cast(Mode, mode),
        optimizer=cast("Optimizer | None", optimizer),
        recompute=recompute,
    )


def rewrite(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return the forward graph as the runtime's compiler leaves it, before fusion."""
    if policy.attention == "decomposed":
        graph = decompose_attention(graph)
    if policy.fold_batch_norm:
        graph = fold_batch_norm(graph)
    graph = split_composites(graph, policy.split)
    graph = apply_precision(graph, policy.precision)
    graph = (follow_layout if policy.layout_copies else set_layout)(graph, policy.layout)
    graph = split_pads(graph, policy.split)
    return use_batch_statistics(graph) if policy.mode == "training" else graph


def lower(graph: OpGraph, policy: Policy) -> tuple[OpGraph, tuple[Kernel, ...]]:
    """Return the rewritten graph and its kernels in execution order, of the forward pass."""
    forward = program(graph, policy).phases[0]
    return forward.graph, forward.kernels


def program(
    graph: OpGraph, policy: Policy, wanted: frozenset[str] = frozenset(), *, in_segments: bool = False
) -> Program:
    """Return what a runtime runs of a graph.

    Parameters
    ----------
    wanted
        Inputs that need a gradient: those of a block that is not the first of its network.
    in_segments
        The graph is a whole network: what is computed again starts from tensors in between.

    Raises
    ------
    UnknownOpError
        A backward pass is needed through an op without a rule for it.
    """
    forward = rewrite(graph, policy)
    if policy.mode == "inference":
        return Program(phases=(_phase(forward, policy),))
    behind = backward_of(forward, wanted, recompute=policy.recompute, in_segments=in_segments)
    phases = [_phase(forward, policy, behind.saved)]
    state_bytes: Numeric = 0.0
    if policy.optimizer is not None:
        if len(behind.graph):
            phases.append(_phase(behind.graph, policy, frozenset(behind.gradients.values())))
        if behind.gradients:
            update = update_graph(forward, behind, policy.optimizer)
            phases.append(Phase(graph=update, kernels=make_kernels(update, [update.order])))
            kept = [t for op in update.ops.values() if isinstance(op, OptimizerStep) for t in op.inputs[1:]]
            state_bytes = _size(update, kept)
    return Program(phases=tuple(phases), saved_bytes=_size(forward, sorted(behind.saved)), state_bytes=state_bytes)


def _phase(graph: OpGraph, policy: Policy, written: frozenset[str] = frozenset()) -> Phase:
    groups = fuse(
        graph,
        policy.epilogue,
        policy.prologue,
        fuse_movement=policy.fuse_movement,
        epilogue_functions=policy.epilogue_functions,
        written=written,
    )
    return Phase(graph=graph, kernels=make_kernels(graph, groups, saved=written))


def _size(graph: OpGraph, tensors: list[str]) -> Numeric:
    """Return the bytes of some tensors, of every run of a loop's body."""
    total: Numeric = 0.0
    for t in tensors:
        times = graph.op(graph.producers[t]).times if t in graph.producers else 1
        total = total + graph.tensors[t].bytes * times
    return total
