"""What serving a language model trades: tokens per second of all requests against time per token of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, Unpack

from roofline.arch.spec import Arch
from roofline.engine.options import SweepOptions
from roofline.engine.setting import per_device
from roofline.engine.workload import Workload
from roofline.errors import InputError
from roofline.hardware.load import device as load_device
from roofline.report.generation import Generation, generate, generate_many
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: the largest batch of a curve that nobody gave batches for
MOST = 1024


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ServingCurve(Shown):
    """What `serving_curve` found. Shows itself as its `table`.

    Attributes
    ----------
    generations
        Every point, device by device, prompt by prompt, batch by batch.
    table
        One row per point: a batch from first to last token (`ttft_ms`, `tpot_ms`, `latency_ms`, `tokens_per_s`), and so
        many requests in flight all the time (`steady_...`, the same); memory in GiB, whether it fits, and the largest
        batch and longest context that do.
    """

    generations: tuple[Generation, ...]
    table: pd.DataFrame

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw tokens per second over time per token, a line per device and prompt; written to `path` where given."""
        from roofline.plot.serving import plot_serving

        first = self.generations[0]
        how = f"{first.model}, {first.runtime}, {first.format or first.dtype}"
        title = f"{how}: answers of {first.work.output_tokens:,} tokens"
        return plot_serving(self.table, title=title, path=path)

    @property
    def shown(self) -> pd.DataFrame:
        """`table`."""
        return self.table


def serving_curve(
    model: str | Path | Arch,
    devices: Any,
    *,
    prompt: int | Sequence[int],
    output_tokens: int,
    chunk: int | None = None,
    **options: Unpack[SweepOptions],
) -> ServingCurve:
    """Predict throughput and latency of a language model over batches, prompts and devices.

    Parameters
    ----------
    model
        A decoder: name, file or `Arch`.
    devices
        One or several: names, files or specs.
    prompt, output_tokens, chunk
        As in `Workload`; prompts may be several.
    **options
        As `compare`; but batches are several, by default the powers of two that fit, and the largest that does.

    Returns
    -------
    ServingCurve
        `table`, and `plot`.

    Raises
    ------
    InputError
        Nothing to go through, not even one sequence fits, or what `generate` refuses.

    Examples
    --------
    >>> curve = serving_curve("llama-3-8b", "h100-sxm", prompt=1024, output_tokens=128, batch=[1, 16])
    >>> bool(curve.table["tokens_per_s"].is_monotonic_increasing)
    True
    """
    import pandas as pd

    several = isinstance(devices, Collection) and not isinstance(devices, str)
    specs = [load_device(device) for device in (devices if several else [devices])]
    prompts: list[Any] = list(prompt) if isinstance(prompt, Collection) else [prompt]
    shared: dict[str, Any] = {**options}
    batch, prefix = shared.pop("batch", None), shared.pop("prefix", None) or 0
    batches: Any = [batch] if isinstance(batch, SupportsIndex) else batch
    if not specs or not prompts or (batches is not None and not len(batches)):
        raise InputError("give at least one device, one prompt and one batch")
    each = per_device(shared, specs)
    found: list[Generation] = []
    for spec, own in zip(specs, each, strict=True):
        for tokens in prompts:
            said: dict[str, Any] = {"output_tokens": output_tokens, "prefix": prefix, "chunk": chunk}
            sizes = batches if batches is not None else _batches(generate(model, spec, prompt=tokens, **said, **own))
            found += generate_many(model, spec, [Workload(prompt=tokens, batch=n, **said) for n in sizes], **own)
    return ServingCurve(generations=tuple(found), table=pd.DataFrame([row_of(g) for g in found]))


def row_of(found: Generation) -> dict[str, Any]:
    """Return a point of a curve as a flat row, with the unit in every name."""
    work, room, steady = found.work, found.room, found.steady
    head = {name: getattr(found, name) for name in ("model", "device", "runtime", "dtype", "format")}
    said = {name: getattr(work, name) for name in ("prompt", "output_tokens", "prefix", "batch")}
    times = {
        "ttft_ms": found.ttft_s * 1e3,
        "tpot_ms": _ms(found.tpot_s),
        "latency_ms": found.latency_s * 1e3,
        "tokens_per_s": found.tokens_per_s,
        "steady_ttft_ms": steady.ttft_s * 1e3,
        "steady_tpot_ms": _ms(steady.tpot_s),
        "steady_latency_ms": steady.latency_s * 1e3,
        "steady_tokens_per_s": steady.tokens_per_s,
        "mixed_share": steady.mixed_share,
    }
    held = {
        f"{name}_gib": getattr(room, f"{name}_bytes") / 2**30
        for name in ("weight", "cache", "activation", "total", "usable")
    }
    fits = {name: getattr(room, name) for name in ("fits", "largest_batch", "longest_context")}
    return head | said | times | held | fits


def _ms(time_s: float | None) -> float:
    return float("nan") if time_s is None else time_s * 1e3


def _batches(one: Generation) -> list[int]:
    """Return the powers of two that fit, and the largest batch that does."""
    largest = min(one.room.largest_batch, MOST)
    if largest < 1:
        raise InputError(one.room.warnings[0])
    return sorted({*(1 << power for power in range(largest.bit_length())), largest})
