"""How long does a network take on a TPU or GPU, why, and what would make it faster: an analytical simulator.

    import roofline as rf
    report = rf.simulate("efficientnet-x-b0", "tpu-v3", batch=128)
    print(report.latency_ms, report.bound)

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from roofline.version import __version__

#: public name -> module that defines it
_PUBLIC = {
    "models": "roofline.arch.load",
    "model": "roofline.arch.load",
    "devices": "roofline.device.load",
    "device": "roofline.device.load",
    "runtimes": "roofline.runtime.load",
    "runtime": "roofline.runtime.load",
    "simulate": "roofline.simulate.run",
    "simulate_many": "roofline.simulate.run",
    "Request": "roofline.simulate.run",
    "Report": "roofline.simulate.report",
    "advise": "roofline.studies.advise",
    "annotate_onnx": "roofline.studies.annotate",
    "edit_stage": "roofline.arch.edit",
    "compare": "roofline.studies.compare",
    "codesign": "roofline.studies.codesign",
    "evidence": "roofline.studies.evidence",
    "flops_gap": "roofline.studies.gap",
    "headlines": "roofline.studies.headlines",
    "migrate": "roofline.studies.migrate",
    "sensitivity": "roofline.studies.sensitivity",
    "stage_choices": "roofline.studies.choices",
    "sweep": "roofline.studies.sweep",
    "search_space": "roofline.search.spacefile",
    "search_spaces": "roofline.search.spacefile",
    "Space": "roofline.search.space",
    "Oracle": "roofline.search.oracle",
    "Objective": "roofline.search.objective",
    "accuracy_oracle": "roofline.search.accuracy.choose",
    "evolve": "roofline.search.evolve",
    "transfer_matrix": "roofline.search.studies",
    "evolve_islands": "roofline.cluster.islands",
    "run_plan": "roofline.cluster.run",
    "compound_scale": "roofline.search.scaling",
    "Arch": "roofline.arch.spec",
    "Device": "roofline.device.spec",
    "Runtime": "roofline.runtime.spec",
    "OpGraph": "roofline.graph.opgraph",
    "GraphBuilder": "roofline.graph.builder",
    "graph": "roofline.arch.build",
    "load_graph": "roofline.graph.serial",
    "from_jax": "roofline.frontends.jax.entry",
    "from_onnx": "roofline.frontends.onnx",
    "from_torch": "roofline.frontends.torch.api",
    "RooflineError": "roofline.errors",
}

__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:
    from roofline.arch.build import graph as graph
    from roofline.arch.edit import edit_stage as edit_stage
    from roofline.arch.load import model as model
    from roofline.arch.load import models as models
    from roofline.arch.spec import Arch as Arch
    from roofline.cluster.islands import evolve_islands as evolve_islands
    from roofline.cluster.run import run_plan as run_plan
    from roofline.device.load import device as device
    from roofline.device.load import devices as devices
    from roofline.device.spec import Device as Device
    from roofline.errors import RooflineError as RooflineError
    from roofline.frontends.jax.entry import from_jax as from_jax
    from roofline.frontends.onnx import from_onnx as from_onnx
    from roofline.frontends.torch.api import from_torch as from_torch
    from roofline.graph.builder import GraphBuilder as GraphBuilder
    from roofline.graph.opgraph import OpGraph as OpGraph
    from roofline.graph.serial import load_graph as load_graph
    from roofline.runtime.load import runtime as runtime
    from roofline.runtime.load import runtimes as runtimes
    from roofline.runtime.spec import Runtime as Runtime
    from roofline.search.accuracy.choose import accuracy_oracle as accuracy_oracle
    from roofline.search.evolve import evolve as evolve
    from roofline.search.objective import Objective as Objective
    from roofline.search.oracle import Oracle as Oracle
    from roofline.search.scaling import compound_scale as compound_scale
    from roofline.search.space import Space as Space
    from roofline.search.spacefile import search_space as search_space
    from roofline.search.spacefile import search_spaces as search_spaces
    from roofline.search.studies import transfer_matrix as transfer_matrix
    from roofline.simulate.report import Report as Report
    from roofline.simulate.run import Request as Request
    from roofline.simulate.run import simulate as simulate
    from roofline.simulate.run import simulate_many as simulate_many
    from roofline.studies.advise import advise as advise
    from roofline.studies.annotate import annotate_onnx as annotate_onnx
    from roofline.studies.choices import stage_choices as stage_choices
    from roofline.studies.codesign import codesign as codesign
    from roofline.studies.compare import compare as compare
    from roofline.studies.evidence import evidence as evidence
    from roofline.studies.gap import flops_gap as flops_gap
    from roofline.studies.headlines import headlines as headlines
    from roofline.studies.migrate import migrate as migrate
    from roofline.studies.sensitivity import sensitivity as sensitivity
    from roofline.studies.sweep import sweep as sweep


class _Package(types.ModuleType):
    """The package itself: importing the folder ``roofline.simulate`` must not hide the function `simulate`."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
