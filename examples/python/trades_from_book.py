#!/usr/bin/env python3
"""Every trade of an instrument with its price, also where the feed leaves it out: by rebuilding the book.

    trades_from_book.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' AAPL --begin 2026-01-05 --end 2026-01-06

ITCH does not repeat the price of an order that is executed: the trade's tick has none, and the book knows it. Begin before the
day's first order, or the orders that rest are not known. Needs the package `psycopg`.
"""

import archive
from plain_book import Books
from recompute_features import Tick

TICKS = """
SELECT row, ts_recv, sequence, order_id, price, size, instrument_id, publisher_id, channel_id,
       action::text, side::text, flags, depth
FROM ticks
WHERE publisher_id = %(publisher)s AND (instrument_id = %(instrument)s OR (instrument_id = 0 AND action = 'R'))
  AND time >= %(begin)s AND time < %(end)s
ORDER BY stream, row"""


def trades(connection, span):
    """(ns, price, size, aggressor) of each trade, and how many could not be priced as the last item."""
    books, result, unknown = Books(), [], 0
    with connection.cursor(name="ticks") as cursor:
        for tick in map(Tick._make, cursor.execute(TICKS, span)):
            _, trade, unpriced = books.apply(tick)
            unknown += unpriced
            if trade:
                price, size, aggressor = trade
                result.append((tick.ts_recv, price / 1e9, size, aggressor))
    return result, unknown


def main():
    given = archive.arguments(__doc__).parse_args()
    with archive.connect(given.database) as connection:
        found, unknown = trades(connection, archive.span(connection, given))
    volume = sum(size for _, _, size, _ in found)
    print(f"{len(found)} trades, {volume} traded, {unknown} without a price")
    for side, name in (("B", "bought"), ("A", "sold"), ("N", "not known")):
        print(f"  {name:<10} {sum(size for _, _, size, aggressor in found if aggressor == side)}")
    if volume:
        print(f"  VWAP       {sum(price * size for _, price, size, _ in found) / volume:.6f}")


if __name__ == "__main__":
    main()
