"""The numbers of a run: its counts, its times, its kernels, and where it stands under the roof."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from roofline.cost import combine, fold
from roofline.cost.combine import BOUNDS, ENGINES
from roofline.engine.columns import Index
from roofline.engine.costs import KernelCosts
from roofline.engine.lowering import Lowered
from roofline.engine.machine import Machine
from roofline.engine.table import STATE, WEIGHT
from roofline.errors import InputError
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.report.ran import Ran
from roofline.report.ranges import FactEffects, FactRange, effects_of_facts, fact_range
from roofline.software.formats import Format
from roofline.software.spec import Runtime

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Run(Ran):
    """One simulated run. Counts are totals of its whole batch; times are in seconds.

    Attributes
    ----------
    latency_s
        ``program_s + max(device_s, host_s)``.
    device_s, host_s, program_s
        Sum over the kernels of the fullest core; host time to dispatch them; time per run.
    macs, vector_ops, traffic_bytes
        Multiply-accumulates, vector operations, bytes across kernel boundaries (without layout padding).
    ideal_memory_s
        Time of that traffic at the nominal bandwidth of the levels that serve it, with all of the chip.
    params
        Trained parameters of the network.
    weight_bytes, peak_memory_bytes
        Stored weights of one copy; weights, state and live activations of all busy cores.
    cache_bytes
        State of all busy cores: key-value caches and whatever else the program keeps from run to run.
    saved_bytes, state_bytes
        Activations kept for a backward pass on all busy cores; gradients and optimizer states of one copy of weights.
    numbers
        Number format, as the device runs it; None without one.
    """

    lowered: Lowered
    machine: Machine
    costs: KernelCosts
    latency_s: float
    device_s: float
    host_s: float
    program_s: float
    macs: float
    vector_ops: float
    traffic_bytes: float
    ideal_memory_s: float
    params: float
    weight_bytes: float
    cache_bytes: float
    saved_bytes: float
    state_bytes: float
    peak_memory_bytes: float
    numbers: Format | None = None

    def __post_init__(self) -> None:
        """Refuse to be a result without a latency, or with a number that is none: whatever went wrong before."""
        wrong = [f.name for f in fields(self) if f.type == "float" and not math.isfinite(getattr(self, f.name))]
        if wrong or not self.latency_s > 0:
            what = f"no finite {', '.join(wrong)}" if wrong else "nothing to time: no kernel runs"
            raise InputError(f"{self.model} on {self.device} at batch {self.batch}: {what}")

    # what was simulated -------------------------------------------------------

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.lowered.name

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.machine.device.name

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.machine.runtime.name

    @property
    def dtype(self) -> str:
        """Name of the precision."""
        return self.machine.precision.name

    @property
    def format(self) -> str | None:
        """Name of the number format; None where everything has the precision."""
        return self.numbers.name if self.numbers else None

    @property
    def layout(self) -> str:
        """Memory format of images."""
        return self.machine.layout

    @property
    def cores(self) -> int:
        """Program instances the batch was spread over."""
        return self.machine.cores

    @property
    def idle_cores(self) -> int:
        """Program instances of the chip without any example."""
        return self.machine.device.cores - self.busy_cores

    @property
    def device_spec(self) -> Device:
        """The device that was simulated."""
        return self.machine.device

    @property
    def runtime_spec(self) -> Runtime:
        """The runtime that was simulated."""
        return self.machine.runtime

    # headline -----------------------------------------------------------------

    @property
    def latency_ms(self) -> float:
        """Latency [ms]."""
        return self.latency_s * 1e3

    @property
    def throughput_per_s(self) -> float:
        """Examples per second."""
        return self.batch / self.latency_s

    @property
    def tokens_per_s(self) -> float | None:
        """New tokens per second: in prefill those of the prompts, in decode those that are written."""
        return None if self.tokens is None else self.tokens / self.latency_s

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products: 2 x MACs."""
        return 2.0 * self.macs

    @property
    def macs_per_example(self) -> float:
        """MACs of one example: what EfficientNet-era tables call FLOPs."""
        return self.macs / self.batch

    # roofline -----------------------------------------------------------------

    @property
    def peak_flops_per_s(self) -> float:
        """Matrix peak of the whole chip in the compute dtype."""
        return self.machine.device.peak_flops_per_s(self.machine.precision.compute.name)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Nominal bandwidth of the main memory."""
        return self.machine.device.main_memory.bandwidth_bytes_per_s

    @property
    def ridge_flops_per_byte(self) -> float:
        """Intensity at which the roof bends."""
        return self.peak_flops_per_s / self.bandwidth_bytes_per_s

    @property
    def intensity_flops_per_byte(self) -> float:
        """Operational intensity I = FLOPs / traffic; 0 where nothing moves."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else 0.0

    @property
    def attainable_flops_per_s(self) -> float:
        """C_ideal = min(I x bandwidth, peak); the bandwidth is that of the levels that serve the traffic."""
        return float(
            combine.attainable_flops_per_s(
                self.intensity_flops_per_byte,
                peak_flops_per_s=self.peak_flops_per_s,
                bandwidth_bytes_per_s=self.served_bandwidth_bytes_per_s,
            )
        )

    @property
    def served_bandwidth_bytes_per_s(self) -> float:
        """Nominal bandwidth at which the traffic is served: that of the main memory where nothing stays on chip."""
        return self.traffic_bytes / self.ideal_memory_s if self.ideal_memory_s else self.bandwidth_bytes_per_s

    @property
    def achieved_flops_per_s(self) -> float:
        """C = FLOPs / latency."""
        return self.flops / self.latency_s

    @property
    def efficiency(self) -> float:
        """Execution efficiency E = C / C_ideal, on the runtime's own traffic; 0 without matrix products."""
        return self.achieved_flops_per_s / self.attainable_flops_per_s if self.macs else 0.0

    # what takes the time ------------------------------------------------------

    @cached_property
    def bound_shares(self) -> dict[str, float]:
        """Share of the latency spent in kernels of each bound; program start and exposed host time are overhead."""
        rows = self.kernel_rows
        weights = (self.lowered.table.kernels.times * self.costs.time_s)[rows]
        time_s = np.bincount(self.costs.bound[rows], weights=weights, minlength=len(BOUNDS))
        time_s[BOUNDS.index("overhead")] += max(0.0, self.latency_s - self.device_s)
        total_s = max(self.latency_s, float(time_s.sum()))  # sums in another order differ in the last bit
        return {name: float(t / total_s) for name, t in zip(BOUNDS, time_s, strict=True)}

    @property
    def bound(self) -> str:
        """What most of the latency is bound by."""
        return max(self.bound_shares, key=lambda name: self.bound_shares[name])

    # memory -------------------------------------------------------------------

    @property
    def memory_bytes(self) -> dict[str, float]:
        """What the peak memory is made of, on all busy cores; the activations are those at the widest point."""
        cores = self.busy_cores
        parts = {
            "weights": self.weight_bytes * cores,
            "state" if self.step is None else "cache": self.cache_bytes,
            "saved activations": self.saved_bytes,
            "gradients and optimizer": self.state_bytes * cores,
        }
        return parts | {"activations": self.peak_memory_bytes - sum(parts.values())}

    @property
    def memory_capacity_bytes(self) -> float:
        """Capacity of the main memory."""
        return self.machine.device.main_memory.capacity_bytes

    @property
    def fits(self) -> bool:
        """Whether weights and activations fit into the main memory."""
        return self.peak_memory_bytes <= self.usable_bytes

    @property
    def usable_bytes(self) -> float:
        """The main memory; of an engine that serves language models the share of it that it uses."""
        return self.memory_capacity_bytes * (1.0 if self.step is None else self.runtime_spec.memory_share)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know before trusting the numbers."""
        limits = self.numbers.limits if self.numbers else ()
        if self.fits:
            return limits
        need, have = self.peak_memory_bytes / 2**30, self.usable_bytes / 2**30
        text = f"{self.model} at batch {self.batch} needs {need:.1f} GiB, {self.device} has {have:.1f} GiB"
        return (f"{text}: it does not fit{self._largest}", *limits)

    @property
    def _largest(self) -> str:
        """The batch of a decoder's step that would fit: all but the weights grows with the sequences."""
        if self.step is None or self.decoding:
            return ""
        weights = self.weight_bytes * self.busy_cores
        largest = int((self.usable_bytes - weights) // ((self.peak_memory_bytes - weights) / self.batch))
        return f", the largest batch that does is {largest:,}" if largest > 0 else ", no batch does"

    # what is not known ------------------------------------------------------------

    @cached_property
    def fact_effects(self) -> FactEffects:
        """Log of the factor on the latency with each unverified fact of the device at its low and its high end."""
        return effects_of_facts(self.lowered, self.machine, program_s=self.program_s, latency_s=self.latency_s)

    @cached_property
    def fact_range(self) -> FactRange:
        """Between which factors the unverified facts of the device leave the latency."""
        return fact_range([(self.fact_effects, 1.0)])

    # kernels ------------------------------------------------------------------

    @cached_property
    def kernel_rows(self) -> Index:
        """Row of the kernel table for every kernel of the run, in execution order."""
        block = self.lowered.table.kernels.block
        by_block = np.argsort(block, kind="stable")
        start = np.searchsorted(block[by_block], np.arange(self.lowered.table.block_count + 1))
        return np.concatenate([by_block[start[b] : start[b + 1]] for b in self.lowered.order])

    def _read_bytes(self, role: int) -> Array:
        """Return the bytes that one run of each kernel reads of tensors in a role."""
        a, count = self.lowered.table.accesses, self.lowered.table.kernel_count
        return fold.segment_sum((a.role == role) * a.elements * a.element_bytes, a.kernel, count)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """One row per kernel of the fullest core in execution order; units are in the column names.

        Counts and times are those of one core, of all `count` runs of the kernel; share is of the latency.
        """
        import pandas as pd

        lowered, costs, rows = self.lowered, self.costs, self.kernel_rows
        table, labels = lowered.table.kernels, lowered.table.labels
        per_block = np.bincount(table.block, minlength=lowered.table.block_count)
        steps = np.repeat(np.arange(len(lowered.order)), per_block[lowered.order])
        found = [labels[i] for i in table.label[rows]]
        blocks = [lowered.names[i] for i in steps]
        times = table.times[rows]
        macs, traffic, time_s = times * table.macs[rows], times * table.traffic_bytes[rows], times * costs.time_s[rows]
        share_of_chip = 1.0 / self.device_spec.cores
        intensity = np.divide(2.0 * macs, traffic, out=np.zeros_like(macs), where=traffic > 0)
        ideal_s = times * costs.ideal_memory_s[rows]
        attainable = combine.attainable_flops_per_s(
            intensity,
            peak_flops_per_s=self.peak_flops_per_s * share_of_chip,
            bandwidth_bytes_per_s=np.divide(traffic, ideal_s, out=np.zeros_like(traffic), where=ideal_s > 0),
        )
        achieved = 2.0 * macs / time_s
        return pd.DataFrame(
            {
                "kernel": [f"{b}/{label.name}" if b else label.name for b, label in zip(blocks, found, strict=True)],
                "stage": [lowered.stages[i] for i in steps],
                "block": blocks,
                "ops": [" + ".join(label.ops) for label in found],
                "kind": [label.kind for label in found],
                "count": times.astype(np.int64),
                "time_s": time_s,
                "share": time_s / self.latency_s,
                "bound": [BOUNDS[i] for i in costs.bound[rows]],
                **dict(zip((f"{engine}_time_s" for engine in ENGINES), times * costs.engine_s[:, rows], strict=True)),
                "floor_s": times * costs.floor_s[rows],
                "conversion_time_s": times * costs.conversion_s[rows],
                "host_s": times * costs.host_s[rows],
                "macs": macs,
                "flops": 2.0 * macs,
                "vector_ops": times * table.vector_ops[rows],
                "traffic_bytes": traffic,
                "weight_traffic_bytes": times * self._read_bytes(WEIGHT)[rows],
                "state_traffic_bytes": times * self._read_bytes(STATE)[rows],
                "padded_bytes": times * costs.padded_bytes[rows],
                "intensity_flops_per_byte": intensity,
                "attainable_flops_per_s": attainable,
                "efficiency": np.divide(achieved, attainable, out=np.zeros_like(achieved), where=attainable > 0),
            }
        )
