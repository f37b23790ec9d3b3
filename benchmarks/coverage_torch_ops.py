"""Lower the samples of torch's own tests of its operators; print what is refused, by kind, and what is counted wrongly.

    python benchmarks/coverage_torch_ops.py [--names 'nn.functional.*,fft.*'] [--samples 3] [--output SAMPLES.csv]

Every operator of ``op_db`` with the first of its sample inputs. What lowers is simulated, too. Multiply-adds are
compared with those that ``torch.utils.flop_counter`` sees as torch runs the sample, wherever it has a formula. A
traceback, a message of several lines, a wrong count, or a share below the goal ends the run with status 1. A sample
without elements is no program; it is told apart.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import itertools
import re
import sys
import time
import types
import unittest
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import roofline as rf
from roofline.errors import RooflineError
from roofline.frontends.torch import from_torch

#: share of the samples with elements that has to lower
GOAL = 0.75
#: the first of these that an operator takes
DTYPES = (torch.float32, torch.int64, torch.bool, torch.complex64, torch.bfloat16)
#: where a refusal says that there is nothing to run
EMPTY = re.compile(r"nothing to run|of nothing there is no")


def operators(patterns: str) -> list[Any]:
    """Return torch's tested operators; its module of tests wants a base class that is nowhere needed here."""
    absent = types.ModuleType("expecttest")
    absent.TestCase = unittest.TestCase  # type: ignore[attr-defined]
    sys.modules.setdefault("expecttest", absent)
    from torch.testing._internal.common_methods_invocations import op_db

    wanted = patterns.split(",")
    return [op for op in op_db if any(fnmatch.fnmatch(op.name, p) for p in wanted)]


def samples(op: Any, count: int) -> Iterator[Any]:
    """Yield the first sample inputs of an operator, the same in every run."""
    torch.manual_seed(0)
    dtype = next((d for d in DTYPES if d in op.dtypes), torch.float32)
    yield from itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=False), count)


def lowered(op: Any, sample: Any) -> tuple[str, float, str]:
    """Return the verdict on a sample (lowered, empty, refused, traceback), its multiply-adds, and why."""
    try:
        graph = from_torch(
            lambda args, kwargs: op.op(*args, **kwargs),
            {"args": (sample.input, *sample.args), "kwargs": sample.kwargs},
            name=op.name,
        )
        graph.check_shapes()
        rf.simulate(graph, "a100-80gb", dtype="fp32")
    except RooflineError as error:
        why = str(error)
        if "\n" in why:
            return "traceback", 0.0, "a message of several lines: " + why.replace("\n", " / ")
        return ("empty" if EMPTY.search(why) else "refused"), 0.0, why
    except Exception as error:
        return "traceback", 0.0, f"{type(error).__name__}: {error}"
    return "lowered", float(graph.macs), ""


def counted(op: Any, sample: Any) -> float:
    """Return the multiply-adds that torch's counter sees, 0 where it has no formula or the sample does not run."""
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return 0.0
    return float(counter.get_total_flops()) / 2


def kind_of(why: str) -> str:
    """Return a refusal without the names and numbers of its sample."""
    if "no lowering rule for" in why:
        names = re.findall(r"no lowering rule for '([\w.:]+)'|'([\w.:]+)' x\d", why)
        return "no rule: " + ", ".join(sorted({a or b for a, b in names}))
    line = re.sub(r"^[\w.]+(:| raises) ", "", why)
    return re.sub(r"'args?[^']*'", "...", re.sub(r"\d+(x\d+)*", "n", re.sub(r" with inputs \([^)]*\)", "", line)))[:110]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default="*", help="patterns of operators, with commas between them")
    parser.add_argument("--samples", type=int, default=3, help="of each operator")
    parser.add_argument("--output", type=Path, help="CSV of every sample")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    tally, kinds, table = Counter[str](), defaultdict[str, Counter[str]](Counter), []
    for op in operators(args.names):
        name = op.name + (f" ({op.variant_test_name})" if op.variant_test_name else "")
        for i, sample in enumerate(samples(op, args.samples)):
            verdict, macs, why = lowered(op, sample)
            tally[verdict] += 1
            expected = counted(op, sample) if verdict == "lowered" else 0.0
            tally["compared"] += expected > 0
            if expected and expected != macs:
                tally["wrong"] += 1
                print(f"{name} {i}: {macs:.0f} multiply-adds, {expected:.0f} by torch's counter", flush=True)
            if verdict == "traceback":
                print(f"{name} {i}: traceback: {why}", flush=True)
            elif verdict == "refused":
                kinds[kind_of(why)][op.name] += 1
            table.append((name, i, verdict, macs, expected, why))
    groups = defaultdict[str, Counter[str]](Counter)
    for kind, names in kinds.items():  # what has no rule in one line
        missing = kind.removeprefix("no rule: ")
        groups["no rule" if missing != kind else kind].update({missing: names.total()} if missing != kind else names)
    for kind, names in sorted(groups.items(), key=lambda item: -item[1].total()):
        listed = ", ".join(f"{what} {n}" if n > 1 else what for what, n in names.most_common())
        print(f"{names.total():4} refused: {kind} ({listed})")
    share = tally["lowered"] / max(sum(tally[v] for v in ("lowered", "refused", "traceback")), 1)
    print(
        f"{len(table)} samples in {time.perf_counter() - started:.0f} s: {tally['lowered']} lower ({share:.1%} of "
        f"those with elements), {tally['empty']} are empty, {tally['refused']} refused, {tally['traceback']} "
        f"tracebacks; multiply-adds of {tally['compared']} compared, {tally['wrong']} wrong; torch {torch.__version__}"
    )
    if args.output:
        with args.output.open("w", newline="") as file:
            csv.writer(file).writerows([("operator", "sample", "verdict", "macs", "by torch", "why"), *table])
    return 1 if tally["traceback"] or tally["wrong"] or share < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
