"""How good a prediction is, beside the naive ones.

| metric | definition |
|---|---|
| `mse_bps2` | mean of (y - p)² |
| `r2` | 1 - Σ(y - p)² / Σy²: against the prediction 0, not against a mean that nobody knows beforehand |
| `ic_pearson`, `ic_spearman` | correlation of p and y, and of their ranks: the information coefficient |
| `hit_rate` | share of rows with the sign right, among those where neither p nor y is 0 |

Sources: r2: Gu, Kelly, Xiu, "Empirical Asset Pricing via Machine Learning", Rev. Financial Studies 33 (2020), eq. 19; information
coefficient: Grinold, Kahn, "Active Portfolio Management", 2nd ed. (1999), ch. 6.

Whether one prediction is better than another is asked by Diebold, Mariano, "Comparing Predictive Accuracy", J. Business & Economic
Statistics 13 (1995), on squared errors. Labels overlap, so rows are no independent draws: their differences are added up over
intervals of one horizon, and the variance of the intervals' mean counts the covariance of neighbours (Newey, West, Econometrica
55 (1987), one lag).
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[numpy.float64]

NAN = float("nan")
# One-sided 5 %.
SURE = 1.645
# Fewer intervals tell nothing.
INTERVALS_MIN = 10


def of(label_bps: Values, prediction_bps: Values) -> dict[str, Any]:
    """The metrics of one prediction; NaN where one has no value."""
    error = label_bps - prediction_bps
    square = float((label_bps**2).sum())
    signs = numpy.sign(label_bps) * numpy.sign(prediction_bps)
    told = signs != 0
    return {
        "mse_bps2": float((error**2).mean()),
        "r2": 1 - float((error**2).sum()) / square if square > 0 else NAN,
        "ic_pearson": _correlation(label_bps, prediction_bps),
        "ic_spearman": _correlation(stats.rankdata(label_bps), stats.rankdata(prediction_bps)),
        "hit_rate": float((signs[told] > 0).mean()) if told.any() else NAN,
        "hit_rows": int(told.sum()),
        "rows": len(label_bps),
    }


def _correlation(left: Values, right: Values) -> float:
    if len(left) < 2 or left.std() == 0 or right.std() == 0:
        return NAN
    return float(numpy.corrcoef(left, right)[0, 1])


def baselines(last_move_bps: Values) -> dict[str, Values]:
    """The naive predictions: that nothing moves, and that the last move happens again (0 where there was none)."""
    return {"zero": numpy.zeros(len(last_move_bps)), "last_move": numpy.nan_to_num(last_move_bps, nan=0.0)}


def diebold_mariano(time_ns: NDArray[numpy.int64], gain: Values, horizon_ns: int) -> tuple[float, int]:
    """The statistic of `gain` (squared error of the baseline minus that of the model, row by row), and the number of intervals.

    About normal when there is no difference; NaN below `INTERVALS_MIN` intervals or where all are equal.
    """
    interval = (time_ns - time_ns[0]) // horizon_ns
    _, place = numpy.unique(interval, return_inverse=True)
    sums = numpy.bincount(place, weights=gain)
    count = len(sums)
    if count < INTERVALS_MIN:
        return NAN, count
    deviation = sums - sums.mean()
    variance = (deviation**2).mean() + (deviation[1:] * deviation[:-1]).sum() / count
    if variance <= 0:
        return NAN, count
    return float(sums.mean() / numpy.sqrt(variance / count)), count


def judge(
    time_ns: NDArray[numpy.int64], label_bps: Values, prediction: Values, last_move: Values, horizon_ns: int
) -> dict[str, Any]:
    """The model's metrics, the baselines', and the verdict against the better of them."""
    own = of(label_bps, prediction)
    others = {name: of(label_bps, values) for name, values in baselines(last_move).items()}
    best = min(others, key=lambda name: others[name]["mse_bps2"])
    rival = baselines(last_move)[best]
    statistic, intervals = diebold_mariano(time_ns, (label_bps - rival) ** 2 - (label_bps - prediction) ** 2, horizon_ns)
    if own["mse_bps2"] >= others[best]["mse_bps2"]:
        verdict = "not better"
    else:
        verdict = "better" if statistic >= SURE else "not shown to be better"
    return {
        "verdict": verdict,
        "best_baseline": best,
        "diebold_mariano": statistic,
        "intervals": intervals,
        "model": own,
        "baseline": others,
    }


def calibration(label_bps: Values, prediction: Values, parts: int = 10) -> list[dict[str, float]]:
    """Rows in order of prediction, cut into parts of one size: mean prediction, mean label and its standard error, bps."""
    found = []
    for part in numpy.array_split(numpy.argsort(prediction, kind="stable"), parts):
        if len(part) > 1:
            found.append(
                {
                    "prediction_bps": float(prediction[part].mean()),
                    "label_bps": float(label_bps[part].mean()),
                    "standard_error_bps": float(label_bps[part].std() / numpy.sqrt(len(part))),
                }
            )
    return found


def one_at_a_time(
    time_ns: NDArray[numpy.int64], until_ns: NDArray[numpy.int64], instrument: NDArray[numpy.int32]
) -> NDArray[numpy.int64]:
    """Rows whose labels do not overlap within an instrument: the first, then always the next at or after the label's end."""
    free: dict[int, int] = {}
    kept = []
    for place, (begin, end, who) in enumerate(zip(time_ns.tolist(), until_ns.tolist(), instrument.tolist(), strict=True)):
        if begin >= free.get(who, begin):
            free[who] = end
            kept.append(place)
    return numpy.array(kept, dtype=numpy.int64)
