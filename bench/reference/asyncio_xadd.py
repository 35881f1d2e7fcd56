"""Ticks per second into Redis from Python asyncio, one XADD a tick: the original design's publisher.

    asyncio_xadd.py SOCKET TICKS [DEPTH]

DEPTH XADDs go out together in one pipeline; 1 (the default) awaits each. Prints one JSON line.
"""

import asyncio
import json
import sys
import time

import redis.asyncio as redis


async def main():
    path, ticks = sys.argv[1], int(sys.argv[2])
    depth = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    client = redis.Redis(unix_socket_path=path)
    await client.ping()
    tick = bytes(64)
    began = time.perf_counter_ns()
    for sequence in range(0, ticks, depth):
        if depth == 1:
            await client.xadd("raw_market_data", {"c": 1, "s": sequence, "n": 1, "d": tick}, maxlen=1_000_000)
            continue
        pipe = client.pipeline(transaction=False)
        for at in range(sequence, min(sequence + depth, ticks)):
            pipe.xadd("raw_market_data", {"c": 1, "s": at, "n": 1, "d": tick}, maxlen=1_000_000)
        await pipe.execute()
    ns = time.perf_counter_ns() - began
    await client.aclose()
    print(json.dumps({"ticks": ticks, "ns": ns}))


asyncio.run(main())
