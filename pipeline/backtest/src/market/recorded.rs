//! The recorded market with our orders beside it.
//!
//! It does not move by our orders. An order that comes takes what is displayed and not yet taken, level by level; what is left of
//! it waits behind what rests at its price, and trades when the record says that somebody would have traded with it: a trade
//! that reaches behind it or at a worse price, or the other side coming to stand at its price or through it.
//!
//! Invariants: our orders of a side stand in the order of price, then of arrival, and one recorded trade is given to them
//! once; nothing trades while the book is bad or the instrument does not trade; an order never trades beyond its
//! quantity or limit.

use super::order::{Order, about, is_better, other};
use super::queue::Queue;
use super::taken::Taken;
use super::{Liquidity, Market, MarketCounts, Reports};
use crate::document::QueueModel;
use book::{Book, BookId, Books, Kind};
use bus::config::InstrumentKey;
use bus::{Instruction, OrderAction, OrderId, Quantity, Report, ReportKind, TimeInForce};
use std::collections::HashMap;
use tick::{Action, DEPTH_BY_ORDER, Flags, Price, Side, Tick};

/// In the place of an instrument's index.
const NONE: u32 = u32::MAX;

/// An instrument that orders came for.
#[derive(Clone, Debug)]
struct Place {
    key: InstrumentKey,
    book: Option<BookId>,
    trades: bool,
    bids: Vec<Order>,
    asks: Vec<Order>,
    taken: Taken,
}

impl Place {
    fn side(&mut self, side: Side) -> &mut Vec<Order> {
        if side == Side::Bid { &mut self.bids } else { &mut self.asks }
    }

    fn is_idle(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty() && self.taken.is_empty()
    }
}

/// The market of a recording.
#[derive(Clone, Debug)]
pub struct RecordedMarket {
    model: QueueModel,
    places: Vec<Place>,
    by_key: HashMap<InstrumentKey, u32>,
    /// Index of each book's place.
    by_book: Vec<u32>,
    /// Places that are not idle.
    busy: usize,
    venue_orders: u64,
    executions: u64,
    counts: MarketCounts,
}

impl RecordedMarket {
    /// A market in which no order is.
    pub fn new(model: QueueModel) -> RecordedMarket {
        RecordedMarket {
            model,
            places: Vec::new(),
            by_key: HashMap::new(),
            by_book: Vec::new(),
            busy: 0,
            venue_orders: 0,
            executions: 0,
            counts: MarketCounts::default(),
        }
    }

    /// The place of an instrument, made if there is none.
    fn place(&mut self, key: InstrumentKey) -> usize {
        let next = self.places.len() as u32;
        let at = *self.by_key.entry(key).or_insert(next);
        if at == next {
            self.places.push(Place {
                key,
                book: None,
                trades: false,
                bids: Vec::new(),
                asks: Vec::new(),
                taken: Taken::default(),
            });
        }
        at as usize
    }

    /// Ties a place to its book, when there is one.
    fn find_book(&mut self, at: usize, books: &Books) -> Option<BookId> {
        let place = &mut self.places[at];
        if place.book.is_none() {
            let InstrumentKey { publisher_id, instrument_id } = place.key;
            let id = books.find(publisher_id, instrument_id)?;
            place.book = Some(id);
            if self.by_book.len() <= id.index() {
                self.by_book.resize(id.index() + 1, NONE);
            }
            self.by_book[id.index()] = at as u32;
        }
        self.places[at].book
    }

