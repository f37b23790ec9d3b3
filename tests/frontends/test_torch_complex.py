"""Complex numbers: products are four real ones, element-wise work is that of their parts, bytes are those of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import UnknownOpError
from roofline.work.registry import count


def z(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.complex64, device="meta")


def x(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize(
    ("program", "inputs", "products"),
    [
        (torch.matmul, (z(8, 16), z(16, 32)), 8 * 16 * 32),
        (torch.bmm, (z(5, 8, 16), z(5, 16, 32)), 5 * 8 * 16 * 32),
        (lambda a, b: torch.einsum("bixy,ioxy->boxy", a, b), (z(2, 8, 5, 6), z(8, 16, 5, 6)), 2 * 8 * 16 * 5 * 6),
        (nn.Linear(8, 16, dtype=torch.complex64), (z(4, 8),), 4 * 8 * 16),
    ],
)
def test_a_complex_multiplication_is_four_real_ones(
    program: Callable[..., Any], inputs: tuple[Any, ...], products: int
) -> None:
    graph = rf.from_torch(program, inputs)
    assert graph.macs == count(graph).macs == 4 * products
    assert rf.simulate(graph, "a100-80gb", dtype="bf16").macs == 4 * products


def test_torch_makes_three_real_convolutions_of_a_complex_one() -> None:
    graph = rf.from_torch(nn.Conv2d(3, 4, 3, padding=1, dtype=torch.complex64), z(1, 3, 8, 8))
    assert graph.macs == 3 * 8 * 8 * 4 * 3 * 9


@pytest.mark.parametrize(
    ("program", "inputs", "simple", "slow"),
    [
        (torch.mul, (z(4, 8), z(4, 8)), 6, 0),
        (torch.add, (z(4, 8), z(8)), 2, 0),
        (torch.abs, (z(4, 8),), 3, 1),
        (torch.exp, (z(4, 8),), 7, 3),
        (torch.polar, (x(4, 8), x(4, 8)), 6, 2),
        (lambda a: a.sum(0), (z(4, 8),), 2, 0),
        (torch.add, (x(4, 8), x(8)), 1, 0),
    ],
)
def test_element_wise_work_is_that_of_both_parts(
    program: Callable[..., Any], inputs: tuple[Any, ...], simple: int, slow: int
) -> None:
    work = count(rf.from_torch(program, inputs))
    assert (work.simple_ops, work.transcendental_ops) == (32 * simple, 32 * slow)


def test_complex_numbers_keep_their_bytes_in_every_precision() -> None:
    graph = rf.from_torch(torch.mul, (z(1024, 1024), z(1024, 1024)))
    for dtype in ("fp32", "bf16", "amp_fp16"):
        traffic = rf.simulate(graph, "a100-80gb", dtype=dtype).traffic_bytes
        assert traffic == 3 * 8 * 2**20


def test_a_complex_layer_is_trained() -> None:
    layer = nn.Linear(8, 16, bias=False, dtype=torch.complex64)
    graph = rf.from_torch(lambda a: layer(a).abs(), (z(4, 8),))
    assert graph.params == 8 * 16
    report = rf.simulate(graph, "a100-80gb", dtype="fp32", mode="training")
    assert report.macs == 2 * graph.macs  # the product, and the gradient of the weight; the input needs none


def test_a_function_without_a_complex_count_says_so() -> None:
    b = rf.GraphBuilder("net")
    from roofline.dtypes import DTYPES

    graph = b.graph([b.elementwise("gelu", b.input("z", (4, 8), DTYPES["complex64"]), broadcast=(False,))])
    with pytest.raises(UnknownOpError, match="'gelu' of complex numbers"):
        count(graph)
