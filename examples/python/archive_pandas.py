#!/usr/bin/env python3
"""The archive as pandas data frames: trades, bars, features beside trades, and what to leave out.

    archive_pandas.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' AAPL --set quotes
    archive_pandas.py … 1:17077 --begin 2023-12-25T23:00 --end 2023-12-26 --set quotes --width '5 minutes'

Needs the packages `psycopg` and `pandas`.
"""

import archive
import pandas

DOUBTFUL = 1 | 2 | 4 | 8  # BAD_BOOK, GAP_IN_WINDOW, WARMING_UP, BAD_TIME


def frame(connection, query, parameters):
    """A query's rows under the columns' names."""
    cursor = connection.execute(query, parameters)
    return pandas.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


def trades(connection, span):
    """Every trade; the index is ts_recv with its nanoseconds, which PostgreSQL's own times do not have."""
    result = frame(connection, archive.TRADES, span)
    result.index = pandas.to_datetime(result.pop("ts_recv"), unit="ns", utc=True)
    return result


def features(connection, span, feature_set):
    """A set's records, one column for each value."""
    names = archive.names_of(connection, feature_set)
    records = frame(connection, archive.FEATURES, span | {"feature_set": feature_set, "names": names})
    values = pandas.DataFrame(records.pop("values").to_list(), columns=names, dtype=float)
    result = pandas.concat([records, values], axis=1)
    result.index = pandas.to_datetime(result.pop("time_ns"), unit="ns", utc=True)
    return result


def main():
    options = archive.arguments(__doc__)
    options.add_argument("--set", default="quotes", help="feature set")
    options.add_argument("--width", default="1 minute", help="of a bar, as PostgreSQL writes an interval")
    given = options.parse_args()

    with archive.connect(given.database) as connection:
        span = archive.span(connection, given)
        traded = trades(connection, span)
        bars = frame(connection, archive.OHLCV, span | {"width": given.width}).set_index("bucket")
        calculated = features(connection, span, given.set)
        gaps = frame(connection, archive.GAPS, span)

    print(f"{len(traded)} trades, {traded['size'].sum()} traded")
    print(f"{len(bars)} bars of {given.width}, {int(bars['volume'].sum())} traded")
    print(bars.tail(3).to_string())

    # A record knows everything up to the event that it carries the time of, this event's own trades included. What was
    # known before a trade is the last record with an earlier time.
    usable = calculated[calculated["quality"] & DOUBTFUL == 0]
    print(f"{len(calculated)} records of {given.set}, {len(usable)} without doubt")
    values = usable.drop(columns=["number", "quality"])
    joined = pandas.merge_asof(traded, values, left_index=True, right_index=True, allow_exact_matches=False)
    print(f"{len(joined)} trades beside the features before them")
    print(joined.tail(3).to_string())
    print(f"{len(gaps)} gaps, {int((gaps['last'] - gaps['first'] + 1).sum())} sequence numbers")


if __name__ == "__main__":
    main()
