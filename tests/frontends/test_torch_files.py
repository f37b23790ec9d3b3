"""Files of programs: what they may hold, and that nothing they bring along runs when they are opened."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import InputError, RooflineError

trace: Any = torch.jit.trace
pytestmark = pytest.mark.filterwarnings("ignore")  # torch on its own ways to save


class Net(nn.Module):
    """Tied weights, a buffer with a number in it, a constant, a string argument, a block without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Embedding(50, 8), nn.Linear(8, 50, bias=False)
        self.outer.weight = self.inner.weight
        self.register_buffer("positions", torch.arange(4))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Embed and predict."""
        h = self.inner(x) + self.inner(self.positions) + torch.tensor([1.0, 2.0]).repeat(4)
        with torch.no_grad():
            h = nn.functional.gelu(h, approximate="tanh")
        return {"out": self.outer(h)}


IDS = torch.zeros(2, 4, dtype=torch.int64)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    torch.export.save(torch.export.export(Net(), (IDS,)), folder / "net.pt2")
    dims = ({0: torch.export.Dim("n", min=2)},)
    torch.export.save(torch.export.export(Net(), (IDS,), dynamic_shapes=dims), folder / "sizes.pt2")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    torch.jit.save(torch.jit.script(module), folder / "net.pt")
    trace(module, torch.rand(1, 3, 8, 8)).save(folder / "traced.pt")
    torch.save(module, folder / "pickled.pt")
    torch.save(module.state_dict(), folder / "weights.pt")
    return folder


def changed(source: Path, target: Path, edits: Mapping[str, Callable[[bytes], bytes]]) -> Path:
    """Write a copy of an archive with other contents, or one more entry where no name matches that of an edit."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        folder = old.namelist()[0].partition("/")[0]
        left = dict(edits)
        for name in old.namelist():
            found = next((pattern for pattern in left if re.search(f"{pattern}$", name)), None)
            new.writestr(name, left.pop(found)(old.read(name)) if found else old.read(name))
        for name, make in left.items():
            new.writestr(f"{folder}/{name}", make(b""))
    return target


class Touches:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def hostile(path: Path, _: bytes = b"") -> bytes:
    return pickle.dumps(Touches(path), protocol=2)


def edited(change: Callable[[Any], None], content: bytes) -> bytes:
    program = json.loads(content)
    change(program)
    return json.dumps(program).encode()


def graph_of(program: Any) -> Any:
    return program["graph_module"]["graph"]


# what opens -------------------------------------------------------------------------------------------------------


def test_a_saved_program_counts_as_the_program(saved: Path) -> None:
    graph = rf.from_torch(saved / "net.pt2")
    graph.check_shapes()
    same = rf.from_torch(Net(), IDS)
    assert (graph.macs, graph.params) == (same.macs, same.params) == (2 * 4 * 400, 400)
    assert "outer/mm" in graph.ops
    assert rf.from_torch(saved / "sizes.pt2", torch.zeros(6, 4, dtype=torch.int64)).macs == 3 * graph.macs


@pytest.mark.parametrize("name", ["net.pt", "traced.pt"])
def test_a_file_of_torchscript_counts_as_its_module(saved: Path, name: str) -> None:
    graph = rf.from_torch(saved / name, (2, 3, 8, 8))
    assert (graph.macs, graph.params) == (2 * (36 * 4 * 27 + 720), 112 + 8 + 725)


def test_programs_of_other_devices_open(saved: Path, tmp_path: Path) -> None:
    """What a program says of an accelerator is said of tensors without data here."""

    def move(program: Any) -> None:
        for meta in graph_of(program)["tensor_values"].values():
            meta["device"] = {"type": "cuda", "index": 0}

    path = changed(saved / "net.pt2", tmp_path / "net.pt2", {"models/model.json": partial(edited, move)})
    assert rf.from_torch(path).macs == rf.from_torch(saved / "net.pt2").macs


# what is left out -------------------------------------------------------------------------------------------------


def test_a_sample_input_is_not_read(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = changed(saved / "net.pt2", tmp_path / "net.pt2", {"sample_inputs/model.pt": partial(hostile, marker)})
    assert rf.from_torch(path).macs == rf.from_torch(saved / "net.pt2").macs
    assert not marker.exists()


def test_code_that_guards_a_program_is_not_read(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def guard(program: Any) -> None:
        program["guards_code"] = [f"__import__('pathlib').Path({str(marker)!r}).touch() or True"]
        for node in graph_of(program)["nodes"]:
            node["metadata"]["source_fn_stack"] = "x,torch.hub.load"

    path = changed(saved / "net.pt2", tmp_path / "net.pt2", {"models/model.json": partial(edited, guard)})
    assert rf.from_torch(path).macs > 0
    assert not marker.exists()


# what is refused --------------------------------------------------------------------------------------------------


def _touch(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def by_expression(marker: Path, program: Any) -> None:
    text = f"sympify.__globals__['__builtins__']['__import__']('pathlib').Path({str(marker)!r}).touch()"
    graph_of(program)["sym_int_values"]["s0"] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}


def by_power(marker: Path, program: Any) -> None:
    by_expression(marker, program)
    graph_of(program)["sym_int_values"]["s0"]["as_expr"]["expr_str"] = "Pow(Integer(9), Pow(Integer(9), Integer(99)))"


def by_operator(marker: Path, program: Any) -> None:
    node = graph_of(program)["nodes"][0]
    node["target"] = "torch.utils.cpp_extension.os.system"
    node["inputs"] = [{"name": "command", "arg": {"as_string": f"touch {marker}"}, "kind": 1}]


def by_getter(marker: Path, program: Any) -> None:
    graph_of(program)["nodes"][0]["target"] = "_operator.methodcaller"


def by_op_that_writes(marker: Path, program: Any) -> None:
    node = graph_of(program)["nodes"][0]
    node["target"] = "torch.ops.aten.from_file.default"
    node["inputs"] = [
        {"name": "filename", "arg": {"as_string": str(marker)}, "kind": 1},
        {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
        {"name": "size", "arg": {"as_int": 8}, "kind": 1},
    ]


def by_name(marker: Path, program: Any) -> None:
    text = json.dumps(program).replace('"embedding"', json.dumps(f"embedding = 0\n    {_touch(marker)}\n    y"))
    program.clear()
    program.update(json.loads(text))


def by_import(marker: Path, program: Any) -> None:
    (marker.parent / "hostile_module.py").write_text(f"{_touch(marker)}\nint = int\n")
    context = {"default_factory_module": "hostile_module", "default_factory_name": "int", "dict_context": []}
    tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, tree])


def by_enumeration(marker: Path, program: Any) -> None:
    (marker.parent / "hostile_module.py").write_text(_touch(marker))
    context = '[{"__en\\u0075m__": true, "fqn": "hostile_module:A", "name": "B"}]'
    tree = {"type": "builtins.dict", "context": context, "children_spec": []}
    program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])


