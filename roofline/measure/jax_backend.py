"""JAX on a TPU, a GPU or the CPU: every case is one compiled program."""

from __future__ import annotations

import time
from math import ceil
from typing import Any

import jax as _jax
import jax.numpy as jnp

from roofline.errors import InputError
from roofline.frontends.jax import from_jax
from roofline.measure.backend import Program, State, require_dtype
from roofline.measure.facts import Facts, cpu_facts, shipped_device, usable_cores
from roofline.measure.jax_programs import NETWORKS, OPS
from roofline.measure.plan import Case
from roofline.measure.timing import Sample

jax: Any = _jax  # half of its functions say nothing of their types
DTYPES = {"fp64": jnp.float64, "fp32": jnp.float32, "fp16": jnp.float16, "bf16": jnp.bfloat16}
#: a sample lasts this long at least
SHORTEST_S = 1e-3


class JaxBackend:
    """One device of JAX.

    Programs are dispatched one after the other and waited for at the end, so that a sample holds the dispatch where
    that takes longer than the device: the fit finds what all ops have in common, and takes it off.
    """

    clock = "dispatch"
    layout = "nhwc"

    def __init__(self, index: int = 0) -> None:
        devices = jax.devices()
        if not 0 <= index < len(devices):
            raise InputError(f"no device {index}: JAX finds {len(devices)} here (0 to {len(devices) - 1})")
        self.device = devices[index]
        self.facts = jax_facts(self.device)

    def runtime(self, compiled: bool) -> str:
        """Return the name of the runtime under which cases run; JAX compiles everything."""
        return f"xla_{self.facts.kind}"

    def builds(self, case: Case) -> bool:
        """Whether this backend has the case."""
        return not case.compiled and case.build in (NETWORKS if case.network else OPS)

    def check_dtype(self, dtype: str) -> None:
        """Raise InputError unless the device multiplies matrices of a format; the message names those it does."""
        require_dtype(dtype, [name for name in DTYPES if self._multiplies(name)], self.facts)

    def _multiplies(self, dtype: str) -> bool:
        if dtype == "fp64" and not jax.config.jax_enable_x64:
            return False
        try:
            x = jax.device_put(jnp.ones((16, 16), DTYPES[dtype]), self.device)
            return bool((x @ x).astype(jnp.float32).sum() == 16.0**3)
        except Exception:  # whatever a plug-in raises for a format that it lacks
            return False

    def program(self, case: Case) -> Program:
        """Build a case on the device, and run it once: the first run compiles."""
        sizes = (*case.sizes, case.batch) if case.network else case.sizes
        function, shapes, inputs = (NETWORKS if case.network else OPS)[case.build](*sizes)
        dtype = DTYPES[case.dtype]
        whole = jax.tree_util.tree_map(lambda s: jax.ShapeDtypeStruct(s, dtype), shapes, is_leaf=_is_shape)
        specs = [jax.ShapeDtypeStruct(shape, dtype) for shape in inputs]
        params, arrays = jax.tree_util.tree_map(self._filled, (whole, specs))
        compiled = jax.jit(function)
        jax.block_until_ready(compiled(params, *arrays))

        def timed(loops: int) -> float:
            start_ns = time.perf_counter_ns()
            for _ in range(loops):
                out = compiled(params, *arrays)
            jax.block_until_ready(out)
            return (time.perf_counter_ns() - start_ns) * 1e-9 / loops

        loops = 1 if case.network else ceil(SHORTEST_S / max(min(timed(1), timed(1)), 1e-7))
        graph_params = {"params": 0} if shapes else {}
        return Program(
            run=lambda: Sample(time_s=timed(loops)),
            graph=lambda: from_jax(function, whole, *specs, name=case.name, **graph_params),
        )

    def _filled(self, spec: Any) -> Any:
        return jax.device_put(
            jax.random.normal(jax.random.key(0), spec.shape, jnp.float32).astype(spec.dtype), self.device
        )

    def state(self) -> State:
        """Return nothing: JAX tells neither clock nor power."""
        return State()

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether an error means that the memory is full."""
        return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)

    def release(self) -> None:
        """Forget compiled programs."""
        jax.clear_caches()


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(size, int) for size in x)


def jax_facts(device: Any) -> Facts:
    """Return what JAX says of a device."""
    software = f"jax {jax.__version__}"
    if device.platform == "cpu":
        return cpu_facts(usable_cores(), software, "jax")
    memory = (device.memory_stats() or {}).get("bytes_limit", 0) if hasattr(device, "memory_stats") else 0
    kind = "tpu" if device.platform == "tpu" else "gpu"
    known = shipped_device(device.device_kind)
    if known is None:
        raise InputError(f"no shipped device is {device.device_kind!r}: measure a GPU with torch, or add a device file")
    return Facts(
        name=device.device_kind,
        kind=kind,
        backend="jax",
        vendor="google" if kind == "tpu" else "unknown",
        software=software,
        known_as=known,
        memory_bytes=float(memory),
    )
