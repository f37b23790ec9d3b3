"""PyTorch on a CUDA GPU, timed by events of the device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from roofline.errors import InputError
from roofline.measure.backend import State
from roofline.measure.facts import Facts, shipped_device
from roofline.measure.timing import Sample
from roofline.measure.torch_backend import TorchBackend

#: a buffer of this size is larger than every L2, and busies the device while the host enqueues what is timed
FLUSH_BYTES = 512 * 2.0**20
#: properties of older releases may lack what newer ones tell
MISSING = 0


class CudaBackend(TorchBackend):
    """One GPU.

    Single ops are enqueued behind a write of a large buffer, so that the host is done before the device begins: events
    right before and after then see the device alone. Whole networks start on an idle device: their time holds the host
    where it is the slower of the two.
    """

    clock = "event"

    def __init__(self, index: int = 0) -> None:
        count = torch.cuda.device_count()
        if not 0 <= index < count:
            raise InputError(f"no GPU {index}: this machine has {count} (0 to {count - 1})")
        self.device = torch.device("cuda", index)
        torch.cuda.set_device(index)
        self.facts = cuda_facts(index)
        super().__init__(flush_bytes=min(FLUSH_BYTES, self.facts.memory_bytes / 8))

    def _between_events(self, call: Callable[[], None]) -> Sample:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        call()
        end.record()
        torch.cuda.synchronize(self.device)
        return Sample(time_s=start.elapsed_time(end) * 1e-3)

    def _single(self, call: Callable[[], None], inputs: list[torch.Tensor]) -> Callable[[], Sample]:
        def run() -> Sample:
            torch.cuda.synchronize(self.device)
            self.renew(inputs)
            return self._between_events(call)

        return run

    def _whole(self, call: Callable[[], None]) -> Callable[[], Sample]:
        def run() -> Sample:
            torch.cuda.synchronize(self.device)
            return self._between_events(call)

        return run

    def state(self) -> State:
        """Return clock and power where pynvml is installed and the driver tells them."""
        return State(
            clock_mhz=_asked(lambda: float(torch.cuda.clock_rate(self.device))),
            power_w=_asked(lambda: torch.cuda.power_draw(self.device) * 1e-3),
        )

    def release(self) -> None:
        """Give back the memory of programs that are gone."""
        super().release()
        torch.cuda.empty_cache()


def _asked(question: Callable[[], float]) -> float | None:
    """Return what a driver answers, or None where nobody can ask it: a missing package, or a driver that refuses."""
    try:
        return question()
    except Exception:  # pynvml has errors of its own, and PyTorch passes on whatever a driver raises
        return None


def cuda_facts(index: int) -> Facts:
    """Return what the driver says of a GPU (cudaDeviceProp: clocks in kHz, the width of the memory bus in bits)."""
    p = torch.cuda.get_device_properties(index)
    vendor = "amd" if torch.version.hip else "nvidia"

    def told(name: str) -> float:
        return float(getattr(p, name, MISSING) or MISSING)

    memory_khz, bus_bits = told("memory_clock_rate"), told("memory_bus_width")
    return Facts(
        name=p.name,
        kind="gpu",
        backend="torch",
        vendor=vendor,
        software=f"torch {torch.__version__}",
        known_as=shipped_device(p.name),
        units=p.multi_processor_count,
        clock_hz=told("clock_rate") * 1e3 or None,
        memory_bytes=float(p.total_memory),
        bandwidth_bytes_per_s=2.0 * memory_khz * 1e3 * bus_bits / 8.0 or None,  # two transfers a clock
        l2_bytes=told("L2_cache_size"),
        shared_bytes_per_unit=told("shared_memory_per_multiprocessor"),
        compute_capability=f"{p.major}.{p.minor}",
    )
