"""The plain book and the plain features on data made by hand, with results worked out by hand."""

import math
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples/python"))

from plain_book import PRICE_UNDEFINED, SIZE_UNDEFINED, Books
from plain_features import BAD_BOOK, GAP_IN_WINDOW, WARMING_UP, Bars, Ema, KyleLambda, Rsi, Vpin, VwapSession
from recompute_features import Engine, Tick

SECOND = 1_000_000_000
LAST = 128


def tick(action, side="N", price=None, size=0, order_id=0, **other):
    """A tick of channel 1, publisher 2, instrument 42; prices in whole units."""
    price = PRICE_UNDEFINED if price is None else price * SECOND
    fields = {
        "row": 0, "ts_recv": SECOND, "sequence": 1, "order_id": order_id, "price": price, "size": size,
        "instrument_id": 42, "publisher_id": 2, "channel_id": 1, "action": action, "side": side, "flags": LAST, "depth": 0,
    }  # fmt: skip
    return Tick(**(fields | other))


class ABook(unittest.TestCase):
    def setUp(self):
        self.books = Books()
        self.apply(tick("A", "B", 100, 5, 1), tick("A", "B", 100, 7, 2), tick("A", "B", 99, 3, 3), tick("A", "A", 101, 4, 4))

    def apply(self, *ticks):
        for one in ticks:
            result = self.books.apply(one)
        self.book = result[0]
        return result

    def best(self):
        return self.book.levels("B", 1), self.book.levels("A", 1)

    def test_orders_of_a_price_add_up_and_leave_one_by_one(self):
        self.assertEqual(self.best(), ([(100.0, 12)], [(101.0, 4)]))
        self.apply(tick("C", size=2, order_id=1), tick("C", size=SIZE_UNDEFINED, order_id=2))
        self.assertEqual(self.best()[0], [(100.0, 3)])
        self.apply(tick("M", "B", 98, 3, 1))
        self.assertEqual(self.book.levels("B", 5), [(99.0, 3), (98.0, 3)])
        self.assertTrue(self.book.is_good())

    def test_a_replacement_has_the_side_of_what_it_replaces(self):
        self.apply(tick("C", size=SIZE_UNDEFINED, order_id=4, sequence=9, flags=0))
        self.apply(tick("A", "N", 103, 8, 5, sequence=9))
        self.assertEqual(self.best()[1], [(103.0, 8)])

    def test_an_execution_has_price_and_taker_from_the_order(self):
        self.apply(tick("T", size=2, sequence=9, flags=0))
        _, trade, unpriced = self.apply(tick("F", size=2, order_id=4, sequence=9, flags=0))
        self.assertEqual((trade, unpriced), ((101 * SECOND, 2, "B"), False))
        self.apply(tick("T", size=2, sequence=10, flags=0))
        self.assertEqual(self.apply(tick("F", size=2, order_id=77, sequence=10, flags=0))[1:], (None, True))

    def test_a_contradiction_spoils_the_book_until_it_is_cleared(self):
        self.apply(tick("C", size=1, order_id=77))
        self.assertFalse(self.book.is_good())
        self.apply(tick("R", instrument_id=0), tick("A", "B", 100, 5, 1))
        self.assertTrue(self.book.is_good())

    def test_a_gap_spoils_every_book_of_the_channel(self):
        self.books.gap(2)
        self.assertTrue(self.book.is_good())
        self.books.gap(1)
        self.assertFalse(self.book.is_good())

    def test_a_crossed_book_is_bad_for_as_long(self):
        self.apply(tick("A", "B", 102, 1, 9))
        self.assertFalse(self.book.is_good())
        self.apply(tick("C", size=1, order_id=9))
        self.assertTrue(self.book.is_good())

    def test_levels_by_number_move_down_and_up(self):
        level = {"flags": LAST | 16, "instrument_id": 43}
        self.apply(tick("A", "B", 100, 5, depth=1, **level), tick("A", "B", 98, 6, depth=2, **level))
        self.apply(tick("A", "B", 99, 7, depth=2, **level))
        self.assertEqual(self.book.levels("B", 5), [(100.0, 5), (99.0, 7), (98.0, 6)])
        self.apply(tick("C", "B", 100, 5, depth=1, **level), tick("M", "B", 98, 9, depth=2, **level))
        self.assertEqual(self.book.levels("B", 5), [(99.0, 7), (98.0, 9)])
        self.assertTrue(self.book.is_good())
        self.apply(tick("A", "B", 97, 1, depth=4, **level))
        self.assertFalse(self.book.is_good())


