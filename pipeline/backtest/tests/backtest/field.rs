//! A recorded market with its books, driven tick by tick, and what it reports in short words.

use backtest::document::QueueModel;
use backtest::market::{Liquidity, Market, RecordedMarket, Reports, Told};
use book::{Books, Limits};
use bus::config::InstrumentKey;
use bus::{Instruction, OrderAction, OrderId, OrderSide, ReportKind, TimeInForce};
use tick::{Action, Flags, GapReason, Price, Side, Tick};

pub(crate) const KEY: InstrumentKey = InstrumentKey { publisher_id: 1, instrument_id: 42 };
const CHANNEL: u16 = 7;

pub(crate) struct Field {
    pub(crate) books: Books,
    pub(crate) market: RecordedMarket,
    reports: Reports,
    pub(crate) now_ns: u64,
    sequence: u64,
    by_price: bool,
    pub(crate) told: Vec<Told>,
}

pub(crate) fn id(name: &str) -> OrderId {
    name.parse().unwrap()
}

/// A tick of the instrument, the last of its event.
pub(crate) fn tick(action: Action, side: Side, price: i64, size: u32) -> Tick {
    Tick {
        price,
        size,
        instrument_id: KEY.instrument_id,
        publisher_id: KEY.publisher_id,
        channel_id: CHANNEL,
        action,
        side,
        flags: Flags::LAST,
        ..Tick::EMPTY
    }
}

impl Field {
    /// An empty, good book by order, in trading.
    pub(crate) fn new(model: QueueModel) -> Field {
        Field::of(model, false)
    }

    /// The same by price.
    pub(crate) fn by_price(model: QueueModel) -> Field {
        Field::of(model, true)
    }

    fn of(model: QueueModel, by_price: bool) -> Field {
        let mut field = Field {
            books: Books::new(Limits::SMALL),
            market: RecordedMarket::new(model),
            reports: Reports::default(),
            now_ns: 1_000,
            sequence: 0,
            by_price,
            told: Vec::new(),
        };
        field.tick(Tick::channel_clear(KEY.publisher_id, CHANNEL, 1, 1_000));
        field.trading(true);
        field
    }

    pub(crate) fn tick(&mut self, tick: Tick) -> Vec<String> {
        self.now_ns += 10;
        self.sequence += 1;
        let tick = Tick { ts_recv: self.now_ns, sequence: self.sequence, ..tick };
        self.books.apply(&tick);
        self.market.tick(self.now_ns, &tick, &self.books, &mut self.reports);
        self.words()
    }

    fn order_tick(
        &mut self,
        action: Action,
        order_id: u64,
        side: Side,
        price: i64,
        size: u32,
    ) -> Vec<String> {
        self.tick(Tick { order_id, ..tick(action, side, price, size) })
    }

    pub(crate) fn add(&mut self, order_id: u64, side: Side, price: i64, size: u32) -> Vec<String> {
        self.order_tick(Action::Add, order_id, side, price, size)
    }

    pub(crate) fn modify(&mut self, order_id: u64, side: Side, price: i64, size: u32) -> Vec<String> {
        self.order_tick(Action::Modify, order_id, side, price, size)
    }

    pub(crate) fn cancel(&mut self, order_id: u64, side: Side, price: i64, size: u32) -> Vec<String> {
        self.order_tick(Action::Cancel, order_id, side, price, size)
    }

    /// A resting order trades: its fill, and what it takes off the book.
    pub(crate) fn filled(&mut self, order_id: u64, side: Side, price: i64, size: u32) -> Vec<String> {
        let fill = Tick { order_id, flags: Flags::NONE, ..tick(Action::Fill, side, price, size) };
        let mut words = self.tick(fill);
        words.extend(self.order_tick(Action::Cancel, order_id, side, price, size));
        words
    }

