"""The archive as arrays: which instruments, which schema, the records of a feature set, and the gaps.

Everything is read in one read-only transaction of one snapshot, so that what was counted is what is read. Records come by
binary COPY, an hour of them at a time: the server sorts no more than that, and nothing here holds more than a few megabytes
besides the arrays that the rows end in, whose size is known before the first is read.

Tables and columns are described in docs/archive.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

import numpy
import psycopg
from numpy.typing import NDArray

from .document import TrainDocument, utc
from .errors import Refused, Unreachable

SETTINGS = "-c search_path=feedplane,public -c timezone=UTC"
CONNECT_TIMEOUT_S = 10
# What one COPY asks for: the server sorts that much at a time.
SLICE = timedelta(hours=1)
# Bytes that are parsed at a time.
BLOCK_BYTES = 4 << 20
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
# A gap for this reason lost nothing: numbers came twice.
NOTHING_LOST = "repeated"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Instrument:
    """A publisher's instrument."""

    publisher_id: int
    instrument_id: int
    symbol: str


@dataclass(frozen=True)
class Schema:
    """What the values of a set's records are."""

    schema_id: int
    id_hex: str
    set: str
    names: list[str]

    def places(self, names: list[str]) -> list[int]:
        """Where these values are in a record, from 0.

        Raises:
            Refused: one is not there; with those that are.
        """
        for name in names:
            if name not in self.names:
                near = get_close_matches(name, self.names, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise Refused(
                    f"the set {self.set} has no value {name}{hint}; its schema {self.id_hex} has {', '.join(self.names)}: "
                    "name one of these in train.yaml, or add it to features.yaml and archive anew"
                )
        return [self.names.index(name) for name in names]


@dataclass(frozen=True)
class Records:
    """Records of one set of one instrument in the order in which they were published (`stream`, `row`)."""

    stream: NDArray[numpy.int16]
    row: NDArray[numpy.int64]
    # `ts_recv` of the tick that brought the record about, ns since the epoch, UTC.
    time_ns: NDArray[numpy.int64]
    channel_id: NDArray[numpy.int32]
    # Bits of `q`.
    quality: NDArray[numpy.int16]
    # [records, values asked for]; NaN is "no value".
    values: NDArray[numpy.float64]

    def __len__(self) -> int:
        return len(self.row)

    def of_value(self, place: int) -> Records:
        """The same records with this one of their values."""
        return replace(self, values=self.values[:, place : place + 1])


@dataclass(frozen=True)
class Gap:
    """Something is missing: not before `begin_ns`, and it is over at `end_ns` (ns, `ts_recv` of ticks or records)."""

    begin_ns: int
    end_ns: int
    reason: str


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns what the database says into errors that tell what to do."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise Refused(
            "this database holds no archive (no tables in the schema feedplane): "
            "name the one that feedplane-archiver writes to, or run it first"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        text = str(error).splitlines()[0]
        raise Refused(f"{text}: grant the user USAGE on the schema feedplane and SELECT on its tables") from error
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        raise Unreachable(f"the database cannot be asked: {text}: try again, or correct `database` in train.yaml") from error


class Archive:
    """A connection with one snapshot of the archive."""

    def __init__(self, document: TrainDocument, progress: Progress) -> None:
        self.begin = utc(document.data.begin)
        self.end = utc(document.data.end)
        self._progress = progress
        try:
            self._connection = psycopg.connect(
                document.database,
                options=SETTINGS,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="feedplane-trainer",
            )
        except psycopg.ProgrammingError as error:
            raise Unreachable(f"`database` in train.yaml is no address of a PostgreSQL: {error}") from error
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        # With its schema's name: who may not use a schema does not see that it is there.
        self._connection.execute("SELECT FROM feedplane.instruments LIMIT 0")

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _rows(self, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()

    def instrument(self, name: str) -> Instrument:
        """The instrument of a symbol or of `publisher:instrument`.

        Raises:
            Refused: there is none, or several.
        """
        known = "SELECT publisher_id, instrument_id, symbol FROM instruments WHERE "
        if match := re.fullmatch(r"(\d+):(\d+)", name):
            ids = {"publisher": int(match[1]), "instrument": int(match[2])}
            found = self._rows(known + "publisher_id = %(publisher)s AND instrument_id = %(instrument)s", ids)
            return Instrument(*found[0]) if found else Instrument(ids["publisher"], ids["instrument"], name)
        found = self._rows(known + "symbol = %(symbol)s ORDER BY 1, 2", {"symbol": name})
        if len(found) == 1:
            return Instrument(*found[0])
        if not found:
            raise Refused(f"the archive knows no instrument {name}: name another, or publisher:instrument")
        ids_found = ", ".join(f"{publisher}:{instrument}" for publisher, instrument, _ in found)
        raise Refused(f"{len(found)} instruments are called {name}: name one of {ids_found}")

    def schema(self, instrument: Instrument, feature_set: str) -> tuple[Schema, int]:
        """The one schema that the set's records of the window have, and how many records there are.

        Raises:
            Refused: there is no record, or the schema changes within the window.
        """
        found = self._rows(
            """SELECT s.schema_id, s.id_hex, s.names, count(*), min(f.time), max(f.time)
               FROM features f JOIN feature_schemas s USING (schema_id)
               WHERE s.feature_set = %(set)s AND f.publisher_id = %(publisher)s AND f.instrument_id = %(instrument)s
                 AND f.time >= %(begin)s AND f.time < %(end)s
               GROUP BY 1, 2, 3 ORDER BY 5""",
            self._span(instrument) | {"set": feature_set},
        )
        if not found:
            raise Refused(self._why_empty(instrument, feature_set))
        if len(found) > 1:
            parts = "; ".join(f"{row[1]} from {row[4].isoformat()} to {row[5].isoformat()}" for row in found)
            raise Refused(
                f"the schema of the set {feature_set} changes within the window for {instrument.symbol}: {parts}. "
                "A model is of one schema: choose data.begin and data.end so that one remains"
            )
        schema_id, id_hex, names, count, _, _ = found[0]
        return Schema(schema_id, id_hex, feature_set, names), count

    def _why_empty(self, instrument: Instrument, feature_set: str) -> str:
        head = f"the archive has no record of the set {feature_set} of {instrument.symbol}"
        sets = [row[0] for row in self._rows("SELECT DISTINCT feature_set FROM feature_schemas ORDER BY 1", {})]
        if not sets:
            return f"{head}, and no features at all: run feedplane-features and feedplane-archiver first"
        if feature_set not in sets:
            return f"{head}: its sets are {', '.join(sets)}; correct data.set in train.yaml"
        first, last = self._rows(
            """SELECT min(f.time), max(f.time) FROM features f JOIN feature_schemas s USING (schema_id)
               WHERE s.feature_set = %(set)s AND f.publisher_id = %(publisher)s AND f.instrument_id = %(instrument)s""",
            self._span(instrument) | {"set": feature_set},
        )[0]
        if first is None:
            return f"{head}: name another instrument in train.yaml"
        window = f"from {self.begin.isoformat()} to {self.end.isoformat()}"
        return f"{head} {window}: there are some from {first.isoformat()} to {last.isoformat()}; change data.begin and data.end"

    def _span(self, instrument: Instrument) -> dict[str, Any]:
        return {
            "publisher": instrument.publisher_id,
            "instrument": instrument.instrument_id,
            "begin": self.begin,
            "end": self.end,
        }

    def records(self, instrument: Instrument, schema: Schema, names: list[str], count: int) -> Records:
        """The window's records with these of their values; there are `count`, as [`Archive.schema`] told.

        Raises:
            Refused: a record has not as many values as its schema.
        """
        places = schema.places(names)
        columns = "".join(f", values[{place + 1}]" for place in places)
        query = f"""COPY (SELECT stream, row, time_ns, channel_id, quality{columns} FROM features
            WHERE publisher_id = %(publisher)s AND instrument_id = %(instrument)s AND schema_id = %(schema)s
              AND time >= %(from)s AND time < %(to)s ORDER BY stream, row) TO STDOUT (FORMAT binary)"""
        reader = _CopyReader(["i2", "i8", "i8", "i4", "i2"] + ["f8"] * len(places))
        out = numpy.empty(count, dtype=[("head", "i8", 5), ("values", "f8", len(places))])
        at = 0
        moment, last = self._edges(instrument, schema)
        while moment <= last:
            until = min(moment + SLICE, self.end)
            span = self._span(instrument) | {"schema": schema.schema_id, "from": moment, "to": until}
            before = at
            for block in self._copy(query, span, reader):
                out["head"][at : at + len(block)] = numpy.stack([block[f"v{i}"] for i in range(5)], axis=1)
                for place in range(len(places)):
                    out["values"][at : at + len(block), place] = block[f"v{place + 5}"]
                at += len(block)
            if at > before:
                self._progress(f"{instrument.symbol} {schema.set}: {at} of {count} records, to {until.isoformat()}")
            moment = until
        head = out["head"]
        # Slices are cut by time, records are in order of rows: at an edge the two may differ by microseconds.
        order = numpy.lexsort((head[:, 1], head[:, 0]))
        return Records(
            stream=head[order, 0].astype(numpy.int16),
            row=head[order, 1],
            time_ns=head[order, 2],
            channel_id=head[order, 3].astype(numpy.int32),
            quality=head[order, 4].astype(numpy.int16),
            values=out["values"][order],
        )

    def _edges(self, instrument: Instrument, schema: Schema) -> tuple[datetime, datetime]:
        """Times of the first and the last record: hours without any, before and after, are not asked for."""
        return self._rows(
            """SELECT min(time), max(time) FROM features
               WHERE publisher_id = %(publisher)s AND instrument_id = %(instrument)s AND schema_id = %(schema)s
                 AND time >= %(begin)s AND time < %(end)s""",
            self._span(instrument) | {"schema": schema.schema_id},
        )[0]

    def _copy(self, query: str, parameters: dict[str, Any], reader: _CopyReader) -> Iterator[NDArray[Any]]:
        with self._connection.cursor() as cursor, cursor.copy(query, parameters) as copy:
            yield from reader.blocks(bytes(data) for data in copy)

    def gaps(self, instrument: Instrument, records: Records) -> list[Gap]:
        """What is missing of the instrument's ticks, on its channels, and of its records.

        `gaps` says before which row of a stream something is missing. Of ticks the place in time is between the
        instrument's own ticks around that row. Where the archive no longer has those, it is the time when the gap was told,
        by the clock of Redis.
        """
        found = []
        for stream in numpy.unique(records.stream).tolist():
            own = records.stream == stream
            found += self._gaps_of_records(stream, records.row[own], records.time_ns[own])
            found += self._gaps_of_ticks(instrument, stream, numpy.unique(records.channel_id[own]).tolist())
        return found

    def _gaps_of_records(self, stream: int, rows: NDArray[Any], time_ns: NDArray[Any]) -> list[Gap]:
        told = self._rows(
            "SELECT before_row, reason FROM gaps WHERE stream = %(stream)s AND reason <> %(repeated)s "
            "AND before_row > %(first)s AND before_row <= %(last)s",
            {"stream": stream, "repeated": NOTHING_LOST, "first": int(rows[0]), "last": int(rows[-1])},
        )
        found = []
        for before_row, reason in told:
            behind = int(numpy.searchsorted(rows, before_row))
            times = (int(time_ns[behind - 1]), int(time_ns[behind]))
            found.append(Gap(min(times), max(times), reason))
        return found

    def _gaps_of_ticks(self, instrument: Instrument, stream: int, channels: list[int]) -> list[Gap]:
        told = self._rows(
            """SELECT g.stream, g.before_row, g.reason, (extract(epoch FROM g.time) * 1000000)::bigint * 1000
               FROM gaps g JOIN stream_positions t USING (stream)
                 JOIN stream_positions f ON f.stream = %(stream)s
                  AND t.name = replace(f.name, 'calculated_features', 'raw_market_data')
               WHERE t.kind = 'ticks' AND g.reason <> %(repeated)s
                 AND (g.channel_id IS NULL OR g.channel_id = ANY(%(channels)s)) ORDER BY g.before_row""",
            {"stream": stream, "repeated": NOTHING_LOST, "channels": channels},
        )
        if not told:
            return []
        edges = sorted({before_row for _, before_row, _, _ in told})
        # One pass over the instrument's ticks: bucket i holds those before edges[i] and not before edges[i - 1].
        buckets = self._rows(
            """SELECT width_bucket(row, %(edges)s::bigint[]), min(ts_recv), max(ts_recv) FROM ticks
               WHERE publisher_id = %(publisher)s AND instrument_id = %(instrument)s AND stream = %(stream)s
                 AND time >= %(begin)s AND time < %(end)s GROUP BY 1 ORDER BY 1""",
            self._span(instrument) | {"edges": edges, "stream": told[0][0]},
        )
        found = []
        for _, before_row, reason, told_ns in told:
            place = edges.index(before_row)
            before = max((last for bucket, _, last in buckets if bucket <= place), default=None)
            behind = min((first for bucket, first, _ in buckets if bucket > place), default=None)
            begin = before if before is not None else min(told_ns, behind if behind is not None else told_ns)
            end = behind if behind is not None else max(told_ns, begin)
            found.append(Gap(min(begin, end), max(begin, end), reason))
        return found


class _CopyReader:
    """Reads binary COPY whose columns all have one width and no NULL: each row is as long as the next."""

    def __init__(self, columns: list[str]) -> None:
        fields = [("count", ">i2")]
        for place, column in enumerate(columns):
            fields += [(f"n{place}", ">i4"), (f"v{place}", f">{column}")]
        self._row = numpy.dtype(fields)
        self._widths = [int(column[1]) for column in columns]

    def blocks(self, data: Iterator[bytes]) -> Iterator[NDArray[Any]]:
        """Rows, some megabytes of them at a time."""
        waiting = bytearray()
        skip = len(COPY_HEADER)
        for piece in data:
            waiting += piece
            if skip and len(waiting) >= skip:
                del waiting[:skip]
                skip = 0
            if len(waiting) >= BLOCK_BYTES:
                whole = len(waiting) // self._row.itemsize * self._row.itemsize
                yield self._parse(bytes(waiting[:whole]))
                del waiting[:whole]
        if waiting[-len(COPY_TRAILER) :] == COPY_TRAILER:
            del waiting[-len(COPY_TRAILER) :]
        if waiting:
            yield self._parse(bytes(waiting))

    def _parse(self, data: bytes) -> NDArray[Any]:
        if len(data) % self._row.itemsize:
            raise Refused("a record in the archive has fewer values than its schema: the archive is damaged")
        rows = numpy.frombuffer(data, dtype=self._row)
        if (rows["count"] != len(self._widths)).any() or any(
            (rows[f"n{place}"] != width).any() for place, width in enumerate(self._widths)
        ):
            raise Refused("a record in the archive has fewer values than its schema: the archive is damaged")
        return rows
