"""The command line on programs of one's own: every front end, saved graphs, the cache, and one line per mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import roofline as rf
from roofline.cli import main
from roofline.cli.graph_cache import cached
from roofline.cli.programs import Source, parse_dims, parse_shape
from roofline.errors import InputError

NETWORKS = """
import jax
import jax.numpy as jnp

CALLS = []


def dense(x):
    return jax.nn.relu(x @ jnp.ones((16, 4)))


def made():
    CALLS.append(1)
    return dense, (jax.ShapeDtypeStruct((8, 16), jnp.float32),)


def mixing(x):
    return x @ x.T


def torch_net():
    import torch

    return torch.nn.Linear(16, 4)


def broken():
    raise ValueError("no\\nnetwork")


def leaves():
    raise SystemExit(3)


number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mynetworks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mynetworks", raising=False)
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    status = main(["simulate", *words, "-d", "tpu-v4i", "--format", "json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_a_jax_function_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax")
    found = report(capsys, "--jax", "mynetworks:dense", "--input-shape", "8x16")
    assert (found["model"], found["batch"], found["macs"]) == ("dense", 8, 8 * 16 * 4)
    assert report(capsys, "--jax", "mynetworks:made")["macs"] == 8 * 16 * 4
    assert report(capsys, "--jax", "mynetworks:made", "--batch", "32")["macs"] == 32 * 16 * 4


def test_a_torch_module_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    found = report(capsys, "--torch", "mynetworks:torch_net", "--input-shape", "8x16:bf16")
    assert (found["model"], found["macs"], found["params"]) == ("torch_net", 8 * 16 * 4, 16 * 4 + 4)


def test_an_onnx_file_with_a_dynamic_batch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", kind, [16, 4], [0.0] * 64)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net", [helper.make_tensor_value_info("x", kind, ["N", 16])],
        [helper.make_tensor_value_info("y", kind, ["N", 4])], [weight],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "net.onnx")
    assert report(capsys, "--onnx", "net.onnx", "--dim", "N=8")["macs"] == 8 * 16 * 4
    assert report(capsys, "--onnx", "net.onnx", "--input-shape", "x=3x16")["macs"] == 3 * 16 * 4


def test_a_value_of_an_input_decides_which_branch_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    out = helper.make_tensor_value_info("o", kind.FLOAT, [2, 8])
    product = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["o"])], "product", [], [out])
    nothing = helper.make_graph([helper.make_node("Relu", ["x"], ["o"])], "nothing", [], [out])
    node = helper.make_node("If", ["cached"], ["y"], then_branch=nothing, else_branch=product)
    inputs = [helper.make_tensor_value_info("x", kind.FLOAT, [2, 8])]
    inputs.append(helper.make_tensor_value_info("cached", kind.BOOL, [1]))
    stored = [helper.make_tensor("w", kind.FLOAT, [8, 8], [0.0] * 64)]
    graph = helper.make_graph([node], "net", inputs, [helper.make_tensor_value_info("y", kind.FLOAT, [2, 8])], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "net.onnx")
    told = ["--onnx", "net.onnx", "--cache", "c"]
    assert report(capsys, *told, "--value", "cached=false")["macs"] == 2 * 8 * 8
    assert report(capsys, *told, "--value", "cached=true")["macs"] == 0
    assert main(["simulate", *told, "-d", "tpu-v4i"]) == 2
    assert "values={'cached': ...}" in capsys.readouterr().err


