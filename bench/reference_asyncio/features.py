"""Features of each instrument from `raw_market_data` into `calculated_features`, at most every 100 ms of each.

    python -m reference_asyncio.features --redis SOCKET

mid, imbalance and vwap are what docs/features.md calls mid, imbalance_1 and vwap_session; ofi is the order flow (Cont,
Kukanov, Stoikov) of the last OFI_QUOTES changes of the quote.
"""

import argparse
import asyncio

import numpy as np

from . import bus
from .book import Book
from .itch import TICK_DTYPE

EVERY_NS = 100_000_000
OFI_QUOTES = 100
SCALE = 1e4
VALUES = np.dtype([("vwap", "<f8"), ("mid", "<f8"), ("imbalance", "<f8"), ("ofi", "<f8")])


def order_flow(before, now):
    flow = 0
    if now[0] >= before[0]:
        flow += now[1]
    if now[0] <= before[0]:
        flow -= before[1]
    if now[2] <= before[2]:
        flow -= now[3]
    if now[2] >= before[2]:
        flow += before[3]
    return flow


class Instrument:
    def __init__(self):
        self.book = Book()
        self.quote = None
        self.volume = self.value = 0
        self.flows = np.zeros(OFI_QUOTES)
        self.at = 0
        self.published = 0

    def tick(self, action, side, price, size):
        if action == b"T" or action == b"P":
            self.volume += size
            self.value += price * size
        if self.book.apply(action, side, price, size):
            quote = self.book.quote()
            if quote != self.quote:
                if quote and self.quote:
                    self.flows[self.at % OFI_QUOTES] = order_flow(self.quote, quote)
                    self.at += 1
                self.quote = quote

    def values(self):
        bid, bids, ask, asks = self.quote
        vwap = self.value / self.volume / SCALE if self.volume else np.nan
        return np.array(
            (vwap, (bid + ask) / 2 / SCALE, (bids - asks) / (bids + asks), self.flows.sum()), VALUES
        )


class Features:
    def __init__(self, client):
        self.client = client
        self.instruments = {}
        self.ticks = 0
        self.written = 0

    def entry(self, data):
        """The records that the entry's ticks make due."""
        ticks = np.frombuffer(data, TICK_DTYPE)
        self.ticks += len(ticks)
        names = ("received", "sequence", "price", "size", "instrument", "action", "side")
        columns = [ticks[name].tolist() for name in names]
        due = []
        for received, sequence, price, size, instrument, action, side in zip(*columns):
            one = self.instruments.get(instrument)
            if one is None:
                one = self.instruments[instrument] = Instrument()
            one.tick(action, side, price, size)
            if received - one.published >= EVERY_NS and one.quote:
                one.published = received
                due.append({"i": instrument, "t": received, "s": sequence, "v": one.values().tobytes()})
        return due

    async def work(self):
        async for _, fields in bus.read(self.client, bus.TICKS):
            for record in self.entry(fields[b"d"]):
                await bus.add(self.client, bus.FEATURES, record)
                self.written += 1

    def counted(self):
        return {"ticks": self.ticks, "written": self.written}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    arguments = parser.parse_args()
    features = Features(await bus.connect(arguments.redis))
    await bus.run(features.work(), features.counted)


if __name__ == "__main__":
    asyncio.run(main())
