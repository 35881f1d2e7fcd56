"""The features of table (g) with pandas, vectorised, as a quant writes them over a day that is on disk.

    pandas_features.py FOLDER

FOLDER/ticks holds the session, 64 bytes a tick; FOLDER/quotes.csv the best quotes and five levels' sizes at each
event's end, which spares pandas the book. Prints one JSON line: time, and what was published. Definitions:
docs/features.md.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

TICK = np.dtype([
    ("ts_event", "<u8"), ("ts_recv", "<u8"), ("sequence", "<u8"), ("order_id", "<u8"),
    ("price", "<i8"), ("size", "<u4"), ("instrument_id", "<u4"), ("ts_in_delta", "<i4"),
    ("publisher_id", "<u2"), ("channel_id", "<u2"),
    ("action", "S1"), ("side", "S1"), ("flags", "u1"), ("depth", "u1"),
    ("source", "S1"), ("clock", "u1"), ("reserved", "<u2"),
])
BAR_NS = 250_000_000
EVERY_NS = 100_000_000
BUCKET, BUCKETS = 500, 50
WARM = 61


def order_flow(quotes):
    before = quotes.shift(1)
    flow = (
        (quotes.bid >= before.bid) * quotes.bid_size
        - (quotes.bid <= before.bid) * before.bid_size
        - (quotes.ask <= before.ask) * quotes.ask_size
        + (quotes.ask >= before.ask) * before.ask_size
    )
    return flow.where(before.bid.notna() & before.ask.notna() & quotes.bid.notna() & quotes.ask.notna(), 0.0)


def seeded(series, n, alpha):
    """An exponential average whose first value is the mean of the first n."""
    if len(series) < n:
        return pd.Series(np.nan, series.index)
    start = series.copy()
    start.iloc[: n - 1] = np.nan
    start.iloc[n - 1] = series.iloc[:n].mean()
    return start.ewm(alpha=alpha, adjust=False).mean()


def bar_values(bars):
    close, previous = bars.close, bars.close.shift(1)
    change = close - previous
    returns = np.log(close / previous)
    signed = bars.bought - bars.sold
    out = pd.DataFrame(index=bars.index)
    for n in (10, 60):
        out[f"ofi_{n}"] = bars.flow.rolling(n).sum()
    for n in (10, 60):
        bought, sold = bars.bought.rolling(n).sum(), bars.sold.rolling(n).sum()
        out[f"trade_imbalance_{n}"] = (bought - sold) / (bought + sold)
    out["kyle_lambda"] = signed.iloc[1:].rolling(30).cov(change.iloc[1:]) / signed.iloc[1:].rolling(30).var()
    out["amihud"] = ((close / previous - 1).abs() / bars.value).rolling(30).mean()
    for n in (20, 60):
        out[f"vwap_{n}"] = bars.value.rolling(n).sum() / bars.volume.rolling(n).sum()
    for n in (20, 60):
        out[f"sma_{n}"] = close.rolling(n).mean()
    for n in (12, 26):
        out[f"ema_{n}"] = seeded(close, n, 2 / (n + 1))
    gain = seeded(change.iloc[1:].clip(lower=0), 14, 1 / 14)
    loss = seeded((-change.iloc[1:]).clip(lower=0), 14, 1 / 14)
    out["rsi"] = 100 * gain / (gain + loss)
    middle, sigma = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    out["upper"], out["middle"], out["lower"] = middle + 2 * sigma, middle, middle - 2 * sigma
    for n in (30, 60):
        out[f"volatility_{n}"] = np.sqrt((returns**2).rolling(n).sum())
    return out


def features(quotes, trades):
    """The published records of one instrument."""
    time_ns, trade_ns = quotes.time.to_numpy(), trades.time.to_numpy()
    trades = trades.assign(
        value=trades.price * trades["size"],
        bought=trades["size"].where(trades.side == b"B", 0),
        sold=trades["size"].where(trades.side == b"A", 0),
        interval=trade_ns // BAR_NS,
    )
    grouped = trades.groupby("interval")
    bars = grouped[["size", "value", "bought", "sold"]].sum().rename(columns={"size": "volume"})
    bars["close"] = grouped.price.last()
    number = np.searchsorted(bars.index.to_numpy(), time_ns // BAR_NS, side="left")
    flow = order_flow(quotes).groupby(number).sum()
    bars["flow"] = flow.reindex(range(len(bars)), fill_value=0.0).to_numpy()

    traded = np.cumsum(trades["size"].to_numpy())
    signed = np.cumsum((trades.bought - trades.sold).to_numpy())
    edges = np.arange(0, traded[-1] + 1, BUCKET) if len(traded) else np.array([0])
    at_edges = np.interp(edges, np.concatenate([[0], traded]), np.concatenate([[0], signed]))
    buckets = pd.Series(np.abs(np.diff(at_edges))).rolling(BUCKETS).sum() / (BUCKETS * BUCKET)
    seen = np.searchsorted(trade_ns, time_ns, side="right")
    volume = np.concatenate([[0], traded])[seen]
    value = np.concatenate([[0], np.cumsum(trades.value.to_numpy())])[seen]

    warm = (number >= WARM) & (volume // BUCKET >= BUCKETS)
    interval = time_ns // EVERY_NS
    due = np.concatenate([[True], (np.diff(interval) != 0) | (np.diff(warm.astype(int)) != 0)])
    quotes, number, volume, value = quotes[due], number[due], volume[due], value[due]

    bids, asks = quotes.bid_size, quotes.ask_size
    out = pd.DataFrame(index=quotes.index)
    out["spread"] = quotes.ask - quotes.bid
    out["mid"] = (quotes.bid + quotes.ask) / 2
    out["microprice"] = (quotes.bid * asks + quotes.ask * bids) / (bids + asks)
    out["imbalance_1"] = (bids - asks) / (bids + asks)
    out["imbalance_5"] = ((quotes.bids_5 - quotes.asks_5) / (quotes.bids_5 + quotes.asks_5)).where(bids.notna() & asks.notna())
    of_bars = bar_values(bars)
    pick = np.vstack([np.full((1, of_bars.shape[1]), np.nan), of_bars.to_numpy()])[number]
    for at, name in enumerate(of_bars.columns):
        out[name] = pick[:, at]
    out.insert(11, "vpin", np.concatenate([[np.nan], buckets])[volume // BUCKET])
    out.insert(14, "vwap_session", value / np.where(volume > 0, volume, np.nan))
    return out


def main():
    folder = Path(sys.argv[1])
    ticks = np.fromfile(folder / "ticks", TICK)
    quotes = pd.read_csv(folder / "quotes.csv")
    began = time.perf_counter_ns()
    of = ticks[ticks["action"] == b"T"]
    trades = pd.DataFrame({
        "time": of["ts_recv"].astype("int64"), "instrument": of["instrument_id"], "price": of["price"] / 1e9,
        "size": of["size"].astype("int64"), "side": of["side"],
    })
    quotes[["bid", "ask"]] /= 1e9
    by_instrument = dict(list(trades.groupby("instrument")))
    records = pd.concat(
        [features(of, by_instrument.get(one, trades.iloc[:0])) for one, of in quotes.groupby("instrument")]
    )
    ns = time.perf_counter_ns() - began
    sums = np.nansum(records.to_numpy(), axis=0)
    print(json.dumps({"ns": ns, "published": {"records": len(records), "sums": sums.tolist()}}))


if __name__ == "__main__":
    main()
