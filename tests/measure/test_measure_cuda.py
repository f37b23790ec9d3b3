"""The CUDA backend on a stand-in for a GPU: which calls, in which order, and what is made of what the driver says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from roofline.errors import InputError  # noqa: E402
from roofline.measure.plan import Case  # noqa: E402
from roofline.measure.torch_cuda import CudaBackend, cuda_facts  # noqa: E402

#: an H200 as cudaDeviceProp tells it
PROPERTIES = {
    "name": "NVIDIA H200", "total_memory": 150_000_000_000, "multi_processor_count": 132, "major": 9, "minor": 0,
    "clock_rate": 1_980_000, "memory_clock_rate": 3_201_000, "memory_bus_width": 6144, "L2_cache_size": 60 * 2**20,
    "shared_memory_per_multiprocessor": 233_472,
}  # fmt: skip


class Gpu:
    """What is called, in order; events are three milliseconds apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any]) -> None:
        self.calls: list[str] = []
        gpu = self

        class Event:
            def __init__(self, *, enable_timing: bool = False) -> None:
                assert enable_timing  # without it, elapsed_time raises

            def record(self) -> None:
                gpu.calls.append("record")

            def elapsed_time(self, end: Event) -> float:
                assert gpu.calls[-1] == "synchronize"  # both events must have happened
                return 3.0  # milliseconds

        def unasked(*_: object) -> float:
            raise ModuleNotFoundError("pynvml does not seem to be installed or it can't be imported.")

        fakes = {
            "is_available": lambda: True, "device_count": lambda: 2, "set_device": lambda index: None, "Event": Event,
            "synchronize": lambda device=None: self.calls.append("synchronize"),
            "get_device_properties": lambda index: SimpleNamespace(**properties), "empty_cache": lambda: None,
            "clock_rate": unasked, "power_draw": unasked,
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch, PROPERTIES)


@pytest.fixture
def backend(gpu: Gpu) -> CudaBackend:
    found = CudaBackend(0)
    found.device = torch.device("cpu")  # where tensors of this test can live
    found.flush_bytes = 64.0
    return found


def test_facts_of_a_gpu(gpu: Gpu) -> None:
    facts = cuda_facts(0)
    assert facts.known_as == "h200" and facts.units == 132 and facts.compute_capability == "9.0"
    assert facts.clock_hz == 1.98e9
    assert facts.bandwidth_bytes_per_s == pytest.approx(4.9e12, rel=0.01)  # 4.8 TB/s on the data sheet
    assert facts.l2_bytes == 60 * 2**20


def test_facts_of_a_release_that_tells_less(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ("name", "total_memory", "multi_processor_count", "major", "minor")
    Gpu(monkeypatch, {name: PROPERTIES[name] for name in known} | {"name": "NVIDIA Toy"})
    facts = cuda_facts(0)
    assert facts.known_as is None and facts.bandwidth_bytes_per_s is None and facts.clock_hz is None


def test_single_ops_hide_the_host_behind_a_flush(
    backend: CudaBackend, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "renew", lambda _: gpu.calls.append("renew"))
    program = backend.program(Case(build="relu", sizes=(64,), family="pointwise"))
    gpu.calls.clear()
    assert program.run().time_s == pytest.approx(3e-3)
    assert gpu.calls == ["synchronize", "renew", "record", "record", "synchronize"]
    assert [op.kind for op in program.graph().ops.values()] == ["elementwise"]


def test_networks_start_on_an_idle_device(backend: CudaBackend, gpu: Gpu) -> None:
    program = backend.program(Case(build="tiny_ops", sizes=(4,), family="tiny_ops", network=True))
    gpu.calls.clear()
    program.run()
    assert gpu.calls == ["synchronize", "record", "record", "synchronize"]


@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", False), ("tf32", True)])
def test_fp32_and_tf32_multiply_as_they_say(backend: CudaBackend, dtype: str, allowed: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        backend.program(Case(build="relu", sizes=(64,), family="pointwise", dtype=dtype))
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (allowed, allowed)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_driver_that_does_not_tell_clock_and_power(backend: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (backend.state().clock_mhz, backend.state().power_w) == (None, None)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: 1755)  # MHz
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 650_000)  # mW
    assert (backend.state().clock_mhz, backend.state().power_w) == (1755.0, 650.0)


def test_memory_that_is_full_is_told_from_other_errors(backend: CudaBackend) -> None:
    assert backend.out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not backend.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_gpu_that_is_not_there(gpu: Gpu, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no GPU 2: this machine has 2 \(0 to 1\)"):
        CudaBackend(2)
