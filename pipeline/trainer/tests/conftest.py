"""Archives for the tests: a database each, made by the archiver's own migrations and filled by COPY.

`FEEDPLANE_TRAINER_DATABASE` names a PostgreSQL whose user may create databases; `tests/pipeline` starts one, as for all
tests of services. Without it the tests that need one are skipped, and say so.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy
import psycopg
import pytest
from psycopg import conninfo
from psycopg.types.json import Jsonb

from feedplane_trainer.document import TrainDocument, parse

MIGRATIONS = Path(__file__).parents[2] / "archiver" / "migrations"
BEGIN = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
BEGIN_NS = int(BEGIN.timestamp()) * 1_000_000_000
SECOND = 1_000_000_000
CHANNEL = 7
QUOTES = {"spread": "price", "mid": "price", "imbalance_1": "1"}


def fnv1a(schema: dict[str, Any]) -> int:
    """The id of a schema, as the feature service calculates it."""
    value = 0xCBF2_9CE4_8422_2325
    for byte in json.dumps(schema, separators=(",", ":")).encode():
        value = ((value ^ byte) * 0x0100_0000_01B3) % 2**64
    return value


def moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_ns // 1000)


@dataclass
class Filler:
    """Writes an archive. Streams: 1 is the ticks, 2 the features."""

    address: str
    connection: psycopg.Connection[Any]
    rows: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})

    def schema(self, name: str, values: dict[str, str]) -> int:
        """Enters a schema; its id as the archive stores it."""
        as_json = {"set": name, "features": [{"name": value, "unit": unit} for value, unit in values.items()]}
        unsigned = fnv1a(as_json)
        signed = unsigned - 2**64 if unsigned >= 2**63 else unsigned
        self.connection.execute(
            "INSERT INTO feature_schemas VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (signed, f"{unsigned:016x}", name, list(values), list(values.values())),
        )
        return signed

    def instrument(self, instrument_id: int, symbol: str, publisher_id: int = 2) -> None:
        self.connection.execute(
            "INSERT INTO instruments VALUES (%s, %s, %s, NULL, NULL, 1, 'stock', '', 'USD', %s)",
            (publisher_id, instrument_id, symbol, CHANNEL),
        )

    def features(
        self, schema: int, instrument_id: int, time_ns: Any, values: Any, quality: Any = None, publisher_id: int = 2
    ) -> None:
        """Adds records in the order in which they are given."""
        quality = numpy.zeros(len(time_ns), dtype=int) if quality is None else quality
        columns = (
            "time, row, number, time_ns, instrument_id, sequence, schema_id, publisher_id, channel_id, stream, quality, values"
        )
        with self.connection.cursor().copy(f"COPY features ({columns}) FROM STDIN") as copy:
            for at, own, doubt in zip(numpy.asarray(time_ns).tolist(), numpy.asarray(values).tolist(), quality, strict=True):
                self.rows[2] += 1
                row = self.rows[2]
                copy.write_row((moment(at), row, row, at, instrument_id, row, schema, publisher_id, CHANNEL, 2, int(doubt), own))

    def ticks(self, instrument_id: int, time_ns: list[int], publisher_id: int = 2) -> None:
        """Adds trades."""
        columns = (
            "time, row, ts_event, ts_recv, sequence, order_id, price, size, instrument_id, ts_in_delta, publisher_id, "
            "channel_id, stream, flags, depth, clock, reserved, action, side, source"
        )
        with self.connection.cursor().copy(f"COPY ticks ({columns}) FROM STDIN") as copy:
            for at in time_ns:
                self.rows[1] += 1
                row = self.rows[1]
                head = (moment(at), row, at, at, row, 0, 10**11, 1, instrument_id, 0, publisher_id, CHANNEL)
                copy.write_row((*head, 1, 128, 0, 0, 0, "T", "B", "A"))

    def gap(self, stream: int, before_row: int, *, channel: int | None = CHANNEL, reason: str = "lost") -> None:
        self.connection.execute(
            "INSERT INTO gaps VALUES (now(), %s, %s, %s, 1, 2, %s, '1-0', '')", (stream, before_row, channel, reason)
        )

    def commit(self) -> None:
        self.connection.commit()


@pytest.fixture
def archive() -> Iterator[Filler]:
    """An empty archive in a database of its own."""
    server = os.environ.get("FEEDPLANE_TRAINER_DATABASE")
    if server is None:
        print("SKIPPED: FEEDPLANE_TRAINER_DATABASE names no PostgreSQL", file=sys.stderr)
        pytest.skip("FEEDPLANE_TRAINER_DATABASE names no PostgreSQL")
    name = f"trainer_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {name}")
        address = conninfo.make_conninfo(server, dbname=name)
        with psycopg.connect(address, options="-c search_path=feedplane,public") as connection:
            make_tables(connection)
            yield Filler(address, connection)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def make_tables(connection: psycopg.Connection[Any]) -> None:
    """What the archiver does at its start, as far as the trainer reads it."""
    offered = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    if offered:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public")
    connection.execute("CREATE SCHEMA feedplane")
    for file in sorted(MIGRATIONS.glob("*.sql")):
        connection.execute(file.read_text().encode())
    if offered:
        for table, chunk in (("ticks", "1 hour"), ("features", "1 day")):
            connection.execute(
                f"SELECT create_hypertable('{table}', 'time', chunk_time_interval => interval '{chunk}', "
                "create_default_indexes => false)"
            )
    for name, kind in (("raw_market_data", "ticks"), ("calculated_features", "features")):
        connection.execute("INSERT INTO stream_positions (name, kind, channels) VALUES (%s, %s, %s)", (name, kind, Jsonb({})))
    connection.commit()


@pytest.fixture
def document(archive: Filler) -> Callable[..., TrainDocument]:
    """Makes documents for the archive; sections are given as dictionaries."""

    def make(**changed: Any) -> TrainDocument:
        return parse(as_yaml(archive.address, **changed))

    return make


def as_yaml(address: str, **changed: Any) -> bytes:
    """A document that asks for two hours of X, with these sections changed. JSON is YAML."""
    data = {"instruments": ["X"], "set": "quotes", "begin": "2026-01-05T14:30:00Z", "end": "2026-01-05T16:30:00Z"}
    data |= {"rows_min": 100, "features": ["spread", "imbalance_1"]} | changed.pop("data", {})
    given = {
        "database": address,
        "name": "test",
        "version": 1,
        "data": {key: value for key, value in data.items() if value is not None},
        "label": {"horizon_ms": 1000},
        "model": {"trees": 20, "leaves": 7, "leaf_rows_min": 50},
    }
    return json.dumps(given | changed).encode()


def market(rows: int, seed: int, *, strength: float) -> tuple[Any, Any]:
    """Times (ns) and values of `QUOTES`: five records a second; the imbalance leans the middle's next moves by `strength`."""
    random = numpy.random.default_rng(seed)
    imbalance = numpy.zeros(rows)
    pushes = random.normal(size=rows)
    for at in range(1, rows):
        imbalance[at] = 0.8 * imbalance[at - 1] + pushes[at]
    imbalance = numpy.tanh(imbalance)
    up = random.random(rows) < 0.15 * (1 + strength * imbalance)
    down = random.random(rows) < 0.15 * (1 - strength * imbalance)
    steps = up.astype(int) - down.astype(int)
    # The step of a moment is seen by the next record.
    mid = 5000 + 0.25 * numpy.concatenate([[0], numpy.cumsum(steps)[:-1]])
    time_ns = BEGIN_NS + numpy.arange(rows) * 200_000_000
    return time_ns, numpy.stack([numpy.full(rows, 0.25), mid, imbalance], axis=1)
