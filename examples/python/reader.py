#!/usr/bin/env python3
"""Read feedplane's `raw_market_data` from Redis and print its ticks.

    reader.py unix:///run/redis.sock            # what is there, then what comes
    reader.py redis://127.0.0.1 --once          # what is there, then end

Needs the packages `redis` and `numpy`. One tick is 64 bytes; an entry's field `d` holds `n` of them, read in
place by one numpy dtype. The contract is docs/streams.md.
"""

import argparse
import sys

import numpy
import redis

TICK = numpy.dtype(
    [
        ("ts_event", "<u8"),  # exchange's event time, ns since the epoch; 0 = none
        ("ts_recv", "<u8"),  # arrival of the first copy, ns since the epoch
        ("sequence", "<u8"),  # transport sequence number on the channel
        ("order_id", "<u8"),  # 0 for by-price feeds
        ("price", "<i8"),  # 1e-9 units; PRICE_UNDEFINED = none
        ("size", "<u4"),
        ("instrument_id", "<u4"),
        ("ts_in_delta", "<i4"),  # ts_recv - exchange's send time, ns
        ("publisher_id", "<u2"),
        ("channel_id", "<u2"),
        ("action", "S1"),  # A add, M modify, C cancel, R clear, T trade, F fill, S status, N none
        ("side", "S1"),  # B bid, A ask, N none
        ("flags", "u1"),
        ("depth", "u1"),  # 0 by order; 1-254 price level; 255 by price without a level
        ("source", "S1"),  # A, B line; R retransmission; S snapshot; L made here
        ("clock", "u1"),  # bits 0-2 where ts_recv was read, bit 7 in sync
        ("reserved", "<u2"),
    ]
)
assert TICK.itemsize == 64

PRICE_UNDEFINED = 2**63 - 1
FLAGS = {128: "LAST", 64: "TOB", 32: "SNAPSHOT", 16: "MBP", 8: "BAD_TS_RECV", 4: "MAYBE_BAD_BOOK"}


def starts_over(ticks):
    """Whether this entry begins a new count: a clear of the whole channel is its first tick."""
    return len(ticks) > 0 and ticks[0]["action"] == b"R" and ticks[0]["instrument_id"] == 0


class Continuity:
    """Notices what is missing: entries of a channel join when `s` is the previous `l` or the number after."""

    def __init__(self):
        self.last = {}

    def check(self, channel, first, last, ticks):
        """The range of sequence numbers lost before this entry, or None."""
        before = self.last.get(channel)
        if before is None or starts_over(ticks):
            self.last[channel] = last
            return None
        self.last[channel] = max(before, last)
        return (before + 1, first - 1) if first > before + 1 else None


def parse(fields):
    """An entry's fields as (channel, first, last, ticks, reason of a gap or None)."""
    channel, first, last = (int(fields[name]) for name in (b"c", b"s", b"l"))
    if b"g" in fields:
        return channel, first, last, numpy.empty(0, TICK), fields[b"g"].decode()
    ticks = numpy.frombuffer(fields[b"d"], TICK)
    if len(ticks) != int(fields[b"n"]):
        raise ValueError(f"n says {int(fields[b'n'])} ticks, d holds {len(ticks)}")
    return channel, first, last, ticks, None


def show(tick):
    """A tick as a person reads it."""
    when = numpy.datetime64(int(tick["ts_recv"]), "ns")
    price = "-" if tick["price"] == PRICE_UNDEFINED else decimal(int(tick["price"]))
    flags = "|".join(name for bit, name in FLAGS.items() if tick["flags"] & bit) or "-"
    return (
        f"{when} ch={tick['channel_id']} seq={tick['sequence']} inst={tick['instrument_id']} "
        f"{tick['action'].decode()}{tick['side'].decode()} {price} x {tick['size']} "
        f"order={tick['order_id']} depth={tick['depth']} {flags} via {tick['source'].decode()}"
    )


def decimal(price):
    """1e-9 units as exact decimal text."""
    sign = "-" if price < 0 else ""
    whole, rest = divmod(abs(price), 10**9)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


def entries(connection, stream, start, once):
    """Every entry of the stream from `start`, then, unless `once`, those that come."""
    position = start
    while True:
        reply = connection.xread({stream: position}, count=100, block=None if once else 1000)
        if not reply and once:
            return
        streams = reply.values() if isinstance(reply, dict) else (part for _, part in reply)
        for part in streams:
            # With protocol 3 redis-py wraps the entries in one more list.
            for position, fields in part[0] if part and isinstance(part[0], list) else part:
                yield position, fields


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="redis://host:port/db or unix:///path/to/socket")
    options.add_argument("--stream", default="raw_market_data")
    options.add_argument("--start", default="0", help="stream id to read after; $ = only what comes")
    options.add_argument("--once", action="store_true", help="end after what is there")
    options.add_argument("--quiet", action="store_true", help="print losses and totals only")
    arguments = options.parse_args()

    connection = redis.Redis.from_url(arguments.url)
    continuity = Continuity()
    ticks_seen = declared = missing = 0
    try:
        for _, fields in entries(connection, arguments.stream, arguments.start, arguments.once):
            channel, first, last, ticks, reason = parse(fields)
            lost = continuity.check(channel, first, last, ticks)
            if lost:
                missing += lost[1] - lost[0] + 1
                print(f"LOST ch={channel} {lost[0]}..{lost[1]}: trimmed before it was read, or lost by Redis")
            if reason:
                declared += last - first + 1
                print(f"GAP  ch={channel} {first}..{last}: {reason}")
            ticks_seen += len(ticks)
            if not arguments.quiet:
                for tick in ticks:
                    print(show(tick))
    except KeyboardInterrupt:
        pass
    print(f"{ticks_seen} ticks, {declared} numbers declared missing, {missing} missing without a word", file=sys.stderr)


if __name__ == "__main__":
    main()
