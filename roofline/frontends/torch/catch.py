"""Functions that are lowered whole, before torch takes them apart: attention, linear and recurrent layers, RMS norm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes, is_traceable_wrapper_subclass

from roofline.frontends.torch import hosts
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

    Inside a transform (`vmap`, `grad`) a tensor hides one of another shape: torch takes the call apart below it. A
    tensor that is made of others (a quantized weight) says itself what is launched.
    """
    if any(is_functorch_wrapped_tensor(x) or is_traceable_wrapper_subclass(x) for x in tensors_in(args, kwargs)):
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
        if name in hosts.ANSWERS:
            return hosts.ANSWERS[name](self.tracer, func, *args, **kwargs)
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": hosts.stand_in(kwargs["device"])}
        elif name in hosts.ONE_DEVICE:
            args, kwargs = self.tracer.on_meta(args), self.tracer.on_meta(kwargs)
        if name in CAUGHT and _of_torch(func) and any(x.device.type == "meta" for x in tensors_in(args, kwargs)):
            result = call_caught(self.tracer, name, *args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


@contextmanager
def eager() -> Iterator[None]:
    """Run what is compiled as it is written, and layers without the fast paths that look at the data of a mask."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if "torch._dynamo" in sys.modules:  # nothing was compiled without it
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def flex_attention_caught(tracer: Tracer) -> Iterator[None]:
    """Catch flex attention under whatever name a program holds it: its code is another while the program runs."""
    module = sys.modules.get("torch.nn.attention.flex_attention")
    if module is None:
        yield
        return
    function: Any = module.flex_attention
    original = function.__code__
    module._caught = lambda *args, **kwargs: call_caught(tracer, "flex_attention", *args, **kwargs)  # type: ignore[attr-defined]
    function.__code__ = _stand_in.__code__
    try:
        yield
    finally:
        function.__code__ = original
        del module._caught


def _stand_in(*args: Any, **kwargs: Any) -> Any:
    return _caught(*args, **kwargs)  # type: ignore[name-defined]  # noqa: F821  (a name of the module it stands in)


def _of_torch(func: Any) -> bool:
    """Whether it is a function of torch rather than an op that a library calls by the same name."""
    operator = str(getattr(func, "_qualified_op_name", "")) or str(getattr(func, "_name", "aten::"))
    return operator.startswith("aten::")


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
