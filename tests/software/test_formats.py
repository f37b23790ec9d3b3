"""Number formats: what the files say, how many bytes it is, and what it costs."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import roofline as rf
from roofline.cli import main
from roofline.dtypes import DTYPES
from roofline.errors import RooflineError
from roofline.graph.builder import GraphBuilder
from roofline.graph.indexing import Update
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import GroupedMatMul
from roofline.paths import data_files
from roofline.report.provenance import provenance
from roofline.software.formats import CLASSES, format_file

ROWS, WIDTH, OUT, VOCAB, TOKENS, EXPERTS = 8, 512, 256, 1000, 64, 4
#: bits of an element with its share of the scales, by hand
BITS = {
    "w4a16": 4 + 16 / 128,  # an fp16 scale for 128
    "nvfp4": 4 + 8 / 16,  # an e4m3 scale for 16
    "mxfp8": 8 + 8 / 32,  # an e8m0 scale for 32
    "fp8-block": 8 + 32 / (128 * 128),  # an fp32 scale for a square of 128
}


@cache
def decoder(rows: int = ROWS) -> OpGraph:
    """Return one step of a tiny decoder: a table, attention over a cache, a linear, experts, and the vocabulary."""
    b = GraphBuilder("tiny")
    x = b.embedding(b.input("ids", (rows, 1), DTYPES["int32"]), VOCAB, WIDTH)
    q, k, v = (b.linear(x, OUT, bias=False, name=name) for name in "qkv")
    place = b.tensor("place", (rows, 1), "buffer", DTYPES["int32"])
    keys, values = (
        b.add_op(f"put_{name}", Update, b.tensor(name, (rows, TOKENS, OUT), "cache"), new, place)
        for name, new in (("keys", k), ("values", v))
    )
    x = b.add(x, b.linear(b.attention(q, keys, values, heads=4), WIDTH, bias=False, name="out"))
    router = b.linear(x, EXPERTS, bias=False, part="router", name="router")
    ends = b.tensor("ends", (EXPERTS,), "buffer", DTYPES["int32"])
    y = b.add_op("experts", GroupedMatMul, b.reshape(x, (rows, WIDTH)), b.parameter("up", EXPERTS, WIDTH, OUT), ends)
    head = b.linear(y, VOCAB, bias=False, part="head", name="head")
    return b.graph([head, router, keys, values])


LINEAR = WIDTH * OUT * 3 + OUT * WIDTH
GROUPED = EXPERTS * WIDTH * OUT
#: table, output layer, router: wide in all files that ship; and the places, ends
REST = 2 * (VOCAB * WIDTH + OUT * VOCAB + WIDTH * EXPERTS) + 4 * (ROWS + EXPERTS)


def run(format: str | None, device: str = "h100-sxm", **options: Any) -> Any:
    return rf.simulate(decoder(), device, dtype="bf16", format=format, **options)


@pytest.mark.parametrize("name", rf.formats())
def test_every_file_says_where_it_is_from_and_reads_back(name: str) -> None:
    file, found = format_file(name), rf.format(name)
    assert file.name == found.name == name
    assert rf.format(found) is found
    assert file.sources and file.why
    for kind in CLASSES:
        table, number = getattr(file, kind), getattr(found, kind)
        assert (table is None) == (number is None)
        if number is not None:
            assert (number.dtype.name, number.scale.name) == (table.number, table.scale)
    if found.weights is not None:
        assert found.weights.bits == BITS.get(name, found.weights.dtype.bits)


def test_weights_have_the_bytes_of_their_elements_and_scales() -> None:
    assert run(None).weight_bytes == 2 * (LINEAR + GROUPED) + REST
    assert run("bf16").weight_bytes == 2 * (LINEAR + GROUPED) + REST
    # q, k, v: 512 deep, 256 wide; out: 256 deep, 512 wide; experts: 4 of 512 deep, 256 wide
    groups = 3 * (512 // 128) * 256 + (256 // 128) * 512 + 4 * (512 // 128) * 256
    assert run("w4a16").weight_bytes == (LINEAR + GROUPED) / 2 + 2 * groups + REST
    squares = 3 * (512 // 128) * (256 // 128) + (256 // 128) * (512 // 128) + 4 * (512 // 128) * (256 // 128)
    assert run("fp8-block").weight_bytes == (LINEAR + GROUPED) + 4 * squares + REST
    columns = 3 * 256 + 512 + 4 * 256
    assert run("w8a8").weight_bytes == (LINEAR + GROUPED) + 4 * columns + REST
    assert run("w8a16").weight_bytes == (LINEAR + GROUPED) + 2 * columns + REST
    blocks = (LINEAR + GROUPED) / 16  # 5 tensors with an fp32 scale of their own
    assert run("nvfp4", "b200").weight_bytes == (LINEAR + GROUPED) / 2 + blocks + 5 * 4 + REST
    assert run("mxfp4").weight_bytes == 2 * LINEAR + GROUPED * (4.25 / 8) + REST, "experts only"
    assert run("fp8").weight_bytes == (LINEAR + GROUPED) + 5 * 4 + REST


def test_a_cache_of_fp8_has_half_the_bytes_and_is_half_as_much_to_read() -> None:
    cache = 2 * ROWS * TOKENS * OUT
    wide, narrow = run("fp8"), run("fp8-kv8")
    assert (wide.cache_bytes, narrow.cache_bytes) == (2 * cache, cache)
    assert narrow.weight_bytes == wide.weight_bytes

    def attended(report: Any) -> float:
        (row,) = report.kernels[report.kernels["kind"] == "attention"].to_dict("records")
        return float(row["state_traffic_bytes"])

    assert attended(narrow) == attended(wide) / 2 == cache


def vector_ops(report: Any, op: str) -> float:
    kernels = report.kernels
    return float(kernels[kernels["ops"].str.split(" + ", regex=False).apply(lambda ops: op in ops)]["vector_ops"].sum())


def test_conversions_are_work_of_the_kernels_that_do_them() -> None:
    cache = 2 * ROWS * TOKENS * OUT
    plain = run(None)
    assert vector_ops(run("kv8"), "attention") == vector_ops(plain, "attention") + cache  # every key and value once
    assert vector_ops(plain, "update") == 0
    assert vector_ops(run("kv8"), "update") == 2 * ROWS * OUT * 4  # of two rows: scale, clamp 2, conversion
    assert vector_ops(plain, "grouped_matmul") == 0
    # 4 experts have rows of the 8: all weights are unpacked 2, converted and scaled 1 each
    assert vector_ops(run("w4a16"), "grouped_matmul") == GROUPED * 3
    assert vector_ops(run("w8a16"), "grouped_matmul") == GROUPED + ROWS * OUT  # a scale per column: on results


def test_narrow_queries_are_multiplied_with_narrow_keys() -> None:
    """They are rounded by a kernel of their own; nothing is widened, and scores take half of the time."""
    wide, narrow = run("fp8-kv8"), run("fp8-attention")
    assert vector_ops(wide, "attention") - vector_ops(narrow, "attention") == 2 * ROWS * TOKENS * OUT
    rounding = narrow.kernels[narrow.kernels["ops"] == "quantize"]
    assert len(rounding) == len(wide.kernels[wide.kernels["ops"] == "quantize"]) + 1

    def matrix_s(report: Any) -> float:
        return float(report.kernels.loc[report.kernels["kind"] == "attention", "matrix_time_s"].iloc[0])

    assert matrix_s(narrow) < matrix_s(wide)
    on_a100 = run("fp8-attention", "a100-80gb")
    assert len(on_a100.warnings) == 2
    assert "keys and values are widened" in on_a100.warnings[1]
    assert vector_ops(on_a100, "attention") == vector_ops(run("kv8", "a100-80gb"), "attention")


def test_activations_are_rounded_once_for_all_products_that_read_them() -> None:
    kernels = run("w8a8").kernels
    rounding = kernels[kernels["ops"] == "quantize"]
    assert len(rounding) == 3  # for q, k and v; for the output of attention; for the experts
    first = rounding.iloc[0]
    assert first["vector_ops"] == ROWS * WIDTH * 6 + ROWS  # a reciprocal for each token
    assert first["traffic_bytes"] == ROWS * WIDTH * (2 + 1) + ROWS * 4  # in, out, scales


def test_what_a_device_does_not_multiply_runs_with_widened_weights_and_says_so() -> None:
    report = run("fp8", "a100-80gb")
    assert report.warnings == ("'a100-80gb' does not multiply 'fp8': in format 'fp8' weights are widened to 'bf16'",)
    assert not (report.kernels["ops"] == "quantize").any()
    assert report.weight_bytes == run("fp8").weight_bytes
    assert vector_ops(report, "grouped_matmul") == GROUPED + ROWS * OUT
    assert run("fp8").warnings == ()


def test_the_matrix_unit_multiplies_the_narrow_numbers() -> None:
    def rate(report: Any) -> float:
        row = report.kernels[report.kernels["ops"] == "matmul"].iloc[0]
        return float(row["matrix_time_s"])

    wide = decoder(rows=4096)
    times = {
        name: rate(rf.simulate(wide, "b200", dtype="bf16", format=name)) for name in ("bf16", "fp8", "nvfp4", "w4a16")
    }
    assert times["nvfp4"] < times["fp8"] < times["bf16"] == times["w4a16"]


@pytest.mark.parametrize("device", rf.devices())
@pytest.mark.parametrize("name", rf.formats())
def test_every_format_runs_or_is_refused_in_one_line_everywhere(name: str, device: str) -> None:
    kind = rf.device(device).kind
    for runtime in rf.runtimes():
        if kind not in rf.runtime(runtime).device_kinds:
            continue
        if name == "bf16" and "bf16" not in rf.device(device).matrix.rates:
            with pytest.raises(RooflineError, match="has no dtype 'bf16'"):
                rf.simulate(decoder(), device, runtime=runtime, format=name)
            continue
        report = rf.simulate(decoder(), device, runtime=runtime, format=name)
        assert report.format == name
        assert math.isfinite(report.latency_s) and report.latency_s > 0
        assert report.macs == decoder().macs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "fp9"}, "unknown format 'fp9'"),
        ({"format": 8}, "format must be a name, got 8"),
        ({"format": "fp8", "dtype": "int8"}, "format 'fp8' is beside fp16, bf16, tf32 or fp32, not 'int8'"),
        ({"format": "fp8", "dtype": "amp_bf16"}, "not 'amp_bf16'"),
        ({"format": "bf16", "dtype": "fp16"}, "format 'bf16' is beside 'bf16', not 'fp16'"),
        ({"format": "fp8", "mode": "training"}, "format 'fp8' is for mode 'inference', not 'training'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RooflineError, match=says):
        rf.simulate(decoder(), "h100-sxm", **options)


def test_weights_of_an_8b_model_are_a_half_and_a_quarter_and_decode_gains_what_they_save() -> None:
    """All but table and output layer, of 128256 x 4096 each, and the norms are weights of products."""
    how: dict[str, Any] = {"phase": "decode", "context": 128, "batch": 1, "runtime": "tensorrt", "dtype": "bf16"}
    table, norms = 128256 * 4096, 65 * 4096
    products = 8_030_261_248 - 2 * table - norms
    found = {name: rf.simulate("llama-3-8b", "h100-sxm", format=name, **how) for name in ("bf16", "w8a16", "w4a16")}
    angles = found["bf16"].weight_bytes - 2 * 8_030_261_248  # of the rotation: no parameters
    assert 0 <= angles < 1e6
    wide = 2 * (2 * table + norms) + angles
    assert found["w4a16"].weight_bytes == wide + products * (4 + 16 / 128) / 8
    columns = 32 * (4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096)
    assert found["w8a16"].weight_bytes == wide + products + 2 * columns
    seconds = {name: report.latency_s for name, report in found.items()}
    saved = products / rf.device("h100-sxm").main_memory.bandwidth_bytes_per_s
    assert seconds["bf16"] - seconds["w8a16"] > 0.9 * saved, "a byte a weight less to stream"
    assert seconds["w8a16"] > seconds["w4a16"]


@pytest.mark.parametrize(("model", "gibibytes"), [("gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8)])
def test_gpt_oss_is_as_large_as_its_card_says(model: str, gibibytes: float) -> None:
    """Model card of gpt-oss (arXiv 2508.10925), table 1: sizes of the checkpoints."""
    report = rf.simulate(model, "h100-sxm", dtype="bf16", format="mxfp4", phase="decode", context=64)
    assert round(report.weight_bytes / 2**30, 1) == gibibytes
    router = report.kernels[report.kernels["kernel"].str.endswith("router/scores")].iloc[0]
    assert router["weight_traffic_bytes"] >= 2880 * (128 if "120" in model else 32) * 2, "routers stay wide"


@pytest.mark.parametrize("model", ["deepseek-v3", "mixtral-8x7b", "gemma-3-27b", "qwen3.5-27b"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", rf.formats())
def test_every_format_runs_every_kind_of_layer(name: str, phase: str, model: str) -> None:
    how: dict[str, Any] = {"phase": phase, "batch": 2, **({"context": 256} if phase == "decode" else {"length": 256})}
    plain, report = (rf.simulate(model, "b200", dtype="bf16", format=one, **how) for one in (None, name))
    assert report.macs == plain.macs
    assert report.weight_bytes <= plain.weight_bytes
    assert report.cache_bytes <= plain.cache_bytes
    assert (report.cache_bytes < plain.cache_bytes) == (rf.format(name).cache is not None)


def test_rows_are_rounded_before_they_are_sent_to_their_experts() -> None:
    """Mixtral sends 3 rows of 4096 to 2 experts each: they are rounded once, and travel as bytes."""
    how: dict[str, Any] = {"phase": "decode", "batch": 3, "context": 64, "runtime": "pytorch_eager"}
    kernels = rf.simulate("mixtral-8x7b", "h100-sxm", format="fp8", **how).kernels
    layer = kernels[kernels["block"] == "layers.1"]
    (sent,) = layer[layer["kernel"].str.contains("dispatch")].to_dict("records")
    assert 3 * 2 * 4096 <= sent["traffic_bytes"] - 3 * 4096 < 3 * 2 * 4096 + 100, "3 rows read, 6 written, and indices"
    up, down = layer[(layer["ops"] == "quantize") & ~layer["kernel"].str.contains("attention")].to_dict("records")
    assert (up["vector_ops"], down["vector_ops"]) == (3 * 4096 * 4, 3 * 2 * 14336 * 4)


def test_an_oracle_of_steps_is_simulate_in_a_format() -> None:
    oracle = rf.StepOracle("llama-3-8b", "h100-sxm", runtime="vllm", format="fp8-kv8")
    found = oracle([1, 8, 32], 1, [100, 1000, 2000])
    for batch, context, seconds in zip([1, 8, 32], [100, 1000, 2000], found, strict=True):
        how: dict[str, Any] = {"phase": "decode", "batch": batch, "context": context}
        expected = rf.simulate("llama-3-8b", "h100-sxm", runtime="vllm", format="fp8-kv8", **how).latency_s
        assert seconds == pytest.approx(expected, rel=1e-9)


def test_formats_are_an_axis_of_sweeps_and_differ_from_device_to_device() -> None:
    how: dict[str, Any] = {"phase": "decode", "context": 64}
    table = rf.sweep(["llama-3-8b"], ["b200"], format=["fp8", "w4a16"], **how)
    assert list(table["format"]) == ["fp8", "w4a16"]
    each = rf.compare(["llama-3-8b"], ["h100-sxm", "b200"], format={"h100-sxm": "fp8", "b200": "nvfp4"}, **how)
    assert list(each["format"]) == ["fp8", "nvfp4"]


def test_the_output_layer_of_a_program_is_told_by_its_size() -> None:
    b = GraphBuilder("program")
    x = b.embedding(b.input("ids", (4, 8), DTYPES["int32"]), 100, 32)
    y = b.linear(b.linear(x, 32, bias=False), 100, bias=False, name="scores")
    report = rf.simulate(b.graph([y]), "h100-sxm", dtype="bf16", format="w8a16")
    assert report.weight_bytes == 2 * 100 * 32 * 2 + (32 * 32 + 2 * 32)


def test_provenance_says_who_says_so() -> None:
    rows = provenance(run("fp8", "a100-80gb"))["Number format fp8"]
    assert ("weights", "fp8, 8 bits with scales", "") in rows
    assert any("does not multiply 'fp8'" in remark for _, _, remark in rows)


@pytest.mark.parametrize(
    ("words", "form", "numbers"),
    [
        (["--format", "fp8-kv8"], "table", "fp8-kv8"),
        (["--format=json", "--format", "w4a16"], "json", "w4a16"),
        (["-f", "json", "--number-format", "w4a16"], "json", "w4a16"),
        (["--format", "json"], "json", None),
    ],
)
def test_the_command_line_tells_number_formats_from_what_is_printed(
    words: list[str], form: str, numbers: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "gpt2", "--device", "h100-sxm", *words]) == 0
    out = capsys.readouterr().out
    if form == "json":
        assert json.loads(out)["format"] == numbers
    else:
        assert numbers is not None
        assert f", {numbers}, " in out.splitlines()[0]


def test_the_command_line_names_both_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "gpt2", "--device", "h100-sxm", "--format", "fp9"]) == 2
    line = capsys.readouterr().err
    assert "table, json, csv" in line
    assert "fp8-kv8" in line
    assert "'fp9'" in line


@pytest.mark.parametrize("words", [["formats"], *(["formats", name] for name in rf.formats())], ids=" ".join)
def test_formats_are_listed_and_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "json", "csv"):
        assert main([*words, "-f", form]) == 0
        assert capsys.readouterr().out


def test_a_file_that_breaks_the_schema_is_one_line(tmp_path: Path) -> None:
    text = data_files("formats")["w4a16"].read_text(encoding="utf-8")
    for old, new, says in (
        ('number = "int4"', 'number = "int5"', "unknown dtype 'int5'"),
        ("block = [128, 1]", "block = [128]", "block"),
        ("[weights]", "[weihgts]", "weihgts"),
    ):
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(RooflineError, match=says) as caught:
            rf.format(str(path))
        assert "mine.toml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["a100-80gb", "h100-sxm"])
def test_latent_rows_of_a_narrow_cache_are_widened_before_they_are_expanded(device: str) -> None:
    """The matrix that expands them is wide; keys and values that it makes are activations, and stay so."""
    tokens, latent, rotary, heads, layers = 256, 512, 64, 128, 61
    wide, narrow = (rf.simulate("deepseek-v3", device, runtime="vllm", length=tokens, format=f) for f in (None, "kv8"))
    assert narrow.cache_bytes == wide.cache_bytes / 2 == tokens * (latent + rotary) * layers
    # rounded: scale, clamp 2, conversion; widened: what is expanded, and, scaled too, the keys that all heads share
    more = 4 * (latent + rotary) + latent + 2 * rotary * heads
    assert narrow.vector_ops - wide.vector_ops == tokens * layers * more
    assert narrow.latency_s == pytest.approx(wide.latency_s, rel=0.01)
