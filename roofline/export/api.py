"""From a network by name, file or value to a program that computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline.arch.build import build_graph, instances
from roofline.arch.load import model as find
from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.export.jax_text import jax_text
from roofline.export.network import Network
from roofline.export.recipes import recipe_of
from roofline.export.torch_text import class_of, torch_text
from roofline.export.tree import module_tree
from roofline.graph.opgraph import OpGraph


def network(model: str | Path | Arch | OpGraph, *, image_size: int | None = None, first: bool = False) -> Network:
    """Return a network as the writers see it; `first` says whether images have their channels first.

    Raises
    ------
    UnknownNameError
        No such network.
    UnknownOpError
        It has an op that no writer knows.
    """
    if isinstance(model, OpGraph):
        graph, title, family, blocks = model, model.name, "", {}
    else:
        arch = find(model).with_input_size(image_size, "image size")
        graph, title, family = build_graph(arch, 1), arch.title, arch.family
        blocks = {instance.name: instance.block for instance in instances(arch, 1)}
    return Network(
        name=graph.name,
        title=title,
        root=module_tree(graph, first=first),
        entering=tuple(t for t in graph.tensors.values() if t.role == "input"),
        recipe=recipe_of(graph, family),
        blocks=blocks,
    )


@dataclass(frozen=True, kw_only=True)
class JaxProgram:
    """A network in JAX.

    Attributes
    ----------
    source
        The program's text.
    init, forward
        ``init(key) -> variables`` and ``forward(variables, *inputs)``.
    variables, inputs
        Their shapes, as trees of `jax.ShapeDtypeStruct`, for the batch and format that were asked for.
    """

    source: str
    init: Callable[..., Any]
    forward: Callable[..., Any]
    variables: Any
    inputs: tuple[Any, ...]


def to_jax(
    model: str | Path | Arch | OpGraph,
    *,
    batch: int = 1,
    dtype: str = "float32",
    image_size: int | None = None,
    folded: bool = False,
    scoped: bool = False,
) -> JaxProgram:
    """Return a network as a JAX program with the shapes it is called with; nothing is computed.

    Parameters
    ----------
    model
        A name, a file, an architecture, or its op graph.
    batch
        Examples in one call.
    dtype
        Format of images and variables, as JAX names it (``"bfloat16"``).
    image_size
        Pixels per side; by default the network's own.
    folded
        Batch norms are a scale and a shift, without running statistics.
    scoped
        Every op stands in a `jax.named_scope` of its name in the op graph: compilers say what they made of it.

    Raises
    ------
    InputError
        JAX is not installed.
    UnknownOpError
        The network has an op without a form in JAX.

    Examples
    --------
    >>> program = to_jax("efficientnet-b0", batch=8, dtype="bfloat16")
    >>> program.inputs[0].shape, program.inputs[0].dtype.name
    ((8, 224, 224, 3), 'bfloat16')
    """
    made = network(model, image_size=image_size)
    source = jax_text(made, folded=folded, scoped=scoped)
    try:
        import jax
    except ImportError as error:
        raise InputError(f"to_jax needs JAX: pip install 'roofline[jax]' ({error})") from None
    space = _run(source, made.name)

    shaped: Any = jax.ShapeDtypeStruct

    def formatted(leaf: Any) -> Any:
        floating = leaf.dtype.kind == "f"
        return shaped(leaf.shape, dtype if floating else leaf.dtype)

    variables = jax.tree_util.tree_map(formatted, jax.eval_shape(space["init"], jax.random.key(0)))
    inputs = tuple(
        shaped((batch, *(int(d) for d in t.shape[1:])), dtype if t.dtype.kind == "float" else "int32")
        for t in made.entering
    )
    return JaxProgram(source=source, init=space["init"], forward=space["forward"], variables=variables, inputs=inputs)


def to_torch(model: str | Path | Arch | OpGraph, *, image_size: int | None = None) -> Any:
    """Return a network as a `torch.nn.Module`, with new weights; under ``torch.device("meta")`` with none.

    Images are (N, 3, H, W), sequences (N, T). The text of its program is what ``roofline export --to torch`` writes.

    Raises
    ------
    InputError
        PyTorch is not installed.
    UnknownOpError
        The network has an op without a form in PyTorch.

    Examples
    --------
    >>> module = to_torch("mobilenetv2-0.35")
    >>> sum(p.numel() for p in module.parameters())
    1677128
    """
    made = network(model, image_size=image_size, first=True)
    source = torch_text(made)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"to_torch needs PyTorch: pip install 'roofline[torch]' ({error})") from None
    return _run(source, made.name)[class_of(made)]()


def to_onnx(
    model: str | Path | Arch | OpGraph, path: str | Path, *, image_size: int | None = None, weights: bool = True
) -> list[Path]:
    """Write a network as an ONNX file, for any number of examples ``N``, and return the files that were written.

    Parameters
    ----------
    model
        A name, a file, an architecture, or its op graph.
    path
        The file. Weights of more than a GiB lie beside it, in ``PATH.data``.
    image_size
        Pixels per side, or tokens; by default the network's own.
    weights
        Whether the file holds weights, drawn as the papers do; without them it states their shapes alone, which is all
        that `from_onnx` reads.

    Raises
    ------
    InputError
        The onnx package is not installed, or the file cannot be written.
    UnknownOpError
        The network has an op without a form in ONNX.
    """
    made = network(model, image_size=image_size, first=True)
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(f"to_onnx needs the onnx package: pip install 'roofline[onnx]' ({error})") from None
    from roofline.export.onnx_file import write_onnx

    return write_onnx(made, Path(path), weights=weights)


def _run(source: str, name: str) -> dict[str, Any]:
    """Return what a written program defines."""
    space: dict[str, Any] = {"__name__": name}
    exec(compile(source, f"<{name}>", "exec"), space)
    return space
