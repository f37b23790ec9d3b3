"""Running a program on tensors without data, and seeing every ATen op it launches.

A `TorchDispatchMode` sees the ops as an eager runtime launches them: composite functions have been taken apart,
autograd is off. Tensors are on the meta device. A tensor with data that meets them is a constant; ops on such tensors
alone run on the host and launch nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

from roofline.errors import InputError, UnknownOpError
from roofline.frontends.torch import values as views
from roofline.frontends.torch.asked import asked
from roofline.frontends.torch.kept import was_kept
from roofline.frontends.torch.known import KnownValues, tensors_in
from roofline.frontends.torch.registry import COMPOSITE, HIGHER, Arguments, Found, find
from roofline.frontends.torch.values import Value
from roofline.frontends.torch.writer import Writer
from roofline.graph import indexing
from roofline.graph.op import show

#: ops that select from their first operand by the values of the others
_PICKING = ("aten.index", "aten.masked_select")
#: tensors that hold no others
_PLAIN = (torch.Tensor, torch.nn.Parameter)


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lowers every op that runs while it is entered."""

    supports_higher_order_operators = True

    def __init__(self, writer: Writer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.writer = writer
        self.unknown: dict[str, list[str]] = {}
        self.path: list[str] = [""]
        self.inputs: dict[str, torch.Tensor] = {}
        self.known = KnownValues()
        self._known: dict[int, tuple[torch.Tensor, Value]] = {}
        self._shown: dict[int, tuple[torch.Tensor, str, Any]] = {}
        self._twins: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._lost: dict[int, tuple[torch.Tensor, str]] = {}
        self._written: set[int] = set()

    # tensors -------------------------------------------------------------------

    def bind(self, tensor: torch.Tensor, value: Value) -> None:
        """State what a torch tensor is in the graph."""
        if value.shape != tuple(tensor.shape):
            raise UnknownOpError(
                f"the rule of {self.writer.op_name!r} at {self.place!r} gives shape {show(value.shape)}, "
                f"torch {show(tuple(tensor.shape))}"
            )
        self._known[id(tensor)] = (tensor, value)

    def value(self, tensor: torch.Tensor) -> Value:
        """Return what a torch tensor is in the graph; one that nobody made is a constant of the program."""
        if self._on_device(tensor) and id(tensor) in self._twins:  # what was written since, the stand-in holds
            tensor = self._twins[id(tensor)][1]
        known = self._known.get(id(tensor))
        if known is not None:
            return known[1]
        if id(tensor) in self._lost:
            raise UnknownOpError(f"at {self.place!r}: nothing is known of this output of {self._lost[id(tensor)][1]!r}")
        if was_kept(tensor):
            raise InputError(
                f"{self.place or 'the program'!r} reads a tensor of {show(tuple(tensor.shape))} that it kept from an "
                "earlier lowering, in a global name or an attribute: empty that first"
            )
        trained = isinstance(tensor, torch.nn.Parameter)
        name = "parameter" if trained else "constant"
        leaf = self.writer.leaf(
            f"{self.place}/{name}" if self.place else name, tensor, "parameter" if trained else "buffer"
        )
        self._known[id(tensor)] = (tensor, leaf)
        return leaf

    def twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the meta tensor that stands for one with data."""
        found = self._twins.get(id(tensor))
        if found is None:
            meta = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta")
            found = self._twins[id(tensor)] = (tensor, meta)
            self.known.learn(meta, tensor)
            if id(tensor) in self._known or isinstance(tensor, torch.nn.Parameter):
                self._known[id(meta)] = (meta, self.value(tensor))
        return found[1]

    def release(self) -> list[torch.Tensor]:
        """Forget all tensors; return those made here that the program still holds."""
        made = [ref(x) for x, value in self._known.values() if value.node.role in ("activation", "input")]
        made += [ref(meta) for _, meta in self._twins.values()]
        self.known = KnownValues()
        for held in (self.inputs, self._known, self._shown, self._twins, self._lost, self._written):
            held.clear()
        return [x for one in made if (x := one()) is not None]

    @property
    def place(self) -> str:
        """Path of the module that runs."""
        return self.path[-1]

    def begin(self, name: str) -> Writer:
        """Return the lowering, about to write an op of this name at the current place."""
        self.writer.place, self.writer.op_name = self.place, name
        self.writer.in_place = self.writer.partial = False
        return self.writer

    # ops -----------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            return self._run_higher(func, args, kwargs)
        tensors = _tensors(args, kwargs)
        if any(type(x) not in _PLAIN and is_traceable_wrapper_subclass(x) for x in tensors):
            return NotImplemented  # it says itself what it launches
        meta = any(self._on_device(x) for x in tensors)
        away = kwargs.get("device") is not None and torch.device(kwargs["device"]).type != "cpu"
        if not (meta or away):
            return func(*args, **kwargs)  # the host's own
        found = find(func)
        if found.composite:  # inference mode and branches of `torch.cond` leave them whole
            with self:
                return func._op_dk(COMPOSITE, *args, **kwargs)
        given = args
        if meta and any(x.device.type != "meta" and x.dim() for x in tensors):
            args, kwargs = self.on_meta(args), self.on_meta(kwargs)
        if away or ("device" in kwargs and meta):
            kwargs = {**kwargs, "device": torch.device("meta")}
        if found.dependent and found.shapes is None and (found.name != "aten.index" or _by_mask(args)):
            out, known = self._answer(func, found, args, kwargs)
            if not isinstance(out, (torch.Tensor, tuple)):
                return out
        else:
            out = self._shapes(found, func, args, kwargs)
            told = not found.random and self.known.may_tell(found.name, tensors)
            known = self.known.compute(func, found.name, given, kwargs) if told else None
        self._learn(found, out, known, args, kwargs)
        if meta or not tensors:  # what the host has made goes to the device as a constant
            self._record(found, args, kwargs, out)
        return out

    def _shapes(self, found: Found, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what an op makes of tensors without data."""
        try:
            return (found.shapes or func)(*args, **kwargs)
        except NotImplementedError:
            if found.rule is not None:
                raise
            raise UnknownOpError(
                f"no lowering rule for {found.name!r} at {self.place or 'the program'!r}, and without data torch does "
                "not know the shape of its result"
            ) from None

    def _run_higher(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an op that takes functions as its rule says."""
        name = func.name()
        if name not in HIGHER:
            raise UnknownOpError(f"no lowering rule for higher-order op {name!r} at {self.place or 'the program'!r}")
        return HIGHER[name](self, *args, **kwargs)

    def _answer(self, func: Any, found: Found, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Return what an op gives whose result, or the shape of it, depends on values; and its values, if known.

        Raises
        ------
        InputError
            The values are not known.
        """
        known = self.known.compute(func, found.name, args, kwargs)
        if known is not None:
            return pytree.tree_map_only(torch.Tensor, lambda x: torch.empty_like(x, device="meta"), known), known
        shape = self.known.picked_shape(func, args) if found.name in _PICKING else None
        if shape is not None:
            return torch.empty(shape, dtype=args[0].dtype, device="meta"), None
        try:
            return func(*args, **kwargs), None
        except RuntimeError:
            raise InputError(asked(self, found.name, _tensors(args, kwargs))) from None

    def _learn(self, found: Found, out: Any, known: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if known is not None:
            for x, value in zip(tensors_in(out), tensors_in(known), strict=True):
                self.known.learn(x, value)
        elif found.written and self.known:
            given = {**dict(zip((name for name, _ in found.parameters), args, strict=False)), **kwargs}
            for x in tensors_in([given.get(name) for name in found.written]):
                self.known.forget(x)

    def _on_device(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies on the simulated device: without data, or with some that the program wrote over."""
        written = id(tensor) in self._twins and id(self._twins[id(tensor)][1]) in self._written
        return tensor.device.type == "meta" or written

    def on_meta(self, item: Any) -> Any:
        """Return arguments with the stand-in of every tensor that lies on the host; numbers stay."""
        if isinstance(item, torch.Tensor):
            return self.twin(item) if item.device.type != "meta" and item.dim() else item
        if isinstance(item, (list, tuple)):
            return type(item)(self.on_meta(x) for x in item)
        if isinstance(item, dict):
            return {key: self.on_meta(x) for key, x in item.items()}
        return item

    def _record(self, found: Found, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        names = found.parameters
        raw = dict(names)
        raw.update(zip((name for name, _ in names), args, strict=False))
        raw.update(kwargs)
        self.begin(found.name.partition(".")[2].strip("_"))
        if not found.written and not any(x.numel() for x in _tensors(out)):  # nothing to do, nothing launched
            for x in _tensors(out):
                self._known.setdefault(id(x), (x, self.writer.leaf("empty", x, "buffer")))
            return
        if found.rule is None:
            self._miss(found, raw, out)
            return
        if found.written and isinstance(raw[found.written[0]], torch.Tensor):
            self.writer.partial = self._is_partial(raw[found.written[0]])
            self.writer.in_place = True
        result = found.rule(self.writer, Arguments({k: self._as_values(v) for k, v in raw.items()}), out)
        if found.written and isinstance(raw[found.written[0]], torch.Tensor):
            results = result if isinstance(result, (tuple, list)) else (result,)
            for name, value in zip(found.written, results, strict=False):
                self.write(raw[name], value)
            return
        self._bind_all(out, result, found.name)
        if found.is_view:
            self._shown[id(out)] = (raw[names[0][0]], found.name, raw)

    def _bind_all(self, out: Any, result: Any, name: str) -> None:
        if isinstance(out, torch.Tensor):
            if result is None:
                self._lost[id(out)] = (out, name)
            else:
                self.bind(out, result)
        elif isinstance(out, (list, tuple)):
            results = result if isinstance(result, (list, tuple)) else (result,)
            for i, x in enumerate(out):
                self._bind_all(x, results[i] if i < len(results) else None, name)

    def _as_values(self, item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            if item.device.type != "meta":  # a number in the guise of a tensor
                return item if item.dim() == 0 else self.value(self.twin(item))
            return self.value(item)
        if isinstance(item, (list, tuple)):
            return [self._as_values(x) for x in item]
        return item

    def write(self, tensor: torch.Tensor, value: Value) -> None:
        """Note that `tensor` now holds `value`, also where it is a view of another tensor."""
        value = views.expand(value, tuple(tensor.shape))
        links = list(self._owners(tensor))
        self._written |= {id(tensor), *(id(parent) for _, parent, *_ in links)}
        partial = [i for i, (shown, parent, *_) in enumerate(links) if parent.numel() != shown.numel()]
        if id(tensor) in self._known and not partial:
            self.writer.overwrite(self._known[id(tensor)][1], value)
        self._known[id(tensor)] = (tensor, value)
        if partial:  # one update of the tensor of which a part was written
            owner = links[partial[-1]][1]
            held = views.settled(self.value(owner))
            inputs = (self.writer.tensor(held), self.writer.tensor(value))
            value = self.writer.emit(indexing.Update, inputs, owner, order=held.stored, name="update")
            self.writer.overwrite(held, value)
            self._known[id(owner)] = (owner, value)
            links = links[partial[-1] + 1 :]
        for shown, parent, name, raw in links:
            value = _undone(name, raw, shown, parent, value)
            self._known[id(parent)] = (parent, value)

    def _owners(self, tensor: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor, str, Any]]:
        """Yield (view, what it is a view of, by which op, with which arguments), outwards."""
        while (link := self._shown.get(id(tensor))) is not None:
            yield (tensor, *link)
            tensor = link[0]

    def _is_partial(self, tensor: torch.Tensor) -> bool:
        """Whether `tensor` shows a part of another one, so that writing to it is an update of the other."""
        return any(parent.numel() != shown.numel() for shown, parent, *_ in self._owners(tensor))

    def _miss(self, found: Found, raw: dict[str, Any], out: Any) -> None:
        shapes = ", ".join(show(tuple(x.shape)) for x in _tensors(raw))
        self.unknown.setdefault(found.name, []).append(f"{self.place or 'the program'!r} ({shapes})")
        for x in _tensors(out):
            self._known[id(x)] = (x, self.writer.leaf(f"unknown/{found.name}", x, "input"))


def _undone(name: str, raw: dict[str, Any], shown: torch.Tensor, parent: torch.Tensor, value: Value) -> Value:
    """Return what `parent` holds when its view `shown` holds `value`."""
    if name in ("aten.transpose", "aten.t", "aten.permute"):
        dims = raw.get("dims") or _exchanged(shown.dim(), raw.get("dim0", 0), raw.get("dim1", -1))
        return views.permute(value, tuple(sorted(range(len(dims)), key=lambda i: dims[i] % len(dims))))
    return views.reshape(value, tuple(parent.shape))


def _exchanged(rank: int, a: int, b: int) -> list[int]:
    dims = list(range(rank))
    dims[a], dims[b] = dims[b], dims[a]
    return dims


def _by_mask(args: tuple[Any, ...]) -> bool:
    return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _tensors(*items: Any) -> list[torch.Tensor]:
    return list(tensors_in(*items))
