"""How fast ONNX files are lowered: ``python -m pytest benchmarks/bench_onnx.py --benchmark-only -s``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from timer import least

import roofline as rf

onnx = pytest.importorskip("onnx")

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
#: seconds that may not be exceeded
RESNET_S = 0.5


@pytest.fixture(scope="session")
def resnet_with_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ResNet-50 with 100 MB of weights inside the file."""
    model = onnx.load(LIGHT / "light_resnet50.onnx")
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "ConstantOfShape"}
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, node in made.items():
        dims = [int(d) for d in shapes[node.input[0]]]
        size = 4
        for dim in dims:
            size *= dim
        model.graph.initializer.append(onnx.TensorProto(name=name, dims=dims, data_type=1, raw_data=bytes(size)))
        model.graph.node.remove(node)
    path = tmp_path_factory.mktemp("onnx") / "resnet50.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_resnet_50(benchmark: Any, resnet_with_weights: Path) -> None:
    graph = benchmark(rf.from_onnx, resnet_with_weights)
    assert graph.params == pytest.approx(25.56e6, rel=1e-3)
    assert benchmark.stats.stats.min < RESNET_S


def test_resnet_50_in_a_fresh_interpreter(resnet_with_weights: Path) -> None:
    """With the import of the onnx package, which takes most of it; less the start of the interpreter."""

    def seconds(code: str) -> float:
        return least(lambda: subprocess.run([sys.executable, "-c", code, str(resnet_with_weights)], check=True))

    whole = seconds("import sys, roofline as rf; rf.from_onnx(sys.argv[1])")
    print(f"\nfresh interpreter to ResNet-50's graph: {whole - seconds('pass'):.3f} s")
