"""What a search maximises, by name: MnasNet's reward, and those that plugins register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from roofline.errors import InputError
from roofline.names import lookup
from roofline.numeric import Array
from roofline.plugins import find_plugins
from roofline.registry import filed
from roofline.search.space.genomes import Genomes

#: (objective, genomes (N, L), latency_s (N, D), accuracy (N,)) -> reward (N,), the larger the better
Reward: TypeAlias = Callable[[Any, Genomes, Array, Array], Array]
R = TypeVar("R", bound=Reward)
REWARDS: dict[str, Reward] = {}
#: what is maximised where nothing else is asked for
DEFAULT = "mnasnet"


def reward(name: str) -> Callable[[R], R]:
    """Register the decorated function under the name that ``--objective`` takes.

    It gets the `Objective`, whose `soft_targets_s` (D,), `exponent`, `oracle` and `space` it may use.

    Raises
    ------
    GraphError
        The name is taken.
    """
    return filed(REWARDS, (name,), lambda known: f"objective {known!r} is registered twice")


def rewarded(name: str, objective: Any, genomes: Genomes, latency_s: Array, accuracy: Array) -> Array:
    """Return the reward (N,) of that name.

    Raises
    ------
    UnknownNameError
        There is none.
    InputError
        It is not N finite numbers.
    """
    found = np.asarray(known_reward(name)(objective, genomes, latency_s, accuracy), dtype=np.float64)
    if found.shape != accuracy.shape or not np.isfinite(found).all():
        raise InputError(f"objective {name!r} must return {len(accuracy)} finite numbers, got shape {found.shape!r}")
    return found


def known_reward(name: str) -> Reward:
    """Return the reward of a name, in any spelling; raises UnknownNameError where there is none."""
    find_plugins()
    return lookup(name, REWARDS, "objective")


@reward(DEFAULT)
def mnasnet(objective: Any, genomes: Genomes, latency_s: Array, accuracy: Array) -> Array:
    """Accuracy x (latency / soft target)^w over all devices that have one (Tan et al., arXiv 1807.11626)."""
    targets = objective.soft_targets_s
    if targets is None:
        return accuracy
    aimed = np.isfinite(targets)
    return np.asarray(accuracy * np.prod((latency_s[:, aimed] / targets[aimed]) ** objective.exponent, axis=1))
