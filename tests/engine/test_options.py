"""Options of a run: declared once, the same at every door, and refused there in the same words."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import roofline as rf
from roofline.calibration.measured.types import Measurement
from roofline.calibration.predict import prepare
from roofline.cli.app import app
from roofline.cli.options import takes
from roofline.cluster.plan import Plan
from roofline.engine.options import OF_SPACE, OPTIONS, PER_DEVICE, Option, Options, declared
from roofline.errors import InputError, RooflineError
from roofline.search.scaling.forms import Limits
from roofline.serve.schemas import Candidates, OracleOptions, OracleQuery, Simulation
from roofline.serve.service import Service

DEVICE, MODEL, SPACE = "v100", "resnet-18", "accel-nasbench"
NEAR = Limits(depth=(1, 1), width=(1, 1), resolution=(1, 1))


def measured(**options: Any) -> None:
    row = {"runtime": rf.device(DEVICE).default_runtime, "dtype": rf.device(DEVICE).default_dtype, **options}
    made = Measurement(row=1, label="", workload=rf.model(MODEL), device=DEVICE, latency_s=1.0, family="", **row)
    found = prepare([made])
    if found.rejected:
        raise InputError(found.rejected[0].reason)


#: doors to a run of any network
RUNS: dict[str, Callable[..., object]] = {
    "simulate": lambda **options: rf.simulate(MODEL, DEVICE, **options),
    "simulate_many": lambda **options: rf.simulate_many([{"model": MODEL, "device": DEVICE, **options}]),
    "compare": lambda **options: rf.compare([MODEL], [DEVICE], **options),
    "flops_gap": lambda **options: rf.flops_gap([MODEL, "resnet-50"], DEVICE, **options),
    "advise": lambda **options: rf.advise(MODEL, DEVICE, **options),
    "sensitivity": lambda **options: rf.sensitivity(MODEL, DEVICE, fields=["vector.units"], **options),
    "stage_choices": lambda **options: rf.stage_choices("efficientnet-x-b0", [DEVICE], **options),
    "sweep": lambda **options: rf.sweep([MODEL], [DEVICE], **options),
}
ORACLE: dict[str, Callable[..., object]] = {"Oracle": lambda **options: rf.Oracle(SPACE, DEVICE, **options)}
#: doors to networks that say themselves how large their input is
SIZED: dict[str, Callable[..., object]] = {
    "scale": lambda **options: rf.compound_scale(MODEL, DEVICE, times=[1.0], limits=NEAR, **options),
    "measured rows": measured,
}
#: doors for JSON, whose types say whether there is a whole number at all
JSON: dict[str, Callable[..., object]] = {
    "service": lambda **options: Service().simulate(Simulation(device=DEVICE, model=MODEL, **options)),
    "service's oracle": lambda **options: Service().oracle(OracleOptions(space=SPACE, devices=(DEVICE,), **options)),
}
BAD: list[tuple[dict[str, Callable[..., object]], list[dict[str, Any]]]] = [
    (RUNS | ORACLE | SIZED | JSON, [
        {"batch": 1 << 30}, {"cores": 2}, {"dtype": "fp17"}, {"dtype": "int4"}, {"layout": "nhcw"},
        {"runtime": "xlaa"}, {"runtime": "xla_tpu"},
    ]),
    (RUNS | ORACLE | SIZED, [
        {"batch": 0}, {"batch": -1}, {"batch": True}, {"batch": 2.0}, {"batch": "8"}, {"cores": 0}, {"cores": True},
        {"cores": 1.0}, {"dtype": 16}, {"layout": 4},
    ]),
    (RUNS | ORACLE, [{"image_size": 0}, {"image_size": True}, {"image_size": 1 << 20}, {"image_size": 22.4}]),
    (RUNS, [
        {"mode": "train"}, {"mode": 1}, {"optimizer": "adam"}, {"recompute": "no"}, {"strict": 1}, {"bacth": 8},
        {"mode": "training", "optimizer": "adan"}, {"mode": "training", "optimizer": 3},
    ]),
]  # fmt: skip


def refusal(door: Callable[..., object], options: dict[str, Any]) -> str:
    """Return what a door says of options that it refuses."""
    with pytest.raises(RooflineError) as caught:
        door(**options)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize(
    ("doors", "bad"), [pytest.param(doors, bad, id=str(bad)) for doors, cases in BAD for bad in cases]
)
def test_every_door_refuses_in_the_same_words(doors: dict[str, Callable[..., object]], bad: dict[str, Any]) -> None:
    said = {name: refusal(door, bad) for name, door in doors.items()}
    assert set(said.values()) == {said["simulate"]}, said


def test_numbers_of_numpy_are_numbers_at_every_door() -> None:
    eight = np.int64(8)
    assert rf.simulate(MODEL, DEVICE, batch=eight).latency_s == rf.simulate(MODEL, DEVICE, batch=8).latency_s
    of_numpy, of_python = (
        rf.Oracle(SPACE, DEVICE, batch=n, image_size=s) for n, s in ((eight, np.int32(160)), (8, 160))
    )
    genomes = of_python.space.sample(20)
    np.testing.assert_array_equal(of_numpy.latency_s(genomes), of_python.latency_s(genomes))
    assert of_numpy.hash == of_python.hash
    assert list(rf.sweep([MODEL], [DEVICE], batch=[eight])["batch"]) == [8]


def test_a_misspelt_option_is_seen_before_anything_runs() -> None:
    """mypy sees it too: were it silent, it would call the remark below unused."""
    with pytest.raises(InputError, match="unknown option 'bacth'; nearest: 'batch'"):
        rf.simulate(MODEL, DEVICE, bacth=8)  # type: ignore[call-arg]
    with pytest.raises(InputError, match="unknown option 'mode'"):
        rf.Oracle(SPACE, DEVICE, mode="training")  # type: ignore[call-arg]
    with pytest.raises(InputError, match="batch must be a whole number"):
        rf.simulate(MODEL, DEVICE, batch=[1, 2])  # type: ignore[arg-type]


# declared once -----------------------------------------------------------------------------------


def options_of(verb: str) -> set[str]:
    """Return the long options that a verb shows in its help."""
    shown = CliRunner().invoke(app, [verb, "--help"], terminal_width=200, color=False).output
    return {word for line in shown.splitlines() for word in line.split() if word.startswith("--")}


def flags(options: dict[str, Option]) -> set[str]:
    return {"--" + name.replace("_", "-") for name in options}


@pytest.mark.parametrize("verb", ["simulate", "advise", "sensitivity", "compare", "gap", "migrate"])
def test_verbs_that_run_networks_have_every_option(verb: str) -> None:
    assert flags(OPTIONS) <= options_of(verb)


def test_verbs_of_spaces_have_the_options_of_networks_that_run_forward() -> None:
    for verb in ("search", "lut"):
        assert flags(OF_SPACE) <= options_of(verb)
    assert flags(PER_DEVICE) <= options_of("scale")


def test_the_service_and_plans_have_every_option() -> None:
    assert set(OPTIONS) <= set(Simulation.model_json_schema()["properties"])
    for schema in (OracleOptions, OracleQuery, Candidates):
        assert set(OF_SPACE) <= set(schema.model_json_schema()["properties"])
    assert set(OPTIONS) <= set(Plan.model_fields)


def test_a_request_has_every_option_and_tells_what_it_is() -> None:
    request = rf.Request(model=MODEL, device=DEVICE, batch=8)
    assert {name: getattr(request, name) for name in OPTIONS} == {
        name: 8 if name == "batch" else option.default for name, option in OPTIONS.items()
    }
    assert request == rf.Request(model=MODEL, device=DEVICE, batch=8) != replace(request, strict=True)
    assert len({request, pickle.loads(pickle.dumps(request))}) == 1
    assert repr(request).startswith("Request(model='resnet-18', device='v100', batch=8, dtype=None")
    assert all(option.text in str(rf.Request.__doc__) for option in OPTIONS.values())


def test_a_new_option_is_one_declaration() -> None:
    """A key in a TypedDict is a parameter of a verb, with the type, the letter and the help that it declares."""

    class More(Options[Any, Any, Any, Any], total=False):
        beams: Annotated[int, Option(help="Answers at a time", unset="one", kind=int, letter="-w")]

    new = declared(More)
    assert [*new] == [*OPTIONS, "beams"]
    heard: list[dict[str, Any]] = []

    @takes(new, before="last")
    def verb(model: Annotated[str, typer.Argument()], last: str = "", **options: Any) -> None:
        heard.append(options)

    made = typer.Typer()
    made.command()(verb)
    shown = CliRunner().invoke(made, ["--help"], terminal_width=200, color=False).output
    assert "Answers at a time; default: one." in shown
    assert CliRunner().invoke(made, ["resnet-18", "-w", "512"]).exit_code == 0
    assert heard == [{name: option.default for name, option in OPTIONS.items()} | {"beams": 512}]


def test_the_memory_format_follows_the_unit_that_multiplies() -> None:
    """TensorFlow on a V100: channels last on tensor cores, channels first on vector lanes, or what is asked for."""
    run: dict[str, Any] = {"device": "v100", "runtime": "tensorflow", "batch": 8}
    assert rf.simulate("resnet-18", dtype="fp16", **run).layout == "nhwc"
    assert rf.simulate("resnet-18", dtype="fp32", **run).layout == "nchw"
    assert rf.simulate("resnet-18", dtype="fp32", layout="nhwc", **run).layout == "nhwc"
    assert rf.simulate("resnet-18", "v100", runtime="pytorch_eager", dtype="fp32").layout == "nhwc"
