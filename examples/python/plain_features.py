"""The features of docs/features.md, each written down from its definition, in plain Python.

Nothing here is fast or clever: the module is the second opinion that `recompute_features.py` holds against the
published records. Bars are kept whole, and a window is a slice of them.
"""

import math

import numpy

NAN = float("nan")
SECOND = 1_000_000_000
DAY_S = 86_400

# Flags of a tick, and bits of a record's quality.
LAST, BAD_TS_RECV, MAYBE_BAD_BOOK = 128, 8, 4
BAD_BOOK, GAP_IN_WINDOW, WARMING_UP, BAD_TIME = 1, 2, 4, 8


class Bars:
    """The full bars as columns, and the one that forms."""

    def __init__(self, kind, length):
        self.kind, self.length = kind, length
        self.suffix = f"{length}{'ms' if kind == 'time_ms' else kind}"
        self.close, self.volume, self.value, self.bought, self.sold, self.flow = [], [], [], [], [], []
        self.flow_since = 0  # order flow since the end of the bar before
        self._begin()

    def __len__(self):
        return len(self.close)

    def _begin(self):
        self.trades, self.now_volume, self.now_value, self.now_bought, self.now_sold = 0, 0, 0.0, 0, 0

    def _interval(self, now):
        return now // (self.length * 1_000_000)

    def time(self, now):
        """The instrument's time goes on. Whether that made a bar full."""
        over = self.kind == "time_ms" and self.trades > 0 and self._interval(now) != self.interval
        if over:
            self._end()
        return over

    def trade(self, now, price, size, aggressor):
        """Takes a trade. Whether it made a bar full."""
        if self.trades == 0 and self.kind == "time_ms":
            self.interval = self._interval(now)
        self.trades += 1
        self.now_close = price
        self.now_volume += size
        self.now_value += price * size
        self.now_bought += size if aggressor == "B" else 0
        self.now_sold += size if aggressor == "A" else 0
        full = (self.kind == "trades" and self.trades == self.length) or (
            self.kind == "volume" and self.now_volume >= self.length
        )
        if full:
            self._end()
        return full

    def _end(self):
        self.close.append(self.now_close)
        self.volume.append(self.now_volume)
        self.value.append(self.now_value)
        self.bought.append(self.now_bought)
        self.sold.append(self.now_sold)
        self.flow.append(self.flow_since)
        self.flow_since = 0
        self._begin()


def last(column, count):
    return numpy.array(column[-count:], dtype=float)


class Quoted:
    """A feature of the book as it is at the end of an event."""

    def values(self, state):
        if not state.bids or not state.asks:
            return [NAN]
        return [self.of(state.bids, state.asks)]


class Spread(Quoted):
    names = ["spread"]

    def of(self, bids, asks):
        # Of the whole numbers, as a difference of two doubles would lose digits.
        return round((asks[0][0] - bids[0][0]) * 1e9) / 1e9


class Mid(Quoted):
    names = ["mid"]

    def of(self, bids, asks):
        return (bids[0][0] + asks[0][0]) / 2


class Microprice(Quoted):
    names = ["microprice"]

    def of(self, bids, asks):
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        return (bid * ask_size + ask * bid_size) / (bid_size + ask_size)


class Imbalance(Quoted):
    def __init__(self, levels):
        self.levels, self.names = levels, [f"imbalance_{levels}"]

    def of(self, bids, asks):
        bid, ask = (sum(size for _, size in side[: self.levels]) for side in (bids, asks))
        return (bid - ask) / (bid + ask)


class Windowed:
    """A feature of the last `n` full bars. `needs` bars make the first value, a gap stays in it for `window` bars."""

    name = None
    more = 0  # full bars that it needs besides n

    def __init__(self, bars, n):
        self.bars, self.n = bars, n
        self.needs = self.window = n + self.more
        self.names = [f"{self.name}_{n}_{bars.suffix}"]

    def bar(self):
        """A bar has become full."""

    def values(self, _):
        return [float(self.of(self.bars, self.n))] if len(self.bars) >= self.needs else [NAN] * len(self.names)


