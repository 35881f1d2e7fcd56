//! Pre-trade risk: every instruction is decided here before it is sent.
//!
//! [`Engine`] is told quotes, statuses and definitions of instruments, is asked about every [`Instruction`]
//! ([`Engine::check`]), and follows the [`Report`](bus::Report)s of what became of them ([`Engine::report`]). It has no
//! clock, file or socket: time is an argument, and the same calls in the same order decide the same. A check allocates nothing.
//!
//! It fails closed: whatever is not known (a limit, a price, a multiplier, the fate of an order, a sum that does not
//! fit) denies new orders, and replacements that raise risk. Cancels pass. Every check, with its formula and what
//! happens exactly at its limit, is in `docs/risk.md`.
//!
//! Who owns what: `limits` the document's limits and the token bucket, `orders` the open orders and every id ever
//! used, `hash` how they are found, `account` one instrument's position and worth, `check` the decisions, `follow` the reports.
//!
//! Invariant: an instruction that passes is booked at once, as if all of it traded; what it turns out not to trade is
//! given back only when a report says so. So the worst case is within every limit whenever an instruction passed.

mod account;
mod check;
mod denial;
mod follow;
mod hash;
mod limits;
mod orders;

pub use denial::{Denial, MONEY_SCALE, Money, Number, Reason};
pub use follow::Followed;

use account::{Account, Quote};
use bus::config::RiskDocument;
use bus::{Instruction, OrderAction, OrderId};
pub(crate) use hash::BuildNumberHasher;
use limits::{Bucket, Rules};
use orders::{NO_SLOT, Orders};
use std::collections::HashMap;
use tick::{Price, StatusAction};

/// What may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// All that passes the checks.
    Active,
    /// Only what lowers a position, and cancels.
    Reducing,
    /// Cancels only.
    Halted,
}

/// What is known of an instrument, for display and for comparison with the venue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Shares or contracts, below 0 when short.
    pub position: i128,
    /// Most that open buy orders may still trade.
    pub open_buys: i128,
    /// Most that open sell orders may still trade.
    pub open_sells: i128,
    /// Open orders.
    pub open_orders: usize,
    /// Worst-case position at the market. `None` when it cannot be valued.
    pub exposure: Option<Money>,
    /// Realised and marked. `None` when it cannot be valued.
    pub profit: Option<Money>,
}

/// Sums over all instruments.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    position: i128,
    exposure: Money,
    profit: Money,
    peak: Money,
    /// Instruments whose worth is not known.
    unvalued: usize,
    /// A sum did not fit: nothing is known from here on.
    overflow: bool,
}

/// The risk engine of one strategy process.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    state: State,
    rebuilt: bool,
    /// Reports that contradict what is known here.
    doubts: u64,
    /// Orders whose fate is unknown.
    unknown: usize,
    now_ns: u64,
    accounts: Vec<Account>,
    places: HashMap<(u16, u32), u32, BuildNumberHasher>,
    orders: Orders,
    totals: Totals,
    bucket: Bucket,
}

impl Engine {
    /// An engine that knows nothing: it denies until it is told ([`Engine::define`], [`Engine::quote`],
    /// [`Engine::status`]) and [`Engine::rebuilt`] is called. The document must be valid.
    pub fn new(document: &RiskDocument) -> Engine {
        let rules = Rules::of(document);
        let orders = Orders::new(rules.open_orders as usize, rules.order_ids);
        Engine {
            rules,
            state: State::Active,
            rebuilt: false,
            doubts: 0,
            unknown: 0,
            now_ns: 0,
            accounts: Vec::new(),
            places: HashMap::default(),
            orders,
            totals: Totals::default(),
            bucket: Bucket::full(),
        }
    }

    /// Other limits from now on. Orders that are open stay; how many ids are remembered does not change.
    pub fn configure(&mut self, document: &RiskDocument) {
        let order_ids = self.rules.order_ids;
        self.rules = Rules::of(document);
        self.rules.order_ids = order_ids;
        self.orders.reserve(self.rules.open_orders as usize);
        for place in 0..self.accounts.len() {
            let account = &mut self.accounts[place];
            account.set_limits(self.rules.limits(account.key), self.rules.forbidden(account.key));
            self.revalue(place as u32);
        }
    }

    /// What may be sent from now on.
    pub fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// What may be sent.
    pub fn state(&self) -> State {
        self.state
    }

    /// Everything that was sent and reported before has been read back: orders may pass from now on.
    pub fn rebuilt(&mut self) {
        self.rebuilt = true;
    }

    /// Reports so far that contradict what is known here. Above 0 everything new is denied, for good: make another
    /// engine and read all back.
    pub fn doubts(&self) -> u64 {
        self.doubts
    }

    /// An instrument, as its venue defines it. Before its first order; again when the definition changes.
    pub fn define(&mut self, publisher_id: u16, instrument_id: u32, symbol: &str, multiplier: Option<Price>) {
        let place = self.place(publisher_id, instrument_id);
        let account = &mut self.accounts[place as usize];
        account.symbol = symbol.into();
        account.defined_multiplier = multiplier.filter(|units| units.is_defined()).map(|units| units.0);
        self.revalue(place);
    }