@pytest.mark.parametrize(
    "attack",
    [by_expression, by_power, by_operator, by_getter, by_op_that_writes, by_name, by_import,
     by_enumeration],
)  # fmt: skip
def test_programs_with_code_in_them_are_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Callable[[Path, Any], None]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    edits = {"models/model.json": partial(edited, partial(attack, marker))}
    path = changed(saved / "net.pt2", tmp_path / "net.pt2", edits)
    with pytest.raises(InputError, match="is not a saved program: ") as caught:
        rf.from_torch(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def pickled(entry: str, program: Any) -> None:
    kept = next(iter(program["config"].values()))
    kept.update(use_pickle=True, path_name=entry)


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        ("weights/model_weights_config.json", "data/weights/hostile"),
        ("constants/model_constants_config.json", "data/constants/tensor_hostile"),
        ("constants/model_constants_config.json", "data/constants/opaque_obj_hostile"),
    ],
)
def test_pickled_tensors_and_objects_are_refused(saved: Path, tmp_path: Path, config: str, entry: str) -> None:
    marker = tmp_path / "marker"
    change = partial(edited, partial(pickled, entry.rpartition("/")[2]))
    path = changed(saved / "net.pt2", tmp_path / "net.pt2", {config: change, entry: partial(hostile, marker)})
    with pytest.raises(InputError, match="is a pickled object"):
        rf.from_torch(path)
    assert not marker.exists()


def test_old_weights_are_refused(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    edits = {"data/weights/model.pt": partial(hostile, marker)}
    with pytest.raises(InputError, match="save it again"):
        rf.from_torch(changed(saved / "net.pt2", tmp_path / "net.pt2", edits))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pickled.pt", "weights.pt"])
def test_pickles_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(InputError, match="a pickle, which runs code when it is read: save the module with"):
        rf.from_torch(saved / name, (1, 3, 8, 8))
    with pytest.raises(InputError, match="a pickle"):
        rf.from_torch(changed(saved / name, tmp_path / name, {"data.pkl": partial(hostile, marker)}), (1, 3, 8, 8))
    assert not marker.exists()


def with_line(line: str, content: bytes) -> bytes:
    """Put a line in front of what the first function of a source text does."""
    head, colon, rest = content.decode().partition("Tensor:\n")
    return f"{head}{colon}    {line}\n{rest}".encode()


@pytest.mark.parametrize(
    "line",
    [
        "_9 = torch.save([1], '{marker}')",
        "_9 = (input).save('{marker}')",
        "_9 = ops.aten.from_file('{marker}', True, 8)",
        "_9 = ops.prim.rpc_sync('{marker}', 'f')",
        "_9 = ops.profiler._record_function_enter('{marker}')",
        "_9 = __torch__.torch.classes.quantized.Conv2dPackedParamsBase('{marker}')",
    ],
)
def test_torchscript_that_reaches_beyond_tensors_is_refused(saved: Path, tmp_path: Path, line: str) -> None:
    marker = tmp_path / "marker"
    edits = {r"modules/container\b.*\.py": partial(with_line, line.format(marker=marker))}
    with pytest.raises(InputError, match=r"is not a saved program: .*(names|calls)") as caught:
        rf.from_torch(changed(saved / "net.pt", tmp_path / "net.pt", edits), (1, 3, 8, 8))
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("entry", ["/data.pkl", "constants.pkl"])
def test_pickles_in_torchscript_are_looked_through(saved: Path, tmp_path: Path, entry: str) -> None:
    marker = tmp_path / "marker"
    edits = {entry: partial(hostile, marker)}
    with pytest.raises(InputError, match=r"names '(pathlib Path.touch|__builtin__ getattr)'"):
        rf.from_torch(changed(saved / "net.pt", tmp_path / "net.pt", edits), (1, 3, 8, 8))
    assert not marker.exists()


def test_two_entries_of_one_name_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes((saved / "net.pt2").read_bytes())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("net/models/model.json", "{}")
    with pytest.raises(InputError, match="two entries have one name"):
        rf.from_torch(path)


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_damaged_files_open_or_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for place in range(40, len(whole), len(whole) // 12):
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff" * 8
        (tmp_path / name).write_bytes(damaged)
        with suppress(RooflineError):
            rf.from_torch(tmp_path / name, None if name == "net.pt2" else (1, 3, 8, 8))
