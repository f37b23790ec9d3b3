"""Networks side by side: rows of `compare` are the reports of `simulate`."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rf
from roofline.errors import InputError, UnknownNameError

MODELS, DEVICES = ["efficientnet-b0", "resnet-18"], ["tpu-v3", "v100"]


def test_rows_are_the_reports_in_order() -> None:
    table = rf.compare(MODELS, DEVICES, batch=4)
    assert list(zip(table["model"], table["device"], strict=True)) == [(m, d) for m in MODELS for d in DEVICES]
    for row in table.to_dict("records"):
        report = rf.simulate(row["model"], row["device"], batch=4)
        expected, facts, ms = report.interval, report.fact_range, report.latency_ms
        assert [row.pop(f"expected_{end}_ms") for end in ("low", "high")] == [
            expected.low_s * 1e3,
            expected.high_s * 1e3,
        ]
        assert [row.pop(f"facts_{end}_ms") for end in ("low", "high")] == [ms * facts.low, ms * facts.high]
        assert row.pop("decided_by") == facts.decided_by
        for name, value in row.items():
            assert getattr(report, str(name)) == value, name


def test_options_by_device_in_any_spelling() -> None:
    table = rf.compare(MODELS[:1], DEVICES, batch={"TPUv3": 16}, runtime={"v100": "tensorrt"}, dtype={"V100": "fp32"})
    assert list(table["batch"]) == [16, 1]
    assert list(table["runtime"]) == ["xla_tpu", "tensorrt"]
    assert list(table["dtype"]) == ["bf16", "fp32"], "what is not named has the default"


def test_specs_compare_too() -> None:
    table = rf.compare([rf.model("resnet-18")], [rf.device("v100")], batch={"v100": 2})
    assert list(table["batch"]) == [2]


@pytest.mark.parametrize(
    ("models", "devices", "options", "message"),
    [
        ("resnet-18", DEVICES, {}, "lists of names"),
        (MODELS, "v100", {}, "lists of names"),
        ([], DEVICES, {}, "at least one"),
        (MODELS, [], {}, "at least one"),
        (MODELS, DEVICES, {"batch": {"t4": 8}}, "batch names device 't4', which is not simulated"),
        (MODELS, DEVICES, {"image_size": {"v100": 8}}, "'image_size' is the same for all devices"),
        (MODELS, DEVICES, {"bacth": 8}, "unknown option 'bacth'; nearest: 'batch'"),
    ],
)
def test_mistakes_are_one_line(models: Any, devices: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        rf.compare(models, devices, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_device_in_a_mapping_shows_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown device 'tpu-v33'; nearest: 'tpu-v3'"):
        rf.compare(MODELS, DEVICES, batch={"tpu-v33": 8})