class Ofi(Windowed):
    name = "ofi"

    def of(self, bars, n):
        return last(bars.flow, n).sum()


class TradeImbalance(Windowed):
    name = "trade_imbalance"

    def of(self, bars, n):
        bought, sold = last(bars.bought, n).sum(), last(bars.sold, n).sum()
        return (bought - sold) / (bought + sold) if bought + sold else NAN


class KyleLambda(Windowed):
    name = "kyle_lambda"
    more = 1

    def of(self, bars, n):
        x = last(bars.bought, n) - last(bars.sold, n)
        y = numpy.diff(last(bars.close, n + 1))
        if (x == x[0]).all():
            return NAN
        x = x - x.mean()
        return (x * (y - y.mean())).sum() / (x * x).sum()


class Amihud(Windowed):
    name = "amihud"
    more = 1

    def of(self, bars, n):
        close, value = last(bars.close, n + 1), last(bars.value, n)
        if (close <= 0).any() or (value <= 0).any():
            return NAN
        return (numpy.abs(close[1:] / close[:-1] - 1) / value).mean()


class Vwap(Windowed):
    name = "vwap"

    def of(self, bars, n):
        return last(bars.value, n).sum() / last(bars.volume, n).sum()


class Sma(Windowed):
    name = "sma"

    def of(self, bars, n):
        return last(bars.close, n).mean()


class Ema(Windowed):
    name = "ema"

    def __init__(self, bars, n):
        super().__init__(bars, n)
        self.window = 3 * (n + 1)

    def bar(self):
        count, close = len(self.bars), self.bars.close
        if count == self.n:
            self.ema = sum(close) / self.n
        elif count > self.n:
            self.ema += (close[-1] - self.ema) * 2 / (self.n + 1)

    def of(self, bars, n):
        return self.ema


class Rsi(Windowed):
    name = "rsi"
    more = 1

    def __init__(self, bars, n):
        super().__init__(bars, n)
        self.window = 6 * n

    def bar(self):
        count, n = len(self.bars), self.n
        if count < n + 1:
            return
        change = numpy.diff(self.bars.close[-n - 1 :] if count == n + 1 else self.bars.close[-2:])
        gain, loss = numpy.maximum(change, 0), numpy.maximum(-change, 0)
        if count == n + 1:
            self.gain, self.loss = gain.mean(), loss.mean()
        else:
            self.gain = (self.gain * (n - 1) + gain[0]) / n
            self.loss = (self.loss * (n - 1) + loss[0]) / n

    def of(self, bars, n):
        total = self.gain + self.loss
        return 100 * self.gain / total if total else NAN


class Bollinger(Windowed):
    name = "bollinger"

    def __init__(self, bars, n, deviations=2.0):
        super().__init__(bars, n)
        self.deviations = deviations
        self.names = [f"bollinger_{band}_{n}_{deviations:g}_{bars.suffix}" for band in ("upper", "middle", "lower")]

    def values(self, _):
        if len(self.bars) < self.needs:
            return [NAN] * 3
        close = last(self.bars.close, self.n)
        middle = close.mean()
        away = self.deviations * math.sqrt(((close - middle) ** 2).mean())
        return [float(band) for band in (middle + away, middle, middle - away)]


class RealisedVolatility(Windowed):
    name = "realised_volatility"
    more = 1

    def of(self, bars, n):
        close = last(bars.close, n + 1)
        if (close <= 0).any():
            return NAN
        return math.sqrt((numpy.log(close[1:] / close[:-1]) ** 2).sum())


