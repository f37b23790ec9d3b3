"""Spectra: Fourier transforms of whole signals and of their frames; windows and filter banks, which are constants."""

from __future__ import annotations

from roofline.dtypes import DType
from roofline.errors import ShapeError
from roofline.frontends.onnx.registry import MICROSOFT, Node, lowering, numbers
from roofline.frontends.onnx.values import Value, check_shape, dtype_of
from roofline.frontends.onnx.views import axis_of
from roofline.frontends.onnx.writer import Writer
from roofline.graph.indexing import Fill
from roofline.graph.movement import Window
from roofline.graph.sampling import Fourier


def transformed(w: Writer, x: Value, axis: int, length: int, *, onesided: bool, inverse: bool) -> Value:
    """Transform rows of `length` points along an axis; the last axis of a value holds a number's two parts, or one."""
    half = length // 2 + 1
    parts, kept = 2, length
    if onesided:
        parts, kept = (1, length) if inverse else (2, half)
    if x.shape[-1] not in (1, 2) or length < 1 or axis == x.rank - 1:
        raise ShapeError(f"a transform of {length} points along axis {axis} of {x.shape!r}; allowed: (..., 1 or 2)")
    shape = check_shape((*x.shape[:axis], kept, *x.shape[axis + 1 : -1], parts), "spectrum")
    real = x.shape[-1] == 1 or parts == 1
    return w.value(w.add(Fourier, w.read(x), axis=axis, length=length, shape=shape, real=real, pairs=True))


def _one(value: Value, what: str) -> int:
    return int(numbers(value, what)[0])


@lowering("DFT")
def dft(w: Writer, node: Node) -> Value:
    """Transform along an axis; a longer signal is cut, a shorter one followed by zeros."""
    x, given = node[0], node.get(1)
    axis = (
        _one(node[2], "the axis") if node.get(2) is not None else node.integer("axis", 1 if node.version < 20 else -2)
    )
    axis = axis_of(axis, x.rank)
    onesided, inverse = (bool(node.integer(flag, 0)) for flag in ("onesided", "inverse"))
    length = x.shape[axis] if given is None else _one(given, "the length of the transform")
    if given is None and onesided and inverse:
        length = 2 * (x.shape[axis] - 1)
    return transformed(w, x, axis, length, onesided=onesided, inverse=inverse)


@lowering("STFT")
def stft(w: Writer, node: Node) -> Value:
    """Transform overlapping frames of a signal (N, T, 1 or 2): views of it, times the window."""
    x, step, window = node[0], _one(node[1], "the step of the frames"), node.get(2)
    given = node.get(3)
    if given is None and window is None:
        raise ShapeError("neither a window nor a length of the frames is given")
    length = window.elements if given is None and window is not None else _one(node[3], "the length of the frames")
    if x.rank == 2:
        x = w.reshaped(x, (*x.shape, 1))
    if x.rank != 3 or not 1 <= length <= x.shape[1] or step < 1 or (window is not None and window.elements != length):
        raise ShapeError(f"frames of {length} points every {step} of a signal of shape {x.shape!r}")
    frames = (x.shape[1] - length) // step + 1
    shape = check_shape((x.shape[0], frames, length, x.shape[2]), "frames")
    framed = w.value(w.add(Window, w.read(x), shape=shape))
    if window is not None:
        framed = w.pointwise("mul", framed, w.reshaped(window, (length, 1)))
    return transformed(w, framed, 2, length, onesided=bool(node.integer("onesided", 1)), inverse=False)


@lowering("Rfft", "Irfft", domain=MICROSOFT)
def real_dft(w: Writer, node: Node) -> Value:
    """Transform the last axes of real numbers, or back to them; complex ones are two elements of one more axis."""
    x, count, back = node[0], node.integer("signal_ndim"), node.op == "Irfft"
    if not node.integer("onesided", 1) or not 1 <= count < x.rank + (not back):
        raise ShapeError(f"{count} transformed axes of {x.shape!r}; allowed: onesided transforms of the last ones")
    x = x if back else w.reshaped(x, (*x.shape, 1))
    axes = [x.rank - 2 - i for i in range(count)]  # real numbers lie along the last one
    for axis in reversed(axes) if back else axes:
        halved = axis == axes[0]
        length = 2 * (x.shape[axis] - 1) if halved and back else x.shape[axis]
        x = transformed(w, x, axis, length, onesided=halved, inverse=back)
    return w.reshaped(x, x.shape[:-1]) if back else x


def _filled(w: Writer, shape: tuple[int, ...], dtype: DType, name: str) -> Value:
    return w.value(w.add(Fill, dtype=dtype, shape=check_shape(shape, name), function=name))


@lowering("HannWindow", "HammingWindow", "BlackmanWindow")
def window(w: Writer, node: Node) -> Value:
    """Fill a window of a length that is known at load."""
    length = _one(node[0], "the length of the window")
    return _filled(w, (length,), dtype_of(node.integer("output_datatype", 1)), "window")


@lowering("MelWeightMatrix")
def mel(w: Writer, node: Node) -> Value:
    """Fill the matrix that takes a spectrum to bands as wide as the ear hears them."""
    bands, length = (
        _one(node[i], what) for i, what in enumerate(("the number of bands", "the length of the transform"))
    )
    return _filled(w, (length // 2 + 1, bands), dtype_of(node.integer("output_datatype", 1)), "filter bank")
