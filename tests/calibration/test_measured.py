"""Readers of published formats: what a row means, and what is refused with which reason."""

from __future__ import annotations

import gzip
import json
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_files import (
    CONV_HEAD,
    GEMM,
    GEMM_TEXT,
    NASBENCH_HEAD,
    TIMM,
    TIMM_TEXT,
    nasbench_row,
    real,
    write,
)

from roofline.arch.build import op_graph
from roofline.arch.spec import Arch
from roofline.calibration.baselines import macs
from roofline.calibration.measured import FORMATS, Options, load
from roofline.calibration.measured.graphs import GraphSource
from roofline.calibration.predict import prepare
from roofline.dtypes import precision
from roofline.errors import InputError
from roofline.measure.timm_graphs import TimmNetwork
from roofline.passes.policy import policy
from roofline.software.load import runtime
from roofline.studies import published


def test_timm_row(tmp_path: Path) -> None:
    (m,) = load(write(tmp_path, TIMM, TIMM_TEXT)).measurements
    assert m.workload == TimmNetwork(name="resnet50", image_size=224, low_norms="convolutional")
    assert (m.device, m.runtime, m.dtype, m.layout) == ("rtx-3090", "pytorch_eager", "amp_fp16", "nhwc")
    assert (m.batch, m.latency_s, m.family, m.mode, m.row) == (256, 0.128, "resnet", "inference", 2)


@pytest.mark.parametrize(
    ("name", "device", "runtime", "layout"),
    [
        ("benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo.csv", "rtx-4090", "pytorch_compile", "nchw"),
        ("benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv", "rtx-4090", "pytorch_eager", "nhwc"),
    ],
)
def test_the_file_name_tells_the_conditions(tmp_path: Path, name: str, device: str, runtime: str, layout: str) -> None:
    (m,) = load(write(tmp_path, name, TIMM_TEXT)).measurements
    assert (m.device, m.runtime, m.layout) == (device, runtime, layout)


def test_a_file_name_that_tells_nothing_needs_a_device(tmp_path: Path) -> None:
    path = write(tmp_path, "results-amp.csv", TIMM_TEXT)
    with pytest.raises(InputError, match="the file name tells no device"):
        load(path)
    (m,) = load(path, Options(device="RTX_3090")).measurements
    assert m.device == "rtx-3090"


def test_a_training_file_is_told_from_an_inference_file(tmp_path: Path) -> None:
    text = TIMM_TEXT.replace("infer_", "train_")
    (m,) = load(write(tmp_path, TIMM.replace("infer", "train"), text)).measurements
    assert m.mode == "training"


