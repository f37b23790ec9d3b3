"""Every loader of the project with files that are fine, for ``attack.py``: what is read, and what is done with it."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import roofline as rf
from roofline.calibration.measured import load as load_measurements
from roofline.calibration.profile import compare_profile
from roofline.calibration.validate import validate
from roofline.cluster.identity import identities
from roofline.cluster.plan import Plan, load_plan, units_of
from roofline.cluster.work import rows
from roofline.graph.serial import as_dict
from roofline.measure.store import read_facts
from roofline.paths import data_files
from roofline.search.accuracy.choose import accuracy_oracle
from roofline.search.oracle.latency import Oracle
from roofline.search.space.load import search_space


@dataclass(frozen=True, kw_only=True)
class Loader:
    """What reads a kind of file.

    Attributes
    ----------
    seeds
        Name -> content of files that are fine, for a folder in which others may be put beside them.
    use
        Reads one and does with it what people do; numbers that must be finite.
    weight
        Share of the mutants, beside those of other loaders: fewer where one takes long.
    """

    name: str
    seeds: Callable[[Path], dict[str, bytes]]
    use: Callable[[Path], Iterable[float]]
    weight: float = 1.0


def shipped(folder: str) -> Callable[[Path], dict[str, bytes]]:
    """Return the TOML files of a data folder."""
    return lambda _: {path.name: path.read_bytes() for path in data_files(folder).values()}


def of_model(path: Path) -> list[float]:
    """Simulate the last network of a family's file."""
    name = [name for name in rf.models() if name.startswith(path.stem)][-1]
    return [rf.simulate(rf.model(f"{path}:{name}"), "v100").latency_s]


def graphs(_: Path) -> dict[str, bytes]:
    """Return a network of a few ops, and one of some dozens."""
    b = rf.GraphBuilder("tiny")
    y = b.batch_norm(b.conv(b.input("image", (1, 8, 8, 3)), 4, kernel=3, stride=2))
    y = b.concat([b.relu(y), b.activation("swish", y)])
    tiny = b.graph([b.linear(b.mean(y, (1, 2), keep=False), 5)])
    return {f"{g.name}.json": json.dumps(as_dict(g)).encode() for g in (tiny, rf.op_graph("resnet-18"))}


