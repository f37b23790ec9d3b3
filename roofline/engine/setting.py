"""On what and how a network runs: resolved and checked once, whichever door a run is asked for at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, SupportsIndex, Unpack

import numpy as np

from roofline.arch.build import MAX_BATCH
from roofline.dtypes import Precision, precision
from roofline.engine.asked import NAMES, NOTHING, Asked, asked
from roofline.engine.machine import Machine, machine_for
from roofline.engine.options import OPTIONS, PER_DEVICE, RunOptions, check_known
from roofline.errors import InputError, nearest
from roofline.graph.empty import without_empty
from roofline.graph.op import Layout
from roofline.graph.opgraph import OpGraph
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.numeric import ceil_div, whole_number
from roofline.passes.layout import check_layout
from roofline.passes.policy import Policy, policy
from roofline.software.formats import Format
from roofline.software.formats import format as find_format
from roofline.software.load import runtime as load_runtime
from roofline.software.spec import Runtime


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A device, what of a runtime decides kernels and what of it costs time, and how much runs at once.

    Attributes
    ----------
    policy
        Precision, layout and mode among it.
    cores
        Program instances that the batch is spread over.
    ask
        Input size and step that are asked for.
    strict
        Whether a network must fit into the memory.
    """

    device: Device
    runtime: Runtime
    policy: Policy
    cores: int
    batch: int
    ask: Asked = NOTHING
    strict: bool = False

    @property
    def image_size(self) -> int | None:
        """Pixels per side; None: the network's own."""
        return self.ask.image_size

    @property
    def core_batch(self) -> int:
        """Examples of the fullest core."""
        return int(ceil_div(self.batch, self.cores))

    @property
    def busy_cores(self) -> int:
        """Cores that have examples."""
        return int(ceil_div(self.batch, self.core_batch))

    def with_batch(self, batch: SupportsIndex) -> Setting:
        """Return the same for another number of examples.

        Raises
        ------
        InputError
            It is out of range.
        """
        return replace(self, batch=whole_number(batch, "batch", most=MAX_BATCH))

    @cached_property
    def machine(self) -> Machine:
        """What one core sees; settings that differ in nothing it depends on share one."""
        return _machine(self.device, self.runtime, self.policy.precision, self.policy.layout, self.cores)


def resolve(device: str | Path | Device, **options: Unpack[RunOptions]) -> Setting:
    """Return the setting that options ask for; None is the default of the device or the runtime.

    Raises
    ------
    UnknownNameError
        No such device, runtime or dtype.
    InputError
        A value is out of range, or the device lacks the dtype.
    """
    check_known(options, OPTIONS)
    given: dict[str, Any] = {name: options.get(name, option.default) for name, option in OPTIONS.items()}
    found = load_device(device)
    runtime = load_runtime(given["runtime"] or found.default_runtime, found.kind)
    if runtime.joins_cores:
        found = found.joined()
    numbers = given["format"] and find_format(_named("format", given["format"]))
    dtype = given["dtype"] or (numbers and numbers.base) or found.default_dtype
    dtype = dtype if isinstance(dtype, Precision) else precision(_name("dtype", dtype))
    found.peak_flops_per_s(dtype.compute.name)  # refuses what the device lacks
    on_lanes = found.matrix.rates[dtype.compute.name].runs_on == "vector"
    layout = check_layout(
        _name("layout", given["layout"] or (runtime.lane_layout if on_lanes else runtime.default_layout))
    )
    mode, optimizer = _name("mode", given["mode"]), given["optimizer"] and _name("optimizer", given["optimizer"])
    ask = asked(given)
    if mode == "training" and ask.of_step:
        raise InputError(f"{ask.of_step[0]} is for mode 'inference', not {mode!r}")
    return Setting(
        device=found,
        runtime=runtime,
        policy=policy(
            runtime,
            dtype,
            layout,
            mode,
            optimizer,
            _flag("recompute", given["recompute"]),
            numbers and numbers.on(found, dtype),
        ),
        cores=_count(f"cores of {found.name!r}", given["cores"], most=found.cores) or found.cores,
        batch=_count("batch", given["batch"], most=MAX_BATCH) or 1,
        ask=ask,
        strict=_flag("strict", given["strict"]),
    )


def _name(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} must be a name, got {value!r}")
    return value


def _named(what: str, value: object) -> str | Path | Format:
    return value if isinstance(value, Path | Format) else _name(what, value)


def _flag(what: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{what} must be True or False, got {value!r}")
    return bool(value)


def _count(what: str, value: object, most: int) -> int | None:
    return None if value is None else whole_number(value, what, most=most)


def per_device(options: Mapping[str, Any], devices: Sequence[Device]) -> list[dict[str, Any]]:
    """Return the options of each device; a mapping device -> value gives each its own, or none.

    Raises
    ------
    InputError
        An option is the same for all devices, or a mapping names a device that is not among them.
    """
    names = [device.name for device in devices]
    found: list[dict[str, Any]] = [{} for _ in devices]
    for option, value in options.items():
        if not isinstance(value, Mapping):
            own = dict.fromkeys(names, value)
        elif option in OPTIONS and option not in PER_DEVICE:
            allowed = ", ".join(PER_DEVICE)
            raise InputError(f"option {option!r} is the same for all devices; a mapping is allowed for {allowed}")
        else:
            own = {key if key in names else load_device(key).name: one for key, one in value.items()}
        for name in own:
            if name not in names:
                raise InputError(f"{option} names device {name!r}, which is not simulated{nearest(name, names)}")
        for name, options_of_one in zip(names, found, strict=True):
            options_of_one[option] = own.get(name)
    return found


@lru_cache(maxsize=256)
def _machine(device: Device, runtime: Runtime, found: Precision, layout: Layout, cores: int) -> Machine:
    return machine_for(device, runtime, found, layout, cores)


def of_graph(setting: Setting, graph: OpGraph, given: Collection[str]) -> tuple[OpGraph, Setting]:
    """Return what one core runs of a graph from a front end, and the setting in which it does.

    Parameters
    ----------
    given
        Options that were asked for. Else the batch is what the graph was built with; and one core runs the graph as it
        is where its examples cannot be told apart.

    Raises
    ------
    InputError
        The graph cannot be run at the batch or on the cores that were asked for, or there is nothing to train.
    """
    for name in NAMES:
        if getattr(setting.ask, name) is not None:
            raise InputError(f"{name} is fixed in a graph: lower the network again")
    graph = without_empty(graph)
    built = graph.examples
    if "batch" not in given:
        setting = replace(setting, batch=built)
    batch, part, whole = setting.batch, graph, graph
    try:
        whole, part = graph.with_batch(batch), graph.with_batch(setting.core_batch)
        if part.macs * batch != whole.macs * setting.core_batch:
            raise InputError(f"{part.name}: examples meet each other in products: cores cannot share them out")
    except InputError:
        if "cores" in given or (batch != built and whole is graph):
            raise
        part, setting = whole, replace(setting, cores=1)
    if setting.policy.mode == "training" and not part.params:
        raise InputError(f"{part.name}: no parameters, so nothing to train")
    return part, setting
