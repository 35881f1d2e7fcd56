from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy
import pytest

from feedplane_trainer.archive import Gap, Records
from feedplane_trainer.document import DAY_NS, DataSection, SessionSection
from feedplane_trainer.labels import MID_BITS, REASONS, Labelled, label

SECOND = 1_000_000_000
MS = 1_000_000
BEGIN_NS = 1_767_623_400 * SECOND  # 2026-01-05T14:30:00Z


def section(**changed: Any) -> DataSection:
    window = {"begin": datetime(2026, 1, 5, tzinfo=UTC), "end": datetime(2026, 1, 6, tzinfo=UTC)}
    return DataSection(instruments=["X"], set="quotes", **window, **changed)


def records(time_ns: Any, mid: Any, quality: Any = None, row: Any = None, stream: Any = None) -> Records:
    time_ns = numpy.asarray(time_ns, dtype=numpy.int64)
    count = len(time_ns)
    return Records(
        stream=numpy.full(count, 2, dtype=numpy.int16) if stream is None else numpy.asarray(stream, dtype=numpy.int16),
        row=numpy.arange(1, count + 1) if row is None else numpy.asarray(row, dtype=numpy.int64),
        time_ns=time_ns,
        channel_id=numpy.ones(count, dtype=numpy.int32),
        quality=numpy.zeros(count, dtype=numpy.int16) if quality is None else numpy.asarray(quality, dtype=numpy.int16),
        values=numpy.asarray(mid, dtype=numpy.float64)[:, None],
    )


def labelled(rows: Records, mids: Records | None = None, *, gaps: Any = (), horizon_ns: int = SECOND, **changed: Any) -> Labelled:
    missing = numpy.isnan(rows.values[:, 0]) if mids is not None else numpy.zeros(len(rows), dtype=bool)
    return label(rows, mids or rows, missing, list(gaps), section(**changed), horizon_ns)


def seconds(*at: float) -> list[int]:
    return [BEGIN_NS + round(moment * SECOND) for moment in at]


def test_a_label_is_the_change_to_the_last_middle_known_at_or_before_the_horizon() -> None:
    found = labelled(records(seconds(0, 0.4, 1.0, 1.0, 1.4, 3), [100, 101, 102, 103, 104, 105]))
    # 0 s: two records are known at exactly 1 s; the later of them counts. 0.4 s: the one at exactly 1.4 s.
    assert found.label_bps[:2] == pytest.approx([300, 10_000 * (104 / 101 - 1)])
    assert found.until_ns.tolist() == [at + SECOND for at in found.time_ns.tolist()]
    assert found.left_out == {"session_end": 1}


def test_the_last_move_is_known_at_t_and_missing_where_the_session_is_younger() -> None:
    found = labelled(records(seconds(0, 0.5, 1.0, 1.6, 9), [100, 101, 102, 103, 104]))
    assert found.last_move_bps == pytest.approx([numpy.nan, numpy.nan, 200, 10_000 * (103 / 101 - 1)], nan_ok=True)


def test_the_middle_of_another_set_is_of_the_last_record_before_the_row_in_the_stream() -> None:
    # Rows 2 and 5 have the times of rows 1 and 6 of the middle: what comes later in the stream is not known yet.
    mids = records(seconds(0, 1, 1, 3), [100, 110, 120, 130], row=[1, 4, 6, 8])
    rows = records(seconds(0, 1), [1, 1], row=[2, 5])
    found = labelled(rows, mids)
    assert found.label_bps == pytest.approx([2_000, 10_000 * (120 / 110 - 1)])


def test_a_row_before_the_first_middle_is_left_out() -> None:
    mids = records(seconds(1, 2, 9), [100, 101, 102], row=[2, 3, 5])
    rows = records(seconds(0, 1.5), [1, 1], row=[1, 4])
    found = labelled(rows, mids)
    assert found.index.tolist() == [1]
    assert found.left_out == {"mid_missing": 1}


def test_times_that_go_back_by_microseconds_are_known_no_earlier_than_what_came_before() -> None:
    times = seconds(0, 1.0, 2.0, 5)
    times[2] = times[1] - 5_000  # Published after it: known when that was.
    found = labelled(records(times, [100, 101, 102, 103]), horizon_ns=SECOND - 1_000)
    assert found.time_ns[2] == times[1]
    assert found.label_bps[0] == pytest.approx(0), "the record of an earlier time is not known yet"


def test_a_clock_that_was_set_back_begins_a_session() -> None:
    found = labelled(records(seconds(0, 1, 2, -50, -49, -48), [100, 101, 102, 200, 201, 202]))
    assert found.index.tolist() == [0, 1, 3, 4]
    assert found.label_bps == pytest.approx([100, 10_000 / 101, 50, 10_000 / 201])
    assert found.left_out == {"session_end": 2}