def test_seconds_in_a_file_of_milliseconds_are_found(tmp_path: Path) -> None:
    rows = TIMM_TEXT + "resnet26,224,2000.0,0.128,256,16.0,2.36,7.35\n"
    found = load(write(tmp_path, TIMM, rows))
    assert len(found.measurements) == 1
    assert [r.row for r in found.rejected] == [3]
    assert "mixed units" in found.rejected[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("resnet26,224,2000.0,nan,256,1,1,1", "infer_step_time must be positive and finite, got 'nan'"),
        ("resnet26,224,2000.0,,256,1,1,1", "no infer_step_time"),
        ("resnet26,224,2000.0,128 ms,256,1,1,1", "infer_step_time is no number: '128 ms'"),
        ("resnet26,224.5,2000.0,128,256,1,1,1", "infer_img_size must be a whole number"),
        ("resnet50,224,2000.0,128.0,256,25.56,4.11,11.11", "measured before, in row 2"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_is_read(tmp_path: Path, row: str, reason: str) -> None:
    found = load(write(tmp_path, TIMM, f"{TIMM_TEXT}{row}\nresnet34,224,2000.0,128.0,256,1,1,1\n"))
    assert [m.row for m in found.measurements] == [2, 4]
    assert [r.row for r in found.rejected] == [3]
    assert reason in found.rejected[0].reason


def test_a_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no usable row, 1 rejected; row 2: no infer_step_time"):
        load(write(tmp_path, TIMM, TIMM_TEXT.replace("128.0", "")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "format not known; nearest is"),
        (GEMM_TEXT.replace(",time_ms", ",milliseconds"), "which needs columns time_ms"),
        ("", "no rows"),
        ("M,M\n1,2\n", "column 'M' appears twice"),
        ("{not json", "not valid JSON"),
    ],
)
def test_a_file_of_no_known_format_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load(write(tmp_path, "x.csv", text))


def test_missing_and_binary_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        load(tmp_path / "b.csv")


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gemm.csv.gz"
    path.write_bytes(gzip.compress(GEMM_TEXT.encode()))
    assert len(load(path).measurements) == 1


def test_nasbench_row_is_two_measurements(tmp_path: Path) -> None:
    found = load(write(tmp_path, "nas.csv", f"{NASBENCH_HEAD}{nasbench_row(b0_e=6)}\n"))
    gpu, tpu = found.measurements
    assert isinstance(gpu.workload, Arch)
    assert (gpu.device, gpu.batch, gpu.workload.image_size, gpu.latency_s) == ("a100-40gb", 256, 256, 256 / 8000)
    assert (tpu.device, tpu.cores, tpu.batch, tpu.mode, tpu.latency_s) == ("tpu-v2", 1, 64, "forward_saving", 64 / 700)
    alone = prepare([gpu]).gather(macs)
    assert alone.tolist() == [pytest.approx(op_graph(gpu.workload, batch=256).macs)]


def test_nasbench_rows_whose_repeats_differ_lose_that_figure_only(tmp_path: Path) -> None:
    rows = f"{nasbench_row('8000,700,21')}\n{nasbench_row('8000,,', b0_l=2)}\n"  # 21 is 3 % of 700
    found = load(write(tmp_path, "nas.csv", NASBENCH_HEAD + rows))
    assert [m.device for m in found.measurements] == ["a100-40gb"] * 2
    assert "repeats differ by 3.0%" in found.rejected[0].reason
    assert "no throughput_tpuv2_mean" in found.rejected[1].reason


def test_nasbench_archive(tmp_path: Path) -> None:
    cells = dict(zip(NASBENCH_HEAD.strip().split(","), nasbench_row().split(","), strict=True))
    config = {k.replace("b", "block", 1): int(v) for k, v in cells.items() if k[0] == "b"}
    archive = {"archive": {"17": {"config": config, "throughput_a100_mean": 8000.0}}}
    (m,) = load(write(tmp_path, "nas.json", json.dumps(archive))).measurements
    assert (m.device, m.latency_s) == ("a100-40gb", 256 / 8000)


def test_ones_own_table_of_latencies(tmp_path: Path) -> None:
    text = "model,gpu,image_size,framework,precision,batch,latency_ms\n"
    text += "efficientnet-b0,V100-SXM3-32GB,240,TensorRT 8.0,fp16,8,2.5\nalexnet,V100,,TF,,1,1\n"
    found = load(write(tmp_path, "own.csv", text))
    (m,) = found.measurements
    assert (m.device, m.runtime, m.dtype, m.batch, m.latency_s) == ("v100", "tensorrt", "fp16", 8, 2.5e-3)
    assert isinstance(m.workload, Arch) and (m.workload.image_size, m.family) == (240, "efficientnet")
    assert "unknown model 'alexnet'" in found.rejected[0].reason


def test_the_figures_that_the_project_quotes() -> None:
    path = Path(published.__file__).with_suffix(".toml")
    found = load(path, Options(device="tpu-v3"))
    assert not found.rejected and {m.runtime for m in found.measurements} == {"xla_tpu"}
    assert {m.label: m.latency_s for m in found.measurements}["efficientnet-b0 @224"] == 13.4e-3


def test_options_filter_overrule_and_limit(tmp_path: Path) -> None:
    rows = NASBENCH_HEAD + "".join(f"{nasbench_row(b0_l=n)}\n" for n in (1, 2, 3))
    path = write(tmp_path, "nas.csv", rows)
    assert {m.device for m in load(path, Options(device="TPUv2")).measurements} == {"tpu-v2"}
    found = load(path, Options(dtype="fp32", runtime="tensorrt", layout="nchw", device="a100-40gb", limit=2))
    assert [m.row for m in found.measurements] == [2, 4]
    assert {(m.dtype, m.runtime, m.layout) for m in found.measurements} == {("fp32", "tensorrt", "nchw")}
    assert load(path, Options(family_column="b0_l")).measurements[-1].family == "3"
    with pytest.raises(InputError, match="no column 'colour'"):
        load(path, Options(family_column="colour"))
    with pytest.raises(InputError, match="no usable row of 't4'"):
        load(path, Options(device="t4"))


def test_a_row_that_does_not_build_is_rejected_alone(tmp_path: Path) -> None:
    good = "NV_V100,train,x,Float,28,14,64,8,128,3,3,1,1,2,2,0.1,IMPLICIT_GEMM\n"
    bad = good.replace("28,14", "2,2").replace("1,1,2,2", "0,0,1,1")  # a 3 x 3 window in 2 x 2 pixels
    found = prepare(load(write(tmp_path, "conv.csv", CONV_HEAD + good + bad)).measurements)
    assert [m.row for m in found.measurements] == [2]
    assert [r.row for r in found.rejected] == [3]
    assert "does not fit" in found.rejected[0].reason


def test_a_device_without_the_dtype_rejects_its_rows(tmp_path: Path) -> None:
    rows = load(write(tmp_path, GEMM, GEMM_TEXT), Options(dtype="bf16")).measurements
    found = prepare(rows)
    assert len(found) == 0 and "bf16" in found.rejected[0].reason


def test_a_subset_predicts_what_the_whole_predicted(tmp_path: Path) -> None:
    rows = NASBENCH_HEAD + "".join(f"{nasbench_row(b0_l=n, b3_e=e)}\n" for n in (1, 2, 3) for e in (1, 4))
    prepared = prepare(load(write(tmp_path, "nas.csv", rows)).measurements)
    whole = prepared.predict()
    keep = [i % 3 != 1 for i in range(len(prepared))]
    part = prepared.subset(keep)
    assert part.predict().tolist() == whole[keep].tolist()
    assert [m.row for m in part.measurements] == [m.row for m, k in zip(prepared.measurements, keep, strict=True) if k]


def test_networks_of_timm_are_traced_once_and_kept(tmp_path: Path) -> None:
    if not (find_spec("torch") and find_spec("timm")):
        pytest.skip("PyTorch or timm is not installed")
    network = TimmNetwork(name="resnet10t", image_size=64)
    first = GraphSource(tmp_path).graph(network, 2)
    assert len(list(tmp_path.iterdir())) == 1
    assert GraphSource(tmp_path).graph(network, 2).macs == first.macs
    rules = policy(runtime("pytorch_eager", "gpu"), precision("amp_fp16"), "nhwc")
    table = GraphSource(tmp_path).table(network, 2, rules)
    assert len(list(tmp_path.iterdir())) == 2
    again = GraphSource(tmp_path).table(network, 2, rules).kernels
    assert again.macs.tolist() == table.kernels.macs.tolist()
    assert table.labels == GraphSource(tmp_path).table(network, 2, rules).labels
    assert float((table.kernels.times * table.kernels.macs).sum()) == first.macs
    with pytest.raises(InputError, match="timm does not build 'no_such_net'"):
        GraphSource(tmp_path).graph(TimmNetwork(name="no_such_net", image_size=64), 2)


class _Marker:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_what_is_kept_runs_nothing_when_it_is_read(tmp_path: Path) -> None:
    if not (find_spec("torch") and find_spec("timm")):
        pytest.skip("PyTorch or timm is not installed")
    network = TimmNetwork(name="resnet10t", image_size=64)
    rules = policy(runtime("pytorch_eager", "gpu"), precision("amp_fp16"), "nhwc")
    folder, marker = tmp_path / "kept", tmp_path / "marker"
    whole = GraphSource(folder).table(network, 2, rules).kernels
    hostile = pickle.dumps(_Marker(marker))
    np.savez(tmp_path / "objects.npz", labels=np.array([_Marker(marker)], dtype=object))
    for path in list(folder.iterdir()):
        (folder / f"{path.name.split('.')[0]}.pickle").write_bytes(hostile)
        path.write_bytes((tmp_path / "objects.npz").read_bytes() if path.suffix == ".npz" else hostile)
    assert GraphSource(folder).table(network, 2, rules).kernels.macs.tolist() == whole.macs.tolist()
    assert not marker.exists()
    pickle.loads(hostile)
    assert marker.exists()


@pytest.mark.parametrize(
    ("name", "form", "fewest"),
    [
        ("a100_fp16_ops.csv", "llmcompass", 80),
        ("tpu_v4_matmul.csv", "tpu-trace-matmul", 95),
        ("tpu_v4_vector_ops.csv", "tpu-trace-vector", 95),
        ("tpu_v4_hbm_to_vmem_copy.csv", "tpu-trace-copy", 75),
        ("tpu_gemm_results_v6e.csv", "tpu-gemm", 80),
        ("h100_matmul.csv.gz", "xla-matmul", 95),
        ("v100_gemm.csv", "deepbench-gemm", 95),
        ("v100_conv.csv", "deepbench-conv", 90),
        ("gpu_fp32_matmul.csv.gz", "neusight-matmul", 95),
        ("gpu_fp32_conv2d.csv.gz", "neusight-conv", 95),
        ("gpu_fp32_vector_ops.csv.gz", "neusight-vector", 95),
        ("accel_nasbench.csv.gz", "accel-nasbench-b", 150),
        (f"timm/{TIMM}", "timm-infer", 95),
    ],
)
def test_the_original_files_are_read(name: str, form: str, fewest: int) -> None:
    found = load(real(name), Options(limit=100))
    assert found.format == form in FORMATS
    assert len(found.measurements) >= fewest
