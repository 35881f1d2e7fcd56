"""Compares a table of trades and feature values with TA-Lib and numpy. Usage: oracle.py TABLE

First line: kind and size of the bars. Second: the values' names. Then for each trade: time (ns), price (1e-9),
size, side, and the values after it. Every number is made here from the whole series of bars, by other code than
the engine's: TA-Lib where it has the indicator, numpy else. Relative tolerance 1e-9.
"""

import sys

import numpy as np
import talib

TOLERANCE = 1e-9


def read(path):
    with open(path) as file:
        kind, size = file.readline().split()
        names = file.readline().split()
        rows = [line.split() for line in file]
    time = np.array([int(row[0]) for row in rows], dtype=np.int64)
    price = np.array([int(row[1]) for row in rows]) / 1e9
    quantity = np.array([int(row[2]) for row in rows], dtype=float)
    sign = np.array([{"B": 1.0, "A": -1.0}.get(row[3], 0.0) for row in rows])
    values = {name: np.array([float(row[4 + at]) for row in rows]) for at, name in enumerate(names)}
    return kind, int(size), time, price, quantity, sign, values


def bar_of_trade(kind, size, time, quantity):
    """The number of each trade's bar, and how many bars are full after each trade."""
    if kind == "trades":
        bar = np.arange(len(time)) // size
        full = np.arange(1, len(time) + 1) // size
    elif kind == "time_ms":
        _, bar = np.unique(time // (size * 1_000_000), return_inverse=True)
        full = bar
    else:
        bar, full, number, volume = [], [], 0, 0
        for traded in quantity:
            bar.append(number)
            volume += traded
            if volume >= size:
                number, volume = number + 1, 0
            full.append(number)
    return np.array(bar), np.array(full)


def windows(series, n):
    return np.lib.stride_tricks.sliding_window_view(series, n)


def padded(values, length):
    return np.concatenate([np.full(length - len(values), np.nan), values])


def rsi(close, n):
    """TA-Lib's, but NaN while nothing has ever moved."""
    moved = np.concatenate([[False], np.maximum.accumulate(np.abs(np.diff(close))) > 0])
    return np.where(moved, talib.RSI(close, n), np.nan)


def feature(name, bars):
    close, volume, value, bought, sold = bars
    length = len(close)
    kind, n = name.rsplit("_", 2)[0], int(name.rsplit("_", 2)[1])
    if kind == "sma":
        return talib.SMA(close, n)
    if kind == "ema":
        return talib.EMA(close, n)
    if kind == "rsi":
        return rsi(close, n)
    if kind == "vwap":
        return padded(windows(value, n).sum(axis=1) / windows(volume, n).sum(axis=1), length)
    if kind == "realised_volatility":
        return padded(np.sqrt((windows(np.diff(np.log(close)), n) ** 2).sum(axis=1)), length)
    if kind == "trade_imbalance":
        b, s = windows(bought, n).sum(axis=1), windows(sold, n).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return padded((b - s) / (b + s), length)
    if kind == "amihud":
        return padded(windows(np.abs(close[1:] / close[:-1] - 1) / value[1:], n).mean(axis=1), length)
    if kind == "kyle_lambda":
        x, y = windows((bought - sold)[1:], n), windows(np.diff(close), n)
        slopes = [np.nan if np.ptp(a) == 0 else np.cov(a, b)[0, 1] / np.var(a, ddof=1) for a, b in zip(x, y)]
        return padded(np.array(slopes), length)
    raise ValueError(name)


def bollinger(name, close):
    _, band, n, deviations, _ = name.split("_")
    upper, middle, lower = talib.BBANDS(close, int(n), float(deviations), float(deviations))
    return {"upper": upper, "middle": middle, "lower": lower}[band]


def vpin(name, quantity, sign):
    """One entry for each unit traded, so that buckets are plain slices."""
    _, buckets, size = name.split("_")
    buckets, size = int(buckets), int(size.removesuffix("volume"))
    units = np.repeat(sign, quantity.astype(int))
    whole = len(units) // size
    imbalance = np.abs(units[: whole * size].reshape(whole, size).sum(axis=1))
    series = padded(windows(imbalance, buckets).sum(axis=1) / (buckets * size), whole)
    return series, np.cumsum(quantity).astype(int) // size


def session(time, price, quantity):
    day = time // (86_400 * 1_000_000_000)
    result = np.empty(len(time))
    for one in np.unique(day):
        of = day == one
        result[of] = np.cumsum(price[of] * quantity[of]) / np.cumsum(quantity[of])
    return result


def main():
    kind, size, time, price, quantity, sign, values = read(sys.argv[1])
    bar, full = bar_of_trade(kind, size, time, quantity)
    starts = np.flatnonzero(np.diff(bar, prepend=-1))
    total = lambda series: np.add.reduceat(series, starts)
    close = price[np.append(starts[1:], len(price)) - 1]
    bars = (close, total(quantity), total(price * quantity), total(quantity * (sign > 0)), total(quantity * (sign < 0)))
    for name, have in values.items():
        if name.startswith("vwap_session"):
            want = session(time, price, quantity)
        elif name.startswith("vpin"):
            series, buckets = vpin(name, quantity, sign)
            want = np.concatenate([[np.nan], series])[buckets]
        else:
            series = bollinger(name, close) if name.startswith("bollinger") else feature(name, bars)
            want = np.concatenate([[np.nan], series])[full]
        assert np.count_nonzero(np.isfinite(want)) > 100, f"{name}: too little to compare"
        close_enough = np.isclose(have, want, rtol=TOLERANCE, atol=1e-15, equal_nan=True)
        if not close_enough.all():
            at = int(np.flatnonzero(~close_enough)[0])
            sys.exit(f"{name}: after trade {at} the engine has {have[at]!r}, the reference {want[at]!r}")
    print(f"{len(values)} features agree on {len(close)} bars")


if __name__ == "__main__":
    main()
