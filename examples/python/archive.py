"""The archive from Python: how to connect, how to name an instrument and a span of time, and the queries.

Used by archive_pandas.py, archive_polars.py and plot_features.py; copy what you need. Tables and views are
described in docs/archive.md. Every query names an instrument and a span of time: that is what the indexes are for.
"""

import argparse
from datetime import datetime, timezone

import psycopg

PRICE_UNDEFINED = 2**63 - 1
SETTINGS = "-c search_path=feedplane,public -c timezone=UTC"

SPAN = "publisher_id = %(publisher)s AND instrument_id = %(instrument)s AND time >= %(begin)s AND time < %(end)s"

# In the order of the stream: `row` numbers a stream's ticks without a hole; `time` alone would leave ticks of one
# microsecond in any order.
TICKS = f"""
SELECT row, ts_recv, sequence, action::text, side::text, price, size, order_id, depth, flags
FROM ticks WHERE {SPAN} ORDER BY stream, row"""

# What was traded. 9223372036854775807 is "no price": see "Trades without a price" in docs/quant.md.
TRADES = f"""
SELECT ts_recv, price / 1e9::float8 AS price, size, side::text AS aggressor
FROM ticks WHERE {SPAN} AND action = 'T' AND price <> {PRICE_UNDEFINED} ORDER BY stream, row"""

# Bars of any width. date_bin is in every PostgreSQL; time_bucket of TimescaleDB does the same.
OHLCV = f"""
SELECT date_bin(%(width)s, time, 'epoch') AS bucket,
       (array_agg(price ORDER BY row))[1] / 1e9::float8 AS open,
       max(price) / 1e9::float8 AS high,
       min(price) / 1e9::float8 AS low,
       (array_agg(price ORDER BY row DESC))[1] / 1e9::float8 AS close,
       sum(size)::bigint AS volume,
       count(*) AS trades
FROM ticks WHERE {SPAN} AND action = 'T' AND price <> {PRICE_UNDEFINED} GROUP BY 1 ORDER BY 1"""

FEATURES = f"""
SELECT time_ns, number, quality, values
FROM features JOIN feature_schemas USING (schema_id)
WHERE {SPAN} AND feature_set = %(feature_set)s AND names = %(names)s ORDER BY stream, row"""

# The newest schema of a set: a set whose features were changed has another.
NAMES = "SELECT names FROM feature_schemas WHERE feature_set = %(feature_set)s ORDER BY changed_at DESC LIMIT 1"

# What is missing on the instrument's channel, and the time of the instrument's first tick behind it.
GAPS = f"""
WITH own AS MATERIALIZED (SELECT stream, channel_id, row, ts_recv FROM ticks WHERE {SPAN})
SELECT behind.ts_recv, g.channel_id, g.first, g.last, g.reason
FROM gaps g CROSS JOIN LATERAL (
    SELECT ts_recv FROM own
    WHERE own.stream = g.stream AND own.channel_id = g.channel_id AND own.row >= g.before_row ORDER BY row LIMIT 1
) behind
WHERE g.before_row > (SELECT min(row) FROM own) ORDER BY g.before_row"""


def connect(address):
    """A connection whose unqualified names are the archive's, and whose times are UTC."""
    return psycopg.connect(address, options=SETTINGS)


def names_of(connection, feature_set):
    """The names of a set's values, in order."""
    found = connection.execute(NAMES, {"feature_set": feature_set}).fetchone()
    if found is None:
        known = [name for (name,) in connection.execute("SELECT DISTINCT feature_set FROM feature_schemas ORDER BY 1")]
        raise SystemExit(f"no feature set {feature_set}; there are {', '.join(known) or 'none'}")
    return found[0]


def arguments(description):
    """The command line that the archive's examples share."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("database", help="postgres:///feedplane?host=/run/postgresql&user=feedplane, or with a host")
    options.add_argument("instrument", help="symbol, or publisher:instrument as numbers")
    options.add_argument("--begin", type=utc, default=utc("1970-01-01"), help="ISO 8601, UTC, inclusive")
    options.add_argument("--end", type=utc, default=utc("9999-01-01"), help="ISO 8601, UTC, exclusive")
    return options


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def span(connection, given):
    """The parameters of SPAN from the command line."""
    if ":" in given.instrument:
        publisher, instrument = (int(number) for number in given.instrument.split(":"))
    else:
        query = "SELECT publisher_id, instrument_id FROM instruments WHERE symbol = %s"
        found = connection.execute(query, (given.instrument,)).fetchall()
        if len(found) != 1:
            raise SystemExit(f"{len(found)} instruments are called {given.instrument}; name it as publisher:instrument")
        publisher, instrument = found[0]
    return {"publisher": publisher, "instrument": instrument, "begin": given.begin, "end": given.end}
