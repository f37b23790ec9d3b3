"""Optimised HLO written by hand: what the parser reads of it, and which kernels it becomes.

``compiled.txt`` is y = swish(depthwise(x)) with its mean over positions in the same kernel, a copy for another layout,
a product that computes the swish a second time, and a loop of three products. Cycles tell which kernels were counted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline.errors import InputError
from roofline.xla.hlo import arrays, memory_space, parse
from roofline.xla.kernels import CompiledKernel, compiled_kernels, homes, scope_of

TEXT = Path(__file__).with_name("compiled.txt").read_text(encoding="utf-8")
#: what the program wrapped in scopes of its own
OPS = ("block/dw", "block/swish", "block/mean", "head", "loop")
SCOPES = {op: op for op in OPS}


@pytest.fixture(scope="module")
def kernels() -> dict[str, CompiledKernel]:
    return {kernel.name: kernel for kernel in compiled_kernels(parse(TEXT), SCOPES)}


def test_computations_and_instructions() -> None:
    module = parse(TEXT)
    assert module.entry == "main.4"
    assert list(module.computations) == ["adder", "window_computation", "fused", "divided", "step", "test", "main.4"]
    fusion = module.computations["main.4"]["convert_reduce_fusion"]
    assert (fusion.opcode, fusion.operands, fusion.calls) == ("fusion", ("copy.4", "copy-done"), ("fused",))
    assert (fusion.cycles, fusion.emitter) == (20000, "EmitDepthwiseInputBatchInSublanes")
    assert fusion.op_name == "jit(call)/jit(f)/block/dw/conv_general_dilated"
    assert fusion.elements == 8 * 56 * 56 * 128  # the larger of the two results
    assert module.computations["fused"]["total"].calls == ()  # how two numbers become one is no computation of its own
    assert module.computations["main.4"]["x.1"].op_name == "args[0]['x']"
    assert module.computations["main.4"]["while"].trips == 3


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ("bf16[8,56]{0,1:T(8,128)(2,1)S(1)}", [((8, 56), (0, 1), "T(8,128)(2,1)S(1)")]),
        ("f32[]", [((), (), "")]),
        ("(s32[<=4]{0:T(128)}, pred[2]{0})", [((4,), (0,), "T(128)"), ((2,), (0,), "")]),
    ],
)
def test_shapes(shape: str, found: list[object]) -> None:
    assert list(arrays(shape)) == found


def test_memory_spaces() -> None:
    assert [memory_space(t) for t in ("T(8,128)", "T(8,128)S(1)", "S(2)")] == [0, 1, 2]


def test_a_kernel_holds_the_ops_whose_main_work_it_does(kernels: dict[str, CompiledKernel]) -> None:
    large, small = kernels["convert_reduce_fusion"], kernels["fusion.9"]
    assert large.ops == ("block/dw", "block/swish", "block/mean")
    assert small.ops == ("block/swish", "head")  # the swish is computed again; of the mean only the division is here
    assert small.named == ("block/swish", "block/mean", "head")


def test_a_copy_serves_the_op_that_it_copies(kernels: dict[str, CompiledKernel]) -> None:
    assert kernels["copy.5"].ops == () and kernels["copy.5"].named == ("block/swish",)
    assert kernels["copy.4"].ops == kernels["copy.4"].named == ()  # the image as it comes in: no op's


def test_a_constant_names_no_op(kernels: dict[str, CompiledKernel]) -> None:
    with_it = compiled_kernels(parse(TEXT), SCOPES | {"block/other": "block/other"})
    assert not any("block/other" in kernel.named for kernel in with_it)


def test_layouts_memories_and_cycles(kernels: dict[str, CompiledKernel]) -> None:
    large = kernels["convert_reduce_fusion"]
    assert (large.layout, large.space) == ("{3,0,2,1:T(8,128)(2,1)}", 1)
    assert (large.memory, kernels["copy.5"].memory) == ("VMEM", "HBM")
    assert kernels["dot.1"].cycles == 3 * 7  # three turns of the loop
    assert sum(kernel.cycles for kernel in kernels.values()) == 1000 + 20000 + 300 + 50 + 21
    assert kernels["copy-start"].cycles == 0  # it runs beside


def test_where_ops_are_at_home() -> None:
    found = homes(compiled_kernels(parse(TEXT), SCOPES))
    assert {op: len(found[op]) for op in OPS} == {op: 2 if op == "block/swish" else 1 for op in OPS}


def test_scopes_are_found_in_paths() -> None:
    known = {"s1", "s1/se", "s1/se/conv", "conv"}
    assert scope_of("jit(f)/s1/se/conv/conv_general_dilated", known) == "s1/se/conv"
    assert scope_of("jit(f)/s1/other/mul", known) == "s1"
    assert scope_of("jit(f)/s10/mul", known) == ""


def test_another_text_is_refused() -> None:
    with pytest.raises(InputError, match="no entry computation"):
        parse("module @jit_f { func.func public @main() }")
