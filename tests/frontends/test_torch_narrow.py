"""Quantized weights and products of narrow formats keep their formats in the graph, in bytes and in rates."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import roofline as rf
from roofline.errors import InputError, UnknownOpError

BF16, FP8 = torch.bfloat16, torch.float8_e4m3fn
RUNTIMES = ("pytorch_eager", "pytorch_compile", "tensorrt", "xla")


def x(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


class Quantized(torch.Tensor):
    """A weight made of int8 numbers and a scale for each row, as libraries of quantization make them."""

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, scale: torch.Tensor, shape: torch.Size) -> Any:
        """Return a tensor that looks as if it were of the scale's format."""
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scale.dtype, device=numbers.device)

    def __init__(self, numbers: torch.Tensor, scale: torch.Tensor, shape: torch.Size) -> None:
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """Return the names of the parts."""
        return ["numbers", "scale"], None

    @classmethod
    def __tensor_unflatten__(cls, parts: dict[str, torch.Tensor], _: None, shape: Any, stride: Any) -> Any:
        """Return the tensor of such parts."""
        return cls(parts["numbers"], parts["scale"], shape)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Multiply in the kernel for it; packed numbers in theirs."""
        if func is not F.linear:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        rows, weight = args[:2]
        if weight.numbers.dtype == torch.int8:
            return torch.ops.aten._weight_int8pack_mm(rows, weight.numbers, weight.scale)
        return torch.ops.aten._weight_int4pack_mm(rows, weight.numbers, 32, weight.scale)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Only what a parameter needs."""
        assert func is torch.ops.aten.detach.default
        return cls(args[0].numbers, args[0].scale, args[0].shape)


def layer(numbers: torch.Tensor, scale: torch.Tensor) -> nn.Linear:
    made = nn.Linear(128, 64, bias=False, dtype=BF16)
    weight: Any = Quantized(numbers, scale, made.weight.shape)
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made


@pytest.mark.parametrize(
    ("numbers", "scale", "dtype"),
    [
        (torch.zeros(64, 128, dtype=torch.int8), torch.ones(64, dtype=BF16), "int8"),
        (torch.zeros(8, 1, 32, 4, dtype=torch.int32), torch.ones(4, 64, 2, dtype=BF16), "int4"),
    ],
)
def test_a_weight_made_of_numbers_and_scales_has_their_formats(
    numbers: torch.Tensor, scale: torch.Tensor, dtype: str
) -> None:
    graph = rf.from_torch(layer(numbers, scale), x(16, 128))
    graph.check_shapes()
    stored = {t.id: (t.role, t.dtype.name) for t in graph.tensors.values() if t.stored}
    assert stored == {"weight.numbers": ("parameter", dtype), "weight.scale": ("buffer", "bf16")}
    assert (graph.macs, graph.params) == (16 * 128 * 64, 128 * 64)
    report = rf.simulate(graph, "a100-80gb", dtype="bf16")
    weight = 128 * 64 * (1 if dtype == "int8" else 0.5)
    assert report.traffic_bytes == 16 * 128 * 2 + weight + scale.numel() * 2 + 16 * 64 * 2


