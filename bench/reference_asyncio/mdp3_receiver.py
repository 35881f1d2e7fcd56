"""The feed handler for MDP 3.0, one tick a write: what tables (a) and (e) compare with.

asyncio endpoints for line A and line B, the first copy of a sequence number wins, every book entry becomes
one XADD to Redis. Speaks the packets of bench/schema/book.xml (MDP 3.0 packet header, template 32).

    python -m reference_asyncio.mdp3_receiver --a LINE [--b LINE] [--redis SOCKET [--pipelined]] [--drain N] [--core N]

A LINE is ADDRESS:PORT, or GROUP:PORT@INTERFACE_ADDRESS for a multicast group.

Without --redis packets are only counted. Prints `ready`, runs until standard input closes, then prints one
JSON line. With --drain N it waits for a line on standard input before it reads, takes N packets and ends.
"""

import argparse
import asyncio
import json
import os
import struct
import sys
import time

import redis.asyncio as redis

from .lines import Line, open_socket

STREAM = "raw_market_data"
PACKET = struct.Struct("<IQ")  # sequence, sending time
MESSAGE = struct.Struct("<HHHHHQB2xHB")  # size, SBE header, transact time, event indicator, group size
ENTRY = struct.Struct("<qiiIiBBc5x")  # price, size, security, rpt_seq, orders, level, action, type
SEEN_MAX = 100_000


class Arbiter:
    """First copy wins; sequence numbers seen are remembered for a while."""

    def __init__(self, publish):
        self.publish = publish
        self.seen = {}
        self.packets = 0
        self.duplicates = 0

    def packet(self, line, data):
        self.packets += 1
        sequence, sent = PACKET.unpack_from(data)
        if sequence in self.seen:
            self.duplicates += 1
            return
        self.seen[sequence] = line
        if len(self.seen) > SEEN_MAX:
            del self.seen[next(iter(self.seen))]
        count = MESSAGE.unpack_from(data, PACKET.size)[-1]
        at = PACKET.size + MESSAGE.size
        for _ in range(count):
            price, size, security, rpt_seq, orders, level, action, kind = ENTRY.unpack_from(data, at)
            at += ENTRY.size
            self.publish(
                {
                    "line": line,
                    "sequence": sequence,
                    "sent": sent,
                    "received": time.time_ns(),
                    "instrument": security,
                    "rpt_seq": rpt_seq,
                    "price": price * 1e-7,
                    "size": size,
                    "orders": orders,
                    "level": level,
                    "action": action,
                    "side": kind,
                }
            )


async def publisher(queue, client):
    while True:
        await client.xadd(STREAM, await queue.get(), maxlen=1_000_000, approximate=True)


async def publisher_pipelined(queue, client):
    while True:
        pipe = client.pipeline(transaction=False)
        pipe.xadd(STREAM, await queue.get(), maxlen=1_000_000, approximate=True)
        for _ in range(min(queue.qsize(), 511)):
            pipe.xadd(STREAM, queue.get_nowait(), maxlen=1_000_000, approximate=True)
        await pipe.execute()


async def drain(loop, sockets, wanted):
    """Takes the packets that wait in the sockets' queues; the first packet starts the clock."""
    done = loop.create_future()
    state = {"packets": 0, "first": 0}

    def take(_line, _data):
        if state["packets"] == 0:
            state["first"] = time.perf_counter_ns()
        state["packets"] += 1
        if state["packets"] == wanted:
            done.set_result(time.perf_counter_ns())

    sys.stdin.readline()
    for name, sock in sockets:
        await loop.create_datagram_endpoint(lambda name=name: Line(name, take), sock=sock)
    last = await asyncio.wait_for(done, 60)
    return {"packets": wanted, "ns": last - state["first"]}


async def receive(loop, sockets, arguments):
    queue = asyncio.Queue()
    counted, first, last = 0, 0, 1

    def count(_line, _data):
        nonlocal counted, first, last
        last = time.perf_counter_ns()
        if not counted:
            first = last
        counted += 1

    take, arbiter, task = count, None, None
    if arguments.redis:
        client = redis.Redis(unix_socket_path=arguments.redis)
        await client.ping()
        arbiter = Arbiter(queue.put_nowait)
        take = arbiter.packet
        task = asyncio.create_task((publisher_pipelined if arguments.pipelined else publisher)(queue, client))
    for name, sock in sockets:
        await loop.create_datagram_endpoint(lambda name=name: Line(name, take), sock=sock)
    print("ready", flush=True)
    closed = loop.run_in_executor(None, sys.stdin.read)
    await closed
    if task:
        task.cancel()
        return {"packets": arbiter.packets, "duplicates": arbiter.duplicates, "unpublished": queue.qsize()}
    return {"packets": counted, "ns": last - first}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--a", required=True)
    parser.add_argument("--b")
    parser.add_argument("--redis")
    parser.add_argument("--pipelined", action="store_true")
    parser.add_argument("--drain", type=int)
    parser.add_argument("--core", type=int)
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, [arguments.core])
    loop = asyncio.get_running_loop()
    # asyncio reports an exception of a callback and goes on; what is compared must not be half of the work.
    failures = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context))
    lines = [("A", arguments.a), ("B", arguments.b)]
    sockets = [(name, open_socket(text)) for name, text in lines if text]
    if arguments.drain:
        print("ready", flush=True)
        result = await drain(loop, sockets, arguments.drain)
    else:
        result = await receive(loop, sockets, arguments)
    if failures:
        print(f"{len(failures)} packets failed, the first: {failures[0]!r}", file=sys.stderr)
    else:
        print(json.dumps(result), flush=True)
    # Not by way of asyncio's own end, which waits for a command to Redis that was cancelled and may never come.
    sys.stderr.flush()
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    asyncio.run(main())
