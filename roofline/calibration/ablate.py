"""What each modelled effect is worth: the error with the effect taken out, everything else unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roofline.calibration.measured import Measurement
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.offsets import with_offsets
from roofline.calibration.predict import Prepared, prepare
from roofline.numeric import Array
from roofline.runtime.spec import Runtime
from roofline.simulate.machine import Machine
from roofline.stats import Accuracy, accuracy

#: a rate so high that the work it stands for costs nothing
FREE = 1e9
#: a share so small that nothing stays on chip
NOTHING = 1e-12


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
    kinds: tuple[str, ...] = ("gpu", "tpu")
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


GPU, TPU, BOTH = ("gpu",), ("tpu",), ("gpu", "tpu")


def _constant(name: str, without: str, kinds: tuple[str, ...] = BOTH, **values: Any) -> Effect:
    """Return an effect that constants of the runtime take out."""
    return Effect(name=name, without=without, kinds=kinds, runtime=values)


def _fusion(name: str, without: str, kinds: tuple[str, ...] = BOTH, **values: Any) -> Effect:
    """Return an effect that another fusion policy takes out."""
    return Effect(name=name, without=without, kinds=kinds, runtime=values, fuses=True)


EFFECTS: tuple[Effect, ...] = (
    _fusion("fusion", "every op is a kernel of its own", epilogue=(), prologue=()),
    _fusion("fused attention", "attention as separate products and softmax", GPU, attention="decomposed"),
    Effect(name="saved activations", without="inference, which saves nothing", kinds=TPU, mode="inference"),
    _constant("achieved matrix rate", "matrix units at their peak", matrix_fraction=1.0),
    Effect(name="CTA tile choice", without="only tiles of 128 x 128", kinds=GPU, machine=_one_tile),
    Effect(name="split-K", without="no cut of K", kinds=GPU, machine=_whole_products),
    _constant("operand fetch", "operands of a tile are free", GPU, tile_reuse_elements=0.0, lane_reuse_elements=0.0),
    _constant("K loop", "loops start and end at no cost", GPU, k_loop_elements=0.0),
    _constant("channel alignment", "no padding of channels", GPU, alignment_elements=1.0),
    _constant("channels-first cost", "both memory formats equal", GPU, nchw_fraction=1.0),
    _constant("grouped kernels", "groups as fast as one product", GPU, grouped_fraction=1.0),
    _constant("weight load", "tiles of weights load at no cost", TPU, weight_load_rows=0.0),
    _constant("tap folding", "every kernel tap is a pass", TPU, tap_folding=0.0),
    _constant("partial sums", "passes over K are added for nothing", TPU, partial_sum_ops=0.0),
    _constant("vector work", "the vector unit is infinitely fast", vector_fraction=FREE),
    _constant("sums of own results", "kernels stream what they add up and write", GPU, sum_wait=0.0),
    Effect(name="transcendental rate", without="as fast as additions", machine=_fast_transcendentals),
    _constant("window loads", "elements of sliding windows load at no cost", window_ops=0.0),
    _constant("element loads", "elements of tensors load at no cost", access_ops=0.0, broadcast_ops=0.0),
    _constant("operands of other shapes", "elements beside smaller operands load like others", broadcast_ops=0.0),
    _constant("Winograd", "convolutions on vector lanes by their definition", winograd=False),
    _constant("dtype conversion", "conversions are free", conversion_ops=0.0, emulated_conversion_ops=0.0),
    _constant("achieved bandwidth", "memory at its nominal bandwidth", bandwidth_fraction=1.0),
    _constant("strided copies", "copies in another order as fast as plain ones", movement_fraction=1.0),
    Effect(
        name="second fetches", without="borders of blocks and long rows are read once", kinds=GPU, machine=_one_fetch
    ),
    _constant("memory ramp", "the first byte comes at once", memory_latency_s=0.0),
    Effect(name="layout padding", without="tensors are stored dense", kinds=TPU, machine=_dense_layout),
    _constant("residency", "nothing stays on chip", residency_share=NOTHING),
    _constant("order of results", "results stay in the compiler's order", TPU, result_padding=0.0),
    _constant("tracing", "a program is traced once", TPU, trace_s=0.0),
    _constant("imperfect overlap", "engines overlap fully", overlap=1.0),
    _constant("any overlap", "engines take turns", overlap=0.0),
    _constant("kernel floor", "kernels start at no cost", floor_s=0.0),
    _constant("host queue", "the host is never late", GPU, host_s=0.0),
)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Statistics of one set of rows with an effect and without it."""

    effect: Effect
    whole: Accuracy
    without: Accuracy

    @property
    def moved(self) -> bool:
        """Whether the rows feel the effect at all."""
        return self.whole != self.without


def ablate(
    measurements: Sequence[Measurement], *, graphs: GraphSource | None = None, effects: Sequence[Effect] = EFFECTS
) -> list[Ablation]:
    """Return the accuracy with and without each effect, for rows of one kind of device.

    Constants stay as they are: an effect that others could make up for after a new fit shows its whole worth here, and
    its share that a single factor cannot make up for in the scaled error.
    """
    rows = [m for m in measurements if m.apart is None]
    prepared = prepare(rows, graphs=graphs)
    kinds = {group.device.kind for group in prepared.groups}
    whole = _accuracy(prepared, prepared.predict())
    found = []
    for effect in effects:
        if kinds & set(effect.kinds):
            without = _accuracy(*_without(effect, prepared, rows, graphs))
            found.append(Ablation(effect=effect, whole=whole, without=without))
    return found


def _without(
    effect: Effect, prepared: Prepared, rows: Sequence[Measurement], graphs: GraphSource | None
) -> tuple[Prepared, Array]:
    if effect.mode is not None:
        prepared = prepare([replace(m, mode=effect.mode) for m in rows], graphs=graphs)
    elif effect.fuses:
        prepared = prepare(rows, graphs=graphs, adapt=effect.adapt)
    return prepared, prepared.predict(effect.adapt, change=effect.machine)


def _accuracy(prepared: Prepared, predicted_s: Array) -> Accuracy:
    measured_s = prepared.measured_s
    return accuracy(with_offsets(prepared.measurements, predicted_s, measured_s)[0], measured_s)
