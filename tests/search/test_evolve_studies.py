"""The page about search runs; rediscovery and transfer between platforms, small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import search_studies
from pages import blocks
from places import ROOT
from search_studies import rules, same_twin

import roofline as rf
from roofline.errors import InputError
from roofline.search.evolution.transfer import BASE, BATCH, best_of, gain_kept, transfer, transfer_matrix
from roofline.search.oracle.latency import Oracle

SPACE = rf.search_space("efficientnet-x").restricted(
    {"image_size": [224], **{f"s{i}_repeats": [2, 3] for i in range(3, 6)}}
)


def test_the_examples_of_the_page_run() -> None:
    page = ROOT / "docs" / "search.md"
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(compile(code, "search.md", "exec"), names)


def test_the_space_of_the_page_is_one(tmp_path: Any) -> None:
    (text,) = blocks(ROOT / "docs" / "search.md", "toml")
    (tmp_path / "mine.toml").write_text(text)
    space = rf.search_space(tmp_path / "mine.toml")
    assert space.size == 81 * (6 - 1)  # input sizes x stems, but one pair
    assert rf.simulate(space.decode(space.sample(1)[0]), "v100").latency_s > 0


def test_search_finds_what_the_paper_claims_on_a_tpu() -> None:
    """At least 1.5 x faster than EfficientNet-B0 at no lower score of the plain twin, with more MACs."""
    full = rf.search_space("efficientnet-x").restricted({"image_size": [208, 224]})
    oracle = Oracle(full, "tpu-v3", batch=128)
    found = best_of(oracle, None, 0, evaluations=60_000)
    assert found.speedup[0] >= 1.5 and found.score >= found.base_score
    assert (
        rules(full, found.genome)["ReLU in most stages"]
        and rules(full, found.genome)["fused in an early stage (s0 to s2)"]
    )
    few_macs = best_of(oracle, None, 0, what="macs", evaluations=60_000)
    assert few_macs.macs < few_macs.base_macs < found.macs
    assert few_macs.speedup[0] < found.speedup[0]
    genome, gain = same_twin(oracle)
    base = full.encode(rf.model(BASE))
    assert (full.to_twin(genome[None]) == full.to_twin(base[None])).all()
    report, plain = (rf.simulate(full.decode(g), "tpu-v3", batch=128) for g in (genome, base))
    assert gain == pytest.approx(plain.latency_s / report.latency_s, rel=1e-9)


def test_gains_by_hand() -> None:
    kept = gain_kept(np.array([[3.0, 1.5], [2.0, 2.0], [1.0, 1.1]]))
    np.testing.assert_allclose(kept, [[1.0, 0.5], [0.5, 1.0], [0.0, 0.1]])


def test_rules_by_hand() -> None:
    chosen = SPACE.mapping(SPACE.sample(1)[0])
    plain = (
        chosen
        | {n: "mbconv" for n in chosen if n.endswith("_op")}
        | {n: "relu" for n in chosen if n.endswith("_activation")}
    )
    paper = plain | {"s0_op": "fused", "s1_op": "fused", "s2_op": "fused", "stem": "space_to_depth"}
    found = rules(SPACE, SPACE.encode(paper))
    assert (
        found["fused first, depthwise from some stage on"]
        and found["space-to-depth stem"]
        and found["ReLU in all stages"]
    )
    assert found["... from where the grid is below 28 a side on (s3 or s4)"]
    assert not rules(SPACE, SPACE.encode(plain))["fused in an early stage (s0 to s2)"]
    assert not rules(SPACE, SPACE.encode(paper | {"s5_op": "fused"}))["fused first, depthwise from some stage on"]


def test_what_the_studies_print_is_what_they_found(capsys: pytest.CaptureFixture[str]) -> None:
    found = search_studies.rediscovery("tpu-v3", 1, evaluations=400)
    (winner,) = found["winners"]
    search_studies._print_rediscovery(found)
    said = capsys.readouterr().out
    assert f"tpu-v3, xla_tpu, batch {BATCH}, 1 seeds" in said
    assert f"faster than EfficientNet-B0: {winner.speedup[0]:.2f}x to {winner.speedup[0]:.2f}x" in said
    assert f"MACs {winner.macs / winner.base_macs:.2f} x EfficientNet-B0's" in said
    assert all(f"- {rule}: {count} of 1" in said for rule, count in found["rules"].items())
    assert found["few_macs"].macs <= winner.macs
    _, gain = found["same_twin"]
    assert gain >= 1.0  # EfficientNet-B0 is among them


def test_winners_on_each_others_platforms() -> None:
    names, speedup = transfer(["tpu-v3", "v100"], evaluations=400)
    assert names == ("tpu-v3", "v100", "few MACs") and speedup.shape == (3, 2)
    assert np.diag(gain_kept(speedup)).tolist() == [1.0, 1.0]
    frame = transfer_matrix(["tpu-v3", "v100"], evaluations=400)
    assert frame.to_numpy().tolist() == speedup.tolist() and list(frame.index) == list(names)


def test_the_studies_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert search_studies.main(["many"]) == 2 and "usage" in capsys.readouterr().err
    with pytest.raises(InputError, match="at least one seed"):
        search_studies.main(["0"])
