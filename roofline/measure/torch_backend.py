"""PyTorch on a CPU or a CUDA GPU."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from roofline.graph.opgraph import OpGraph
from roofline.measure.backend import Program, State, require_dtype
from roofline.measure.facts import Facts
from roofline.measure.plan import Case
from roofline.measure.timing import Sample
from roofline.measure.timm_networks import PREFIX, build
from roofline.measure.torch_networks import BUILDERS, WORDS
from roofline.measure.torch_ops import OPS, tensors

#: format of the project -> of PyTorch; tf32 is fp32 with another way to multiply
DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "tf32": torch.float32}
DTYPES |= {"fp16": torch.float16, "bf16": torch.bfloat16}


class TorchBackend(ABC):
    """What the CPU and the GPU share: building cases, lowering them, and the order of a timed run.

    Before a single op runs, the caches are emptied and its inputs are written anew: so it finds its inputs as the op
    before it would leave them, and its weights where those of a network lie.
    """

    facts: Facts
    clock: str
    layout = "nchw"
    device: torch.device

    def __init__(self, flush_bytes: float) -> None:
        self.flush_bytes = flush_bytes
        self._flushed: torch.Tensor | None = None

    def runtime(self, compiled: bool) -> str:
        """Return the name of the runtime under which cases run."""
        base = "pytorch_compile" if compiled else "pytorch_eager"
        return f"{base}_cpu" if self.facts.kind == "cpu" else base

    def builds(self, case: Case) -> bool:
        """Whether this backend has the case: all of them."""
        return True

    def check_dtype(self, dtype: str) -> None:
        """Raise InputError unless the device multiplies matrices of a format; the message names those it does."""
        require_dtype(dtype, [name for name in DTYPES if self._multiplies(name)], self.facts)

    def _multiplies(self, dtype: str) -> bool:
        try:
            x = torch.ones(16, 16, dtype=DTYPES[dtype], device=self.device)
            return bool((x @ x).float().sum().item() == 16.0**3)
        except RuntimeError:
            return False

    def program(self, case: Case) -> Program:
        """Build a case on the device, and run it twice: the first run builds plans and fills caches of code."""
        torch.manual_seed(0)
        with torch.inference_mode():
            module, inputs = self._built(case)
        module.eval()
        plain = module
        if case.compiled:
            module = torch.compile(module)  # type: ignore[assignment]

        tf32 = case.dtype == "tf32"

        def call() -> None:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32  # programs take turns
            with torch.inference_mode():
                module(*inputs)

        call()
        call()
        refreshed = [x for x in inputs if x.is_floating_point()]
        run = self._whole(call) if case.network else self._single(call, refreshed)
        return Program(run=run, graph=lambda: lowered(plain, inputs, case.name))

    def _built(self, case: Case) -> tuple[nn.Module, list[torch.Tensor]]:
        options: dict[str, Any] = {"dtype": DTYPES[case.dtype], "device": self.device}
        if not case.network:
            module, shapes = OPS[case.build](*case.sizes)
            return module.to(**options), tensors(shapes, **options)
        if case.build.startswith(PREFIX):
            pixels = case.sizes[0]
            module = build(case.build.removeprefix(PREFIX), pixels)
            return module.to(**options), tensors(((case.batch, 3, pixels, pixels),), **options)
        module, shape = BUILDERS[case.build](*case.sizes)
        if case.build in WORDS:
            return module.to(**options), [torch.randint(0, WORDS[case.build], (case.batch, *shape), device=self.device)]
        return module.to(**options), tensors(((case.batch, *shape),), **options)

    @abstractmethod
    def _single(self, call: Callable[[], None], inputs: list[torch.Tensor]) -> Callable[[], Sample]:
        """Return what times a single op whose inputs are written anew before each run."""

    @abstractmethod
    def _whole(self, call: Callable[[], None]) -> Callable[[], Sample]:
        """Return what times a whole network."""

    def renew(self, inputs: list[torch.Tensor]) -> None:
        """Write a buffer larger than every cache, then the inputs: an op finds in the caches what was just made."""
        if self._flushed is None:
            self._flushed = torch.zeros(int(self.flush_bytes / 4), dtype=torch.float32, device=self.device)
        self._flushed.add_(1.0)
        with torch.inference_mode():
            for x in inputs:
                x.mul_(1.0)

    def state(self) -> State:
        """Return clock and power right now."""
        return State()

    def release(self) -> None:
        """Give back the memory of programs that are gone."""
        gc.collect()

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether an error means that the memory is full."""
        return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def lowered(module: nn.Module, inputs: list[torch.Tensor], name: str) -> OpGraph:
    """Return the graph of a module at its inputs, without their data."""
    from roofline.frontends.torch import from_torch

    shapes = tuple(x if not x.is_floating_point() else torch.empty_like(x, device="meta") for x in inputs)
    return from_torch(module, shapes, name=name)
