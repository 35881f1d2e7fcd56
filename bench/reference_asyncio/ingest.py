"""Feed handler: both lines in, `raw_market_data` out, one XADD for the ticks that have gathered meanwhile.

    python -m reference_asyncio.ingest --redis SOCKET --a LINE --b LINE

A LINE is ADDRESS:PORT, or GROUP:PORT@INTERFACE_ADDRESS for a multicast group. Prints `ready`; when standard input
closes it prints what it counted, as JSON.
"""

import argparse
import asyncio
import time

from . import bus
from .itch import Decoder
from .lines import Line, open_socket

ENTRY_TICKS_MAX = 512


class Ingest:
    def __init__(self, client):
        self.client = client
        self.decoder = Decoder()
        self.symbols_written = 0
        self.written = 0
        self.some = asyncio.Event()

    def packet(self, _line, data):
        self.decoder.packet(data, time.time_ns())
        if self.decoder.ticks:
            self.some.set()

    async def publish(self):
        decoder = self.decoder
        while True:
            await self.some.wait()
            if len(decoder.symbols) > self.symbols_written:
                await self.client.hset(bus.SYMBOLS, mapping=decoder.symbols)
                self.symbols_written = len(decoder.symbols)
            ticks = decoder.ticks[:ENTRY_TICKS_MAX]
            del decoder.ticks[:ENTRY_TICKS_MAX]
            await bus.add(self.client, bus.TICKS, {"n": len(ticks), "d": b"".join(ticks)})
            self.written += len(ticks)
            if not decoder.ticks:
                self.some.clear()

    def counted(self):
        decoder = self.decoder
        return {
            "packets": decoder.packets, "duplicates": decoder.duplicates, "lost": decoder.lost,
            "written": self.written, "waiting": len(decoder.ticks),
        }


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--a", required=True)
    parser.add_argument("--b", required=True)
    arguments = parser.parse_args()
    ingest = Ingest(await bus.connect(arguments.redis))
    loop = asyncio.get_running_loop()
    for name, text in (("A", arguments.a), ("B", arguments.b)):
        await loop.create_datagram_endpoint(lambda name=name: Line(name, ingest.packet), sock=open_socket(text))
    await bus.run(ingest.publish(), ingest.counted)


if __name__ == "__main__":
    asyncio.run(main())
