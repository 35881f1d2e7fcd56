#!/usr/bin/env python3
"""Orders from the archive as pandas data frames: latencies, positions, denials, and what every trade cost.

    orders_archive.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' AAPL --strategy quoter
    orders_archive.py … 2:42 --begin 2026-01-05T14:30 --end 2026-01-05T15:00

Slippage is what was paid above the middle (sold below it) that the strategy saw: the last record of the feature set that
carries `mid`, at `cause_ns`, the time of the tick that brought the order about. It is there with the record, because a
record knows the event whose time it carries. Needs the packages `psycopg` and `pandas`.
"""

import archive
import pandas
from archive_pandas import features, frame

BAD_BOOK = 1

# One instrument and a span of time: what the indexes are for. A strategy is optional.
OWN = f"{archive.SPAN} AND (%(strategy)s::text IS NULL OR strategy = %(strategy)s)"

ORDERS = f"""
SELECT id, strategy, action, of, side, quantity, price, state, filled, leaves, average_price, reason,
       tick_to_order_ns, tick_to_sent_ns, round_trip_ns
FROM orders WHERE {OWN} ORDER BY time, id"""

FILLS = f"""
SELECT time_ns, cause_ns, strategy, id, side, quantity::float8 AS quantity, price, execution
FROM fills WHERE {OWN} ORDER BY stream, row"""

POSITIONS = """
SELECT strategy, symbol, position, bought, sold, average_bought, average_sold, cash
FROM positions WHERE publisher_id = %(publisher)s AND instrument_id = %(instrument)s ORDER BY strategy"""

DENIALS = """
SELECT day, strategy, by, reason, count, last_text
FROM denials WHERE first_time < %(end)s AND last_time >= %(begin)s ORDER BY day, count DESC"""


def slippage(fills, mids):
    """The fills with `mid` at their cause and `slippage`: what each unit cost more than the middle; negative is gained."""
    fills = fills.sort_values("cause_ns")
    fills["cause"] = pandas.to_datetime(fills["cause_ns"], unit="ns", utc=True).dt.as_unit("ns")
    joined = pandas.merge_asof(fills, mids, left_on="cause", right_index=True, direction="backward")
    sign = joined["side"].map({"buy": 1.0, "sell": -1.0, "sell_short": -1.0})
    joined["slippage"] = sign * (joined["price"] - joined["mid"])
    return joined


def quantiles(values):
    """Median, 99 of 100 and 999 of 1000, in microseconds."""
    values = values.dropna().astype(float) / 1000
    if values.empty:
        return "none"
    return " ".join(f"p{100 * at:g}={values.quantile(at):.1f}" for at in (0.5, 0.99, 0.999)) + f" µs of {len(values)}"


def main():
    options = archive.arguments(__doc__)
    options.add_argument("--strategy", help="only of this one")
    options.add_argument("--set", default="quotes", help="feature set that has mid")
    given = options.parse_args()

    with archive.connect(given.database) as connection:
        span = archive.span(connection, given) | {"strategy": given.strategy}
        orders = frame(connection, ORDERS, span)
        fills = frame(connection, FILLS, span)
        positions = frame(connection, POSITIONS, span)
        denials = frame(connection, DENIALS, span)
        calculated = features(connection, span, given.set)

    states = orders["state"].value_counts().sort_index()
    print(f"{len(orders)} orders: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    for latency in ("tick_to_order_ns", "tick_to_sent_ns", "round_trip_ns"):
        print(f"{latency[:-3]}: {quantiles(orders[latency])}")

    # A middle of a book that is not good is no measure.
    mids = calculated.loc[calculated["quality"] & BAD_BOOK == 0, ["mid"]].dropna().sort_index()
    # A trade of an order that no tick caused has nothing to be measured against; one that was never told has no price.
    measured = fills[(fills["cause_ns"] != 0) & fills["price"].notna()]
    joined = slippage(measured, mids).dropna(subset=["mid"])
    print(f"{len(fills)} fills, {fills['quantity'].sum():.0f} traded, {len(joined)} with a middle at their cause")
    if not joined.empty:
        cost = (joined["slippage"] * joined["quantity"]).sum()
        print(f"slippage {cost / joined['quantity'].sum():.6g} a unit, {cost:.6g} in all")
        print(joined[["cause", "id", "side", "quantity", "price", "mid", "slippage"]].tail(3).to_string(index=False))
    for row in positions.itertuples():
        print(f"position: {row.strategy} {row.symbol} {row.position}, bought {row.bought}, sold {row.sold}, cash {row.cash:.6g}")
    for row in denials.itertuples():
        print(f"denied: {row.day} {row.strategy} by {row.by} {row.reason} {row.count}: {row.last_text}")


if __name__ == "__main__":
    main()
