"""The table of operators of transformers that microsoft/vidur publishes: its projections, on one chip each.

Kernels are timed by the profiler inside of a whole layer: weights are cold. A worker of several holds its part of the
columns (before attention, and up) or of the rows (after it, and down).
"""

from __future__ import annotations

from collections.abc import Iterator

from roofline.calibration.measured.cells import Cells
from roofline.calibration.measured.files import Sheet
from roofline.calibration.measured.formats import measured_format
from roofline.calibration.measured.product_ops import WIDE, ProductCall, Replay
from roofline.calibration.measured.types import Measurement, Options
from roofline.errors import InputError

RUNTIME = "vllm"
#: how the table spells chips that the project calls otherwise (Vidur, arXiv 2405.05465, section 7: A100 of 80 GB)
DEVICES = {"a100": "a100-80gb"}
#: weights of all other layers pass through the cache before the same are used again
COLD = Replay(copies=1e6, filling=False)
_SIZES = "n_head n_kv_head n_embd n_expanded_embd use_gated_mlp num_tokens num_tensor_parallel_workers"


@measured_format(
    "vidur-operators",
    "vidur's table of operators",
    f"device model attn_pre_proj_ms attn_post_proj_ms mlp_up_proj_ms mlp_down_proj_ms {_SIZES}",
)
def operators(cells: Cells, sheet: Sheet, options: Options) -> Iterator[Measurement]:
    """Read the four projections of a layer, in milliseconds."""
    heads, kv_heads, hidden, inner, tokens, workers = cells.integers(
        "n_head", "n_kv_head", "n_embd", "n_expanded_embd", "num_tokens", "num_tensor_parallel_workers"
    )
    if hidden % heads:
        raise InputError(f"{hidden} columns do not divide over {heads} heads")
    head, spelled = hidden // heads, cells.text("device")
    device = DEVICES[spelled] if spelled in DEVICES else cells.device("device")
    columns = {
        "attn_pre_proj": ((heads + 2 * kv_heads) * head, hidden, "columns"),
        "attn_post_proj": (hidden, heads * head, "rows"),
        "mlp_up_proj": (inner * (1 + (cells.text("use_gated_mlp") == "True")), hidden, "columns"),
        "mlp_down_proj": (hidden, inner, "rows"),
    }
    for name, (n, k, cut) in columns.items():
        n, k = (n // workers, k) if cut == "columns" else (n, k // workers)
        yield Measurement(
            row=cells.row,
            label=f"{cells.text('model')} {name}: {tokens} x {n} x {k}, 1 of {workers}",
            workload=ProductCall(numbers="bfloat16", m=tokens, n=n, k=k, replay=COLD),
            device=device,
            runtime=RUNTIME,
            dtype=WIDE,
            latency_s=cells.number(f"{name}_ms") * 1e-3,
            family=name,
        )
