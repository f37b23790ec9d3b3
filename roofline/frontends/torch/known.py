"""Values of small tensors that do not depend on data: positions, masks made of them, lists, buffers, given inputs.

Programs branch on them (is anything masked? how long is each sequence?). Whatever is made of them alone is computed a
second time on the host, views and writes included, so that they answer every question: a number, a list, the shape of
what they select.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from roofline.text import words

#: tensors of more elements than this are not followed
LIMIT_ELEMENTS = 2**20
#: ops that make a tensor, or write all of one: of a first operand only the shape and the dtype matter
_FACTORIES = words(
    "aten.arange aten.zeros aten.ones aten.full aten.linspace aten.eye aten.scalar_tensor aten.tril_indices "
    "aten.triu_indices aten.zeros_like aten.ones_like aten.full_like aten.new_zeros aten.new_ones aten.new_full "
    "aten.empty aten.empty_like aten.empty_strided aten.new_empty aten.new_empty_strided aten.zero_ aten.fill_"
)


class KnownValues:
    """Meta tensors whose values are known, with those values."""

    def __init__(self) -> None:
        self._values: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def learn(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """State the values of a meta tensor; large ones are not kept. Later writes to the tensor write to `value`."""
        if tensor.numel() <= LIMIT_ELEMENTS and value.device.type == "cpu":
            self._values[id(tensor)] = (tensor, value)

    def learn_copy(self, tensor: torch.Tensor, given: torch.Tensor) -> None:
        """State the values that a tensor of the caller has, if it has any; writes do not reach it."""
        if given.device.type != "meta" and given.numel() <= LIMIT_ELEMENTS:
            self.learn(tensor, given.detach().to("cpu", copy=True))

    def of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return the values of a tensor; a small tensor with data has its own."""
        if tensor.device.type != "meta":
            return tensor if tensor.numel() <= LIMIT_ELEMENTS else None
        known = self._values.get(id(tensor))
        return None if known is None else known[1]

    def may_tell(self, name: str, tensors: list[torch.Tensor]) -> bool:
        """Whether an op of these tensors may have known values; most have not, which is soon seen."""
        return name in _FACTORIES or (bool(tensors) and all(self.of(x) is not None for x in tensors))

    def compute(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what `func` gives on known values, or None where not all are known or the host has no such op."""
        if name in _FACTORIES:
            if args and isinstance(args[0], torch.Tensor) and self.of(args[0]) is None:
                if args[0].numel() > LIMIT_ELEMENTS:
                    return None
                args = (torch.empty(tuple(args[0].shape), dtype=args[0].dtype), *args[1:])
            kwargs = {**kwargs, "device": _HOST} if not name.endswith("_") else kwargs
        elif not any(True for _ in tensors_in(args, kwargs)):
            return None
        if any(self.of(x) is None for x in tensors_in(args, kwargs)):
            return None
        kwargs = {**kwargs, "device": _HOST} if "device" in kwargs else kwargs
        try:
            return func(*self._swap(args), **{key: self._swap(x) for key, x in kwargs.items()})
        except (RuntimeError, IndexError):
            return None

    def picked_shape(self, func: Any, args: tuple[Any, ...]) -> tuple[int, ...] | None:
        """Return the shape of what masks with known values select from a tensor without."""
        if any(self.of(x) is None for x in tensors_in(args[1:])):
            return None
        blank = torch.zeros((), dtype=torch.bool).expand(args[0].shape)
        return tuple(func(blank, *self._swap(args[1:])).shape)

    def forget(self, tensor: torch.Tensor) -> None:
        """Forget a tensor that was overwritten with something unknown, and all that share its memory."""
        known = self._values.get(id(tensor))
        if known is None:
            return
        memory = known[1].untyped_storage().data_ptr()
        for key in [k for k, (_, v) in self._values.items() if v.untyped_storage().data_ptr() == memory]:
            del self._values[key]

    def __bool__(self) -> bool:
        return bool(self._values)

    def _swap(self, item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            known = self.of(item)
            return item if known is None else known
        if isinstance(item, (list, tuple)):
            return type(item)(self._swap(x) for x in item)
        return item


_HOST = torch.device("cpu")


def tensors_in(*items: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    for item in items:
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from tensors_in(*item)
        elif isinstance(item, dict):
            yield from tensors_in(*item.values())
