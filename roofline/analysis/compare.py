"""Networks side by side on devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.simulate.run import request_of, simulate_many

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *(
        "model",
        "device",
        "runtime",
        "dtype",
        "layout",
        "batch",
        "cores",
        "image_size",
        "latency_ms",
        "throughput_per_s",
    ),
    *("bound", "macs_per_example", "params", "traffic_bytes", "peak_memory_bytes", "fits", "intensity_flops_per_byte"),
    *("attainable_flops_per_s", "efficiency"),
)
#: options that may differ from device to device
PER_DEVICE = ("dtype", "runtime", "cores", "batch", "layout")


def compare(models: Sequence[Any], devices: Sequence[Any], **options: Any) -> pd.DataFrame:
    """Simulate every model on every device.

    Parameters
    ----------
    models, devices
        Names, files or specs.
    **options
        As `simulate`; dtype, runtime, cores, batch and layout may be a mapping device -> value.

    Returns
    -------
    DataFrame
        One row per model and device, with the unit in every column name.

    Raises
    ------
    InputError
        No models or no devices.
    """
    import pandas as pd

    if isinstance(models, str) or isinstance(devices, str):
        raise InputError("models and devices are lists of names")
    if not models or not devices:
        raise InputError("compare needs at least one model and one device")
    requests = [
        request_of(model=model, device=device, **{name: _for(value, device, name) for name, value in options.items()})
        for model in models
        for device in devices
    ]
    reports = simulate_many(requests)
    return pd.DataFrame([{name: getattr(report, name) for name in COLUMNS} for report in reports])


def _for(value: Any, device: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    if name not in PER_DEVICE:
        raise InputError(
            f"option {name!r} is the same for all devices; a mapping is allowed for {', '.join(PER_DEVICE)}"
        )
    return value.get(device)
