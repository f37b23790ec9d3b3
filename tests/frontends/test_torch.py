"""`rf.from_torch`: what it accepts, what it says when it cannot, names and state of what it lowered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import InputError
from roofline.frontends.torch.registry import RULES


class Net(nn.Module):
    """A network with what makes lowering hard: a tied weight, a buffer, a constant, a cache, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.norm = nn.BatchNorm1d(8)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Dropout(0.1))
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.ones(8))
        self.constant = torch.ones(8)
        self.cache: dict[str, torch.Tensor] = {}

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits and features."""
        if "scale" not in self.cache:
            self.cache["scale"] = next(self.block.parameters()).sum()
        x = self.embed(ids) * self.mask * self.constant.to(ids.device) * self.cache["scale"]
        x = self.norm(self.block(x).transpose(1, 2)).transpose(1, 2)
        return {"logits": self.head(x), "features": x}


IDS = torch.zeros(2, 5, dtype=torch.int64)


@pytest.fixture
def net() -> Net:
    return Net()


def test_parameters_buffers_constants_and_ties(net: Net) -> None:
    graph = rf.from_torch(net, IDS)
    graph.check_shapes()
    assert graph.params == sum(p.numel() for p in net.parameters()) == 10 * 8 + 2 * 8 + 8 * 8 + 8
    roles = {t.id: t.role for t in graph.tensors.values() if t.role != "activation"}
    assert roles == {
        "ids": "input", "embed.weight": "parameter", "mask": "buffer", "constant": "buffer",
        "block.0.weight": "parameter", "block.0.bias": "parameter", "norm.weight": "parameter",
        "norm.bias": "parameter", "norm.running_mean": "buffer", "norm.running_var": "buffer",
    }  # fmt: skip
    assert graph.macs == 2 * 5 * (8 * 8 + 8 * 10)
    assert len(graph.outputs) == 2
    assert graph.name == "Net"
    assert rf.from_torch(net, IDS, name="mine").name == "mine"


def test_ops_carry_the_path_of_their_module_and_names_do_not_change(net: Net) -> None:
    graph = rf.from_torch(net, IDS)
    assert [i for i, op in graph.ops.items() if op.family != "free"] == [
        "sum", "embed/embedding", "mul", "mul_2", "mul_3",
        "block.0/addmm", "block.1/relu", "norm/batch_norm", "head/mm",
    ]  # fmt: skip
    again = rf.from_torch(Net(), IDS)
    assert list(again.ops) == list(graph.ops)
    assert list(again.tensors) == list(graph.tensors)


def test_the_module_is_left_as_it_was(net: Net) -> None:
    net.block.train()
    net.norm.eval()
    before = {name: p.data_ptr() for name, p in net.state_dict(keep_vars=True).items()}
    first = rf.from_torch(net, IDS)
    assert net.cache == {}
    assert net.block.training and net.block[2].training and not net.norm.training
    assert {name: p.data_ptr() for name, p in net.state_dict(keep_vars=True).items()} == before
    assert net(IDS)["logits"].shape == (2, 5, 10)  # it still runs, on its own weights
    net.cache.clear()
    assert list(rf.from_torch(net, IDS).ops) == list(first.ops)


@pytest.mark.parametrize(
    "inputs", [(2, 8), [2, 8], torch.empty(2, 8), (torch.empty(2, 8, device="meta"),), {"input": torch.empty(2, 8)}]
)
def test_inputs_are_tensors_shapes_or_names(inputs: Any) -> None:
    graph = rf.from_torch(nn.Linear(8, 4), inputs)
    assert graph.tensors[graph.inputs[0]].shape == (2, 8)
    assert graph.inputs == ("input",)


def test_keyword_inputs_and_functions() -> None:
    graph = rf.from_torch(lambda a, *, b: a @ b, (2, 3), kwargs={"b": torch.empty(3, 4)})
    assert (graph.macs, graph.inputs, graph.name) == (24, ("a", "b"), "lambda")


def test_one_tensor_given_twice_is_one_input() -> None:
    x = torch.empty(2, 3)
    assert rf.from_torch(lambda a, b: a + b, (x, x)).inputs == ("a",)
    assert rf.from_torch(torch.add, (x, x)).inputs == ("input_0",)


def test_meta_modules_and_modules_with_weights_are_the_same(net: Net) -> None:
    with torch.device("meta"):
        meta = Net()
    assert list(rf.from_torch(meta, IDS).ops) == list(rf.from_torch(net, IDS).ops)


def test_a_graph_simulates() -> None:
    report = rf.simulate(rf.from_torch(nn.Conv2d(3, 8, 3), (4, 3, 32, 32)), "v100", dtype="amp_fp16")
    assert report.batch == 4
    assert report.latency_s > 0


# exported programs -----------------------------------------------------------------------------------------------


def exported(dynamic: bool = False) -> torch.export.ExportedProgram:
    module = nn.Sequential(nn.Linear(8, 4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)).eval()
    shapes = ({0: torch.export.Dim("n")},) if dynamic else None
    return torch.export.export(module, (torch.empty(2, 3, 8),), dynamic_shapes=shapes)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_saved_programs_lower_with_the_paths_of_their_modules(tmp_path: Path) -> None:
    program = exported()
    torch.export.save(program, tmp_path / "net.pt2")
    graph = rf.from_torch(tmp_path / "net.pt2")
    graph.check_shapes()
    assert graph.name == "net"
    assert graph.inputs == ("input",)
    assert graph.macs == rf.from_torch(program).macs == 2 * 3 * 8 * 4 + 2 * (3 * 48 + 2 * 9 * 4 + 3 * 16 + 2 * 3 * 32)
    assert "0/addmm" in graph.ops
    assert any(op_id.startswith("1.self_attn/") for op_id in graph.ops)
    assert rf.from_torch(str(tmp_path / "net.pt2"), (2, 3, 8)).macs == graph.macs


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_dynamic_shapes_are_to_be_pinned() -> None:
    program = exported(dynamic=True)
    with pytest.raises(InputError, match=r"input 'input' has dynamic shape s\d+x3x8: pin it with example_inputs"):
        rf.from_torch(program)
    assert rf.from_torch(program, (7, 3, 8)).macs == 7 / 2 * rf.from_torch(exported()).macs


@pytest.mark.parametrize("content", [None, b"", b"not a program", b"PK\x03\x04 broken"])
def test_files_that_are_no_programs(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"no file|is not a saved program") as caught:
        rf.from_torch(path)
    assert "\n" not in str(caught.value)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, roofline, roofline.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import roofline as rf\n"
        "try: rf.from_torch\n"
        "except rf.RooflineError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "lowering PyTorch programs needs torch: pip install 'roofline[torch]'\n"


def test_every_rule_is_a_function_of_lowering_arguments_and_output() -> None:
    assert len(RULES) > 300
    assert all(isinstance(rule, Callable) for rule in RULES.values())  # type: ignore[arg-type]


def test_hooks_that_a_program_installs_while_it_runs_are_taken_back() -> None:
    class Recording(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.installed = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Install a hook at the first run."""
            if not self.installed:
                self.layer.register_forward_hook(lambda module, args, out: out + 1)
                self.installed = True
            out: torch.Tensor = self.layer(x)
            return out

    module = Recording()
    ops = [list(rf.from_torch(module, (2, 3)).ops) for _ in range(2)]
    assert ops[0] == ops[1] == ["layer/addmm", "add"]
    assert not module.installed
    assert not module.layer._forward_hooks


def test_a_lowering_holds_none_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left are looked for everywhere, which takes longer than the lowering of a large network."""
    left: list[torch.Tensor] = []
    monkeypatch.setattr("roofline.frontends.torch.api.take_back", left.extend)
    rf.from_torch(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True)), (2, 3, 8, 8))
    assert not left