def test_products_of_int8_and_fp8_run_in_their_formats() -> None:
    def scaled(a: torch.Tensor, b: torch.Tensor, s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch._scaled_mm(a, b.t(), s, t, out_dtype=BF16)

    one = x(dtype=torch.float32)
    fp8 = rf.from_torch(scaled, (x(1024, 4096, dtype=FP8), x(4096, 4096, dtype=FP8), one, one))
    plain = rf.from_torch(lambda a, b: a @ b.t(), (x(1024, 4096), x(4096, 4096)))
    int8 = rf.from_torch(torch._int_mm, (x(1024, 4096, dtype=torch.int8), x(4096, 4096, dtype=torch.int8)))
    assert fp8.macs == plain.macs == int8.macs == 1024 * 4096 * 4096
    assert {t.dtype.name for t in int8.tensors.values()} == {"int8", "int32"}
    times = [rf.simulate(g, "h100-sxm", dtype="bf16").kernels["matrix_time_s"].sum() for g in (plain, fp8, int8)]
    assert times[1] == pytest.approx(times[0] / 2, rel=0.1) and times[2] == pytest.approx(times[0] / 2, rel=0.1)
    assert rf.simulate(fp8, "h100-sxm", dtype="bf16").traffic_bytes == pytest.approx(
        1024 * 4096 + 4096 * 4096 + 1024 * 4096 * 2, rel=1e-6
    )
    with pytest.raises(InputError, match="has no dtype 'fp8'"):
        rf.simulate(fp8, "a100-80gb", dtype="bf16")


def test_a_product_that_sums_in_32_bits_is_one_of_int8() -> None:
    from torch._higher_order_ops.out_dtype import out_dtype

    def program(a: torch.Tensor, b: torch.Tensor) -> Any:
        return out_dtype(torch.ops.aten.mm.default, torch.int32, a, b)

    graph = rf.from_torch(program, (x(32, 64, dtype=torch.int8), x(64, 16, dtype=torch.int8)))
    assert [(op.kind, graph.tensors[op.inputs[0]].dtype.name) for op in graph.ops.values()] == [("matmul", "int8")]
    wide = rf.from_torch(program, (x(32, 64), x(64, 16)))
    assert [op.kind for op in wide.ops.values()] == ["cast", "cast", "matmul"]


def test_complex_numbers_seen_as_pairs_are_the_same_bytes() -> None:
    graph = rf.from_torch(lambda a: torch.view_as_complex(a).exp(), (x(1024, 512, 2, dtype=torch.float32),))
    assert rf.simulate(graph, "a100-80gb", dtype="fp32").traffic_bytes == 2 * 1024 * 512 * 8


def test_weights_of_torchao_are_stored_as_it_stores_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchao = pytest.importorskip("torchao.quantization")
    for config, product in (
        (torchao.Int8WeightOnlyConfig(), "bf16"),
        (torchao.Int8DynamicActivationInt8WeightConfig(), "int8"),
    ):
        net = nn.Sequential(nn.Linear(64, 128, bias=False), nn.ReLU(), nn.Linear(128, 64, bias=False)).to(BF16)
        torchao.quantize_(net, config)
        graph = rf.from_torch(net, torch.empty(32, 64, dtype=BF16))
        weights = [t for t in graph.tensors.values() if t.role == "parameter"]
        assert [(t.id, t.dtype.name) for t in weights] == [("0.weight.qdata", "int8"), ("2.weight.qdata", "int8")]
        assert (graph.macs, graph.params) == (2 * 32 * 64 * 128, 2 * 64 * 128)
        products = [op for op in graph.ops.values() if op.kind == "matmul"]
        assert [graph.tensors[op.inputs[0]].dtype.name for op in products] == [product] * 2


class Small(nn.Module):
    """Convolutions, a sum, a mean and a layer, between the stubs of torch.ao."""

    def __init__(self) -> None:
        super().__init__()
        from torch.ao import quantization

        self.enter, self.leave = quantization.QuantStub(), quantization.DeQuantStub()
        self.first, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.second, self.pool, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)
        self.plus = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, image: torch.Tensor) -> Any:
        """Return scores."""
        h = self.relu(self.first(self.enter(image)))
        h = self.plus.add(h, self.second(h))
        return self.leave(self.head(self.pool(h).flatten(1)))