    /// A position from before the first report, at the price that profit and loss count from.
    pub fn carry_in(&mut self, publisher_id: u16, instrument_id: u32, position: i64, price: Price) {
        let place = self.place(publisher_id, instrument_id);
        let bought = position > 0;
        if !price.is_defined() || !self.trade(place, bought, position.unsigned_abs(), price.0, false) {
            self.doubts += 1;
        }
        self.revalue(place);
    }

    /// The best prices of a good book, and when they were received. One that lacks a side or is crossed changes
    /// nothing but the book's state: crossed is bad, and without a side the last good quote gets older.
    pub fn quote(&mut self, publisher_id: u16, instrument_id: u32, bid: Price, ask: Price, time_ns: u64) {
        let place = self.place(publisher_id, instrument_id);
        let account = &mut self.accounts[place as usize];
        if !bid.is_defined() || !ask.is_defined() {
            account.good_book = true;
            return;
        }
        account.good_book = bid <= ask;
        if account.good_book {
            account.quote = Some(Quote { bid: bid.0, ask: ask.0, time_ns });
            self.revalue(place);
        }
    }

    /// The book is not to be trusted, until the next [`Engine::quote`].
    pub fn bad_book(&mut self, publisher_id: u16, instrument_id: u32) {
        let place = self.place(publisher_id, instrument_id);
        self.accounts[place as usize].good_book = false;
    }

    /// The venue's word on the instrument: only `Trading` lets orders pass. A change of the short-sale restriction restricts
    /// until [`Engine::restrict_short_sale`] says which way it went.
    pub fn status(&mut self, publisher_id: u16, instrument_id: u32, status: StatusAction) {
        let place = self.place(publisher_id, instrument_id);
        self.accounts[place as usize].status(status);
    }

    /// Whether the venue restricts short sales of the instrument now.
    pub fn restrict_short_sale(&mut self, publisher_id: u16, instrument_id: u32, restricted: bool) {
        let place = self.place(publisher_id, instrument_id);
        self.accounts[place as usize].short_sale_restricted = restricted;
    }

    /// What is known of an instrument.
    pub fn standing(&self, publisher_id: u16, instrument_id: u32) -> Option<Standing> {
        let account = &self.accounts[*self.places.get(&(publisher_id, instrument_id))? as usize];
        Some(Standing {
            position: account.position,
            open_buys: account.buys,
            open_sells: account.sells,
            open_orders: account.slots.len(),
            exposure: (!account.unvalued).then_some(account.value.exposure),
            profit: (!account.unvalued).then_some(account.value.profit),
        })
    }

    /// Open orders in all.
    pub fn open_orders(&self) -> usize {
        self.orders.open()
    }

    /// Exposure and profit over all instruments. `None` when one of them cannot be valued.
    pub fn total(&self) -> Option<(Money, Money)> {
        let known = self.totals.unvalued == 0 && !self.totals.overflow;
        known.then_some((self.totals.exposure, self.totals.profit))
    }

    /// Whether the order is open, by its own id or that of its replacement on its way.
    pub fn is_open(&self, id: &OrderId) -> bool {
        self.orders.known(id).is_some_and(|known| known.slot != NO_SLOT)
    }

    /// Books an instruction that was sent before a restart, without checking it.
    pub fn assume(&mut self, instruction: &Instruction) {
        if self.orders.known(&instruction.id).is_some() {
            return;
        }
        let place = self.place(instruction.publisher_id, instruction.instrument_id);
        match &instruction.action {
            OrderAction::New { price: None, .. } => self.doubts += 1,
            OrderAction::Replace { of, .. } if self.replaceable(of, place).is_err() => self.doubts += 1,
            _ => self.book(instruction, place),
        }
    }

    fn place(&mut self, publisher_id: u16, instrument_id: u32) -> u32 {
        let key = (publisher_id, instrument_id);
        let next = self.accounts.len() as u32;
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.accounts.push(Account::new(key, self.rules.limits(key), self.rules.forbidden(key)));
        }
        place
    }

    /// Brings an instrument's worth, and the sums, up to date.
    fn revalue(&mut self, place: u32) {
        let account = &mut self.accounts[place as usize];
        let before = account.value;
        let worth = account.worth(account.buys, account.sells);
        self.totals.unvalued -= usize::from(account.unvalued);
        account.unvalued = worth.is_none();
        self.totals.unvalued += usize::from(account.unvalued);
        // What is not known keeps its last value; nothing that raises risk passes meanwhile.
        let now = worth.unwrap_or(before);
        account.value = now;
        if worth.is_some() {
            account.peak = account.peak.max(now.profit);
        }
        let totals = &mut self.totals;
        let sum = |sum: i128, before: i128, now: i128| sum.checked_sub(before)?.checked_add(now);
        let position = sum(totals.position, before.position, now.position);
        let exposure = sum(totals.exposure, before.exposure, now.exposure);
        let profit = sum(totals.profit, before.profit, now.profit);
        match (position, exposure, profit) {
            (Some(position), Some(exposure), Some(profit)) if !totals.overflow => {
                (totals.position, totals.exposure, totals.profit) = (position, exposure, profit);
                if totals.unvalued == 0 {
                    totals.peak = totals.peak.max(profit);
                }
            }
            _ => totals.overflow = true,
        }
    }
}
