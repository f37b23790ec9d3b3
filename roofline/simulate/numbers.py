"""The numbers of a run: its counts, its times, and where it stands under the roof."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.cost import combine
from roofline.device.spec import Device
from roofline.runtime.spec import Runtime
from roofline.simulate.evaluate import KernelCosts
from roofline.simulate.lowering import Lowered
from roofline.simulate.machine import Machine


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
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
        Stored weights of one copy; weights and live activations of all busy cores.
    saved_bytes, state_bytes
        Activations kept for a backward pass on all busy cores; gradients and optimizer states of one copy of weights.
    optimizer, recompute
        Of a training step: None and False without one.
    batch, busy_cores
        Examples per run, and the cores they are spread over.
    """

    lowered: Lowered
    machine: Machine
    costs: KernelCosts
    image_size: int | None
    mode: str
    optimizer: str | None
    recompute: bool
    batch: int
    busy_cores: int
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
    saved_bytes: float
    state_bytes: float
    peak_memory_bytes: float

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
