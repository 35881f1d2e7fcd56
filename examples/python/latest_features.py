#!/usr/bin/env python3
"""Show the latest features of an instrument: what a strategy reads when it starts, before it follows the stream.

    latest_features.py unix:///run/redis.sock 2 42      # publisher 2, instrument 42

Needs the packages `redis` and `numpy`. The hash `latest_features:<publisher>:<instrument>` holds each set's latest record,
its fields as `<set>.<field>`.
"""

import argparse
import sys
from collections import defaultdict

import numpy
import redis
from features_reader import Schemas, doubts


def latest(connection, publisher_id, instrument_id):
    """{set's name: {"time", "quality", "number", value's name: value}}; empty when nothing was published."""
    sets = defaultdict(dict)
    for name, value in connection.hgetall(f"latest_features:{publisher_id}:{instrument_id}").items():
        of, field = name.rsplit(b".", 1)
        sets[of.decode()][field.decode()] = value
    schemas, result = Schemas(connection), {}
    for of, fields in sets.items():
        names = [spec["name"] for spec in schemas.of(fields["k"])["features"]]
        values = numpy.frombuffer(fields["v"], "<f8")
        result[of] = {
            "time": numpy.datetime64(int(fields["t"]), "ns"),
            "quality": int(fields["q"]),
            "number": int(fields["n"]),
            **dict(zip(names, values.tolist(), strict=True)),
        }
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="redis://host:port/db or unix:///path/to/socket")
    options.add_argument("publisher_id", type=int)
    options.add_argument("instrument_id", type=int)
    arguments = options.parse_args()

    sets = latest(redis.Redis.from_url(arguments.url), arguments.publisher_id, arguments.instrument_id)
    if not sets:
        sys.exit(f"nothing was published of instrument {arguments.publisher_id}:{arguments.instrument_id}")
    for name, record in sorted(sets.items()):
        time, quality, number = (record.pop(key) for key in ("time", "quality", "number"))
        print(f"{name}: n={number} {time} {doubts(quality)}")
        for value_name, value in record.items():
            print(f"  {value_name:<32} {value:.9g}")


if __name__ == "__main__":
    main()
