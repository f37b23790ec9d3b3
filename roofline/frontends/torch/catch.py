"""Functions that are lowered whole, before torch takes them apart: attention, linear and recurrent layers, RMS norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from roofline.frontends.torch.known import tensors_in
from roofline.frontends.torch.reader import Tracer
from roofline.registry import filed

#: functions above ATen that must not be taken apart: name -> what lowers a call of them
CAUGHT: dict[str, Callable[..., Any]] = {}


def caught(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what lowers a call of a torch function: ``rule(tracer, *arguments of the function)`` -> torch result.

    The rule returns ``NotImplemented`` for calls that it leaves to be taken apart.
    """
    return filed(CAUGHT, names, lambda name: f"torch function {name!r} is caught by two rules")


def call_caught(tracer: Tracer, name: str, *args: Any, **kwargs: Any) -> Any:
    """Hand a call to the rule in `CAUGHT`; what the rule itself does with tensors is not recorded.

    Inside a transform (`vmap`, `grad`) a tensor hides one of another shape: torch takes the call apart below it.
    """
    if any(is_functorch_wrapped_tensor(x) for x in tensors_in(args, kwargs)):
        return NotImplemented
    tracer.begin(name)
    with _disable_current_modes():
        return CAUGHT[name](tracer, *args, **kwargs)


class Catcher(TorchFunctionMode):
    """Hands the functions in `CAUGHT` to their rules before torch takes them apart."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").removesuffix(".default").removesuffix(".input")
        if name in CAUGHT and any(x.device.type == "meta" for x in tensors_in(args, kwargs)):
            result = call_caught(self.tracer, name, *args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


@contextmanager
def attention_caught(tracer: Tracer) -> Iterator[None]:
    """Catch attention inside functions of ``torch.nn.functional``, too: modes do not see what these call."""
    original = F.scaled_dot_product_attention

    def catch(*args: Any, **kwargs: Any) -> Any:
        result = call_caught(tracer, "scaled_dot_product_attention", *args, **kwargs)
        return original(*args, **kwargs) if result is NotImplemented else result

    F.scaled_dot_product_attention = catch
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original
