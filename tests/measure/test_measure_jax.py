"""The JAX backend on the processor at hand: programs that run, and graphs that count what was written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("jax")

from roofline.errors import InputError
from roofline.measure.jax_backend import JaxBackend, jax_facts
from roofline.measure.jax_programs import NETWORKS, OPS
from roofline.measure.plan import Case, plan
from roofline.measure.run import measure
from roofline.measure.store import read_facts


@pytest.fixture(scope="module")
def backend() -> JaxBackend:
    return JaxBackend(0)


def case(build: str, *sizes: int, **options: object) -> Case:
    return Case(build=build, sizes=sizes, family=build, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "sizes", "macs"),
    [
        ("matmul", (8, 32, 16), 8 * 32 * 16),
        ("bmm", (2, 8, 32, 16), 2 * 8 * 32 * 16),
        ("conv", (1, 4, 8, 6, 3, 2, 1), 4 * 4 * 6 * 4 * 9),  # stride 2 leaves 4 x 4 positions
        ("depthwise", (1, 4, 8, 3, 1), 8 * 8 * 4 * 9),
        ("attention", (1, 2, 8, 4), 2 * 2 * 8 * 8 * 4),  # scores and context
        ("silu", (64,), 0),
    ],
)
def test_an_op_runs_and_its_graph_counts_it(backend: JaxBackend, build: str, sizes: tuple[int, ...], macs: int) -> None:
    program = backend.program(case(build, *sizes))
    assert program.run().time_s > 0
    assert program.graph().macs == macs


@pytest.mark.parametrize("build", ["residual", "vision_transformer"])
def test_a_network_runs_and_has_parameters(backend: JaxBackend, build: str) -> None:
    program = backend.program(case(build, 32, 1, 32, network=True, batch=2))
    assert program.run().time_s > 0
    graph = program.graph()
    assert graph.params > 0 and graph.macs > graph.params / 10


def test_what_the_backend_lacks_is_left_out_of_its_plan(backend: JaxBackend, tmp_path: Path) -> None:
    cases = plan("cpu", compiled=True)
    has = [c for c in cases if backend.builds(c)]
    assert {c.build for c in has} <= set(NETWORKS) | set(OPS) and not any(c.compiled for c in has)
    outcome = measure(backend, tmp_path, [case("relu", 64), case("batch_norm", 1, 4, 8)])
    assert outcome.measured == 1 and not outcome.failed
    assert read_facts(tmp_path).backend == "jax"
    assert backend.runtime(compiled=False) == "xla_cpu"


def test_a_format_that_is_switched_off(backend: JaxBackend) -> None:
    backend.check_dtype("bf16")
    with pytest.raises(InputError, match="does not compute in 'fp64'; it does in 'fp32'"):
        backend.check_dtype("fp64")


def test_devices_that_are_not_there_or_not_known() -> None:
    with pytest.raises(InputError, match="no device 99: JAX finds"):
        JaxBackend(99)
    tpu = SimpleNamespace(platform="tpu", device_kind="TPU v4", memory_stats=lambda: {"bytes_limit": 34e9})
    assert jax_facts(tpu).known_as == "tpu-v4" and jax_facts(tpu).kind == "tpu"
    with pytest.raises(InputError, match="no shipped device is 'Toy'"):
        jax_facts(SimpleNamespace(platform="gpu", device_kind="Toy"))


def test_full_memory_is_told_from_other_errors(backend: JaxBackend) -> None:
    assert backend.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."))
    assert not backend.out_of_memory(RuntimeError("INVALID_ARGUMENT"))
