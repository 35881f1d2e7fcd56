"""What is to be predicted, and which rows are left out of it, and why. No look-ahead, by these definitions:

- A record is **known** at its `ts_recv`. Where times go back by at most a second (two lines overtake each other by
  microseconds), what comes later in the stream is known no earlier: known time is the running maximum.
- **mid(t)** of a row is the middle of the row's own record, or, from another set, of the last record of that set before the
  row in the stream.
- **The label** of a row known at t is `10000 · (m / mid(t) − 1)` bps, m being the middle of the last record that is known at
  or before t + horizon.
- **The last move** is the same backwards: `10000 · (mid(t) / m′ − 1)`, m′ of the last record known at or before t − horizon.

A **session** is a run of records of the middle: another begins when there was none for longer than `silence_max_ms`, when the
clock was set back by more than a second, when the stream is another, or when the document's hours begin. A label must end
within its session: at or before its last record.

Invariant: a row's features and mid do not depend on any record behind it, its label on none known after t + horizon but by the
question whether the session goes on at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import polars
from numpy.typing import NDArray

from .archive import Gap, Records
from .document import DAY_NS, QUALITY_BITS, DataSection

# A tick that is older than this sets the clock back (docs/features.md, "Time").
SET_BACK_NS = 1_000_000_000
# What is doubtful of a middle; the other bits are about windows.
MID_BITS = QUALITY_BITS["bad_book"] | QUALITY_BITS["bad_time"]

# Why a row is left out, in the order in which it is asked: a row counts once.
REASONS = (
    "outside_session",  # not within data.session
    *QUALITY_BITS,  # the record's own `q`
    "feature_missing",  # a value is NaN
    "mid_missing",  # no middle at t, or not above 0
    "mid_doubtful",  # the record of the middle at t has BAD_BOOK or BAD_TIME
    "gap",  # something is missing between t and t + horizon
    "session_end",  # the session ends before t + horizon
    "label_missing",  # no middle at t + horizon, or not above 0
    "label_doubtful",  # the record of the middle at t + horizon has BAD_BOOK or BAD_TIME
)


@dataclass(frozen=True)
class Labelled:
    """The rows that are left in, and how many are not."""

    # Which of the records they are.
    index: NDArray[numpy.int64]
    # t and t + horizon, ns.
    time_ns: NDArray[numpy.int64]
    until_ns: NDArray[numpy.int64]
    # bps. The last move is NaN where the session is younger than the horizon.
    label_bps: NDArray[numpy.float64]
    last_move_bps: NDArray[numpy.float64]
    # Reason → rows.
    left_out: dict[str, int]


def label(
    rows: Records,
    mids: Records,
    features_missing: NDArray[numpy.bool_],
    gaps: list[Gap],
    data: DataSection,
    horizon_ns: int,
) -> Labelled:
    """Labels the records `rows` by the middle that `mids` has as its one value; `mids` may be of the same records."""
    known = _sessions(mids, data)
    frame = _with_mid(rows, known, same=mids.row is rows.row)
    frame = frame.with_columns(
        outside_session=polars.Series(_session_of(rows.time_ns, data) < 0),
        features_missing=polars.Series(features_missing),
        until_ns=polars.col("known_ns") + horizon_ns,
        since_ns=polars.col("known_ns") - horizon_ns,
    )
    frame = _looked_up(frame, known, "until_ns", "label")
    frame = _looked_up(frame, known, "since_ns", "past")
    frame = frame.with_columns(gap=polars.Series(_in_gap(frame, gaps)))
    frame = frame.with_columns(reason=_reason(data))
    left_in = frame.filter(polars.col("reason").is_null())
    counted = dict(frame.drop_nulls("reason").group_by("reason").len().iter_rows())
    past_is_good = _is_price("past_mid") & (polars.col("past_quality") & MID_BITS == 0)
    move = polars.when(past_is_good).then(polars.col("mid") / polars.col("past_mid") - 1)
    columns = left_in.select(
        "index",
        "known_ns",
        "until_ns",
        label=10_000 * (polars.col("label_mid") / polars.col("mid") - 1),
        move=10_000 * move,
    )
    return Labelled(
        index=columns["index"].to_numpy(),
        time_ns=columns["known_ns"].to_numpy(),
        until_ns=columns["until_ns"].to_numpy(),
        label_bps=columns["label"].to_numpy(),
        last_move_bps=columns["move"].fill_null(float("nan")).to_numpy(),
        left_out={reason: counted[reason] for reason in REASONS if reason in counted},
    )


def _session_of(time_ns: NDArray[numpy.int64], data: DataSection) -> NDArray[numpy.int64]:
    """The number of the day whose hours a time is in; -1 outside of them."""
    if data.session is None:
        return numpy.zeros(len(time_ns), dtype=numpy.int64)
    day, inside = numpy.divmod(time_ns - data.session.start_ns(), DAY_NS)
    return numpy.where(inside < data.session.length_ns(), day, -1)


def _sessions(mids: Records, data: DataSection) -> polars.DataFrame:
    """Records of the middle within the hours: order, known time, session and the session's last known time."""
    day = _session_of(mids.time_ns, data)
    frame = polars.DataFrame(
        {
            "stream": mids.stream,
            "row": mids.row,
            "time_ns": mids.time_ns,
            "day": day,
            "mid": mids.values[:, 0],
            "quality": mids.quality,
        }
    ).filter(polars.col("day") >= 0)
    time = polars.col("time_ns")
    begins = (
        (polars.col("stream") != polars.col("stream").shift())
        | (polars.col("day") != polars.col("day").shift())
        | (time < time.shift() - SET_BACK_NS)
        | (time > time.shift() + data.silence_max_ms * 1_000_000)
    )
    return (
        frame.with_columns(session=begins.fill_null(True).cast(polars.Int64).cum_sum())
        .with_columns(known_ns=time.cum_max().over("session"))
        .with_columns(session_end_ns=polars.col("known_ns").max().over("session"))
    )


