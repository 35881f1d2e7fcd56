"""Purged walk-forward validation: what is predicted lies behind what was trained on, and no label reaches across.

A label covers the time from t to t + horizon. Rows just before a test period have labels that end within it: they know a
part of what is to be predicted. They are **purged**. The **embargo** is further time that must lie between a label that was
trained on and the test period, because features look back, too.

Source: López de Prado, "Advances in Financial Machine Learning" (2018), chapter 7 (7.4.1 purging, 7.4.2 embargo).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy
from numpy.typing import NDArray

from .errors import Refused

# Fewer rows than these make no fold.
FOLD_ROWS_MIN = 30


@dataclass(frozen=True)
class Fold:
    """Which rows are trained on, and which are predicted."""

    train: NDArray[numpy.int64]
    test: NDArray[numpy.int64]
    # Rows before the test period that were left out, because their labels come too close to it.
    purged: int


def purged(
    time_ns: NDArray[numpy.int64], until_ns: NDArray[numpy.int64], begin_ns: int, end_ns: int, embargo_ns: int
) -> NDArray[numpy.bool_]:
    """Rows that may be trained on when [begin, end] is predicted, `end` being when its last label is known.

    Before it: those whose label is known by begin - embargo. Behind it: those at or after end + embargo.
    """
    return (until_ns + embargo_ns <= begin_ns) | (time_ns >= end_ns + embargo_ns)


def final_part(time_ns: NDArray[numpy.int64], until_ns: NDArray[numpy.int64], fraction: float, embargo_ns: int) -> Fold:
    """The last part of the rows (in order of time) against all before it.

    Raises:
        Refused: too few rows are left on a side.
    """
    first = int(numpy.searchsorted(time_ns, time_ns[int(len(time_ns) * (1 - fraction))]))
    return _fold(time_ns, until_ns, first, len(time_ns), embargo_ns, "the last part")


def walk_forward(time_ns: NDArray[numpy.int64], until_ns: NDArray[numpy.int64], folds: int, embargo_ns: int) -> Iterator[Fold]:
    """Cuts the rows (in order of time) into `folds + 1` parts of one size; each but the first is predicted from those before.

    Raises:
        Refused: too few rows are left in a fold.
    """
    edges = [int(edge) for edge in numpy.linspace(0, len(time_ns), folds + 2)]
    # Rows of one time are in one part.
    edges = [int(numpy.searchsorted(time_ns, time_ns[edge])) for edge in edges[:-1]] + [len(time_ns)]
    for number, (first, last) in enumerate(pairwise(edges[1:]), start=1):
        yield _fold(time_ns, until_ns, first, last, embargo_ns, f"fold {number}")


def _fold(time_ns: NDArray[numpy.int64], until_ns: NDArray[numpy.int64], first: int, last: int, embargo_ns: int, what: str) -> Fold:
    test = numpy.arange(first, last)
    train = numpy.arange(0)
    if len(test):
        allowed = purged(time_ns[:first], until_ns[:first], int(time_ns[first]), int(until_ns[last - 1]), embargo_ns)
        train = numpy.flatnonzero(allowed)
    if len(train) < FOLD_ROWS_MIN or len(test) < FOLD_ROWS_MIN:
        raise Refused(
            f"{what} has {len(train)} rows to train on (after the purge) and {len(test)} to predict, and needs {FOLD_ROWS_MIN} of "
            "each: choose a longer window, fewer validation.folds, or a shorter label.horizon_ms or validation.embargo_ms"
        )
    return Fold(train, test, first - len(train))