    /// The book of a place, when our orders can trade in it now.
    fn open_book<'b>(&mut self, at: usize, books: &'b Books) -> Option<Book<'b>> {
        let id = self.find_book(at, books)?;
        let book = books.book(id);
        let knows_orders = self.model != QueueModel::ByOrder || book.kind() == Kind::ByOrder;
        (self.places[at].trades && book.is_good() && knows_orders).then_some(book)
    }

    /// Whether places are to be counted by orders, and the feed has none.
    fn lacks_orders(&mut self, at: usize, books: &Books) -> bool {
        let book = self.find_book(at, books).map(|id| books.book(id));
        self.model == QueueModel::ByOrder && book.is_some_and(|book| book.kind() == Kind::ByPrice)
    }

    fn recount(&mut self, at: usize, was_idle: bool) {
        match (was_idle, self.places[at].is_idle()) {
            (true, false) => self.busy += 1,
            (false, true) => self.busy -= 1,
            _ => {}
        }
    }

    fn trade(
        executions: &mut u64,
        order: &mut Order,
        (now_ns, price, quantity): (u64, Price, Quantity),
        liquidity: Liquidity,
        reports: &mut Reports,
    ) {
        *executions += 1;
        order.filled += quantity;
        let report = Report {
            last_quantity: quantity,
            last_price: Some(price),
            execution: executions.to_string(),
            ..order.report(ReportKind::Filled, now_ns)
        };
        reports.push(report, Some(liquidity));
    }

    /// An order comes: takes what it can, and rests or ends with what is left.
    fn arrive(&mut self, at: usize, mut order: Order, now_ns: u64, books: &Books, reports: &mut Reports) {
        order.queue = None;
        if let Some(book) = self.open_book(at, books) {
            self.enter(at, &mut order, now_ns, book, reports);
        }
        if order.leaves() == 0 {
            return;
        }
        let Some(limit) = order.limit.filter(|_| order.rests()) else {
            let report =
                Report { leaves: 0, reason: "ioc".into(), ..order.report(ReportKind::Cancelled, now_ns) };
            return reports.push(report, None);
        };
        let side = order.book_side();
        let orders = self.places[at].side(side);
        let behind = orders
            .partition_point(|other| other.limit.is_some_and(|other| !is_better(side, limit.0, other.0)));
        orders.insert(behind, order);
    }

    /// Takes what is displayed, and joins the queue with the rest.
    fn enter(&mut self, at: usize, order: &mut Order, now_ns: u64, book: Book<'_>, reports: &mut Reports) {
        let (side, limit, wanted) = (order.book_side(), order.limit, order.leaves());
        let accepts = |price: i64| limit.is_none_or(|limit| !is_better(side, price, limit.0));
        let executions = &mut self.executions;
        self.places[at].taken.take(book, other(side), wanted, accepts, |price, quantity| {
            let what = (now_ns, Price(price), quantity);
            RecordedMarket::trade(executions, order, what, Liquidity::Taker, reports);
        });
        if let Some(limit) = limit.filter(|_| order.leaves() > 0) {
            order.queue = Some(Queue::join(self.model, book, side, limit.0));
        }
    }

    /// A recorded trade with what rested on a side of the book.
    fn traded(
        &mut self,
        at: usize,
        (side, price, size): (Side, i64, u64),
        resting_order_id: u64,
        now_ns: u64,
        reports: &mut Reports,
    ) {
        let mut left = size;
        let executions = &mut self.executions;
        for order in self.places[at].side(side).iter_mut() {
            let Some(limit) = order.limit.filter(|limit| left > 0 && !is_better(side, price, limit.0)) else {
                break;
            };
            let Some(queue) = &mut order.queue else { continue };
            let reached = if limit.0 == price { queue.reached_by(resting_order_id, left) } else { left };
            let quantity = reached.min(order.leaves());
            if quantity > 0 {
                left -= quantity;
                let what = (now_ns, limit, quantity);
                RecordedMarket::trade(executions, order, what, Liquidity::Maker, reports);
            }
        }
        self.places[at].side(side).retain(|order| order.leaves() > 0);
    }

    /// An event ended, or trading began: orders that could not stand so far do now, and those at whose price the other side
    /// has come to stand trade with it.
    fn settle(&mut self, at: usize, now_ns: u64, book: Book<'_>, reports: &mut Reports) {
        for side in [Side::Bid, Side::Ask] {
            if self.places[at].side(side).iter().any(|order| order.queue.is_none()) {
                self.stand(at, side, now_ns, book, reports);
            }
            let Some(best) = book.best(other(side)) else { continue };
            let crosses = |limit: Price| !is_better(side, best.price, limit.0);
            if self.places[at].side(side).first().and_then(|order| order.limit).is_some_and(crosses) {
                self.met(at, side, now_ns, book, reports);
            }
        }
    }

    #[cold]
    fn stand(&mut self, at: usize, side: Side, now_ns: u64, book: Book<'_>, reports: &mut Reports) {
        let mut orders = std::mem::take(self.places[at].side(side));
        for order in orders.iter_mut().filter(|order| order.queue.is_none()) {
            self.enter(at, order, now_ns, book, reports);
        }
        orders.retain(|order| order.leaves() > 0);
        *self.places[at].side(side) = orders;
    }

    /// The other side stands at our orders' prices or through them: it would have traded with them as it came.
    #[cold]
    fn met(&mut self, at: usize, side: Side, now_ns: u64, book: Book<'_>, reports: &mut Reports) {
        let mut orders = std::mem::take(self.places[at].side(side));
        let executions = &mut self.executions;
        for order in &mut orders {
            let Some(limit) = order.limit else { continue };
            let mut quantity = 0;
            let accepts = |price: i64| !is_better(side, price, limit.0);
            let taken = &mut self.places[at].taken;
            taken.take(book, other(side), order.leaves(), accepts, |_, part| quantity += part);
            if quantity == 0 {
                break;
            }
            let what = (now_ns, limit, quantity);
            RecordedMarket::trade(executions, order, what, Liquidity::Maker, reports);
        }
        orders.retain(|order| order.leaves() > 0);
        *self.places[at].side(side) = orders;
    }

    /// Whatever the record says about a trade that our orders could take part in.
    fn recorded_trade(tick: &Tick, book: Book<'_>) -> Option<(Side, i64, u64)> {
        let size = u64::from(tick.size);
        if tick.size == Tick::SIZE_UNDEFINED {
            return None;
        }
        if book.kind() == Kind::ByOrder {
            // With the trade itself its resting orders are told: they say at which place of which queue it was. A fill at another
            // price than its order's is none with a queue: CME also tells the fill of an order that was resting and was moved
            // through the other side, before it says that it was moved.
            let order = book.order(tick.order_id).filter(|_| tick.action == Action::Fill)?;
            let at_its_price = !tick.price().is_defined() || tick.price == order.price;
            return at_its_price.then_some((order.side, order.price, size));
        }
        if tick.action != Action::Trade || !tick.price().is_defined() {
            return None;
        }
        let resting = match tick.side {
            Side::Bid | Side::Ask => other(tick.side),
            _ => {
                let at_or_through = |side| {
                    let best = book.best(side).map(|level| level.price);
                    best.is_some_and(|best| !is_better(side, tick.price, best))
                };
                if at_or_through(Side::Bid) {
                    Side::Bid
                } else if at_or_through(Side::Ask) {
                    Side::Ask
                } else {
                    return None;
                }
            }
        };
        Some((resting, tick.price, size))
    }

    /// A tick of an instrument in which something is going on.
    fn busy_tick(&mut self, at: usize, now_ns: u64, tick: &Tick, book: Book<'_>, reports: &mut Reports) {
        let open = self.places[at].trades && book.is_good();
        match tick.action {
            Action::Trade | Action::Fill => {
                let Some(trade) = RecordedMarket::recorded_trade(tick, book) else { return };
                if open {
                    self.traded(at, trade, tick.order_id, now_ns, reports);
                } else if self.places[at].trades {
                    self.counts.trades_in_bad_book += 1;
                } else {
                    self.counts.trades_not_trading += 1;
                }
            }
            Action::Add | Action::Modify | Action::Cancel => self.changed(at, tick, book),
            Action::Clear => self.places[at].taken.clear(),
            _ => {}
        }
        if open && tick.flags.contains(Flags::LAST) {
            self.settle(at, now_ns, book, reports);
        }
    }

    /// The record changed the book.
    #[inline]
    fn changed(&mut self, at: usize, tick: &Tick, book: Book<'_>) {
        let Place { bids, asks, taken, .. } = &mut self.places[at];
        let by_order = tick.depth == DEPTH_BY_ORDER && !tick.flags.contains(Flags::MBP);
        if by_order != (book.kind() == Kind::ByOrder) {
            return;
        }
        for order in bids.iter_mut().chain(asks) {
            let (side, Some(limit)) = (order.book_side(), order.limit) else { continue };
            match &mut order.queue {
                Some(queue @ Queue::Orders(_)) if tick.action != Action::Add => {
                    queue.order_changed(tick, limit.0, book);
                }
                Some(queue @ Queue::Counted { .. })
                    if !matches!(tick.side, Side::Bid | Side::Ask) || tick.side == side =>
                {
                    queue.level_changed(book, side, limit.0);
                }
                _ => {}
            }
        }
        if taken.is_empty() {
        } else if by_order {
            taken.order_changed(tick.order_id, book);
        } else {
            taken.levels_changed(book);
        }
    }

    /// Takes an open order out, by its id or that of the order that it replaced.
    fn remove(&mut self, at: usize, id: OrderId) -> Option<(Order, usize)> {
        for side in [Side::Bid, Side::Ask] {
            let orders = self.places[at].side(side);
            if let Some(found) = orders.iter().position(|order| order.is_named(id)) {
                return Some((orders.remove(found), found));
            }
        }
        None
    }

    fn replace(
        &mut self,
        at: usize,
        now_ns: u64,
        instruction: &Instruction,
        (of, quantity, price): (OrderId, Quantity, Price),
        books: &Books,
        reports: &mut Reports,
    ) {
        self.counts.replacements += 1;
        let found = self.remove(at, of);
        let sent = Report { of: Some(of), ..about(instruction, ReportKind::Sent, now_ns) };
        let Some((mut order, place)) = found else {
            reports.push(sent, None);
            self.counts.rejected += 1;
            let report = Report {
                of: Some(of),
                reason: "too_late".into(),
                ..about(instruction, ReportKind::Rejected, now_ns)
            };
            return reports.push(report, None);
        };
        let (filled, leaves) = (order.filled, order.leaves());
        reports.push(Report { side: Some(order.side), filled, leaves, ..sent }, None);
        let keeps_place = order.limit == Some(price) && quantity <= order.quantity;
        let before = order.id;
        order.previous = Some(before);
        (order.id, order.limit, order.quantity) = (instruction.id, Some(price), quantity);
        order.instruction = instruction.clone();
        let report = Report { of: Some(before), ..order.report(ReportKind::Replaced, now_ns) };
        reports.push(report, None);
        if order.leaves() == 0 {
            let reason = "nothing_open".into();
            return reports.push(Report { reason, ..order.report(ReportKind::Cancelled, now_ns) }, None);
        }
        if keeps_place {
            let side = order.book_side();
            self.places[at].side(side).insert(place, order);
        } else {
            self.arrive(at, order, now_ns, books, reports);
        }
    }

    fn cancel(
        &mut self,
        at: usize,
        now_ns: u64,
        instruction: &Instruction,
        of: OrderId,
        reports: &mut Reports,
    ) {
        self.counts.cancels += 1;
        let found = self.remove(at, of);
        let side = found.as_ref().map(|(order, _)| order.side);
        let sent = Report { of: Some(of), side, ..about(instruction, ReportKind::Sent, now_ns) };
        reports.push(sent, None);
        let report = match found {
            Some((order, _)) => Report {
                id: Some(instruction.id),
                of: Some(order.id),
                leaves: 0,
                ..order.report(ReportKind::Cancelled, now_ns)
            },
            None => {
                self.counts.rejected += 1;
                Report {
                    of: Some(of),
                    reason: "too_late".into(),
                    ..about(instruction, ReportKind::CancelRejected, now_ns)
                }
            }
        };
        reports.push(report, None);
    }
}

