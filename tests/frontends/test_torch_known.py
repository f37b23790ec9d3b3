"""Numbers that a program makes itself, or is given, stay known: they answer what it asks about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import roofline as rf
from roofline.errors import InputError

X, W = torch.empty(6, 8), torch.empty(8, 8)
#: multiply-adds of one row of X @ W
ROW = 64
COUNTS = torch.tensor([4, 2])


def made_of_a_list(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    sizes = torch.as_tensor([[2, 2], [1, 2]], dtype=torch.long, device=x.device)
    assert int((sizes[:, 0] * sizes[:, 1]).sum()) == 6
    return x @ w


def made_of_a_number(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    for _ in range(int(torch.tensor(3, device=x.device).item())):
        x = x @ w
    return x


def made_like_another(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x[: int(x.new_tensor([1.0, 4.0]).max())] @ w


def picked_by_a_list(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    ends = torch.arange(0, 12, 2, device=x.device)[[1, 2]]
    return x[ends[0] : int(ends[1])] @ w


def written_in_place(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    ends = torch.empty(4, dtype=torch.int64, device=x.device)
    ends.fill_(1)
    ends[2:] = 5
    ends[[0, 1]] += torch.tensor([0, 1], device=x.device)
    return x[: ends.sum() - 9] @ w  # 1 + 2 + 5 + 5


def repeated(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x[:3].repeat_interleave(torch.tensor([1, 2, 3], device=x.device), 0) @ w


def a_mask_of_positions(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x[torch.arange(6, device=x.device) % 3 == 0] @ w


def selected(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    mask = torch.arange(6, device=x.device)[:, None] < 2
    return x.masked_select(mask).view(-1, 8) @ w


def distinct(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x[: len(torch.unique_consecutive(torch.tensor([1, 1, 3], device=x.device)))] @ w


@pytest.mark.parametrize(
    ("program", "rows"),
    [
        (made_of_a_list, 6),
        (made_of_a_number, 18),
        (made_like_another, 4),
        (picked_by_a_list, 2),
        (written_in_place, 4),
        (repeated, 6),
        (a_mask_of_positions, 2),
        (selected, 2),
        (distinct, 2),
    ],
)
def test_numbers_that_a_program_makes(program: Callable[..., torch.Tensor], rows: int) -> None:
    assert rf.from_torch(program, (X, W)).macs == rows * ROW
    assert rf.from_torch(program, (X.to("meta"), W.to("meta"))).macs == rows * ROW
    assert program(X, W).numel() // 8 == (rows if rows < 18 else 6)  # torch itself runs it, and gives as many rows


@pytest.mark.parametrize(
    ("program", "given", "rows"),
    [
        (lambda n, x, w: x[: sum(n.tolist())] @ w, COUNTS, 6),
        (lambda n, x, w: [part @ w for part in x.split(n.tolist())], COUNTS, 6),
        (lambda n, x, w: x[: n.numpy().max()] @ w, COUNTS, 4),
        (lambda n, x, w: x[: np.asarray(n)[1]] @ w, COUNTS, 2),
        (lambda n, x, w: torch.cat([x[:k] for k in n]) @ w, COUNTS, 6),
        (lambda n, x, w: x.index_select(0, n.nonzero()[:, 0]) @ w, COUNTS, 2),
        (lambda m, x, w: x[m] @ w, torch.tensor([True, False, True, True, False, False]), 3),
        (lambda m, x, w: (x * 2)[m, 1:].repeat(1, 2)[:, :8] @ w, torch.tensor([True] * 5 + [False]), 5),
    ],
)
def test_numbers_that_a_program_is_given(program: Callable[..., Any], given: torch.Tensor, rows: int) -> None:
    assert rf.from_torch(program, (given, X, W)).macs == rows * ROW
    with pytest.raises(InputError, match=r"depends on data \('aten.\w+'|raises .*meta"):
        rf.from_torch(program, (given.to("meta"), X, W))


class Padded(nn.Module):
    """Keeps the length that it crops to in a buffer."""

    length: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8, bias=False)
        self.register_buffer("length", torch.tensor(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Crop, count, and apply the layer."""
        out: torch.Tensor = self.layer(x[: int(self.length)])
        self.length += 1
        return out


def test_buffers_have_values_and_keep_them() -> None:
    module = Padded()
    assert rf.from_torch(module, X).macs == rf.from_torch(module, X).macs == 4 * ROW
    assert int(module.length) == 4
    with pytest.raises(InputError, match="depends on data"):
        rf.from_torch(Padded().to("meta"), X)


def drawn(x: torch.Tensor) -> torch.Tensor:
    return x if torch.empty(3, device=x.device).uniform_().sum() > 0 else -x


def overwritten_in_part(x: torch.Tensor) -> torch.Tensor:
    known = torch.zeros(4, device=x.device)
    view = known[1:]
    view[0] = x.sum()
    return x if known.sum() > 0 else -x


def computed_into(x: torch.Tensor) -> torch.Tensor:
    known = torch.zeros(6, 8, device=x.device)
    torch.add(x, 1, out=known)
    return x if known.sum() > 0 else -x


def listed(x: torch.Tensor) -> torch.Tensor:
    return x * len([1 for value in x.numpy() if value > 0])


@pytest.mark.parametrize("program", [drawn, overwritten_in_part, computed_into, listed])
def test_what_data_went_into_is_not_known(program: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(InputError, match="depends on data"):
        rf.from_torch(program, X)


def test_of_an_array_without_values_the_shape_is_known() -> None:
    assert rf.from_torch(lambda x, w: (x * x.detach().cpu().numpy().shape[0]) @ w, (X, W)).macs == 6 * ROW


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_packed_sequences_of_known_lengths_run_the_steps_that_there_are(kind: Any, gates: int) -> None:
    layer, rnn = kind(8, 16, batch_first=True, bias=False), nn.utils.rnn

    def program(x: torch.Tensor, lengths: torch.Tensor) -> Any:
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]

    lengths = torch.tensor([3, 7, 1])
    graph = rf.from_torch(program, (torch.empty(3, 7, 8), lengths))
    assert graph.macs == (3 + 7 + 1) * gates * 16 * (8 + 16)
    assert graph.params == gates * 16 * (8 + 16)
    with pytest.raises(InputError, match="give 'lengths' with values"):
        rf.from_torch(program, (torch.empty(3, 7, 8), lengths.to("meta")))


def test_a_check_of_all_numbers_is_a_kernel() -> None:
    """As `torch._check_tensor_all` launches it."""
    program: Any = lambda x: x if torch._is_all_true(torch.ones(3, dtype=torch.bool, device=x.device)) else -x  # noqa: E731
    assert list(rf.from_torch(program, X).ops) == ["ones", "is_all_true"]
