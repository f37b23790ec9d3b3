"""How fast the oracle of steps is: ``python benchmarks/bench_steps.py``; one core, ratios to a loop over `simulate`."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from timer import least

import roofline as rf

MODEL, DEVICE, RUNTIME = "llama-3-70b", "h100-sxm", "vllm"
WARM, COLD, LOOP = 1_000_000, 20_000, 50
#: steps a second that are wanted
WANTED = 1e6


def main() -> None:
    """Print the rates."""
    random = np.random.default_rng(0)
    batch, context = random.integers(1, 65, WARM), random.integers(1, 4000, WARM)
    one = partial(rf.simulate, MODEL, DEVICE, runtime=RUNTIME, phase="decode", batch=8)
    one(context=1)
    loop = LOOP / least(lambda: [one(context=int(c)) for c in context[:LOOP]], rounds=1)
    oracle = rf.StepOracle(MODEL, DEVICE, runtime=RUNTIME)
    oracle(1, 1, 1)
    began = time.perf_counter()
    oracle(batch[:COLD], 1, context[:COLD] + 0.5)  # no whole number: costed, not looked up
    cold = COLD / (time.perf_counter() - began)
    oracle(batch, 1, context)
    warm = WARM / least(partial(oracle, batch, 1, context), rounds=5)
    print(f"decode steps of {MODEL} on {DEVICE} under {RUNTIME}, one core")
    print(f"  simulate, one at a time {loop:>14,.0f}/s")
    print(f"  oracle, never asked     {cold:>14,.0f}/s {cold / loop:>10,.0f} x")
    print(f"  oracle, looked up       {warm:>14,.0f}/s {warm / loop:>10,.0f} x   wanted {WANTED:,.0f}")


if __name__ == "__main__":
    main()
