from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import psycopg
import pytest
from conftest import BEGIN_NS, QUOTES, SECOND, Filler, as_yaml, market

from feedplane_trainer import archive as module
from feedplane_trainer import run
from feedplane_trainer.archive import Archive, Gap, Records, failures_named
from feedplane_trainer.document import TrainDocument, parse
from feedplane_trainer.errors import Refused, Unreachable

Documents = Callable[..., TrainDocument]


def quiet(_: str) -> None:
    pass


def read(document: TrainDocument, feature_set: str = "quotes", names: Any = tuple(QUOTES)) -> tuple[Records, list[Gap]]:
    reader = Archive(document, quiet)
    try:
        instrument = reader.instrument("X")
        schema, count = reader.schema(instrument, feature_set)
        records = reader.records(instrument, schema, list(names), count)
        return records, reader.gaps(instrument, records)
    finally:
        reader.close()


def fill(archive: Filler, rows: int = 2_000, seed: int = 1) -> tuple[Any, Any]:
    archive.instrument(42, "X")
    archive.instrument(43, "Y")
    schema = archive.schema("quotes", QUOTES)
    time_ns, values = market(rows, seed, strength=0.8)
    archive.features(schema, 42, time_ns, values)
    archive.features(schema, 43, time_ns, values + 1)
    archive.commit()
    return time_ns, values


def test_records_are_read_as_they_are_stored_bit_for_bit_and_only_the_instruments(
    archive: Filler, document: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1_000)  # A block ends in the middle of a row.
    monkeypatch.setattr(module, "SLICE", module.timedelta(seconds=37))
    archive.instrument(42, "X")
    schema = archive.schema("quotes", QUOTES)
    time_ns, values = market(2_000, 1, strength=0.8)
    time_ns = time_ns + 123
    values[5, 1] = numpy.nan
    values[6] = [numpy.inf, -0.0, 5e-324]
    archive.features(schema, 42, time_ns, values, quality=numpy.arange(2_000) % 16)
    archive.features(schema, 43, time_ns, values)
    archive.commit()
    records, gaps = read(document())
    assert records.time_ns.tolist() == time_ns.tolist()
    assert records.row.tolist() == list(range(1, 2_001))
    assert records.quality.tolist() == (numpy.arange(2_000) % 16).tolist()
    assert records.values.tobytes() == values.tobytes()
    assert gaps == []
    some, _ = read(document(), names=["imbalance_1", "spread"])
    assert some.values.tobytes() == numpy.ascontiguousarray(values[:, [2, 0]]).tobytes()


