"""Spaces over somebody's own blocks: equal to the whole modules, and refused by name where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_blocks import Attention, Residual, cnns, stem, transformers
from torch import nn

import roofline as rf
from roofline.errors import InputError, RooflineError, SpecError, UnknownOpError
from roofline.search.space.own.blocks import lower
from roofline.search.space.own.modules import ModuleSpace

BATCH = 4
#: device, runtime, precision: compilers that fuse much and little, op by op with and without casts, caches and none
CASES = [
    ("tpu-v3", None, None),
    ("tpu-v4i", None, None),
    ("v100", "pytorch_eager", "fp32"),
    ("v100", "pytorch_eager", "amp_fp16"),
    ("v100", "tensorflow", "fp32"),
    ("a100-80gb", "pytorch_compile", "amp_bf16"),
    ("a100-80gb", "xla_gpu", "bf16"),
    ("h100-sxm", "tensorrt", "fp16"),
]
EXACT = 1e-9


def own(**stages: Any) -> ModuleSpace:
    """A space of one stage with two repeats to choose from, and what else is said."""
    given: dict[str, Any] = {"input": (3, 32, 32)} | {k: stages.pop(k) for k in ("input", "dtype") if k in stages}
    made = [rf.module_stage(name, blocks, repeats=[1, 2]) for name, blocks in stages.items()]
    return rf.module_space("own", made, **given)


@pytest.mark.parametrize("space", [transformers, cnns()], ids=lambda s: s.name)
@pytest.mark.parametrize(("device", "runtime", "dtype"), CASES)
def test_it_equals_simulating_the_whole_module(
    space: ModuleSpace, device: str, runtime: str | None, dtype: str | None
) -> None:
    options: dict[str, Any] = {"runtime": runtime, "dtype": dtype, "batch": BATCH, "cores": 1}
    oracle = rf.Oracle(space, device, **options)
    genomes = space.sample(3, seed=3)
    latency, memory, traffic = (
        question(genomes)[:, 0] for question in (oracle.latency_s, oracle.peak_memory_bytes, oracle.traffic_bytes)
    )
    counts = oracle.counts(genomes, ("macs", "params"))
    for row, genome in enumerate(genomes):
        whole = rf.from_torch(space.decode(genome).to_torch(), (BATCH, *space.input))
        report = rf.simulate(whole, device, **options)
        assert latency[row] == pytest.approx(report.latency_s, rel=EXACT)
        assert memory[row] == pytest.approx(report.peak_memory_bytes, rel=EXACT)
        assert traffic[row] == pytest.approx(report.traffic_bytes, rel=EXACT)
        assert counts["macs"][row] == pytest.approx(report.macs / BATCH, rel=EXACT)
        assert counts["params"][row] == sum(p.numel() for p in space.decode(genome).to_torch().parameters())


def test_the_graph_of_a_network_is_that_of_its_module() -> None:
    network = transformers.decode(transformers.sample(1, seed=0)[0])
    graph = rf.simulate(network.graph(8), "tpu-v3", cores=1)
    assert graph.latency_s == pytest.approx(rf.Oracle(transformers, "tpu-v3", batch=8, cores=1).latency_s(
        transformers.encode(network)[None])[0, 0], rel=EXACT)  # fmt: skip
    assert network.choices == transformers.mapping(transformers.encode(network))


def test_several_devices_and_cores_are_asked_at_once() -> None:
    devices, genomes = ["tpu-v3", "v100", "a100-80gb"], transformers.sample(50, seed=1)
    together = rf.Oracle(transformers, devices, batch=BATCH).latency_s(genomes)
    for place, device in enumerate(devices):
        alone = rf.Oracle(transformers, device, batch=BATCH).latency_s(genomes)
        np.testing.assert_array_equal(together[:, place], alone[:, 0])


def test_jax_functions_are_blocks() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def dense(shape: tuple[int, ...], width: int) -> Any:
        d = shape[-1]
        sizes = {"gain": (d,), "up": (d, width), "down": (width, d)}

        def call(p: Any, x: Any) -> Any:
            centred = x - x.mean(-1, keepdims=True)
            y = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p["gain"]
            return x + jax.nn.gelu(y @ p["up"]) @ p["down"]

        return call, {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}

    space = rf.module_space(
        "jax", [rf.module_stage(f"s{i}", dense, repeats=[1, 2], width=[32, 64]) for i in range(2)], input=(16, 32)
    )
    genomes = np.concatenate(list(space.enumerate()))
    for device, runtime in (("tpu-v4i", None), ("a100-80gb", "xla_gpu")):
        found = rf.Oracle(space, device, batch=BATCH, runtime=runtime, cores=1).latency_s(genomes)[:, 0]
        for genome, latency in zip(genomes, found, strict=True):
            blocks = [block for _, block in space.decode(genome).blocks()]

            def whole(params: Any, x: Any, blocks: Any = blocks) -> Any:
                for (function, _), p in zip(blocks, params, strict=True):
                    x = function(p, x)
                return x

            x = jax.ShapeDtypeStruct((BATCH, 16, 32), jnp.float32)
            graph = rf.from_jax(whole, [p for _, p in blocks], x)
            report = rf.simulate(graph, device, runtime=runtime, batch=BATCH, cores=1)
            assert latency == pytest.approx(report.latency_s, rel=EXACT)


def test_onnx_files_are_blocks_and_may_follow_modules(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def file(name: str, kernel: int) -> str:
        weights = helper.make_tensor_value_info("w", TensorProto.FLOAT, [16, 16, kernel, kernel])
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 16, "H", "W"]) for n in "xy")
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[kernel // 2] * 4),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
        values = np.zeros((16, 16, kernel, kernel), np.float32)
        graph = helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(values, "w")])
        del weights
        onnx.save(helper.make_model(graph), tmp_path / name)
        return str(tmp_path / name)

    files = [file("three.onnx", 3), file("five.onnx", 5)]
    space = rf.module_space(
        "mixed", [rf.module_stage("stem", stem), rf.module_stage("s", files, repeats=[1, 2])], input=(3, 32, 32)
    )
    assert space.choices[0].values == ("three", "five")
    genomes = np.concatenate(list(space.enumerate()))
    found = rf.Oracle(space, "v100", batch=BATCH).latency_s(genomes)[:, 0]
    for genome, latency in zip(genomes, found, strict=True):
        chosen = space.mapping(genome)
        kernel = 3 if chosen["s"] == "three" else 5
        tail = [nn.Sequential(nn.Conv2d(16, 16, kernel, 1, kernel // 2, bias=False), nn.ReLU())]
        whole = nn.Sequential(stem(), *(tail * int(chosen["s_repeats"])))
        report = rf.simulate(rf.from_torch(whole, (BATCH, 3, 32, 32)), "v100", batch=BATCH)
        assert latency == pytest.approx(report.latency_s, rel=1e-6)


def test_each_distinct_block_is_made_and_lowered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered: list[str] = []

    def counted(made: Any, flow: Any, where: str) -> Any:
        lowered.append(where)
        return lower(made, flow, where)

    monkeypatch.setattr("roofline.search.space.own.modules.lower", counted)
    stages = [
        rf.module_stage("stem", stem),
        rf.module_stage("s", Residual, repeats=[1, 2, 5], width=[16, 32]),
        rf.module_stage("t", lambda shape: nn.Conv2d(shape[0], 8, 3, padding=1), repeats=[1, 3]),
    ]
    space = rf.module_space("once", stages, input=(3, 32, 32))
    rf.Oracle(space, ["v100", "tpu-v4i"], batch=4, cores=1).build()
    residual = 2 * 5  # widths, and numbers in the stage, which the callable asks for; t: behind each width and itself
    assert [sum(f"stage {s!r}" in where for where in lowered) for s in ("stem", "s", "t")] == [1, residual, 3]


def test_views_and_empty_stages_are_no_kernels() -> None:
    space = rf.module_space(
        "flat",
        [
            rf.module_stage("flat", nn.Flatten()),
            rf.module_stage("none", nn.Identity(), repeats=[0, 3]),
            rf.module_stage("linear", lambda shape, width: nn.Linear(shape[0], width), width=[8, 16]),
        ],
        input=(4, 5),
    )
    oracle = rf.Oracle(space, "v100", batch=BATCH)
    latency = oracle.latency_s(np.concatenate(list(space.enumerate())))[:, 0]
    assert latency[0] == latency[2]
    for width, found in ((8, latency[0]), (16, latency[1])):
        graph = rf.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(20, width)), (BATCH, 4, 5))
        assert found == pytest.approx(rf.simulate(graph, "v100", batch=BATCH).latency_s, rel=EXACT)


def test_a_genome_without_blocks_is_no_network() -> None:
    space = rf.module_space("maybe", [rf.module_stage("s", nn.Linear(4, 4), repeats=[0, 1])], input=(4,))
    oracle = rf.Oracle(space, "v100")
    assert oracle.exists([[0], [1]]).tolist() == [False, True]
    with pytest.raises(InputError, match="genome 0 is no network"):
        oracle.latency_s(np.array([[0]]))


def returns_two() -> nn.Module:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x * 2

    return Two()


def fails() -> nn.Module:
    raise RuntimeError("no such thing")


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return torch.linalg.matrix_exp(x)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (lambda: 3, r"space 'own': stage 's', block 'lambda' makes no module but 'int'"),
        (lambda: nn.Linear, r"makes no module but 'type'"),
        (fails, r"stage 's', block 'fails' cannot be made for \(3, 32, 32\): RuntimeError: no such thing"),
        (lambda: nn.Conv2d(4, 8, 3), r"stage 's', block 'lambda' does not take 4x3x32x32 float32: Conv2d raises"),
        (lambda: nn.Conv2d(3, 8, 3), r"stage 's', block 'lambda' does not take 4x8x30x30 float32"),
        (returns_two, r"block 'returns_two' .*returns 2 tensors: parts of a network hand on one"),
        ("missing.onnx", r"stage 's', block 'missing'.*missing.onnx"),
    ],
)
def test_what_is_no_block_or_does_not_chain_is_one_line(blocks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rf.Oracle(own(s=blocks), "v100", batch=4).build()
    assert "\n" not in str(caught.value)


def test_an_op_without_a_rule_is_named_with_its_block() -> None:
    with pytest.raises(UnknownOpError) as caught:
        rf.Oracle(own(s=Own), "v100").build()
    assert "stage 's', block 'Own'" in "".join(caught.value.__notes__)


def test_blocks_that_fuse_across_cuts_without_end_are_refused_by_name() -> None:
    space = rf.module_space("relus", [rf.module_stage("s", nn.ReLU, repeats=[1, 9])], input=(8,))
    assert len(rf.Oracle(space, "v100", runtime="pytorch_eager").latency_s(np.array([[0], [1]]))) == 2
    with pytest.raises(InputError, match=r"space 'relus': stage 's', block 'ReLU' fuses across the cut with") as caught:
        rf.Oracle(space, "tpu-v3").build()
    assert "\n" not in str(caught.value)


def test_the_cut_moves_to_where_nothing_fuses() -> None:
    """The last sum of a transformer block runs with the norm of the next one: both count where they run."""
    space = own(input=(16, 64), s=lambda shape: Attention(shape, ratio=2))
    for device, moved in (("tpu-v3", 1), ("v100", 0)):
        oracle = rf.Oracle(space, device, batch=4, cores=1)
        walked = oracle.walked(oracle.targets[0])
        ops = [label.ops for group in walked.groups for label in group.table.labels]
        assert any("add" in names and "norm" in names for names in ops) == bool(moved)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rf.module_stage("s", 3), "makes nothing: got 'int'"),
        (lambda: rf.module_stage("s", []), "stage 's' has no blocks"),
        (lambda: rf.module_stage("s", [lambda: 1, lambda: 2]), "share the labels"),
        (lambda: rf.module_stage("s", stem, repeats=-1), "repeats must be in 0..10000, got -1"),
        (lambda: rf.module_stage("s", stem, wdith=3), "none of its blocks takes an argument 'wdith'"),
        (lambda: rf.module_stage("s", stem, width=[]), "argument 'width' has no values"),
        (lambda: rf.module_space("x", [rf.module_stage("s", stem)], input=(3, 8, 8)), "chooses nothing"),
        (lambda: rf.module_space("x", [rf.module_stage("s", stem)] * 2, input=(3, 8, 8)), "stage names are not unique"),
        (lambda: rf.module_space("x", [], input=(3, 8, 8)), "is empty"),
        (lambda: own(input=(0, 8), s=stem), "a dimension of the input must be"),
    ],
)
def test_impossible_spaces_are_refused(make: Any, message: str) -> None:
    with pytest.raises((SpecError, InputError), match=message):
        make()


def test_what_modules_cannot_is_said() -> None:
    with pytest.raises(InputError, match="states its input: leave image_size out"):
        rf.Oracle(transformers, "v100", image_size=64).build()
    with pytest.raises(InputError, match="knows MBConv networks"):
        rf.accuracy_oracle("structural", rf.Oracle(transformers, "v100"))
    onnx_block = rf.module_space("x", [rf.module_stage("s", lambda: (len, {}), repeats=[1, 2])], input=(4,))
    with pytest.raises(RooflineError):
        onnx_block.decode([0]).to_torch()
