"""`from_onnx`: a file becomes an op graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from roofline.errors import InputError
from roofline.graph.opgraph import OpGraph


def from_onnx(
    path: str | Path, *, dims: Mapping[str, int] | None = None, name: str | None = None, recognise: bool = True
) -> OpGraph:
    """Return the op graph of an ONNX file.

    Parameters
    ----------
    path
        The model; weights may be inside, in external files, or absent: only their shapes matter.
    dims
        Sizes of dynamic dimensions by their name in the file, or by place where they have none: ``{"N": 8}``,
        ``{"input[0]": 8}``.
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
    return _read(path, dims=dims, name=name, recognise=recognise)[0]


def traced(path: str | Path, *, dims: Mapping[str, int] | None = None) -> tuple[OpGraph, dict[str, str]]:
    """Return the op graph of an ONNX file as `from_onnx` does, and where its ops come from.

    Returns
    -------
    tuple of OpGraph, dict
        The graph; op id -> the first output of the node that it comes from (of the node with the body or the function,
        where it comes from inside one).
    """
    return _read(path, dims=dims, name=None, recognise=True)


def _read(
    path: str | Path, *, dims: Mapping[str, int] | None, name: str | None, recognise: bool
) -> tuple[OpGraph, dict[str, str]]:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError("reading ONNX files needs the onnx package: pip install 'roofline[onnx]'") from None
    from roofline.frontends.onnx import rules as _rules  # noqa: F401  (fills the registry)
    from roofline.frontends.onnx.reader import read

    return read(path, dims=dims or {}, name=name, recognise=recognise)
