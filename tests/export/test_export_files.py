"""`roofline export` and what it refuses: one line each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.arch.spec import Arch
from roofline.cli.app import main
from roofline.export.files import export
from roofline.graph.indexing import Sort


def test_a_program_runs_where_this_package_is_not(tmp_path: Path) -> None:
    assert (
        main(["export", "mobilenetv2-0.35", "--to", "torch,jax", "-o", str(tmp_path / "new"), "--image-size", "32"])
        == 0
    )
    torch_file, jax_file = tmp_path / "new/mobilenetv2_0_35_torch.py", tmp_path / "new/mobilenetv2_0_35_jax.py"
    code = (
        "import sys; sys.modules['roofline'] = None\n"
        "import torch, mobilenetv2_0_35_torch as m\n"
        "print(tuple(m.MobileNetV2035()(torch.zeros(2, 3, 32, 32)).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=torch_file.parent, check=False
    )
    assert done.stdout.strip() == "(2, 1000)", done.stderr
    assert "roofline" not in torch_file.read_text() + jax_file.read_text()


def test_an_architecture_file_and_a_saved_graph_are_written(tmp_path: Path, checkout: Path) -> None:
    rf.op_graph("resnet-18").save(tmp_path / "graph.json")
    models = f"{checkout / 'models/resnet.toml'}:resnet-18,{tmp_path / 'graph.json'}"
    assert main(["export", models, "--to", "onnx", "--no-weights", "-o", str(tmp_path), "--force"]) == 0
    assert rf.from_onnx(tmp_path / "resnet-18.onnx", dims={"N": 1}).macs == rf.op_graph("resnet-18").macs


def test_whatever_a_stage_is_called_the_program_is_one(tmp_path: Path) -> None:
    """Names of an architecture file are names or quoted texts in a program, never code."""
    names = ['a"""b\n', "class", "x\\", "{y}", "1.2.", "s); import os; ("]
    stages = rf.model("mobilenetv2-0.35").stages
    renamed = [s.model_copy(update={"name": names[i % 6] + str(i)}) for i, s in enumerate(stages)]
    arch = Arch(name='n"\n', family="f", title='t"""\nimport os', image_size=32, stages=tuple(renamed))
    program = rf.to_jax(arch)
    assert rf.from_jax(program.forward, program.variables, *program.inputs).params == rf.op_graph(arch).params
    module = rf.to_torch(arch)
    assert sum(p.numel() for p in module.parameters()) == rf.op_graph(arch).params
    for path in export(arch, ["torch", "onnx", "jax"], tmp_path):
        assert path.parent == tmp_path
        assert "import os" not in path.read_text(errors="ignore").splitlines()


def test_two_stages_of_one_name_in_code_are_refused() -> None:
    first, second, *rest = rf.model("mobilenetv2-0.35").stages
    named = (first.model_copy(update={"name": "a b"}), second.model_copy(update={"name": "a_b"}), *rest)
    arch = Arch(name="n", family="f", title="t", image_size=32, stages=named)
    with pytest.raises(rf.RooflineError, match="stages 'a b' and 'a_b' have one name in a program: 'a_b'"):
        rf.to_torch(arch)


def test_a_search_writes_its_winners_as_programs(tmp_path: Path) -> None:
    words = ["search", "accel-nasbench", "--device", "tpu-v3", "-n", "200", "--no-baselines"]
    assert main([*words, "-o", str(tmp_path), "--export", "torch"]) == 0
    folder = tmp_path / "architectures"
    networks = sorted(folder.glob("*.toml"))
    assert [path.stem.replace("-", "_") + "_torch.py" for path in networks] == sorted(
        p.name for p in folder.glob("*.py")
    )
    space: dict[str, Any] = {}
    exec((folder / "winner_01_torch.py").read_text(), space)
    module = next(v for k, v in space.items() if k.startswith("Winner") or k.endswith("Winner01"))()
    assert sum(p.numel() for p in module.parameters()) == rf.op_graph(networks[0]).params


def test_a_family_is_written_as_programs(tmp_path: Path) -> None:
    words = ["scale", "efficientnet-b0", "--device", "tpu-v3", "--times", "2", "--max-depth", "2", "--max-width", "1.5"]
    assert main([*words, "-o", str(tmp_path), "--export", "jax"]) == 0
    folder = tmp_path / "architectures"
    assert len(list(folder.glob("*_jax.py"))) == len(list(folder.glob("*.toml"))) > 0


@pytest.mark.parametrize("verb", [["search", "vit"], ["scale", "resnet-18", "--times", "2"]])
def test_programs_need_a_folder(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--device", "tpu-v3", "--export", "torch"]) == 2
    assert capsys.readouterr().err == "error: --export writes into the folder of --output: give it\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["resnet-18", "--to", "tirch", "-o", "{tmp}"], "no network is written as 'tirch'; nearest: 'torch'"),
        (["resnet-18", "--to", "", "-o", "{tmp}"], "name a form: torch, onnx, jax"),
        (["resnet-19", "--to", "torch", "-o", "{tmp}"], "unknown model 'resnet-19'"),
        (["resnet-18", "--to", "torch", "-o", "{tmp}/old.txt/new"], "old.txt/new': Not a directory"),
        (
            ["resnet-18", "--to", "torch", "-o", "{tmp}/full"],
            "resnet_18_torch.py' exists: give --force to overwrite it",
        ),
        (["resnet-18", "--to", "torch", "--image-size", "0", "-o", "{tmp}"], "image size must be a whole number"),
        (["{tmp}/other.json", "--to", "torch", "-o", "{tmp}"], "op 's/sort' (sort) cannot be exported"),
        (["{tmp}/flat.json", "--to", "jax", "-o", "{tmp}"], "op 'relu' stands in no block"),
    ],
)
def test_bad_input_is_one_line(words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.txt").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/resnet_18_torch.py").write_text("")
    for name, scope in (("flat", ""), ("other", "s")):
        b = rf.GraphBuilder(name)
        with b.scope(scope):
            x = b.input("image", (1, 8, 8, 3))
            y = b.relu(x) if name == "flat" else b.add_op("sort", Sort, x)
        b.graph([y]).save(tmp_path / f"{name}.json")
    status = main(["export", *(word.format(tmp=tmp_path) for word in words)])
    error = capsys.readouterr().err
    assert status == 2
    assert line in error
    assert error.count("\n") == 1