def test_a_silence_ends_the_session_and_a_label_must_end_within_it() -> None:
    rows = records(seconds(0, 1, 2, 63, 64), [100, 101, 102, 103, 104])
    assert labelled(rows).left_out == {"session_end": 2}
    assert labelled(rows, silence_max_ms=62_000).left_out == {"session_end": 1}


def test_hours_leave_out_what_is_outside_and_no_label_reaches_over_their_end() -> None:
    hours = SessionSection("14:30:01", "14:30:04")
    day = [BEGIN_NS, *seconds(1, 2, 3, 3.9, 4, 5)]
    times = [*day, *(at + DAY_NS for at in day)]
    found = labelled(records(times, numpy.arange(100.0, 114.0)), session=hours, silence_max_ms=86_400_000)
    assert found.left_out == {"outside_session": 6, "session_end": 4}
    assert found.index.tolist() == [1, 2, 8, 9]


def test_a_gap_leaves_out_the_rows_whose_horizon_touches_it() -> None:
    times = seconds(*range(8))
    gap = Gap(times[3], times[4], "lost")
    found = labelled(records(times, numpy.full(8, 100.0)), gaps=[gap])
    # 2 s: its label ends where the last thing before the gap is known, so nothing is missing. 3 s: it is.
    assert found.index.tolist() == [0, 1, 2, 4, 5, 6]
    assert found.left_out == {"gap": 1, "session_end": 1}
    inner = labelled(records(times, numpy.full(8, 100.0)), gaps=[gap, Gap(times[4], times[4] + 1, "lost"), Gap(0, 1, "lost")])
    assert inner.left_out == {"gap": 2, "session_end": 1}


def test_each_doubt_is_a_reason_and_a_row_counts_once() -> None:
    quality = [0, 1, 2, 4, 8, 15, 0, 0, 0, 0]
    found = labelled(records(seconds(*range(0, 20, 2)), numpy.full(10, 100.0), quality))
    assert found.left_out == {"bad_book": 2, "gap_in_window": 1, "warming_up": 1, "bad_time": 1, "session_end": 1}
    kept = labelled(records(seconds(*range(0, 20, 2)), numpy.full(10, 100.0), quality), leave_out=["bad_time"])
    assert kept.left_out == {"bad_time": 2, "session_end": 1}


def test_a_label_of_a_doubtful_or_missing_middle_is_none() -> None:
    mids = [100, 101, numpy.nan, 103, 0, 105, 106]
    found = labelled(records(seconds(*range(7)), mids, [0, 0, 0, 1, 0, 2, 0]))
    # 0 s → 1 s is good. 1 s → NaN. 3 s and 5 s are doubtful themselves. 5 s: GAP_IN_WINDOW is no doubt about a middle.
    assert found.index.tolist() == [0]
    assert found.left_out == {
        "bad_book": 1,
        "gap_in_window": 1,
        "mid_missing": 2,
        "session_end": 1,
        "label_missing": 1,
    }
    other = records(seconds(*range(7)), numpy.full(7, 1.0), row=[2, 4, 6, 8, 10, 12, 14])
    doubted = records(seconds(*range(7)), numpy.full(7, 100.0), [0, 8, 0, 0, 0, 0, 0], row=[1, 3, 5, 7, 9, 11, 13])
    assert labelled(other, doubted).left_out == {"mid_doubtful": 1, "session_end": 1, "label_doubtful": 1}


def test_a_missing_value_leaves_a_row_out_or_goes_in_as_the_document_says() -> None:
    rows = records(seconds(0, 1, 2), [1, numpy.nan, 3], row=[2, 4, 6])
    mids = records(seconds(0, 1, 2), [100, 101, 102], row=[1, 3, 5])
    assert labelled(rows, mids).left_out == {"feature_missing": 1, "session_end": 1}
    assert labelled(rows, mids, missing="nan").left_out == {"session_end": 1}


def test_no_record_or_none_within_the_hours_gives_no_row() -> None:
    assert labelled(records([], [])).left_out == {}
    none = labelled(records(seconds(0, 1), [1, 2]), session=SessionSection("01:00", "02:00"))
    assert none.left_out == {"outside_session": 2}
    assert len(none.index) == 0


