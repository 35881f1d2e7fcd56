from __future__ import annotations

import numpy
import pytest
from scipy import stats

from feedplane_trainer import metrics

SECOND = 1_000_000_000


def test_the_metrics_are_what_their_definitions_say() -> None:
    label = numpy.array([1.0, -2.0, 0.0, 3.0, -1.0])
    told = numpy.array([0.5, -1.0, 1.0, -1.0, 0.0])
    found = metrics.of(label, told)
    assert found["mse_bps2"] == pytest.approx((0.25 + 1 + 1 + 16 + 1) / 5)
    assert found["r2"] == pytest.approx(1 - 19.25 / 15)
    assert found["ic_pearson"] == pytest.approx(stats.pearsonr(label, told).statistic)
    assert found["ic_spearman"] == pytest.approx(stats.spearmanr(label, told).statistic)
    assert (found["hit_rate"], found["hit_rows"], found["rows"]) == (pytest.approx(2 / 3), 3, 5)


def test_what_has_no_value_is_nan_and_no_number() -> None:
    found = metrics.of(numpy.zeros(3), numpy.zeros(3))
    assert [name for name in ("r2", "ic_pearson", "ic_spearman", "hit_rate") if not numpy.isnan(found[name])] == []
    assert found["mse_bps2"] == 0


def test_a_last_move_that_is_missing_predicts_nothing() -> None:
    found = metrics.baselines(numpy.array([1.5, numpy.nan]))
    assert found["last_move"].tolist() == [1.5, 0.0]
    assert found["zero"].tolist() == [0.0, 0.0]


def test_the_statistic_of_no_difference_is_about_normal_also_when_labels_overlap() -> None:
    random = numpy.random.default_rng(1)
    found = []
    for _ in range(400):
        noise = random.normal(size=2_000)
        label = numpy.convolve(noise, numpy.ones(5), mode="valid")  # overlapping sums of five rows
        time_ns = numpy.arange(len(label)) * SECOND
        told = numpy.convolve(random.normal(size=2_000), numpy.ones(5), mode="valid")
        found.append(metrics.diebold_mariano(time_ns, label * told, 5 * SECOND)[0])
    sure = (numpy.array(found) > metrics.SURE).mean()
    assert 0.02 < sure < 0.10


def test_few_intervals_or_no_difference_prove_nothing() -> None:
    time_ns = numpy.arange(100) * SECOND
    assert numpy.isnan(metrics.diebold_mariano(time_ns, numpy.ones(100), 20 * SECOND)[0])
    assert numpy.isnan(metrics.diebold_mariano(time_ns, numpy.zeros(100), SECOND)[0])


def test_the_verdict_is_against_the_better_baseline() -> None:
    random = numpy.random.default_rng(2)
    time_ns = numpy.arange(5_000) * SECOND
    signal, last_move = random.normal(size=(2, 5_000))
    label = signal + 0.3 * last_move + random.normal(size=5_000)
    good = metrics.judge(time_ns, label, signal, last_move * 0.3, 5 * SECOND)
    assert (good["verdict"], good["best_baseline"]) == ("better", "last_move")
    assert metrics.judge(time_ns, label, -signal, last_move, 5 * SECOND)["verdict"] == "not better"
    hair = metrics.judge(time_ns, label, 1e-5 * signal, last_move * 0, 5 * SECOND)
    assert hair["verdict"] == "better", "tiny, but the same way each time"
    lucky = metrics.judge(time_ns[:8], label[:8], label[:8], last_move[:8], 5 * SECOND)
    assert lucky["verdict"] == "not shown to be better"


def test_rows_one_at_a_time_do_not_overlap_within_an_instrument() -> None:
    time_ns = numpy.array([0, 1, 2, 3, 4, 5])
    instrument = numpy.array([0, 0, 1, 0, 1, 0])
    assert metrics.one_at_a_time(time_ns, time_ns + 3, instrument).tolist() == [0, 2, 3]


def test_calibration_goes_by_the_order_of_the_predictions() -> None:
    told = numpy.arange(100.0)
    parts = metrics.calibration(2 * told, told)
    assert [part["prediction_bps"] for part in parts] == [4.5 + 10 * part for part in range(10)]
    assert [part["label_bps"] for part in parts] == [9.0 + 20 * part for part in range(10)]
