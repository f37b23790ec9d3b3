"""Spaces over somebody's own blocks by word: modules, files, tables; and accuracy of their networks."""

from __future__ import annotations

import csv
import json
import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import own_blocks
import pytest
from own_blocks import Head, Residual, cnns, stem, transformers
from torch import nn

import roofline as rf
from roofline.cli.app import main
from roofline.errors import InputError, SpecError
from roofline.search.oracle import lut
from roofline.search.space.own.modules import Network

BATCH, EXACT = 4, 1e-9


# by word -----------------------------------------------------------------------------------


def test_a_space_is_found_by_module_and_name_and_travels() -> None:
    found = rf.search_space("own_blocks:cnns")
    assert found.names == cnns().names and found.hash == cnns().hash
    again = pickle.loads(pickle.dumps(rf.Oracle(rf.search_space("own_blocks:transformers"), "v100")))
    assert again.space.hash == transformers.hash
    with pytest.raises(InputError, match="cannot travel to other processes"):
        pickle.dumps(cnns())
    for word, message in {
        "own_blocks:not_a_space": "is no search space but 'int'",
        "own_blocks:missing": "cannot load",
        "no_such_module:space": "cannot load",
    }.items():
        with pytest.raises(InputError, match=message):
            rf.search_space(word)


SPACE_FILE = """
name = "file"
input = [3, 32, 32]

[[stages]]
name = "stem"
blocks = ["own_blocks:stem"]

[[stages]]
name = "s"
blocks = { after = "own_blocks:Residual", before = "own_blocks:PreActivation" }
repeats = [1, 2]
arguments = { width = [16, 32] }

[[stages]]
name = "head"
blocks = ["own_blocks:Head"]

[[forbidden]]
s = ["before"]
s_width = [32]
"""


def test_a_space_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(SPACE_FILE, encoding="utf-8")
    space = rf.search_space(path)
    assert space.names == ("s", "s_repeats", "s_width") and space.size == 6
    network = space.decode([0, 1, 0])
    assert [part.block for part in network.parts] == ["stem", "after", "after", "Head"]
    whole = nn.Sequential(stem(), Residual((16, 16, 16), 16, 0), Residual((16, 8, 8), 16, 1), Head((16, 8, 8)))
    report = rf.simulate(rf.from_torch(whole, (BATCH, 3, 32, 32)), "v100", batch=BATCH)
    found = rf.Oracle(space, "v100", batch=BATCH).latency_s(np.array([[0, 1, 0]]))[0, 0]
    assert found == pytest.approx(report.latency_s, rel=EXACT)
    assert pickle.loads(pickle.dumps(space)).hash == space.hash
    for right, wrong, message in (
        ("own_blocks:stem", "own_blocks:stm", r"space.toml: cannot load 'own_blocks:stm'"),
        ('name = "stem"', 'nmae = "stem"', r"space.toml: .*'nmae'"),
        ('"own_blocks:stem"', '"stem"', "a block is 'module:callable' or 'FILE.onnx', got 'stem'"),
    ):
        path.write_text(SPACE_FILE.replace(right, wrong, 1), encoding="utf-8")
        with pytest.raises(SpecError, match=message):
            rf.search_space(path)


