"""Which ops kernels hold: the kernels of a report, and every op of the graph in one of them."""

from __future__ import annotations

import pytest

import roofline as rf
from roofline.engine.members import members_of_arch, members_of_graph, origin
from roofline.engine.setting import resolve


@pytest.mark.parametrize("device", ["tpu-v2", "a100-80gb"])
@pytest.mark.parametrize("model", ["efficientnet-b0", "resnet-18", "vit-b-16", "swin-t", "bert-base"])
def test_kernels_of_the_report_hold_every_op_that_runs(model: str, device: str) -> None:
    setting, arch = resolve(device, batch=4), rf.model(model)
    found = members_of_arch(arch, setting.core_batch, setting.policy)
    assert [name for name, _ in found] == list(rf.simulate(model, device, batch=4).kernels["kernel"])
    graph = rf.op_graph(model, batch=4)
    held = {origin(op, graph.ops) for _, ops in found for op in ops}
    running = {op for op in graph.ops if graph.op(op).family != "free"}
    assert running - held <= {op for op in running if graph.op(op).kind == "batch_norm"}  # folded into a convolution
    assert held - running <= {None}  # what a pass makes of nothing: a copy between layouts


def test_kernels_of_a_graph() -> None:
    setting, graph = resolve("tpu-v2", batch=4), rf.op_graph("resnet-18", batch=4)
    found = members_of_graph(graph, setting.policy)
    assert [name for name, _ in found] == list(rf.simulate(graph, "tpu-v2", cores=1).kernels["kernel"])
    held = [op for _, ops in found for op in ops if op in graph.ops]  # a pass adds the copy of the image
    assert sorted(held) == sorted(op for op in graph.ops if graph.op(op).family != "free")