def test_records_come_in_the_order_of_the_stream_also_where_times_go_back(
    archive: Filler, document: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", module.timedelta(seconds=1))
    archive.instrument(42, "X")
    schema = archive.schema("quotes", QUOTES)
    # The third is published after the second and lies in the slice before it.
    time_ns = [BEGIN_NS, BEGIN_NS + SECOND, BEGIN_NS + SECOND - 5_000, BEGIN_NS + 2 * SECOND]
    archive.features(schema, 42, time_ns, numpy.ones((4, 3)))
    archive.commit()
    records, _ = read(document())
    assert records.row.tolist() == [1, 2, 3, 4]
    assert records.time_ns.tolist() == time_ns


def test_a_gap_of_ticks_lies_between_the_instruments_own_ticks_around_it(archive: Filler, document: Documents) -> None:
    time_ns, _ = fill(archive)
    archive.ticks(42, [BEGIN_NS + at * SECOND for at in range(10)])  # rows 1 to 10
    archive.ticks(43, [BEGIN_NS + 9_100_000_000])  # row 11, another instrument's
    archive.ticks(42, [BEGIN_NS + 20 * SECOND])  # row 12
    archive.gap(1, 5)
    archive.gap(1, 11, reason="ring_full")
    archive.gap(1, 7, channel=8)
    archive.gap(1, 8, reason="repeated")
    archive.gap(1, 2, channel=None, reason="trimmed")
    archive.commit()
    _, gaps = read(document())
    at = [BEGIN_NS + moment * SECOND for moment in (0, 1, 3, 4, 9, 20)]
    assert gaps == [Gap(at[0], at[1], "trimmed"), Gap(at[2], at[3], "lost"), Gap(at[4], at[5], "ring_full")]
    assert time_ns[0] == BEGIN_NS


def test_a_gap_of_records_lies_between_the_records_around_it(archive: Filler, document: Documents) -> None:
    time_ns, _ = fill(archive)
    archive.gap(2, 101, channel=None, reason="redis_lost")
    archive.gap(2, 1, channel=None, reason="trimmed")
    archive.commit()
    _, gaps = read(document())
    assert gaps == [Gap(int(time_ns[99]), int(time_ns[100]), "redis_lost")]


def test_a_gap_whose_ticks_are_gone_is_where_it_was_told(archive: Filler, document: Documents) -> None:
    fill(archive)
    archive.gap(1, 5)
    archive.commit()
    told = archive.connection.execute("SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 FROM gaps").fetchone()
    _, gaps = read(document())
    assert told is not None
    assert gaps == [Gap(told[0], told[0], "lost")]


def test_rows_around_a_gap_are_left_out_and_counted(archive: Filler, document: Documents) -> None:
    time_ns, _ = fill(archive)
    archive.ticks(42, time_ns.tolist())
    archive.gap(1, 501)
    archive.commit()
    rows = run.load(document(), quiet)
    # Row 500 is the last before the gap: whoever's second reaches beyond it does not know what happened: five records.
    assert rows.left_out == {"gap": 5, "session_end": 5}
    assert not numpy.isin(time_ns[495:500], rows.time_ns).any()
    assert numpy.isin(time_ns[[494, 500]], rows.time_ns).all()


def test_several_instruments_are_one_set_of_rows_in_order_of_time(archive: Filler, document: Documents) -> None:
    _, values = fill(archive)
    rows = run.load(document(data={"instruments": ["X", "2:43"], "features": ["imbalance_1"]}), quiet)
    assert len(rows) == 2 * 1_995
    assert (numpy.diff(rows.time_ns) >= 0).all()
    own = rows.features[rows.instrument == 1, 0]
    assert own.tolist() == (values[:1_995, 2] + 1).astype(numpy.float32).tolist()


def test_the_middle_may_be_of_another_set(archive: Filler, document: Documents) -> None:
    time_ns, values = fill(archive)
    bars = archive.schema("bars", {"ofi": "quantity"})
    archive.features(bars, 42, time_ns[::5] + 1_000, values[::5, :1])
    archive.commit()
    # The records of bars are behind all quotes in this stream: the middle before each is the last of all.
    with pytest.raises(Refused, match="0 rows are left of 400 records"):
        run.load(document(data={"set": "bars", "features": None, "mid": {"set": "quotes"}}), quiet)
    with pytest.raises(Refused, match="the set bars has no value mid, from which labels are made"):
        run.load(document(data={"set": "bars", "features": None}), quiet)
    with pytest.raises(Refused, match="the set quotes has no value middle"):
        run.load(document(data={"mid": {"set": "quotes", "value": "middle"}}), quiet)


def refused(document: TrainDocument) -> str:
    with pytest.raises(Refused) as error:
        run.load(document, quiet)
    return str(error.value)


def test_what_the_archive_does_not_hold_is_named_with_what_it_does(archive: Filler, document: Documents) -> None:
    assert "knows no instrument X" in refused(document())
    archive.instrument(42, "X")
    archive.commit()
    assert "no features at all: run feedplane-features and feedplane-archiver first" in refused(document())
    schema = archive.schema("quotes", QUOTES)
    archive.commit()
    assert "its sets are quotes; correct data.set" in refused(document(data={"set": "quote"}))
    assert "name another instrument" in refused(document())
    time_ns, values = market(50, 1, strength=0)
    archive.features(schema, 42, time_ns, values)
    archive.commit()
    window = {"begin": "2026-01-06T00:00:00Z", "end": "2026-01-07T00:00:00Z"}
    assert "there are some from 2026-01-05T14:30:00+00:00 to 2026-01-05T14:30:09.800000+00:00" in refused(document(data=window))
    told = refused(document(data={"features": ["imbalance_5"]}))
    assert "has no value imbalance_5 (did you mean imbalance_1?)" in told
    assert "spread, mid, imbalance_1" in told
    assert "45 rows are left of 50 records, fewer than data.rows_min (100). Left out: session_end 5" in refused(document())
    archive.instrument(9, "X", publisher_id=3)
    archive.commit()
    assert "2 instruments are called X: name one of 2:42, 3:9" in refused(document())


def test_a_schema_that_changes_within_the_window_is_refused(archive: Filler, document: Documents) -> None:
    fill(archive)
    other = archive.schema("quotes", QUOTES | {"imbalance_5": "1"})
    late = [BEGIN_NS + 3_600 * SECOND + at for at in range(10)]
    archive.features(other, 42, late, numpy.ones((10, 4)))
    archive.commit()
    told = refused(document())
    assert "the schema of the set quotes changes within the window for X" in told
    assert told.count(" from 2026-01-05T1") == 2
    assert len(run.load(document(data={"end": "2026-01-05T15:30:00Z"}), quiet)) == 1_995


def test_instruments_of_different_schemas_are_refused(archive: Filler, document: Documents) -> None:
    fill(archive)
    archive.instrument(44, "Z")
    archive.features(archive.schema("quotes", {"mid": "price"}), 44, [BEGIN_NS], [[1.0]])
    archive.commit()
    assert "a model is of one schema" in refused(document(data={"instruments": ["X", "Z"]}))


def test_more_records_than_may_be_are_refused_before_any_is_read(archive: Filler, document: Documents) -> None:
    fill(archive)
    assert "the window has 2000 records of quotes, more than data.rows_max (1999)" in refused(document(data={"rows_max": 1_999}))


def test_a_middle_that_never_moves_is_refused(archive: Filler, document: Documents) -> None:
    archive.instrument(42, "X")
    archive.features(archive.schema("quotes", QUOTES), 42, BEGIN_NS + numpy.arange(500) * SECOND, numpy.ones((500, 3)))
    archive.commit()
    assert "the middle never moves over the horizon" in refused(document())


def test_a_record_with_fewer_values_than_its_schema_is_damage_and_refused(archive: Filler, document: Documents) -> None:
    time_ns, _ = fill(archive)
    archive.connection.execute("UPDATE features SET values = values[1:2] WHERE row = 700")
    archive.commit()
    assert "fewer values than its schema: the archive is damaged" in refused(document())
    assert len(time_ns) == 2_000


def test_a_database_without_an_archive_is_refused_and_one_that_is_away_is_another_matter(archive: Filler) -> None:
    address = archive.address
    other = psycopg.conninfo.make_conninfo(address, dbname="postgres")
    with pytest.raises(Refused, match="this database holds no archive"):
        run.load(parse(as_yaml(other)), quiet)
    for nowhere in ("postgres:///feedplane?host=/nowhere", "postgres://127.0.0.1:1/feedplane", "http://x", "no=such"):
        with pytest.raises(Unreachable):
            run.load(parse(as_yaml(nowhere)), quiet)


def test_who_may_not_read_is_told_what_to_grant(archive: Filler, document: Documents) -> None:
    fill(archive)
    archive.connection.execute("DROP ROLE IF EXISTS trainer_stranger")
    archive.connection.execute("CREATE ROLE trainer_stranger LOGIN")
    archive.commit()
    try:
        stranger = psycopg.conninfo.make_conninfo(archive.address, user="trainer_stranger")
        with pytest.raises(Refused) as error:
            run.load(parse(as_yaml(stranger)), quiet)
        assert "grant" in str(error.value)
    finally:
        archive.connection.execute("DROP ROLE trainer_stranger")
        archive.commit()


def test_a_connection_that_the_server_ends_can_be_tried_again(archive: Filler, document: Documents) -> None:
    fill(archive)
    reader = Archive(document(), quiet)
    own = reader._connection.info.backend_pid
    archive.connection.execute("SELECT pg_terminate_backend(%s)", (own,))
    archive.commit()
    with pytest.raises(Unreachable, match="try again"), failures_named():
        reader.instrument("X")
