//! What a strategy sees and does: its instruments with their books and features, its positions and orders.
//!
//! A desk is lent to a strategy for the time of one call. What it sends is decided by the risk engine at once, and is
//! in its open orders when the call returns; it reaches the gateway after that.

use crate::host::{Core, Output};
use crate::risk::{Denial, Money};
use book::Book;
use bus::config::InstrumentKey;
use bus::{
    FeatureRecord, FeatureSchema, ModelCard, OrderId, OrderSide, Quality, Quantity, Score, ScoreRole,
    TimeInForce, TradingMode,
};
use tick::{Price, StatusAction};

/// The desk of one strategy.
pub struct Desk<'a> {
    core: &'a mut Core,
    /// Whose it is.
    me: usize,
}

/// What the venue says about an instrument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TradedInstrument {
    /// Publisher and instrument.
    pub key: InstrumentKey,
    /// As the venue knows it.
    pub symbol: Box<str>,
    /// Smallest step of a price: as the limits say, else the venue.
    pub tick_size: Option<Price>,
    /// Shares or contracts in a round lot; 0 when the venue does not say.
    pub lot_size: u32,
    /// Units of the underlying in one share or contract: as the limits say, else the venue.
    pub multiplier: Option<Price>,
}

/// How far an order is known to have come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OrderState {
    /// Nobody has answered yet.
    Sending,
    /// The gateway has sent it.
    Sent,
    /// The venue has it.
    Open,
    /// What became of it is not known.
    Unknown,
}

/// A replacement on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// Its id; the order's own when it is in force.
    pub id: OrderId,
    /// In all, what was filled counts.
    pub quantity: Quantity,
    /// The limit.
    pub price: Price,
}

/// An order that may still trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOrder {
    /// Its id.
    pub id: OrderId,
    /// Which way.
    pub side: OrderSide,
    /// The limit.
    pub price: Price,
    /// In all, shares or contracts.
    pub quantity: Quantity,
    /// Traded in all.
    pub filled: Quantity,
    /// Still open.
    pub leaves: Quantity,
    /// How far it has come.
    pub state: OrderState,
    /// The replacement on its way.
    pub replacing: Option<Replacement>,
    /// The cancel on its way.
    pub cancelling: Option<OrderId>,
    /// When its instruction was made, ns since the epoch.
    pub created_ns: u64,
}

/// Why a record of features that a model was to score has no score.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unscored {
    /// A feature is missing, and the model does not take that.
    Missing,
    /// The features are not those that the model was trained on.
    Schema,
    /// The model gave no finite number.
    Failed,
}

/// Values of one feature set of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    record: FeatureRecord<'a>,
    schema: &'a FeatureSchema,
}

impl<'a> Features<'a> {
    /// A record and the schema that its `schema_id` names.
    pub fn new(record: FeatureRecord<'a>, schema: &'a FeatureSchema) -> Features<'a> {
        Features { record, schema }
    }

    /// The feature set's name.
    pub fn set(&self) -> &'a str {
        &self.schema.set
    }

    /// The instrument.
    pub fn key(&self) -> InstrumentKey {
        InstrumentKey { publisher_id: self.record.publisher_id, instrument_id: self.record.instrument_id }
    }

    /// What the values are. While [`FeatureRecord::schema_id`] stays the same, so does [`Features::index`].
    pub fn schema(&self) -> &'a FeatureSchema {
        self.schema
    }

    /// The record.
    pub fn record(&self) -> &FeatureRecord<'a> {
        &self.record
    }

    /// Doubts about the values.
    pub fn quality(&self) -> Quality {
        self.record.quality
    }

    /// `ts_recv` of the tick that brought the values about, ns since the epoch.
    pub fn time_ns(&self) -> u64 {
        self.record.time_ns
    }

    /// Where the value of this name is; none when the set has no such value. Looks through the names: remember it.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.schema.features.iter().position(|feature| feature.name == name)
    }

    /// The value at this place; NaN where there is none.
    pub fn value(&self, index: usize) -> f64 {
        let bytes = index.checked_mul(8).and_then(|at| self.record.values.get(at..at.checked_add(8)?));
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(f64::NAN, f64::from_le_bytes)
    }
}

