"""What `rf.from_torch` says about programs that it cannot lower, and rules of one's own."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import GraphError, InputError, UnknownOpError
from roofline.frontends.torch import lowering
from roofline.frontends.torch.asked import line_of
from roofline.frontends.torch.registry import RULES


def raises(x: torch.Tensor) -> torch.Tensor:
    raise KeyError("weird\nsecond line")


def branches(x: torch.Tensor) -> torch.Tensor:
    return x if x.sum() > 0 else -x


class Lazy(nn.Module):
    """Has no parameters before its first run."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer."""
        out: torch.Tensor = self.layer(x)
        return out


@pytest.mark.parametrize(
    ("program", "inputs", "message"),
    [
        (raises, (2, 3), r"raises raises KeyError with inputs \(2x3\): 'weird"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 6)), (2, 3), r"raises RuntimeError in '1' .*reduction dim"),
        (nn.Linear(4, 5), (torch.empty(2, 4), torch.empty(1)), r"do not fit the program: too many positional"),
        (nn.Linear(4, 5), {"x": torch.empty(2, 4)}, r"do not fit the program: .*'x'|missing a required argument"),
        (nn.Linear(4, 5), None, r"do not fit the program: missing a required argument"),
        (nn.Linear(4, 5), (2, 0), r"a shape has positive sizes, got \(2, 0\)"),
        (branches, (2, 3), r"depends on data \('aten._local_scalar_dense' of a tensor\).*pin it"),
        (lambda x: x[x > 0], (2, 3), r"depends on data \('aten.index'"),
        (lambda x: x.nonzero(), (2, 3), r"depends on data \('aten.nonzero'"),
        (lambda x: x.tolist(), (2, 3), r"depends on data \('aten.tolist'"),
        (lambda x: 3, (2, 3), r"returns no tensor \(got 'int'\)"),
        (lambda x: x, torch.eye(3).to_sparse(), r"input 'x': unsupported layout 'torch.sparse_coo'"),
        (Lazy(), (2, 3), r"'layer.weight' is not initialised"),
        (42, (2, 3), r"cannot lower 'int': give a module"),
    ],
)
def test_bad_input_is_one_clear_line(program: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rf.from_torch(program, inputs)
    assert "\n" not in str(caught.value)


def test_integer_inputs_with_values_answer_questions_about_data() -> None:
    def program(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x if bool(mask.all()) else x.exp()

    ones = torch.ones(2, 3, dtype=torch.int64)
    assert "exp" not in rf.from_torch(program, (torch.empty(2, 3), ones)).ops
    assert "exp" in rf.from_torch(program, (torch.empty(2, 3), ones * 0)).ops
    with pytest.raises(InputError, match="give 'mask' with values"):
        rf.from_torch(program, (torch.empty(2, 3), ones.to("meta")))


class Asking(nn.Module):
    """Asks for values in a layer of a layer."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Return a part of what is not masked."""
        if (mask.cumsum(0) > 2).any():
            x = x.exp()
        return x[: int(steps)] if x.sum() > 0 else x


def test_what_depends_on_data_names_module_line_and_argument() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Asking()

        def forward(self, x: torch.Tensor, *rest: torch.Tensor) -> Any:
            """Run the inner one."""
            return self.inner(x * 2, *rest)

    mask, steps = torch.ones(3, dtype=torch.bool), torch.tensor(2)
    line = r"'inner' depends on data \('aten.\w+' of a tensor\) at test_torch_errors.py:\d+ "
    for inputs, message in (
        (
            (torch.empty(4), mask.to("meta"), steps),
            r"\(if \(mask.cumsum\(0\) > 2\).any\(\):\).* give 'rest_0' with values",
        ),
        ((torch.empty(4), mask, steps), r"\(return x\[: .* it comes from 'x', so pin it"),
    ):
        with pytest.raises(InputError, match=line + message):
            rf.from_torch(Outer(), inputs)
    assert line_of([(sys._getframe(), 3)]).startswith("test_torch_errors.py:3")
    beside = compile("import sys; frame = sys._getframe()", f"{os.path.dirname(torch.__file__)}vision/net.py", "exec")
    found: dict[str, Any] = {}
    exec(beside, found)
    assert line_of([(found["frame"], 1)]) == "net.py:1"  # installed beside torch, not in it
    with pytest.raises(InputError, match=r"raises KeyError .* at test_torch_errors.py:\d+ \(raise KeyError"):
        rf.from_torch(raises, (2, 3))


def test_overwritten_values_are_not_taken_for_known() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        position = torch.zeros(3, device=x.device)
        position.copy_(x)
        return x if position.sum() > 0 else -x

    with pytest.raises(InputError, match="depends on data"):
        rf.from_torch(program, torch.empty(3))


def test_all_missing_ops_in_one_message() -> None:
    class Missing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Use two ops without a rule, one of them twice."""
            out: torch.Tensor = torch.cholesky_inverse(torch.linalg.qr(x)[0]) + torch.linalg.qr(x)[1]
            return out

    with pytest.raises(UnknownOpError) as caught:
        rf.from_torch(nn.Sequential(Missing()), (4, 4))
    assert str(caught.value) == (
        "Sequential: no lowering rule for 'aten.linalg_qr' x2, first at '0' (4x4); 'aten.cholesky_inverse' x1, "
        "first at '0' (4x4); register one with @roofline.frontends.torch.lowering('namespace.op')"
    )


@pytest.fixture
def forget_rules() -> Any:
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


@pytest.mark.usefixtures("forget_rules")
def test_a_rule_for_an_op_of_ones_own() -> None:
    @torch.library.custom_op("roofline_test::bias_gelu", mutates_args=())
    def bias_gelu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return x + bias

    bias_gelu.register_fake(lambda x, bias: torch.empty_like(x))

    def program(x: Any, b: Any) -> Any:
        return bias_gelu(x, b)

    inputs = (torch.empty(2, 8), torch.empty(8))
    with pytest.raises(UnknownOpError, match=r"'roofline_test.bias_gelu' x1, first at 'the program' \(2x8, 8\)"):
        rf.from_torch(program, inputs)

    @lowering("roofline_test.bias_gelu")
    def rule(t: Any, a: Any, out: Any) -> Any:
        return t.pointwise("gelu", out, a.x, a.bias)

    graph = rf.from_torch(program, inputs)
    assert list(graph.ops) == ["bias_gelu"]
    with pytest.raises(GraphError, match=r"'roofline_test.bias_gelu' has two lowering rules"):
        lowering("roofline_test.bias_gelu")(rule)
