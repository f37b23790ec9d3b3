"""`from_onnx`: a file becomes an op graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline.errors import InputError
from roofline.frontends.onnx.values import Sizes
from roofline.graph.opgraph import OpGraph


def from_onnx(
    path: str | Path,
    *,
    dims: Sizes | None = None,
    values: Mapping[str, Any] | None = None,
    name: str | None = None,
    recognise: bool = True,
) -> OpGraph:
    """Return the op graph of an ONNX file.

    Parameters
    ----------
    path
        The model; weights may be inside, in external files, or absent: only their shapes matter.
    dims
        Sizes of dynamic dimensions by their name in the file, or by place where they have none: ``{"N": 8}``,
        ``{"input[0]": 8}``. A place may also be that of a fixed dimension, and an input may be given its whole shape:
        ``{"input": (8, 3, 320, 320)}``. Dimensions that the file computes from others (``past + length``) follow.
    values
        Elements of inputs that decide what runs or how large it is: ``{"sizes": [1, 3, 64, 64], "use_cache": True}``.
        They become constants of the graph.
    name
        What the graph is called in reports; the file's name by default.
    recognise
        Whether swish, biases of linear layers and attention, which exporters write as several nodes, become one op.

    Raises
    ------
    InputError
        Not an ONNX model; a dynamic dimension is not pinned; sizes that depend on the data.
    UnknownOpError
        Operators without lowering: all of them are listed, with count and place.
    GraphError, ShapeError
        The graph contradicts itself.
    """
    return _read(path, dims=dims, values=values, name=name, recognise=recognise)[0]


def traced(
    path: str | Path, *, dims: Sizes | None = None, values: Mapping[str, Any] | None = None
) -> tuple[OpGraph, dict[str, str]]:
    """Return the op graph of an ONNX file as `from_onnx` does, and where its ops come from.

    Returns
    -------
    tuple of OpGraph, dict
        The graph; op id -> the first output of the node that it comes from (of the node with the body or the function,
        where it comes from inside one).
    """
    return _read(path, dims=dims, values=values, name=None, recognise=True)


def _read(
    path: str | Path, *, dims: Sizes | None, values: Mapping[str, Any] | None, name: str | None, recognise: bool
) -> tuple[OpGraph, dict[str, str]]:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError("reading ONNX files needs the onnx package: pip install 'roofline[onnx]'") from None
    from roofline.frontends.onnx import rules as _rules  # noqa: F401  (fills the registry)
    from roofline.frontends.onnx.reader import read

    return read(path, dims=dims or {}, values=values or {}, name=name, recognise=recognise)