def plain(rows: Records, mids: Records, gaps: list[Gap], data: DataSection, horizon_ns: int, *, same: bool) -> dict[int, Any]:
    """The definitions again, record by record, with nothing in common with the module: index → label or reason."""
    session, known, sessions = -1, 0, []
    for at, time_ns in enumerate(mids.time_ns.tolist()):
        last = mids.time_ns[at - 1] if at else None
        if last is None or time_ns < last - SECOND or time_ns > last + data.silence_max_ms * MS:
            session, known = session + 1, 0
        known = max(known, time_ns)
        sessions.append((session, known))
    found: dict[int, Any] = {}
    newest: dict[int, int] = {}
    for at, (row, time_ns) in enumerate(zip(rows.row.tolist(), rows.time_ns.tolist(), strict=True)):
        before = [place for place in range(len(mids)) if (mids.row[place] <= row if same else mids.row[place] < row)]
        quality = int(rows.quality[at])
        own = before[-1] if before else None
        if own is not None:
            now = max(time_ns, sessions[own][1], newest.get(sessions[own][0], 0))
            newest[sessions[own][0]] = now
        if reason := next((name for name, bit in zip(REASONS[1:5], (1, 2, 4, 8), strict=True) if quality & bit), None):
            found[at] = reason
            continue
        if own is None or not mids.values[own, 0] > 0:
            found[at] = "mid_missing"
            continue
        if mids.quality[own] & MID_BITS:
            found[at] = "mid_doubtful"
            continue
        until = now + horizon_ns
        if any(now < gap.end_ns and gap.begin_ns < until for gap in gaps):
            found[at] = "gap"
            continue
        inside = [place for place in range(len(mids)) if sessions[place][0] == sessions[own][0]]
        if until > max(sessions[place][1] for place in inside):
            found[at] = "session_end"
            continue
        end = [place for place in inside if sessions[place][1] <= until][-1]
        if not mids.values[end, 0] > 0:
            found[at] = "label_missing"
        elif mids.quality[end] & MID_BITS:
            found[at] = "label_doubtful"
        else:
            found[at] = 10_000 * (mids.values[end, 0] / mids.values[own, 0] - 1)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_labels_and_reasons_are_those_of_the_definitions_taken_record_by_record(seed: int) -> None:
    random = numpy.random.default_rng(seed)

    def made(count: int, row: Any) -> Records:
        steps = random.choice(
            [0, 50 * MS, 400 * MS, SECOND, -200_000, -3 * SECOND, 90 * SECOND], count, p=[0.2, 0.3, 0.3, 0.15, 0.03, 0.01, 0.01]
        )
        mid = 100 + random.normal(size=count).cumsum()
        mid[random.random(count) < 0.03] = numpy.nan
        return records(BEGIN_NS + steps.cumsum(), mid, random.choice([0, 1, 2, 4, 8], count, p=[0.9, 0.04, 0.02, 0.02, 0.02]), row)

    same = bool(seed % 2)
    both = made(300, None)
    chosen = numpy.zeros(300, dtype=bool) if same else random.random(300) < 0.4
    rows, mids = (both, both) if same else (part(both, chosen), part(both, ~chosen))
    gaps = [Gap(int(at), int(at + random.choice([0, SECOND])), "lost") for at in random.choice(both.time_ns, 3)]
    data, horizon_ns = section(), int(random.choice([300 * MS, SECOND, 2_500 * MS]))
    found = label(rows, mids, numpy.zeros(len(rows), dtype=bool), gaps, data, horizon_ns)
    expected = plain(rows, mids, gaps, data, horizon_ns, same=same)
    kept = {at: value for at, value in expected.items() if not isinstance(value, str)}
    assert found.index.tolist() == list(kept)
    assert found.label_bps == pytest.approx(list(kept.values()), abs=1e-9)
    counted = {reason: sum(value == reason for value in expected.values()) for reason in REASONS}
    assert found.left_out == {reason: count for reason, count in counted.items() if count}


def part(whole: Records, chosen: Any) -> Records:
    columns = (whole.stream, whole.row, whole.time_ns, whole.channel_id, whole.quality, whole.values)
    return Records(*(column[chosen] for column in columns))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_changes_after_t_changes_no_label_that_ended_before(seed: int) -> None:
    random = numpy.random.default_rng(seed)
    times = BEGIN_NS + random.choice([0, 50 * MS, 700 * MS, -100_000], 400, p=[0.2, 0.4, 0.35, 0.05]).cumsum()
    whole = records(times, 100 + random.normal(size=400).cumsum() / 10)
    cut = 250
    now = int(whole.time_ns[: cut + 1].max())
    other = records(
        numpy.concatenate([whole.time_ns[:cut], now + 1 + random.choice([0, 30 * MS, 900 * MS], 150).cumsum()]),
        numpy.concatenate([whole.values[:cut, 0], 5_000 + random.normal(size=150)]),
        numpy.concatenate([whole.quality[:cut], random.choice([0, 1, 8], 150)]),
    )
    left, right = labelled(whole), labelled(other)
    for one, another in ((left, right), (right, left)):
        told = {at: values for at, *values in rows_of(another)}
        ended = [(at, *values) for at, *values in rows_of(one) if values[1] < min(now, *other.time_ns[cut:].tolist())]
        assert len(ended) > 150
        assert all(told[at] == values for at, *values in ended)


def rows_of(found: Labelled) -> list[tuple[Any, ...]]:
    columns = (found.index, found.time_ns, found.until_ns, found.label_bps, numpy.nan_to_num(found.last_move_bps))
    return list(zip(*(column.tolist() for column in columns), strict=True))
