//! The books that ours is compared with.

use super::{Book, Held};
use hftbacktest::depth::{HashMapMarketDepth, L3MarketDepth, MarketDepth};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tick::{Action, Side, Tick};

/// A book as one writes it first: as good as the standard library makes it, with the queues in place.
#[derive(Default)]
pub(super) struct Plain {
    books: HashMap<u32, PlainBook>,
    orders: usize,
}

#[derive(Default)]
struct PlainBook {
    /// Side and price.
    orders: HashMap<u64, (Side, i64)>,
    bids: BTreeMap<i64, PlainLevel>,
    asks: BTreeMap<i64, PlainLevel>,
    /// The side of the order cancelled last.
    cancelled: Option<Side>,
}

#[derive(Default)]
struct PlainLevel {
    size: u64,
    queue: VecDeque<(u64, u32)>,
}

impl PlainBook {
    fn levels(&mut self, side: Side) -> &mut BTreeMap<i64, PlainLevel> {
        if side == Side::Bid { &mut self.bids } else { &mut self.asks }
    }

    fn add(&mut self, order_id: u64, side: Side, price: i64, size: u32) {
        self.orders.insert(order_id, (side, price));
        let level = self.levels(side).entry(price).or_default();
        level.size += u64::from(size);
        level.queue.push_back((order_id, size));
    }

    /// Takes `size` or all off an order; says whether it is gone.
    fn cancel(&mut self, order_id: u64, size: u32) -> bool {
        let Some(&(side, price)) = self.orders.get(&order_id) else { return false };
        self.cancelled = Some(side);
        let Some(level) = self.levels(side).get_mut(&price) else { return false };
        let Some(place) = level.queue.iter().position(|order| order.0 == order_id) else { return false };
        let left = &mut level.queue[place].1;
        let taken = size.min(*left);
        *left -= taken;
        level.size -= u64::from(taken);
        if *left != 0 {
            return false;
        }
        level.queue.remove(place);
        if level.queue.is_empty() {
            self.levels(side).remove(&price);
        }
        self.orders.remove(&order_id);
        true
    }

    fn modify(&mut self, tick: &Tick) {
        let Some(&(side, price)) = self.orders.get(&tick.order_id) else { return };
        if price == tick.price
            && let Some(level) = self.levels(side).get_mut(&price)
            && let Some(order) = level.queue.iter_mut().find(|order| order.0 == tick.order_id)
            && tick.size <= order.1
        {
            level.size -= u64::from(order.1 - tick.size);
            order.1 = tick.size;
            return;
        }
        self.cancel(tick.order_id, u32::MAX);
        self.add(tick.order_id, side, tick.price, tick.size);
    }

    fn best(&self) -> (Option<i64>, Option<i64>) {
        let bid = self.bids.last_key_value().map(|(price, _)| *price);
        (bid, self.asks.first_key_value().map(|(price, _)| *price))
    }
}

impl Book for Plain {
    fn apply(&mut self, tick: &Tick) -> (Option<i64>, Option<i64>) {
        if tick.instrument_id == 0 {
            return (None, None);
        }
        let book = self.books.entry(tick.instrument_id).or_default();
        match tick.action {
            Action::Add => {
                let side = if tick.side == Side::None { book.cancelled } else { Some(tick.side) };
                book.add(tick.order_id, side.unwrap_or(Side::Bid), tick.price, tick.size);
                self.orders += 1;
            }
            Action::Modify => book.modify(tick),
            Action::Cancel => self.orders -= usize::from(book.cancel(tick.order_id, tick.size)),
            _ => {}
        }
        book.best()
    }

    fn clear(&mut self, _channel_id: u16) {
        self.orders = 0;
        for book in self.books.values_mut() {
            book.orders.clear();
            book.bids.clear();
            book.asks.clear();
        }
    }

    fn held(&self) -> Held {
        let best = self.books.values().map(PlainBook::best);
        let best = best.map(|(bid, ask)| i128::from(bid.unwrap_or(0)) + i128::from(ask.unwrap_or(0))).sum();
        Held { orders: self.orders, best }
    }
}

/// One of hftbacktest's depths for each instrument. Its prices are floats over a tick size.
pub(super) struct Hftbacktest {
    /// 1e-9 units.
    tick_size: i64,
    books: HashMap<u32, (HashMapMarketDepth, Option<Side>)>,
}

impl Hftbacktest {
    pub(super) fn new(tick_size: i64) -> Hftbacktest {
        Hftbacktest { tick_size, books: HashMap::new() }
    }

    fn best(depth: &HashMapMarketDepth, tick_size: i64) -> (Option<i64>, Option<i64>) {
        let price = |tick: i64, none: i64| (tick != none).then(|| tick * tick_size);
        let (bid, ask) = (depth.best_bid_tick(), depth.best_ask_tick());
        (price(bid, hftbacktest::depth::INVALID_MIN), price(ask, hftbacktest::depth::INVALID_MAX))
    }
}

impl Book for Hftbacktest {
    fn apply(&mut self, tick: &Tick) -> (Option<i64>, Option<i64>) {
        if tick.instrument_id == 0 {
            return (None, None);
        }
        let tick_size = self.tick_size;
        let new = || (HashMapMarketDepth::new(tick_size as f64 / 1e9, 1.0), None);
        let (depth, cancelled) = self.books.entry(tick.instrument_id).or_insert_with(new);
        let (id, price, size) = (tick.order_id, tick.price as f64 / 1e9, f64::from(tick.size));
        // An order that it does not know is left out, as in the other books.
        let known = match tick.action {
            Action::Add => {
                let side = if tick.side == Side::None { *cancelled } else { Some(tick.side) };
                if side == Some(Side::Ask) {
                    depth.add_sell_order(id, price, size, 0).is_ok()
                } else {
                    depth.add_buy_order(id, price, size, 0).is_ok()
                }
            }
            Action::Modify => depth.modify_order(id, price, size, 0).is_ok(),
            Action::Cancel => {
                match depth.orders().get(&id).map(|order| (order.side, order.qty, order.price_tick)) {
                    None => false,
                    Some((side, qty, price_tick)) => {
                        let buy = side == hftbacktest::types::Side::Buy;
                        *cancelled = Some(if buy { Side::Bid } else { Side::Ask });
                        if size < qty {
                            let price = (price_tick * tick_size) as f64 / 1e9;
                            depth.modify_order(id, price, qty - size, 0).is_ok()
                        } else {
                            depth.delete_order(id, 0).is_ok()
                        }
                    }
                }
            }
            _ => true,
        };
        std::hint::black_box(known);
        Hftbacktest::best(depth, tick_size)
    }

    fn clear(&mut self, _channel_id: u16) {
        for (depth, _) in self.books.values_mut() {
            depth.clear_orders(hftbacktest::types::Side::None);
        }
    }

    fn held(&self) -> Held {
        let best = self.books.values().map(|(depth, _)| Hftbacktest::best(depth, self.tick_size));
        let best = best.map(|(bid, ask)| i128::from(bid.unwrap_or(0)) + i128::from(ask.unwrap_or(0))).sum();
        Held { orders: self.books.values().map(|(depth, _)| depth.orders().len()).sum(), best }
    }
}
