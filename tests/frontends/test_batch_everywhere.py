"""The number of examples is found by one rule at every door: a side input before the examples changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.cli import main
from roofline.errors import GraphError, InputError
from roofline.graph.op import Op
from roofline.graph.ops import Elementwise
from roofline.graph.tensor import Tensor

EXAMPLES = 8
#: a step of a diffusion model, as programs give it: one number, one for all, one for each
STEPS: tuple[tuple[int, ...], ...] = ((), (1,), (EXAMPLES,))


def torch_door(step: tuple[int, ...], folder: Path) -> rf.OpGraph:
    torch = pytest.importorskip("torch")
    mix = torch.nn.Linear(6, 4, bias=False)
    return rf.from_torch(lambda t, x: mix(x * t.exp().reshape(-1, 1)), (torch.empty(step), torch.empty(EXAMPLES, 6)))


def jax_door(step: tuple[int, ...], folder: Path) -> rf.OpGraph:
    jax = pytest.importorskip("jax")
    specs = (jax.ShapeDtypeStruct(shape, "float32") for shape in ((6, 4), step, (EXAMPLES, 6)))
    return rf.from_jax(lambda w, t, x: (x * jax.numpy.exp(t).reshape(-1, 1)) @ w["w"], {"w": next(specs)}, *specs)


def onnx_door(step: tuple[int, ...], folder: Path) -> rf.OpGraph:
    pytest.importorskip("onnx")
    from onnx_files import ints, model, node, weight, write

    nodes = [node("Exp", "t", "e"), node("Reshape", "e column", "c"), node("Mul", "c x", "m"), node("MatMul", "m w")]
    inputs = {"t": step, "x": (EXAMPLES, 6)}
    return rf.from_onnx(write(model(nodes, inputs, [weight("w", 6, 4), ints("column", -1, 1)]), folder))


def file_door(step: tuple[int, ...], folder: Path) -> rf.OpGraph:
    torch_door(step, folder).save(folder / "g.json")
    return rf.load_graph(folder / "g.json")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("door", [torch_door, jax_door, onnx_door, file_door])
def test_a_time_step_before_the_examples_is_none(door: Any, step: tuple[int, ...], tmp_path: Path) -> None:
    graph = door(step, tmp_path)
    assert graph.examples == EXAMPLES
    report = rf.simulate(graph, "a100-80gb")
    assert (report.batch, report.macs_per_example) == (EXAMPLES, 6 * 4)
    assert report.throughput_per_s == pytest.approx(EXAMPLES / report.latency_s)
    if step != (EXAMPLES,):
        assert graph.with_batch(2 * EXAMPLES).macs == 2 * graph.macs


def added(first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...]) -> rf.OpGraph:
    shapes = {"first": first, "second": second}
    tensors = {n: Tensor(id=n, shape=s, role="input") for n, s in shapes.items()} | {"y": Tensor(id="y", shape=out)}
    small = tuple(s != out for s in shapes.values())
    op: Op = Elementwise(inputs=tuple(shapes), outputs=("y",), function="add", broadcast=small)
    return rf.OpGraph({"add": op}, tensors, ("y",))


@pytest.mark.parametrize(
    ("first", "second", "out", "examples"),
    [
        ((1, 16), (8, 16), (8, 16), 8),  # positions that all examples share
        ((8, 16), (1, 16), (8, 16), 8),
        ((16, 16), (1, 16, 16), (1, 16, 16), 1),  # a mask
        ((16,), (16, 16), (16, 16), 16),
        ((16,), (), (16,), 16),
        ((), (), (), 1),
    ],
)
def test_examples_are_what_an_input_and_an_output_lead_with(
    first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...], examples: int
) -> None:
    assert added(first, second, out).examples == examples


def test_where_no_output_leads_with_them_matrices_go_before_vectors() -> None:
    b = rf.GraphBuilder("loss")
    alone = b.mean(b.elementwise("exp", b.input("lengths", (5,))), (0,))
    assert b.graph([alone]).examples == 5
    assert b.graph([alone, b.mean(b.input("rows", (8, 6)), (0, 1))]).examples == 8


def test_a_stated_number_of_examples_counts_and_is_saved(tmp_path: Path) -> None:
    b = rf.GraphBuilder("windows")
    graph = b.graph([b.linear(b.input("windows", (64, 16)), 4)]).with_examples(2)  # 32 windows of each image
    report = rf.simulate(graph, "a100-80gb")
    assert (report.batch, report.macs_per_example) == (2, 32 * 16 * 4)
    graph.save(tmp_path / "g.json")
    assert rf.load_graph(tmp_path / "g.json").examples == 2
    with pytest.raises(InputError, match="no input has the batch of 2"):
        rf.simulate(graph, "a100-80gb", batch=4)
    with pytest.raises(InputError, match="examples must be a whole number"):
        graph.with_examples(0)
    text = (tmp_path / "g.json").read_text().replace('"examples":2', '"examples":"2"')
    (tmp_path / "g.json").write_text(text)
    with pytest.raises(GraphError, match="examples must be int"):
        rf.load_graph(tmp_path / "g.json")


def test_the_command_line_states_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = rf.GraphBuilder("windows")
    path = tmp_path / "g.json"
    b.graph([b.linear(b.input("windows", (64, 16)), 4)]).save(path)
    assert main(["simulate", str(path), "-d", "v100", "--examples", "2", "--format", "json"]) == 0
    assert '"batch": 2' in capsys.readouterr().out
    assert main(["simulate", "resnet-18", "-d", "v100", "--examples", "2"]) == 2
    assert "--batch runs MODEL at one" in capsys.readouterr().err