class Vpin:
    """Fills buckets of its own."""

    def __init__(self, bucket, buckets):
        self.bucket, self.n = bucket, buckets
        self.names = [f"vpin_{buckets}_{bucket}volume"]
        self.full, self.bought, self.sold = [], 0.0, 0.0
        self.gap_at = None

    def trade(self, _, size, aggressor):
        while size > 0:
            room = self.bucket - (self.bought + self.sold)
            part = min(size, room)
            self.bought += part if aggressor == "B" else part / 2 if aggressor == "N" else 0
            self.sold += part if aggressor == "A" else part / 2 if aggressor == "N" else 0
            size -= part
            if part == room:
                self.full.append(abs(self.bought - self.sold))
                self.bought = self.sold = 0.0

    def warming_up(self):
        return len(self.full) < self.n

    def gap(self):
        self.gap_at = len(self.full)

    def gap_in_window(self):
        return self.gap_at is not None and len(self.full) <= self.gap_at + self.n

    def time(self, now):
        pass

    def values(self, _):
        return [NAN if self.warming_up() else float(last(self.full, self.n).sum()) / (self.n * self.bucket)]


class VwapSession:
    """All trades since the session's start, the newest included."""

    def __init__(self, start_s=0):
        self.start_s, self.names = start_s, [f"vwap_session_{start_s}s"]
        self.session, self.value, self.volume, self.gapped = None, 0.0, 0, False

    def time(self, now):
        session = (now - self.start_s * SECOND) // (DAY_S * SECOND)
        if session != self.session:
            self.session, self.value, self.volume, self.gapped = session, 0.0, 0, False

    def trade(self, price, size, _):
        self.value += price * size
        self.volume += size

    def warming_up(self):
        return self.volume == 0

    def gap(self):
        self.gapped = True

    def gap_in_window(self):
        return self.gapped

    def values(self, _):
        return [self.value / self.volume if self.volume else NAN]


QUOTED = {"spread": Spread, "mid": Mid, "microprice": Microprice, "imbalance": Imbalance}
WINDOWED = {
    feature.name: feature
    for feature in (
        Ofi, TradeImbalance, KyleLambda, Amihud, Vwap, Sma, Ema, Rsi, Bollinger, RealisedVolatility
    )
}  # fmt: skip
OWN = {"vpin": Vpin, "vwap_session": VwapSession}


class FeatureSet:
    """One set of the document, of one instrument: its bars, its features, and what it published last."""

    def __init__(self, document):
        self.name = document["name"]
        self.every_ms = document["publish"].get("every_ms")
        bars = document.get("bars")
        self.bars = Bars(*next(iter(bars.items()))) if bars else None
        self.features = [self._feature(entry) for entry in document["features"]]
        self.windowed = [feature for feature in self.features if isinstance(feature, Windowed)]
        self.own = [feature for feature in self.features if type(feature) in OWN.values()]
        self.has_ofi = any(isinstance(feature, Ofi) for feature in self.features)
        self.names = [name for feature in self.features for name in feature.names]
        self.watched = [
            (feature, place, self.names.index(change["value"]), change["by"])
            for change in document["publish"].get("on_change") or []
            for feature in self.features
            for place, name in enumerate(feature.names)
            if name == change["value"]
        ]
        self.gap_at = None
        self.published = self.published_quality = self.published_interval = None

    def _feature(self, entry):
        name, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        options = dict(options or {})
        if name in WINDOWED:
            return WINDOWED[name](self.bars, options.pop("bars"), **options)
        return (QUOTED | OWN)[name](**options)

    def time(self, now):
        for feature in self.own:
            feature.time(now)
        if self.bars is not None and self.bars.time(now):
            self._bar()

    def trade(self, now, price, size, aggressor):
        for feature in self.own:
            feature.trade(price, size, aggressor)
        if self.bars is not None and self.bars.trade(now, price, size, aggressor):
            self._bar()

    def _bar(self):
        for feature in self.windowed:
            feature.bar()

    def gap(self):
        self.gap_in_bars()
        for feature in self.own:
            feature.gap()

    def gap_in_bars(self):
        self.gap_at = None if self.bars is None else len(self.bars)

    def quality(self, bad_book, bad_time):
        longest = max((feature.window for feature in self.windowed), default=0)
        in_bars = longest > 0 and self.gap_at is not None and len(self.bars) <= self.gap_at + longest
        gap = in_bars or any(feature.gap_in_window() for feature in self.own)
        warming_up = any(len(self.bars) < feature.needs for feature in self.windowed) or any(
            feature.warming_up() for feature in self.own
        )
        return BAD_BOOK * bad_book | GAP_IN_WINDOW * gap | WARMING_UP * warming_up | BAD_TIME * bad_time

    def publish(self, state, quality):
        """The values, if they are to be published at the end of this event."""
        interval = state.now // (self.every_ms * 1_000_000) if self.every_ms else None
        first = self.published is None
        due = self.every_ms is not None and interval != self.published_interval
        if not (first or due or quality != self.published_quality or self._moved(state)):
            return None
        if first or due:
            self.published_interval = interval
        self.published_quality = quality
        self.published = [value for feature in self.features for value in feature.values(state)]
        return self.published

    def _moved(self, state):
        for feature, place, index, by in self.watched:
            value, before = feature.values(state)[place], self.published[index]
            if math.isnan(value) != math.isnan(before) or abs(value - before) >= by:
                return True
        return False