def onnx_files(_: Path) -> dict[str, bytes]:
    """Return a convolutional network and an attention with shapes that are computed."""
    from onnx import TensorProto, helper, numpy_helper

    def model(nodes: list[Any], x: list[int], stored: list[Any]) -> bytes:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x)
        graph = helper.make_graph(nodes, "g", [given], [helper.make_tensor_value_info("y", 1, None)], stored)
        return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())

    def weight(name: str, *dims: int) -> Any:
        return numpy_helper.from_array(np.zeros(dims, dtype=np.float32), name)

    def ints(name: str, *values: int) -> Any:
        return numpy_helper.from_array(np.array(values), name)

    node = helper.make_node
    cnn = [
        node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    attention = [
        node("Shape", ["x"], ["n"]),
        node("Gather", ["n", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["to"], axis=0),
        node("MatMul", ["x", "w"], ["q"]),
        node("Reshape", ["q", "to"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        node("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        node("MatMul", ["t", "k"], ["l"]),
        node("Softmax", ["l"], ["p"], axis=-1),
        node("MatMul", ["p", "t"], ["y"]),
    ]
    stored = [weight("w", 16, 16), ints("zero", 0), ints("rest", 4, 2, 8)]
    return {
        "cnn.onnx": model(cnn, [2, 3, 16, 16], [weight("w", 8, 3, 3, 3), weight("s", 8), weight("v", 10, 8)]),
        "attention.onnx": model(attention, [2, 4, 16], stored),
    }


def exported(_: Path) -> dict[str, bytes]:
    """Return a program that PyTorch saved."""
    import torch

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4))
    file = io.BytesIO()
    torch.export.save(torch.export.export(net.eval(), (torch.zeros(2, 3, 8, 8),)), file)
    return {"net.pt2": file.getvalue()}


@lru_cache(maxsize=1)
def oracle() -> Oracle:
    """Return a latency oracle, built."""
    return Oracle("vit", "v100").build()


def accuracies(_: Path) -> dict[str, bytes]:
    """Return a table of trained networks."""
    space = oracle().space
    found = [space.mapping(genome) | {"accuracy": 70 + i} for i, genome in enumerate(space.sample(6))]
    return {"table.csv": pd.DataFrame(found).to_csv(index=False).encode()}


def of_accuracies(path: Path) -> list[float]:
    """Predict what the table has."""
    table: Any = accuracy_oracle(str(path), oracle())
    return [float(value) for value in table.predict(table.genomes).mean]


def tables(folder: Path) -> dict[str, bytes]:
    """Return the tables of an oracle."""
    return {"tables.npz": oracle().save(folder / "tables.npz").read_bytes()}


def of_tables(path: Path) -> list[float]:
    """Ask tables from a file for candidates."""
    found = Oracle("vit", "v100").load(path)
    return [float(x) for x in np.ravel(found.latency_s(oracle().space.sample(4)))]


TIMM = b"""model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_gmacs,infer_macts
resnet50,224,2000.0,128.0,256,4.11,11.11
"""
MEASURED = {
    "gemm.csv": b"""device,kind,sheet,precision,M,N,K,transA,transB,time_ms,tflops
NV_V100,train,x,Float,1000,1000,1000,N,N,0.2,10.0
NV_V100,train,x,Float,2000,1000,1000,N,N,0.4,10.0
""",
    "xla.csv": b"""arch,b,m,n,k,dtype,flops_per_s,time_us,device
sm_90,2,256,256,256,bf16xbf16->bf16,13421772800000,5.0,NVIDIA H100 (sm_90)
sm_90,1,256,256,256,f32xf32->f32,6710886400000,5.0,NVIDIA H100 (sm_90)
""",
    "latency.csv": b"""model,device,batch,latency_ms,dtype,runtime,image_size
resnet-18,v100,8,5.0,fp16,tensorrt,224
resnet-34,T4,8,9.0,fp16,,
""",
    "llmcompass.csv": b"""device,op,M,N,K,latency_ms,rate,rate_unit
A100,softmax,1024,1024,,0.02,52.4,Gelem/s
A100,matmul,1024,1024,1024,0.02,107.4,TFLOP/s
""",
    "latency.json": json.dumps(
        [{"model": "resnet-18", "device": "v100", "batch": 8, "latency_ms": 5.0, "more": {"cores": 1}}] * 2
    ).encode(),
    "published.toml": b"""[latency]
batch = 8
[latency.conditions.v100]
dtype = "fp16"
[latency.ms]
resnet-18 = { v100 = 5.0 }
resnet-50 = { v100 = 9.0 }
""",
}


def measured(folder: Path) -> dict[str, bytes]:
    """Return measurements in several formats, and a folder of `roofline measure`."""
    b = rf.GraphBuilder("op")
    (folder / "graphs").mkdir(exist_ok=True)
    b.graph([b.relu(b.input("x", (8, 64)))]).save(folder / "graphs" / "op.json")
    own = (
        "case,family,whole,device,runtime,dtype,layout,batch,graph,latency_us,spread,samples,outliers,clock,clock_mhz,"
        "power_w,note\nrelu,pointwise,0,v100,pytorch_eager,fp32,nchw,8,graphs/op.json,7.5,0.01,9,0,event,1300,,\n"
    )
    return MEASURED | {"benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv": TIMM, "ops.csv": own.encode()}


def of_measured(path: Path) -> list[float]:
    """Predict every row; networks of timm are only read, for tracing them takes long."""
    if path.name.startswith("benchmark"):
        return [m.latency_s for m in load_measurements(path).measurements]
    found = validate([path])
    return [value for row in found.rows() for value in (row["predicted_ms"], row["measured_ms"], row["ratio"])]


def facts(_: Path) -> dict[str, bytes]:
    """Return what a device of one's own is."""
    content = {"name": "x", "kind": "cpu", "backend": "torch", "vendor": "y", "software": "z", "units": 4, "lanes": 8}
    return {"facts.json": json.dumps(content | {"caches": [["L2", 2**20, 1]], "clock_hz": 3e9}).encode()}


def of_facts(path: Path) -> list[float]:
    """Read the facts of a folder."""
    found = read_facts(path.parent)
    return [float(len(found.slug)), found.memory_bytes, float(sum(size for _, size, _ in found.caches))]


def traces(_: Path) -> dict[str, bytes]:
    """Return a trace of PyTorch's profiler."""
    conv = {
        "Input Dims": [[8, 3, 32, 32], [16, 3, 3, 3], [], [], [], [], []],
        "Input type": ["float", "float", "", "ScalarList", "ScalarList", "ScalarList", "Scalar"],
        "Concrete Inputs": ["", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "1"],
    }
    relu = {"Input Dims": [[8, 16, 32, 32]], "Input type": ["float"], "Concrete Inputs": [""]}
    events: list[dict[str, Any]] = [{"ph": "M", "name": "process_name"}]
    for i, (name, args) in enumerate((("aten::conv2d", conv), ("aten::relu", relu), ("aten::relu", relu))):
        place = {"ph": "X", "cat": "cpu_op", "name": name, "ts": 100 * i, "dur": 50, "pid": 1, "tid": 1}
        events.append(place | {"args": {"External id": i, **args}})
        events.append({"ph": "X", "cat": "kernel", "name": "k", "ts": 1, "dur": 20, "args": {"External id": i}})
    return {"trace.json": json.dumps({"traceEvents": events}).encode()}


def of_traces(path: Path) -> list[float]:
    """Predict every op of a trace."""
    return [line.predicted_s or 0.0 for line in compare_profile(path, "v100").lines]


def plans(folder: Path) -> dict[str, bytes]:
    """Return plans of a shipped network, and of files."""
    rf.op_graph("resnet-18").save(folder / "graph.json")
    own = folder / "own-device.toml"
    own.write_bytes(data_files("hardware_specs")["v100"].read_bytes())
    one = 'models = ["resnet-18"]\ndevices = ["v100", "tpu-v3"]\nbatch = [1, 8]\ndtype = []\nmode = "training"\n'
    one += 'optimizer = "adam"\nrecompute = true\n[fields]\n"hbm.bandwidth_bytes_per_s" = [9e11, 18e11]\n'
    two = f'models = ["{folder}/graph.json", "vit-ti*"]\ndevices = ["{own}"]\nlayout = ["nchw", "nhwc"]\ncores = [1]\n'
    return {"one.toml": one.encode(), "two.toml": two.encode()}


def of_plans(path: Path) -> list[float]:
    """Compute the first network of a plan; a row is a latency or says why there is none."""
    plan = load_plan(path)
    first = units_of(plan)[0]
    identities(plan, [first])
    return [
        math.nan if row["latency_ms"] is None else row["latency_ms"] for row in rows(plan, first) if not row["error"]
    ]


PLAN = Plan(models=("resnet-18",), devices=("v100",), batch=(1, 8))


@lru_cache(maxsize=2)
def swept(suffix: str) -> tuple[pd.DataFrame, bytes]:
    """Return the results of a sweep, and its file or part."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / f"a{suffix}"
        frame = rf.run_plan(PLAN, path, workers=0)
        if suffix == ".sqlite":
            with sqlite3.connect(path) as db:
                db.execute("pragma journal_mode = delete")
            db.close()
        return frame, (next(path.glob("*.parquet")) if path.is_dir() else path).read_bytes()


def resumed(path: Path) -> list[float]:
    """Let a sweep go on from a file or part: with the results of an undisturbed one, or not at all."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / f"a{path.suffix}"
        if path.suffix == ".parquet":
            rf.run_plan(PLAN, place, workers=0)
            place = next(place.glob("*.parquet"))
        shutil.copyfile(path, place)
        frame = rf.run_plan(PLAN, Path(home) / f"a{path.suffix}", workers=0)
    pd.testing.assert_frame_equal(frame, swept(path.suffix)[0], check_exact=True)
    return []


def store(suffix: str) -> Loader:
    """Return a loader of the results of a sweep."""
    return Loader(name=f"store{suffix}", seeds=lambda _: {f"seed{suffix}": swept(suffix)[1]}, use=resumed, weight=0.3)


def there(*modules: str) -> bool:
    """Return whether all of these are installed."""
    return all(importlib.util.find_spec(module) is not None for module in modules)


LOADERS = (
    Loader(name="device", seeds=shipped("hardware_specs"), use=lambda p: [rf.simulate("resnet-18", p).latency_s]),
    Loader(
        name="runtime",
        seeds=shipped("runtimes"),
        use=lambda p: [rf.simulate("resnet-18", "v100", runtime=rf.runtime(p, "gpu")).latency_s],
    ),
    Loader(name="model", seeds=shipped("models"), use=of_model),
    Loader(name="space", seeds=shipped("spaces"), use=lambda p: search_space(p).sample(1)[0].tolist()),
    Loader(name="graph", seeds=graphs, use=lambda p: [rf.simulate(rf.load_graph(p), "v100").latency_s]),
    Loader(name="accuracy", seeds=accuracies, use=of_accuracies),
    Loader(name="tables", seeds=tables, use=of_tables),
    Loader(name="measurements", seeds=measured, use=of_measured),
    Loader(name="facts", seeds=facts, use=of_facts),
    Loader(name="plan", seeds=plans, use=of_plans),
    store(".sqlite"),
    *([store(".parquet")] if there("pyarrow") else []),
    *([Loader(name="trace", seeds=traces, use=of_traces)] if there("torch") else []),
    *([Loader(name="pt2", weight=0.5, seeds=exported, use=lambda p: [rf.simulate(rf.from_torch(p), "v100").latency_s])]
      if there("torch") else []),
    *([Loader(name="onnx", seeds=onnx_files, use=lambda p: [rf.simulate(rf.from_onnx(p), "v100").latency_s])]
      if there("onnx") else []),
)  # fmt: skip
