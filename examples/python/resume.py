#!/usr/bin/env python3
"""Go on where the last run ended, nothing twice and nothing left out: traded volume by minute, kept in SQLite.

    resume.py unix:///run/redis.sock volume.sqlite      # run it as often as you like, kill it when you like

Needs the packages `redis` and `numpy`. The stream id that the results reach is stored in the transaction that stores
them. An entry read twice after a crash is then counted once, because what was not committed is not there.
"""

import argparse
import sqlite3

import numpy
import redis
from reader import Continuity, entries, parse

TABLES = """
CREATE TABLE IF NOT EXISTS position (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, covered TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS volume (instrument INTEGER, minute TEXT, quantity INTEGER NOT NULL, PRIMARY KEY (instrument, minute));
CREATE TABLE IF NOT EXISTS gaps (channel INTEGER, first INTEGER, last INTEGER, why TEXT);
"""
ENTRIES_A_TRANSACTION = 100


def load(database):
    """The stream id reached, and the last sequence number of each channel, which continuity needs."""
    row = database.execute("SELECT id, covered FROM position").fetchone()
    continuity = Continuity()
    if row:
        continuity.last = {int(key): int(value) for key, value in (pair.split(":") for pair in row[1].split())}
    return row[0] if row else "0", continuity


def save(database, position, continuity):
    covered = " ".join(f"{channel}:{last}" for channel, last in continuity.last.items())
    database.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?)", (position, covered))
    database.commit()


def take(database, fields, continuity):
    """The effect of one entry."""
    channel, first, last, ticks, reason = parse(fields)
    lost = continuity.check(channel, first, last, ticks)
    if lost:
        database.execute("INSERT INTO gaps VALUES (?, ?, ?, 'trimmed')", (channel, *lost))
    if reason:
        database.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", (channel, first, last, reason))
    trades = ticks[ticks["action"] == b"T"]
    minutes = trades["ts_recv"].astype("M8[ns]").astype("M8[m]")
    for minute, instrument, size in zip(minutes, trades["instrument_id"], trades["size"], strict=True):
        database.execute(
            "INSERT INTO volume VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity",
            (int(instrument), str(numpy.datetime_as_string(minute)), int(size)),
        )


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="redis://host:port/db or unix:///path/to/socket")
    options.add_argument("database", help="SQLite file, made when it is not there")
    options.add_argument("--stream", default="raw_market_data")
    options.add_argument("--stop-after", type=int, help="stop without a commit after so many entries, as a crash would")
    arguments = options.parse_args()

    database = sqlite3.connect(arguments.database)
    database.executescript(TABLES)
    position, continuity = load(database)
    count = 0
    for position, fields in entries(redis.Redis.from_url(arguments.url), arguments.stream, position, once=True):
        position = position.decode()
        take(database, fields, continuity)
        count += 1
        if count == arguments.stop_after:
            print(f"stopped at {position}")
            return
        if count % ENTRIES_A_TRANSACTION == 0:
            save(database, position, continuity)
    if count:
        save(database, position, continuity)
    total, minutes = database.execute("SELECT coalesce(sum(quantity), 0), count(*) FROM volume").fetchone()
    print(f"{count} entries read; {total} traded in {minutes} instrument-minutes, up to {position}")


if __name__ == "__main__":
    main()
