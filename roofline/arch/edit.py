"""One network from another: a stage with other fields, and the edits that people ask for by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from roofline.arch.block import Stage, stage_class
from roofline.arch.load import model, stage_from, stage_table
from roofline.arch.spec import Arch
from roofline.errors import SpecError
from roofline.names import lookup


def edit_stage(arch: str | Path | Arch, stage: str, **fields: Any) -> Arch:
    """Return the network with fields of one stage changed, as an architecture file would state them.

    The name stays; what others published of the network does not hold any more and is left out.

    Parameters
    ----------
    arch
        A name, a file or an `Arch`.
    stage
        Its name in the architecture file.
    **fields
        Fields of the stage, `block` among them: fields that the new kind of block does not know are dropped.

    Raises
    ------
    UnknownNameError
        No such network, stage or kind of block.
    SpecError
        The stage takes no such field or value. Whether its blocks fit each other shows when they are built.

    Examples
    --------
    >>> edited = edit_stage("efficientnet-x-b0", "s1", fused=False, activation="relu")
    >>> [(s.name, s.fused, s.activation) for s in edited.stages if s.name == "s1"]
    [('s1', False, 'relu')]
    """
    arch = model(arch)
    old = stage_of(arch, stage)
    table = stage_table(old)
    if "block" in fields:
        known = stage_class(str(fields["block"])).model_fields
        table = {name: value for name, value in table.items() if name in known}
    new = stage_from(table | fields, f"stage {old.name!r} of {arch.name!r}")
    return replace(arch, stages=tuple(new if s is old else s for s in arch.stages), published=None)


def stage_of(arch: Arch, name: str) -> Stage:
    """Return the stage of that name.

    Raises
    ------
    UnknownNameError
        No such stage.
    """
    return lookup(name, {s.name: s for s in arch.stages}, "stage")


def activations(stage: Stage) -> dict[str, str]:
    """Return the fields of a stage that name an activation, with the functions they name."""
    fields = {name: getattr(stage, name) for name in type(stage).model_fields if name.endswith("activation")}
    return {name: value for name, value in fields.items() if value not in (None, "none")}


def swap_activation(arch: Arch, stage: str, function: str) -> Arch:
    """Return the network with every activation of one stage replaced by `function`; gates stay.

    Raises
    ------
    UnknownNameError
        No such stage.
    SpecError
        The stage has no activation.
    """
    found = activations(stage_of(arch, stage))
    if not found:
        raise SpecError(f"stage {stage!r} of {arch.name!r} has no activation")
    return edit_stage(arch, stage, **dict.fromkeys(found, function))


def swap_fused(arch: Arch, stage: str, fused: bool) -> Arch:
    """Return the network with the MBConv blocks of one stage fused, or with depthwise convolutions.

    Raises
    ------
    UnknownNameError
        No such stage.
    SpecError
        The stage is not of MBConv blocks.
    """
    if "fused" not in type(stage_of(arch, stage)).model_fields:
        raise SpecError(f"stage {stage!r} of {arch.name!r} has no MBConv blocks to fuse")
    return edit_stage(arch, stage, fused=fused)
