//! The matching engine: price-time priority over several symbols, deterministic, without clock or thread.
//!
//! An order that comes trades with the best orders of the other side, at their price, first come first; what
//! is left of a day order rests. Every change is told to a [`Listener`] as it happens: the market event first,
//! then the report to the order that was on the book, then the one to the order that came.
//!
//! Invariants: an open symbol's book is never crossed; every resting order lies within its symbol's price band;
//! shares entered are executed, cancelled or resting; references and match numbers count up and are used once.

use super::book::{Level, Orders, Sides};
use super::listing::{Band, EngineError, SymbolSpec};
use super::order::{
    CancelReason, Liquidity, Listener, MarketEvent, NewOrder, Order, OrderKind, Owner, Price, RejectReason,
    Replacement, Report, SHARES_MAX, Side, SymbolId, TradingState,
};
use std::collections::HashMap;

/// What holds for all symbols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineConfig {
    /// What happens when a session's orders would trade with each other; `None`: they trade.
    pub self_match: Option<SelfMatch>,
    /// Orders that may rest at a time. Each takes 70 to 130 bytes, as tables grow. Beyond it, orders are refused.
    pub orders_max: usize,
}

impl Default for EngineConfig {
    /// Self-matches are allowed; 4 million orders, about 400 MB: twice what a whole market has at its busiest.
    fn default() -> EngineConfig {
        EngineConfig { self_match: None, orders_max: 4_000_000 }
    }
}

/// What gives way when a session's orders would trade with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelfMatch {
    /// The order that is on the book is cancelled; the one that comes goes on.
    CancelResting,
    /// What is left of the order that comes is cancelled.
    CancelIncoming,
}

/// What became of an order that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Its name.
    pub reference: u64,
    /// Shares that rest on the book; 0: none, it is over.
    pub resting: u32,
}

struct Symbol {
    spec: SymbolSpec,
    state: TradingState,
    sides: Sides,
}

/// An order on its way through the book.
struct Incoming {
    order: NewOrder,
    reference: u64,
    open: u32,
}

/// The engine.
pub struct Engine {
    config: EngineConfig,
    symbols: Vec<Symbol>,
    by_name: HashMap<[u8; 8], SymbolId>,
    orders: Orders,
    last_reference: u64,
    last_match: u64,
}

impl Engine {
    /// An engine with these symbols, all before the open.
    ///
    /// # Errors
    /// A symbol cannot be listed so, or two have one name.
    pub fn new(config: EngineConfig, specs: Vec<SymbolSpec>) -> Result<Engine, EngineError> {
        if !(1..=usize::from(u16::MAX)).contains(&specs.len()) {
            return Err(EngineError::Symbols(specs.len()));
        }
        let mut by_name = HashMap::new();
        for (at, spec) in specs.iter().enumerate() {
            let symbol_error = |wrong| EngineError::Symbol { name: spec.name.clone(), wrong };
            spec.check().map_err(symbol_error)?;
            if by_name.insert(spec.stock(), SymbolId(at as u16)).is_some() {
                return Err(symbol_error("another has this name"));
            }
        }
        let symbol = |spec| Symbol { spec, state: TradingState::PreOpen, sides: Sides::new() };
        Ok(Engine {
            symbols: specs.into_iter().map(symbol).collect(),
            by_name,
            orders: Orders::new(config.orders_max.min(u32::MAX as usize)),
            config,
            last_reference: 0,
            last_match: 0,
        })
    }

    /// Every symbol's id, in order.
    pub fn symbols(&self) -> impl Iterator<Item = SymbolId> + use<> {
        (0..self.symbols.len()).map(|at| SymbolId(at as u16))
    }

    /// How a symbol is listed.
    pub fn spec(&self, symbol: SymbolId) -> Option<&SymbolSpec> {
        self.symbol(symbol).map(|symbol| &symbol.spec)
    }

    /// The symbol of this name, as ITCH and OUCH have it: eight bytes, padded with spaces.
    pub fn find(&self, stock: [u8; 8]) -> Option<SymbolId> {
        self.by_name.get(&stock).copied()
    }

    /// Whether a symbol trades.
    pub fn state(&self, symbol: SymbolId) -> Option<TradingState> {
        self.symbol(symbol).map(|symbol| symbol.state)
    }