def test_lut_writes_tables_of_such_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("csv", "json", "yaml", "npz"):
        words = ["lut", "--from", "own_blocks:cnns", "--device", "v100", "-o", str(tmp_path / f"lut.{suffix}")]
        assert main(words) == 0
    assert "blocks of cnns on v100" in capsys.readouterr().out
    with (tmp_path / "lut.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["key"] for row in rows}) == len(rows)
    assert {row["kind"] for row in rows} == {"stem", "Residual", "Inverted", "PreActivation", "Head"}
    assert (tmp_path / "lut.yaml").read_text(encoding="utf-8").count("mean:") == len(rows) + 1
    assert len(json.loads((tmp_path / "lut.json").read_text(encoding="utf-8"))["rows"]) == len(rows)
    assert main(["lut", "--device", "v100", "-o", "x.csv"]) == 2
    assert main(["lut", "vit", "--from", "a:b", "--device", "v100", "-o", "x.csv"]) == 2
    assert main(["lut", "--from", "vit", "--device", "v100", "-o", "x.csv"]) == 2


def test_the_stage_table_adds_up_to_the_latency() -> None:
    oracle = rf.Oracle(cnns(), "v100", batch=BATCH)
    genome = oracle.space.sample(1, seed=5)
    chosen = oracle.space.mapping(genome[0])
    rows = [r for r in lut.stage_rows(oracle) if all(chosen[name] == value for name, value in r["choices"].items())]
    device, host = (sum(row[name] for row in rows) for name in ("device_ms", "host_ms"))
    program = oracle.targets[0].runtime.program_s
    assert oracle.latency_s(genome)[0, 0] == pytest.approx(program + max(device, host) / 1e3, rel=EXACT)


# accuracy ------------------------------------------------------------------------------------


def test_accuracy_is_asked_about_networks_in_batches_and_never_twice(tmp_path: Path) -> None:
    asked: list[list[Network]] = []

    def supernet(networks: list[Network]) -> list[float]:
        asked.append(networks)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return own_blocks.depth(networks)  # type: ignore[arg-type]

    genomes = transformers.sample(40, seed=0)
    distinct = len(np.unique(genomes, axis=0))
    store = tmp_path / "kept" / "answers.sqlite"
    accuracy = rf.FromNetworks(transformers, supernet, batch=8, store=store)
    with pytest.raises(KeyboardInterrupt):
        accuracy.predict(genomes)
    again = rf.FromNetworks(transformers, supernet, batch=8, store=store)
    mean = again.predict(genomes).mean
    assert mean.tolist() == [len(transformers.decode(g).parts) for g in genomes]
    answered = asked[:2] + asked[3:]
    assert max(map(len, asked)) == 8 and sum(map(len, answered)) == distinct
    assert all(isinstance(network, Network) for networks in asked for network in networks)
    again.predict(genomes)
    assert sum(map(len, asked[:2] + asked[3:])) == distinct
    with pytest.raises(InputError, match="keeps answers of another program"):
        rf.FromNetworks(transformers, supernet, store=store, hash="changed")
    one = rf.FromNetworks(transformers, lambda network: float(len(network.parts)), vectorised=False)
    assert one.predict([transformers.decode(g) for g in genomes]).mean.tolist() == mean.tolist()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda networks: [1.0], "must return 2 accuracies, got shape"),
        (lambda networks: "high", "returns no accuracies"),
        (lambda networks: [float("nan")] * 2, "returned nan for network 'transformers-"),
        (lambda networks: ([1.0, 2.0], 0.1), r"must return \(mean, half_width, in_domain\), got 2 values"),
    ],
)
def test_answers_that_are_no_accuracies_are_refused(said: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.FromNetworks(transformers, said).predict(np.array([[0] * transformers.length, [1] * transformers.length]))


def test_search_over_own_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "--from", "own_blocks:transformers", "--device", "v100", "--batch", "4", "-n", "600"]
    words += ["--accuracy", "own_blocks:depth", "--max-latency-ms", "1", "--population", "64", "--no-baselines"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    best = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["best"]
    limit = 1e-3
    genomes = np.concatenate(list(transformers.enumerate()))
    latency = rf.Oracle(transformers, "v100", batch=4).latency_s(genomes)[:, 0]
    depths = [len(transformers.decode(g).parts) for g in genomes[latency <= limit]]
    assert best["accuracy"] == max(depths)
    winner = rf.search_space("own_blocks:transformers")
    told = tomllib.loads((tmp_path / "out" / "architectures" / "winner-01.toml").read_text(encoding="utf-8"))
    assert told["space"] == "own_blocks:transformers"
    assert len(winner.decode(winner.encode(told["choices"])).parts) == best["accuracy"]
    assert (tmp_path / "out" / "accuracy.sqlite").is_file()
    capsys.readouterr()


def test_the_oracle_saves_and_loads_tables_of_such_spaces(tmp_path: Path) -> None:
    oracle = rf.Oracle(cnns(), "v100", batch=BATCH)
    genomes = oracle.space.sample(10, seed=0)
    path = oracle.build().save(tmp_path / "t.npz")
    np.testing.assert_array_equal(
        rf.Oracle(cnns(), "v100", batch=BATCH).load(path).latency_s(genomes), oracle.latency_s(genomes)
    )