impl Market for RecordedMarket {
    fn instruct(&mut self, now_ns: u64, instruction: &Instruction, books: &Books, reports: &mut Reports) {
        let Instruction { publisher_id, instrument_id, .. } = *instruction;
        let at = self.place(InstrumentKey { publisher_id, instrument_id });
        let was_idle = self.places[at].is_idle();
        match instruction.action {
            OrderAction::New { side, quantity, price, time_in_force } => {
                self.counts.orders += 1;
                self.venue_orders += 1;
                let order = Order {
                    id: instruction.id,
                    previous: None,
                    instruction: instruction.clone(),
                    side,
                    limit: price,
                    time_in_force: if price.is_some() {
                        time_in_force
                    } else {
                        TimeInForce::ImmediateOrCancel
                    },
                    quantity,
                    filled: 0,
                    venue_order: self.venue_orders,
                    queue: None,
                };
                reports.push(order.report(ReportKind::Sent, now_ns), None);
                if self.lacks_orders(at, books) {
                    self.counts.rejected += 1;
                    let text = "the feed has no orders; choose the queue behind_all or proportional".into();
                    let rejected = order.report(ReportKind::Rejected, now_ns);
                    let report = Report { leaves: 0, reason: "queue_model".into(), text, ..rejected };
                    reports.push(report, None);
                } else {
                    reports.push(order.report(ReportKind::Accepted, now_ns), None);
                    self.arrive(at, order, now_ns, books, reports);
                }
            }
            OrderAction::Replace { of, quantity, price } => {
                self.replace(at, now_ns, instruction, (of, quantity, price), books, reports);
            }
            OrderAction::Cancel { of } => self.cancel(at, now_ns, instruction, of, reports),
        }
        self.recount(at, was_idle);
    }

