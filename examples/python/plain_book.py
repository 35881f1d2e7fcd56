"""Order books from ticks, in plain Python: dictionaries and sorted lists, nothing fast.

The second opinion that `recompute_features.py` uses. What ticks mean is in docs/streams.md; what a book is and when it
is good, in docs/book.md.
"""

from bisect import bisect_left, insort

LAST, TOB, SNAPSHOT, MBP, BAD_TS_RECV, MAYBE_BAD_BOOK, PUBLISHER_SPECIFIC = 128, 64, 32, 16, 8, 4, 2
PRICE_UNDEFINED = 2**63 - 1
SIZE_UNDEFINED = 2**32 - 1
OTHER = {"B": "A", "A": "B"}
BY_PRICE_LEVELS = 10  # levels of a side by number: what moves below is dropped


class ByOrder:
    """Every order, and what they make of each price."""

    def __init__(self):
        self.seen, self.why, self.crossed = False, None, False
        self.clear()

    def clear(self):
        self.orders = {}  # id: (side, price, size)
        self.prices = {"B": [], "A": []}  # ascending
        self.sizes = {"B": {}, "A": {}}
        self.counts = {"B": {}, "A": {}}

    def apply(self, tick, side):
        """Applies an add, modify or cancel; returns whether it contradicts what is known."""
        before = self.orders.get(tick.order_id)
        if tick.action == "C":
            return self._cancel(tick, before)
        if side not in OTHER or tick.price == PRICE_UNDEFINED or tick.size == SIZE_UNDEFINED:
            return True
        if tick.action == "A" and tick.size == 0:
            return True
        if before:
            self._take_out(tick.order_id)
        if tick.size:
            self._put(tick.order_id, side, tick.price, tick.size)
        return (before is None) != (tick.action == "A")

    def _cancel(self, tick, before):
        if before is None:
            return True
        if tick.size == 0:
            return True
        side, price, size = before
        self._take_out(tick.order_id)
        if tick.size == SIZE_UNDEFINED:
            return False
        if tick.size < size:
            self._put(tick.order_id, side, price, size - tick.size)
        return tick.size > size

    def _put(self, order_id, side, price, size):
        self.orders[order_id] = (side, price, size)
        if price not in self.sizes[side]:
            insort(self.prices[side], price)
            self.sizes[side][price] = self.counts[side][price] = 0
        self.sizes[side][price] += size
        self.counts[side][price] += 1

    def _take_out(self, order_id):
        side, price, size = self.orders.pop(order_id)
        self.sizes[side][price] -= size
        self.counts[side][price] -= 1
        if self.counts[side][price] == 0:
            del self.sizes[side][price], self.counts[side][price]
            del self.prices[side][bisect_left(self.prices[side], price)]

    def levels(self, side, count):
        prices, sizes = self.prices[side], self.sizes[side]
        best_first = prices[: -count - 1 : -1] if side == "B" else prices[:count]
        return [(price, sizes[price]) for price in best_first]


class ByPrice:
    """The levels of each side, best first, as the venue names them: by number, or (depth 255) by price."""

    def __init__(self):
        self.seen, self.why, self.crossed = False, None, False
        self.clear()

    def clear(self):
        self.sides = {"B": [], "A": []}

    def apply(self, tick, side):
        if side not in OTHER:
            return True
        return self._by_price(tick, side) if tick.depth == 255 else self._by_number(tick, side)

    def _by_number(self, tick, side):
        levels, place = self.sides[side], tick.depth - 1
        if tick.action == "C":
            if place < len(levels):
                del levels[place]
                return False
            return tick.size != SIZE_UNDEFINED
        if tick.price == PRICE_UNDEFINED or tick.size == SIZE_UNDEFINED:
            return True
        level = (tick.price, tick.size)
        if place >= len(levels) + (tick.action == "A") or place >= BY_PRICE_LEVELS:
            return True
        if tick.action == "A":
            levels.insert(place, level)
            del levels[BY_PRICE_LEVELS:]
        else:
            levels[place] = level
        better = -1 if side == "B" else 1
        around = [price * better for price, _ in levels[max(place - 1, 0) : place + 2]]
        return any(one >= next_ for one, next_ in zip(around, around[1:]))

    def _by_price(self, tick, side):
        if tick.price == PRICE_UNDEFINED:
            return True
        levels = self.sides[side]
        there = [place for place, (price, _) in enumerate(levels) if price == tick.price]
        if tick.action == "C" or tick.size == 0:
            if there:
                del levels[there[0]]
            return not there
        if there:
            levels[there[0]] = (tick.price, tick.size)
        else:
            levels.append((tick.price, tick.size))
            levels.sort(reverse=side == "B")
        return False

    def levels(self, side, count):
        return self.sides[side][:count]


