"""A market maker in hftbacktest: the reference of the backtest's speed.

    quoter.py TICKS TICK_SIZE ORDER_LATENCY_NS REPORT_LATENCY_NS

TICKS is a file of 64-byte ticks of one instrument (docs/streams.md has the layout). Prints one line of JSON:
`ticks`, `events` (rows that hftbacktest was given), `seconds` (of the run alone), `fills`, `position`, `steps`
(times that the strategy looked).

The data are brought into its form and order by its own functions before the clock runs; its compiled code is made
in a run before the one that is timed. By order: its queue model is first in, first out, its orders trade whole or
not at all. The strategy is the quoter of docs/strategies.md as far as its model has it: a bid and an ask of one
contract, so many ticks from the middle, moved by `modify`, within a greatest position. It looks whenever something
arrived: hftbacktest hands rows of one arrival time over together.
"""

import json
import sys
import time

import numpy as np
from hftbacktest import BUY, GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data import correct_event_order, correct_local_timestamp, validate_event_order
from hftbacktest.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    FILL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from numba import njit, types
from numba.typed import Dict

TICK = np.dtype([
    ("ts_event", "<u8"), ("ts_recv", "<u8"), ("sequence", "<u8"), ("order_id", "<u8"),
    ("price", "<i8"), ("size", "<u4"), ("instrument_id", "<u4"), ("ts_in_delta", "<i4"),
    ("publisher_id", "<u2"), ("channel_id", "<u2"),
    ("action", "u1"), ("side", "u1"), ("flags", "u1"), ("depth", "u1"),
    ("source", "u1"), ("clock", "u1"), ("reserved", "<u2"),
])
ADD, MODIFY, CANCEL, CLEAR, TRADE, FILL = (ord(letter) for letter in "AMCRTF")
BID, ASK = ord("B"), ord("A")
SNAPSHOT = 32

HALF_SPREAD_TICKS = 1.0
SIZE = 1.0
POSITION_MAX = 5.0
REQUOTE_TICKS = 1
BID_ID, ASK_ID = 1, 2
FOREVER_NS = 1 << 62
RECEIVED_FEED, RECEIVED_RESPONSE = 2, 3


@njit
def rows_of(ticks, rows, orders):
    """Fills `rows` with what hftbacktest can take; gives their number.

    It knows no partial cancel (made a modification here), stops at an order that it does not know (left out), and
    wants the side of every row (known from the order where the tick does not say it).
    """
    n = 0
    cancelled = SELL_EVENT
    for tick in ticks:
        order_id, size = tick.order_id, float(tick.size)
        side = BUY_EVENT if tick.side == BID else SELL_EVENT if tick.side == ASK else 0
        price = tick.price / 1e9
        if tick.action == ADD:
            if side == 0:
                side = cancelled
            kind = ADD_ORDER_EVENT
            orders[order_id] = (float(side), price, size)
        elif tick.action == MODIFY or tick.action == CANCEL or tick.action == FILL:
            if order_id not in orders:
                continue
            was_side, was_price, was_size = orders[order_id]
            side = int(was_side)
            if tick.action == FILL:
                kind, price = FILL_EVENT, was_price
            elif tick.action == MODIFY:
                kind = MODIFY_ORDER_EVENT
                orders[order_id] = (was_side, price, size)
            else:
                cancelled = side
                price = was_price
                if size < was_size:
                    kind, size = MODIFY_ORDER_EVENT, was_size - size
                    orders[order_id] = (was_side, price, size)
                else:
                    kind, size = CANCEL_ORDER_EVENT, was_size
                    del orders[order_id]
        elif tick.action == TRADE:
            kind = TRADE_EVENT
        elif tick.action == CLEAR:
            kind = DEPTH_CLEAR_EVENT
            orders.clear()
        else:
            continue
        row = rows[n]
        row.ev = kind | side
        # A snapshot's orders keep the times at which they were entered: long before it.
        at_snapshot = tick.ts_event == 0 or tick.flags & SNAPSHOT
        row.exch_ts = tick.ts_recv if at_snapshot else tick.ts_event
        row.local_ts = tick.ts_recv
        row.px = price
        row.qty = size
        row.order_id = order_id
        row.ival = 0
        row.fval = 0.0
        n += 1
    return n


