"""A sample of the samples that torch tests its own operators with; `benchmarks/coverage_torch_ops.py` lowers all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from coverage_torch_ops import counted, kind_of, lowered

#: contractions, windows, norms, losses, look-ups, views, and some of what is refused
OPERATORS = (
    "addmm,addbmm,baddbmm,bmm,mm,mv,matmul,einsum,inner,vdot,outer,kron,tensordot,nn.functional.linear,"
    "nn.functional.bilinear,nn.functional.conv1d,nn.functional.conv_transpose2d,nn.functional.conv3d,"
    "nn.functional.scaled_dot_product_attention,nn.functional.multi_head_attention_forward,nn.functional.max_pool1d,"
    "nn.functional.max_pool2d,nn.functional.max_unpool2d,nn.functional.adaptive_max_pool1d,nn.functional.avg_pool3d,"
    "nn.functional.fractional_max_pool2d,nn.functional.grid_sample,nn.functional.interpolate,nn.functional.layer_norm,"
    "nn.functional.cross_entropy,nn.functional.nll_loss,nn.functional.mse_loss,nn.functional.ctc_loss,"
    "nn.functional.binary_cross_entropy,nn.functional.smooth_l1_loss,nn.functional.embedding_bag,fft.*,stft,istft,"
    "cdist,cumsum,cummax,sort,topk,kthvalue,median,scatter_add,index_reduce,gather,histc,diag_embed,block_diag,trace,"
    "native_layer_norm,native_batch_norm,var_mean,expand_copy,unfold,linalg.solve,linalg.cross,nonzero,polygamma"
)


def test_torchs_own_samples_lower_or_say_why_not() -> None:
    """In a process of its own: torch's tests change settings of torch."""
    words = [sys.executable, str(ROOT / "benchmarks" / "coverage_torch_ops.py"), "--names", OPERATORS, "--samples", "2"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    found = re.search(r"(\d+) lower .*, 0 tracebacks; multiply-adds of (\d+) compared, 0 wrong", last)
    assert done.returncode == 0 and found, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(found[1]) > 100 and int(found[2]) > 20
    assert "refused: no rule (" in done.stdout and "aten.polygamma" in done.stdout


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        (lambda a: a @ a, "lowered"),
        (lambda a: a[:0], "empty"),
        (lambda a: a if a.sum() > 0 else -a, "refused"),
        (lambda a: a.polygamma(1), "refused"),
    ],
)
def test_a_sample_gets_its_verdict(program: Any, verdict: str) -> None:
    sample = SimpleNamespace(input=torch.rand(4, 4), args=(), kwargs={})
    op = SimpleNamespace(op=program, name="op")
    assert lowered(op, sample)[0] == verdict
    assert counted(op, sample) == (64 if verdict == "lowered" else 0)


def test_a_refusal_is_told_by_kind() -> None:
    assert kind_of(
        "op: no lowering rule for 'aten.a' x2, first at 'b' (3); 'aten.c' x1, first at 'd' (); register"
    ) == ("no rule: aten.a, aten.c")
    assert kind_of("op raises ValueError with inputs (3x4): 12 is bad") == "ValueError: n is bad"