class Book:
    """An instrument's two books, and the last words of its feed that the next tick refers to."""

    def __init__(self, channel_id, why):
        self.channel_id = channel_id
        self.by_order, self.by_price = ByOrder(), ByPrice()
        self.by_order.why = self.by_price.why = why
        self.cancelled = None  # (sequence, side) of the order cancelled last
        self.unpriced = None  # (sequence, size) of a trade whose price the fill behind it names

    @property
    def shown(self):
        """The book by order, unless only the one by price is good or was ever seen."""
        if self.by_price.seen and (not self.by_order.seen or (not good(self.by_order) and good(self.by_price))):
            return self.by_price
        return self.by_order

    def is_good(self):
        return good(self.shown)

    def levels(self, side, count):
        """The best levels of a side, best first, as (price, quantity)."""
        return [(price / 1e9, size) for price, size in self.shown.levels(side, count)]


def good(half):
    return half.why is None and not half.crossed


class Books:
    """Every instrument of a stream."""

    def __init__(self):
        self.books = {}
        self.channels = {}  # channel: [why a book first seen now is bad, whether the tick before was flagged]

    def gap(self, channel_id):
        """Sequence numbers of a channel are missing."""
        self.channels[channel_id] = ["gap", True]
        self._mark(channel_id, "gap")

    def apply(self, tick):
        """Applies a tick. Returns (book or None, trade or None, whether a trade could not be priced)."""
        if tick.instrument_id == 0:
            if tick.action == "R":
                self._clear_channel(tick.channel_id)
            else:
                self._channel(tick)
            return None, None, False
        self._channel(tick)
        if tick.action not in "AMCTFR" and (tick.publisher_id, tick.instrument_id) not in self.books:
            return None, None, False  # an instrument begins with what concerns its book
        book = self._book(tick)
        for half in (book.by_order, book.by_price):
            if half.why == "snapshot" and not tick.flags & SNAPSHOT:
                half.why = None
        trade, unpriced = None, False
        if tick.action in "AMC":
            self._change(book, tick)
        elif tick.action == "T":
            trade = self._trade(book, tick)
        elif tick.action == "F":
            trade, unpriced = self._fill(book, tick)
        elif tick.action == "R":
            self._clear(book, tick)
        if tick.flags & LAST:
            self._event_end(book, tick)
        return book, trade, unpriced

    def _channel(self, tick):
        flagged = bool(tick.flags & MAYBE_BAD_BOOK)
        state = self.channels.get(tick.channel_id)
        if state is None:
            from_start = tick.sequence == 1
            self.channels[tick.channel_id] = state = [None if from_start else "not from start", False]
        if flagged and not state[1]:
            state[0] = "flagged"
            self._mark(tick.channel_id, "flagged")
        state[1] = flagged

    def _mark(self, channel_id, why):
        for book in self.books.values():
            if book.channel_id == channel_id:
                for half in (book.by_order, book.by_price):
                    half.why = half.why or why

    def _clear_channel(self, channel_id):
        self.channels[channel_id] = [None, False]
        for book in self.books.values():
            if book.channel_id == channel_id:
                for half in (book.by_order, book.by_price):
                    half.clear()
                    half.why, half.crossed = None, False

    def _book(self, tick):
        key = tick.publisher_id, tick.instrument_id
        if key not in self.books:
            self.books[key] = Book(tick.channel_id, self.channels[tick.channel_id][0])
        return self.books[key]

    def _change(self, book, tick):
        half = book.by_price if tick.depth or tick.flags & MBP else book.by_order
        if half is book.by_price and tick.flags & (PUBLISHER_SPECIFIC | TOB):
            return
        if not half.seen:
            half.seen = True
            if tick.flags & SNAPSHOT and tick.flags & BAD_TS_RECV and half.why == "not from start":
                half.why = "snapshot"  # DBN files made before February 2024 begin so
        side = tick.side
        if half is book.by_order:
            if tick.action == "C" and tick.order_id in half.orders:
                book.cancelled = tick.sequence, half.orders[tick.order_id][0]
            elif tick.action == "A" and side == "N" and book.cancelled and book.cancelled[0] == tick.sequence:
                side = book.cancelled[1]
        if half.apply(tick, side) and half.why is None:
            half.why = "contradiction"

    def _trade(self, book, tick):
        if tick.size in (0, SIZE_UNDEFINED):
            return None
        if tick.price == PRICE_UNDEFINED:
            book.unpriced = tick.sequence, tick.size
            return None
        return tick.price, tick.size, tick.side

    def _fill(self, book, tick):
        waiting, book.unpriced = book.unpriced, None
        if not waiting or waiting != (tick.sequence, tick.size):
            return None, False
        order = book.by_order.orders.get(tick.order_id)
        if order is None:
            return None, True
        return (order[1], waiting[1], OTHER[order[0]]), False

    def _clear(self, book, tick):
        half = book.by_price if tick.depth or tick.flags & MBP else book.by_order
        half.clear()
        half.crossed = False
        half.why = "snapshot" if tick.flags & SNAPSHOT else None

    def _event_end(self, book, tick):
        for half in (book.by_order, book.by_price):
            if half.why == "snapshot":
                half.why = None
            bid, ask = half.levels("B", 1), half.levels("A", 1)
            half.crossed = bool(bid and ask and bid[0][0] >= ask[0][0])
