"""The training step beside PyTorch: its flop counter, the tensors that autograd saves, and every front end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from four_doors import BATCH, DOORS, need
from four_doors import graph as through
from timm_rows import build
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_networks import transformers_network

import roofline as rf
from roofline.dtypes import precision
from roofline.engine.options import RunOptions
from roofline.graph.gradients import ConvWeightGrad
from roofline.graph.opgraph import OpGraph
from roofline.passes.pipeline import Program, program
from roofline.passes.policy import policy
from roofline.software.load import runtime

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks

TIMM = ("resnet18", "vgg11", "repvgg_a0", "dla34", "mixer_s32_224", "poolformer_s12", "gernet_s", "convnext_tiny")
TRANSFORMERS = ("t5", "vit", "swin", "resnet", "clip")


def step(graph: OpGraph, stack: str = "tensorflow") -> Program:
    """A training step; by default with attention taken apart, as the counter sees it on a device without kernels."""
    return program(graph, policy(runtime(stack), precision("fp32"), mode="training", optimizer="sgd"))


def flops_as_counted(run: Program) -> float:
    """Return the FLOPs of a step; of a grouped weight gradient the counter takes all pairs of channels for products."""
    total = 2.0 * sum(float(phase.graph.macs) for phase in run.phases)
    backward = run.phases[1].graph
    for op in backward.ops.values():
        if isinstance(op, ConvWeightGrad):
            (product,) = op.contractions(*backward.arguments(op))
            total += 2.0 * float(product.macs) * (float(op.groups) - 1)
    return total


def counted(module: nn.Module, inputs: dict[str, torch.Tensor]) -> float:
    """Return what the flop counter sees in a forward and a backward pass on the meta device."""
    with FlopCounterMode(display=False) as counter:
        out: Any = module(**inputs)
        if not isinstance(out, torch.Tensor):
            out = out["logits_per_image"] if "logits_per_image" in out else next(iter(out.values()))
        out.backward(torch.empty_like(out))
    return float(counter.get_total_flops())


@pytest.mark.parametrize("name", TIMM)
def test_flops_of_a_step_of_timm(name: str) -> None:
    module, image = build(name)
    run = step(rf.from_torch(module, image))
    assert flops_as_counted(run) == counted(module, {"x": image})


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_flops_of_a_step_of_transformers(name: str) -> None:
    net = transformers_network(name)
    run = step(rf.from_torch(net.module, net.inputs))
    inputs = {key: x.to("meta") if x.is_floating_point() else x for key, x in net.inputs.items()}
    assert flops_as_counted(run) == counted(net.module, inputs)


class Gated(nn.Module):
    """Convolutions, a norm, activations of both kinds, a gate, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bn, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.gate, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = nn.functional.silu(self.bn(self.first(x)))
        y = torch.tanh(self.second(x))
        y = y * torch.sigmoid(self.gate(y)) + x
        return self.head(torch.relu(y).mean((2, 3)))  # type: ignore[no-any-return]


MODULES = {
    "gated": (Gated(), (4, 3, 8, 8)),
    "mlp": (nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 12), nn.Softmax(-1), nn.Linear(12, 3)), (4, 6)),
    "pools": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1)), (2, 3, 10, 10)),
}


@pytest.mark.parametrize("name", MODULES)
def test_saved_bytes_equal_those_of_autograd(name: str) -> None:
    """What autograd packs, each storage once: without the parameters, the input, and what belongs to the output."""
    module, shape = MODULES[name]
    x = torch.zeros(shape)
    known = {t.untyped_storage().data_ptr() for t in (x, *module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and storage.nbytes():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = module.train()(x)
    run = step(rf.from_torch(module.eval(), x), "pytorch_eager")
    assert run.saved_bytes == sum(kept.values()) + out.untyped_storage().nbytes()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("network", ["resnet-50", "vit-b-16"])
def test_every_door_trains(network: str, door: str) -> None:
    need(door)
    graph = through(network, door)
    for device, stack in (("a100-40gb", "pytorch_compile"), ("tpu-v3", "xla")):
        options: RunOptions = {"runtime": stack, "mode": "training", "optimizer": "momentum", "batch": BATCH}
        named, found = rf.simulate(network, device, **options), rf.simulate(graph, device, **options)
        assert (found.macs, found.params, found.state_bytes) == (named.macs, named.params, named.state_bytes)
        assert found.traffic_bytes == pytest.approx(named.traffic_bytes, rel=0.06)
        assert found.latency_s == pytest.approx(named.latency_s, rel=0.10)


def test_a_graph_is_computed_again_in_segments() -> None:
    """A chain of n equal layers keeps about sqrt(n) of them, not one."""
    module = nn.Sequential(*(layer for _ in range(16) for layer in (nn.Linear(32, 32), nn.Tanh())))
    graph = rf.from_torch(module, torch.zeros(8, 32))
    options: dict[str, Any] = {"runtime": "pytorch_eager", "dtype": "fp32", "mode": "training", "optimizer": "sgd"}
    plain, again = (rf.simulate(graph, "a100-40gb", recompute=r, **options) for r in (False, True))
    layer = 4 * 8 * 32
    assert plain.saved_bytes == 16 * layer, "the result of every tanh, which the next layer reads too"
    assert 4 * layer <= again.saved_bytes <= 6 * layer
    assert plain.macs < again.macs <= plain.macs + graph.macs
    assert again.peak_memory_bytes < plain.peak_memory_bytes
