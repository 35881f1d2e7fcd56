from __future__ import annotations

import numpy
import pytest

from feedplane_trainer.document import ModelSection
from feedplane_trainer.errors import Refused
from feedplane_trainer.fit import fit
from feedplane_trainer.validation import final_part, purged, walk_forward

SECOND = 1_000_000_000


@pytest.mark.parametrize("embargo", [0, 3, 20])
def test_nothing_that_is_trained_on_knows_of_the_time_that_is_predicted(embargo: int) -> None:
    random = numpy.random.default_rng(embargo)
    time_ns = numpy.sort(random.integers(0, 5_000, 2_000))
    until_ns = time_ns + 40
    folds = list(walk_forward(time_ns, until_ns, 5, embargo))
    assert len(folds) == 5
    for fold in [*folds, final_part(time_ns, until_ns, 0.25, embargo)]:
        begin = time_ns[fold.test].min()
        allowed = [at for at in range(fold.test[0]) if until_ns[at] + embargo <= begin]
        assert fold.train.tolist() == allowed
        assert fold.purged == fold.test[0] - len(allowed) > 0
    tested = numpy.concatenate([fold.test for fold in folds])
    assert (numpy.diff(tested) == 1).all(), "each row behind the first part is predicted once, in order"
    assert tested[-1] == len(time_ns) - 1


def test_rows_of_one_time_are_never_on_both_sides() -> None:
    time_ns = numpy.repeat(numpy.arange(40), 50)
    for fold in [*walk_forward(time_ns, time_ns + 1, 4, 0), final_part(time_ns, time_ns + 1, 0.3, 0)]:
        assert time_ns[fold.test[0]] > time_ns[fold.test[0] - 1]


def test_behind_a_test_period_training_begins_after_the_embargo() -> None:
    time_ns = numpy.arange(100)
    allowed = purged(time_ns, time_ns + 5, 40, 60, 10)
    assert numpy.flatnonzero(~allowed).tolist() == list(range(26, 70))


@pytest.mark.parametrize(("rows", "horizon"), [(200, 500), (40, 1), (100, 60)])
def test_a_horizon_too_long_for_the_folds_is_refused_with_what_to_do(rows: int, horizon: int) -> None:
    time_ns = numpy.arange(rows)
    with pytest.raises(Refused, match=r"choose a longer window, fewer validation\.folds"):
        list(walk_forward(time_ns, time_ns + horizon, 5, horizon))
    with pytest.raises(Refused, match="the last part has"):
        final_part(time_ns[:40], time_ns[:40] + horizon, 0.25, 0)


HORIZON = 100


def pooled_correlation(seed: int, *, purge: bool) -> float:
    """How well trees predict 25 short periods of a market in which nothing can be predicted."""
    random = numpy.random.default_rng(seed)
    # Moves are independent; a label is the sum of the next hundred. The features wander and know nothing of the moves.
    label = numpy.convolve(random.normal(size=3_000), numpy.ones(HORIZON), mode="valid")[1:]
    features = random.normal(size=(len(label), 3)).cumsum(axis=0).astype(numpy.float32)
    time_ns = numpy.arange(len(label))
    until_ns = time_ns + HORIZON
    model = ModelSection(trees=30, leaves=31, leaf_rows_min=5, learning_rate=0.3)
    told, came = [], []
    for first in range(400, len(label) - 20, 100):
        allowed = numpy.ones(first, dtype=bool)
        if purge:
            allowed = purged(time_ns[:first], until_ns[:first], first, first + 20 + HORIZON, 0)
        booster = fit(features[:first][allowed], label[:first][allowed], ["x", "y", "z"], model)
        told.append(booster.predict(features[first : first + 20]))
        came.append(label[first : first + 20])
    return float(numpy.corrcoef(numpy.concatenate(told), numpy.concatenate(came))[0, 1])


def test_without_the_purge_a_model_of_nothing_seems_to_predict_and_with_it_does_not() -> None:
    # Rows near in time are near in the features, and their labels overlap: who trains on the rows just before the test period
    # knows most of what comes.
    inflated = numpy.mean([pooled_correlation(seed, purge=False) for seed in range(4)])
    honest = numpy.mean([pooled_correlation(seed, purge=True) for seed in range(4)])
    print(f"correlation without the purge {inflated:.3f}, with it {honest:.3f}")
    assert inflated > 0.5
    assert abs(honest) < 0.25
