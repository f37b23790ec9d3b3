# The public names, each in the line that type checkers, editors and `roofline/__init__.py` read.
from roofline.arch.build import op_graph as op_graph
from roofline.arch.edit import edit_stage as edit_stage
from roofline.arch.load import model as model
from roofline.arch.load import models as models
from roofline.arch.spec import Arch as Arch
from roofline.cluster.islands import evolve_islands as evolve_islands
from roofline.cluster.run import run_plan as run_plan
from roofline.errors import RooflineError as RooflineError
from roofline.export.api import JaxProgram as JaxProgram
from roofline.export.api import to_jax as to_jax
from roofline.export.api import to_torch as to_torch
from roofline.frontends.jax.api import from_jax as from_jax
from roofline.frontends.onnx import from_onnx as from_onnx
from roofline.frontends.torch.api import from_torch as from_torch
from roofline.graph.builder import GraphBuilder as GraphBuilder
from roofline.graph.load import load_graph as load_graph
from roofline.graph.opgraph import OpGraph as OpGraph
from roofline.hardware.load import device as device
from roofline.hardware.load import devices as devices
from roofline.hardware.spec import Device as Device
from roofline.plugins import load_plugins as load_plugins
from roofline.report.report import Report as Report
from roofline.report.run import Request as Request
from roofline.report.run import simulate as simulate
from roofline.report.run import simulate_many as simulate_many
from roofline.search.accuracy.choose import accuracy_oracle as accuracy_oracle
from roofline.search.accuracy.networks import FromNetworks as FromNetworks
from roofline.search.evolution.evolve import evolve as evolve
from roofline.search.evolution.objective import Objective as Objective
from roofline.search.evolution.transfer import transfer_matrix as transfer_matrix
from roofline.search.oracle.latency import Oracle as Oracle
from roofline.search.scaling.compound import compound_scale as compound_scale
from roofline.search.space.load import search_space as search_space
from roofline.search.space.load import search_spaces as search_spaces
from roofline.search.space.own.modules import ModuleSpace as ModuleSpace
from roofline.search.space.own.modules import module_space as module_space
from roofline.search.space.own.stages import module_stage as module_stage
from roofline.search.space.spec import Space as Space
from roofline.software.load import runtime as runtime
from roofline.software.load import runtimes as runtimes
from roofline.software.spec import Runtime as Runtime
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
from roofline.studies.witness import witness as witness

_PUBLIC: dict[str, str]
__version__: str
__all__: list[str]
