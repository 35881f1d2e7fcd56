"""The features of table (g) in one asyncio process, tick by tick, windows in numpy: the original design's engine.

    asyncio_features.py FOLDER

FOLDER/ticks holds the session, 64 bytes a tick. A producer coroutine hands over 64 ticks at a time, as entries of a
stream come; the consumer keeps books of dicts, bars and windows, and publishes to a list. Prints one JSON line: time,
and what was published. Definitions: docs/features.md.
"""

import asyncio
import heapq
import json
import math
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np

TICK = np.dtype([
    ("ts_event", "<u8"), ("ts_recv", "<u8"), ("sequence", "<u8"), ("order_id", "<u8"),
    ("price", "<i8"), ("size", "<u4"), ("instrument_id", "<u4"), ("ts_in_delta", "<i4"),
    ("publisher_id", "<u2"), ("channel_id", "<u2"),
    ("action", "S1"), ("side", "S1"), ("flags", "u1"), ("depth", "u1"),
    ("source", "S1"), ("clock", "u1"), ("reserved", "<u2"),
])
ENTRY_TICKS = 64
BAR_NS = 250_000_000
EVERY_NS = 100_000_000
BUCKET, BUCKETS = 500, 50
KEEP = 61  # bars of the longest window, and the close before it
WARM = 61
VALUES = 25
NAN = math.nan


class Bars:
    """The last full bars, oldest first, in one array for each number."""

    def __init__(self):
        self.rows = np.zeros((6, 8 * KEEP))
        self.end = 0
        self.count = 0

    def push(self, *numbers):
        if self.end == self.rows.shape[1]:
            self.rows[:, :KEEP] = self.rows[:, -KEEP:]
            self.end = KEEP
        self.rows[:, self.end] = numbers
        self.end += 1
        self.count += 1

    def last(self, row, n):
        return self.rows[row, self.end - n : self.end]


CLOSE, VOLUME, VALUE, BOUGHT, SOLD, FLOW = range(6)


