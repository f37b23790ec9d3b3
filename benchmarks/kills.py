"""Kill a sweep and a search at random moments, again and again: ``python benchmarks/kills.py [KILLS [SEED [WHAT]]]``.

Victims are the command, a worker of its local cluster, and a Dask scheduler that it was pointed at. After the last kill
the same command runs to its end, and its results must equal those of an undisturbed run to the last bit.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil

PLAN = """
models = ["*"]
devices = ["tpu-v2", "tpu-v3", "tpu-v4i", "v100", "a100-40gb", "h100-sxm"]
batch = [1, 8, 32, 128]
"""
SEARCH = ["search", "accel-nasbench", "--device", "tpu-v3", "--target-latency-ms", "6", "--islands", "4",
          "--evaluations", "30000000", "--no-baselines", "--batch", "128"]  # fmt: skip
CLI = [sys.executable, "-m", "roofline.cli"]
WORKERS = ["--workers", "2"]
#: seconds within which a kill falls, after the first results
WITHIN_S = 4.0
PATIENCE_S = 1800.0


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Start the command, silent."""
    return subprocess.Popen([*CLI, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(words: list[str]) -> None:
    """Run the command to its end.

    Raises
    ------
    RuntimeError
        It failed.
    """
    done = subprocess.run([*CLI, *words], capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")


def rows(path: Path, table: str) -> int:
    """Return how many rows a table has by now."""
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return int(db.execute(f"select count(*) from {table}").fetchone()[0])
        finally:
            db.close()
    except sqlite3.Error:
        return 0


def wait_for_progress(process: subprocess.Popen[bytes], path: Path, table: str) -> None:
    """Return when the command has written something new, or has ended."""
    before, until = rows(path, table), time.monotonic() + PATIENCE_S
    while process.poll() is None and rows(path, table) == before and time.monotonic() < until:
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the worker processes of a command's local cluster."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        # they have a title of their own only where setproctitle is installed
        return [c for c in children if any("dask worker" in word or "spawn_main" in word for word in c.cmdline())]
    except psutil.Error:
        return []


def disturb(words: list[str], path: Path, table: str, victim: str, dice: random.Random) -> bool:
    """Start the command, kill the victim while it runs, and return whether something was killed."""
    process = start(words)
    wait_for_progress(process, path, table)
    time.sleep(dice.uniform(0, WITHIN_S))
    if process.poll() is not None:
        return False
    if victim == "worker":
        found = workers_of(process)
        if not found:
            process.kill()
            process.wait()
            return False
        dice.choice(found).kill()
        time.sleep(dice.uniform(0, WITHIN_S))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def wait_for_port(host: str, port: int) -> None:
    """Return when somebody listens there."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)


@contextmanager
def cluster() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield a Dask scheduler with two workers, each a process of its own, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def tool(name: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{name}", *words, "--no-dashboard"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    host, port = address.split(":")
    scheduler = tool("dask_scheduler", "--host", host, "--port", port)
    wait_for_port(host, int(port))
    workers = [tool("dask_worker", f"tcp://{address}", "--nthreads", "1", "--death-timeout", "300") for _ in range(2)]
    try:
        yield scheduler, f"tcp://{address}"
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def kill_scheduler(words: list[str], path: Path, table: str, dice: random.Random) -> bool:
    """Start the command on a cluster, kill the scheduler while it runs, and return whether it said so and ended."""
    with cluster() as (scheduler, address):
        process = start([*words, "--scheduler", address])
        wait_for_progress(process, path, table)
        time.sleep(dice.uniform(0, WITHIN_S))
        if process.poll() is not None:
            return False
        scheduler.kill()
        status = process.wait(PATIENCE_S)
        if status not in (0, 2):
            raise RuntimeError(f"status {status} after the scheduler was killed")
        return True


def torment(name: str, words: list[str], path: Path, table: str, kills: int, dice: random.Random) -> dict[str, int]:
    """Kill a command so often, then let it end; return how often each victim was killed."""
    counts = dict.fromkeys(("command", "worker", "scheduler"), 0)
    misses = 0
    while sum(counts.values()) < kills:
        victim = ("command", "worker", "scheduler")[sum(counts.values()) % 3]
        hit = (
            kill_scheduler(words, path, table, dice)
            if victim == "scheduler"
            else disturb([*words, *WORKERS], path, table, victim, dice)
        )
        counts[victim] += hit
        if not hit:  # it had come to its end: from the beginning
            misses += 1
            shutil.rmtree(path.parent)
            path.parent.mkdir()
        print(f"{name}: {sum(counts.values())} kills, {rows(path, table)} in {table}", flush=True)
    finish([*words, *WORKERS])
    return counts | {"ended first": misses}


def same_sweep(folder: Path, kills: int, dice: random.Random) -> dict[str, int]:
    """Compare a tormented sweep with an undisturbed one."""
    plan = folder / "plan.toml"
    plan.write_text(PLAN)
    frames = []
    for name in ("killed", "calm"):
        path = folder / name / "a.sqlite"
        path.parent.mkdir()
        words = ["sweep", str(plan), "--output", str(path)]
        if name == "killed":
            counts = torment("sweep", words, path, "units", kills, dice)
        else:
            finish([*words, "--workers", "0"])
        with sqlite3.connect(path) as db:
            frames.append(pd.read_sql("select * from runs order by unit, point", db))
        db.close()
    killed, calm = frames
    pd.testing.assert_frame_equal(killed, calm, check_exact=True)
    return counts


def same_search(folder: Path, kills: int, dice: random.Random) -> dict[str, int]:
    """Compare a tormented search with an undisturbed one."""
    found = []
    for name in ("killed", "calm"):
        path = folder / f"search-{name}" / "islands.sqlite"
        path.parent.mkdir()
        words = [*SEARCH, "--output", str(path.parent)]
        if name == "killed":
            counts = torment("search", words, path, "epochs", kills, dice)
        else:
            finish([*words, "--workers", "0"])
        found.append((path.parent / "pareto.csv").read_bytes())
    if found[0] != found[1]:
        raise RuntimeError("the searches differ")
    return counts


def main() -> None:
    """Kill, compare, and say what was killed how often."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as home:
        for name, run in (("sweep", same_sweep), ("search", same_search)):
            if sys.argv[3:] and name not in sys.argv[3:]:
                continue
            counts = run(Path(home), kills, dice)
            said = ", ".join(f"{victim} {count}" for victim, count in counts.items())
            print(f"{name}: equal to an undisturbed run after {kills} kills ({said})")


if __name__ == "__main__":
    main()
