"""The latency of steps of a decoder, for schedulers and simulators of serving: columns in, seconds out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.arch.step import Phase
from roofline.cost import fold
from roofline.engine.options import RunOptions
from roofline.engine.setting import resolve
from roofline.engine.step_columns import Layer, StepMemory, Steps, layers_of, step_costs_s, step_memory
from roofline.errors import InputError
from roofline.hardware.spec import Device
from roofline.numeric import Array

#: contexts that are costed together when one of them is asked for: the next steps of the same sequences ask for others
PAGE = 256
#: more than a step can have new tokens: sizes of a step as one number
MOST_NEW = float(1 << 25)
#: options of a run that a step says
OF_STEP = ("batch", "length", "phase", "context", "prefix", "decoding")
#: steps that are costed at once at most: their columns stay in the cache of a laptop
CHUNK = 16384


class StepOracle:
    """Seconds of any steps of a decoder; equal to `simulate` of each.

    Parameters
    ----------
    model
        A decoder: name, file or `Arch`.
    device
        Name, file or spec.
    **options
        As `simulate`, but for what a step says: batch, length, phase, context, prefix and decoding.

    Notes
    -----
    What was asked once is looked up from then on, with the next `PAGE` contexts of the same batch beside it.

    Examples
    --------
    >>> oracle = StepOracle("llama-3-8b", "h100-sxm", runtime="vllm")
    >>> oracle(batch=[1, 32], new_tokens=1, contexts=[1000, 4000]).shape
    (2,)
    """

    def __init__(self, model: str | Path | Arch, device: str | Path | Device, **options: Unpack[RunOptions]) -> None:
        said = [name for name in OF_STEP if options.get(name) is not None]
        if said:
            raise InputError(f"{said[0]} is said with each step, not of the oracle")
        self.setting = resolve(device, **options)
        self.arch = load_model(model)
        if not self.arch.decodes:
            raise InputError(f"{self.arch.name!r} is no decoder: it keeps no cache, so it has no steps")
        self._layers: dict[Phase, tuple[Layer, ...]] = {}
        self._rows: dict[tuple[str, float, float], int] = {}
        self._page_of = np.full((0, 0), -1, dtype=np.int64)
        self._pages = np.zeros((0, PAGE))

    def __call__(
        self,
        batch: ArrayLike,
        new_tokens: ArrayLike = 1,
        contexts: ArrayLike = 0,
        *,
        decoding: ArrayLike = 0,
        decoding_contexts: ArrayLike = 0,
        phase: Phase | None = None,
        remember: bool = True,
    ) -> Array:
        """Return the latency of each step [s]; arguments are numbers, or columns with a row per step.

        Parameters
        ----------
        batch
            Sequences that get `new_tokens` tokens each.
        new_tokens, contexts
            Of each of these sequences: tokens that enter, and tokens kept before (a mean where they differ).
        decoding, decoding_contexts
            Sequences that get one token beside these, and what they have kept: steps that have any are mixed.
        phase
            Of all steps; by default those of one new token behind a context decode, others without `decoding` prefill.
        remember
            Whether steps near these will be asked for: whole pages of contexts are costed then, and looked up later.

        Raises
        ------
        InputError
            A number is out of range, or beyond the positions of the network.
        """
        sizes = (batch, new_tokens, contexts, decoding, decoding_contexts)
        try:
            given = np.broadcast_arrays(*(np.asarray(size, dtype=np.float64) for size in sizes))
        except (TypeError, ValueError):
            raise InputError(f"columns of a step differ in length, or are no numbers: {sizes!r:.200}") from None
        shape, columns = given[0].shape, [column.ravel() for column in given]
        self._check(*columns)
        found = np.empty(len(columns[0]))
        for name, rows in _by_phase(phase, *columns):
            steps = self._of_core(name, *(column[rows] for column in columns))
            whole = remember and name != "mixed" and bool(np.all(steps.context == np.floor(steps.context)))
            found[rows] = self._looked_up(steps) if whole else self._costed(steps)
        return found.reshape(shape)

    def memory(
        self, batch: ArrayLike, new_tokens: ArrayLike = 1, contexts: ArrayLike = 0, *, phase: Phase = "decode"
    ) -> StepMemory:
        """Return what the chip holds during steps of sequences alike [bytes], a row per step.

        Parameters
        ----------
        batch, new_tokens, contexts, phase
            As for latencies.

        Raises
        ------
        InputError
            A number is out of range, or beyond the positions of the network.
        """
        given = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (batch, new_tokens, contexts)))
        sequences, new, kept = (column.ravel() for column in given)
        zeros = np.zeros(len(sequences))
        self._check(sequences, new, kept, zeros, zeros)
        steps = self._of_core(phase, sequences, new, kept, zeros, zeros)
        found = step_memory(self.layers(phase), steps, self.setting.policy)
        cores = np.ceil(sequences / steps.sequences)
        return StepMemory(**{f.name: getattr(found, f.name) * cores for f in fields(found)})

    def layers(self, phase: Phase) -> tuple[Layer, ...]:
        """Return the distinct blocks of the decoder in a phase; found once."""
        if phase not in self._layers:
            self._layers[phase] = layers_of(self.arch, phase, self.setting.policy)
        return self._layers[phase]

    def _check(self, batch: Array, new: Array, context: Array, decoding: Array, decoding_context: Array) -> None:
        for what, column, least in (
            ("batch", batch, 1),
            ("new_tokens", new, 1),
            ("contexts", context, 0),
            ("decoding", decoding, 0),
            ("decoding_contexts", decoding_context, 0),
        ):
            counts = what in ("batch", "new_tokens", "decoding")
            wrong = ~(column >= least) | (counts & (column != np.floor(column)))
            if wrong.any():
                kind = "whole numbers" if counts else "numbers"
                raise InputError(f"{what} must be {kind} of at least {least}, got {float(column[wrong][0])!r}")
        longest = float(np.maximum(context + new, decoding_context + 1).max(initial=0.0))
        if longest > self.arch.positions:
            raise InputError(
                f"a step of {longest:,.0f} tokens is beyond the {self.arch.positions:,} positions of {self.arch.name!r}"
            )

    def _of_core(self, phase: Phase, batch: Array, new: Array, context: Array, decoding: Array, kept: Array) -> Steps:
        """Return what the fullest core has of each step."""
        sequences = np.ceil(batch / self.setting.cores)
        return Steps(
            phase=phase,
            sequences=sequences,
            new=new,
            context=context,
            decoding=np.ceil(decoding * (sequences / batch)),
            decoding_context=kept,
        )

    def _costed(self, steps: Steps) -> Array:
        """Return the latency of steps by their kernels [s], some thousand at once."""
        setting = self.setting
        layers, found = self.layers(steps.phase), np.empty(len(steps))
        for start in range(0, len(steps), CHUNK):
            rows = slice(start, start + CHUNK)
            part = steps.take(rows)
            device_s, host_s = step_costs_s(layers, part, setting.policy, setting.machine)
            run_s = setting.runtime.run_s(part.sequences + part.decoding)
            found[rows] = fold.latency_s(device_s, host_s, program_s=run_s)
        return found

    def _looked_up(self, steps: Steps) -> Array:
        """Return the same by pages of contexts that are costed when first asked for."""
        entering = steps.sequences * MOST_NEW + steps.new
        kinds, kind_of = np.unique(entering, return_inverse=True)
        rows = np.array([self._row(steps.phase, *divmod(kind, MOST_NEW)) for kind in kinds.tolist()])[kind_of]
        context = steps.context.astype(np.int64)
        page, place = context // PAGE, context % PAGE
        self._make_room(int(page.max()) + 1)
        numbers = self._page_of[rows, page]
        if (lacking := numbers < 0).any():
            self._add(steps.phase, np.unique(np.stack([rows[lacking], page[lacking]]), axis=1))
            numbers = self._page_of[rows, page]
        found: Array = self._pages[numbers, place]
        return found

    def _row(self, phase: Phase, sequences: float, new: float) -> int:
        """Return the row of pages of steps that differ in context alone."""
        return self._rows.setdefault((phase, sequences, new), len(self._rows))

    def _make_room(self, pages: int) -> None:
        """Let there be a number for every page of every row, -1 where it is not costed yet."""
        rows, columns = self._page_of.shape
        wanted = max(rows, len(self._rows)), max(columns, pages)
        if wanted != (rows, columns):
            roomier = np.full((2 * wanted[0], wanted[1]), -1, dtype=np.int64)
            roomier[:rows, :columns] = self._page_of
            self._page_of = roomier

    def _add(self, phase: Phase, wanted: Array) -> None:
        """Cost pages, (2, pages) with their row and their place in it."""
        sizes = np.array([key[1:] for key in self._rows], dtype=np.float64)[wanted[0]]
        context = wanted[1][:, None] * PAGE + np.arange(PAGE)[None, :]
        zeros = np.zeros(context.size)
        steps = Steps(
            phase=phase,
            sequences=np.repeat(sizes[:, 0], PAGE),
            new=np.repeat(sizes[:, 1], PAGE),
            context=context.ravel().astype(np.float64),
            decoding=zeros,
            decoding_context=zeros,
        )
        self._page_of[wanted[0], wanted[1]] = len(self._pages) + np.arange(wanted.shape[1])
        self._pages = np.concatenate([self._pages, self._costed(steps).reshape(-1, PAGE)])


def _by_phase(
    phase: Phase | None, batch: Array, new: Array, context: Array, decoding: Array, kept: Array
) -> Iterator[tuple[Phase, NDArray[np.bool_]]]:
    """Yield the phases that steps are of, with the steps of each."""
    mixed = decoding > 0
    one = (new == 1.0) & (context > 0) & ~mixed
    told: dict[Phase, NDArray[np.bool_]] = {"prefill": ~one & ~mixed, "decode": one, "mixed": mixed}
    for name, rows in told.items() if phase is None else ((phase, np.ones(len(new), dtype=np.bool_)),):
        if rows.any():
            yield name, rows