class Instrument:
    """An instrument's time, its quote, and its feature sets."""

    def __init__(self, documents):
        self.sets = [FeatureSet(document) for document in documents]
        looked_at = (feature.levels for of in self.sets for feature in of.features if isinstance(feature, Imbalance))
        self.depth = max(looked_at, default=1)  # levels of a side
        self.now = None
        self.channel_id = None
        self.gap_pending = False
        self.quote = None
        self.bids, self.asks = [], []

    def cleared(self):
        """The book was emptied: the next quote has none before it."""
        self.quote = None

    def tick(self, tick, trade, unpriced, book):
        """Takes a tick that its book has taken. Yields (set, quality, values) to be published."""
        self._time(tick.ts_recv)
        self.channel_id = tick.channel_id
        for of in self.sets:
            of.time(self.now)
            if self.gap_pending or unpriced:
                of.gap()
            if trade:
                price, size, aggressor = trade
                of.trade(self.now, price / 1e9, size, aggressor)
        self.gap_pending = False
        if tick.action == "R":
            self.cleared()
        if tick.flags & LAST:
            yield from self._event_end(tick, book)

    def _time(self, ts_recv):
        if self.now is None or ts_recv > self.now or self.now - ts_recv > SECOND:
            self.now = ts_recv

    def _event_end(self, tick, book):
        self.bids, self.asks = book.levels("B", self.depth), book.levels("A", self.depth)
        flow = self._order_flow(book.is_good())
        bad_book = bool(not book.is_good() or tick.flags & MAYBE_BAD_BOOK)
        bad_time = bool(tick.flags & BAD_TS_RECV)
        for of in self.sets:
            if of.bars is not None:
                of.bars.flow_since += flow
            if of.has_ofi and not book.is_good():
                of.gap_in_bars()  # its order flow is not known; trades are
            quality = of.quality(bad_book, bad_time)
            values = of.publish(self, quality)
            if values is not None:
                yield of, quality, values

    def _order_flow(self, good):
        before, self.quote = self.quote, None
        if not (good and self.bids and self.asks):
            return 0
        (bid, bid_size), (ask, ask_size) = self.quote = (self.bids[0], self.asks[0])
        if before is None:
            return 0
        (old_bid, old_bid_size), (old_ask, old_ask_size) = before
        return (
            (bid >= old_bid) * bid_size
            - (bid <= old_bid) * old_bid_size
            - (ask <= old_ask) * ask_size
            + (ask >= old_ask) * old_ask_size
        )
