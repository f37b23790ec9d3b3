"""An ONNX file with the prediction written into it: time and bound of every node, for viewers such as Netron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.engine.members import origin
from roofline.errors import InputError
from roofline.files import atomic
from roofline.passes.pipeline import lower
from roofline.passes.policy import policy
from roofline.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from roofline.frontends.onnx.values import Sizes
    from roofline.passes.kernels import Kernel
    from roofline.report.report import Report

#: metadata of nodes came with this version of the format (onnx 1.16, release notes)
METADATA_IR_VERSION = 10
PREFIX = "roofline."


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Kernels of each node, by position in the report, and nodes of each kernel, by their first output.

    Ops of `working` nodes run; `anchors` are the nodes that kernels are called after: the time is counted there.
    """

    working: frozenset[str]
    kernels: dict[str, list[int]]
    nodes: dict[int, list[str]]
    anchors: dict[int, str]


def annotate_onnx(
    report: Report,
    source: str | Path,
    target: str | Path,
    *,
    dims: Sizes | None = None,
    values: Mapping[str, Any] | None = None,
) -> Path:
    """Write a copy of an ONNX file with the predicted time and bound of every node in its metadata.

    Weights are kept as they are. Every node belongs to a kernel: the one its op runs in; a node without work of its own
    (a constant, a view, what a pattern or a pass took in) belongs to the kernel that reads it. The keys are

    ``roofline.role``
        *anchor* (the kernel is called after it), *fused* (its op runs in that kernel) or *free* (no op is left of it).
    ``roofline.time_us``, ``roofline.share``
        Time of its kernels, all their nodes together, and that as a share of the latency. The times of all anchors
        and ``roofline.other_us`` of the model (program start, host) add up to the latency.
    ``roofline.bound``, ``roofline.kernel``, ``roofline.nodes``
        What bounds the kernel, its name in the report, and how many nodes it has.

    Parameters
    ----------
    report
        Of `roofline.engine` on the graph of that file.
    source, target
        The file, and the one to write; an existing one is replaced.
    dims, values
        As for `roofline.from_onnx`.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    InputError
        The report is of another network; `target` cannot be written, or is in another folder than weights that are
        stored outside the file.
    """
    from roofline.frontends.onnx import traced

    source, target = Path(source), Path(target)
    graph, origins = traced(source, dims=dims, values=values)
    import onnx  # present: the file was read

    kernel_policy = policy(report.runtime_spec, report.machine.precision, report.machine.layout, report.mode)
    kernels = lower(graph, kernel_policy)[1]
    table = report.kernels
    if [kernel.name for kernel in kernels] != list(table["kernel"]):
        raise InputError(f"the report of {report.model!r} is not one of {source.name!r}")
    model = onnx.load(str(source), load_external_data=False)
    outside = any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    if outside and source.resolve().parent != target.resolve().parent:
        raise InputError(f"write beside {str(source)!r}: its weights are in files of that folder")
    placed = _place(model.graph.node, kernels, origins)
    for node in model.graph.node:
        _set(node, _of_node(_key(node), placed, table))
    model.ir_version = max(model.ir_version, METADATA_IR_VERSION)
    told_s = sum(float(table["time_s"].iloc[i]) for i in placed.anchors)
    _set(model, _of_model(report, report.latency_s - told_s))
    with atomic(target) as temporary:
        onnx.save(model, str(temporary))
    return target


def _key(node: Any) -> str:
    """Return what names a node in its graph: the first tensor it writes."""
    return next((str(name) for name in node.output if name), str(node.name))


def _place(nodes: Any, kernels: tuple[Kernel, ...], origins: Mapping[str, str]) -> _Placed:
    own: dict[str, list[int]] = {}
    anchors: dict[int, str] = {}
    of_kernels = [_origins(kernel, origins) for kernel in kernels]
    for position, kernel in enumerate(kernels):
        found = of_kernels[position]
        if not found:  # the copy of an input: it belongs to the first that reads it
            written = {access.tensor.id for access in kernel.accesses if access.role == "write"}
            readers = (
                later
                for later in range(position + 1, len(kernels))
                if written & {access.tensor.id for access in kernels[later].accesses if access.role == "read"}
            )
            found = next((of_kernels[later][:1] for later in readers), [])
        if found:
            anchors[position] = found[0]
        for key in dict.fromkeys(found):
            own.setdefault(key, []).append(position)
    known = own | _free(nodes, own)
    members: dict[int, list[str]] = {}
    for key, positions in known.items():
        for position in positions:
            members.setdefault(position, []).append(key)
    return _Placed(working=frozenset(own), kernels=known, nodes=members, anchors=anchors)


def _origins(kernel: Kernel, origins: Mapping[str, str]) -> list[str]:
    """Return the nodes of a kernel, that of its anchor first."""
    found = (origin(op, origins) for op in (kernel.name, *kernel.ops))
    return [origins[op] for op in found if op is not None]


def _free(nodes: Any, own: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return a kernel for each node without ops: of the nodes that read it, else of those it reads."""
    found: dict[str, list[int]] = {}
    for backwards in (True, False):
        known: dict[str, list[int]] = {}  # by tensor
        for node in reversed(nodes) if backwards else nodes:
            key = _key(node)
            near = node.output if backwards else node.input
            kernel = own.get(key) or found.get(key) or next((known[name] for name in near if name in known), None)
            if kernel is None:
                continue
            if key not in own:
                found[key] = kernel[:1]
            known.update((name, kernel) for name in (node.input if backwards else node.output) if name)
    return found


def _of_node(key: str, placed: _Placed, table: pd.DataFrame) -> dict[str, str]:
    mine = placed.kernels.get(key, [])
    if not mine:
        return {"role": "free"}
    led = [position for position in mine if placed.anchors.get(position) == key]
    rows = table.iloc[led or mine]
    slowest = rows.sort_values("time_s").iloc[-1]
    return {
        "role": "anchor" if led else "fused" if key in placed.working else "free",
        "time_us": f"{rows['time_s'].sum() * 1e6:.6g}",
        "share": f"{rows['share'].sum():.6g}",
        "bound": str(slowest["bound"]),
        "kernel": ", ".join(map(str, rows["kernel"])),
        "nodes": str(len({name for position in led or mine for name in placed.nodes[position]})),
    }


def _of_model(report: Report, other_s: float) -> dict[str, str]:
    ends = {f"{end}_ms": getattr(report.interval, f"{end}_s") * 1e3 for end in ("low", "high")}
    figures = {"latency_ms": report.latency_ms, "other_us": other_s * 1e6} | ends
    said = {"device": report.device, "runtime": report.runtime, "dtype": report.dtype, "batch": str(report.batch)}
    return {"version": __version__} | said | {name: f"{value:.6g}" for name, value in figures.items()}


def _set(holder: Any, values: Mapping[str, str]) -> None:
    """Put values into the metadata, in place of what an earlier annotation left."""
    kept = [entry for entry in holder.metadata_props if not entry.key.startswith(PREFIX)]
    old = [(entry.key, entry.value) for entry in kept]
    del holder.metadata_props[:]
    for key, value in [*old, *((PREFIX + name, value) for name, value in values.items())]:
        holder.metadata_props.add(key=key, value=value)
