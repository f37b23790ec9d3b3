"""What the service computes, without a word of HTTP: names and inline content in, plain values out; no file is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from roofline.arch.load import build_arch, models
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch, FamilyFile
from roofline.engine.options import OPTIONS
from roofline.errors import InputError, nearest
from roofline.graph.load import from_dict
from roofline.graph.opgraph import OpGraph
from roofline.hardware.load import device as load_device
from roofline.hardware.load import devices
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.report.report import Report
from roofline.report.run import Request, simulate_many
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space, search_spaces
from roofline.serve.limits import Limits
from roofline.serve.schemas import OracleOptions, Simulation
from roofline.software.load import runtime as load_runtime
from roofline.software.load import runtimes
from roofline.software.spec import Runtime
from roofline.specfile import parse_spec


class Service:
    """Answers simulations and batched latency queries within limits."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._oracles: OrderedDict[OracleOptions, Oracle] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> dict[str, list[str]]:
        """Return what requests may name."""
        return {"models": models(), "devices": devices(), "runtimes": runtimes(), "spaces": search_spaces()}

    def space(self, name: str) -> dict[str, Any]:
        """Return the genes of a search space, with the values of their options."""
        space = search_space(_plain(name, "space"))
        genes = [{"name": choice.name, "values": list(choice.values)} for choice in space.choices]
        return {"name": space.name, "genes": genes}

    def simulate(self, wanted: list[Simulation]) -> list[dict[str, Any]]:
        """Return the report of each simulation as JSON would hold it.

        Raises
        ------
        RooflineError
            One cannot be simulated; a note says which.
        """
        if len(wanted) > self.limits.simulations:
            raise InputError(f"{len(wanted)} simulations; one request has at most {self.limits.simulations}")
        reports = simulate_many([self._request(one) for one in wanted])
        return [_answer(report, one.kernels) for report, one in zip(reports, wanted, strict=True)]

    def latency_s(self, options: OracleOptions, genomes: NDArray[np.integer[Any]]) -> tuple[list[str], Array]:
        """Return the devices, and seconds per run of each candidate on each: (N, L) -> (N, D).

        Raises
        ------
        InputError
            Too many candidates, or rows that are no genomes of the space.
        """
        if len(genomes) > self.limits.candidates:
            raise InputError(f"{len(genomes):,} candidates; one request has at most {self.limits.candidates:,}")
        oracle = self.oracle(options)
        return list(oracle.devices), oracle.latency_s(genomes)

    def packed(self, options: OracleOptions, body: bytes) -> NDArray[np.int8]:
        """Return the genomes in a body of bytes, one per gene.

        Raises
        ------
        InputError
            The body is not a whole number of genomes.
        """
        length = search_space(_plain(options.space, "space")).length
        if len(body) % length:
            raise InputError(f"{len(body)} bytes are no whole number of genomes of {length} genes, a byte each")
        return np.frombuffer(body, dtype=np.int8).reshape(-1, length)

    def listed(self, options: OracleOptions, genomes: list[list[int]]) -> NDArray[np.int8]:
        """Return genomes given as lists.

        Raises
        ------
        InputError
            One has another length than the space.
        """
        length = search_space(_plain(options.space, "space")).length
        for row, genome in enumerate(genomes):
            if len(genome) != length:
                raise InputError(f"genome {row} has {len(genome)} genes, space {options.space!r} has {length}")
        return np.array(genomes, dtype=np.int8).reshape(-1, length)

    def oracle(self, options: OracleOptions) -> Oracle:
        """Return the oracle of a space on some devices; its tables are built at most once while it is remembered."""
        key = OracleOptions(**{name: getattr(options, name) for name in OracleOptions.model_fields})
        with self._lock:  # one build at a time: they fill the memory
            if key not in self._oracles:
                self._oracles[key] = self._build(key)
                if len(self._oracles) > self.limits.oracles:
                    self._oracles.popitem(last=False)
            self._oracles.move_to_end(key)
            return self._oracles[key]

    def _build(self, options: OracleOptions) -> Oracle:
        return Oracle(
            _plain(options.space, "space"), [_device(name) for name in options.devices], **_given(options)
        ).build()

    def _request(self, wanted: Simulation) -> Request:
        device, options = _device(wanted.device), _given(wanted)
        options["runtime"] = _runtime(options.get("runtime", device.default_runtime), device.kind)
        return Request(model=self._network(wanted), device=device, **options)

    def _network(self, wanted: Simulation) -> Arch | OpGraph:
        named = [name for name in ("model", "architecture", "graph") if getattr(wanted, name) is not None]
        if len(named) != 1:
            raise InputError(f"give one of 'model', 'architecture' and 'graph', got {named!r}")
        if wanted.model is not None:
            return _model(wanted.model)
        if wanted.graph is not None:
            ops = wanted.graph.get("ops")
            self._check_size(len(ops) if isinstance(ops, list) else 0, "ops")
            return from_dict(wanted.graph)
        family = parse_spec(wanted.architecture or {}, FamilyFile, "architecture")
        variant = wanted.variant or (next(iter(family.variants)) if len(family.variants) == 1 else "")
        if variant not in family.variants:
            raise InputError(f"'variant' names one of the networks, got {variant!r}{nearest(variant, family.variants)}")
        arch = build_arch(family, variant)
        self._check_size(sum(stage.repeats for stage in arch.stages), "blocks")
        return arch

    def _check_size(self, count: int, what: str) -> None:
        if count > self.limits.ops:
            raise InputError(f"a network of {count:,} {what}; one request brings at most {self.limits.ops:,}")


def _plain(name: str, what: str) -> str:
    """Return a name that cannot be a path.

    Raises
    ------
    InputError
        It is one: the service reads no files.
    """
    if ".toml" in name.lower() or "/" in name or "\\" in name:
        raise InputError(f"{what} {name!r} is no name; the service reads no files")
    return name


def _given(wanted: BaseModel) -> dict[str, Any]:
    """Return the options that a request gives; a runtime is a name, never a file."""
    found = {name: value for name in OPTIONS if (value := getattr(wanted, name, None)) is not None}
    return found | ({"runtime": _plain(found["runtime"], "runtime")} if "runtime" in found else {})


@lru_cache(maxsize=1024)
def _model(name: str) -> Arch:
    return load_model(_plain(name, "model"))


@lru_cache(maxsize=256)
def _runtime(name: str, kind: str) -> Runtime:
    return load_runtime(name, kind)


@lru_cache(maxsize=256)
def _device(name: str) -> Device:
    return load_device(_plain(name, "device"))


def _answer(report: Report, with_kernels: bool) -> dict[str, Any]:
    answer = report.to_dict()
    return answer | {"kernels": report.kernels.to_dict(orient="records")} if with_kernels else answer