impl<'a> Desk<'a> {
    pub(crate) fn new(core: &'a mut Core, me: usize) -> Desk<'a> {
        Desk { core, me }
    }

    /// Now: the time of the input that is being worked on, ns since the epoch.
    pub fn now_ns(&self) -> u64 {
        self.core.now_ns
    }

    /// What may be sent: by the operator's word, halted until it is known.
    pub fn trading(&self) -> TradingMode {
        self.core.mode
    }

    /// The strategy's own instruments, as far as the venue has defined them, in the order of their definition.
    pub fn instruments(&self) -> impl Iterator<Item = &TradedInstrument> {
        self.core.ledgers[self.me]
            .places
            .iter()
            .map(|place| &self.core.market.traded[*place as usize].instrument)
    }

    /// What is known of an instrument; none when it is not one of the strategy's own.
    pub fn instrument(&self, key: InstrumentKey) -> Option<&TradedInstrument> {
        let place = self.core.own_place(self.me, key)?;
        Some(&self.core.market.traded[place as usize].instrument)
    }

    /// The book of any instrument of the shard, its own or not; none when no tick of it was seen.
    pub fn book(&self, key: InstrumentKey) -> Option<Book<'_>> {
        let books = &self.core.market.books;
        books.find(key.publisher_id, key.instrument_id).map(|id| books.book(id))
    }

    /// The venue's word on whether it trades an instrument now; not available when it has not said, or when the
    /// instrument is not one of the strategy's own.
    pub fn status(&self, key: InstrumentKey) -> StatusAction {
        let place = self.core.own_place(self.me, key);
        place.map_or(StatusAction::NotAvailableForTrading, |place| self.core.market.standing(place).0)
    }

    /// The latest values of a feature set of an instrument that some strategy here trades.
    pub fn features(&self, key: InstrumentKey, set: &str) -> Option<Features<'_>> {
        self.core.market.latest_features(key, set)
    }

    /// The strategy's own position: shares or contracts, below 0 when short.
    pub fn position(&self, key: InstrumentKey) -> i64 {
        self.core.holding(self.me, key).map_or(0, |holding| holding.position)
    }

    /// What the strategy has won with an instrument, realised and marked at the side at which the position can be
    /// closed. `None` when it cannot be said: a position without a good quote so far, or no multiplier.
    pub fn profit(&self, key: InstrumentKey) -> Option<Money> {
        self.core.profit(self.me, key)
    }

    /// The strategy's open orders of an instrument, in the order in which they were sent.
    pub fn open_orders(&self, key: InstrumentKey) -> impl Iterator<Item = &OpenOrder> {
        let slots = self.core.holding(self.me, key).map_or(&[][..], |holding| &holding.slots);
        slots.iter().filter_map(|slot| self.core.orders.get(*slot)).map(|live| &live.order)
    }

    /// One of the strategy's open orders, by its id or that of its replacement on its way.
    pub fn open_order(&self, id: OrderId) -> Option<&OpenOrder> {
        let live = self.core.orders.find(id)?;
        (live.ledger == self.me).then_some(&live.order)
    }

    /// Sends a new order with a limit.
    ///
    /// # Errors
    /// Why it is not sent. Nothing has happened then.
    pub fn submit(
        &mut self,
        key: InstrumentKey,
        side: OrderSide,
        quantity: Quantity,
        price: Price,
        time_in_force: TimeInForce,
    ) -> Result<OrderId, Denial> {
        self.core.submit(self.me, key, side, quantity, price, time_in_force)
    }

    /// Replaces an open order: another quantity in all (what was filled counts) and another limit.
    ///
    /// # Errors
    /// Why it is not sent. The order goes on as it is then.
    pub fn replace(&mut self, of: OrderId, quantity: Quantity, price: Price) -> Result<OrderId, Denial> {
        self.core.replace(self.me, of, quantity, price)
    }

    /// Cancels an open order. While a cancel of it is on its way, that one's id is given and nothing sent.
    ///
    /// # Errors
    /// When the order is not one of the strategy's open orders.
    pub fn cancel(&mut self, of: OrderId) -> Result<OrderId, Denial> {
        self.core.cancel(self.me, of)
    }

    /// Publishes what a model says about the instrument of a record. No order, so nobody is asked whether it may.
    pub fn publish_score(&mut self, card: &ModelCard, role: ScoreRole, features: &Features<'_>, score: f64) {
        let InstrumentKey { publisher_id, instrument_id } = features.key();
        let score = Score {
            strategy: self.core.ledgers[self.me].name.to_string(),
            model: card.name.clone(),
            version: card.version,
            role,
            publisher_id,
            instrument_id,
            time_ns: features.time_ns(),
            number: features.record().number,
            score,
        };
        self.core.publish(Output::Score(score));
    }

    /// Counts a record that has no score.
    pub fn no_score(&mut self, why: Unscored) {
        self.core.count_unscored(why);
    }
}
