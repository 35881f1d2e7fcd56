#!/usr/bin/env python3
"""Calculate every feature of the archive again, from its ticks alone, and compare with what was published.

    recompute_features.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' features.yaml

Reads ticks and gaps by SQL in the order of the stream, rebuilds the books (plain_book.py), calculates by the
definitions of docs/features.md (plain_features.py), and holds every record of the archive against the result: its
number, quality and each value, to a relative 1e-9. Ends with 1 when anything differs. Needs the packages `psycopg`,
`numpy` and `pyyaml`.
"""

import argparse
import heapq
import math
import sys
from collections import namedtuple

import psycopg
import yaml
from plain_book import Books
from plain_features import Instrument

TOLERANCE = 1e-9
SHOWN_MAX = 10

TICKS = """
SELECT row, ts_recv, sequence, order_id, price, size, instrument_id, publisher_id, channel_id,
       action::text, side::text, flags, depth
FROM ticks WHERE stream = %s ORDER BY row"""
Tick = namedtuple(
    "Tick",
    "row ts_recv sequence order_id price size instrument_id publisher_id channel_id action side flags depth",
)
GAPS = """
SELECT before_row, channel_id FROM gaps
WHERE stream = %s AND channel_id IS NOT NULL AND reason NOT IN ('repeated', 'restarted') ORDER BY before_row"""
RECORDS = """
SELECT number, time_ns, channel_id, sequence, publisher_id, instrument_id, feature_set, quality, values, names
FROM features JOIN feature_schemas USING (schema_id) WHERE stream = %s ORDER BY row"""
Record = namedtuple(
    "Record", "number time_ns channel_id sequence publisher_id instrument_id feature_set quality values names"
)


def rows(database, query, stream, shape):
    """The rows of a query, a part at a time: an archive does not fit into memory."""
    with database.cursor(name=shape.__name__.lower()) as cursor:
        cursor.itersize = 20_000
        for row in cursor.execute(query, (stream,)):
            yield shape._make(row)


class Engine:
    """Ticks of one stream in, numbered records out."""

    def __init__(self, document):
        self.documents = document["sets"]
        self.books, self.instruments, self.number = Books(), {}, 0

    def gap(self, channel_id):
        self.books.gap(channel_id)
        for instrument in self.instruments.values():
            instrument.gap_pending |= instrument.channel_id == channel_id

    def tick(self, tick):
        """Yields the records that a tick brings about."""
        book, trade, unpriced = self.books.apply(tick)
        if book is None:
            if tick.action == "R":
                for instrument in self.instruments.values():
                    if instrument.channel_id == tick.channel_id:
                        instrument.cleared()
            return
        key = tick.publisher_id, tick.instrument_id
        if key not in self.instruments:
            self.instruments[key] = Instrument([of for of in self.documents if wanted(of, *key)])
        for feature_set, quality, values in self.instruments[key].tick(tick, trade, unpriced, book):
            self.number += 1
            yield Record(
                self.number, tick.ts_recv, tick.channel_id, tick.sequence, *key,
                feature_set.name, quality, values, feature_set.names,
            )  # fmt: skip


def wanted(feature_set, publisher_id, instrument_id):
    """Whether the set is of this instrument."""
    chosen = feature_set.get("instruments")
    return chosen is None or {"publisher_id": publisher_id, "instrument_id": instrument_id} in chosen


def recomputed(database, stream, document):
    """The records that the stream's ticks bring about, from its beginning."""
    engine = Engine(document)
    gaps = [(before_row, 0, channel_id) for before_row, channel_id in database.execute(GAPS, (stream,))]
    ticks = ((tick.row, 1, tick) for tick in rows(database, TICKS, stream, Tick))
    for _, is_tick, item in heapq.merge(gaps, ticks, key=lambda event: event[:2]):
        if is_tick:
            yield from engine.tick(item)
        else:
            engine.gap(item)


def difference(one, other):
    """Relative; 0 for two NaN, infinite for one."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if math.isnan(one) or math.isnan(other):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other))


class Comparison:
    """What agreed and what did not."""

    def __init__(self):
        self.records, self.differing, self.values = 0, 0, {}

    def add(self, published, own):
        self.records += 1
        wrong = [
            f"{name} is {theirs}, recomputed {ours}"
            for name, theirs, ours in zip(Record._fields, published, own, strict=True)
            if name not in ("values", "names") and theirs != ours
        ]
        if published.names != own.names:
            wrong.append(f"values are {', '.join(published.names)}, recomputed {', '.join(own.names)}")
        else:
            for name, theirs, ours in zip(own.names, published.values, own.values, strict=True):
                key = f"{own.feature_set}.{name}"
                apart = difference(theirs, ours)
                count, known, worst = self.values.get(key, (0, 0, 0.0))
                self.values[key] = count + 1, known + (not math.isnan(ours)), max(worst, apart)
                if apart > TOLERANCE:
                    wrong.append(f"{name} is {theirs!r}, recomputed {ours!r}")
        if wrong:
            self.differs(published, "; ".join(wrong))

    def differs(self, record, what):
        self.differing += 1
        if self.differing <= SHOWN_MAX:
            print(
                f"record {record.number} of {record.publisher_id}:{record.instrument_id} at {record.time_ns} "
                f"({record.feature_set}): {what}",
                file=sys.stderr,
            )

    def show(self):
        print(f"{'feature':<44} {'records':>9} {'not NaN':>9} {'worst difference':>17}")
        for name, (count, known, worst) in self.values.items():
            print(f"{name:<44} {count:>9} {known:>9} {worst:>17.1e}")


def compare(database, ticks_stream, features_stream, document, comparison):
    """Holds the records of one features stream against its ticks."""
    own = recomputed(database, ticks_stream, document)
    for published in rows(database, RECORDS, features_stream, Record):
        expected = next(own, None)
        if expected is None:
            comparison.differs(published, "is published and not recomputed")
        else:
            comparison.add(published, expected)
    for expected in own:
        comparison.differs(expected, "is recomputed and not published")


def pairs(database):
    """Each stream of ticks with its stream of features."""
    streams = dict(database.execute("SELECT name, stream FROM stream_positions").fetchall())
    for name, stream in sorted(streams.items()):
        of = name.replace("raw_market_data", "calculated_features")
        if name.startswith("raw_market_data") and of in streams:
            yield stream, streams[of]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("database", help="address of the archive")
    options.add_argument("features", help="features.yaml, as the service had it")
    arguments = options.parse_args()

    with open(arguments.features, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    comparison = Comparison()
    with psycopg.connect(arguments.database, options="-c search_path=feedplane,public") as database:
        for ticks_stream, features_stream in pairs(database):
            compare(database, ticks_stream, features_stream, document, comparison)
    comparison.show()
    print(f"{comparison.records} records compared, {comparison.differing} differ")
    sys.exit(0 if comparison.records and not comparison.differing else 1)


if __name__ == "__main__":
    main()