def _with_mid(rows: Records, known: polars.DataFrame, *, same: bool) -> polars.DataFrame:
    """Each row with its middle, its session and the time at which it is known."""
    frame = polars.DataFrame(
        {
            "index": numpy.arange(len(rows)),
            "stream": rows.stream,
            "row": rows.row,
            "own_ns": rows.time_ns,
            "own_quality": rows.quality,
        }
    )
    known = known.select("stream", "row", "mid", "quality", "session", "session_end_ns", mid_known_ns="known_ns")
    if same:
        frame = frame.join(known, on=["stream", "row"], how="left", maintain_order="left")
    else:
        frame = frame.join_asof(known, on="row", by="stream", strategy="backward", check_sortedness=False)
    return frame.with_columns(known_ns=polars.max_horizontal("own_ns", "mid_known_ns").cum_max().over("stream", "session"))


def _looked_up(frame: polars.DataFrame, known: polars.DataFrame, moment: str, name: str) -> polars.DataFrame:
    """Adds the middle of the last record that is known at or before `moment`, in the row's own session."""
    right = known.select("session", "known_ns", f_mid="mid", f_quality="quality").rename(
        {"known_ns": "at_ns", "f_mid": f"{name}_mid", "f_quality": f"{name}_quality"}
    )
    joined = frame.sort(moment, maintain_order=True).join_asof(
        right, left_on=moment, right_on="at_ns", by="session", strategy="backward", check_sortedness=False
    )
    return joined.drop("at_ns", strict=False).sort("index")


def _in_gap(frame: polars.DataFrame, gaps: list[Gap]) -> NDArray[numpy.bool_]:
    """Whether something is missing between t and t + horizon."""
    merged: list[list[int]] = []
    for gap in sorted(gaps, key=lambda gap: (gap.begin_ns, gap.end_ns)):
        if merged and gap.begin_ns <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], gap.end_ns)
        else:
            merged.append([gap.begin_ns, gap.end_ns])
    if not merged:
        return numpy.zeros(len(frame), dtype=bool)
    begins, ends = (numpy.array(side, dtype=numpy.int64) for side in zip(*merged, strict=True))
    # The first gap that is over after t: does it begin before t + horizon?
    next_gap = numpy.searchsorted(ends, frame["known_ns"].to_numpy(), side="right")
    there = next_gap < len(ends)
    begin = begins[numpy.minimum(next_gap, len(ends) - 1)]
    return there & (begin < frame["until_ns"].to_numpy())


def _is_price(column: str) -> polars.Expr:
    """Whether the value is there and above 0; NaN is above everything in polars."""
    value = polars.col(column)
    return value.is_not_null() & value.is_finite() & (value > 0)


def _reason(data: DataSection) -> polars.Expr:
    """The first of REASONS that holds; null where none does."""
    left_out = data.left_out_bits()
    doubtful = MID_BITS & left_out
    holds = {"outside_session": polars.col("outside_session")}
    for name, bit in QUALITY_BITS.items():
        holds[name] = (polars.col("own_quality") & (bit & left_out)) != 0
    holds |= {
        "feature_missing": polars.col("features_missing") & (data.missing == "skip"),
        "mid_missing": ~_is_price("mid"),
        "mid_doubtful": (polars.col("quality") & doubtful) != 0,
        "gap": polars.col("gap"),
        "session_end": polars.col("until_ns") > polars.col("session_end_ns"),
        "label_missing": ~_is_price("label_mid"),
        "label_doubtful": (polars.col("label_quality") & doubtful) != 0,
    }
    return polars.coalesce(polars.when(condition.fill_null(False)).then(polars.lit(reason)) for reason, condition in holds.items())
