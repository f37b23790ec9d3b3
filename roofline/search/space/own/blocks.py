"""Somebody's blocks: what a stage's choices make, lowered once for each input through the front end it belongs to."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from roofline.errors import InputError, RooflineError, UnknownOpError
from roofline.graph.movement import Reshape
from roofline.graph.op import show
from roofline.graph.opgraph import OpGraph
from roofline.graph.tensor import Tensor
from roofline.graph.views import channels_last
from roofline.search.space.genomes import Value
from roofline.search.space.own.fragment import Fragment, fragment

#: what a callable may ask for by name, beside its stage's arguments
ASKED = ("shape", "index")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What flows between two blocks: shape and dtype as the program sees them, and how its front end stores them.

    Attributes
    ----------
    shape
        With the batch first.
    strides, order
        Of a PyTorch tensor; see `roofline.frontends.torch.api.Between`.
    """

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape that the graph states."""
        return self.shape if self.order is None else tuple(self.shape[d] for d in self.order)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A block as a fragment of one input and one output, and what leaves it."""

    fragment: Fragment
    left: Flow


def make(choice: Any, arguments: Mapping[str, Value], shape: tuple[int, ...], index: int) -> Any:
    """Return what a choice makes: a module, an ONNX file, a JAX function; what is none of these already, it is called.

    Parameters
    ----------
    shape
        Of one example, as it arrives.
    index
        Number of the block in its stage.
    """
    if is_made(choice):
        return choice
    known: dict[str, Any] = {**arguments, "shape": shape, "index": index}
    return choice(**{name: known[name] for name in asked(choice, tuple(arguments)) if name in known})


def asked(choice: Any, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of its stage's arguments, shape and index a choice takes by name."""
    if is_made(choice):
        return ()
    try:
        parameters = inspect.signature(choice).parameters.values()
    except (TypeError, ValueError):
        return ()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    return tuple(n for n in (*arguments, *ASKED) if n in named or (takes_all and n in arguments))


def is_made(value: Any) -> bool:
    """Whether a value is a block already: a module, a path of an ONNX file, a pair (JAX function, parameters)."""
    return front_end(value) is not None and not isinstance(value, type) and not inspect.isfunction(value)


def front_end(made: Any) -> Callable[[Any, Flow], tuple[OpGraph, Flow]] | None:
    """Return what lowers a made block; None where it is nothing that a front end knows."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(made, torch.nn.Module):
        return _torch
    if isinstance(made, (str, Path)) and str(made).endswith(".onnx"):
        return _onnx
    if isinstance(made, tuple) and len(made) == 2 and callable(made[0]):
        return _jax
    bases = {f"{base.__module__}.{base.__name__}" for base in type(made).__mro__}
    if any(base.startswith("flax.") and base.endswith(".Module") for base in bases) or inspect.isfunction(made):
        return _jax
    return None


def lower(made: Any, flow: Flow, where: str) -> Lowered:
    """Return a made block lowered for what flows into it.

    Raises
    ------
    InputError
        It is no block, what flows in does not fit it, or it returns several tensors.
    UnknownOpError
        An op has no rule.
    """
    lowering = front_end(made)
    if lowering is None:
        raise InputError(
            f"{where} makes no module but {type(made).__name__!r}: return a torch.nn.Module, the path of an ONNX file,"
            " a JAX function, or a pair of one and its parameters"
        )
    try:
        graph, left = lowering(made, flow)
    except UnknownOpError as error:
        error.add_note(where)
        raise
    except RooflineError as error:
        raise InputError(f"{where} does not take {show(flow.shape)} {flow.dtype}: {error}") from error
    return Lowered(fragment=_entered(graph, flow), left=left)


def _entered(graph: OpGraph, flow: Flow) -> Fragment:
    """Return a graph as a fragment; where it stores its input otherwise than it arrives, it is seen through a view."""
    inputs = [t.id for t in graph.tensors.values() if t.role == "input"]
    if len(inputs) != 1 or len(graph.outputs) != 1:
        raise InputError(f"{graph.name}: parts of a network take one tensor and hand on one, got {len(inputs)} inputs")
    (entering,), ops, tensors = inputs, dict(graph.ops), dict(graph.tensors)
    seen = tensors[entering]
    if flow.order is not None and tuple(seen.shape) != flow.stored:
        tensors["arriving"] = Tensor(id="arriving", shape=flow.stored, dtype=seen.dtype, role="input")
        tensors[entering] = replace(seen, role="activation")
        view = Reshape(inputs=("arriving",), outputs=(entering,), shape=tuple(seen.shape))
        return fragment({"arrives": view, **ops}, tensors, ["arriving"], graph.outputs)
    return fragment(ops, tensors, [entering], graph.outputs)


def _torch(made: Any, flow: Flow) -> tuple[OpGraph, Flow]:
    import torch

    from roofline.frontends.torch.api import Between, lower_part

    dtype = getattr(torch, flow.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"torch has no dtype {flow.dtype!r}")
    given = Between(shape=flow.shape, dtype=dtype, strides=flow.strides, order=flow.order)
    graph, left = lower_part(made, given)
    name = str(left.dtype).removeprefix("torch.")
    return graph, Flow(shape=left.shape, dtype=name, strides=left.strides, order=left.order)


def _jax(made: Any, flow: Flow) -> tuple[OpGraph, Flow]:
    from roofline.frontends.jax.api import from_jax, result_of

    function, given = made if isinstance(made, tuple) else (made, None)
    import jax

    x = jax.ShapeDtypeStruct(flow.shape, flow.dtype)  # type: ignore[no-untyped-call]
    specs = (x,) if given is None else (given, x)
    graph = from_jax(function, *specs, params=None if given is None else 0)
    left = result_of(function, *specs)
    return graph, Flow(shape=tuple(left.shape), dtype=str(left.dtype), order=tuple(range(len(left.shape))))


def _onnx(made: Any, flow: Flow) -> tuple[OpGraph, Flow]:
    from roofline.frontends.onnx.api import from_onnx

    name, shape = _onnx_ends(str(made), flow.shape)
    graph = from_onnx(made, dims={name: flow.shape})
    stored = tuple(int(d) for d in graph.tensors[graph.outputs[0]].shape)
    orders = (channels_last(len(shape)), tuple(range(len(shape))))
    order = next((o for o in orders if len(stored) == len(shape) and tuple(shape[d] for d in o) == stored), None)
    if order is None:
        raise InputError(f"{str(made)!r} states an output of {show(shape)} and computes one of {show(stored)}")
    return graph, Flow(shape=shape, dtype=flow.dtype, order=order)


@lru_cache(maxsize=256)
def _onnx_ends(path: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the name of the one input that a file's weights do not fill, and the shape of its one output."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's, the system's
        raise InputError(f"cannot read {path!r}: {' '.join(str(error).split())[:200]}") from None
    stored = {tensor.name for tensor in model.graph.initializer}
    entering = [x for x in model.graph.input if x.name not in stored]
    if len(entering) != 1 or len(model.graph.output) != 1:
        ends = f"{len(entering)} inputs and {len(model.graph.output)} outputs"
        raise InputError(f"{path!r} has {ends}: parts of a network have one of each")
    for dim, size in zip(entering[0].type.tensor_type.shape.dim, shape, strict=False):
        dim.dim_value = size
    for out in model.graph.output:
        out.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    return entering[0].name, tuple(int(d.dim_value) for d in inferred)
