"""Small networks that stand for all shipped families, and runtimes to lower them with."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from roofline.arch.build import build_graph
from roofline.arch.load import model
from roofline.dtypes import precision
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.passes.kernels import Kernel
from roofline.passes.pipeline import lower
from roofline.passes.policy import Policy, policy
from roofline.software.load import runtime, runtimes

#: the smallest network of each file in models/, and one more where a file holds blocks of another kind; one decoder for
#: all, whose kinds of parts have tests of their own (tests/arch/test_decoder.py)
SAMPLE = (
    "accel-nasbench-smallest",
    "bert-base",
    "convnext-t",
    "deit-ti-16",
    "efficientnet-edgetpu-s",
    "efficientnet-h-b5",
    "efficientnet-lite0",
    "efficientnet-x-b0",
    "efficientnet-x-tpu-b0",
    "efficientnet-x-gpu-b0",
    "efficientnet-b0",
    "efficientnetv2-b0",
    "gpt2",
    "inception-v3",
    "llama-3.2-1b",
    "mnasnet-a1",
    "mobilenetv1-0.25",
    "mobilenetv2-0.35",
    "mobilenetv3-large-0.75",
    "mobilenetv3-small-0.75",
    "regnetx-400mf",
    "regnety-400mf",
    "resnet-rs-50",
    "resnet-18",
    "resnet-50",
    "resnext-50-32x4d",
    "swin-t",
    "vit-ti-16",
)
RUNTIMES = tuple(runtimes())


@lru_cache(maxsize=64)
def whole(name: str) -> OpGraph:
    """Return a network as one graph at batch 1."""
    return build_graph(model(name), 1)


def policy_of(runtime_name: str, dtype: str = "fp16") -> Policy:
    """Return the policy of a shipped runtime."""
    return policy(runtime(runtime_name), precision(dtype))


#: a runtime that leaves every graph as it is
PLAIN = Policy(
    precision=precision("fp32"),
    layout="nhwc",
    fold_batch_norm=False,
    attention="fused",
    epilogue=(),
    prologue=(),
    fuse_movement=False,
)


def asking(**wanted: Any) -> Policy:
    """Return a policy that asks for nothing else."""
    return replace(PLAIN, **wanted)


@lru_cache(maxsize=512)
def lowered(name: str, runtime_name: str, dtype: str = "fp16") -> tuple[OpGraph, tuple[Kernel, ...]]:
    """Return a whole network as a runtime rewrites it, and its kernels."""
    return lower(whole(name), policy_of(runtime_name, dtype))


def macs_of(graph: OpGraph, ops: tuple[str, ...]) -> float:
    """Sum the multiply-adds of some ops of a graph."""
    total = 0.0
    for op_id in ops:
        op: Op = graph.op(op_id)
        total += sum(float(c.macs) for c in op.contractions(*graph.arguments(op)))
    return total
