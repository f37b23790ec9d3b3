"""Tables of layers on one TPU v6e: what rows are, what is apart or refused, and how near predictions come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from places import SHARED

import roofline as rf
from roofline.calibration.measured import Dataset, Measurement, load
from roofline.calibration.measured.serving_tpu import CHIP_FACTOR, PagedAttentionCall
from roofline.calibration.predict import prepare
from roofline.calibration.validate import validate

TABLES = SHARED / "measurements" / "llm"
needs_tables = pytest.mark.skipif(not TABLES.is_dir(), reason="measured tables are not here")
ATTENTION = (
    "device,model,tp,n_embd,n_q_head,n_kv_head,batch_size,prefill_chunk_size,kv_cache_size,is_prefill,mean_ns,p50_ns"
)
LAYERS = "device,model,tp,layer_name,input,kv_cache,tp_size,latency(ns)"
LLAMA = "TPU-v6e-1,meta-llama/Llama-3.1-8B,tp1"


def table(tmp_path: Path, head: str, *rows: str) -> Dataset:
    path = tmp_path / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return load(path)


def call(row: Measurement) -> PagedAttentionCall:
    assert isinstance(row.workload, PagedAttentionCall)
    return row.workload


def test_prompts_and_steps_of_attention_are_read(tmp_path: Path) -> None:
    """A chunk of 96 tokens behind 64; and 20 sequences that get a token each behind 416."""
    rows = (f"{LLAMA},,,,1,96,64,True,12345.5,12000", f"{LLAMA},,,,20,0,416,False,150000,150000")
    prompt, step = table(tmp_path, ATTENTION, *rows).measurements
    assert (call(prompt).batch, call(prompt).queries, call(prompt).context) == (1, 96, 64)
    assert (call(step).batch, call(step).queries, call(step).context) == (20, 1, 416)
    assert (prompt.family, step.family) == ("prefill", "decode")
    assert prompt.device == "tpu-v6e"
    assert prompt.latency_s == 12345.5e-9
    assert not prompt.network


def test_small_caches_are_kept_on_chip(tmp_path: Path) -> None:
    """16 sequences of 28 pages are 448; a seventeenth moves the cache to the main memory, and all become faster."""
    lines = [f"{LLAMA},,,,{batch},0,440,False,150000,150000" for batch in (16, 17)]
    prepared = prepare(table(tmp_path, ATTENTION, *lines).measurements)
    sixteen, seventeen = prepared.predict()
    assert sixteen / 16 > 1.2 * seventeen / 17
    assert sixteen / 16 < CHIP_FACTOR * seventeen / 17


def test_a_call_is_timed_as_the_kernel_of_a_simulation_is(tmp_path: Path) -> None:
    """Where the cache lies in the main memory: 32 sequences behind 1,023 tokens, in each layer of Llama 3.1 8B."""
    row = f"{LLAMA},,,,32,0,1023,False,150000,150000"
    predicted = prepare(table(tmp_path, ATTENTION, row).measurements).predict()
    report = rf.simulate("llama-3.1-8b", "tpu-v6e", runtime="jax_serving", phase="decode", context=1023, batch=32)
    kernels = report.kernels
    assert kernels.time_s[kernels.kind == "attention"].sum() == pytest.approx(32 * float(predicted[0]))


def test_projections_are_read_refused_or_set_apart(tmp_path: Path) -> None:
    rows = (
        f"{LLAMA},gate_proj,512,0,1,92400",
        f"{LLAMA},down_proj,511,0,1,95000",
        f"{LLAMA},down_proj,512,0,1,95000",
        f"{LLAMA},lm_head,1,0,1,336484",  # 4096 x 128256 x 2 bytes in 336 us: 3.1 TB/s, of 1.6
        f"{LLAMA},norm,1,0,1,336484",
    )
    found = table(tmp_path, LAYERS, *rows)
    assert [m.family for m in found.measurements] == ["gate_proj", "down_proj", "down_proj"]
    assert [m.apart is None for m in found.measurements] == [True, False, True]
    assert [r.row for r in found.rejected] == [5, 6]
    assert "1.91 x the bandwidth" in found.rejected[0].reason
    assert "layer_name 'norm' is none of" in found.rejected[1].reason


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("TPU-v6e-4,meta-llama/Llama-3.1-8B,tp1,,,,1,0,32,False,1e4,1e4", "'TPU-v6e-4' is not one chip"),
        ("TPU-v6e-1,somebody/else,tp1,,,,1,0,32,False,1e4,1e4", "model 'somebody/else' is none of"),
        (f"{LLAMA},,,,1,0,32,True,1e4,1e4", "prefill_chunk_size must be a whole number of at least 1"),
    ],
)
def test_rows_that_say_too_little_are_left_out(tmp_path: Path, line: str, message: str) -> None:
    good = f"{LLAMA},,,,1,0,64,False,1e4,1e4"
    found = table(tmp_path, ATTENTION, good, line)
    assert len(found.measurements) == 1
    assert message in found.rejected[0].reason


@needs_tables
def test_attention_is_predicted_within_the_stated_errors() -> None:
    (found,) = validate([TABLES / "tpu_v6e_attention.csv.gz"]).comparisons
    families = found.families()
    assert len(found.measurements) == 5738
    assert families["decode"].median < 0.02
    assert families["prefill"].median < 0.03
    assert min(families["decode"].tau, families["prefill"].tau) > 0.97


@needs_tables
def test_projections_are_predicted_within_the_stated_errors() -> None:
    (found,) = validate([TABLES / "tpu_v6e_layers.csv.gz"]).comparisons
    families = found.families()
    assert found.agreement().median < 0.06
    assert all(families[name].median < 0.07 for name in ("gate_proj", "down_proj", "lm_head"))
    assert np.isclose(sum(found.counted), 5320)
