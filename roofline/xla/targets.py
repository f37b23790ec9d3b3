"""The TPUs that the compiler can be asked about, and what one program runs on there."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.errors import InputError, nearest
from roofline.hardware.spec import Device


@dataclass(frozen=True, kw_only=True)
class Target:
    """A chip as the compiler knows it.

    Attributes
    ----------
    topology
        Its name for `jax.experimental.topologies.get_topology_desc`.
    programs
        Programs that share the batch of a chip: one for each device that JAX sees on it.
    clock_hz
        In which the compiler's cycles are counted.
    """

    topology: str
    programs: int
    clock_hz: float


#: device -> name of its smallest topology, and the devices that JAX sees on a chip: the two cores of TPU v2 and v3 are
#: two, those of v5p are one, and in a topology of v4 that is only compiled for they are two again (libtpu 0.0.42.1)
TOPOLOGIES = {
    "tpu-v2": ("v2:1x1", 2),
    "tpu-v3": ("v3:1x1", 2),
    "tpu-v4i": ("v4 lite:1x1x1", 1),
    "tpu-v4": ("v4:1x1x1", 2),
    "tpu-v5e": ("v5e:1x1", 1),
    "tpu-v5p": ("v5p:1x1x1", 1),
    "tpu-v6e": ("v6e:1x1", 1),
}
#: clocks that no device file states. TPU v6e: compiled ahead of time with libtpu 0.0.42.1, reading and writing 2 GiB
#: takes 2.84e6 cycles, at this clock the share of the HBM bandwidth (0.81) that the same program is given on v5e
CLOCKS_HZ = {"tpu-v6e": 1.75e9}


def target_of(device: Device, topology: str | None = None) -> Target:
    """Return what a device is called by the compiler; a device of one's own needs the `topology` that it resembles.

    Raises
    ------
    InputError
        The device is no TPU, or one that has no topology known here, or no clock.
    """
    if device.kind != "tpu":
        raise InputError(f"{device.name!r} is a {device.kind.upper()}: XLA's ahead-of-time compiler knows TPUs only")
    clock_hz = device.clock_hz or CLOCKS_HZ.get(device.name)
    if clock_hz is None:
        raise InputError(f"{device.name!r} states no clock: the compiler's cycles cannot become times")
    if topology is not None:
        return Target(topology=topology, programs=device.cores, clock_hz=clock_hz)
    if device.name not in TOPOLOGIES:
        raise InputError(f"no topology is known for {device.name!r}{nearest(device.name, TOPOLOGIES)}; name one")
    name, programs = TOPOLOGIES[device.name]
    return Target(topology=name, programs=programs, clock_hz=clock_hz)
