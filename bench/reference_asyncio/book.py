"""Price levels of one instrument, kept from ticks."""


class Book:
    """Bids and asks: price to shares. The best prices are kept, and looked for again when their level goes."""

    def __init__(self):
        self.levels = {b"B": {}, b"S": {}}
        self.best = {b"B": None, b"S": None}

    def apply(self, action, side, price, size):
        """True when the tick was one that the book shows."""
        levels = self.levels.get(side)
        if levels is None or action == b"P":
            return False
        if action == b"A":
            levels[price] = levels.get(price, 0) + size
            best = self.best[side]
            if best is None or (price > best if side == b"B" else price < best):
                self.best[side] = price
            return True
        left = levels.get(price, 0) - size
        if left > 0:
            levels[price] = left
        else:
            levels.pop(price, None)
            if price == self.best[side]:
                pick = max if side == b"B" else min
                self.best[side] = pick(levels) if levels else None
        return True

    def quote(self):
        """Best bid, its shares, best ask, its shares; None when a side is empty."""
        bid, ask = self.best[b"B"], self.best[b"S"]
        if bid is None or ask is None:
            return None
        return bid, self.levels[b"B"][bid], ask, self.levels[b"S"][ask]
