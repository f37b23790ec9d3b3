"""A constant is declared once: what reads, checks, fits, ablates and documents it follows from its field."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from measured_files import GEMM, GEMM_TEXT, write
from pages import blocks, generator
from places import ROOT
from pydantic import ValidationError

import roofline as rf
from roofline.calibration.ablate import EFFECTS, effects_of
from roofline.calibration.constants import fitted_constants
from roofline.calibration.fit import bare_devices, fit
from roofline.calibration.measured import load
from roofline.calibration.predict import AdaptMachine, AdaptRuntime, Prepared, prepare
from roofline.calibration.runtime_file import rewritten
from roofline.errors import InputError, SpecError, UnknownNameError
from roofline.hardware.schema import OverrideTable
from roofline.hardware.spec import Device
from roofline.numeric import Array
from roofline.paths import data_files
from roofline.software import constant as declarations
from roofline.software.constant import constant, constants_of, tables
from roofline.software.file import RUNTIME_FILE, RuntimeFile, file_of, runtime_of
from roofline.software.load import runtime_file
from roofline.software.spec import CONSTANTS, Runtime
from roofline.specfile import parse_spec

EAGER = data_files("runtimes")["pytorch_eager"].read_text(encoding="utf-8")
STATED = EAGER.replace("[vector]\n", '[vector]\nwarp_ops = { value = 2, estimate = "a guess" }\n')


def declared_by_the_page() -> type[Runtime]:
    """Return runtimes with the constant that the page adds, and with nothing else about it."""
    (diff,) = blocks(ROOT / "docs" / "adding-a-runtime.md", "diff")
    added = re.findall(r"^\+( .*\n)", diff.partition("--- a/roofline/engine/")[0], re.MULTILINE)
    place: dict[str, Any] = dict(vars(declarations))
    exec("class Toy(Runtime):\n" + "".join(added), place | {"Runtime": Runtime}, place)
    made: type[Runtime] = dataclass(frozen=True, kw_only=True)(place["Toy"])
    return made


Toy = declared_by_the_page()


def read(text: str) -> Any:
    return runtime_of(parse_spec(tomllib.loads(text), file_of(Toy), "mine.toml"), Toy)


def test_a_new_constant_is_read() -> None:
    assert read(STATED).warp_ops == 2.0
    assert read(EAGER).warp_ops == 0.0, "the default of its field"
    shared = {c.field: getattr(read(STATED), c.field) for c in CONSTANTS}
    assert shared == {c.field: getattr(rf.runtime("pytorch_eager"), c.field) for c in CONSTANTS}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("warp_ops =", "warp_op =", "mine.toml: [vector]: unknown key 'warp_op'; nearest: 'warp_ops'"),
        ("value = 2,", 'value = 2, unit = "us",', "mine.toml: [vector.warp_ops]: count needs no unit"),
        ("value = 2,", "value = -2,", "mine.toml: [vector.warp_ops]: value must be finite and not negative"),
        ('estimate = "a guess"', 'source = "a guess"', "mine.toml: [vector.warp_ops]: unknown source 'a guess'"),
        ("{ value = 2", "{ valu = 2", "mine.toml: [vector.warp_ops]: unknown key 'valu'; nearest: 'value'"),
        ('{ value = 2, estimate = "a guess" }', "2", "mine.toml: [vector.warp_ops]: a number needs its source"),
    ],
)
def test_a_new_constant_is_checked(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match="^" + re.escape(message)):
        read(STATED.replace(old, new, 1))


def test_who_does_not_declare_a_constant_refuses_it() -> None:
    with pytest.raises(SpecError, match=re.escape("[vector]: unknown key 'warp_ops'")):
        parse_spec(tomllib.loads(STATED), RUNTIME_FILE, "mine.toml")
    with pytest.raises(UnknownNameError, match="unknown constant 'warp_ops'"):
        fitted_constants(rf.runtime("pytorch_eager"), ["warp_ops"])


class Warps(Prepared):
    """Rows under a formula that uses the new constant: 1 us for each."""

    def predict(
        self,
        runtimes: AdaptRuntime | None = None,
        devices: Mapping[str, Device] | None = None,
        machines: AdaptMachine | None = None,
    ) -> Array:
        """Return the time of each row [s]."""
        assert runtimes is not None
        runtime: Any = runtimes(self.groups[0].runtime)
        return np.asarray(super().predict(runtimes, devices, machines) + 1e-6 * runtime.warp_ops)


def test_a_new_constant_is_fitted_and_written(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    head, line = GEMM_TEXT.splitlines()[0], "NV_V100,train,x,Float,{},64,{},N,N,1.0,"
    text = "\n".join([head, *(line.format(m, k) for m in (32, 200, 1000, 4000) for k in (64, 700, 5000))]) + "\n"
    rows = prepare(load(write(tmp_path, GEMM, text)).measurements)
    start = read(STATED)
    found = vars(Warps(measurements=rows.measurements, groups=rows.groups))
    true_s = Warps(**found).predict(lambda _: replace(start, warp_ops=7.0), bare_devices(rows))
    measured = tuple(replace(m, latency_s=float(t)) for m, t in zip(rows.measurements, true_s, strict=True))
    (unknown,) = constants = fitted_constants(start, ["vector.warp_ops"])
    assert (unknown.low, unknown.high, unknown.unit, unknown.logarithmic) == (0.1, 20.0, None, True)
    fitted = fit(Warps(**found | {"measurements": measured}), start, constants, bare_devices(rows))
    assert fitted.values["warp_ops"] == pytest.approx(7.0, rel=0.02)
    calibration: Any = SimpleNamespace(fit=fitted, constants=constants, datasets={"gemm.csv": 12})
    assert read(rewritten(STATED, calibration, datetime.date(2026, 1, 2))).warp_ops == pytest.approx(7.0, rel=0.02)


def test_a_new_constant_is_ablated() -> None:
    *before, own = effects_of(constants_of(Toy))
    assert tuple(before) == EFFECTS
    assert (own.name, own.without, own.kinds) == ("warp starts", "warps start at no cost", ("gpu",))
    assert own.adapt(read(STATED)) == read(EAGER), "nothing but this constant, which is 0 by default"


def test_a_new_constant_stands_in_the_table_of_the_page() -> None:
    lines = generator()["constants"](constants_of(Toy)).splitlines()
    (line,) = (line for line in lines if "vector.warp_ops" in line)
    assert "| 0 | operations for each warp that a kernel starts |" in line and "0.1 to 20 on gpu" in line
    assert line.endswith("| element-wise ops on small tensors |")


# the shipped declarations --------------------------------------------------------------------------------------------


def test_two_constants_may_not_have_one_place_in_a_file() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Twice(Runtime):
        again: float = constant("vector.window_ops", "window_ops, again")

    with pytest.raises(InputError, match=re.escape("two constants are 'vector.window_ops' in a file")):
        tables(constants_of(Twice))


def test_every_number_of_a_runtime_is_declared() -> None:
    policy = {"fold_batch_norm", "attention", "epilogue", "prologue", "fuse_movement", "epilogue_functions", "split"}
    policy |= {"batch_norm_functions", "nested_convolutions", "image_copies", "shared_keys"}
    told = {"name", "title", "device_kinds", "default_layout", "lane_layout", "layout_copies", "merge_products"}
    told |= {"products", "fused_attention", "experts", "paged_attention"}  # whose constants are their own
    told |= {"kernels"}  # which numbers there are kernels for
    assert {c.field for c in CONSTANTS} == set(Runtime.__dataclass_fields__) - policy - told
    help_text = Runtime.__doc__ or ""
    for c in CONSTANTS:
        assert re.search(rf"^    {c.field}\n        .{{10,}}\.$", help_text, re.MULTILINE), c.field
        assert all(r.low < r.high for r in (c.fitted, c.on_host) if r is not None), c.field


def test_an_effect_that_constants_make_together_takes_them_all_out() -> None:
    values = {effect.name: effect.runtime for effect in EFFECTS}
    assert values["operand fetch"] == {"tile_reuse_elements": 0.0, "lane_reuse_elements": 0.0}
    assert values["element loads"] == {"access_ops": 0.0, "broadcast_ops": 0.0}
    assert values["operands of other shapes"] == {"broadcast_ops": 0.0}
    assert values["dtype conversion"] == {"conversion_ops": 0.0, "emulated_conversion_ops": 0.0}
    wholes = {c.without.effect for c in CONSTANTS if c.without is not None}
    assert {c.without.part_of for c in CONSTANTS if c.without is not None} - {None} <= wholes


def test_defaults_hold_where_a_file_leaves_a_constant_out() -> None:
    """Those of the fields, and none that a file would refuse."""
    for name in rf.runtimes():
        file: RuntimeFile = runtime_file(name)
        stated, found = {c.field: c.value(file) for c in CONSTANTS}, rf.runtime(name)
        assert stated == {c.field: getattr(found, c.field) for c in CONSTANTS}
    left_out = {c.place for c in CONSTANTS if not c.required}
    assert left_out == {
        *("matrix.product_fraction", "matrix.grouped_fraction", "matrix.winograd", "vector.pool_ops"),
        *(
            "vector.gradient_window_ops",
            "vector.kept_weights",
            "vector.refinement_ops",
            "vector.broadcast_ops",
            *("serving.sequence", "serving.joins_cores", "serving.memory_share", "serving.block_tokens"),
            "memory.sum_wait",
            "memory.result_padding",
        ),
        "launch.trace",
    }


def test_a_device_overrides_constants_by_their_names_and_units() -> None:
    """But for three that only a device has: a clock under load, and what vector lanes and convolutions reach."""
    known = {c.field: c for c in CONSTANTS}
    own = set(OverrideTable.model_fields)
    assert own - set(known) == {"clock_ratio", "lane_fraction", "convolution_fraction"}
    for name in own & set(known):
        number = {"value": 0.5, "source": "x", "unit": known[name].unit}
        assert getattr(OverrideTable.model_validate({name: number}), name).si == 0.5
        with pytest.raises(ValidationError, match="needs"):
            OverrideTable.model_validate({name: number | {"unit": "GB"}})