class Instrument:
    def __init__(self):
        self.orders = {}
        self.levels = {b"B": {}, b"A": {}}
        self.best = {b"B": None, b"A": None}
        self.quote = None
        self.bars = Bars()
        self.begin_bar()
        self.emas = [[12, 0.0, NAN], [26, 0.0, NAN]]
        self.gain = self.loss = 0.0
        self.rsi = NAN
        self.filled = self.signed = 0
        self.buckets = deque(maxlen=BUCKETS)
        self.session_volume = self.session_value = 0
        self.interval = None
        self.was_warm = None
        self.windows = [NAN] * 17
        self.stale = False

    def begin_bar(self):
        self.trades = self.volume = self.value = self.bought = self.sold = self.flow = self.close = 0
        self.bar = None

    def add(self, order_id, side, price, size):
        self.orders[order_id] = (side, price, size)
        levels = self.levels[side]
        levels[price] = levels.get(price, 0) + size
        best = self.best[side]
        if best is None or (price > best if side == b"B" else price < best):
            self.best[side] = price

    def cancel(self, order_id):
        side, price, size = self.orders.pop(order_id)
        levels = self.levels[side]
        if levels[price] == size:
            del levels[price]
            if price == self.best[side]:
                pick = max if side == b"B" else min
                self.best[side] = pick(levels) if levels else None
        else:
            levels[price] -= size

    def trade(self, now, price, size, side):
        sign = {b"B": 1, b"A": -1}.get(side, 0)
        self.session_volume += size
        self.session_value += price * size
        left = size
        while left >= BUCKET - self.filled:
            room = BUCKET - self.filled
            self.buckets.append(abs(self.signed + sign * room))
            left -= room
            self.filled = self.signed = 0
        self.filled += left
        self.signed += sign * left
        if self.trades == 0:
            self.bar = now // BAR_NS
        self.trades += 1
        self.close = price
        self.volume += size
        self.value += price * size
        self.bought += size if sign > 0 else 0
        self.sold += size if sign < 0 else 0

    def at(self, now):
        if self.trades and now // BAR_NS != self.bar:
            self.close_bar()

    def close_bar(self):
        bars = self.bars
        bars.push(self.close / 1e9, self.volume, self.value / 1e9, self.bought, self.sold, self.flow)
        self.begin_bar()
        self.stale = True
        close, count = bars.last(CLOSE, 1)[0], bars.count
        for ema in self.emas:
            n = ema[0]
            if count <= n:
                ema[1] += close
                ema[2] = ema[1] / n if count == n else NAN
            else:
                ema[2] += (close - ema[2]) * 2 / (n + 1)
        if count > 1:
            change = close - bars.last(CLOSE, 2)[0]
            gain, loss, n = max(change, 0), max(-change, 0), 14
            if count - 1 <= n:
                self.gain += gain / n
                self.loss += loss / n
            else:
                self.gain = (self.gain * (n - 1) + gain) / n
                self.loss = (self.loss * (n - 1) + loss) / n
            if count - 1 >= n and self.gain + self.loss > 0:
                self.rsi = 100 * self.gain / (self.gain + self.loss)

    def look(self):
        bid, ask = self.best[b"B"], self.best[b"A"]
        before = self.quote
        if bid is None or ask is None:
            self.quote = None
            return
        quote = self.quote = (bid, self.levels[b"B"][bid], ask, self.levels[b"A"][ask])
        if before is None or before == quote:
            return
        flow = 0
        if quote[0] >= before[0]:
            flow += quote[1]
        if quote[0] <= before[0]:
            flow -= before[1]
        if quote[2] <= before[2]:
            flow -= quote[3]
        if quote[2] >= before[2]:
            flow += before[3]
        self.flow += flow

    def make_windows(self):
        bars, out = self.bars, [NAN] * 17
        have = bars.count
        last = bars.last
        for at, n in ((0, 10), (1, 60)):
            if have >= n:
                out[at] = last(FLOW, n).sum()
                bought, sold = last(BOUGHT, n).sum(), last(SOLD, n).sum()
                out[2 + at] = (bought - sold) / (bought + sold)
        if have >= 31:
            x, y = last(BOUGHT, 30) - last(SOLD, 30), np.diff(last(CLOSE, 31))
            x = x - x.mean()
            xx = (x * x).sum()
            out[4] = (x * (y - y.mean())).sum() / xx if xx > 0 else NAN
            closes = last(CLOSE, 31)
            out[5] = (np.abs(closes[1:] / closes[:-1] - 1) / last(VALUE, 30)).mean()
        for at, n in ((6, 20), (7, 60)):
            if have >= n:
                out[at] = last(VALUE, n).sum() / last(VOLUME, n).sum()
                out[2 + at] = last(CLOSE, n).mean()
        out[10], out[11], out[12] = self.emas[0][2], self.emas[1][2], self.rsi
        if have >= 20:
            middle, sigma = last(CLOSE, 20).mean(), last(CLOSE, 20).std()
            out[13:16] = middle + 2 * sigma, middle, middle - 2 * sigma
        volatility = [NAN, NAN]
        for at, n in ((0, 30), (1, 60)):
            if have > n:
                volatility[at] = math.sqrt((np.diff(np.log(last(CLOSE, n + 1))) ** 2).sum())
        self.windows = out[:16] + volatility
        self.stale = False

    def values(self):
        quotes = [NAN] * 5
        if self.quote is not None:
            bid, bids, ask, asks = self.quote
            depth = lambda side, pick: sum(self.levels[side][price] for price in pick(5, self.levels[side]))
            b5, a5 = depth(b"B", heapq.nlargest), depth(b"A", heapq.nsmallest)
            quotes = [
                (ask - bid) / 1e9,
                (bid / 1e9 + ask / 1e9) / 2,
                (bid * asks + ask * bids) / 1e9 / (bids + asks),
                (bids - asks) / (bids + asks),
                (b5 - a5) / (b5 + a5),
            ]
        if self.stale:
            self.make_windows()
        w = self.windows if len(self.windows) == 18 else [NAN] * 18
        vpin = sum(self.buckets) / (BUCKETS * BUCKET) if len(self.buckets) == BUCKETS else NAN
        session = self.session_value / 1e9 / self.session_volume if self.session_volume else NAN
        return quotes + w[0:6] + [vpin] + w[6:8] + [session] + w[8:18]

    def due(self, now):
        warm = self.bars.count >= WARM and len(self.buckets) == BUCKETS and self.session_volume > 0
        interval = now // EVERY_NS
        timely = interval != self.interval
        if not timely and warm == self.was_warm:
            return False
        if timely:
            self.interval = interval
        self.was_warm = warm
        return True


async def produce(ticks, queue):
    for at in range(0, len(ticks), ENTRY_TICKS):
        await queue.put(ticks[at : at + ENTRY_TICKS])
    await queue.put(None)


async def consume(queue, records):
    instruments = {}
    while (entry := await queue.get()) is not None:
        columns = [entry[name].tolist() for name in
                   ("ts_recv", "order_id", "price", "size", "instrument_id", "action", "side", "flags")]
        for now, order_id, price, size, instrument_id, action, side, flags in zip(*columns):
            if instrument_id == 0:
                continue
            one = instruments.get(instrument_id)
            if one is None:
                one = instruments[instrument_id] = Instrument()
            one.at(now)
            if action == b"A":
                one.add(order_id, side, price, size)
            elif action == b"C":
                one.cancel(order_id)
            elif action == b"T":
                one.trade(now, price, size, side)
            if flags & 128:
                one.look()
                if one.due(now):
                    records.append(one.values())


async def main():
    ticks = np.fromfile(Path(sys.argv[1]) / "ticks", TICK)
    records = []
    queue = asyncio.Queue(16)
    began = time.perf_counter_ns()
    await asyncio.gather(produce(ticks, queue), consume(queue, records))
    ns = time.perf_counter_ns() - began
    sums = np.nansum(np.array(records), axis=0)
    assert len(sums) == VALUES
    print(json.dumps({"ns": ns, "published": {"records": len(records), "sums": sums.tolist()}}))


asyncio.run(main())