    /// The best price level.
    pub fn best(&self, symbol: SymbolId, side: Side) -> Option<Level> {
        self.symbol(symbol).and_then(|symbol| symbol.sides.of(side).best())
    }

    /// Price levels, best first.
    pub fn levels(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = Level> {
        self.symbol(symbol).into_iter().flat_map(move |symbol| symbol.sides.of(side).levels())
    }

    /// Resting orders, in the order in which they would trade.
    pub fn orders(&self, symbol: SymbolId, side: Side) -> impl Iterator<Item = &Order> {
        let ladder = self.symbol(symbol).into_iter().map(move |symbol| symbol.sides.of(side));
        ladder.flat_map(|ladder| ladder.slots(&self.orders)).map(|slot| self.orders.get(slot))
    }

    /// A resting order.
    pub fn order(&self, reference: u64) -> Option<&Order> {
        self.orders.find(reference).map(|slot| self.orders.get(slot))
    }

    /// How many orders rest.
    pub fn resting(&self) -> usize {
        self.orders.len()
    }

    /// Enters an order.
    ///
    /// # Errors
    /// The reason why it was refused, of which its session was told, too.
    pub fn enter(&mut self, order: &NewOrder, out: &mut impl Listener) -> Result<Placed, RejectReason> {
        if let Err(reason) = self.check_new(order) {
            tell(out, order.owner, Report::Rejected { token: order.token, reason });
            return Err(reason);
        }
        let reference = self.next_reference();
        tell(out, order.owner, Report::Accepted { reference, order: *order });
        let incoming = Incoming { order: *order, reference, open: order.shares };
        Ok(Placed { reference, resting: self.run(incoming, out) })
    }

    /// Cancels an order down to `leave` shares, 0 for all of it. What is left keeps its place.
    /// Gives back how many shares were cancelled.
    ///
    /// # Errors
    /// The reason why it was refused, of which the owner was told, too.
    pub fn cancel(
        &mut self,
        owner: Owner,
        reference: u64,
        leave: u32,
        out: &mut impl Listener,
    ) -> Result<u32, RejectReason> {
        let checked = self.check_cancel(owner, reference, leave);
        let slot = checked.inspect_err(|&reason| {
            tell(out, owner, Report::CancelRejected { reference, reason });
        })?;
        let shares = self.orders.get(slot).open - leave;
        self.withdraw(slot, shares, CancelReason::ByOwner, out);
        Ok(shares)
    }

    /// Puts another order of the same symbol and side in an order's place: with a new reference and behind all
    /// others of its price. With the same price and no more shares it keeps reference and place.
    ///
    /// # Errors
    /// The reason why it was refused, of which the owner was told, too; the order is as before.
    pub fn replace(&mut self, wanted: &Replacement, out: &mut impl Listener) -> Result<Placed, RejectReason> {
        let &Replacement { owner, reference, token, shares, price } = wanted;
        let checked = self.check_replace(wanted);
        let slot = checked.inspect_err(|&reason| {
            tell(out, owner, Report::ReplaceRejected { reference, token, reason });
        })?;
        let old = *self.orders.get(slot);
        let keeps_place = price == old.price && shares <= old.open;
        let new_reference = if keeps_place { reference } else { self.next_reference() };
        let told = Report::Replaced {
            old_reference: reference,
            old_token: old.token,
            reference: new_reference,
            token,
            shares,
            price,
        };
        let (symbol, side) = (old.symbol, old.side);
        if keeps_place {
            self.orders.set_token(slot, token);
            if shares < old.open {
                self.take(slot, old.open - shares);
                out.market(MarketEvent::Reduced { reference, symbol, shares: old.open - shares });
            }
            tell(out, owner, told);
            return Ok(Placed { reference, resting: shares });
        }
        self.take(slot, old.open);
        let order = NewOrder { owner, token, symbol, side, shares, kind: OrderKind::Day(price) };
        if self.trades_at_once(&order) {
            out.market(MarketEvent::Deleted { reference, symbol });
            tell(out, owner, told);
            let incoming = Incoming { order, reference: new_reference, open: shares };
            return Ok(Placed { reference: new_reference, resting: self.run(incoming, out) });
        }
        out.market(MarketEvent::Replaced { reference, new_reference, symbol, shares, price });
        tell(out, owner, told);
        self.rest(Order { reference: new_reference, token, price, open: shares, ..old });
        Ok(Placed { reference: new_reference, resting: shares })
    }

    /// Cancels all orders of an owner, oldest first; gives back how many there were.
    pub fn cancel_all(&mut self, owner: Owner, reason: CancelReason, out: &mut impl Listener) -> usize {
        let references = self.orders.of(owner);
        for &reference in &references {
            self.withdraw_all(reference, reason, out);
        }
        references.len()
    }

    /// Brings a symbol into another state. Opening first matches what crosses: the order that came first is
    /// treated as the one on the book. Closing cancels every order.
    ///
    /// # Errors
    /// The symbol is unknown, or closed.
    pub fn set_state(
        &mut self,
        symbol: SymbolId,
        state: TradingState,
        out: &mut impl Listener,
    ) -> Result<(), EngineError> {
        let of = self.symbols.get_mut(usize::from(symbol.0)).ok_or(EngineError::UnknownSymbol(symbol))?;
        if of.state == TradingState::Closed {
            return Err(EngineError::Closed(symbol));
        }
        of.state = state;
        out.market(MarketEvent::State { symbol, state });
        match state {
            TradingState::Open => self.uncross(symbol, out),
            TradingState::Closed => self.withdraw_where(symbol, |_| true, CancelReason::Closed, out),
            TradingState::PreOpen | TradingState::Halted => {}
        }
        Ok(())
    }

    /// Moves a symbol's price band. Orders outside are cancelled.
    ///
    /// # Errors
    /// The symbol is unknown, or the band is none.
    pub fn set_band(
        &mut self,
        symbol: SymbolId,
        band: Band,
        out: &mut impl Listener,
    ) -> Result<(), EngineError> {
        let of = self.symbols.get_mut(usize::from(symbol.0)).ok_or(EngineError::UnknownSymbol(symbol))?;
        band.check().map_err(|wrong| EngineError::Symbol { name: of.spec.name.clone(), wrong })?;
        of.spec.band = band;
        self.withdraw_where(symbol, |order| !band.holds(order.price), CancelReason::PriceBand, out);
        Ok(())
    }

    fn symbol(&self, symbol: SymbolId) -> Option<&Symbol> {
        self.symbols.get(usize::from(symbol.0))
    }

    fn next_reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }

