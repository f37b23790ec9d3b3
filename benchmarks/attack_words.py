"""Wild argument lists for every verb: ``python benchmarks/attack_words.py [LISTS [SEED]]``.

Words come from the verbs' own options, from names that exist, from files that are fine and damaged, and from nowhere.
A list ends with status 0, with 2 and one line, or with 130; most run in this process, some in one of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from attack import MEMORY_BYTES, PATIENCE_S, mutant
from loaders import LOADERS
from patience import patience

from roofline.cli.app import app, main

#: verbs that would run for as long as they are let: their help and their mistakes only
ENDLESS = ("serve", "measure")
#: what keeps a search, a sweep or a scaling short; wild words may come after it
SHORT = {
    "search": ("--evaluations", "64", "--no-baselines"),
    "sweep": ("--workers", "0"),
    "scale": ("--help",),
}
NAMES = (
    *("resnet-18", "vit-ti-16", "efficientnet-x-b0", "mobilenet-v3-large", "v100", "tpu-v3", "h100-sxm", "t4", "vit"),
    *("accel-nasbench", "tensorrt", "xla", "bf16", "int8", "amp_fp16", "nchw", "json", "csv", "training", "adam"),
    *("hbm.bandwidth_bytes_per_s*=2", "v100:l2.capacity_bytes=0", "clock_hz/=2", "cores=2", "macs", "pairwise"),
    *("1", "8", "224", "8,16", "v100=8", "v100=8,tpu-v3=4", "x=3", "8x3x32x32", "8x128:int32", "0.5", "json:loads"),
)
NOWHERE = (
    *("", " ", "-", "--", "-x", "--no", "=", ",", ":", "@", "0", "-1", "1.5", "nan", "inf", "-inf", "1e400", "9" * 30),
    *(
        "9" * 5000,
        "x" * 300,
        "x" * 5000,
        "\x1b[2J",
        "\udcff",
        "\ud800",
        "a\0b",
        "a\nb",
        "é漢😀",
        "$\\frac{",
        "%s%n",
        "{0}",
    ),
    *(
        ".",
        "..",
        "/",
        "~",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "pipe",
        "folder",
        "nowhere/x.json",
        "x.toml",
        "x.onnx",
    ),
    *(
        "hbm.capacity_bytes=0",
        "l2.bandwidth_bytes_per_s=0",
        "v100:=1",
        "hbm=",
        "cmem.capacity_bytes=1",
        "a=b=c",
        "*",
        "?",
    ),
)
OUTPUTS = (".json", ".csv", ".html", ".svg", ".png", ".trace.json", ".sqlite", ".parquet", ".npz", ".yaml", ".toml", "")
#: how often a value is what somebody would write
USUALLY = 0.85
#: what a verb is about
FIRST = {
    "search": ("vit", "resnet"),
    "lut": ("vit", "accel-nasbench"),
    "sweep": ("one.toml", "two.toml", "bad-one.toml"),
    "validate": ("gemm.csv", "latency.csv", "xla.csv", "latency.json", "bad-gemm.csv"),
    "calibrate": ("gemm.csv", "folder"),
    "devices": ("v100",),
    "runtimes": ("xla_tpu",),
    "gap": ("resnet-18,resnet-34,resnet-50",),
}
#: what somebody would write behind an option, by its name
USUAL = {
    **dict.fromkeys(("--batch", "--cores", "--limit", "--worst", "--seed", "--population", "--islands"), ("1", "8")),
    **dict.fromkeys(("--dtype", "--from-dtype"), ("bf16", "fp16", "fp32", "amp_fp16", "int8")),
    **dict.fromkeys(("--format",), ("json", "csv", "table")),
    **dict.fromkeys(("--device", "--from", "--to"), ("v100", "tpu-v3", "v100,t4")),
    **dict.fromkeys(("--set",), ("hbm.bandwidth_bytes_per_s*=2", "cores=1", "hbm.capacity_bytes/=2")),
    **dict.fromkeys(("--output", "--plot", "--save-graph"), tuple(f"out{suffix}" for suffix in OUTPUTS)),
    **dict.fromkeys(("--layout",), ("nchw", "nhwc")),
    **dict.fromkeys(("--mode",), ("inference", "training", "forward_saving")),
    **dict.fromkeys(("--image-size",), ("224", "64")),
    **dict.fromkeys(("--runtime",), ("xla", "tensorrt", "pytorch_eager")),
    **dict.fromkeys(("--graph",), ("tiny.json", "resnet-18.json", "bad-tiny.json")),
    **dict.fromkeys(("--onnx",), ("cnn.onnx", "attention.onnx", "bad-cnn.onnx")),
    **dict.fromkeys(("--torch-profile",), ("trace.json", "bad-trace.json")),
}
#: of so many lists one runs in a process of its own
OWN_PROCESS = 100


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a verb: how it is written, and whether a value follows."""

    words: tuple[str, ...]
    flag: bool


def options() -> dict[str, list[Option]]:
    """Return verb -> options, as the command declares them."""
    group: Any = typer.main.get_command(app)
    found: dict[str, list[Option]] = {}
    for name, command in group.commands.items():
        # a plugin that is found runs, and stays: its mistakes are those of tests/test_plugins.py
        declared = [p for p in command.params if p.param_type_name == "option" and p.name != "plugin"]
        found[name] = [Option(words=(*p.opts, *p.secondary_opts), flag=p.is_flag) for p in declared]
    return found