@pytest.fixture
def quantization() -> Any:
    """Return torch.ao's module of that name, with an engine that this processor has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao = pytest.importorskip("torch.ao.quantization")
        engines = [e for e in ("fbgemm", "onednn", "qnnpack") if e in torch.backends.quantized.supported_engines]
        if not engines:
            pytest.skip("torch has no engine for quantized layers here")
        before, torch.backends.quantized.engine = torch.backends.quantized.engine, engines[0]
        yield ao
        torch.backends.quantized.engine = before


def test_a_network_of_torch_ao_is_int8_from_stub_to_stub(quantization: Any) -> None:
    net: Any = Small().eval()
    net.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    net = quantization.prepare(quantization.fuse_modules(net, [["first", "relu"]]))
    net(torch.rand(1, 3, 8, 8))
    net = quantization.convert(net)
    graph = rf.from_torch(net, (2, 3, 8, 8))
    graph.check_shapes()
    assert graph.macs == 2 * (36 * 8 * 27 + 36 * 8 * 72 + 8 * 4)
    assert graph.params == 3 * 9 * 8 + 8 + 8 * 9 * 8 + 8 + 8 * 4 + 4
    weights = {t.id: t.dtype.name for t in graph.tensors.values() if t.id.endswith("weight")}
    assert weights == {"first.weight": "int8", "second.weight": "int8", "head.weight": "int8"}
    kinds = [(op.kind, graph.tensors[op.outputs[0]].dtype.name) for op in graph.ops.values() if op.family != "free"]
    assert kinds == [
        ("elementwise", "int8"), ("conv", "int8"), ("conv", "int8"), ("elementwise", "int8"), ("reduce", "int8"),
        ("matmul", "int8"), ("elementwise", "fp32"),
    ]  # fmt: skip
    assert rf.simulate(graph, "a100-80gb").latency_ms > 0


def test_dynamic_quantization_multiplies_integers(quantization: Any) -> None:
    net = quantization.quantize_dynamic(nn.Sequential(nn.Linear(64, 32), nn.ReLU()), {nn.Linear}, dtype=torch.qint8)
    graph = rf.from_torch(net, (8, 64))
    (product,) = [op for op in graph.ops.values() if op.kind == "matmul"]
    assert [graph.tensors[t].dtype.name for t in (*product.inputs, *product.outputs)] == [
        "int8",
        "int8",
        "fp32",
        "fp32",
    ]
    assert (graph.macs, graph.params) == (8 * 64 * 32, 64 * 32 + 32)


def test_an_op_of_a_library_is_not_taken_for_torchs_of_the_same_name() -> None:
    @torch.library.custom_op("own_library::linear", mutates_args=())
    def linear(x: torch.Tensor, weight: torch.Tensor, scale: float) -> torch.Tensor:
        return x @ weight.t() * scale

    @linear.register_fake
    def _(x: torch.Tensor, weight: torch.Tensor, scale: float) -> torch.Tensor:
        return x.new_empty((*x.shape[:-1], weight.shape[0]))

    with pytest.raises(UnknownOpError, match=r"no lowering rule for 'own_library\.linear' x1"):
        rf.from_torch(lambda a, b: torch.ops.own_library.linear(a, b, 2.0), (x(4, 8), x(3, 8)))


class Converted(nn.Module):
    """A product with int8 weights that the program itself converts, row scales applied behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.empty(4096, 4096, dtype=torch.int8, device="meta"))
        self.scale = nn.Parameter(x(4096))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (rows, 4096)."""
        numbers: Any = self.numbers
        scaled: torch.Tensor = rows @ numbers.to(rows.dtype).t() * self.scale
        return scaled


def test_a_compiled_product_loads_narrow_weights_and_an_eager_one_their_copy() -> None:
    """One row: a byte of each weight against the two of bf16, and eagerly a copy that is written and read again."""
    graph = rf.from_torch(Converted(), (x(1, 4096),))
    plain = rf.from_torch(nn.Linear(4096, 4096, bias=False, device="meta", dtype=BF16), (x(1, 4096),))
    kernels = rf.simulate(graph, "a100-80gb", runtime="pytorch_compile", dtype="bf16").kernels
    assert list(kernels.ops) == ["cast + matmul", "mul"]
    assert kernels.traffic_bytes.iloc[0] == 4096 * 4096 + 2 * (4096 + 4096)
    whole = {r: [rf.simulate(g, "a100-80gb", runtime=r, dtype="bf16") for g in (graph, plain)] for r in RUNTIMES}
    for runtime, (narrow, wide) in whole.items():
        assert (narrow.latency_s < wide.latency_s) == (runtime != "pytorch_eager")
    assert list(whole["pytorch_eager"][0].kernels.ops) == ["cast", "matmul", "mul"]
    executor = rf.simulate(graph, "a100-80gb", runtime="tensorflow", dtype="bf16")  # joins batch norms and ReLUs only
    assert list(executor.kernels.ops) == ["cast", "matmul", "mul"]
