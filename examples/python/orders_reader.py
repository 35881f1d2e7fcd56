#!/usr/bin/env python3
"""Read feedplane's `execution_reports` from Redis: what becomes of every order, trades, positions, denials.

    orders_reader.py unix:///run/redis.sock             # every report, then orders, positions and denials as they stand
    orders_reader.py unix:///run/redis.sock --quiet     # only how all stands
    orders_reader.py unix:///run/redis.sock --follow    # goes on with what comes; Ctrl-C shows how all stands

Needs the package `redis`. Prices are exact decimals. The contract is docs/streams.md; the same from the archive, for as
long as it goes back, is orders_archive.py.
"""

import argparse
from collections import Counter, defaultdict
from datetime import datetime, timezone
from decimal import Decimal

import redis
from reader import entries

VERSION = "1"
SAYS_IT_ALL = {"denied", "sent", "rejected", "cancelled", "unknown"}


class Numbers:
    """Follows `n`, which counts the reports of each venue without a hole. 0 is a strategy's own denial."""

    def __init__(self):
        self.last = {}

    def check(self, report):
        """None for a report that was there before; else how many are missing before it."""
        venue, number = report["venue"], int(report["n"])
        if number == 0:
            return 0
        before = self.last.get(venue, 0)
        if number <= before:
            return None  # Redis lost its memory, and the gateway has published the day's reports again.
        self.last[venue] = number
        return number - before - 1


class Orders:
    """How orders stand, and what was traded."""

    def __init__(self):
        self.states = {}
        self.positions = defaultdict(lambda: {"position": 0, "bought": 0, "sold": 0, "cash": Decimal(0)})
        self.denials = Counter()
        self.told = set()

    def take(self, report):
        kind, order, of = report["kind"], report.get("id"), report.get("of")
        if kind == "denied":
            self.denials[(report.get("strategy", "-"), report.get("reason", "-"))] += 1
        if kind in ("filled", "broken"):
            self.trade(report, 1 if kind == "filled" else -1)
        if report.get("reason") == "repeated":
            return  # The answer to an instruction that came again: nothing has changed.
        if of is not None and kind != "replaced":
            # Of a cancel or a replacement: only when it was carried out, the order in `of` is another.
            if kind == "cancelled":
                self.states[of] = "cancelled"
            return
        if kind == "replaced":
            self.states[of] = "replaced"
        if kind in SAYS_IT_ALL:
            self.states[order] = kind
        elif kind in ("accepted", "replaced", "filled"):
            leaves, filled = int(report["leaves"]), int(report["filled"])
            self.states[order] = "filled" if leaves == 0 else "partly filled" if filled else "open"

    def trade(self, report, sign):
        execution, quantity = report.get("execution"), sign * int(report["last_quantity"])
        name = (report["kind"], report["venue"], report.get("id"), execution)
        if execution is not None and name in self.told:
            return
        self.told.add(name)
        if "side" not in report:
            return  # Of an order that the gateway does not know: an operator must look.
        row = self.positions[(report.get("strategy", "-"), f"{report['publisher']}:{report['instrument']}", report.get("symbol", "-"))]
        buys = report["side"] == "buy"
        row["bought" if buys else "sold"] += quantity
        row["position"] += quantity if buys else -quantity
        # A trade that was never told and whose order had no limit has no price.
        row["cash"] += (-quantity if buys else quantity) * Decimal(report.get("last_price", 0))


def parse(fields):
    """An entry's fields as text by name."""
    report = {name.decode(): value.decode() for name, value in fields.items()}
    if report.get("v") != VERSION:
        raise ValueError(f"a report of version {report.get('v')}; this reader knows {VERSION}")
    return report


def show(report):
    """A report as a person reads it."""
    seconds, rest = divmod(int(report["time_ns"]), 10**9)
    when = f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}"
    words = [when, f"n={report['n']}", report.get("id", "-"), report["kind"]]
    if "of" in report:
        words.append(f"of {report['of']}")
    words += [report.get(name, "-") for name in ("strategy", "symbol", "side")]
    if report["last_quantity"] != "0":
        words.append(f"{report['last_quantity']} at {report.get('last_price', '-')} ({report.get('execution', '-')})")
    words.append(f"filled {report['filled']} leaves {report['leaves']}")
    if "reason" in report:
        words.append(f"{report['reason']}: {report.get('text', '')}".rstrip(": "))
    return " ".join(words)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="redis://host:port/db or unix:///path/to/socket")
    options.add_argument("--stream", default="execution_reports", help="with several shards execution_reports:{0} and so on")
    options.add_argument("--follow", action="store_true", help="go on with what comes")
    options.add_argument("--quiet", action="store_true", help="only how all stands at the end")
    arguments = options.parse_args()

    connection = redis.Redis.from_url(arguments.url)
    numbers, orders, refused = Numbers(), Orders(), 0
    try:
        for position, fields in entries(connection, arguments.stream, "0", not arguments.follow):
            try:
                report = parse(fields)
                text = show(report)
                missing = numbers.check(report)
                if missing is None:
                    continue
                orders.take(report)
            except (KeyError, ValueError, ArithmeticError, OSError) as error:
                refused += 1
                print(f"REFUSED {position.decode()}: {error!r}")
                continue
            if missing:
                print(f"LOST {missing} reports of {report['venue']}: trimmed before they were read; the archive has them")
            if not arguments.quiet:
                print(text)
    except KeyboardInterrupt:
        pass

    counted = Counter(orders.states.values())
    print("orders: " + (", ".join(f"{count} {state}" for state, count in sorted(counted.items())) or "none"))
    for (strategy, instrument, symbol), row in sorted(orders.positions.items()):
        words = f"bought {row['bought']} sold {row['sold']} cash {row['cash'].normalize():f}"
        print(f"position: {strategy} {instrument} {symbol} {row['position']} {words}")
    for (strategy, reason), count in sorted(orders.denials.items()):
        print(f"denied: {strategy} {reason} {count}")
    if refused:
        print(f"{refused} entries refused")


if __name__ == "__main__":
    main()
