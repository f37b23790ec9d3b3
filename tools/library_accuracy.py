"""Write the section of ``docs/accuracy.md`` on language models: ``python tools/library_accuracy.py MEASUREMENTS``.

MEASUREMENTS is a folder with the original files, those of language models in ``llm/``; a file that is missing is named.
Beside the shipped constants stands what fits say that had not seen a row: see `LEFT_OUT`.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import fit_serving_tpu
import numpy as np
from accuracy import COLUMNS, HEADS, PAGE, cells, percent, rejected, table, with_section

from roofline.calibration.library_fit import left_out_s, library_constants, sampled
from roofline.calibration.measured import Dataset, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.predict import Prepared, agreement_per_example, prepare
from roofline.numeric import Array
from roofline.software.spec import Runtime
from roofline.stats import Agreement
from roofline.version import __version__

#: rows of each device, framework and family (a kernel and a number format) that are drawn
ROWS = 1000
#: kinds of libraries, the files that their constants are fitted to, and the families of rows that a fit sees
FITTED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "products": (("gemm.csv.gz",), ("bfloat16",)),
    "attention": (tuple(f"{phase}_attention.csv.gz" for phase in ("context", "generation", "encoder")), ()),
    "experts": (("moe.csv.gz",), ()),
}
TPU_ATTENTION, TPU_LAYERS, GENERATIONS = "tpu_v6e_attention.csv.gz", "tpu_v6e_layers.csv.gz", "a100_generation.csv"
#: what no constant of a library or a runtime is fitted to
UNSEEN = ("h200_gemm_power.csv.gz", "a100_transformer_ops.csv.gz", "h100_text_to_image.csv")
#: the runtime whose program and sequence are fitted to generations, and the largest values that are tried [s]
HOST, MOST_S = "vllm-0.4", (3e-3, 1e-3)
#: kernels that are listed as the worst, and the fewest rows of one
WORST, FEWEST = 8, 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Rows, and their times [s] as predicted by fits that had not seen them (None where no fit has)."""

    prepared: Prepared
    apart_s: Array | None = None


def parts(read: Sequence[Dataset], graphs: GraphSource) -> Iterator[Part]:
    """Yield the rows of all files, those that fits share together."""

    def rows(*names: str) -> Prepared:
        found = [dataset for dataset in read if dataset.name in names]
        return prepare([m for dataset in found for m in dataset.measurements if m.apart is None], graphs=graphs)

    for kind, (files, families) in FITTED.items():
        if len(drawn := sampled(rows(*files), ROWS)):
            print(f"fitting {kind}", file=sys.stderr, flush=True)
            seen = np.array([not families or m.family in families for m in drawn.measurements])
            yield Part(prepared=drawn, apart_s=left_out_s(drawn, kind, library_constants(kind), seen))
    if len(found := rows(GENERATIONS)):
        fitted = np.array([m.runtime == HOST for m in found.measurements])
        yield Part(prepared=found.subset(~fitted))
        yield Part(prepared=found.subset(fitted), apart_s=generations_s(found.subset(fitted)))
    for name, errors in ((TPU_ATTENTION, fit_serving_tpu.attention), (TPU_LAYERS, fit_serving_tpu.projections)):
        if len(found := rows(name)):
            yield Part(prepared=found, apart_s=found.measured_s * np.exp(errors(found)))
    for name in UNSEEN:
        if len(found := rows(name)):
            yield Part(prepared=sampled(found, ROWS))


def generations_s(prepared: Prepared) -> Array:
    """Return the time [s] of each generation under constants of the runtime that were fitted to other models."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    found, models = np.empty(len(prepared)), np.array([m.family for m in prepared.measurements])

    def host(runtime: Runtime, at: Array) -> Runtime:
        program_s, sequence_s = (float(share * most) for share, most in zip(at, MOST_S, strict=True))
        return replace(runtime, program_s=program_s, sequence_s=sequence_s)

    for model in dict.fromkeys(models):
        rest, own = prepared.subset(models != model), prepared.subset(models == model)

        def errors(at: Array, rest: Prepared = rest) -> Array:
            return np.log(rest.predict(partial(host, at=at)) / rest.measured_s)

        best = least_squares(errors, (0.2, 0.1), bounds=(0.0, 1.0), diff_step=0.01, xtol=1e-4).x
        found[models == model] = own.predict(partial(host, at=best))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Rows of one setup, under the shipped constants and left out of fits (None: in no fit)."""

    names: tuple[str, ...]
    shipped: Agreement
    apart: Agreement | None

    def cells(self) -> list[str]:
        """Return the cells of a row of the table."""
        rows, median, mape, *others = cells(self.shipped)
        beside = [percent(self.apart.median), percent(self.apart.mape)] if self.apart else ["in no fit"] * 2
        return [*self.names, rows, median, beside[0], mape, beside[1], *others]


