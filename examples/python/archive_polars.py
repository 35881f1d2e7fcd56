#!/usr/bin/env python3
"""The archive as polars data frames: by psycopg, and without a detour through Python objects by ADBC (Arrow).

    archive_polars.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' AAPL --set quotes

Needs the packages `psycopg`, `polars`, `pyarrow` and `adbc-driver-postgresql`.
"""

import archive
import polars
from adbc_driver_postgresql import dbapi


def by_psycopg(connection, query, parameters):
    """Any query. Good for some hundred thousand rows."""
    with connection.cursor() as cursor:
        rows = cursor.execute(query, parameters).fetchall()
        return polars.DataFrame(rows, schema=[column.name for column in cursor.description], orient="row")


def by_adbc(address, connection, query, parameters):
    """The same as Arrow columns. ADBC numbers its parameters; here psycopg writes them into the text, quoted."""
    text = archive.psycopg.ClientCursor(connection).mogrify(query, parameters)
    with dbapi.connect(address) as arrow, arrow.cursor() as cursor:
        cursor.execute("SET search_path TO feedplane, public")
        cursor.execute(text)
        return polars.from_arrow(cursor.fetch_arrow_table())


def features(table, names):
    """One column for each value instead of a list."""
    values = [polars.col("values").list.get(place).alias(name) for place, name in enumerate(names)]
    return table.select(time("time_ns"), "number", "quality", *values)


def time(column):
    """ns since the epoch as a time."""
    return polars.from_epoch(column, time_unit="ns").alias("time")


def main():
    options = archive.arguments(__doc__)
    options.add_argument("--set", default="quotes", help="feature set")
    given = options.parse_args()

    with archive.connect(given.database) as connection:
        span = archive.span(connection, given)
        traded = by_psycopg(connection, archive.TRADES, span)
        ticks = by_adbc(given.database, connection, archive.TICKS, span)
        names = archive.names_of(connection, given.set)
        wanted = span | {"feature_set": given.set, "names": names}
        calculated = features(by_adbc(given.database, connection, archive.FEATURES, wanted), names)

    print(f"{len(ticks)} ticks: {dict(sorted(ticks['action'].value_counts().iter_rows()))}")

    traded = traded.with_columns(time("ts_recv")).sort("time", maintain_order=True)
    bars = traded.group_by_dynamic("time", every="1m").agg(
        open=polars.col("price").first(),
        high=polars.col("price").max(),
        low=polars.col("price").min(),
        close=polars.col("price").last(),
        volume=polars.col("size").sum(),
    )
    print(f"{len(bars)} bars, {bars['volume'].sum()} traded")

    usable = calculated.filter(polars.col("quality") == 0).sort("time", maintain_order=True)
    joined = traded.join_asof(usable, on="time", strategy="backward", allow_exact_matches=False)
    print(f"{len(calculated)} records of {given.set}, {len(usable)} without doubt")
    print(f"{len(joined)} trades beside the features before them")
    print(joined.tail(3))


if __name__ == "__main__":
    main()
