#!/usr/bin/env python3
"""One picture of an instrument from the archive: price with VWAP and Bollinger bands, below it the book's imbalance.

    plot_features.py 'postgres:///feedplane?host=/run/postgresql&user=feedplane' AAPL --png aapl.png

Takes the middle and the imbalances from the set `quotes`, VWAP and bands from the set `seconds`. Gaps are red lines;
where a record is in doubt the line is broken. Needs the packages `psycopg`, `pandas` and `matplotlib`.
"""

import archive
import archive_pandas
import matplotlib.dates
import matplotlib.pyplot as plot
import pandas


# What spoils a line. WARMING_UP need not be asked: a value that is not there yet is NaN by itself.
BAD_BOOK, GAP_IN_WINDOW, BAD_TIME = 1, 2, 8


def column(table, prefix, doubts):
    """The one value whose name begins so, NaN where the record is in doubt."""
    names = [name for name in table.columns if name.startswith(prefix)]
    if not names:
        raise SystemExit(f"no value {prefix}… among {', '.join(table.columns)}")
    return table[names[0]].where(table["quality"] & doubts == 0), names[0]


def draw(quotes, bars, gaps, title):
    figure, (price, balance) = plot.subplots(
        2, 1, figsize=(12, 7), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    book, window = BAD_BOOK | BAD_TIME, GAP_IN_WINDOW | BAD_TIME
    middle, _ = column(quotes, "mid", book)
    price.step(quotes.index, middle, where="post", color="black", linewidth=0.8, label="mid")
    vwap, name = column(bars, "vwap_", window)
    price.plot(bars.index, vwap, color="tab:blue", linewidth=1.2, label=name)
    upper, name = column(bars, "bollinger_upper_", window)
    lower, _ = column(bars, "bollinger_lower_", window)
    price.fill_between(bars.index, lower, upper, color="tab:orange", alpha=0.25, linewidth=0, label=name.replace("_upper", ""))
    for name in (name for name in quotes.columns if name.startswith("imbalance_")):
        values, _ = column(quotes, name, book)
        balance.step(quotes.index, values, where="post", linewidth=0.7, label=name)
    balance.axhline(0, color="grey", linewidth=0.5)
    balance.set_ylim(-1.05, 1.05)
    for when in pandas.to_datetime(gaps["ts_recv"], unit="ns", utc=True):
        for panel in (price, balance):
            panel.axvline(when, color="red", linewidth=0.6, alpha=0.6)
    price.ticklabel_format(axis="y", useOffset=False)
    price.set_title(title)
    price.set_ylabel("price")
    balance.set_ylabel("imbalance")
    balance.set_xlabel("ts_recv, UTC")
    for panel in (price, balance):
        panel.legend(loc="upper left", fontsize="small", framealpha=0.8)
        panel.grid(alpha=0.3)
    balance.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(balance.xaxis.get_major_locator()))
    return figure


def main():
    options = archive.arguments(__doc__)
    options.add_argument("--quotes", default="quotes", help="feature set with mid and imbalance")
    options.add_argument("--bars", default="seconds", help="feature set with vwap and bollinger")
    options.add_argument("--png", required=True, help="file to write")
    given = options.parse_args()

    with archive.connect(given.database) as connection:
        span = archive.span(connection, given)
        quotes = archive_pandas.features(connection, span, given.quotes)
        bars = archive_pandas.features(connection, span, given.bars)
        gaps = archive_pandas.frame(connection, archive.GAPS, span)
    figure = draw(quotes, bars, gaps, f"{given.instrument}: {len(quotes)} quotes, {len(bars)} bar records, {len(gaps)} gaps")
    figure.savefig(given.png, dpi=110)
    print(f"{given.png}: {len(quotes)} quotes, {len(bars)} bar records, {len(gaps)} gaps")


if __name__ == "__main__":
    main()