    fn check_new(&self, order: &NewOrder) -> Result<(), RejectReason> {
        let symbol = self.symbol(order.symbol).ok_or(RejectReason::UnknownSymbol)?;
        symbol.check_state()?;
        symbol.check_shares(order.shares)?;
        if let Some(price) = order.kind.limit() {
            symbol.check_price(price)?;
        }
        match order.kind {
            OrderKind::Day(_) if self.orders.is_full() => Err(RejectReason::BookFull),
            OrderKind::Ioc(_) | OrderKind::Market if symbol.state == TradingState::PreOpen => {
                Err(RejectReason::NotOpen)
            }
            _ => Ok(()),
        }
    }

    /// The slot of an order that `owner` may touch. Of others' orders nothing is said, not even that they are.
    fn slot_of(&self, owner: Owner, reference: u64) -> Result<u32, RejectReason> {
        let slot = self.orders.find(reference).ok_or(RejectReason::UnknownOrder)?;
        if self.orders.get(slot).owner == owner { Ok(slot) } else { Err(RejectReason::UnknownOrder) }
    }

    fn check_cancel(&self, owner: Owner, reference: u64, leave: u32) -> Result<u32, RejectReason> {
        let slot = self.slot_of(owner, reference)?;
        let order = self.orders.get(slot);
        if leave >= order.open {
            return Err(RejectReason::NothingToCancel);
        }
        if !leave.is_multiple_of(self.symbols[usize::from(order.symbol.0)].spec.lot) {
            return Err(RejectReason::NotWholeLots);
        }
        Ok(slot)
    }

    fn check_replace(&self, wanted: &Replacement) -> Result<u32, RejectReason> {
        let slot = self.slot_of(wanted.owner, wanted.reference)?;
        let symbol = &self.symbols[usize::from(self.orders.get(slot).symbol.0)];
        symbol.check_state()?;
        symbol.check_shares(wanted.shares)?;
        symbol.check_price(wanted.price)?;
        Ok(slot)
    }

