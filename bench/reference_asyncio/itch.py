"""MoldUDP64 packets of ITCH 5.0 messages, as normalised ticks.

A table of orders fills in what the wire leaves out, so that whoever reads the ticks needs no orders: an execution and
a cancel carry the price and side of the order that they take shares from.

A tick is 48 bytes, the same as a struct and as a numpy dtype. Actions: A shares come to a price, C they go, T they trade
(and go), P a trade that the book did not show. Prices are ITCH's: 1/10000.
"""

import struct

import numpy as np

MOLD = struct.Struct(">10sQH")  # session, sequence, count
LENGTH = struct.Struct(">H")
HEAD = struct.Struct(">HHHI")  # locate, tracking, time of day in ns (48 bits)
ADD = struct.Struct(">QcI8sI")  # reference, side, shares, stock, price
EXECUTED = struct.Struct(">QIQ")  # reference, shares, match
EXECUTED_AT = struct.Struct(">QIQcI")  # and: printable, price
CANCEL = struct.Struct(">QI")  # reference, shares
DELETE = struct.Struct(">Q")
REPLACE = struct.Struct(">QQII")  # reference, new reference, shares, price
TRADE = struct.Struct(">QcI8sI")  # reference, side, shares, stock, price
DIRECTORY = struct.Struct(">8s")
BODY = 11  # bytes of type and head

TICK = struct.Struct("<QQQQqIHcc")
TICK_DTYPE = np.dtype([
    ("received", "<u8"), ("event", "<u8"), ("sequence", "<u8"), ("order", "<u8"),
    ("price", "<i8"), ("size", "<u4"), ("instrument", "<u2"), ("action", "S1"), ("side", "S1"),
])
assert TICK.size == TICK_DTYPE.itemsize
END_OF_SESSION = 0xFFFF


class Decoder:
    """One feed, both lines: the first copy of a message wins, messages become ticks."""

    def __init__(self):
        self.expected = 1
        self.packets = 0
        self.duplicates = 0
        self.lost = 0
        self.orders = {}
        self.symbols = {}
        self.ticks = []
        self.handlers = {
            ord("A"): self.add, ord("F"): self.add, ord("E"): self.executed, ord("C"): self.executed_at,
            ord("X"): self.cancel, ord("D"): self.delete, ord("U"): self.replace, ord("P"): self.trade,
            ord("R"): self.directory,
        }

    def packet(self, data, received):
        """The packet's ticks are added to `ticks`."""
        self.packets += 1
        _, sequence, count = MOLD.unpack_from(data)
        if count == END_OF_SESSION:
            return
        expected, end = self.expected, sequence + count
        if end <= expected:
            self.duplicates += 1
            return
        if sequence > expected:
            self.lost += sequence - expected
        self.expected = end
        at = MOLD.size
        for number in range(sequence, end):
            (length,) = LENGTH.unpack_from(data, at)
            at += LENGTH.size
            handler = self.handlers.get(data[at])
            if handler and number >= expected:
                locate, _, high, low = HEAD.unpack_from(data, at + 1)
                handler(data, at + BODY, (received, high << 32 | low, number), locate)
            at += length

    def add(self, data, at, stamps, locate):
        reference, side, shares, _, price = ADD.unpack_from(data, at)
        self.orders[reference] = [side, price, shares]
        self.ticks.append(TICK.pack(*stamps, reference, price, shares, locate, b"A", side))

    def take(self, action, stamps, locate, reference, size=None):
        """Shares of a resting order go; without a size, all of them. Gives its side, if it is known."""
        order = self.orders.get(reference)
        if order is None:
            return None
        side, price, left = order
        if size is None or size >= left:
            size = left
            del self.orders[reference]
        else:
            order[2] = left - size
        self.ticks.append(TICK.pack(*stamps, reference, price, size, locate, action, side))
        return side

    def delete(self, data, at, stamps, locate):
        self.take(b"C", stamps, locate, DELETE.unpack_from(data, at)[0])

    def cancel(self, data, at, stamps, locate):
        reference, shares = CANCEL.unpack_from(data, at)
        self.take(b"C", stamps, locate, reference, shares)

    def replace(self, data, at, stamps, locate):
        reference, new, shares, price = REPLACE.unpack_from(data, at)
        side = self.take(b"C", stamps, locate, reference)
        if side:
            self.orders[new] = [side, price, shares]
            self.ticks.append(TICK.pack(*stamps, new, price, shares, locate, b"A", side))

    def executed(self, data, at, stamps, locate):
        reference, shares, _ = EXECUTED.unpack_from(data, at)
        self.take(b"T", stamps, locate, reference, shares)

    def executed_at(self, data, at, stamps, locate):
        reference, shares, _, printable, price = EXECUTED_AT.unpack_from(data, at)
        side = self.take(b"C", stamps, locate, reference, shares)
        if side and printable != b"N":
            self.ticks.append(TICK.pack(*stamps, reference, price, shares, locate, b"P", side))

    def trade(self, data, at, stamps, locate):
        reference, side, shares, _, price = TRADE.unpack_from(data, at)
        self.ticks.append(TICK.pack(*stamps, reference, price, shares, locate, b"P", side))

    def directory(self, data, at, _stamps, locate):
        (stock,) = DIRECTORY.unpack_from(data, at)
        self.symbols[locate] = stock.decode("ascii").rstrip()
