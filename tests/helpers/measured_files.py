"""Small made-up files in the published formats, and the real ones where the machine has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import MEASUREMENTS

#: where downloads of the original files lie; the tests that need them skip without

TIMM = "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv"
#: 256 images in 128 ms are 2,000 images per second
TIMM_TEXT = """model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_gmacs,infer_macts
resnet50,224,2000.0,128.0,256,4.11,11.11
"""
GEMM = "gemm.csv"
#: 2 x 1000^3 FLOPs in 0.2 ms are 10 TFLOP/s
GEMM_TEXT = """device,kind,sheet,precision,M,N,K,transA,transB,time_ms,tflops
NV_V100,train,x,Float,1000,1000,1000,N,N,0.2,10.0
"""
CONV_HEAD = (
    "device,kind,sheet,precision,W,H,C,N,K,S_filter_w,R_filter_h,pad_w,pad_h,stride_w,stride_h,fwd_ms,fwd_algo\n"
)
XLA_TEXT = """arch,b,m,n,k,dtype,flops_per_s,time_us,device
sm_90,2,256,256,256,bf16xbf16->bf16,13421772800000,5.0,NVIDIA H100 (sm_90)
sm_90,1,256,256,256,f32xf32->f32,6710886400000,5.0,NVIDIA H100 (sm_90)
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def real(name: str) -> Path:
    path = MEASUREMENTS / name
    if not path.is_file():
        pytest.skip(f"the measurements are not here: no {name}")
    return path


def nasbench_row(throughput: str = "8000,700,7", **choices: int) -> str:
    """Return a line of the Accel-NASBench table; every choice is the smallest unless given."""
    least = {"e": 1, "k": 3, "l": 1, "se": 0}
    cells = [str(choices.get(f"b{i}_{c}", least[c])) for i in range(7) for c in least]
    return ",".join([*cells, throughput])


NASBENCH_HEAD = ",".join(f"b{i}_{c}" for i in range(7) for c in ("e", "k", "l", "se"))
NASBENCH_HEAD += ",throughput_a100_mean,throughput_tpuv2_mean,throughput_tpuv2_std\n"
