"""Fusion: which ops become one kernel under each runtime, and that blocks are cut where none of them fuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from families import RUNTIMES, SAMPLE, asking, lowered, macs_of, policy_of

from roofline.arch.blocks.mbconv import MBConv
from roofline.arch.blocks.transformer import PreNormBlock
from roofline.arch.build import instances
from roofline.arch.load import model, models
from roofline.engine.lowering import lower_arch
from roofline.graph.builder import GraphBuilder
from roofline.graph.opgraph import OpGraph
from roofline.passes.fuse import fuse
from roofline.passes.kernels import make_kernels
from roofline.passes.pipeline import lower
from roofline.paths import data_files

each_model = pytest.mark.parametrize("name", SAMPLE)
each_runtime = pytest.mark.parametrize("runtime_name", RUNTIMES)


def test_the_sample_holds_every_family() -> None:
    stems = set(data_files("models"))
    found = {max((stem for stem in stems if name.startswith(stem)), key=len) for name in SAMPLE}
    decoders = {stem for stem in stems if any(model(n).decodes for n in models() if n.startswith(stem))}
    assert found | decoders == stems, "add the smallest network of the new file to tests/helpers/families.py"
    assert found & decoders == {"llama"}


# groups by hand ------------------------------------------------------------------------------------------------------


def mbconv() -> OpGraph:
    """An inverted bottleneck with squeeze-excite and residual, as EfficientNet repeats it."""
    block = MBConv(
        entry=0, expanded=96, squeeze=4, channels=16, kernel=3, stride=1, activation="swish", project_activation="none",
        se_activation="swish", gate="sigmoid", with_entry=False, with_expand=True, with_project=True, with_se=True,
        fused=False, skip=True, pooled=False,
    )  # fmt: skip
    b = GraphBuilder("mbconv")
    return b.graph(list(block.build(b, b.input("x", (1, 8, 8, 16)))))


ALONE = (
    "expand | expand_bn | swish | dw | dw_bn | swish_2 | se/mean | se/reduce | se/swish | se/expand | se/sigmoid |"
    " se/scale | project | project_bn | residual"
)
#: library convolutions between generated kernels: the norm and the activation before the mean are computed where the
#: mean reads them, the gate's sigmoid where it is multiplied
GENERATED = (
    "expand | expand_bn swish | dw | dw_bn swish_2 se/mean | se/reduce | se/swish | se/expand | se/sigmoid se/scale |"
    " project | project_bn residual"
)
MBCONV_KERNELS = {
    "pytorch_eager": ALONE,  # an ATen op is a kernel
    # a graph node is a kernel, and swish two of them
    "tensorflow": "expand | expand_bn | swish/sigmoid_0 | swish | dw | dw_bn | swish_2/sigmoid_0 | swish_2 | se/mean |"
    " se/reduce | se/swish/sigmoid_0 | se/swish | se/expand | se/sigmoid | se/scale | project | project_bn | residual",
    "pytorch_compile": GENERATED,
    "xla_gpu": GENERATED,
    # norms are folded and sums end the convolution; its kernels have no swish and no sigmoid to end with
    "tensorrt": "expand | swish | dw | swish_2 se/mean | se/reduce | se/swish | se/expand | se/sigmoid se/scale |"
    " project residual",
    # images enter in another order; a convolution is computed inside the one that alone reads it, a map is summed where
    # it is computed, and the gate opens the convolution behind it
    "xla_tpu": "x.entry | expand expand_bn swish dw dw_bn swish_2 se/mean | se/reduce se/swish se/expand se/sigmoid |"
    " se/scale project project_bn residual",
    # element-wise loops are joined with the loops that make their operand
    "native": "expand swish | dw swish_2 | se/mean | se/reduce se/swish | se/expand se/sigmoid | se/scale |"
    " project residual",
}

PRENORM_ALONE = (
    "residual | norm1 | attn/qkv | attn/attention | attn/proj | attn_residual | norm2 | mlp/fc1 | mlp/gelu | mlp/fc2"
)
DECOMPOSED = "attn/attention/scores | attn/attention/scale | attn/attention/softmax | attn/attention/context"
PRENORM_KERNELS = {
    "pytorch_eager": PRENORM_ALONE,
    # 0.5 x (1 + erf(x / sqrt 2)): five nodes
    "tensorflow": PRENORM_ALONE.replace("attn/attention", DECOMPOSED, 1).replace(
        "mlp/gelu", "mlp/gelu/scale_0 | mlp/gelu/erf_1 | mlp/gelu/scale_2 | mlp/gelu/scale_3 | mlp/gelu"
    ),
    # sums join the norm behind them; attention is one kernel
    "pytorch_compile": "residual norm1 | attn/qkv | attn/attention | attn/proj | attn_residual norm2 | mlp/fc1 |"
    " mlp/gelu | mlp/fc2",
    # scaling joins the softmax, which reads whole rows
    "xla_gpu": "residual norm1 | attn/qkv | attn/attention/scores | attn/attention/scale attn/attention/softmax |"
    " attn/attention/context | attn/proj | attn_residual norm2 | mlp/fc1 | mlp/gelu | mlp/fc2",
    "tensorrt": "residual norm1 | attn/qkv | attn/attention | attn/proj | attn_residual norm2 | mlp/fc1 mlp/gelu |"
    " mlp/fc2",
    "xla_tpu": "residual norm1 | attn/qkv | attn/attention/scores attn/attention/scale | attn/attention/softmax |"
    " attn/attention/context | attn/proj | attn_residual norm2 | mlp/fc1 mlp/gelu | mlp/fc2",
    "native": "residual norm1 | attn/qkv | attn/attention/scores attn/attention/scale | attn/attention/softmax |"
    " attn/attention/context | attn/proj | attn_residual norm2 | mlp/fc1 mlp/gelu | mlp/fc2",
}

#: runtimes that build upon another one, and fuse what it fuses
ALIKE = {
    "pytorch_xla": "xla_tpu",
    "jax_serving": "xla_tpu",
    "vllm": "pytorch_compile",
    "vllm-0.4": "pytorch_compile",
    "tensorrt_llm": "tensorrt",
    "tensorrt_llm-0.10": "tensorrt",
    "xdit": "pytorch_eager",
}
for KERNELS in (MBCONV_KERNELS, PRENORM_KERNELS):
    KERNELS |= {name: KERNELS[base] for name, base in ALIKE.items()}
#: but for attention, which is one kernel where a library has it
PRENORM_KERNELS["jax_serving"] = re.sub(
    r"attn/attention/scores.*attn/attention/context", "attn/attention", PRENORM_KERNELS["xla_tpu"]
)


def prenorm() -> OpGraph:
    block = PreNormBlock(heads=2, inner=16, hidden=64, activation="gelu", causal=False)
    b = GraphBuilder("prenorm")
    return b.graph(list(block.build(b, b.input("x", (1, 4, 16)), b.input("branch", (1, 4, 16)))))


def groups(text: str) -> list[tuple[str, ...]]:
    return [tuple(part.split()) for part in text.split("|")]


@each_runtime
def test_kernels_of_an_inverted_bottleneck(runtime_name: str) -> None:
    _, kernels = lower(mbconv(), policy_of(runtime_name))
    assert [k.ops for k in kernels] == groups(MBCONV_KERNELS[runtime_name])


@each_runtime
def test_kernels_of_a_prenorm_block(runtime_name: str) -> None:
    _, kernels = lower(prenorm(), policy_of(runtime_name))
    assert [k.ops for k in kernels] == groups(PRENORM_KERNELS[runtime_name])


def test_a_convolution_kernel_ends_with_what_its_library_offers() -> None:
    """TensorRT ends convolutions with ReLU, not with swish; the second swish has a point-wise kernel to join."""
    b = GraphBuilder()
    x = b.relu(b.conv(b.input("x", (1, 4, 4, 8)), 8, name="first"))
    x = b.activation("tanh", b.activation("swish", b.conv(x, 8, name="second")))
    kernels = lower(b.graph([x]), policy_of("tensorrt"))[1]
    assert [k.ops for k in kernels] == [("first", "relu"), ("second",), ("swish", "tanh")]


def test_two_convolutions_in_a_kernel_at_most() -> None:
    """Of three in a chain the last takes the one before it.

    So XLA compiles bottlenecks for TPUs (libtpu 0.0.42.1, ResNet's of 14 px).
    """
    b = GraphBuilder()
    x = b.relu(b.input("x", (8, 14, 14, 64)))
    y = b.conv(x, 16, name="first")
    y = b.conv(b.relu(y), 16, kernel=3, name="second")
    y = b.conv(b.relu(y), 64, name="third")
    kernels = lower(b.graph([b.relu(b.add(y, x))]), policy_of("xla_tpu"))[1]
    assert [k.ops for k in kernels] == groups("relu | first relu_2 | second relu_3 third add relu_4")


def test_what_goes_on_through_memory_where_convolutions_nest() -> None:
    """A depthwise result, what a convolution without an activation hands on, and the first of the entering image."""
    b = GraphBuilder()
    x = b.relu(b.conv(b.input("x", (8, 32, 32, 3)), 16, kernel=3, name="stem"))
    x = b.relu(b.depthwise(x, kernel=3, name="depthwise"))
    x = b.conv(b.conv(x, 8, name="project"), 32, name="expand")
    kernels = lower(b.graph([x]), policy_of("xla_tpu"))[1]
    assert [k.ops for k in kernels] == groups("x.entry | stem relu | depthwise | relu_2 project | expand")


def test_a_batch_norm_kernel_applies_the_relu_that_alone_reads_it() -> None:
    """TensorFlow's _FusedBatchNormEx: a ReLU, not a swish, and not where the norm's result has another reader."""
    b = GraphBuilder()
    first = b.relu(b.batch_norm(b.conv(b.input("x", (1, 4, 4, 8)), 8, name="first"), name="first_bn"))
    second = b.batch_norm(b.conv(first, 8, name="second"), name="second_bn")
    third = b.batch_norm(b.conv(b.activation("tanh", second), 8, name="third"), name="third_bn")
    graph = b.graph([b.add(b.relu(third), third, name="sum")])
    kernels = [k.ops for k in lower(graph, policy_of("tensorflow"))[1]]
    assert kernels == groups("first | first_bn relu | second | second_bn | tanh | third | third_bn | relu_2 | sum")


def test_an_elementwise_producer_of_two_readers_joins_no_convolution() -> None:
    """A compiler fuses into a convolution what only the convolution reads, wherever the other reader stands."""
    b = GraphBuilder()
    x = b.relu(b.input("x", (1, 4, 4, 8)))
    graph = b.graph([b.conv(x, 8, name="conv"), b.pool(x, "max", kernel=3, name="pool")])
    assert [k.ops for k in lower(graph, policy_of("xla_tpu"))[1]] == [("relu",), ("conv",), ("pool",)]


def test_a_returned_tensor_joins_no_convolution() -> None:
    b = GraphBuilder()
    x = b.relu(b.input("x", (1, 4, 4, 8)))
    graph = b.graph([b.conv(x, 8, name="conv"), x])
    assert [k.ops for k in lower(graph, policy_of("xla_tpu"))[1]] == [("relu",), ("conv",)]


def test_fusion_never_closes_a_cycle() -> None:
    """The sum cannot join the first convolution: it needs the second, which needs the first."""
    b = GraphBuilder()
    first = b.conv(b.input("x", (1, 4, 4, 8)), 8, name="first")
    second = b.pool(b.conv(first, 8, name="second"), "max", kernel=3, name="pool")
    graph = b.graph([b.add(first, second, name="sum")])
    kernels = [k.ops for k in lower(graph, policy_of("tensorrt"))[1]]
    assert kernels == [("first",), ("second",), ("pool",), ("sum",)]


def test_loop_bodies_fuse_among_themselves_only() -> None:
    b = GraphBuilder()
    x = b.relu(b.input("x", (4, 8)))
    inside = b.elementwise("exp", x, broadcast=(False,))
    graph = b.graph([inside])
    looped = {"relu": graph.op("relu"), "exp": type(graph.op("exp"))(**vars(graph.op("exp")) | {"times": 5})}
    kernels = lower(OpGraph(looped, graph.tensors, graph.outputs), policy_of("xla_tpu"))[1]
    assert [(k.ops, k.times) for k in kernels] == [(("relu",), 1), (("exp",), 5)]


# every network, every runtime ----------------------------------------------------------------------------------------


@each_model
@each_runtime
def test_every_op_is_in_one_kernel_and_kernels_are_in_order(name: str, runtime_name: str) -> None:
    graph, kernels = lowered(name, runtime_name)
    placed = {op_id: i for i, kernel in enumerate(kernels) for op_id in kernel.ops}
    assert sum(len(k.ops) for k in kernels) == len(placed), "no op twice"
    assert set(placed) == {op_id for op_id, op in graph.ops.items() if op.family != "free"}
    for op_id, i in placed.items():
        for tensor in graph.op(op_id).inputs:
            producer = graph.producers.get(graph.root(tensor))
            assert producer is None or placed[producer] <= i


@each_model
@each_runtime
def test_fusion_never_raises_traffic_and_keeps_macs(name: str, runtime_name: str) -> None:
    graph, kernels = lowered(name, runtime_name)
    unfused = make_kernels(graph, fuse(graph, asking()))
    assert len(kernels) <= len(unfused)
    assert sum(k.traffic_bytes for k in kernels) <= sum(k.traffic_bytes for k in unfused)
    assert sum(macs_of(graph, k.ops) for k in kernels) == graph.macs


@pytest.mark.parametrize("name", ["efficientnet-b0", "swin-t"])
@each_runtime
def test_fusion_is_a_function_of_the_graph(name: str, runtime_name: str) -> None:
    graph, kernels = lowered(name, runtime_name)
    _, again = lower(graph, policy_of(runtime_name))
    assert [k.ops for k in again] == [k.ops for k in kernels], "lowering what is lowered changes nothing"


# cuts: the contract that makes costing block by block exact -----------------------------------------------------------


def blocks_of(name: str, ops: tuple[str, ...]) -> set[str]:
    """Return the blocks whose names the op ids begin with."""
    names = {instance.name for instance in instances(model(name), 1)}
    return {op_id.partition("/")[0] if op_id.partition("/")[0] in names else f"none: {op_id}" for op_id in ops}


@each_model
@each_runtime
def test_no_kernel_spans_two_blocks(name: str, runtime_name: str) -> None:
    _, kernels = lowered(name, runtime_name)
    spanning = [kernel.ops for kernel in kernels if len(blocks_of(name, kernel.ops)) != 1]
    assert not spanning, f"{len(spanning)} kernels, the first is {spanning[0]}"


def block_by_block(name: str, runtime_name: str, dtype: str) -> tuple[int, float, float]:
    """Return kernels, MACs and traffic of a network lowered block by block."""
    found = lower_arch(model(name), 1, policy_of(runtime_name, dtype))
    k, count = found.table.kernels, found.table.block_count
    per_block = (
        np.bincount(k.block, weights=w, minlength=count) for w in (np.ones_like(k.macs), k.macs, k.traffic_bytes)
    )
    kernels, macs, traffic = (float(column[found.order].sum()) for column in per_block)
    return int(kernels), macs, traffic


@each_model
@each_runtime
def test_blocks_and_the_whole_graph_lower_alike(name: str, runtime_name: str) -> None:
    graph, kernels = lowered(name, runtime_name)
    traffic = float(sum(k.traffic_bytes for k in kernels))
    assert block_by_block(name, runtime_name, "fp16") == (len(kernels), graph.macs, traffic)


#: under autocast a block casts what it reads, while a whole graph casts a tensor where it is written: in these networks
#: a cast stands at a cut, and blocks cost up to this much more traffic
CAST_AT_CUTS = {"bert-base": 0.02, "convnext-t": 0.03, "deit-ti-16": 0.003, "vit-ti-16": 0.003}


@each_model
@each_runtime
def test_under_autocast_blocks_and_the_whole_graph_lower_alike(name: str, runtime_name: str) -> None:
    graph, kernels = lowered(name, runtime_name, "amp_fp16")
    count, macs, traffic = block_by_block(name, runtime_name, "amp_fp16")
    assert macs == graph.macs
    assert traffic == pytest.approx(float(sum(k.traffic_bytes for k in kernels)), rel=CAST_AT_CUTS.get(name, 0.0))
    assert count == len(kernels) or name in CAST_AT_CUTS
