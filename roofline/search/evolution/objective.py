"""What a search wants: a reward with soft targets, hard limits, and how a population is judged by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roofline.errors import InputError, nearest
from roofline.numeric import Array
from roofline.search.accuracy.protocol import AccuracyOracle, checked
from roofline.search.evolution.goals import Goal, goals
from roofline.search.evolution.rewards import DEFAULT, known_reward, rewarded
from roofline.search.oracle.latency import Oracle
from roofline.search.space.base import BaseSpace
from roofline.search.space.genomes import Genomes
from roofline.text import words

#: exponent of MnasNet's soft reward (Tan et al., arXiv 1807.11626; EfficientNet-X uses -0.07 to -0.09)
EXPONENT = -0.07
#: an infeasible candidate is worth less than any feasible one, and the less the farther off it is
INFEASIBLE = -1e30


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A judged population.

    Attributes
    ----------
    latency_s
        (N, D).
    accuracy, half_width, in_domain
        See `Prediction`.
    violation
        0 where every hard limit is kept, else the sum of relative excesses.
    fitness
        The reward, or what orders infeasible candidates below it.
    """

    genomes: NDArray[np.int8]
    latency_s: Array
    accuracy: Array
    half_width: Array
    in_domain: NDArray[np.bool_]
    violation: Array
    fitness: Array

    def take(self, rows: Any) -> Evaluation:
        """Return some of the candidates."""
        return Evaluation(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    @staticmethod
    def join(parts: list[Evaluation]) -> Evaluation:
        """Return populations one after another."""
        names = Evaluation.__dataclass_fields__
        return Evaluation(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __len__(self) -> int:
        return len(self.genomes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """MnasNet's reward accuracy x (latency / target)^w over all devices, under limits that no winner exceeds.

    Parameters
    ----------
    oracle, accuracy
        What answers; both of one space.
    target_latency_s
        One for all devices, or device -> target. Without it the reward is the accuracy.
    hard
        Targets are limits, as `max_latency_s`, and the reward is the accuracy. By default they are soft: the reward
        falls with the latency, and the best candidate may be slower than its target.
    exponent
        w of the reward of soft targets.
    max_latency_s, max_macs, max_params, max_memory_bytes, min_accuracy
        Hard limits; latency and memory may be mappings device -> limit. Multiply-accumulates are of one example.
    in_domain
        Refuse candidates that the accuracy oracle knows nothing about (only where it predicts accuracies).
    minimise
        Reward the inverse of the latency (geometric mean over devices), of MACs or of parameters instead, with the
        accuracy as a limit.
    reward
        What is maximised otherwise: ``mnasnet``, or one that a plugin registers.
    """

    oracle: Oracle
    accuracy: AccuracyOracle
    target_latency_s: float | Mapping[str, float] | None = None
    exponent: float = EXPONENT
    hard: bool = False
    max_latency_s: float | Mapping[str, float] | None = None
    max_macs: float | None = None
    max_params: float | None = None
    max_memory_bytes: float | Mapping[str, float] | None = None
    min_accuracy: float | None = None
    in_domain: bool = True
    minimise: Literal["latency", "macs", "params"] | None = None
    reward: str = DEFAULT
    #: latencies (D,) [s] of each kind, infinite where a device has none; None without any
    soft_targets_s: Array | None = field(init=False, default=None)
    hard_limits_s: Array | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises
        ------
        InputError
            A limit is not positive, or names a device that the oracle lacks; hard targets without a target, or with an
            exponent.
        UnknownNameError
            There is no reward of that name.
        """
        space = getattr(self.accuracy, "space", self.space)
        if space.hash != self.space.hash:
            raise InputError(f"accuracy oracle is of space {space.name!r}, latency oracle of {self.space.name!r}")
        if self.minimise not in (None, "latency", "macs", "params"):
            raise InputError(
                f"cannot minimise {self.minimise!r}{nearest(str(self.minimise), ['latency', 'macs', 'params'])}"
            )
        known_reward(self.reward)
        if self.minimise is not None and self.reward != DEFAULT:
            raise InputError(f"give minimise or reward, got {self.minimise!r} and {self.reward!r}")
        limits = self._per_device("max_latency_s")
        targets: Array | None = self._per_device("target_latency_s")
        if self.hard and targets is None:
            raise InputError("hard says that targets are limits, and there is no target: give target_latency_s")
        if self.hard and self.exponent != EXPONENT:
            raise InputError(f"a hard target has no reward to raise to exponent {self.exponent!r}: leave one out")
        if self.hard and targets is not None:
            limits = targets if limits is None else np.minimum(targets, limits)
            targets = None
        object.__setattr__(self, "soft_targets_s", targets)
        object.__setattr__(self, "hard_limits_s", limits)
        self._per_device("max_memory_bytes")
        for name in ("max_macs", "max_params"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value!r}")

    @property
    def space(self) -> BaseSpace:
        """The space that is searched."""
        return self.oracle.space

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Return genomes (N, L) judged.

        Raises
        ------
        InputError
            A genome is no network, or the accuracy oracle returns NaN or the wrong shape.
        """
        latency = self.oracle.latency_s(genomes)
        prediction = checked(self.accuracy, genomes)
        violation = np.zeros(len(genomes))
        for _, values, limit in self.limits(genomes, latency, prediction.mean):
            violation += _excess(values, limit).reshape(len(genomes), -1).sum(axis=1)
        if self.in_domain and self.accuracy.kind == "accuracy":
            violation += ~prediction.in_domain
        reward = self._reward(genomes, latency, prediction.mean)
        return Evaluation(
            genomes=np.asarray(genomes, dtype=np.int8),
            latency_s=latency,
            accuracy=prediction.mean,
            half_width=prediction.half_width,
            in_domain=prediction.in_domain,
            violation=violation,
            fitness=np.where(violation > 0, INFEASIBLE * (1.0 + violation), reward),
        )

    def limits(self, genomes: Genomes, latency: Array, accuracy: Array) -> list[tuple[str, Array, Any]]:
        """Return (what, values, largest allowed) of each hard limit; of the accuracy both are negated."""
        found: list[tuple[str, Array, Any]] = []
        if self.hard_limits_s is not None:
            found.append(("latency", latency, self.hard_limits_s))
        if self.max_memory_bytes is not None:
            memory = self.oracle.peak_memory_bytes(genomes)
            found.append(("peak memory", memory, self._per_device("max_memory_bytes")))
        wanted = [
            (n, limit) for n, limit in (("macs", self.max_macs), ("params", self.max_params)) if limit is not None
        ]
        if wanted:
            counts = self.oracle.counts(genomes, [name for name, _ in wanted])
            found += [(name, counts[name], limit) for name, limit in wanted]
        if self.min_accuracy is not None:
            found.append(("accuracy", -accuracy, -self.min_accuracy))
        return found

    def _reward(self, genomes: Genomes, latency: Array, accuracy: Array) -> Array:
        if self.minimise == "latency":
            return np.asarray(np.exp(-np.log(latency).mean(axis=1)))
        if self.minimise is not None:
            return 1.0 / self.oracle.counts(genomes, (self.minimise,))[self.minimise]
        return rewarded(self.reward, self, genomes, latency, accuracy)

    def _per_device(self, name: str) -> Array | None:
        value = getattr(self, name)
        if value is None:
            return None
        devices = self.oracle.devices
        if isinstance(value, Mapping):
            for device in value:
                if device not in devices:
                    raise InputError(
                        f"{name} names device {device!r}, which the oracle lacks{nearest(device, devices)}"
                    )
            numbers = [float(value.get(device, np.inf)) for device in devices]
        else:
            numbers = [float(value)] * len(devices)
        if not all(number > 0 for number in numbers):
            raise InputError(f"{name} must be positive, got {value!r}")
        return np.array(numbers)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the objective: a history of another one is not continued."""
        names = words(
            "target_latency_s exponent hard max_latency_s max_macs max_params max_memory_bytes min_accuracy in_domain"
            " minimise reward"
        )
        plain = {n: dict(v) if isinstance(v := getattr(self, n), Mapping) else v for n in names}
        found = plain | {"accuracy": self.accuracy.name, "oracle": self.oracle.hash}
        content = getattr(self.accuracy, "hash", None)  # of a table or a program, which have names of files
        return found if content is None else found | {"accuracy_content": content}

    def goals(self, one: Evaluation) -> list[Goal]:
        """Return the soft targets and hard limits beside what one candidate (one row) reaches."""
        found, devices = [], self.oracle.devices
        if self.soft_targets_s is not None:
            found += goals("soft", "latency", one.latency_s[0], self.soft_targets_s, devices)
        for what, values, limit in self.limits(one.genomes, one.latency_s, one.accuracy):
            found += goals("hard", what, np.ravel(values), np.ravel(limit), devices)
        return found

    def closest(self, evaluation: Evaluation) -> str:
        """Return, of candidates that all exceed a hard limit, which comes closest and what it exceeds."""
        one = evaluation.take([int(np.argmin(evaluation.violation))])
        parts = [goal.missed for goal in self.goals(one) if goal.kind == "hard" and not goal.met]
        if not one.in_domain[0] and self.in_domain and self.accuracy.kind == "accuracy":
            parts.append("it is out of the accuracy oracle's domain")
        return f"closest is {self.space.text(one.genomes[0])}: " + "; ".join(parts)


def _excess(values: Array, limit: Any) -> Array:
    """Return how far values lie over a limit, relative to it: 0 for those that keep it and for no others."""
    found = np.zeros(np.shape(values))
    np.divide(values - limit, np.maximum(np.abs(limit), 1e-12), out=found, where=values > limit)
    return found