    fn trades_at_once(&self, order: &NewOrder) -> bool {
        let symbol = &self.symbols[usize::from(order.symbol.0)];
        symbol.state == TradingState::Open
            && symbol.sides.of(order.side.opposite()).best().is_some_and(|best| order.reaches(best.price))
    }

    /// Matches an order and lets rest what may; gives back how much rests.
    fn run(&mut self, mut incoming: Incoming, out: &mut impl Listener) -> u32 {
        while incoming.open > 0 && self.trades_at_once(&incoming.order) {
            self.match_front(&mut incoming, out);
        }
        let Incoming { order, reference, open } = incoming;
        let NewOrder { owner, token, symbol, side, .. } = order;
        match order.kind {
            _ if open == 0 => 0,
            OrderKind::Day(price) => {
                self.rest(Order { reference, token, owner, symbol, side, price, open });
                out.market(MarketEvent::Added { reference, symbol, side, shares: open, price });
                open
            }
            OrderKind::Ioc(_) | OrderKind::Market => {
                incoming.cancel_rest(CancelReason::Immediate, out);
                0
            }
        }
    }

    /// Trades with the first order of the other side.
    fn match_front(&mut self, incoming: &mut Incoming, out: &mut impl Listener) {
        let NewOrder { owner, token, symbol, side, .. } = incoming.order;
        let slot = self.front(symbol, side.opposite()).expect("there is something to trade with");
        let resting = *self.orders.get(slot);
        match self.prevention(owner, resting.owner) {
            Some(SelfMatch::CancelResting) => {
                return self.withdraw(slot, resting.open, CancelReason::SelfMatch, out);
            }
            Some(SelfMatch::CancelIncoming) => return incoming.cancel_rest(CancelReason::SelfMatch, out),
            None => {}
        }
        let shares = incoming.open.min(resting.open);
        let match_number = self.next_match();
        let left = self.take(slot, shares);
        incoming.open -= shares;
        out.market(MarketEvent::Executed { reference: resting.reference, symbol, shares, match_number });
        let executed = |reference, token, liquidity, open| Report::Executed {
            reference,
            token,
            shares,
            price: resting.price,
            match_number,
            liquidity,
            open,
        };
        tell(out, resting.owner, executed(resting.reference, resting.token, Liquidity::Added, left));
        tell(out, owner, executed(incoming.reference, token, Liquidity::Removed, incoming.open));
    }

    /// Matches what crosses when a symbol opens.
    fn uncross(&mut self, symbol: SymbolId, out: &mut impl Listener) {
        while let (Some(bid), Some(ask)) = (self.front(symbol, Side::Buy), self.front(symbol, Side::Sell)) {
            let (bid_order, ask_order) = (*self.orders.get(bid), *self.orders.get(ask));
            if bid_order.price < ask_order.price {
                break;
            }
            let bid_is_first = bid_order.reference < ask_order.reference;
            let ((first_slot, first), (second_slot, second)) = if bid_is_first {
                ((bid, bid_order), (ask, ask_order))
            } else {
                ((ask, ask_order), (bid, bid_order))
            };
            match self.prevention(first.owner, second.owner) {
                Some(SelfMatch::CancelResting) => {
                    self.withdraw(first_slot, first.open, CancelReason::SelfMatch, out);
                    continue;
                }
                Some(SelfMatch::CancelIncoming) => {
                    self.withdraw(second_slot, second.open, CancelReason::SelfMatch, out);
                    continue;
                }
                None => {}
            }
            let shares = first.open.min(second.open);
            let match_number = self.next_match();
            let price = first.price;
            let first_left = self.take(first_slot, shares);
            let second_left = self.take(second_slot, shares);
            out.market(MarketEvent::Executed { reference: first.reference, symbol, shares, match_number });
            out.market(MarketEvent::ExecutedAtPrice {
                reference: second.reference,
                symbol,
                shares,
                match_number,
                price,
            });
            let executed = |order: &Order, liquidity, open| Report::Executed {
                reference: order.reference,
                token: order.token,
                shares,
                price,
                match_number,
                liquidity,
                open,
            };
            tell(out, first.owner, executed(&first, Liquidity::Added, first_left));
            tell(out, second.owner, executed(&second, Liquidity::Removed, second_left));
        }
    }

