"""What the service computes, without a word of HTTP: names and inline content in, plain values out; no file is read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from roofline.arch.load import build_arch, models
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch, FamilyFile
from roofline.engine.options import OPTIONS
from roofline.errors import InputError, RooflineError, line_of, nearest
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
from roofline.serve.limits import MIB, Limits
from roofline.serve.memory import resident_bytes
from roofline.serve.schemas import OracleOptions, Simulation
from roofline.software.formats import formats
from roofline.software.load import runtime as load_runtime
from roofline.software.load import runtimes
from roofline.software.spec import Runtime
from roofline.specfile import parse_spec


class Service:
    """Answers simulations and batched latency queries within limits."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        #: whether a limit was in the way of the last request
        self.stopped = False
        self._oracles: OrderedDict[OracleOptions, tuple[Oracle, int]] = OrderedDict()

    @property
    def table_bytes(self) -> int:
        """Memory that the remembered oracles took when they were built."""
        return sum(size for _, size in self._oracles.values())

    def names(self) -> dict[str, list[str]]:
        """Return what requests may name."""
        stacks = {"runtimes": runtimes(), "formats": formats()}
        return {"models": models(), "devices": devices(), **stacks, "spaces": search_spaces()}

    def space(self, name: str) -> dict[str, Any]:
        """Return the genes of a search space, with the values of their options."""
        space = search_space(_plain(name, "space"))
        genes = [{"name": choice.name, "values": list(choice.values)} for choice in space.choices]
        return {"name": space.name, "genes": genes}

    def simulate(self, wanted: Simulation) -> dict[str, Any]:
        """Return the report of a simulation as JSON would hold it.

        Raises
        ------
        RooflineError
            It cannot be simulated.
        """
        return _answer(simulate_many([self._request(wanted)[0]])[0], wanted.kernels)

    def simulate_each(self, wanted: Sequence[Simulation]) -> Iterator[dict[str, Any]]:
        """Yield the report of each simulation as JSON would hold it; `error` says why one has none.

        Raises
        ------
        InputError
            A limit is in the way: of all of them.
        """
        if len(wanted) > self.limits.simulations:
            self._stop(f"{len(wanted)} simulations; one request has at most {self.limits.simulations}")
        left, found = self.limits.all_ops, list[Request | RooflineError]()
        for one in wanted:
            try:
                request, count = self._request(one)
            except RooflineError as error:
                if self.stopped:
                    raise
                found.append(error)
                continue
            left -= count
            if left < 0:
                self._stop(f"networks of more than {self.limits.all_ops:,} ops and blocks together")
            found.append(request)
        for report, one in zip(_reports(found), wanted, strict=True):
            yield {"error": line_of(report)} if isinstance(report, RooflineError) else _answer(report, one.kernels)

    def latency_s(
        self, options: OracleOptions, genomes: NDArray[np.integer[Any]], *, number_bytes: int
    ) -> tuple[list[str], Array]:
        """Return the devices, and seconds per run of each candidate on each: (N, L) -> (N, D).

        Raises
        ------
        InputError
            Too many candidates, or rows that are no genomes of the space; or the answer would be too large, a number
            of it taking `number_bytes`.
        """
        if len(genomes) > self.limits.candidates:
            raise InputError(f"{len(genomes):,} candidates; one request has at most {self.limits.candidates:,}")
        self.check_answer(len(genomes) * len(options.devices) * number_bytes)
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
        if key not in self._oracles:
            before = resident_bytes()
            oracle = self._build(key)
            self._oracles[key] = oracle, max(0, resident_bytes() - before)
            if len(self._oracles) > self.limits.oracles:
                self._oracles.popitem(last=False)
        self._oracles.move_to_end(key)
        return self._oracles[key][0]

    def check_answer(self, size: int) -> None:
        """Refuse an answer that is too large.

        Raises
        ------
        InputError
            It is.
        """
        if size > self.limits.answer_bytes:
            raise InputError(
                f"the answer has more than {self.limits.answer_bytes / MIB:,.0f} MiB; ask for less at once"
            )

    def _build(self, options: OracleOptions) -> Oracle:
        return Oracle(
            _plain(options.space, "space"), [_device(name) for name in options.devices], **_given(options)
        ).build()

    def _request(self, wanted: Simulation) -> tuple[Request, int]:
        """Return a request of the library, and how many ops and blocks it brings along."""
        device, options = _device(wanted.device), _given(wanted)
        options["runtime"] = _runtime(options.get("runtime", device.default_runtime), device.kind)
        network, count = self._network(wanted)
        return Request(model=network, device=device, **options), count

    def _network(self, wanted: Simulation) -> tuple[Arch | OpGraph, int]:
        named = [name for name in ("model", "architecture", "graph") if getattr(wanted, name) is not None]
        if len(named) != 1:
            raise InputError(f"give one of 'model', 'architecture' and 'graph', got {named!r}")
        if wanted.model is not None:
            return _model(wanted.model), 0
        if wanted.graph is not None:
            self._check_size(wanted.graph, "tensors", self.limits.tensors)
            count = self._check_size(wanted.graph, "ops", self.limits.ops)
            return from_dict(wanted.graph), count
        arch = self._arch(wanted.architecture or {}, wanted.variant)
        return arch, self._at_most(sum(stage.repeats for stage in arch.stages), "blocks", self.limits.ops)

    def _arch(self, content: dict[str, Any], variant: str | None) -> Arch:
        self._check_size(content, "variants", self.limits.variants)
        variants = content.get("variants")
        for part in (content, *(variants.values() if isinstance(variants, dict) else ())):
            self._check_size(part, "stages", self.limits.ops)
        family = parse_spec(content, FamilyFile, "architecture")
        variant = variant or (next(iter(family.variants)) if len(family.variants) == 1 else "")
        if variant not in family.variants:
            raise InputError(f"'variant' names one of the networks, got {variant!r}{nearest(variant, family.variants)}")
        return build_arch(family, variant)

    def _check_size(self, content: Any, what: str, most: int) -> int:
        """Return how many there are in a list of what a request brings along, before anything is made of it."""
        found = content.get(what) if isinstance(content, dict) else None
        return self._at_most(len(found) if isinstance(found, (list, dict)) else 0, what, most)

    def _at_most(self, count: int, what: str, most: int) -> int:
        if count > most:
            self._stop(f"{count:,} {what}; a network that a request brings has at most {most:,}")
        return count

    def _stop(self, why: str) -> NoReturn:
        self.stopped = True
        raise InputError(why)


def _reports(found: Sequence[Request | RooflineError]) -> Iterator[Report | RooflineError]:
    """Yield the report of each request, costed together where all can be simulated, and the errors in their places."""
    requests = [one for one in found if isinstance(one, Request)]
    try:
        reports: Iterator[Report | RooflineError] = iter(simulate_many(requests))
    except RooflineError:  # one of them
        reports = map(_alone, requests)
    return (one if isinstance(one, RooflineError) else next(reports) for one in found)


def _alone(request: Request) -> Report | RooflineError:
    try:
        return simulate_many([request])[0]
    except RooflineError as error:
        return error


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
