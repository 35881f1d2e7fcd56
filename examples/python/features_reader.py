#!/usr/bin/env python3
"""Read feedplane's `calculated_features` from Redis: each record by its schema, all of a set as one numpy array.

    features_reader.py unix:///run/redis.sock           # every record, as text
    features_reader.py unix:///run/redis.sock --sets    # one line for each set: how much, from when to when, means

Needs the packages `redis` and `numpy`. A record says under `k` which schema its values follow; schemas are in the
hash `calculated_features:schemas`, names and units of the values in their order. The contract is docs/streams.md.
"""

import argparse
import json
from collections import defaultdict

import numpy
import redis
from reader import entries

SCHEMAS = "calculated_features:schemas"
QUALITY = {1: "BAD_BOOK", 2: "GAP_IN_WINDOW", 4: "WARMING_UP", 8: "BAD_TIME"}


class Schemas:
    """Looks schemas up, each once: an id always means the same."""

    def __init__(self, connection):
        self.connection, self.known = connection, {}

    def of(self, schema_id):
        if schema_id not in self.known:
            text = self.connection.hget(SCHEMAS, schema_id)
            if text is None:
                raise KeyError(f"schema {schema_id.decode()} is not in {SCHEMAS}")
            self.known[schema_id] = json.loads(text)
        return self.known[schema_id]


class Numbers:
    """Notices missing records: they are numbered 1, 2, 3 … in their stream."""

    def __init__(self):
        self.before = None

    def check(self, number):
        """How many records are missing before this one."""
        missing = 0 if self.before is None else number - self.before - 1
        self.before = number
        return missing


def parse(fields):
    """An entry's fields as (publisher, instrument, ns, quality, schema id, number, values)."""
    publisher, instrument, time_ns, quality, number = (int(fields[name]) for name in (b"p", b"i", b"t", b"q", b"n"))
    return publisher, instrument, time_ns, quality, fields[b"k"], number, numpy.frombuffer(fields[b"v"], "<f8")


def doubts(quality):
    """The quality bits by name; `-` when there is no doubt."""
    return "|".join(name for bit, name in QUALITY.items() if quality & bit) or "-"


def dtype_of(schema):
    """One row of a set: who, when, how good, then the values under their names."""
    head = [("publisher_id", "u2"), ("instrument_id", "u4"), ("time", "M8[ns]"), ("quality", "u1"), ("number", "u8")]
    return numpy.dtype(head + [(feature["name"], "f8") for feature in schema["features"]])


def by_set(connection, stream, start="0"):
    """All records of the stream as {set's name: numpy array, a row each}. Records of an older schema are left out."""
    schemas, rows, newest = Schemas(connection), defaultdict(list), {}
    for _, fields in entries(connection, stream, start, once=True):
        publisher, instrument, time_ns, quality, schema_id, number, values = parse(fields)
        rows[schema_id].append((publisher, instrument, numpy.datetime64(time_ns, "ns"), quality, number, *values))
        newest[schemas.of(schema_id)["set"]] = schema_id
    return {name: numpy.array(rows[key], dtype_of(schemas.of(key))) for name, key in newest.items()}


def show(fields, schema):
    """A record as a person reads it."""
    publisher, instrument, time_ns, quality, _, number, values = parse(fields)
    named = " ".join(f"{spec['name']}={value:.6g}" for spec, value in zip(schema["features"], values, strict=True))
    return f"{numpy.datetime64(time_ns, 'ns')} n={number} {publisher}:{instrument} {schema['set']} {doubts(quality)} {named}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="redis://host:port/db or unix:///path/to/socket")
    options.add_argument("--stream", default="calculated_features")
    options.add_argument("--follow", action="store_true", help="go on with what comes")
    options.add_argument("--sets", action="store_true", help="a summary of each set")
    arguments = options.parse_args()

    connection = redis.Redis.from_url(arguments.url)
    if arguments.sets:
        for name, rows in by_set(connection, arguments.stream).items():
            print(f"{name}: {len(rows)} records, {rows['time'].min()} to {rows['time'].max()}")
            good = rows[rows["quality"] == 0]
            for value in rows.dtype.names[5:]:
                mean = numpy.nanmean(good[value]) if len(good) and not numpy.isnan(good[value]).all() else numpy.nan
                print(f"  {value:<32} mean of the {len(good)} without doubt {mean:.6g}")
        return
    schemas, numbers = Schemas(connection), Numbers()
    for _, fields in entries(connection, arguments.stream, "0", not arguments.follow):
        missing = numbers.check(int(fields[b"n"]))
        if missing:
            print(f"LOST {missing} records: trimmed before they were read; the archive has them")
        print(show(fields, schemas.of(fields[b"k"])))


if __name__ == "__main__":
    main()
