"""The latency oracle: every distinct block of a space costed once, a candidate as a sum of gathers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from roofline.cost import fold
from roofline.engine.options import OF_SPACE, SpaceOptions, check_known
from roofline.engine.setting import Setting, per_device, resolve
from roofline.errors import InputError, nearest
from roofline.fingerprint import code_hash
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.numeric import Array, Numeric
from roofline.search.oracle import stored
from roofline.search.oracle.chain import walk_modules
from roofline.search.oracle.segments import Walk, walk
from roofline.search.oracle.tables import StageTable, build_tables, gather, gathered, join, time_columns
from roofline.search.space.base import BaseSpace
from roofline.search.space.load import search_space
from roofline.search.space.own.modules import ModuleSpace
from roofline.search.space.spec import Space

#: options in the order in which they may follow the devices without their names
POSITIONAL = ("batch", "dtype", "runtime", "layout", "cores", "image_size")


class Oracle:
    """Latency, counts and memory of any genomes of a space on some devices; equal to `simulate` of what they decode to.

    Parameters
    ----------
    space
        A `Space`, its name, or its TOML file.
    devices
        One device or several: names, files or specs.
    **options
        As `simulate`; those in `DeviceOptions` may be a mapping device -> value, `image_size` is for spaces that do not
        choose it. The first of them may be given by position.

    Notes
    -----
    Tables are built at the first question that needs them. A stage's `make` may know that a block is the last.

    Examples
    --------
    >>> oracle = Oracle("accel-nasbench", "tpu-v3", batch=128)
    >>> oracle.latency_s(oracle.space.sample(5, seed=0)).shape
    (5, 1)
    """

    def __init__(
        self,
        space: BaseSpace | str | Path,
        devices: str | Path | Device | Sequence[str | Path | Device],
        *values: Any,
        **options: Unpack[SpaceOptions],
    ) -> None:
        self.space: BaseSpace = search_space(space)
        given = [devices] if isinstance(devices, (str, Path, Device)) else list(devices)
        if not given:
            raise InputError("an oracle needs at least one device")
        specs = [load_device(d) for d in given]
        check_known(options, OF_SPACE)
        each = per_device(dict(zip(POSITIONAL, values, strict=False)) | options, specs)
        self.targets = tuple(resolve(spec, **own) for spec, own in zip(specs, each, strict=True))
        self.image_size = self.targets[0].image_size
        self.devices = tuple(t.device.name for t in self.targets)
        self._tables: dict[int, tuple[StageTable, ...]] = {}
        self._joined: dict[tuple[int, tuple[str, ...]], tuple[StageTable, ...]] = {}

    # tables ---------------------------------------------------------------------

    def profiles(self) -> list[list[int]]:
        """Return the targets that share their kernels, as lists of positions: one set of tables for each."""
        groups: dict[Any, list[int]] = {}
        for i, target in enumerate(self.targets):
            groups.setdefault((target.policy, target.core_batch), []).append(i)
        return list(groups.values())

    def tables(self, profile: int) -> tuple[StageTable, ...]:
        """Return the tables of one profile, one per stage; they are built when first asked for."""
        if profile not in self._tables:
            members = self.profiles()[profile]
            first = self.targets[members[0]]
            self._tables[profile] = build_tables(self.walked(first), [self.targets[i].machine for i in members])
        return self._tables[profile]

    def walked(self, target: Setting) -> Walk:
        """Return what a walk over the space meets under the policy of a target."""
        if isinstance(self.space, ModuleSpace):
            if self.image_size is not None:
                raise InputError(f"space {self.space.name!r} states its input: leave image_size out")
            return walk_modules(self.space, target.policy, target.core_batch)
        if not isinstance(self.space, Space):
            raise InputError(f"nobody knows how to walk a {type(self.space).__name__!r}")
        return walk(self.space, target.policy, target.core_batch, self.image_size)

    def only(self, device: str) -> Oracle:
        """Return the oracle of one of the devices; tables that exist are shared.

        Raises
        ------
        InputError
            The oracle has no such device.
        """
        if device not in self.devices:
            raise InputError(f"the oracle has no device {device!r}{nearest(device, self.devices)}")
        one = copy.copy(self)
        place = self.devices.index(device)
        one.targets, one.devices = (self.targets[place],), (device,)
        one._tables, one._joined = {}, {}
        for profile, members in enumerate(self.profiles()):
            if place in members and profile in self._tables:
                one._tables[0] = tuple(_of_device(t, members.index(place)) for t in self._tables[profile])
        return one

    def build(self) -> Oracle:
        """Build all tables now, and return the oracle."""
        for profile in range(len(self.profiles())):
            self.tables(profile)
        return self

    def save(self, path: str | Path) -> Path:
        """Write all tables to an ``.npz`` file, whole or not at all."""
        profiles = range(len(self.profiles()))
        return stored.save(Path(path), self.hash, [self.tables(p) for p in profiles])

    def load(self, path: str | Path) -> Oracle:
        """Take the tables of a file that an equal oracle saved, and return the oracle.

        Raises
        ------
        InputError
            The file is none, or is stale: space, devices, runtimes, batch or the cost model are not those it was
            built with.
        """
        profiles = stored.load(Path(path), self.hash)
        self._tables, self._joined = dict(enumerate(profiles)), {}
        return self

    @property
    def hash(self) -> dict[str, str]:
        """What tables depend on, each with a content hash: space, targets, and the model that costs them."""
        return {
            "space": self.space.hash,
            "image size": str(self.image_size),
            "devices": stored.digest([repr(t.machine.device) for t in self.targets]),
            "runtimes": stored.digest([repr(t.machine.runtime) for t in self.targets]),
            "options": stored.digest(
                [(t.batch, t.machine.cores, t.machine.precision.name, t.machine.layout) for t in self.targets]
            ),
            "version": code_hash(__name__),
        }

    # questions ---------------------------------------------------------------------

    def latency_s(self, genomes: Any) -> Array:
        """Return seconds per run of each candidate on each device: genomes (N, L) -> (N, D).

        Raises
        ------
        InputError
            Genomes of the wrong dtype, shape or length, out of range, or no networks of the space.
        """
        checked = self.space.check(genomes)
        out = np.empty((len(checked), len(self.targets)))
        for profile, members in enumerate(self.profiles()):
            names = [n for d in range(len(members)) for n in time_columns(d)]
            idle = frozenset.intersection(*(table.idle for table in self.tables(profile)))
            used = [n for n in names if n not in idle]
            for rows, parts in gathered(self._tables_for(profile, used), checked, used):
                sums = dict(zip(used, parts, strict=True))
                for d, i in enumerate(members):
                    device_s, host_s = (sums.get(n, 0.0) for n in time_columns(d))
                    program_s = self.targets[i].machine.runtime.program_s
                    fold.latency_s(device_s, host_s, program_s=program_s, out=out[rows, i])
        return self._complete(out, checked)

    def exists(self, genomes: Any) -> NDArray[np.bool_]:
        """Return which genomes (N, L) are networks: every block fits what flows into it."""
        checked = self.space.check(genomes)
        return self.space.valid(checked) & np.isfinite(self._gather(0, checked, ["blocks"])["blocks"])

    def macs(self, genomes: Any) -> Array:
        """Return multiply-accumulates of a run of the whole batch, as `Report.macs`: (N,), of the first device."""
        return self.macs_per_example(genomes) * self.targets[0].batch

    def macs_per_example(self, genomes: Any) -> Array:
        """Return multiply-accumulates of one example: (N,)."""
        return self.counts(genomes, ("macs",))["macs"]

    def params(self, genomes: Any) -> Array:
        """Return trained parameters: (N,)."""
        return self.counts(genomes, ("params",))["params"]

    def traffic_bytes(self, genomes: Any) -> Array:
        """Return bytes across kernel boundaries of a run, on all cores: (N, D)."""

        def on(target: Setting, total: Array, weights: Array) -> Numeric:
            examples = target.batch / target.core_batch  # every busy core reads its own copy of the weights
            return (total - weights) * examples + weights * target.busy_cores

        return self._per_device(genomes, ("traffic_bytes", "weight_traffic_bytes"), on)

    def peak_memory_bytes(self, genomes: Any) -> Array:
        """Return bytes of weights and of the activations alive at the widest point, on all cores: (N, D)."""

        def on(target: Setting, weights: Array, live: Array, resident: Array) -> Numeric:
            return fold.peak_memory_bytes(weights, live, resident) * target.busy_cores

        return self._per_device(genomes, ("weight_bytes", "live_bytes", "resident_bytes"), on)

    def counts(self, genomes: Any, names: Sequence[str]) -> dict[str, Array]:
        """Return device-free counts of one example, each (N,): macs, params, vector_ops, blocks, ...; see `COUNTS`."""
        checked = self.space.check(genomes)
        sums = self._gather(0, checked, list(names))
        per_core = self.targets[0].core_batch
        for name in ("macs", "vector_ops"):
            if name in sums:
                sums[name] = sums[name] / per_core
        self._complete(next(iter(sums.values())), checked)
        return sums

    def _per_device(self, genomes: Any, names: tuple[str, ...], on: Callable[..., Numeric]) -> Array:
        checked = self.space.check(genomes)
        out = np.empty((len(checked), len(self.targets)))
        for profile, members in enumerate(self.profiles()):
            sums = self._gather(profile, checked, names)
            for i in members:
                out[:, i] = on(self.targets[i], *sums.values())
        return self._complete(out, checked)

    def _gather(self, profile: int, genomes: NDArray[np.integer[Any]], names: Sequence[str]) -> dict[str, Array]:
        return dict(zip(names, gather(self._tables_for(profile, names), genomes, names), strict=True))

    def _tables_for(self, profile: int, names: Sequence[str]) -> tuple[StageTable, ...]:
        key = profile, tuple(names)
        if key not in self._joined:
            self._joined[key] = join(self.tables(profile), names)
        return self._joined[key]

    def _complete(self, values: Array, genomes: NDArray[np.integer[Any]]) -> Array:
        """Return `values` unless a row has none: the genome is no network."""
        if np.isnan(values.sum()):  # one is enough
            missing = np.isnan(values)
            row = int(np.flatnonzero(missing.reshape(len(values), -1).any(axis=1))[0])
            self.space.decode(genomes[row])  # a forbidden combination says so itself
            raise InputError(f"genome {row} is no network of space {self.space.name!r}: {genomes[row].tolist()!r}")
        return values


def _of_device(table: StageTable, device: int) -> StageTable:
    """Return a table with the times of one device as the first."""
    shared = {name: column for name, column in table.columns.items() if "." not in name}
    own = {first: table.columns[name] for first, name in zip(time_columns(0), time_columns(device), strict=True)}
    return replace(table, columns=shared | own)
