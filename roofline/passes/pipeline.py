"""The ordered list of rewrites between a network and the kernels of a runtime.

A training step has three phases, each a graph of its own: between the two passes of a block the rest of the network
runs, so that nothing fuses, and nothing stays on chip, from one phase to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from roofline.graph.empty import without_empty
from roofline.graph.gradients import OptimizerStep
from roofline.graph.opgraph import OpGraph
from roofline.numeric import Numeric
from roofline.passes.attention import decompose_attention
from roofline.passes.backward import backward_of
from roofline.passes.backward.update import update_graph
from roofline.passes.batch_norm import fold_batch_norm, use_batch_statistics
from roofline.passes.composites import split_composites, split_pads
from roofline.passes.entry import copy_images
from roofline.passes.format import apply_format
from roofline.passes.fuse import fuse
from roofline.passes.kernels import Kernel, make_kernels
from roofline.passes.layout import apply_layout
from roofline.passes.merge import merge_products
from roofline.passes.policy import Policy
from roofline.passes.precision import apply_precision
from roofline.passes.rotary import fold_rotary
from roofline.passes.share_keys import share_keys


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


Pass: TypeAlias = Callable[[OpGraph, Policy], OpGraph]
#: what a compiler does to a graph before it fuses, in this order; a pass that the policy does not ask for returns the
#: graph as it is
PASSES: tuple[Pass, ...] = (
    decompose_attention,  # into products and a softmax, where the runtime has no kernel for attention
    fold_batch_norm,  # into the convolution before it, where weights are fixed
    share_keys,  # where attention reads what several query heads share as it is
    merge_products,  # of one operand, where the runtime keeps their weights side by side
    fold_rotary,  # what turns queries and keys, where one kernel does it
    split_composites,  # activations that the runtime computes in several kernels
    apply_precision,  # the formats of tensors, and the casts of autocast
    apply_format,  # a language model's own: quantized weights, activations and caches
    apply_layout,  # the memory format of images, and the copies between formats
    split_pads,  # into zeros and a copy: after the layout, which says what lies side by side
    use_batch_statistics,  # training: batch norms over the mean and variance of their batch
)


def rewrite(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return the forward graph as the runtime's compiler leaves it, before fusion."""
    graph = without_empty(graph)
    for change in PASSES:
        graph = change(graph, policy)
    return graph


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
    compiled = copy_images(forward, policy, wanted)
    if policy.mode == "inference":
        return Program(phases=(_phase(compiled, policy),))
    behind = backward_of(forward, wanted, recompute=policy.recompute, in_segments=in_segments)
    phases = [_phase(compiled, policy, behind.saved)]
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
    return Phase(graph=graph, kernels=make_kernels(graph, fuse(graph, policy, written), saved=written))


def _size(graph: OpGraph, tensors: list[str]) -> Numeric:
    """Return the bytes of some tensors, of every run of a loop's body."""
    total: Numeric = 0.0
    for t in tensors:
        times = graph.op(graph.producers[t]).times if t in graph.producers else 1
        total = total + graph.tensors[t].bytes * times
    return total
