//! The market spoken as MDP 3.0: books by price with the orders behind them, and trades, by the project's own
//! template file ([`FIXTURE`]).

use super::market::{
    BOOK_DEPTH, Change, LevelChange, LevelState, Market, MarketEvent, Match, MatchKind, Side,
};
use super::{SESSION_BEGIN_NS, Speaker};
use crate::session::Packet;
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;
use wire::mdp3::encode::{
    BookEntry, BookOrder, Definition, END_OF_EVENT, EncodeError, PacketWriter, TradeEntry,
};
use wire::mdp3::{FIXTURE, Kind, Schema, Value};

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(FIXTURE).expect("the project's own template file is right"));

/// The largest payload that fits an Ethernet frame of 1,500 bytes.
const PAYLOAD_BYTES: usize = 1_472;
/// The most that one step of the market takes: a trade, and a book change with two levels and two orders.
const STEP_BYTES_MAX: usize = 320;
/// A quarter, in 1e-9 units.
const TICK_UNITS: i64 = 250_000_000;
const GROUP: &str = "FP";
/// MatchEventIndicator: last trade message of an event.
const LAST_TRADE: u8 = 1;
/// SecurityTradingStatus codes.
const READY_TO_TRADE: u8 = 17;
const CLOSED: u8 = 4;

pub(super) struct Mdp3Feed {
    market: Market,
    writer: PacketWriter<'static>,
    symbols: Vec<String>,
    /// Security ids and order ids begin after those of the channels before.
    channel: u16,
    /// Each instrument's own sequence number, of its last entry.
    rpt_seq: Vec<u32>,
    sequence: u32,
    defined: usize,
    /// Scratch: the message being made.
    entries: Vec<BookEntry>,
    orders: Vec<BookOrder>,
}

impl Mdp3Feed {
    pub(super) fn new(channel: u16, symbols: u16, random: ChaCha8Rng) -> Mdp3Feed {
        Mdp3Feed {
            market: Market::new(symbols, random),
            writer: PacketWriter::new(&SCHEMA),
            symbols: (0..symbols).map(|symbol| format!("C{channel}F{symbol}")).collect(),
            channel,
            rpt_seq: vec![0; usize::from(symbols)],
            sequence: 0,
            defined: 0,
            entries: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// Fills in a packet with what `write` says; it gives back the count of messages.
    fn packet(
        &mut self,
        packet: &mut Packet,
        write: impl FnOnce(&mut Mdp3Feed, u64) -> Result<u32, EncodeError>,
    ) {
        self.sequence += 1;
        let time_ns = SESSION_BEGIN_NS + packet.at_ns;
        self.writer.begin(self.sequence, time_ns);
        packet.messages = write(self, time_ns).expect("the project's own template file has every field");
        packet.first = self.sequence.into();
        packet.count = 1;
        packet.payload.clear();
        packet.payload.extend_from_slice(self.writer.bytes());
    }

    fn security_id(&self, symbol: u16) -> i32 {
        security_id(self.channel, symbol)
    }

    fn order_id(&self, reference: u64) -> u64 {
        order_id(self.channel, reference)
    }

    fn next_rpt_seq(&mut self, symbol: u16) -> u32 {
        let last = &mut self.rpt_seq[usize::from(symbol)];
        *last += 1;
        *last
    }

    /// One step of the market; gives back how many messages it took.
    fn step(&mut self, time_ns: u64) -> Result<u32, EncodeError> {
        // A broken match has no message here.
        let mut event = self.market.step();
        while matches!(event, MarketEvent::Match(Match { kind: MatchKind::Broken, .. })) {
            event = self.market.step();
        }
        let mut messages = 0;
        if let MarketEvent::Match(matched) = event {
            self.write_trade(&matched, time_ns)?;
            messages += 1;
        }
        let changes = self.market.changes();
        let is_deep = |change: &&LevelChange| change.depth > BOOK_DEPTH;
        let visible = changes.iter().flatten().filter(|change| !is_deep(change)).count() > 0;
        if changes.iter().flatten().any(|change| is_deep(&change)) {
            let indicator = if visible { 0 } else { END_OF_EVENT };
            self.write_orders(changes.iter().flatten().filter(is_deep), indicator, time_ns)?;
            messages += 1;
        }
        if visible {
            self.write_book(changes.iter().flatten().filter(|change| !is_deep(change)), time_ns)?;
            messages += 1;
        }
        Ok(messages)
    }

    /// Changes of levels in the book by price, the levels that they uncover, and the orders behind them.
    fn write_book<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c LevelChange>,
        time_ns: u64,
    ) -> Result<(), EncodeError> {
        self.entries.clear();
        self.orders.clear();
        for change in changes {
            let entry = self.book_entry(change, change.depth, change.level, change.state);
            self.entries.push(entry);
            self.orders.push(BookOrder {
                order_id: self.order_id(change.reference),
                quantity: change.order_shares,
                reference_id: self.entries.len() as u8,
                update_action: action(change.order),
            });
            if let Some(uncovered) = change.uncovered {
                let entry = self.book_entry(change, BOOK_DEPTH, Change::New, uncovered);
                self.entries.push(entry);
            }
        }
        self.writer.book(time_ns, END_OF_EVENT, &self.entries, &self.orders)
    }

    fn book_entry(&mut self, of: &LevelChange, depth: u8, change: Change, state: LevelState) -> BookEntry {
        BookEntry {
            price: Some(i64::from(state.ticks) * TICK_UNITS),
            size: state.shares,
            security_id: self.security_id(of.symbol),
            rpt_seq: self.next_rpt_seq(of.symbol),
            number_of_orders: state.orders.into(),
            level: depth,
            update_action: action(change),
            entry_type: entry_type(of.side),
        }
    }

    /// Changes of orders beyond the book by price.
    fn write_orders<'c>(
        &mut self,
        changes: impl Iterator<Item = &'c LevelChange> + Clone,
        indicator: u8,
        time_ns: u64,
    ) -> Result<(), EncodeError> {
        let (channel, count) = (self.channel, changes.clone().count());
        let mut message = self.writer.begin_kind(Kind::OrderBook)?;
        message
            .set("TransactTime", Value::UInt(time_ns))?
            .set("MatchEventIndicator", Value::UInt(indicator.into()))?
            .group("NoMDEntries", count)?;
        for (index, change) in changes.enumerate() {
            message
                .entry(index)
                .set("OrderID", Value::UInt(order_id(channel, change.reference)))?
                .price("MDEntryPx", i64::from(change.state.ticks) * TICK_UNITS)?
                .set("MDDisplayQty", Value::UInt(change.order_shares.into()))?
                .set("SecurityID", Value::Int(security_id(channel, change.symbol).into()))?
                .set("MDUpdateAction", Value::UInt(action(change.order).into()))?
                .set("MDEntryType", Value::Char(entry_type(change.side)))?;
        }
        message.finish()
    }