def test_a_saved_graph_gives_the_same_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = report(capsys, "resnet-18", "--batch", "2", "--save-graph", "g.json")
    for words in (["--graph", "g.json"], ["g.json"], ["g.json", "--batch", "2"]):
        again = report(capsys, *words)
        assert (again["batch"], again["macs"], again["params"]) == (2, first["macs"], first["params"])
        assert again["latency_s"] == pytest.approx(first["latency_s"], rel=0.02)
    assert main(["compare", "g.json,resnet-18", "-d", "tpu-v4i", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_cache_lowers_once_for_equal_content(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax")
    words = ("--jax", "mynetworks:made", "--cache", "cache")
    first = report(capsys, *words)
    import mynetworks  # type: ignore[import-not-found]

    assert report(capsys, *words) == first
    assert len(mynetworks.CALLS) == 1 and len(list(Path("cache").iterdir())) == 1
    next(Path("cache").iterdir()).write_text("{")  # damaged: lowered again
    assert report(capsys, *words) == first and len(mynetworks.CALLS) == 2
    Path("mynetworks.py").write_text(NETWORKS + "# changed\n")
    report(capsys, *words)
    assert len(list(Path("cache").iterdir())) == 2


def test_the_key_is_made_of_content_options_and_place(folder: Path) -> None:
    made: list[str] = []

    def build(source: Source) -> rf.OpGraph:
        made.append(str(source.shapes))
        return rf.op_graph("resnet-18")

    for shapes in (("1x2",), ("1x2",), ("1x3",)):
        cached(Source(jax="mynetworks:dense", shapes=shapes), folder / "c", "jax", build)
    assert made == ["('1x2',)", "('1x3',)"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give a MODEL"),
        ("resnet-18 --graph g.json", "not both"),
        ("--graph a.json --onnx b.onnx", "give one program"),
        ("--graph missing.json", "cannot read"),
        ("resnet-18 --dim N=8", "--dim belongs"),
        ("resnet-18 --input-shape 1x3", "--input-shape belongs"),
        ("resnet-18 --value a=1", "--value belongs"),
        ("--onnx net.onnx --input-shape 1x3", "takes NAME=SIZES"),
        ("--onnx net.onnx --value a=one", "takes NAME=NUMBER"),
        ("--jax mynetworks", "package.module:function"),
        ("--jax nowhere:net", "No module named"),
        ("--jax mynetworks:denss", "has no 'denss'"),
        ("--jax mynetworks:number", "'int'"),
        ("--jax mynetworks:broken", "ValueError: no network"),
        ("--jax mynetworks:leaves", "SystemExit"),
        ("--jax mynetworks:dense", "needs --input-shape"),
        ("--jax mynetworks:dense --input-shape 8x17", "does not trace"),
        ("--jax mynetworks:dense --input-shape 8xx", "sizes such as"),
        ("--jax mynetworks:dense --input-shape 8x16:fp61", "unknown dtype"),
        ("--jax mynetworks:dense --input-shape 0x16", "no elements"),
        ("--jax mynetworks:mixing --input-shape 8x16 --batch 4 --cores 2 -d tpu-v3", "meet each other"),
        ("--torch mynetworks:torch_net --input-shape 8x17", "raises"),
        ("--onnx mynetworks.py", "ONNX"),
        ("--jax mynetworks:made --cache mynetworks.py", "cache folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("jax", "torch", "onnx"):
        if f"--{package} " in words:
            pytest.importorskip(package)
    assert main(["simulate", *words.split(), *([] if "-d" in words.split() else ["-d", "tpu-v3"])]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and out == "", err


def test_shapes_and_dimensions_are_read() -> None:
    assert parse_shape("8,128:int32")[0] == (8, 128)
    assert parse_shape("1x8x0x64")[0] == (1, 8, 0, 64), "an empty past"
    assert parse_dims(["N=8", "a=b=2"]) == {"N": 8, "a=b": 2}
    for text in ("N", "N=", "=3", "N=-1", "N=x"):
        with pytest.raises(InputError, match="NAME=SIZE"):
            parse_dims([text])


CONFIGURATION = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 256, "max_position_embeddings": 4096,
}  # fmt: skip


def test_a_configuration_of_a_language_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lm").mkdir()
    (folder / "lm" / "config.json").write_text(json.dumps(CONFIGURATION), encoding="utf-8")
    shown = []
    for given in (["--huggingface", "lm"], ["--huggingface", "lm/config.json"], ["lm"], ["lm/config.json"]):
        options = ["--device", "h100-sxm", "--phase", "decode", "--context", "1000", "--format", "json"]
        assert main(["simulate", *given, *options]) == 0
        shown.append(json.loads(capsys.readouterr().out)["latency_s"])
    assert len(set(shown)) == 1
    expected = rf.simulate(rf.from_huggingface("lm"), "h100-sxm", phase="decode", context=1000)
    assert shown[0] == pytest.approx(expected.latency_s, rel=1e-9)


def test_a_configuration_that_is_none_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIGURATION, "model_type": "lama"}), encoding="utf-8")
    assert main(["simulate", "--huggingface", ".", "--device", "h100-sxm"]) == 2
    assert capsys.readouterr().err.strip().endswith("unknown model_type 'lama'; nearest: 'llama'")
    assert main(["simulate", "llama-3-8b", "--huggingface", ".", "--device", "h100-sxm"]) == 2
    assert "give MODEL or --huggingface, not both" in capsys.readouterr().err