def events(path):
    """The file's ticks, and the rows that hftbacktest is given for them."""
    ticks = np.fromfile(path, TICK)
    rows = np.zeros(len(ticks), event_dtype)
    orders = Dict.empty(types.uint64, types.UniTuple(types.float64, 3))
    rows = rows[: rows_of(ticks, rows, orders)]
    rows = correct_local_timestamp(rows, 0)
    by_exchange = np.argsort(rows["exch_ts"], kind="stable")
    by_arrival = np.argsort(rows["local_ts"], kind="stable")
    rows = correct_event_order(rows, by_exchange, by_arrival)
    validate_event_order(rows)
    return ticks, rows


@njit
def quote(hbt, order_id, price, tick, room):
    """Brings one side's order to its price; gives whether it is known to the market."""
    order = hbt.orders(0).get(order_id)
    if order is None:
        if room:
            if order_id == BID_ID:
                hbt.submit_buy_order(0, order_id, price, SIZE, GTX, LIMIT, False)
            else:
                hbt.submit_sell_order(0, order_id, price, SIZE, GTX, LIMIT, False)
    elif order.cancellable:
        if not room:
            hbt.cancel(0, order_id, False)
        elif abs(order.price - price) > tick * (REQUOTE_TICKS - 0.5):
            hbt.modify(0, order_id, price, SIZE, False)


@njit
def trade(hbt):
    """Runs to the data's end; gives how often it looked and whether it got there."""
    steps = 0
    while True:
        result = hbt.wait_next_feed(True, FOREVER_NS)
        if result != RECEIVED_FEED and result != RECEIVED_RESPONSE:
            return steps, result == 1
        steps += 1
        if result == RECEIVED_RESPONSE:
            hbt.clear_inactive_orders(0)
        hbt.clear_last_trades(0)
        depth = hbt.depth(0)
        bid, ask, tick = depth.best_bid, depth.best_ask, depth.tick_size
        if not bid < ask:
            continue
        middle = (bid + ask) / 2.0
        buy_at = min(np.floor((middle - HALF_SPREAD_TICKS * tick) / tick + 1e-6) * tick, ask - tick)
        sell_at = max(np.ceil((middle + HALF_SPREAD_TICKS * tick) / tick - 1e-6) * tick, bid + tick)
        position = hbt.position(0)
        quote(hbt, BID_ID, buy_at, tick, position + SIZE <= POSITION_MAX)
        quote(hbt, ASK_ID, sell_at, tick, position - SIZE >= -POSITION_MAX)


def backtest(rows, tick_size, order_latency_ns, report_latency_ns):
    """One run over the rows."""
    asset = (
        BacktestAsset()
        .data([rows])
        .linear_asset(1.0)
        .constant_order_latency(order_latency_ns, report_latency_ns)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_qty_fee_model(0.0, 0.0)
        .tick_size(tick_size)
        .lot_size(1.0)
        .last_trades_capacity(0)
    )
    hbt = HashMapMarketDepthBacktest([asset])
    began = time.perf_counter()
    steps, ended = trade(hbt)
    seconds = time.perf_counter() - began
    if not ended:
        raise SystemExit("hftbacktest stopped before the data's end")
    state = hbt.state_values(0)
    result = {
        "events": len(rows),
        "seconds": seconds,
        "steps": int(steps),
        "fills": int(state.num_trades),
        "position": float(state.position),
    }
    hbt.close()
    return result


def main():
    path, tick_size = sys.argv[1], float(sys.argv[2])
    latencies = [int(argument) for argument in sys.argv[3:5]]
    ticks, rows = events(path)
    backtest(rows[:1000].copy(), tick_size, *latencies)
    print(json.dumps({"ticks": len(ticks), **backtest(rows, tick_size, *latencies)}))


if __name__ == "__main__":
    main()