def furnish(folder: Path, dice: random.Random) -> list[str]:
    """Put files into a folder, fine ones and mutants of them, and a pipe; return their names."""
    (folder / "folder").mkdir(exist_ok=True)
    if not (folder / "pipe").exists():
        os.mkfifo(folder / "pipe")
    names = []
    for loader in LOADERS:
        if loader.weight < 1 or loader.name == "tables":  # seconds for each, and loaders of their own in attack.py
            continue
        seeds = loader.seeds(folder)
        for name in sorted(seeds)[:8]:
            (folder / name).write_bytes(seeds[name])
            (folder / f"bad-{name}").write_bytes(mutant(seeds[name], dice))
            names += [name, f"bad-{name}"]
    return names


def lists(count: int, seed: int, files: list[str]) -> Iterator[list[str]]:
    """Yield argument lists."""
    dice, verbs = random.Random(seed), options()

    def value(option: str = "") -> str:
        kind = dice.random()
        if option in USUAL and dice.random() < USUALLY:
            return dice.choice(USUAL[option])
        if kind < 0.4:
            return dice.choice(NAMES)
        if kind < 0.65:
            return dice.choice(files)
        return f"out{dice.choice(OUTPUTS)}" if kind < 0.75 else dice.choice(NOWHERE)

    for _ in range(count):
        verb = dice.choice([*verbs, "", "x"])
        words = [verb, *SHORT.get(verb, ())]
        if verb in ENDLESS:
            words.append(dice.choice(("--help", "--no-such-option")))
        if dice.random() < 0.8:
            words.append(dice.choice(FIRST.get(verb, ("resnet-18", "vit-ti-16"))) if dice.random() < 0.8 else value())
        if dice.random() < 0.8 and any("--device" in option.words for option in verbs.get(verb, ())):
            words += ["--device", value("--device")]
        for _ in range(dice.choice((0, 1, 1, 2, 3, 5))):
            option = dice.choice(verbs.get(verb) or verbs["simulate"])
            words.append(dice.choice(option.words))
            if not option.flag or dice.random() < 0.02:
                words.append(value(max(option.words, key=len)))
        if dice.random() < 0.1:
            words.insert(dice.randint(1, len(words)), value())
        if dice.random() < 0.6 and verb not in ("sweep", "search"):
            words += ["--force"] if any("--force" in option.words for option in verbs.get(verb, ())) else []
        yield words


def judged(status: int, out: str, error: str) -> str | None:
    """Return what is wrong with how a command ended."""
    lines = [line for line in error.splitlines() if not line.startswith(("warning: ", "found ", "fitting "))]
    if "Traceback" in error + out:
        return f"a traceback: {lines[-1:]}"
    if status not in (0, 2, 130):
        return f"status {status}: {lines[-1:]}"
    if status == 2 and (len(lines) != 1 or not lines[0].startswith("error: ")):
        return f"not one line: {lines[:3]!r:.300}"
    return "a command of the terminal" if set("\x1b\x9b") & set(out + error) else None


#: how lists of this process ended: status -> how many
ENDED: Counter[int] = Counter()


def here(words: list[str]) -> str | None:
    """Run a list in this process."""
    out, error = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            patience(PATIENCE_S),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error", RuntimeWarning)
            status = main(words)
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(problem.__traceback__)
        places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-6:]))
        return f"{type(problem).__name__}: {str(problem)[:160]!r} at {places}"
    ENDED[status] += 1
    return judged(status, out.getvalue(), error.getvalue())


def apart(words: list[str]) -> str | None:
    """Run a list in a process of its own."""
    if any("\0" in word or not word.isascii() for word in words):
        return None  # no system passes those on
    done = subprocess.run(
        [sys.executable, "-m", "roofline.cli", *words], capture_output=True, text=True, timeout=10 * PATIENCE_S,
        stdin=subprocess.DEVNULL, errors="replace",
    )  # fmt: skip
    return judged(done.returncode, done.stdout, done.stderr)


def attack(count: int, seed: int, folder: Path, own_process: int = OWN_PROCESS) -> Iterator[tuple[list[str], str]]:
    """Yield the lists that end otherwise, and how; the current folder must be `folder`."""
    files = furnish(folder, random.Random(seed))
    for number, words in enumerate(lists(count, seed, files)):
        wrong = apart(words) if own_process and number % own_process == own_process - 1 else here(words)
        if wrong:
            yield words, wrong


def run() -> int:
    """Attack, and say what was found; 1 if anything was."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        found = list(attack(count, seed, Path(home)))
        os.chdir("/")
    kinds: dict[str, list[str]] = {}
    for words, wrong in found:
        kinds.setdefault(wrong, words)
    for wrong, times in Counter(wrong for _, wrong in found).most_common(20):
        print(f"  {times} x {wrong}\n    {' '.join(map(repr, kinds[wrong])):.300}")
    ended = ", ".join(f"{times:,} with status {status}" for status, times in sorted(ENDED.items()))
    print(
        f"{count:,} argument lists, seed {seed}, in {time.monotonic() - began:.0f} s ({ended}): {len(found)} tracebacks"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run())
