"""Units convert to SI by arithmetic that anybody can check."""

from __future__ import annotations

import pytest

from roofline.quantity import UNITS, Quantity


@pytest.mark.parametrize(
    ("value", "unit", "si"),
    [
        (940, "MHz", 940_000_000),
        (16, "GiB", 17_179_869_184),  # 2^34
        (16, "GB", 16_000_000_000),
        (900, "GB/s", 900_000_000_000),
        (123, "TFLOP/s", 123_000_000_000_000),
        (5, "us", 0.000005),
        (3, None, 3),
    ],
)
def test_units_convert_to_si(value: float, unit: str | None, si: float) -> None:
    assert Quantity(value=value, unit=unit, source="x").si == pytest.approx(si, rel=1e-15)


def test_binary_and_decimal_units_differ() -> None:
    assert UNITS["GiB"][1] / UNITS["GB"][1] == pytest.approx(1.073741824)
