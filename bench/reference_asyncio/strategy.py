"""Order-flow momentum: buys while the order flow says that the price will rise, sells while it says the opposite.

    python -m reference_asyncio.strategy --redis SOCKET [--enter-ticks N] [--pause-ms N]

Reads `raw_market_data`, `calculated_features` and `execution_reports`, writes `order_instructions`. The expected move, in
ticks, is the feature ofi over the shares at the best prices. When it is far enough, an immediate-or-cancel order at the
other side's best price; one of an instrument in the pause, and never further than POSITION_MAX from flat.
"""

import argparse
import asyncio
import itertools
import time

import numpy as np

from . import bus
from .book import Book
from .features import VALUES
from .itch import TICK_DTYPE

QUANTITY = 100
POSITION_MAX = 1_000
NAME = "momentum"
VENUE = "sim"


def price_text(price):
    return f"{price // 10_000}.{price % 10_000:04d}"


class Instrument:
    def __init__(self):
        self.book = Book()
        self.ofi = 0.0
        self.position = 0
        self.ordered = 0


class Strategy:
    def __init__(self, client, enter, pause_ns):
        self.client = client
        self.enter = enter
        self.pause_ns = pause_ns
        self.instruments = {}
        self.symbols = {}
        self.numbers = itertools.count(1)
        self.ticks = 0
        self.written = 0

    def instrument(self, number):
        one = self.instruments.get(number)
        if one is None:
            one = self.instruments[number] = Instrument()
        return one

    def decide(self, one, number, received):
        """An order, if the book and the flow are a reason for one."""
        if received - one.ordered < self.pause_ns:
            return None
        quote = one.book.quote()
        if quote is None:
            return None
        bid, bids, ask, asks = quote
        move = one.ofi / (bids + asks)
        if move >= self.enter and one.position < POSITION_MAX:
            way, price = "buy", ask
        elif move <= -self.enter and one.position > -POSITION_MAX:
            way, price = "sell", bid
        else:
            return None
        one.ordered = received
        return {
            "v": 1, "id": f"R{next(self.numbers):09d}", "action": "new", "side": way, "quantity": QUANTITY,
            "price": price_text(price), "tif": "ioc", "venue": VENUE, "publisher": 1, "instrument": number,
            "symbol": self.symbols[number], "strategy": NAME, "cause_ns": received, "created_ns": time.time_ns(),
        }

    def on_ticks(self, data):
        ticks = np.frombuffer(data, TICK_DTYPE)
        self.ticks += len(ticks)
        columns = [ticks[name].tolist() for name in ("received", "price", "size", "instrument", "action", "side")]
        orders = []
        for received, price, size, number, action, side in zip(*columns):
            one = self.instrument(number)
            if one.book.apply(action, side, price, size):
                order = self.decide(one, number, received)
                if order:
                    orders.append(order)
        return orders

    def on_features(self, fields):
        values = np.frombuffer(fields[b"v"], VALUES)[0]
        self.instrument(int(fields[b"i"])).ofi = float(values["ofi"])

    def on_report(self, fields):
        if fields[b"kind"] == b"filled":
            sign = 1 if fields[b"side"] == b"buy" else -1
            self.instrument(int(fields[b"instrument"])).position += sign * int(fields[b"last_quantity"])

    async def work(self):
        async for stream, fields in bus.read(self.client, bus.TICKS, bus.FEATURES, bus.REPORTS):
            if stream == bus.FEATURES:
                self.on_features(fields)
            elif stream == bus.REPORTS:
                self.on_report(fields)
            else:
                if not self.symbols:
                    table = await self.client.hgetall(bus.SYMBOLS)
                    self.symbols = {int(number): symbol.decode() for number, symbol in table.items()}
                for order in self.on_ticks(fields[b"d"]):
                    await bus.add(self.client, bus.ORDERS, order)
                    self.written += 1

    def counted(self):
        return {"ticks": self.ticks, "written": self.written}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--enter-ticks", type=float, default=0.5)
    parser.add_argument("--pause-ms", type=int, default=50)
    arguments = parser.parse_args()
    client = await bus.connect(arguments.redis)
    strategy = Strategy(client, arguments.enter_ticks, arguments.pause_ms * 1_000_000)
    await bus.run(strategy.work(), strategy.counted)


if __name__ == "__main__":
    asyncio.run(main())
