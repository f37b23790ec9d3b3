"""The operations of every element-wise function, counted in a formula of it: a check of the table by other means."""

from __future__ import annotations

import pytest
from formulas import COMPLEX_FORMULAS, FORMULAS, total

from roofline.work.functions import COMPLEX, FUNCTIONS, complex_ops, function_ops

#: functions of several gates or words, as (formulas of all, how many elements the table spreads them over)
CELLS = {
    "lstm_cell": (
        ["sigmoid(x + y)"] * 3 + ["tanh(x + y)", "forget * cell + enter * new", "leave * tanh(cell)"],
        4,
    ),
    "gru_cell": (["sigmoid(x + y)"] * 2 + ["tanh(x + reset * y)", "new + update * (old - new)"], 3),
    # a round adds, rotates (two shifts, one or) and mixes; five times both words take a key
    "threefry": (["logical(logical(logical(logical(x, C), C), x + y), y)"] * 20 + ["x + C", "y + C"] * 5, 2),
}


def test_every_function_has_a_formula() -> None:
    assert {name for name in FUNCTIONS if not name.endswith("_grad")} == {*FORMULAS, *CELLS}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_function_costs_what_its_formula_does(name: str) -> None:
    assert function_ops(name) == total([FORMULAS[name]])


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_costs_what_its_formulas_do(name: str) -> None:
    formulas, elements = CELLS[name]
    simple, slow = total(formulas)
    assert function_ops(name) == pytest.approx((simple / elements, slow / elements), rel=1e-12)


def test_a_function_of_complex_numbers_costs_what_the_formulas_of_its_parts_do() -> None:
    plain = {name: complex_ops(name) for name in COMPLEX if not name.endswith("_grad")}
    assert plain == {name: total(formulas) for name, formulas in COMPLEX_FORMULAS.items()}