    /// A level of a book by price is this large now; 0 takes it away.
    pub(crate) fn level(&mut self, side: Side, price: i64, size: u32) -> Vec<String> {
        assert!(self.by_price);
        self.tick(Tick { depth: 255, ..tick(Action::Modify, side, price, size) })
    }

    /// A trade that takes from this side of a book by price.
    pub(crate) fn traded(&mut self, resting: Side, price: i64, size: u32) -> Vec<String> {
        let aggressor = if resting == Side::Bid { Side::Ask } else { Side::Bid };
        self.tick(Tick { depth: 255, flags: Flags::NONE, ..tick(Action::Trade, aggressor, price, size) })
    }

    pub(crate) fn gap(&mut self) -> Vec<String> {
        self.now_ns += 10;
        let gap = Tick::gap(KEY.publisher_id, CHANNEL, 1, 2, self.now_ns, GapReason::Lost);
        self.tick(gap)
    }

    pub(crate) fn trading(&mut self, trades: bool) -> Vec<String> {
        self.market.trading(self.now_ns, KEY, trades, &self.books, &mut self.reports);
        self.words()
    }

    pub(crate) fn instruct(&mut self, name: &str, action: OrderAction) -> Vec<String> {
        self.now_ns += 10;
        let instruction = Instruction {
            id: id(name),
            action,
            venue: "sim".into(),
            publisher_id: KEY.publisher_id,
            instrument_id: KEY.instrument_id,
            symbol: "X".into(),
            strategy: "s".into(),
            cause_ns: 5,
            created_ns: self.now_ns,
        };
        self.market.instruct(self.now_ns, &instruction, &self.books, &mut self.reports);
        self.words()
    }

    pub(crate) fn new_order(
        &mut self,
        name: &str,
        side: OrderSide,
        quantity: u64,
        price: i64,
    ) -> Vec<String> {
        self.send(name, side, quantity, Some(price), TimeInForce::Day)
    }

    pub(crate) fn send(
        &mut self,
        name: &str,
        side: OrderSide,
        quantity: u64,
        price: Option<i64>,
        time_in_force: TimeInForce,
    ) -> Vec<String> {
        let price = price.map(Price);
        self.instruct(name, OrderAction::New { side, quantity, price, time_in_force })
    }

    pub(crate) fn replace(&mut self, name: &str, of: &str, quantity: u64, price: i64) -> Vec<String> {
        self.instruct(name, OrderAction::Replace { of: id(of), quantity, price: Price(price) })
    }

    pub(crate) fn cancel_order(&mut self, name: &str, of: &str) -> Vec<String> {
        self.instruct(name, OrderAction::Cancel { of: id(of) })
    }

    pub(crate) fn close(&mut self) -> Vec<String> {
        self.market.close(self.now_ns, &mut self.reports);
        self.words()
    }

    pub(crate) fn market_counts(&self) -> backtest::market::MarketCounts {
        self.market.counts()
    }

    /// What was told since the last look, without that orders were sent and taken.
    fn words(&mut self) -> Vec<String> {
        let told: Vec<Told> = self.reports.drain().collect();
        let words = told.iter().filter_map(|Told { report, liquidity }| {
            let name = report.id.map_or(String::new(), |id| id.to_string());
            Some(match report.kind {
                ReportKind::Sent | ReportKind::Accepted => return None,
                ReportKind::Filled => {
                    let liquidity = if *liquidity == Some(Liquidity::Maker) { "maker" } else { "taker" };
                    let price = report.last_price.unwrap().0;
                    format!("{name} {liquidity} {}@{price} leaves {}", report.last_quantity, report.leaves)
                }
                kind => {
                    let of = report.of.map_or(String::new(), |of| format!(" of {of}"));
                    let reason =
                        if report.reason.is_empty() { String::new() } else { format!(" {}", report.reason) };
                    format!("{name} {}{of}{reason} leaves {}", kind.word(), report.leaves)
                }
            })
        });
        let words = words.collect();
        self.told.extend(told);
        words
    }
}
