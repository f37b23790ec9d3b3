"""Whether a network that was searched for one platform stays ahead on the others: `rf.transfer_matrix`.

Networks are of the EfficientNet-X space, and every candidate is scored as its plain twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.arch.load import model
from roofline.numeric import Array
from roofline.search.accuracy.structural import Structural
from roofline.search.evolution.evolve import evolve
from roofline.search.evolution.objective import Objective
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space

if TYPE_CHECKING:
    import pandas as pd

BASE = "efficientnet-b0"
BATCH = 128
EVALUATIONS = 500_000
#: what a device runs instead of its default: the paper's own stack on the V100
RUNTIMES = {"v100": "tensorflow"}
PLATFORMS = ("tpu-v2", "tpu-v3", "tpu-v4i", "v100", "a100-40gb")


@dataclass(frozen=True, kw_only=True, eq=False)
class Winner:
    """The best network of one seed, beside the base network; scores are those of plain twins."""

    genome: NDArray[np.int8]
    latency_s: Array
    base_latency_s: Array
    score: float
    base_score: float
    plain_score: float
    macs: float
    base_macs: float
    seconds: float

    @property
    def speedup(self) -> Array:
        """How much faster than the base network, per device of the oracle."""
        return self.base_latency_s / self.latency_s


def best_of(
    oracle: Oracle,
    device: str | None,
    seed: int,
    *,
    what: Literal["latency", "macs"] = "latency",
    evaluations: int = EVALUATIONS,
) -> Winner:
    """Return the fastest network on a device (or that of fewest MACs) whose score is not below the base network's."""
    space = oracle.space
    twin, plain = Structural(oracle), Structural(oracle, twin=False)
    base = space.encode(model(BASE))[None]
    own = oracle if device is None else oracle.only(device)
    base_score = float(twin.predict(base).mean[0])
    objective = Objective(oracle=own, accuracy=twin, min_accuracy=base_score, minimise=what)
    result = evolve(space, objective, evaluations=evaluations, seed=seed, baselines=False)
    genome = result.best.genomes
    counts = oracle.counts(np.concatenate([genome, base]), ("macs",))["macs"]
    return Winner(
        genome=genome[0],
        latency_s=oracle.latency_s(genome)[0],
        base_latency_s=oracle.latency_s(base)[0],
        score=float(result.best.accuracy[0]),
        base_score=base_score,
        plain_score=float(plain.predict(genome).mean[0]),
        macs=float(counts[0]),
        base_macs=float(counts[1]),
        seconds=result.seconds,
    )


def transfer(
    devices: Sequence[str] = PLATFORMS,
    runtimes: Mapping[str, str] | None = None,
    seed: int = 0,
    evaluations: int = EVALUATIONS,
) -> tuple[tuple[str, ...], Array]:
    """Return row names, and the speed-up over EfficientNet-B0 of each platform's winner (row) on each platform.

    The last row is the winner of the search for few multiply-accumulates.
    """
    runtimes = {name: stack for name, stack in (RUNTIMES if runtimes is None else runtimes).items() if name in devices}
    oracle = Oracle(search_space("efficientnet-x"), list(devices), batch=BATCH, runtime=runtimes)
    speedups = [best_of(oracle, device, seed, evaluations=evaluations).speedup for device in devices]
    speedups.append(best_of(oracle, None, seed, what="macs", evaluations=evaluations).speedup)
    return (*oracle.devices, "few MACs"), np.array(speedups)


def transfer_matrix(
    devices: Sequence[str] = PLATFORMS, *, kept: bool = False, seed: int = 0, evaluations: int = EVALUATIONS
) -> pd.DataFrame:
    """Return how much faster than EfficientNet-B0 the network searched for one platform (row) is on each (column).

    Parameters
    ----------
    devices
        Platforms to search for, batch 128; V100 runs TensorFlow, as in the publication.
    kept
        Return the share of each platform's own gain that a network keeps there, instead of speed-ups.
    seed, evaluations
        Of each search.

    Raises
    ------
    InputError, UnknownNameError
        No or unknown devices.
    """
    import pandas as pd

    names, speedup = transfer(devices, seed=seed, evaluations=evaluations)
    values = gain_kept(speedup) if kept else speedup
    return pd.DataFrame(values, index=pd.Index(names, name="searched on"), columns=list(devices))


def gain_kept(speedup: Array) -> Array:
    """Return the share of the native gain that each winner (row) keeps on each platform: 1 on the diagonal."""
    native = np.diag(speedup)
    return (speedup - 1.0) / (native - 1.0)
