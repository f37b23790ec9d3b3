"""Where a program's tensors lie, and what it asks of them on the host: lists, arrays, indices.

While a program is traced there are two places: the host, with real values, and the meta device, which stands for
whatever accelerator the program names. Functions here are those that torch answers before any op is launched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from roofline.errors import InputError
from roofline.frontends.torch.asked import asked
from roofline.registry import filed

if TYPE_CHECKING:
    from roofline.frontends.torch.reader import Tracer

#: functions of torch that are answered here: name -> ``answer(tracer, the function, *its arguments)``
ANSWERS: dict[str, Callable[..., Any]] = {}

#: functions that refuse operands on two devices before torch launches anything: a window on the host moves
ONE_DEVICE = ("stft", "istft")


def answers(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """File what answers the functions of these names.

    Raises
    ------
    GraphError
        One of them has an answer already.
    """
    return filed(ANSWERS, names, lambda name: f"torch function {name!r} is answered by two functions")


def stand_in(device: Any) -> Any:
    """Return the host for the host, and the meta device for every other one."""
    if isinstance(device, torch.device):
        return device if device.type == "cpu" else _META
    return "cpu" if isinstance(device, str) and device.startswith("cpu") else _META


# devices ---------------------------------------------------------------------------------------------------------


@answers("to")
def _to(tracer: Tracer, func: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Change the device or the format: the device may be the first argument."""
    if "device" in kwargs and kwargs["device"] is not None:
        kwargs["device"] = stand_in(kwargs["device"])
    if args and isinstance(args[0], (str, int, torch.device)):
        args = (stand_in(args[0]), *args[1:])
    return func(x, *args, **kwargs)


@answers("cuda", "xpu", "hpu", "npu", "mtia", "ipu")
def _to_accelerator(tracer: Tracer, func: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Move to an accelerator."""
    return x.to(_META)


# values ----------------------------------------------------------------------------------------------------------


@answers("tensor", "as_tensor", "asarray", "new_tensor")
def _tensor_of(tracer: Tracer, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a tensor of numbers: they are known, wherever it lies."""
    own = args[0] if func is torch.Tensor.new_tensor else None
    device = kwargs.get("device", None if own is None else own.device)
    if func is torch.as_tensor and len(args) > 2:
        *args, device = args  # type: ignore[assignment]
    if device is None or stand_in(device) != _META or isinstance(args[own is not None], torch.Tensor):
        return func(*args, **({**kwargs, "device": stand_in(device)} if device is not None else kwargs))
    if own is not None:
        kwargs.setdefault("dtype", own.dtype)
    numbers = _numbers(tracer, args[own is not None])
    made = torch.tensor(numbers, *args[1 + (own is not None) :], **{**kwargs, "device": "cpu"})
    return tracer.twin(made)


def _numbers(tracer: Tracer, item: Any) -> Any:
    """Return nested lists with known tensors as their values."""
    if isinstance(item, torch.Tensor):
        return _known(tracer, item, "tensor").tolist()
    if isinstance(item, (list, tuple)):
        return [_numbers(tracer, x) for x in item]
    return item


@answers("__getitem__", "__setitem__")
def _by_list(tracer: Tracer, func: Any, x: Any, index: Any, *value: Any) -> Any:
    """Index by lists of numbers: they are known."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (list, range, np.ndarray)) for part in parts):
        parts = tuple(_listed(part) for part in parts)
        index = parts if isinstance(index, tuple) else parts[0]
    return func(x, index, *value)


def _listed(part: Any) -> Any:
    if isinstance(part, (list, range, np.ndarray)):
        try:
            return torch.tensor(np.asarray(part) if len(part) else np.zeros(0, np.int64))
        except (TypeError, ValueError):  # a list of slices or tensors
            return part
    return part


@answers("tolist", "numpy", "__array__")
def _values(tracer: Tracer, func: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Ask for the values themselves."""
    if x.device.type == "meta" and func is torch.Tensor.numpy and tracer.known.of(x) is None:
        return ShapeOnly(x, asked(tracer, "aten.numpy", [x]))
    return func(_known(tracer, x, str(func.__name__)), *args, **kwargs)


def _known(tracer: Tracer, x: torch.Tensor, function: str) -> torch.Tensor:
    value = x if x.device.type != "meta" else tracer.known.of(x)
    if value is None:
        raise InputError(asked(tracer, f"aten.{function}", [x]))
    return value


class ShapeOnly:
    """An array of which only shape and dtype are known; to ask for more is an `InputError`."""

    def __init__(self, x: torch.Tensor, asks: str) -> None:
        self.shape, self.ndim, self.size = tuple(x.shape), x.dim(), x.numel()
        self.dtype = torch.empty(0, dtype=x.dtype).numpy().dtype
        self._asks = asks

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> NoReturn:
        raise InputError(self._asks)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise InputError(self._asks)

    __array__ = __getitem__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = __add__ = __mul__ = _refuse
    __radd__ = __rmul__ = __sub__ = __truediv__ = __eq__ = __lt__ = __gt__ = _refuse
    __hash__ = None  # type: ignore[assignment]


_META = torch.device("meta")
