"""Readers of tables of single ops: which sizes a column means, in which unit, and which rows stand apart."""

from __future__ import annotations

from pathlib import Path

from measured_files import CONV_HEAD, GEMM, GEMM_TEXT, XLA_TEXT, write

from roofline.calibration.baselines import macs
from roofline.calibration.measured import load
from roofline.calibration.measured.types import SingleOp
from roofline.calibration.predict import prepare


def test_deepbench_gemm(tmp_path: Path) -> None:
    found = load(write(tmp_path, GEMM, GEMM_TEXT))
    (m,) = found.measurements
    assert (m.device, m.dtype, m.latency_s, m.offset_group) == ("v100", "fp32", 0.2e-3, None)
    prepared = prepare(found.measurements)
    assert prepared.gather(macs).tolist() == [1000.0**3]


def test_deepbench_convolution_and_the_algorithms_that_multiply_less(tmp_path: Path) -> None:
    row = "NV_V100,train,x,Float,28,14,64,8,128,3,3,1,1,2,2,0.1,"
    found = load(write(tmp_path, "conv.csv", f"{CONV_HEAD}{row}IMPLICIT_GEMM\n{row.replace('28', '56')}WINOGRAD\n"))
    plain, winograd = found.measurements
    assert plain.apart is None and winograd.apart is not None
    assert (plain.layout, winograd.family) == ("nchw", "winograd")
    # 8 images, 7 x 14 outputs of 128 channels, each 3 x 3 x 64 products
    assert prepare([plain]).gather(macs).tolist() == [8 * 7 * 14 * 128 * 9 * 64]


def test_xla_table_runs_fp32_as_tf32(tmp_path: Path) -> None:
    found = load(write(tmp_path, "t.csv", XLA_TEXT))
    assert [(m.device, m.runtime, m.dtype) for m in found.measurements] == [
        ("h100-sxm", "xla_gpu", "bf16"),
        ("h100-sxm", "xla_gpu", "tf32"),
    ]
    assert sorted(prepare(found.measurements).gather(macs).tolist()) == [256.0**3, 2 * 256.0**3]


def test_neusight_contracts_n(tmp_path: Path) -> None:
    text = "op,device,B,M,N,K,latency_ms\nbmm,Tesla T4,3,5,7,11,0.05\n"
    (m,) = load(write(tmp_path, "matmul.csv", text)).measurements
    assert isinstance(m.workload, SingleOp)
    assert [p.shape for p in m.workload.ports] == [(3, 5, 7), (3, 7, 11)]
    assert m.offset_group == "matmul t4"


def test_a_plain_product_in_a_convolution_is_winograds(tmp_path: Path) -> None:
    head = "op,device,B,Input_Channel,Output_Channel,Kernel_Size,Input_Size,Stride,Padding,latency_ms,kernel\n"
    rows = "".join(
        f"conv,Tesla T4,{batch},8,8,{size},9,1,1,0.1,{kernel}\n"
        for batch, (size, kernel) in enumerate(
            [
                (3, "volta_sgemm_64x64_nn"),
                (1, "volta_sgemm_64x64_nn"),
                (3, "void explicit_convolve_sgemm<float"),
                (3, "ampere_gcgemm_64x64_nt"),
            ],
            1,
        )
    )
    found = load(write(tmp_path, "conv.csv", head + rows)).measurements
    assert [m.family for m in found] == ["winograd", "conv", "conv", "fft"]


def test_llmcompass_rates_have_one_unit_per_op(tmp_path: Path) -> None:
    head = "device,op,M,N,K,latency_ms,rate,rate_unit\n"
    good = "A100,matmul,1000,1000,1000,0.2,10.0,TFLOP/s\nA100,softmax,1000,1000,,0.1,10.0,Gelem/s\n"
    found = load(write(tmp_path, "ops.csv", head + good + "A100,gelu,1000,,,0.1,0.01,TFLOP/s\n"))
    assert [m.offset_group for m in found.measurements] == ["ops matmul", "ops softmax"]
    assert "mixed units" in found.rejected[0].reason


def test_tpu_traces(tmp_path: Path) -> None:
    text = "op,shape,ndim,numel,avg_us,std_us,source\nadd,8x16x32,3,4096,1.5,0.1,data/x/y.csv\nsin,8,1,8,1.5,0.1,z\n"
    found = load(write(tmp_path, "v.csv", text))
    (m,) = found.measurements
    assert (m.device, m.runtime, m.dtype, m.latency_s) == ("tpu-v4", "xla_tpu", "fp16", 1.5e-6)
    assert "op 'sin' has no work rule" in found.rejected[0].reason
