"""Lower the node tests of the installed onnx package; print what is refused, by kind, and what is counted wrongly.

    python benchmarks/coverage_onnx.py [--names 'test_conv*'] [--output CASES.csv]

Inputs have the shapes of the test's arrays. A test that is refused as it is may have its small integer inputs, which
decide shapes, as constants. Multiply-adds are compared with formulas over the shapes that the reference evaluator
meets, wherever a contraction stands in a model. A traceback, a wrong shape or count, or a share below the goal ends
the run with status 1.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from onnx_nodes import Case, collected, contracts, expected_macs, fixed, misshapen  # noqa: E402

from roofline.errors import RooflineError  # noqa: E402
from roofline.frontends.onnx import from_onnx  # noqa: E402

#: share of the tests that has to lower
GOAL = 0.85


def lowered(case: Case, folder: Path) -> tuple[str, float, str]:
    """Return the verdict on a test (lowered, pinned, misshapen, refused, traceback), its multiply-adds, and why."""
    path = folder / "m.onnx"
    verdict, why = "refused", ""
    for pinned in (False, True):
        path.write_bytes(fixed(case, pinned=pinned).SerializeToString())
        try:
            graph = from_onnx(path)
            graph.check_shapes()
        except RooflineError as error:
            why = str(error)
        except Exception as error:
            return "traceback", 0.0, f"{type(error).__name__}: {error}"
        else:
            wrong = misshapen(case, graph)
            return "misshapen" if wrong else "pinned" if pinned else "lowered", float(graph.macs), wrong
    return verdict, 0.0, why


def kind_of(why: str) -> str:
    """Return a refusal without the names and numbers of its test."""
    if "no lowering for" in why:
        return "no rule: " + ", ".join(re.findall(r"'([\w.:]+)' x\d", why))
    line = re.sub(r"^(m(\.onnx)?: |[\w:.]+ '[^']*': )+|; or pin its value.*", "", why)
    return re.sub(r"'[^']*'", "...", re.sub(r"\d+(x\d+)*", "n", line))[:110]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default="*", help="pattern of the tests")
    parser.add_argument("--output", help="CSV of every test")
    args = parser.parse_args()
    started = time.perf_counter()
    tally, kinds, table = Counter[str](), defaultdict[str, Counter[str]](Counter), []
    cases = [c for c in collected() if fnmatch.fnmatch(c.name, args.names)]
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            verdict, macs, why = lowered(case, Path(folder))
            tally[verdict] += 1
            expected = expected_macs(case) if verdict in ("lowered", "pinned") else None
            if contracts(case) and verdict in ("lowered", "pinned"):
                tally["contractions" if expected is not None else "contractions without a formula"] += 1
            if expected is not None and expected != macs:
                tally["wrong"] += 1
                print(f"{case.name}: {macs:.0f} multiply-adds, by hand {expected}", flush=True)
            if verdict in ("traceback", "misshapen"):
                print(f"{case.name}: {verdict}: {why}", flush=True)
            elif verdict == "refused":
                kinds[kind_of(why)][case.operator] += 1
            table.append((case.name, verdict, macs, expected, why))
    for kind, operators in sorted(kinds.items(), key=lambda item: -item[1].total()):
        listed = ", ".join(f"{name} {count}" if count > 1 else name for name, count in operators.most_common(6))
        more = f", {len(operators) - 6} more" if len(operators) > 6 else ""
        print(f"{operators.total():4} refused: {kind} ({listed}{more})")
    total, good = len(cases), tally["lowered"] + tally["pinned"]
    share = good / max(total, 1)
    print(
        f"{total} node tests in {time.perf_counter() - started:.0f} s: {good} lower ({share:.1%}), {tally['pinned']} "
        f"with shapes given as constants; {tally['refused']} refused, {tally['traceback']} tracebacks, "
        f"{tally['misshapen']} shapes wrong; multiply-adds of {tally['contractions']} with contractions checked, "
        f"{tally['wrong']} wrong; onnx {onnx.__version__}"
    )
    if args.output:
        with Path(args.output).open("w", newline="") as file:
            csv.writer(file).writerows([("test", "verdict", "macs", "by hand", "why"), *table])
    return 1 if any(tally[bad] for bad in ("traceback", "misshapen", "wrong")) or share < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