class BarsOfTrades(unittest.TestCase):
    def test_a_time_bar_ends_with_the_first_tick_of_another_interval(self):
        bars = Bars("time_ms", 1000)
        bars.trade(SECOND + 1, 10.0, 2, "B")
        bars.trade(SECOND + 2, 11.0, 3, "A")
        self.assertFalse(bars.time(2 * SECOND - 1))
        self.assertTrue(bars.time(5 * SECOND))
        self.assertFalse(bars.time(6 * SECOND), "an interval without a trade makes no bar")
        self.assertEqual((bars.close, bars.volume, bars.value, bars.bought, bars.sold), ([11.0], [5], [53.0], [2], [3]))

    def test_a_volume_bar_does_not_split_its_last_trade(self):
        bars = Bars("volume", 5)
        self.assertFalse(bars.trade(0, 1.0, 4, "N"))
        self.assertTrue(bars.trade(0, 1.0, 9, "N"))
        self.assertEqual(bars.volume, [13])

    def fill(self, feature_type, n, closes):
        bars = Bars("trades", 1)
        feature = feature_type(bars, n)
        values = []
        for number, close in enumerate(closes):
            bars.trade(0, close, 1 + number, "B" if number % 2 else "A")
            feature.bar()
            values.append(feature.values(None)[0])
        return values

    def test_ema_begins_with_a_mean(self):
        values = self.fill(Ema, 3, [1.0, 2.0, 6.0, 5.0])
        self.assertTrue(math.isnan(values[1]))
        self.assertEqual(values[2:], [3.0, 4.0])

    def test_rsi_smooths_as_wilder_does(self):
        values = self.fill(Rsi, 2, [10.0, 12.0, 11.0, 11.0, 14.0])
        # G, L: (1, 0.5), then (0.5, 0.25), then (1.75, 0.125).
        self.assertTrue(math.isnan(values[1]))
        self.assertAlmostEqual(values[2], 100 * 1 / 1.5)
        self.assertAlmostEqual(values[3], 100 * 0.5 / 0.75)
        self.assertAlmostEqual(values[4], 100 * 1.75 / 1.875)

    def test_rsi_is_not_a_number_when_nothing_moves(self):
        self.assertTrue(math.isnan(self.fill(Rsi, 2, [1.0, 1.0, 1.0])[2]))

    def test_kyles_lambda_is_a_slope(self):
        # x of the last three bars is 2, -3, 4; y is 4, -6, 8.
        self.assertAlmostEqual(self.fill(KyleLambda, 3, [10.0, 14.0, 8.0, 16.0])[3], 2.0)

    def test_vpin_carries_a_trade_over_into_the_next_bucket(self):
        vpin = Vpin(10, 2)
        vpin.trade(1.0, 4, "B")
        vpin.trade(1.0, 12, "A")  # 6 fill the first bucket (4 against 6), 6 begin the second
        vpin.trade(1.0, 4, "N")  # half to each side: 2 against 8
        self.assertEqual(vpin.full, [2.0, 6.0])
        self.assertEqual(vpin.values(None), [8 / 20])

    def test_a_session_starts_at_its_hour(self):
        vwap = VwapSession(3600)
        vwap.time(3599 * SECOND)
        vwap.trade(10.0, 1, "B")
        vwap.time(3600 * SECOND)
        self.assertTrue(vwap.warming_up())
        vwap.trade(20.0, 1, "B")
        self.assertEqual(vwap.values(None), [20.0])


class Records(unittest.TestCase):
    SETS = {
        "sets": [
            {
                "name": "q",
                "publish": {"every_ms": 1000, "on_change": [{"value": "mid", "by": 1}]},
                "features": ["mid", {"imbalance": {"levels": 2}}],
            },
            {
                "name": "b",
                "bars": {"trades": 1},
                "publish": {"every_ms": 1000},
                "features": [{"ofi": {"bars": 1}}],
            },
        ]
    }

    def run_all(self, *ticks):
        engine = Engine(self.SETS)
        records = []
        for one in ticks:
            if one is None:
                engine.gap(1)
            else:
                records += engine.tick(one)
        return [(r.number, r.feature_set, r.quality, r.values) for r in records]

    def test_a_record_is_published_first_then_when_due_moved_or_in_doubt(self):
        records = self.run_all(
            tick("A", "B", 100, 6, 1, ts_recv=SECOND),
            tick("A", "A", 104, 2, 2, ts_recv=SECOND + 1),  # mid appears
            tick("M", "A", 103, 2, 2, ts_recv=SECOND + 2),  # moves by 0.5: not enough
            tick("M", "A", 102, 2, 2, ts_recv=SECOND + 3),  # by 1 since it was published
            tick("N", ts_recv=2 * SECOND),  # a new second
        )
        own = [record for record in records if record[1] == "q"]
        self.assertTrue(math.isnan(own[0][3][0]))
        self.assertEqual([record[3] for record in own[1:]], [[102.0, 0.5], [101.0, 0.5], [101.0, 0.5]])
        self.assertEqual([record[0] for record in records], [1, 2, 3, 4, 5, 6])

    def test_order_flow_of_a_bar_is_what_quotes_did_until_its_end(self):
        records = self.run_all(
            tick("A", "B", 100, 6, 1),
            tick("A", "A", 104, 2, 2),
            tick("M", "B", 101, 5, 1),  # e = 5: a better bid
            tick("M", "A", 104, 4, 2),  # e = 0 - 0 - 4 + 2
            tick("T", "B", 104, 1, ts_recv=2 * SECOND),
        )
        self.assertEqual(records[-1][1:], ("b", 0, [3.0]))

    def test_a_gap_stays_for_the_window(self):
        trade = tick("T", "B", 104, 1)
        self.assertEqual(
            [record[2] for record in self.run_all(tick("R"), trade, None, trade, trade, trade) if record[1] == "b"],
            # At the gap's tick one bar is full (its own trade makes it two): until more than 1 + 1 are.
            [WARMING_UP, 0, BAD_BOOK | GAP_IN_WINDOW],
        )


if __name__ == "__main__":
    unittest.main()
