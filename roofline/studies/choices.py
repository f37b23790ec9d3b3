"""Stage by stage: whether the choice that a network's authors made wins over the other one, and on which device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from roofline.arch.edit import activations, swap_activation, swap_fused
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.engine.options import EachOptions
from roofline.errors import InputError
from roofline.studies.compare import run_all
from roofline.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

#: the activations that are set against each other
OTHER = {"relu": "swish", "swish": "relu"}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StageChoices(Shown):
    """What `stage_choices` found. Shows itself as its `summary`.

    Attributes
    ----------
    table
        One row per device, stage and choice: what is chosen, what it is swapped for, latency_ms and other_ms of the
        whole network, other_percent (change of its latency by the swap), macs_percent (change of its MACs), and wins
        (whether the choice as it stands is at least as fast).
    """

    table: pd.DataFrame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per stage and choice: what the swap would do to MACs, and on each device to the latency [%]."""
        import pandas as pd

        keys = ["stage", "choice", "chosen", "other"]
        groups = self.table.groupby("device", sort=False)
        columns = {"macs_percent": next(iter(groups))[1].set_index(keys)["macs_percent"]}
        columns |= {str(device): rows.set_index(keys)["other_percent"] for device, rows in groups}
        return pd.DataFrame(columns)

    @property
    def finding(self) -> str:
        """How many of the choices are the faster ones, by device and kind of choice, in one line each."""
        lines = []
        for (device, choice), rows in self.table.groupby(["device", "choice"], sort=False):
            lost = rows[~rows["wins"]]
            worst = ", ".join(f"{r.stage} {r.chosen} {r.other_percent:+.1f} %" for r in lost.itertuples())
            lines.append(
                f"{device}: {len(rows) - len(lost)} of {len(rows)} choices of {choice} are the faster ones"
                + (f"; swapping would gain in {worst}" if len(lost) else "")
            )
        return "\n".join(lines)

    @property
    def shown(self) -> pd.DataFrame:
        """`summary`."""
        return self.summary


def stage_choices(model: Any, devices: Sequence[Any], **options: Unpack[EachOptions]) -> StageChoices:
    """Swap ReLU and swish, fused and depthwise convolutions, one stage at a time, and simulate again.

    Parameters
    ----------
    model
        An architecture: a name, a file or an `Arch`.
    devices
        Names, files or specs.
    **options
        As `compare`.

    Returns
    -------
    StageChoices
        `table`, `summary` with a column per device, and `finding`.

    Raises
    ------
    InputError
        The network has no such choice.
    """
    import pandas as pd

    arch = load_model(model)
    swaps = list(_swaps(arch))
    if not swaps:
        raise InputError(f"model {arch.name!r} has no stage with ReLU, swish or MBConv blocks to swap")
    runs = run_all([arch, *(edited for *_, edited in swaps)], devices, **options)
    count = len(devices)
    rows = []
    for number in range(count):
        base, *others = runs[number::count]
        for (stage, choice, chosen, other, _), run in zip(swaps, others, strict=True):
            rows.append(
                {"device": base.device, "stage": stage, "choice": choice, "chosen": chosen, "other": other}
                | {"latency_ms": base.latency_ms, "other_ms": run.latency_ms}
                | {"other_percent": 100.0 * (run.latency_s / base.latency_s - 1.0)}
                | {"macs_percent": 100.0 * (run.macs / base.macs - 1.0), "wins": base.latency_s <= run.latency_s}
            )
    return StageChoices(table=pd.DataFrame(rows))


def _swaps(arch: Arch) -> Iterator[tuple[str, str, str, str, Arch]]:
    """Yield (stage, choice, what is chosen, what it is swapped for, the edited network)."""
    for stage in arch.stages:
        function = next(iter(activations(stage).values()), None)
        if function in OTHER:
            other = OTHER[function]
            yield stage.name, "activation", function, other, swap_activation(arch, stage.name, other)
        fused = getattr(stage, "fused", None)
        if isinstance(fused, bool):
            names = {True: "fused", False: "depthwise"}
            edited = swap_fused(arch, stage.name, not fused)
            yield stage.name, "convolution", names[fused], names[not fused], edited
