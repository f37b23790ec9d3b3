"""Accuracy oracles: the shipped fits against the published rows, and the rules that keep claims honest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import MEASUREMENTS
from regret import main as regret_command
from regret import random_regret, regrets, study

import roofline as rf
from roofline.errors import InputError
from roofline.search.accuracy import pairwise, structural
from roofline.search.accuracy.adapters import TARGET, FromFunction, FromRegressor, FromTable, one_hot, read_table
from roofline.search.accuracy.choose import accuracy_oracle
from roofline.search.accuracy.linear import half_widths, ridge
from roofline.search.accuracy.pairwise import PairwiseRidge
from roofline.search.accuracy.protocol import AccuracyOracle, Prediction, checked, written
from roofline.search.accuracy.scores import Score
from roofline.search.accuracy.structural import Structural
from roofline.search.evolution.objective import Objective
from roofline.search.oracle.latency import Oracle
from roofline.stats import kendall_tau

SPACE = rf.search_space("accel-nasbench")
ORACLE = Oracle(SPACE, "tpu-v3")
TABLE = MEASUREMENTS / "accel_nasbench.csv.gz"
needs_table = pytest.mark.skipif(not TABLE.is_file(), reason="the benchmark's table is not there")


def test_the_shipped_ridge_states_its_quality() -> None:
    ridge_ = PairwiseRidge()
    assert ridge_.tau >= 0.90 and ridge_.rmse < 0.5
    widths = [PairwiseRidge(coverage=c).half_width for c in (0.8, 0.9, 0.95)]
    assert widths == sorted(widths) and widths[1] == pytest.approx(0.75, abs=0.03)
    with pytest.raises(InputError, match=r"coverage must be one of"):
        PairwiseRidge(coverage=0.5)


def test_look_ups_equal_the_sum_of_terms() -> None:
    content = dict(pairwise._read(pairwise.DATA / "accel_nasbench_pairwise.json"))
    assert len(content["weights"]) == 930  # 43 indicators, their products over different genes; and the intercept
    genomes = SPACE.sample(300)
    terms = pairwise.terms(genomes, SPACE.sizes, np.array(content["means"]))
    raw = terms @ np.array(content["weights"]) + content["intercept"]
    found = PairwiseRidge(content | {"highest": 1e9, "lowest": -1e9}).predict(genomes)
    np.testing.assert_allclose(found.mean, raw, rtol=1e-12)


def test_nothing_is_promised_above_the_best_network_ever_trained() -> None:
    oracle = PairwiseRidge()
    genomes = SPACE.sample(400_000)
    found = oracle.predict(genomes)
    assert found.mean.max() == oracle.highest == pytest.approx(67.052)
    assert not found.in_domain[found.mean == oracle.highest].any()


@needs_table
def test_the_shipped_fits_are_those_of_the_table() -> None:
    genomes, columns = read_table(TABLE, SPACE)
    truth = columns["val_top1"]
    np.testing.assert_allclose(ORACLE.params(genomes) / 1e6, columns["params_M"], rtol=1e-6)
    cases: list[tuple[PairwiseRidge | Structural, Any]]
    cases = [(PairwiseRidge(), pairwise.fit), (Structural(ORACLE), structural.fit)]
    for oracle, fit in cases:
        again = fit(SPACE, genomes, truth, recipe="", source="")
        assert again["tau"] == pytest.approx(oracle.tau, abs=1e-6)
        fresh = Structural(ORACLE, content=again) if isinstance(oracle, Structural) else PairwiseRidge(again)
        some = SPACE.sample(200)
        np.testing.assert_allclose(fresh.predict(some).mean, oracle.predict(some).mean, rtol=1e-6)
        inside = np.abs(oracle.predict(genomes).mean - truth) <= oracle.half_width
        assert inside.mean() >= 0.9


@needs_table
def test_scores_rank_as_published() -> None:
    genomes, columns = read_table(TABLE, SPACE)
    for name, tau in (("macs", 0.46), ("params", 0.62), ("entropy", 0.54)):
        assert kendall_tau(Score(name, ORACLE).predict(genomes).mean, columns["val_top1"]) == pytest.approx(
            tau, abs=0.04
        )


def test_structural_knows_what_it_does_not_know() -> None:
    oracle = Oracle(rf.search_space("efficientnet-x").restricted({f"s{i}_repeats": [2] for i in range(1, 6)}), "tpu-v3")
    twin, plain = Structural(oracle), Structural(oracle, twin=False)
    genomes = oracle.space.sample(200)
    twins = oracle.space.to_twin(genomes)
    np.testing.assert_array_equal(twin.predict(genomes).mean, twin.predict(twins).mean)
    np.testing.assert_array_equal(twin.predict(twins).mean, plain.predict(twins).mean)
    assert not plain.predict(genomes).in_domain[~oracle.space.is_twin(genomes)].any()
    huge = {f"s{i}_width": [c] for i, c in enumerate((24, 32, 48, 96, 128, 224, 384))} | {"image_size": [288]}
    far = Oracle(oracle.space.restricted(huge), "tpu-v3")
    assert Structural(far).predict(far.space.sample(50)).in_domain.mean() < 0.2
    with pytest.raises(InputError, match="knows MBConv networks"):
        Structural(Oracle("resnet", "tpu-v3"))


def test_scores_are_no_accuracies() -> None:
    score = Score("params", ORACLE)
    found = score.predict(SPACE.sample(5))
    assert score.kind == "score" and np.isnan(found.half_width).all() and not found.in_domain.any()
    assert written(7.6e6, float("nan"), "none", kind="score") == "7.6e+06 (score)"
    assert written(66.0, 0.75, "r", in_domain=False) == "66.0 +- 0.8 (90 %, r, out of domain)"
    with pytest.raises(InputError, match="nearest: 'params'"):
        Score("param", ORACLE)


def test_architectures_come_as_genomes_mappings_or_networks() -> None:
    oracle, genomes = PairwiseRidge(), SPACE.sample(3)
    wanted = oracle.predict(genomes).mean
    np.testing.assert_array_equal(oracle.predict([SPACE.mapping(g) for g in genomes]).mean, wanted)
    np.testing.assert_array_equal(oracle.predict([SPACE.decode(g) for g in genomes]).mean, wanted)


# a user's own ---------------------------------------------------------------------------


class Regressor:
    """A scikit-learn-style regressor: ridge on one-hot columns."""

    def fit(self, x: Any, y: Any) -> Regressor:
        self.weights, self.intercept = ridge(x, y, 1.0)
        return self

    def predict(self, x: Any) -> Any:
        return x @ self.weights + self.intercept


def test_any_function_regressor_or_table_is_an_oracle() -> None:
    genomes = SPACE.sample(500)
    truth = genomes.sum(axis=1) + np.random.default_rng(0).normal(size=500)
    model = Regressor().fit(one_hot(SPACE, genomes[:300]), truth[:300])
    regressor = FromRegressor(SPACE, model, held_out=(genomes[300:], truth[300:]))
    assert regressor.half_width == pytest.approx(1.64, abs=0.4)  # 90 % of a normal error of 1
    table = FromTable(SPACE, genomes, truth)
    np.testing.assert_array_equal(table.predict(genomes[:7]).mean, truth[:7])
    function = FromFunction(SPACE, lambda g: g.sum(axis=1))
    for oracle in (regressor, table, function):
        assert isinstance(oracle, AccuracyOracle)
        assert Objective(oracle=ORACLE, accuracy=oracle).evaluate(genomes[:4]).fitness.shape == (4,)
    with pytest.raises(InputError, match="no accuracy of genome"):
        table.predict(SPACE.sample(1, seed=99))
    with pytest.raises(InputError, match="one finite accuracy per network"):
        FromTable(SPACE, genomes, truth[:-1])
    with pytest.raises(InputError, match="needs a method predict"):
        FromRegressor(SPACE, object())


def test_scikit_learn_regressors_fit_in() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    genomes = SPACE.sample(200)
    model = linear.Ridge().fit(one_hot(SPACE, genomes), genomes.sum(axis=1))
    assert abs(FromRegressor(SPACE, model).predict(genomes).mean - genomes.sum(axis=1)).max() < 0.5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda g: np.where(np.arange(len(g)) == 3, np.nan, 1.0), "returned .*nan.* for genome"),
        (lambda g: np.ones(len(g) + 1), r"mean must have shape \(10,\), got \(11,\)"),
        (lambda g: np.ones((len(g), 2)), r"got \(10, 2\)"),
        (lambda g: (np.ones(len(g)), 0.5), "got 2 values"),
        (lambda g: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_bad_oracles_are_named(function: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(FromFunction(SPACE, function, name="mine"), SPACE.sample(10))


def test_an_oracle_must_return_a_prediction() -> None:
    class Wrong:
        name, kind, recipe = "wrong", "accuracy", "none"

        def predict(self, architectures: Any) -> Any:
            return [1.0] * len(architectures)

    with pytest.raises(InputError, match="must return a Prediction, got 'list'"):
        checked(Wrong(), SPACE.sample(2))  # type: ignore[arg-type]
    assert isinstance(PairwiseRidge().predict(SPACE.sample(1)), Prediction)


def test_words_choose_oracles(tmp_path: Path) -> None:
    assert accuracy_oracle("auto", ORACLE).name.startswith("pairwise ridge")
    assert accuracy_oracle("entropy", ORACLE).kind == "score"
    path = tmp_path / "mine.csv"
    genome = SPACE.sample(1)[0]
    mapping = SPACE.mapping(genome)
    path.write_text(",".join([*mapping, "accuracy"]) + "\n" + ",".join(map(str, [*mapping.values(), 71.5])) + "\n")
    assert accuracy_oracle(str(path), ORACLE).predict(genome[None]).mean.tolist() == [71.5]
    assert accuracy_oracle("numpy:ravel", ORACLE).name == "numpy:ravel"
    for word, message in (
        ("pairwis", "nearest: 'pairwise'"),
        ("numpy:nothing", "cannot load"),
        ("no.csv", "cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            accuracy_oracle(word, ORACLE)
    with pytest.raises(InputError, match="is of accel-nasbench"):
        accuracy_oracle("pairwise", Oracle("resnet", "v100"))


# statistics ------------------------------------------------------------------------------


def test_half_widths_cover_what_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    widths = half_widths(np.zeros(10_000), truth[:10_000])
    for coverage, width in widths.items():
        assert np.mean(np.abs(truth[10_000:]) <= width) == pytest.approx(float(coverage), abs=0.01)


def test_regret_by_hand() -> None:
    latency, truth = np.array([1.0, 2.0, 3.0, 4.0]), np.array([60.0, 65.0, 63.0, 67.0])
    liking = np.array([1.0, 2.0, 3.0, 0.0])
    # up to 2: picks 65, the best; up to 3: picks 63 where 65 was allowed; up to 4: picks 63 where 67 was
    np.testing.assert_allclose(regrets(latency, truth, liking, [1 / 3, 2 / 3, 1.0]), [0.0, 2.0, 4.0])
    assert random_regret(latency, truth, 1000, [1.0])[0] == pytest.approx(0.0)


def test_a_study_of_regret_where_the_truth_is_known() -> None:
    space = rf.search_space("accel-nasbench")
    genomes = space.sample(120, seed=0)
    oracle = Oracle(space, "a100-40gb", batch=128)
    macs = oracle.counts(genomes, ("macs",))["macs"]
    truth = 70.0 + 5.0 * macs / macs.max()
    columns = {TARGET: truth, "throughput_a100_mean": 1.0 / oracle.latency_s(genomes)[:, 0]}
    rows = study(genomes, columns, {"a100-40gb": 128})
    of = {(row["latency"], row["method"]): row["mean_pp"] for row in rows}
    assert {kind for kind, _ in of} == {"simulated", "measured"}
    assert of["simulated", "MACs only"] == 0.0  # accuracy grows with nothing else
    assert of["simulated", "random, best of 100 trained"] < of["simulated", "random, best of 1 trained"]
    for (kind, method), mean in of.items():
        assert kind == "simulated" or mean == pytest.approx(of["simulated", method])  # the same latencies


def test_the_study_of_regret_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regret_command([]) == 2 and "usage" in capsys.readouterr().err
    assert regret_command([str(tmp_path / "missing.csv.gz")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
