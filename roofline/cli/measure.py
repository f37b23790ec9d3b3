"""``roofline measure``: time a plan of ops and networks on the device at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import output
from roofline.cli.options import words
from roofline.cli.progress import progress_bar, report


def command(
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Folder of results.")],
    backend: Annotated[str, typer.Option("--backend", help="torch or jax.")] = "torch",
    device_index: Annotated[int, typer.Option("--device-index", help="Which of several devices.", min=0)] = 0,
    plan: Annotated[str, typer.Option("--plan", help="full, or small for a first look.")] = "full",
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="Formats; default: fp32, and fp16 on a GPU.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Networks also under the runtime's compiler.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Of a CPU; more than one needs a quiet machine.")] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="Instead: time ten networks of timm, and compare with what DIR predicts.")
    ] = False,
) -> None:
    """Time ops and networks on the device at hand, into a folder for `roofline calibrate DIR`.

    The first CUDA GPU, TPU or else the CPU. Ten minutes or so; an interrupted run goes on where it was, with the same
    command. Nothing else should run on the machine: what disturbs is noticed, said, and measured longer.
    """
    from roofline.measure.choose import choose
    from roofline.measure.plan import plan as make_plan
    from roofline.measure.run import measure

    chosen = choose(backend, device_index, threads)
    facts = chosen.facts
    output.note(f"{facts.name}, {facts.software}, timed by {chosen.clock}")
    dtypes = words(dtype) if dtype else ["fp32"] if facts.kind == "cpu" else ["fp16", "fp32"]
    if check:
        from roofline.cli.left_out import check_left_out

        check_left_out(chosen, folder, dtypes, small=plan == "small", compiled=compiled)
        return
    cases = make_plan(facts.kind, size=plan, dtypes=dtypes, compiled=compiled)  # type: ignore[arg-type]
    try:
        with progress_bar() as progress:
            outcome = measure(chosen, folder, cases, progress=progress)
    except KeyboardInterrupt:
        output.warn(f"interrupted: the same command goes on with what {folder} lacks")
        raise
    report(outcome, folder)