    #[inline]
    fn tick(&mut self, now_ns: u64, tick: &Tick, books: &Books, reports: &mut Reports) {
        if self.busy == 0 {
            return;
        }
        if tick.instrument_id == 0 {
            if tick.action == Action::Clear {
                self.clear_channel(tick.channel_id, books);
            }
            return;
        }
        let Some(id) = books.find(tick.publisher_id, tick.instrument_id) else { return };
        let at = match self.by_book.get(id.index()) {
            Some(at) if *at != NONE => *at as usize,
            _ => match self.meet(tick, books) {
                Some(at) => at,
                None => return,
            },
        };
        if !self.places[at].is_idle() {
            self.busy_tick(at, now_ns, tick, books.book(id), reports);
            self.recount(at, false);
        }
    }

    fn trading(
        &mut self,
        now_ns: u64,
        key: InstrumentKey,
        trades: bool,
        books: &Books,
        reports: &mut Reports,
    ) {
        let at = self.place(key);
        self.places[at].trades = trades;
        if !self.places[at].is_idle()
            && let Some(book) = self.open_book(at, books)
        {
            self.settle(at, now_ns, book, reports);
            self.recount(at, false);
        }
    }

    fn close(&mut self, now_ns: u64, reports: &mut Reports) {
        for place in &mut self.places {
            for order in place.bids.drain(..).chain(place.asks.drain(..)) {
                let report =
                    Report { leaves: 0, reason: "end".into(), ..order.report(ReportKind::Cancelled, now_ns) };
                reports.push(report, None);
            }
            place.taken.clear();
        }
        self.busy = 0;
    }

    fn counts(&self) -> MarketCounts {
        self.counts
    }
}

impl RecordedMarket {
    /// An instrument whose first tick came after its first order.
    #[cold]
    fn meet(&mut self, tick: &Tick, books: &Books) -> Option<usize> {
        let (publisher_id, instrument_id) = (tick.publisher_id, tick.instrument_id);
        let at = *self.by_key.get(&InstrumentKey { publisher_id, instrument_id })? as usize;
        self.find_book(at, books).map(|_| at)
    }

    /// The recorded orders of a channel are gone; ours stay, behind those that were ahead, should they come back.
    #[cold]
    fn clear_channel(&mut self, channel_id: u16, books: &Books) {
        for at in 0..self.places.len() {
            let was_idle = self.places[at].is_idle();
            let book = self.places[at].book.map(|id| books.book(id));
            if book.is_some_and(|book| book.channel_id() == channel_id) {
                self.places[at].taken.clear();
            }
            self.recount(at, was_idle);
        }
    }
}
