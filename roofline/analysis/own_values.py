"""Constants that a device file has for itself, and where a fit of the shared ones looks past them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from roofline.analysis.predict import Prepared
from roofline.device.spec import Device


def bare_devices(prepared: Prepared) -> dict[str, Device]:
    """Return the devices without constants of their own, as one that nobody has measured."""
    return {g.device.name: replace(g.device, overrides={}) for g in prepared.groups}


def devices_without(prepared: Prepared, fields: Collection[str]) -> dict[str, Device]:
    """Return the devices without some of their own constants."""
    found = {}
    for spec in (g.device for g in prepared.groups):
        kept = {
            runtime: {field: value for field, value in own.items() if field not in fields}
            for runtime, own in spec.overrides.items()
        }
        found[spec.name] = replace(spec, overrides=kept)
    return found


def own_everywhere(prepared: Prepared, fields: Sequence[str]) -> frozenset[str]:
    """Return those of the fields that every device has a value of its own for: no row determines the shared one."""
    own = [g.device.overrides.get(g.runtime.name, {}) for g in prepared.groups]
    return frozenset(field for field in fields if own and all(field in values for values in own))
