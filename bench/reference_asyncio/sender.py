"""Order sender: `order_instructions` to a venue as OUCH 5.0 over SoupBinTCP, its answers to `execution_reports`.

    python -m reference_asyncio.sender --redis SOCKET --venue ADDRESS:PORT
"""

import argparse
import asyncio
import struct
import time

from . import bus

PACKET = struct.Struct(">Hc")  # length of what follows it, type
LOGIN = struct.Struct(">6s10s10s20s")  # user, password, session, sequence
ENTER = struct.Struct(">cIcI8sQccccc14sH")  # ends with the length of the appendage
# The beginnings of the answers: type, time, user reference, then
ACCEPTED = struct.Struct(">cQI")
EXECUTED = struct.Struct(">cQIIQ")  # quantity, price
SIDES = {b"buy": b"B", b"sell": b"S", b"sell_short": b"T"}
TIMES = {b"day": b"0", b"ioc": b"3"}
HEARTBEAT_S = 1.0


def units(text):
    """A decimal price as 1/10000."""
    whole, _, part = text.partition(b".")
    return int(whole) * 10_000 + int(part.ljust(4, b"0")[:4])


class Sender:
    def __init__(self, client, reader, writer):
        self.client = client
        self.reader = reader
        self.writer = writer
        self.orders = {}
        self.sent = 0
        self.answers = 0

    def send(self, kind, payload=b""):
        self.writer.write(PACKET.pack(len(payload) + 1, kind) + payload)

    async def receive(self):
        length, kind = PACKET.unpack(await self.reader.readexactly(PACKET.size))
        return kind, await self.reader.readexactly(length - 1)

    async def log_in(self):
        self.send(b"L", LOGIN.pack(b"BENCH ", b"BENCH     ", b" " * 10, b"0".rjust(20)))
        kind, _ = await self.receive()
        if kind != b"A":
            raise RuntimeError(f"the venue answers the login with {kind!r}")

    async def orders_out(self):
        async for _, fields in bus.read(self.client, bus.ORDERS):
            self.sent += 1
            number = self.sent
            self.orders[number] = fields
            self.send(b"U", ENTER.pack(
                b"O", number, SIDES[fields[b"side"]], int(fields[b"quantity"]), fields[b"symbol"].ljust(8),
                units(fields[b"price"]), TIMES[fields[b"tif"]], b"Y", b"P", b"N", b"N", fields[b"id"].ljust(14), 0,
            ))
            await self.writer.drain()

    async def answers_in(self):
        while True:
            kind, payload = await self.receive()
            if kind != b"S":
                continue
            self.answers += 1
            letter, _, number = ACCEPTED.unpack_from(payload)
            order = self.orders.get(number)
            if order is None:
                continue
            report = {
                "v": 1, "id": order[b"id"], "instrument": order[b"instrument"], "side": order[b"side"],
                "last_quantity": 0, "cause_ns": order[b"cause_ns"], "time_ns": time.time_ns(),
            }
            if letter == b"A":
                report["kind"] = "accepted"
            elif letter == b"E":
                report["kind"] = "filled"
                report["last_quantity"] = EXECUTED.unpack_from(payload)[3]
            elif letter == b"C":
                report["kind"] = "cancelled"
            else:
                report["kind"] = "rejected"
            await bus.add(self.client, bus.REPORTS, report)

    async def heartbeats(self):
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.send(b"R")

    async def work(self):
        await asyncio.gather(self.orders_out(), self.answers_in(), self.heartbeats())

    def counted(self):
        return {"sent": self.sent, "answers": self.answers}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--venue", required=True)
    arguments = parser.parse_args()
    address, port = arguments.venue.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(address, int(port))
    sender = Sender(await bus.connect(arguments.redis), reader, writer)
    await sender.log_in()
    await bus.run(sender.work(), sender.counted)


if __name__ == "__main__":
    asyncio.run(main())
