"""What each modelled effect is worth: the error with the effect taken out, everything else unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from roofline.calibration.measured import Measurement
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.offsets import with_offsets
from roofline.calibration.predict import Prepared, prepare
from roofline.engine.machine import Machine
from roofline.numeric import Array
from roofline.software.constant import CHIPS, GPU, TPU, Constant, constants_of
from roofline.software.libraries.library import KINDS, Library
from roofline.software.spec import CONSTANTS, Runtime
from roofline.stats import Agreement, agreement


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect, and how to do without it.

    Attributes
    ----------
    without
        What the model does when the effect is taken out.
    runtime, machine
        The change that takes it out.
    fuses
        The change alters which kernels there are, so that networks are lowered again.
    mode
        Mode of a run to take in place of the rows' own.
    """

    name: str
    without: str
    kinds: tuple[str, ...] = CHIPS
    runtime: dict[str, Any] | None = None
    machine: Callable[[Machine], Machine] | None = None
    fuses: bool = False
    mode: str | None = None

    def adapt(self, runtime: Runtime) -> Runtime:
        """Return a runtime without the effect."""
        return replace(runtime, **self.runtime) if self.runtime else runtime


def _dense_layout(machine: Machine) -> Machine:
    return replace(machine, lanes=1.0, sublanes=1.0)


def _fast_transcendentals(machine: Machine) -> Machine:
    return replace(machine, transcendental_ops_per_s=machine.simple_ops_per_s)


def _one_fetch(machine: Machine) -> Machine:
    return replace(machine, fetches_again=0.0)


def _one_tile(machine: Machine) -> Machine:
    return replace(machine, tiles=((128, 128),))


def _whole_products(machine: Machine) -> Machine:
    return replace(machine, splits=(1,))


def _fusion(name: str, without: str, kinds: tuple[str, ...] = CHIPS, **values: Any) -> Effect:
    """Return an effect that another fusion policy takes out."""
    return Effect(name=name, without=without, kinds=kinds, runtime=values, fuses=True)


def _of_constants(constants: Iterable[Constant]) -> dict[str, Effect]:
    """Return what constants take out by a value of their own, by name: each, and those that are part of it."""
    known = [(c, c.without) for c in constants if c.without is not None]
    return {
        w.effect: Effect(
            name=w.effect,
            without=w.says,
            kinds=w.kinds,
            runtime={c.field: w.value} | {c.field: p.value for c, p in known if p.part_of == w.effect},
        )
        for c, w in known
        if w.effect is not None
    }


def effects_of(constants: Iterable[Constant]) -> tuple[Effect, ...]:
    """Return every effect, in the order of `LISTED`; those of constants that it does not name follow."""
    own = _of_constants(constants)
    listed = [own.pop(effect) if isinstance(effect, str) else effect for effect in LISTED]
    return (*listed, *own.values())


#: effects that no single constant stands for, and the place of the others in the list
LISTED: tuple[Effect | str, ...] = (
    _fusion("fusion", "every op is a kernel of its own", epilogue=(), prologue=()),
    _fusion("fused attention", "attention as separate products and softmax", GPU, attention="decomposed"),
    Effect(name="saved activations", without="inference, which saves nothing", kinds=TPU, mode="inference"),
    "achieved matrix rate",
    Effect(name="CTA tile choice", without="only tiles of 128 x 128", kinds=GPU, machine=_one_tile),
    Effect(name="split-K", without="no cut of K", kinds=GPU, machine=_whole_products),
    *("operand fetch", "K loop", "channel alignment", "channels-first cost", "grouped kernels", "weight load"),
    *("tap folding", "partial sums", "vector work", "sums of own results"),
    Effect(name="transcendental rate", without="as fast as additions", machine=_fast_transcendentals),
    *("window loads", "element loads", "operands of other shapes", "Winograd", "dtype conversion"),
    *("achieved bandwidth", "strided copies"),
    Effect(
        name="second fetches", without="borders of blocks and long rows are read once", kinds=GPU, machine=_one_fetch
    ),
    "memory ramp",
    Effect(name="layout padding", without="tensors are stored dense", kinds=TPU, machine=_dense_layout),
    *("residency", "order of results", "tracing", "imperfect overlap"),
    Effect(name="any overlap", without="engines take turns", runtime={"overlap": 0.0}),
    *("kernel floor", "host queue"),
)

EFFECTS = effects_of(CONSTANTS)


def _without_in_libraries(machine: Machine, effect: str) -> Machine:
    return replace(machine, libraries=machine.libraries.without(effect))


def library_effects(kinds: Iterable[type[Library]]) -> tuple[Effect, ...]:
    """Return the effects of constants of kernel libraries, named after the kind of library."""
    known = [(cls.kind, c.without) for cls in kinds for c in constants_of(cls) if c.without is not None]
    return tuple(
        Effect(
            name=f"{kind}: {w.effect}",
            without=w.says,
            kinds=w.kinds,
            machine=partial(_without_in_libraries, effect=w.effect),
        )
        for kind, w in known
        if w.effect is not None
    )


LIBRARY_EFFECTS = library_effects(KINDS.values())


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Statistics of one set of rows with an effect and without it."""

    effect: Effect
    whole: Agreement
    without: Agreement

    @property
    def moved(self) -> bool:
        """Whether the rows feel the effect at all."""
        return self.whole != self.without


def ablate(
    measurements: Sequence[Measurement],
    *,
    graphs: GraphSource | None = None,
    effects: Sequence[Effect] = (*EFFECTS, *LIBRARY_EFFECTS),
) -> list[Ablation]:
    """Return the agreement with and without each effect, for rows of one kind of device.

    Constants stay as they are: an effect that others could make up for after a new fit shows its whole worth here, and
    its share that a single factor cannot make up for in the scaled error.
    """
    rows = [m for m in measurements if m.apart is None]
    prepared = prepare(rows, graphs=graphs)
    kinds = {group.device.kind for group in prepared.groups}
    whole = _agreement(prepared, prepared.predict())
    found = []
    for effect in effects:
        if kinds & set(effect.kinds):
            without = _agreement(*_without(effect, prepared, rows, graphs))
            found.append(Ablation(effect=effect, whole=whole, without=without))
    return found


def _without(
    effect: Effect, prepared: Prepared, rows: Sequence[Measurement], graphs: GraphSource | None
) -> tuple[Prepared, Array]:
    if effect.mode is not None:
        prepared = prepare([replace(m, mode=effect.mode) for m in rows], graphs=graphs)
    elif effect.fuses:
        prepared = prepare(rows, graphs=graphs, adapt=effect.adapt)
    return prepared, prepared.predict(effect.adapt, machines=effect.machine)


def _agreement(prepared: Prepared, predicted_s: Array) -> Agreement:
    measured_s = prepared.measured_s
    return agreement(with_offsets(prepared.measurements, predicted_s, measured_s)[0], measured_s)
