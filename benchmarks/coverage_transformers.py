"""Lower every model type of transformers that can be built small and that torch itself runs; compare multiply-adds.

    python benchmarks/coverage_transformers.py [--names 'qwen*'] [--results FILE] [--limit-s 120] [--jobs 2]

Types run in processes that are ended after a time limit. A file of results is resumed: types in it are not run again.
The last line counts; the status is 1 where less than 92 % of what torch runs lowers with torch's multiply-adds.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402
from transformers_types import Result, compared, types  # noqa: E402

#: the share that must lower
WANTED = 0.92
#: what counts as run by torch
RUN = ("lowers", "differs", "refused", "raises")


def _work(pipe: Connection) -> None:
    """Compare one type after the other, as they are named."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    while True:
        result = compared(pipe.recv())
        pipe.send((result.status, result.detail))


class _Worker:
    """A process that compares types, with the one it is at."""

    def __init__(self) -> None:
        fork = multiprocessing.get_context("fork")
        self.pipe, theirs = fork.Pipe()
        self.process = fork.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self, name: str) -> None:
        """Have a type compared."""
        self.name, self.began = name, time.monotonic()
        self.pipe.send(name)

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def results_of(names: list[str], jobs: int, limit_s: float) -> Iterator[Result]:
    """Yield the results of types as they come, each within a time limit."""
    left = list(reversed(names))
    if left:
        compared("bert")  # what all need is imported once, before the processes part
    working = [_Worker() for _ in range(min(jobs, len(left)))]
    for worker in working:
        worker.begin(left.pop())
    while working:
        ready = wait([w.pipe for w in working], timeout=1.0)
        for i, worker in reversed(list(enumerate(working))):
            ended = time.monotonic() - worker.began > limit_s
            if worker.pipe not in ready and not ended:
                continue
            try:
                status, detail = worker.pipe.recv() if worker.pipe in ready else ("too long", f"over {limit_s:.0f} s")
            except EOFError:
                status, detail, ended = "raises", "its process ended", True
            yield Result(name=worker.name, status=status, detail=detail)
            if ended:
                worker.end()
                worker = working[i] = _Worker()
            if left:
                worker.begin(left.pop())
            else:
                worker.end()
                del working[i]


def run_all(names: list[str], jobs: int, limit_s: float, path: Path | None) -> list[Result]:
    """Return the results of all types; each is added to the file as it comes, and none that is there runs again."""
    done: list[Result] = []
    if path is not None and path.exists():
        done = [Result(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    there = {r.name for r in done}
    for result in results_of([name for name in names if name not in there], jobs, limit_s):
        done.append(result)
        if path is not None:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(result)) + "\n")
    return [r for r in done if r.name in set(names)]


def main() -> int:
    """Run, print what did not lower and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default="*")
    parser.add_argument("--sample", type=int, metavar="N", help="every N-th type only")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()
    names = fnmatch.filter(types(), options.names)
    if options.sample:
        names = names[:: options.sample]
    random.Random(0).shuffle(names)  # a part of a run tells of all
    results = run_all(names, options.jobs, options.limit_s, options.results)
    for result in sorted(results, key=lambda r: (r.status, r.name)):
        if result.status in RUN and result.status != "lowers":
            print(f"{result.name:32} {result.status:9} {result.detail}"[:230])
    counts = Counter(r.status for r in results)
    ran = sum(counts[status] for status in RUN)
    share = counts["lowers"] / max(ran, 1)
    print(f"{len(results)} types in {time.monotonic() - began:.0f} s: {dict(counts.most_common())}")
    print(f"of {ran} types that torch runs, {share:.1%} lower with the multiply-adds that torch counts")
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
