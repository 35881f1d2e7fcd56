"""Writes a file of 64-byte ticks into the archive's table, as a quant would with psycopg.

usage: psycopg_rows.py URL FILE copy|copy-binary|insert

Prints one line of JSON: {"ns": time from the bytes in memory to the last commit}.
"""

import datetime
import json
import sys
import time

import numpy
import psycopg

TICK = numpy.dtype([
    ("ts_event", "<u8"), ("ts_recv", "<u8"), ("sequence", "<u8"), ("order_id", "<u8"),
    ("price", "<i8"), ("size", "<u4"), ("instrument_id", "<u4"), ("ts_in_delta", "<i4"),
    ("publisher_id", "<u2"), ("channel_id", "<u2"),
    ("action", "S1"), ("side", "S1"), ("flags", "u1"), ("depth", "u1"),
    ("source", "S1"), ("clock", "u1"), ("reserved", "<u2"),
])
COLUMNS = [
    ("time", "timestamptz"), ("row", "int8"), ("ts_event", "int8"), ("ts_recv", "int8"), ("sequence", "int8"),
    ("order_id", "int8"), ("price", "int8"), ("size", "int8"), ("instrument_id", "int8"), ("ts_in_delta", "int4"),
    ("publisher_id", "int4"), ("channel_id", "int4"), ("stream", "int2"), ("flags", "int2"), ("depth", "int2"),
    ("clock", "int2"), ("reserved", "int2"), ("action", None), ("side", None), ("source", None),
]
NAMES = ", ".join(name for name, _ in COLUMNS)
COPY_ROWS = 50_000
INSERT_ROWS = 10_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def rows(ticks, first):
    """The rows as tuples, in the columns' order."""
    column = {name: ticks[name].tolist() for name in TICK.names}
    times = [EPOCH + datetime.timedelta(microseconds=us) for us in (ticks["ts_recv"] // 1000).tolist()]
    letters = [[letter.decode("latin-1") for letter in column[name]] for name in ("action", "side", "source")]
    numbers = range(first + 1, first + 1 + len(ticks))
    streams = [0] * len(ticks)
    return zip(
        times, numbers, column["ts_event"], column["ts_recv"], column["sequence"], column["order_id"],
        column["price"], column["size"], column["instrument_id"], column["ts_in_delta"], column["publisher_id"],
        column["channel_id"], streams, column["flags"], column["depth"], column["clock"], column["reserved"],
        *letters,
    )


def copy(connection, batch, binary):
    how = " (FORMAT binary)" if binary else ""
    with connection.cursor() as cursor, cursor.copy(f"COPY feedplane.ticks ({NAMES}) FROM STDIN{how}") as out:
        if binary:
            # A "char" is one byte, as a bytea of length one is.
            out.set_types([kind or "bytea" for _, kind in COLUMNS])
            batch = ((*row[:17], *(letter.encode("latin-1") for letter in row[17:])) for row in batch)
        for row in batch:
            out.write_row(row)


def insert(connection, batch):
    values = ", ".join(["%s"] * len(COLUMNS))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO feedplane.ticks ({NAMES}) VALUES ({values})", list(batch))


def main():
    url, path, how = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
        connection.commit()
        began = time.perf_counter_ns()
        ticks = numpy.frombuffer(data, TICK)
        step = INSERT_ROWS if how == "insert" else COPY_ROWS
        for first in range(0, len(ticks), step):
            batch = rows(ticks[first:first + step], first)
            if how == "insert":
                insert(connection, batch)
            else:
                copy(connection, batch, how == "copy-binary")
            connection.commit()
        print(json.dumps({"ns": time.perf_counter_ns() - began}))


main()