def lines(part: Part, whole_family: bool) -> Iterator[Line]:
    """Yield what each file, device, runtime and format (or family of rows) says, file by file."""
    rows, predicted_s = part.prepared.measurements, part.prepared.predict()
    keys = [(m.dataset, m.device, m.runtime, m.family if whole_family else m.family.rpartition(" ")[2]) for m in rows]
    for key in sorted(dict.fromkeys(keys), key=lambda names: names[0]):
        own = np.array([other == key for other in keys])
        chosen = [rows[i] for i in np.flatnonzero(own)]
        yield Line(
            names=key,
            shipped=agreement_per_example(chosen, predicted_s[own]),
            apart=None if part.apart_s is None else agreement_per_example(chosen, part.apart_s[own]),
        )


def section(folder: Path, graphs: GraphSource) -> str:
    """Return the section."""
    names = [name for files, _ in FITTED.values() for name in files]
    names += [GENERATIONS, TPU_ATTENTION, TPU_LAYERS, *UNSEEN]
    read = [load(folder / name) for name in names if (folder / name).is_file()]
    found = list(parts(read, graphs))
    refused: dict[str, Sequence[Any]] = {
        part.prepared.measurements[0].dataset: part.prepared.rejected for part in found
    }
    missing = sorted({*names} - {m.dataset for part in found for m in part.prepared.measurements})
    by_kernel = [line for part in found for line in lines(part, True) if line.shipped.count >= FEWEST]
    worst = sorted(by_kernel, key=lambda line: -line.shipped.median)[:WORST]
    head = (*HEAD, *COLUMNS[3:])
    text = [
        HEADS["libraries"],
        f"roofline {__version__}, {datetime.date.today().isoformat()}. " + LEFT_OUT.format(rows=ROWS),
        *(["Not here, and left out: " + ", ".join(missing) + "."] if missing else []),
        table(head, [line.cells() for part in found for line in lines(part, False)], 4),
        "### The worst kernels",
        table(head, [line.cells() for line in worst], 4),
        rejected(read, refused).replace("## Rows left out", "### Rows refused"),
    ]
    return "\n\n".join(text)


HEAD = ("file", "device", "runtime", "numbers or rows", COLUMNS[0], "median error", "left out", "MAPE", "left out")
LEFT_OUT = """Kernels and runs of language models ([what is modelled](cost-model.md#kernel-libraries-products)).
Of each device, framework, kernel and format at most {rows:,} rows are drawn. Beside the shipped constants, *left out*
predicts the same rows by fits that had not seen them: products, attention and experts with the device left out of the
fit of what all chips share (products from bf16 rows alone, as shipped; facts of single kernels stay); the TPU's
attention by halves of the contexts, its projections by layer; generations of vLLM by model. *In no fit*: no constant of
a library or a runtime is fitted to them, but that long runs have 0.7 of a card's power limit, which the products on an
H200 tell, and which kernels of attention TensorRT-LLM had in 2024."""


def main(arguments: Sequence[str]) -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description="Write the section of docs/accuracy.md on language models.")
    parser.add_argument("measurements", type=Path)
    parser.add_argument("--cache", type=Path, help="folder that keeps traced networks")
    parser.add_argument("--output", type=Path, default=PAGE)
    chosen = parser.parse_args(arguments)
    if not (folder := chosen.measurements / "llm").is_dir():
        raise SystemExit(f"error: no folder {str(folder)!r}: make accuracy MEASUREMENTS=path/to/measurements")
    text = chosen.output.read_text("utf-8") if chosen.output.is_file() else ""
    found = section(folder, GraphSource(chosen.cache))
    chosen.output.write_text(with_section(text, HEADS["libraries"], found), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