    fn prevention(&self, one: Owner, other: Owner) -> Option<SelfMatch> {
        if one == other && one != Owner::Background { self.config.self_match } else { None }
    }

    fn next_match(&mut self) -> u64 {
        self.last_match += 1;
        self.last_match
    }

    fn front(&self, symbol: SymbolId, side: Side) -> Option<u32> {
        self.symbols[usize::from(symbol.0)].sides.of(side).front()
    }

    fn rest(&mut self, order: Order) {
        let sides = &mut self.symbols[usize::from(order.symbol.0)].sides;
        sides.of_mut(order.side).append(&mut self.orders, order);
    }

    /// Takes shares off a resting order, silently; gives back what is left.
    fn take(&mut self, slot: u32, shares: u32) -> u32 {
        let &Order { symbol, side, .. } = self.orders.get(slot);
        self.symbols[usize::from(symbol.0)].sides.of_mut(side).take(&mut self.orders, slot, shares)
    }

    /// Cancels shares of a resting order and says so.
    fn withdraw(&mut self, slot: u32, shares: u32, reason: CancelReason, out: &mut impl Listener) {
        let Order { reference, token, owner, symbol, .. } = *self.orders.get(slot);
        let open = self.take(slot, shares);
        out.market(if open > 0 {
            MarketEvent::Reduced { reference, symbol, shares }
        } else {
            MarketEvent::Deleted { reference, symbol }
        });
        tell(out, owner, Report::Cancelled { reference, token, shares, reason, open });
    }

    fn withdraw_all(&mut self, reference: u64, reason: CancelReason, out: &mut impl Listener) {
        if let Some(slot) = self.orders.find(reference) {
            self.withdraw(slot, self.orders.get(slot).open, reason, out);
        }
    }

    /// Cancels a symbol's orders that are so: bids, then offers, each best first.
    fn withdraw_where(
        &mut self,
        symbol: SymbolId,
        so: impl Fn(&Order) -> bool,
        reason: CancelReason,
        out: &mut impl Listener,
    ) {
        for side in Side::BOTH {
            let orders = self.orders(symbol, side).filter(|order| so(order));
            let references: Vec<u64> = orders.map(|order| order.reference).collect();
            for reference in references {
                self.withdraw_all(reference, reason, out);
            }
        }
    }
}

impl Symbol {
    fn check_state(&self) -> Result<(), RejectReason> {
        match self.state {
            TradingState::PreOpen | TradingState::Open => Ok(()),
            TradingState::Halted => Err(RejectReason::Halted),
            TradingState::Closed => Err(RejectReason::Closed),
        }
    }

    fn check_shares(&self, shares: u32) -> Result<(), RejectReason> {
        match shares {
            0 => Err(RejectReason::ZeroShares),
            _ if shares > SHARES_MAX => Err(RejectReason::TooManyShares),
            _ if !shares.is_multiple_of(self.spec.lot) => Err(RejectReason::NotWholeLots),
            _ => Ok(()),
        }
    }

    fn check_price(&self, price: Price) -> Result<(), RejectReason> {
        if price.0 == 0 || price > Price::MAX {
            Err(RejectReason::PriceOutOfRange)
        } else if !price.0.is_multiple_of(self.spec.tick.0) {
            Err(RejectReason::NotWholeTicks)
        } else if !self.spec.band.holds(price) {
            Err(RejectReason::OutsideBand)
        } else {
            Ok(())
        }
    }
}

impl NewOrder {
    fn reaches(&self, price: Price) -> bool {
        self.kind.limit().is_none_or(|limit| self.side.reaches(limit, price))
    }
}

impl Incoming {
    /// Cancels what is left before it ever rested: only its owner learns of it.
    fn cancel_rest(&mut self, reason: CancelReason, out: &mut impl Listener) {
        let Incoming { order, reference, open } = *self;
        self.open = 0;
        let told = Report::Cancelled { reference, token: order.token, shares: open, reason, open: 0 };
        tell(out, order.owner, told);
    }
}

fn tell(out: &mut impl Listener, owner: Owner, report: Report) {
    if let Owner::Session(session) = owner {
        out.report(session, report);
    }
}