    fn write_trade(&mut self, matched: &Match, time_ns: u64) -> Result<(), EncodeError> {
        let &Match { symbol, shares, kind, .. } = matched;
        let resting = self.market.changes()[0];
        let ticks = match (kind, resting) {
            (MatchKind::ExecutionAtPrice { ticks, .. } | MatchKind::Hidden { ticks }, _) => ticks,
            (_, change) => change.map_or(0, |change| change.state.ticks),
        };
        let entry = TradeEntry {
            price: i64::from(ticks) * TICK_UNITS,
            size: shares,
            security_id: self.security_id(symbol),
            rpt_seq: self.next_rpt_seq(symbol),
            number_of_orders: resting.iter().count() as u32,
            aggressor_side: match resting.map(|change| change.side) {
                None => 0,
                Some(Side::Ask) => 1,
                Some(Side::Bid) => 2,
            },
        };
        let orders = resting.map(|change| (self.order_id(change.reference), shares));
        let indicator = LAST_TRADE | if resting.is_none() { END_OF_EVENT } else { 0 };
        self.writer.trade(time_ns, indicator, &[entry], orders.as_slice())
    }
}

impl Speaker for Mdp3Feed {
    fn fixed_messages(&self) -> u64 {
        // A definition for each symbol, and the group's status at both ends.
        self.symbols.len() as u64 + 2
    }

    fn open(&mut self, packet: &mut Packet) -> bool {
        self.packet(packet, |feed, time_ns| {
            let mut messages = 0;
            while feed.defined < feed.symbols.len()
                && feed.writer.bytes().len() + STEP_BYTES_MAX <= PAYLOAD_BYTES
            {
                feed.writer.definition(&Definition {
                    security_id: feed.security_id(feed.defined as u16),
                    symbol: &feed.symbols[feed.defined],
                    group: GROUP,
                    asset: GROUP,
                    currency: "USD",
                    min_price_increment: TICK_UNITS,
                    unit_of_measure_qty: 50_000_000_000,
                })?;
                feed.defined += 1;
                messages += 1;
            }
            if feed.defined == feed.symbols.len() {
                feed.writer.security_status(time_ns, None, GROUP, READY_TO_TRADE)?;
                messages += 1;
            }
            Ok(messages)
        });
        self.defined == self.symbols.len()
    }

    fn trade(&mut self, packet: &mut Packet, wanted: u32) {
        self.packet(packet, |feed, time_ns| {
            let mut messages = 0;
            while messages < wanted && feed.writer.bytes().len() + STEP_BYTES_MAX <= PAYLOAD_BYTES {
                messages += feed.step(time_ns)?;
            }
            Ok(messages)
        });
    }

    fn close(&mut self, packet: &mut Packet) {
        self.packet(packet, |feed, time_ns| {
            feed.writer.security_status(time_ns, None, GROUP, CLOSED)?;
            Ok(1)
        });
    }

    fn heartbeat(&mut self, packet: &mut Packet) {
        self.packet(packet, |feed, _| {
            feed.writer.heartbeat()?;
            Ok(1)
        });
    }

    fn closed(&mut self, packet: &mut Packet) {
        self.heartbeat(packet);
    }
}

fn security_id(channel: u16, symbol: u16) -> i32 {
    i32::from(channel) * 65_536 + i32::from(symbol) + 1
}

fn order_id(channel: u16, reference: u64) -> u64 {
    u64::from(channel) << 48 | reference
}

fn entry_type(side: Side) -> u8 {
    match side {
        Side::Bid => b'0',
        Side::Ask => b'1',
    }
}

/// MDUpdateAction and OrderUpdateAction.
fn action(change: Change) -> u8 {
    match change {
        Change::New => 0,
        Change::Changed => 1,
        Change::Gone => 2,
    }
}
