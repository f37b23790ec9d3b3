"""``roofline simulate``: one network on one device, and the reason for its latency."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import frontend, output
from roofline.cli.options import (
    ForceOption,
    Format,
    FormatOption,
    ImageSizeOption,
    LayoutOption,
    ModeOption,
    OutputOption,
    StrictOption,
)
from roofline.repeats import merge_repeats
from roofline.text import engineering, gibibytes, percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.simulate.report import Report

FILES = (".png", ".svg", ".pdf", ".csv", ".json")
SLOWEST = 10


def command(
    device: Annotated[str, typer.Option("--device", "-d", help="A device name (roofline devices), or a TOML file.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="A model name (roofline models), a TOML file, or a saved graph (.json)."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", "-b", help="Examples per run; default: 1, or what a program is lowered at.")
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="bf16, fp16, int8, amp_fp16, ...")] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", "-r", help="Default: the device's.")] = None,
    layout: LayoutOption = None,
    image_size: ImageSizeOption = None,
    cores: Annotated[int | None, typer.Option("--cores", help="Program instances; default: all.")] = None,
    mode: ModeOption = "inference",
    strict: StrictOption = False,
    form: FormatOption = Format.table,
    file: OutputOption = None,
    force: ForceOption = False,
    onnx: frontend.OnnxOption = None,
    torch: frontend.TorchOption = None,
    jax: frontend.JaxOption = None,
    graph: frontend.GraphOption = None,
    input_shape: frontend.ShapeOption = None,
    dim: frontend.DimOption = None,
    save_graph: frontend.SaveOption = None,
    cache: frontend.CacheOption = None,
) -> None:
    """Simulate MODEL on a device, or a program of your own: --onnx, --torch, --jax, --graph.

    Prints latency, its bound and the slowest kernels; with --format csv one row per kernel. --output also writes
    a roofline (.png, .svg, .pdf), the kernels (.csv) or the report (.json).
    """
    output.check_suffix(file, FILES, force=force)
    output.check_suffix(save_graph, (".json",), force=force)
    import roofline as rf

    network = frontend.network(
        model,
        frontend.Source(
            onnx=onnx, torch=torch, jax=jax, graph=graph, shapes=tuple(input_shape or ()), dims=tuple(dim or ()),
            cache=cache,
        ),
    )  # fmt: skip
    if save_graph is not None:
        frontend.save(network, save_graph, batch, image_size)
    report = rf.simulate(
        network,
        device,
        batch=batch,
        dtype=dtype,
        runtime=runtime,
        layout=layout,
        image_size=image_size,
        cores=cores,
        mode=mode,
        strict=strict,
    )
    for warning in report.warnings:
        output.warn(warning)
    if file is not None:
        report.save(file)
    if form is Format.json:
        sys.stdout.write(output.as_json(report.to_dict()))
    elif form is Format.csv:
        sys.stdout.write(report.kernels.to_csv(index=False, lineterminator="\n"))
    else:
        output.show(_heading(report), _summary(report), _slowest(report))


def _heading(report: Report) -> str:
    size = f", {report.image_size} px" if report.image_size else ""
    cores = f", {report.cores} core{'s' if report.cores > 1 else ''}"
    idle = f" ({report.idle_cores} idle)" if report.idle_cores else ""
    return (
        f"{report.model} on {report.device}: {report.runtime}, {report.dtype}, {report.layout}, "
        f"batch {report.batch:,}{size}{cores}{idle}, {report.mode}"
    )


def _expected(report: Report) -> str:
    low, high = report.interval.low_s * 1e3, report.interval.high_s * 1e3
    return f"{significant(low, 3)} to {significant(high, 3)} ms"


def _summary(report: Report) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    shares = ", ".join(f"{name} {percent(share)}" for name, share in report.bound_shares.items())
    fits = "fits" if report.fits else "DOES NOT FIT"
    parts = f"program {engineering(report.program_s, 's')}, device {engineering(report.device_s, 's')}"
    queue = f", host {engineering(report.host_s, 's')}" if report.host_s else ""
    for row in (
        ("Latency", f"{significant(report.latency_ms, 4)} ms", parts + queue),
        ("Expected", _expected(report), "; ".join(report.interval.reasons) or "9 in 10 networks that no fit had seen"),
        ("Throughput", f"{significant(report.throughput_per_s, 4)} /s", "examples per second"),
        ("Bound", report.bound, shares),
        ("MACs", engineering(report.macs), f"{engineering(report.macs_per_example)} per example"),
        ("FLOPs", engineering(report.flops), "2 per MAC"),
        ("Vector operations", engineering(report.vector_ops), ""),
        ("Parameters", engineering(report.params, digits=4), f"{engineering(report.weight_bytes, 'B')} of weights"),
        ("Traffic", engineering(report.traffic_bytes, "B"), "across kernel boundaries, unpadded"),
        ("Peak memory", gibibytes(report.peak_memory_bytes), f"of {gibibytes(report.memory_capacity_bytes)}: {fits}"),
        (
            "Intensity I",
            f"{significant(report.intensity_flops_per_byte)} FLOP/B",
            f"ridge {significant(report.ridge_flops_per_byte)} FLOP/B",
        ),
        (
            "Attainable",
            engineering(report.attainable_flops_per_s, "FLOP/s"),
            f"min(I x bandwidth, peak {engineering(report.peak_flops_per_s, 'FLOP/s')})",
        ),
        ("Achieved", engineering(report.achieved_flops_per_s, "FLOP/s"), "FLOPs / latency"),
        ("Efficiency E", percent(report.efficiency), "achieved / attainable"),
    ):
        table.add_row(*row)
    return table


def _slowest(report: Report) -> Table:
    kernels = merge_repeats(report.kernels)
    top = kernels.sort_values("time_s", ascending=False, kind="stable").head(SLOWEST)
    right = ("time ms", "share", "I FLOP/B", "TFLOP/s", "E", "traffic MB")
    table = output.table(
        f"Slowest of {len(report.kernels)} kernels" + (", one core" if report.cores > 1 else ""),
        ("kernel", "kind", "bound", *right),
        right,
    )
    for row in top.to_dict("records"):
        table.add_row(
            *(str(row[name]) for name in ("kernel", "kind", "bound")),
            significant(row["time_s"] * 1e3),
            percent(row["share"]),
            significant(row["intensity_flops_per_byte"]),
            significant(row["flops"] / row["time_s"] / 1e12),
            percent(row["efficiency"]),
            significant(row["traffic_bytes"] / 1e6),
        )
    return table
