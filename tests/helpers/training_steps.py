"""Training steps of small graphs, and what tests ask of their phases."""

from __future__ import annotations

from typing import Any

from families import RUNTIMES

from roofline.dtypes import precision
from roofline.graph.opgraph import OpGraph
from roofline.passes.pipeline import Phase, Program, program
from roofline.passes.policy import Policy, policy
from roofline.software.load import runtime

TRAINING_RUNTIMES = tuple(name for name in RUNTIMES if not (runtime(name).fold_batch_norm or runtime(name).serves))


def training(runtime_name: str = "pytorch_eager", dtype: str = "fp32", **options: Any) -> Policy:
    return policy(runtime(runtime_name), precision(dtype), mode="training", **options)


def step(graph: OpGraph, *args: Any, **options: Any) -> Program:
    return program(graph, training(*args, **options))


def macs(phase: Phase) -> float:
    return float(phase.graph.macs)


def traffic(phase: Phase) -> float:
    return float(sum(k.traffic_bytes for k in phase.kernels))


def kernel(phase: Phase, name: str) -> float:
    """Return the traffic of the kernel of that name."""
    (found,) = (k for k in phase.kernels if k.name == name)
    return float(found.traffic_bytes)
