from __future__ import annotations

import pytest
from conftest import as_yaml

from feedplane_trainer.document import DAY_NS, SessionSection, parse, without_password
from feedplane_trainer.errors import WrongDocument


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"label": {"horizon_ms": 0}}, "$.label.horizon_ms"),
        ({"label": {"horizon_s": 1}}, "horizon_s"),
        ({"name": "not a name"}, "$.name"),
        ({"version": 0}, "$.version"),
        ({"data": {"end": "2026-01-05T14:30:00Z"}}, "is not before $.data.end"),
        ({"data": {"instruments": []}}, "$.data.instruments"),
        ({"data": {"instruments": ["X", "X"]}}, "$.data.instruments names X more than once"),
        ({"data": {"features": ["spread", "spread"]}}, "$.data.features names spread more than once"),
        ({"data": {"leave_out": ["ugly"]}}, "$.data.leave_out[0]"),
        ({"data": {"session": {"start": "9:30", "end": "16:00"}}}, "$.data.session.start: '9:30' is not HH:MM"),
        ({"validation": {"folds": 1}}, "$.validation.folds"),
        ({"model": {"learning_rate": 0}}, "$.model.learning_rate"),
    ],
)
def test_what_is_wrong_with_a_document_is_named_with_its_path(changed: dict, told: str) -> None:
    with pytest.raises(WrongDocument) as error:
        parse(as_yaml("postgres:///x", **changed))
    assert told in str(error.value)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[1, 2]", b"{", b"a: &a [*a]", b"name: " + b"[" * 2000])
def test_what_is_no_document_is_refused_and_nothing_else_happens(text: bytes) -> None:
    with pytest.raises(WrongDocument):
        parse(text)


def test_times_without_a_zone_are_utc() -> None:
    document = parse(as_yaml("postgres:///x", data={"begin": "2026-01-05T14:30:00", "end": "2026-01-05T16:00:00+01:00"}))
    assert document.embargo_ns() == document.horizon_ns() == 1_000_000_000
    with pytest.raises(WrongDocument, match="is not before"):
        parse(as_yaml("postgres:///x", data={"begin": "2026-01-05T15:00:00", "end": "2026-01-05T16:00:00+01:00"}))


def test_hours_that_end_before_they_start_go_over_midnight() -> None:
    assert SessionSection("23:00", "22:00").length_ns() == 23 * DAY_NS // 24
    assert SessionSection("09:30", "16:00:30").length_ns() == (6 * 3600 + 1830) * 1_000_000_000
    assert SessionSection("00:00", "00:00").length_ns() == DAY_NS


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"database: postgres://me:secret@host/db", b"database: postgres://me:...@host/db"),
        (b"database: postgres:///db?user=me&password=secret&host=x", b"database: postgres:///db?user=me&password=...&host=x"),
        (b"database: postgres://me@host/db", b"database: postgres://me@host/db"),
    ],
)
def test_a_password_is_not_handed_on(given: bytes, kept: bytes) -> None:
    assert without_password(given) == kept
