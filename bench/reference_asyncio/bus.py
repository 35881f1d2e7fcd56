"""Redis streams, as the processes of this design use them, and how a process of it starts and ends."""

import asyncio
import json
import os
import sys

import redis.asyncio as redis

TICKS = "raw_market_data"
FEATURES = "calculated_features"
ORDERS = "order_instructions"
REPORTS = "execution_reports"
SYMBOLS = "symbols"
ENTRIES_MAX = 131_072
READ_ENTRIES = 512
BLOCK_MS = 1_000


async def connect(socket):
    client = redis.Redis(unix_socket_path=socket)
    await client.ping()
    return client


async def add(client, stream, fields):
    await client.xadd(stream, fields, maxlen=ENTRIES_MAX, approximate=True)


async def read(client, *streams):
    """Every entry of the streams from their beginning on, as (stream, fields)."""
    after = {stream: "0" for stream in streams}
    while True:
        for stream, entries in await client.xread(after, count=READ_ENTRIES, block=BLOCK_MS):
            name = stream.decode()
            for entry, fields in entries:
                yield name, fields
            after[name] = entry


async def run(work, counted):
    """Does the work until standard input closes; what was counted is the last line printed."""
    loop = asyncio.get_running_loop()
    # asyncio reports an exception of a callback and goes on; what is compared must not be half of the work.
    failures = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context))
    task = asyncio.create_task(work)
    print("ready", flush=True)
    closed = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait([task, closed], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        failures.append({"exception": task.exception()})
    if failures:
        print(f"failed {len(failures)} times, first: {failures[0]!r}", file=sys.stderr)
    else:
        print(json.dumps(counted()), flush=True)
    # Not by way of asyncio's own end, which waits for a command to Redis that was cancelled and may never come.
    sys.stderr.flush()
    os._exit(1 if failures else 0)
