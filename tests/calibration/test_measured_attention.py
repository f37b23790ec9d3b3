"""The tables of attention: what a row says, what its collector adds, and how far off predictions are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measured_files import write

from roofline.calibration.library_fit import library_constants, with_constants
from roofline.calibration.measured import Options, load
from roofline.calibration.measured.attention_ops import AROUND, AttentionCall
from roofline.calibration.predict import prepare
from roofline.calibration.validate import validate
from roofline.software.load import runtime

SHARED = Path(__file__).parents[3] / "shared" / "measurements" / "llm"
HEAD = (
    "system,framework,version,kernel_source,batch_size,isl,num_heads,num_key_value_heads,head_dim,attn_dtype,"
    "kv_cache_dtype,step,window_size,latency\n"
)
ENCODER = "system,framework,version,device,op_name,kernel_source,batch_size,isl,num_heads,head_dim,attn_dtype,latency\n"


def _call(tmp_path: Path, row: str, head: str = HEAD) -> AttentionCall:
    (m,) = load(write(tmp_path, "attention.csv", f"{head}{row}\n")).measurements
    assert isinstance(m.workload, AttentionCall)
    return m.workload


def test_prompts_steps_and_encoders(tmp_path: Path) -> None:
    prompt = _call(tmp_path, "h100_sxm,VLLM,1,vllm_flash_attn_fa3,4,512,32,8,128,bfloat16,fp8,0,128.0,0.1")
    assert (prompt.kind, prompt.queries, prompt.keys, prompt.window) == ("prompt", 512, 512, 128)
    assert (prompt.dtype, prompt.kept, prompt.runtime) == ("bf16", "fp8", "vllm")
    step = _call(tmp_path, "a100_sxm,TRTLLM,1,torch_flow,4,1,32,8,128,bfloat16,bfloat16,1023,,0.1")
    assert (step.kind, step.queries, step.keys, step.window) == ("step", 1, 1024, 0)
    cached = _call(tmp_path, "l40s,VLLM,1,vllm_flash_attn_fa2,4,64,32,8,128,bfloat16,bfloat16,960,,0.1")
    assert (cached.queries, cached.keys, cached.new_tokens) == (64, 1024, False)
    encoder = _call(tmp_path, "l40s,VLLM,1,NVIDIA L40S,encoder_attention,fa2,4,577,16,80,bfloat16,0.3", ENCODER)
    assert (encoder.kind, encoder.kv_heads, encoder.causal) == ("encoder", 16, False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("h100_sxm,VLLM,1,fa3,4,512,32,5,128,bfloat16,fp8,0,,0.1", "32 heads do not share 5"),
        ("h100_sxm,SGLANG,1,fa3,4,512,32,8,128,bfloat16,fp8,0,,0.1", "framework 'SGLANG'"),
        ("h100_sxm,VLLM,1,fa3,4,512,32,8,128,int3,fp8,0,,0.1", "attn_dtype 'int3'"),
        ("h100_sxm,VLLM,1,fa3,64,8192,32,8,128,bfloat16,bfloat16,0,,1.0", "x the peak"),
        ("h100_sxm,VLLM,1,fa3,512,1,32,8,128,bfloat16,bfloat16,8191,,1.0", "x the bandwidth"),
    ],
)
def test_rows_that_say_nothing_are_counted(tmp_path: Path, row: str, reason: str) -> None:
    good = "h100_sxm,VLLM,1,vllm_flash_attn_fa3,4,512,32,8,128,bfloat16,bfloat16,0,,0.1"
    found = load(write(tmp_path, "attention.csv", f"{HEAD}{good}\n{row}\n"))
    assert len(found.measurements) == 1
    (rejected,) = found.rejected
    assert reason in rejected.reason


def test_a_prompt_writes_its_cache_beside_attention(tmp_path: Path) -> None:
    """Passes over keys and values at the main memory: the same prompt with 8 times the key heads moves 8 times as much.

    4 x 65,536 tokens: 1 GiB of keys and values of 8 heads in bf16 fits into no cache.
    """
    rows = [f"a100_sxm,VLLM,1,vllm_flash_attn,4,65536,8,{n},128,bfloat16,bfloat16,0,,9e9" for n in (1, 8)]
    found = load(write(tmp_path, "attention.csv", HEAD + "\n".join(rows) + "\n"))
    few, many = prepare(found.measurements).predict()
    moved = 4 * 65536 * 7 * 128 * 2 * 2
    most = AROUND["vllm", False].kept * moved / (0.93 * 2039e9)
    assert many - few == pytest.approx(most, rel=0.05)


def test_steps_that_fit_into_the_cache_are_read_from_it(tmp_path: Path) -> None:
    """33 MB of keys and values fit into an L40S' 96 MiB, 268 MB do not: eight times as many take much longer."""
    rows = [f"l40s,VLLM,1,vllm_flash_attn_fa2,{n},1,32,8,128,bfloat16,bfloat16,1023,,9e9" for n in (8, 64)]
    found = load(write(tmp_path, "attention.csv", HEAD + "\n".join(rows) + "\n"))
    small, large = prepare(found.measurements).predict()
    assert large > 12 * (small - 10e-6)


BARS = {"context": 9.5, "encoder": 8.5, "generation": 11.0}


@pytest.mark.skipif(not SHARED.exists(), reason="measurements are not beside the project")
@pytest.mark.parametrize(("kind", "bar"), BARS.items())
def test_median_error_of_the_tables(kind: str, bar: float) -> None:
    found = validate([SHARED / f"{kind}_attention.csv.gz"], Options(limit=6000))
    error = np.concatenate([np.abs(c.predicted_s / c.measured_s - 1.0) for c in found.comparisons])
    assert 100 * np.median(error) < bar
    assert all(c.agreement().tau > 0.75 for c in found.comparisons)


def test_the_constants_that_all_libraries_share_can_be_fitted_again() -> None:
    """Nine, below the ten that a kind may have; a runtime gets them where it keeps libraries of attention."""
    assert len(library_constants("attention")) == 9
    adapted = with_constants("attention", {"row_cycles": 1.0})(runtime("vllm", "gpu"))
    assert {one.row_cycles for one in adapted.fused_attention} == {1.0}
