"""An op is one module: the page that says so is run, and its op is lowered, costed, batched, trained and saved."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import blocks
from places import ROOT
from training_steps import step

import roofline as rf
from roofline.errors import GraphError, InputError
from roofline.graph import scaling
from roofline.graph.serial import save_graph
from roofline.passes.backward import registry as gradients
from roofline.registry import filed
from roofline.work import count
from roofline.work import registry as work

torch = pytest.importorskip("torch")

from roofline.frontends.torch import registry as lowerings  # noqa: E402

TABLES: tuple[dict[Any, Any], ...] = (work.RULES, scaling.RULES, gradients.RULES, lowerings.RULES)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Run the example as a file of its own; the registries forget it afterwards."""
    before = [dict(table) for table in TABLES]
    module = types.ModuleType("hadamard_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for code in blocks(ROOT / "docs" / "adding-an-op.md", "python"):
        exec(compile(code, "adding-an-op.md", "exec"), module.__dict__)
    yield module.__dict__
    for table, old in zip(TABLES, before, strict=True):
        table.clear()
        table.update(old)
    lowerings._found.cache_clear()


#: n log2 n of a row of 4096
ROW = 4096 * 12


def test_it_is_counted(page: dict[str, Any]) -> None:
    page["graph"].check_shapes()
    assert count(page["graph"]).macs == 0
    assert count(page["graph"]).simple_ops == 8 * (ROW + 4096)  # one operation for relu


@pytest.mark.parametrize("runtime", rf.runtimes())
def test_it_runs_under_every_runtime(page: dict[str, Any], runtime: str) -> None:
    device = {"tpu": "tpu-v3", "gpu": "v100", "cpu": "hypothetical-cpu"}[rf.runtime(runtime).device_kinds[0]]
    report = rf.simulate(page["graph"], device, runtime=runtime)
    assert report.vector_ops == 8 * (ROW + 4096)
    assert report.latency_s > 0


def test_it_takes_columns(page: dict[str, Any]) -> None:
    b = rf.GraphBuilder("columns")
    x = b.input("signal", (np.array([1.0, 8.0]), np.array([8.0, 4096.0])))
    counted = count(b.graph([b.add_op("hadamard", page["Hadamard"], x)]))
    assert list(np.asarray(counted.simple_ops)) == [8 * 3, 8 * ROW]


def test_it_grows_with_the_batch(page: dict[str, Any]) -> None:
    assert rf.simulate(page["graph"], "v100", batch=32).vector_ops == 32 * (ROW + 4096)
    b = rf.GraphBuilder("across")
    flipped = b.move("transpose", b.input("signal", (8, 64)), (64, 8))
    with pytest.raises(InputError, match="the batch is inside a row that is transformed"):
        rf.simulate(b.graph([b.add_op("hadamard", page["Hadamard"], flipped)]), "v100", batch=32)


def test_it_is_lowered_and_trained(page: dict[str, Any]) -> None:
    def hadamard(x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return torch.empty_like(x)

    custom = torch.library.custom_op("mylib::hadamard", hadamard, mutates_args=())
    custom.register_fake(hadamard)

    class Spectrum(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Linear(64, 64, device="meta")

        def forward(self, x: Any) -> Any:
            return custom(self.mix(x)).abs()

    graph = rf.from_torch(Spectrum(), (8, 64))
    assert [op.kind for op in graph.ops.values() if op.family != "free"] == ["matmul", "hadamard", "elementwise"]
    forward, back, _ = step(graph).phases
    assert [op.kind for op in forward.graph.ops.values()].count("hadamard") == 1
    assert [op.kind for op in back.graph.ops.values()].count("hadamard") == 1
    assert back.graph.macs == graph.macs  # the weight's gradient; nobody asks for the input's


def test_it_is_saved_and_read_back(page: dict[str, Any], tmp_path: Path) -> None:
    save_graph(page["graph"], tmp_path / "g.json")
    assert isinstance(rf.load_graph(tmp_path / "g.json").op("hadamard"), page["Hadamard"])


def test_a_kind_of_the_package_is_not_taken_over(page: dict[str, Any], tmp_path: Path) -> None:
    impostor = type("Impostor", (page["Hadamard"],), {"kind": "conv"})
    b = rf.GraphBuilder("impostor")
    graph = b.graph([b.add_op("x", impostor, b.input("signal", (8, 64)))])
    with pytest.raises(InputError, match="'Impostor' cannot be saved: kind 'conv' is another's"):
        save_graph(graph, tmp_path / "g.json")


def test_no_registry_takes_a_second_rule(page: dict[str, Any]) -> None:
    hadamard = page["Hadamard"]
    registered: tuple[tuple[Any, str], ...] = (
        (work.rule(hadamard), "op 'Hadamard' has two work rules"),
        (scaling.rule(hadamard), "op 'Hadamard' has two batch rules"),
        (gradients.backward(hadamard), "op 'Hadamard' has two backward rules"),
        (lowerings.lowering("mylib.hadamard"), "torch op 'mylib.hadamard' has two lowering rules"),
    )
    for register, message in registered:
        with pytest.raises(GraphError, match=message):
            register(print)


def test_no_front_end_takes_a_second_rule() -> None:
    onnx, jax = pytest.importorskip("onnx"), pytest.importorskip("jax")
    assert onnx and jax
    from roofline.frontends.jax import lowering as primitive
    from roofline.frontends.jax import rules as _jax_rules  # noqa: F401
    from roofline.frontends.onnx import lowering as operator
    from roofline.frontends.onnx import rules as _onnx_rules  # noqa: F401
    from roofline.frontends.torch.catch import caught

    registered: tuple[tuple[Any, str], ...] = (
        (operator("Conv"), "ONNX operator 'Conv' of domain '' has two lowerings"),
        (primitive("dot_general"), "primitive 'dot_general' has two lowering rules"),
        (caught("lstm"), "torch function 'lstm' is caught by two rules"),
    )
    for register, message in registered:
        with pytest.raises(GraphError, match=message):
            register(print)


def test_nothing_is_filed_where_one_of_several_names_is_taken() -> None:
    table = {"b": 1}
    with pytest.raises(GraphError, match="'b' is there twice"):
        filed(table, ("a", "b"), lambda key: f"{key!r} is there twice")(2)
    assert table == {"b": 1}
    with pytest.raises(GraphError, match="'c' is there twice"):
        filed(table, ("c", "c"), lambda key: f"{key!r} is there twice")(2)
