"""``roofline simulate``: one network on one device, and the reason for its latency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import frontend, generation, output
from roofline.cli.advise import gains
from roofline.cli.explain import stages, waterfall
from roofline.cli.options import (
    DeviceOption,
    ForceOption,
    Format,
    FormatOption,
    OutputOption,
    Plot,
    SetOption,
    machines,
    takes,
)
from roofline.engine.options import OPTIONS
from roofline.errors import InputError
from roofline.files import PICTURES, json_text
from roofline.repeats import merge_repeats
from roofline.text import percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from roofline.report.report import Report

FILES = (".html", *PICTURES, ".csv", ".json", ".onnx")
SLOWEST = 10


@takes(OPTIONS, before="changes")
def command(
    device: DeviceOption,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model name (roofline models), a TOML file, a saved graph (.json), or a config.json.",
        ),
    ] = None,
    changes: SetOption = None,
    form: FormatOption = Format.table,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say where the latency goes; csv: only that.")
    ] = False,
    plot: Annotated[Plot | None, typer.Option("--plot", help="What --output draws; default: roofline.")] = None,
    file: OutputOption = None,
    force: ForceOption = False,
    onnx: frontend.OnnxOption = None,
    torch: frontend.TorchOption = None,
    jax: frontend.JaxOption = None,
    huggingface: frontend.HuggingfaceOption = None,
    graph: frontend.GraphOption = None,
    input_shape: frontend.ShapeOption = None,
    dim: frontend.DimOption = None,
    value: frontend.ValueOption = None,
    prompt: generation.PromptOption = None,
    output_tokens: generation.AnswerOption = None,
    chunk: generation.ChunkOption = None,
    save_graph: frontend.SaveOption = None,
    cache: frontend.CacheOption = None,
    examples: frontend.ExamplesOption = None,
    **options: Any,
) -> None:
    """Simulate MODEL on a device, or what you bring: --onnx, --torch, --jax, --huggingface, --graph.

    Prints latency, its bound and the slowest kernels; with --format csv one row per kernel. --output also writes
    a page with everything (.html), a picture (.png, .svg, .pdf; --plot says which), a timeline (trace.json), the
    kernels (.csv), the report (.json), or the file of --onnx with the prediction in its nodes (.onnx).

    With --prompt and --output-tokens: how requests to a language model are answered, --batch at a time; --output draws
    tokens per second against time per token over all batches that fit, or writes these (.csv), or the answer (.json).
    """
    output.check_suffix(file, FILES if plot is None else PICTURES, force=force)
    if plot is not None and file is None:
        raise InputError(f"--plot needs --output: a file with {', '.join(PICTURES)}")
    if file is not None and file.suffix.lower() == ".onnx" and onnx is None:
        raise InputError(f"{str(file)!r} would be a copy of the file that is simulated: give it with --onnx")
    output.check_suffix(save_graph, (".json",), force=force)
    import roofline as rf

    said = generation.requests(prompt=prompt, output_tokens=output_tokens, chunk=chunk)
    told: dict[str, Any] = {"shapes": tuple(input_shape or ()), "dims": tuple(dim or ()), "values": tuple(value or ())}
    programs: dict[str, Any] = {"onnx": onnx, "torch": torch, "jax": jax, "huggingface": huggingface, "graph": graph}
    source = frontend.Source(**programs, cache=cache, examples=examples, **told)
    network = frontend.network(model, source)
    if save_graph is not None:
        frontend.save(network, save_graph, options)
    chip = machines([device], changes)[device]
    if said:
        generation.show(network, chip, said, form, file, options)
        return
    report = rf.simulate(network, chip, **options)
    for warning in report.warnings:
        output.warn(warning)
    if file is not None and plot is not None:
        getattr(report, f"plot_{plot}")(file)
    elif file is not None and file.suffix.lower() == ".html":
        report.save(file, advice=gains(rf.advise(network, chip, **options)))
    elif file is not None and file.suffix.lower() == ".onnx":
        rf.annotate_onnx(report, str(onnx), file, **source.pins())
    elif file is not None:
        report.save(file)
    if form is Format.json:
        from roofline.report.save import as_dict

        why = {"waterfall": output.records(report.waterfall("stage"))} if explain else {}
        output.write(json_text(as_dict(report) | why))
    elif form is Format.csv and explain:
        output.write_rows("waterfall", output.records(report.waterfall("stage")), form)
    elif form is Format.csv:
        output.write(report.kernels.to_csv(index=False, lineterminator="\n"))
    else:
        from roofline.report.summary import heading

        output.show(heading(report), _summary(report), _slowest(report))
        if explain:
            output.show(waterfall(report), stages(report))


def _summary(report: Report) -> Table:
    from roofline.report.summary import summary_rows

    table = output.table(None, ())
    table.show_header = False
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for row in summary_rows(report):
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
