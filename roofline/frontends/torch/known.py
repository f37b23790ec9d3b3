"""Values of small tensors that do not depend on data: positions, masks made of them, integer inputs that have values.

Programs branch on them (is anything masked? is a sequence packed?). They are computed a second time on the host, as
long as everything they are made of is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from roofline.text import words

#: tensors of more elements than this are not followed
LIMIT_ELEMENTS = 2**20
_FACTORIES = words(
    "aten.arange aten.zeros aten.ones aten.full aten.linspace aten.eye aten.scalar_tensor aten.tril_indices "
    "aten.triu_indices aten.zeros_like aten.ones_like aten.full_like aten.new_zeros aten.new_ones aten.new_full"
)


class KnownValues:
    """Meta tensors whose values are known, with those values."""

    def __init__(self) -> None:
        self._values: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def learn(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """State the values of a meta tensor; large tensors and floats with data are forgotten."""
        if tensor.numel() <= LIMIT_ELEMENTS:
            self._values[id(tensor)] = (tensor, value)

    def of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return the values of a tensor; a tensor with data has its own."""
        if tensor.device.type != "meta":
            return tensor
        known = self._values.get(id(tensor))
        return None if known is None else known[1]

    def compute(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what `func` gives on known values, or None where not all are known."""
        known_factory = name in _FACTORIES
        for x in tensors_in(args, kwargs):
            if self.of(x) is None and not (known_factory and x.numel() <= LIMIT_ELEMENTS):
                return None
        if not (known_factory or any(True for _ in tensors_in(args, kwargs))):
            return None
        if known_factory and name.endswith("_like"):
            args = (torch.empty(tuple(args[0].shape), dtype=args[0].dtype), *args[1:])
        elif known_factory and args and isinstance(args[0], torch.Tensor):
            args = (torch.empty((), dtype=args[0].dtype), *args[1:])
        kwargs = {**kwargs, "device": torch.device("cpu")} if "device" in kwargs or known_factory else kwargs
        return func(*self._swap(args), **{key: self._swap(x) for key, x in kwargs.items()})

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


def tensors_in(*items: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    for item in items:
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from tensors_in(*item)
        elif isinstance(item, dict):
            yield from tensors_in(*item.values())
