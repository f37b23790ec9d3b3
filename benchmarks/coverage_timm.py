"""Lower every network of timm, or of its published result files, from PyTorch; print what does not lower or disagrees.

    python benchmarks/coverage_timm.py                        # every name of timm.list_models()
    python benchmarks/coverage_timm.py RESULTS.csv ...         # every (model, image size) of result files
    python benchmarks/coverage_timm.py --limit 50 --names 'res*'

Result files state `infer_gmacs` as fvcore counts: multiply-adds, 2 per batch-normalised element, 5 per element of layer
and group norm, 1 per input element of an adaptive pool. The comparison counts the same from the op graph. A network
that does not lower, leaves a parameter unread or disagrees ends the run with status 1.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from timm_rows import agrees, build, fvcore_gmacs, rows_of  # noqa: E402
from torch_networks import import_torchvision  # noqa: E402

from roofline.errors import RooflineError  # noqa: E402
from roofline.frontends.torch import from_torch  # noqa: E402


def all_names(pattern: str) -> list[str]:
    import_torchvision()
    import timm

    return list(timm.list_models(pattern))


def cases(args: argparse.Namespace) -> Iterable[tuple[str, int | None, dict[str, str]]]:
    if not args.files:
        yield from ((name, None, {}) for name in all_names(args.names))
        return
    seen: dict[tuple[str, int], dict[str, str]] = {}
    for path in args.files:
        for row in rows_of(Path(path)):
            seen.setdefault((row["model"], int(row.get("infer_img_size") or row["train_img_size"])), row)
    yield from ((name, size, row) for (name, size), row in seen.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--names", default="*")
    parser.add_argument("--limit", type=int, default=10**9)
    parser.add_argument("--output", help="CSV of every case")
    args = parser.parse_args()
    table, tally = [], Counter[str]()
    started = time.perf_counter()
    for name, size, row in list(cases(args))[: args.limit]:
        status, detail, macs, params = "lowered", "", 0.0, 0.0
        try:
            module, image = build(name, size)
        except Exception as error:  # timm cannot make it here
            status, detail = "not built", f"{type(error).__name__}: {str(error)[:120]}"
        else:
            try:
                graph = from_torch(module, image)
                graph.check_shapes()
                macs, params = float(graph.macs), float(graph.params)
                expected = sum(p.numel() for p in module.parameters())
                if params != expected:
                    tally["parameters unread"] += 1
                    detail = f"params {params:.0f}, module has {expected}"
                if row.get("infer_gmacs"):
                    counted, published = fvcore_gmacs(graph), float(row["infer_gmacs"])
                    if not agrees(counted, published):
                        tally["gmacs disagree"] += 1
                        detail += (
                            f" counted {counted:.3f}, published {published} ({counted / max(published, 1e-9) - 1:+.1%})"
                        )
            except RooflineError as error:
                status, detail = "not lowered", f"{type(error).__name__}: {str(error)[:300]}"
            except Exception as error:
                status, detail = "not lowered", f"BUG {type(error).__name__}: {str(error)[:300]}"
        tally[status] += 1
        table.append((name, size, status, macs, params, detail))
        if detail:
            print(f"{name} {size or ''} {status}: {detail}", flush=True)
    total = sum(tally[s] for s in ("lowered", "not lowered", "not built"))
    print(f"{total} cases in {time.perf_counter() - started:.0f} s:", dict(tally), f"torch {torch.__version__}")
    if args.output:
        with Path(args.output).open("w", newline="") as file:
            csv.writer(file).writerows([("model", "size", "status", "macs", "params", "detail"), *table])
    return 1 if any(tally[s] for s in ("not lowered", "parameters unread", "gmacs disagree")) else 0


if __name__ == "__main__":
    sys.exit(main())
