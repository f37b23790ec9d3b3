"""`from_jax`: trace a function on shapes, walk its jaxpr, fold what compilers fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from roofline.errors import InputError, RooflineError
from roofline.frontends.jax.patterns.activations import fold_activations
from roofline.frontends.jax.patterns.attention import fold_attention
from roofline.frontends.jax.patterns.folding import (
    fold_biases,
    fold_duplicates,
    fold_means,
    fold_softmax,
    fold_transposes,
)
from roofline.frontends.jax.patterns.norms import fold_norms
from roofline.frontends.jax.patterns.sketch import Sketch
from roofline.frontends.jax.reader import Reader
from roofline.frontends.jax.values import Operand, Value, dtype_of
from roofline.graph.empty import without_empty
from roofline.graph.movement import Expand, Move
from roofline.graph.opgraph import OpGraph
from roofline.graph.state import with_state
from roofline.graph.tensor import Role
from roofline.graph.writer import assembled

#: collections of flax variables that are trained; the others are state (cache) or buffers (batch_stats ...)
TRAINED = ("params",)


def from_jax(
    function: Callable[..., Any], *shape_specs: Any, name: str | None = None, params: int | None = None
) -> OpGraph:
    """Lower a JAX function to an op graph, without computing anything and without weights.

    Parameters
    ----------
    function
        A function of arrays, a flax.nnx module (also an abstract one, from ``nnx.eval_shape``), or a flax.linen module.
    *shape_specs
        Its arguments as `jax.ShapeDtypeStruct`, arrays, or trees of them. For a module: those of its call.
    name
        What the graph is called; by default the function's name.
    params
        Which argument holds the parameters. By default the first one, if it is a tree (a dict, a list ...) and others
        follow. In flax's variables, the collection ``params`` is trained and every other one a buffer.

    Raises
    ------
    InputError
        JAX is not installed, the function does not trace with these shapes, or a loop has no known trip count.
    UnknownOpError
        Primitives without a rule, all of them in one message.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> weight, x = jax.ShapeDtypeStruct((64, 8), jnp.float32), jax.ShapeDtypeStruct((2, 64), jnp.float32)
    >>> graph = from_jax(lambda p, x: jax.nn.relu(x @ p["w"]), {"w": weight}, x)
    >>> graph.macs, graph.params
    (1024.0, 512.0)
    """
    jax = _import_jax()
    title = name or getattr(function, "__name__", None) or type(function).__name__
    function, arguments, roles = as_function(jax, function, shape_specs, params)
    leaves, tree = jax.tree_util.tree_flatten_with_path(arguments)
    arrays = [_spec(jax, leaf, jax.tree_util.keystr(path)) for path, leaf in leaves]

    def flat(*inputs: Any) -> Any:
        return function(*jax.tree_util.tree_unflatten(tree, inputs))

    try:
        closed = jax.make_jaxpr(flat)(*arrays)
    except RooflineError:
        raise
    except Exception as error:  # whatever the user's function raises
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{title!r} does not trace with these shapes: {type(error).__name__}: {reason}") from error
    reader = Reader()
    operands = [
        _enter(reader, path, array, roles(path, array)) for (path, _), array in zip(leaves, arrays, strict=True)
    ]
    results = reader.closed(closed, operands)
    reader.refuse_unknown(title)
    outputs = list(dict.fromkeys(_returned(reader, r) for r in results))
    return _finished(reader, outputs, title)


def result_of(function: Callable[..., Any], *shape_specs: Any) -> Any:
    """Return the shape and dtype of what a function of one result returns; arguments as `from_jax`.

    Raises
    ------
    InputError
        It does not trace with these shapes, or it returns several arrays.
    """
    jax = _import_jax()
    call, arguments, _ = as_function(jax, function, shape_specs, None)
    try:
        found = jax.tree_util.tree_leaves(jax.eval_shape(call, *arguments))
    except Exception as error:  # whatever the user's function raises
        raise InputError(f"it does not trace with these shapes: {' '.join(str(error).split())[:300]}") from error
    if len(found) != 1:
        raise InputError(f"it returns {len(found)} arrays: parts of a network hand on one")
    return found[0]


def _returned(reader: Reader, result: Operand) -> str:
    """Return the tensor of a result; a mere view of an input, or a repeated one, is copied out."""
    tensor = reader.canonical(reader.value(result))
    made = {t: op for op in reader.ops.values() for t in op.outputs}
    source, repeated = tensor.id, False
    while source in made and made[source].family == "free":
        repeated = repeated or isinstance(made[source], Expand)
        source = made[source].inputs[0]
    if tensor.id in made and (repeated or source not in made):
        return reader.emit("copy", Move, tensor, function="copy", shape=tensor.shape).id
    return tensor.id


def _finished(reader: Reader, outputs: list[str], name: str) -> OpGraph:
    sketch = Sketch(reader.ops, reader.tensors, outputs)
    if not sketch.ops:
        raise InputError(f"{name!r} computes nothing: its results are its arguments")
    for fold in (fold_duplicates, fold_means, fold_softmax, fold_norms, fold_activations, fold_biases):
        fold(sketch)
        sketch.prune()
    fold_attention(sketch, reader)
    sketch.prune()
    fold_transposes(sketch)
    made = (t for t in dict.fromkeys(sketch.outputs) if t in sketch.writer or sketch.tensors[t].role != "activation")
    graph = assembled(sketch.ops, sketch.tensors, tuple(made), name, inputs=False)
    graph.check_shapes()
    return with_state(without_empty(graph))


def _import_jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise InputError(f"from_jax needs JAX: pip install 'roofline[jax]' ({error})") from None
    import roofline.frontends.jax.rules  # noqa: F401  (fills the registry)

    return jax


Roles = Callable[[Sequence[Any], Any], Role]


def as_function(
    jax: Any, function: Any, specs: tuple[Any, ...], params: int | None
) -> tuple[Any, tuple[Any, ...], Roles]:
    """Return a plain function, its arguments, and the role of each leaf."""
    kind = _flax_kind(function)
    if kind == "nnx":
        from flax import nnx

        definition, state = nnx.split(function)
        types = {jax.tree_util.keystr(p): t for p, t in _nnx_types(jax, nnx, state)}

        def call(state: Any, *inputs: Any) -> Any:
            return nnx.merge(definition, state)(*inputs)

        def role(path: Sequence[Any], leaf: Any) -> Role:
            if path[0].idx != 0:
                return "input"
            return types.get(jax.tree_util.keystr(path[1:]), "parameter")

        return call, (state, *specs), role
    if kind == "linen":
        key = jax.ShapeDtypeStruct((2,), "uint32")
        variables = jax.eval_shape(function.init, key, *specs)
        return function.apply, (variables, *specs), _roles(0)
    if not callable(function):
        raise InputError(f"from_jax takes a function or a flax module, got {type(function).__name__!r}")
    if params is None and len(specs) > 1 and not jax.tree_util.all_leaves([specs[0]]):
        params = 0
    if params is not None and not 0 <= params < len(specs):
        raise InputError(f"params={params!r} names no argument: there are {len(specs)}")
    return function, specs, _roles(params)


def _nnx_types(jax: Any, nnx: Any, state: Any) -> list[tuple[Any, Role]]:
    """Return (path, role) of every leaf of an nnx state."""
    found: list[tuple[Any, Role]] = []
    for path, variable in jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda x: isinstance(x, nnx.Variable))[0]:
        trained = not isinstance(variable, nnx.Variable) or isinstance(variable, nnx.Param)
        role: Role = "parameter" if trained else "state" if isinstance(variable, nnx.Cache) else "buffer"
        inner = jax.tree_util.tree_flatten_with_path(variable)[0]
        found.extend(((*path, *rest), role) for rest, _ in inner)
    return found


def _flax_kind(function: Any) -> str:
    """Return ``"nnx"`` or ``"linen"`` for a flax module, without importing flax for anything else."""
    bases = [f"{base.__module__}.{base.__name__}" for base in type(function).__mro__]
    if any(base.startswith("flax.nnx") and base.endswith(".Module") for base in bases):
        return "nnx"
    return "linen" if any(base.startswith("flax.linen") and base.endswith(".Module") for base in bases) else ""


def _roles(params: int | None) -> Roles:
    def role(path: Sequence[Any], leaf: Any) -> Role:
        if params is None or path[0].idx != params:
            return "input"
        collection = str(getattr(path[1], "key", "params")) if len(path) > 2 else "params"
        if collection == "cache":
            return "state"
        known = collection in (*TRAINED, "batch_stats", "intermediates", "constants", "buffers")
        return "parameter" if collection in TRAINED or not known else "buffer"

    return role


def _spec(jax: Any, leaf: Any, where: str) -> Any:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype)
    if isinstance(leaf, (bool, int, float)):
        return leaf
    raise InputError(f"argument {where} is neither an array nor a shape: {type(leaf).__name__!r}")


def _enter(reader: Reader, path: Sequence[Any], array: Any, role: Role) -> Operand:
    words = [str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path]
    if len(words) > 2 and words[-1] in ("value", "raw_value"):  # nnx wraps every array in a variable
        words.pop()
    name = "/".join(words[1:]) or f"input{words[0]}"
    shape = tuple(getattr(array, "shape", ()))
    return Value.plain(reader.enter(name, shape, role, dtype_of(array)))
