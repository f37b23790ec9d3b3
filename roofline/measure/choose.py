"""From the name of a framework to its backend."""

from __future__ import annotations

from roofline.errors import InputError, nearest
from roofline.measure.backend import Backend

BACKENDS = ("torch", "jax")


def choose(name: str, device_index: int, threads: int = 1) -> Backend:
    """Return a backend by name; PyTorch's is that of a GPU where there is one.

    Raises
    ------
    InputError
        No such backend, its package is not installed, or it has no such device.
    """
    if name == "torch":
        try:
            import torch

            from roofline.measure.torch_cpu import CpuBackend
            from roofline.measure.torch_cuda import CudaBackend
        except ImportError:
            raise InputError("measuring with torch needs PyTorch: pip install 'roofline[torch]'") from None
        if torch.cuda.is_available():
            return CudaBackend(device_index)
        if device_index != 0:
            raise InputError(f"no device {device_index}: PyTorch finds no GPU here, and the CPU is device 0")
        return CpuBackend(threads)
    if name == "jax":
        try:
            from roofline.measure.jax_backend import JaxBackend
        except ImportError:
            raise InputError("measuring with jax needs JAX: pip install 'roofline[jax]'") from None
        return JaxBackend(device_index)
    raise InputError(f"no backend {name!r}{nearest(name, BACKENDS)}")
