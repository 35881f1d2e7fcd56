//! The rules of `docs/venue.md` once more, as plainly as can be: maps of queues, searched from end to end.
//! Shares nothing with the engine but the types that go in and out.

use std::collections::{BTreeMap, VecDeque};
use venue::exchange::{
    Band, CancelReason, EngineConfig, Liquidity, NewOrder, Order, OrderKind, Owner, Price, RejectReason,
    Replacement, Report, SelfMatch, SessionId, Side, SymbolId, SymbolSpec, TradingState,
};

type Queues = BTreeMap<u32, VecDeque<Order>>;

pub struct Listed {
    pub spec: SymbolSpec,
    pub state: TradingState,
    pub bids: Queues,
    pub asks: Queues,
}

pub struct Reference {
    pub config: EngineConfig,
    pub symbols: Vec<Listed>,
    pub reports: Vec<(SessionId, Report)>,
    references: u64,
    matches: u64,
}

impl Reference {
    pub fn new(config: EngineConfig, specs: &[SymbolSpec]) -> Reference {
        let listed = |spec: &SymbolSpec| Listed {
            spec: spec.clone(),
            state: TradingState::PreOpen,
            bids: Queues::new(),
            asks: Queues::new(),
        };
        let symbols = specs.iter().map(listed).collect();
        Reference { config, symbols, reports: Vec::new(), references: 0, matches: 0 }
    }

    fn say(&mut self, owner: Owner, report: Report) {
        if let Owner::Session(session) = owner {
            self.reports.push((session, report));
        }
    }

    fn queues(&mut self, symbol: SymbolId, side: Side) -> &mut Queues {
        let listed = &mut self.symbols[usize::from(symbol.0)];
        if side == Side::Buy { &mut listed.bids } else { &mut listed.asks }
    }

    /// All orders of a side, in the order of priority.
    pub fn orders(&self, symbol: SymbolId, side: Side) -> Vec<Order> {
        let listed = &self.symbols[usize::from(symbol.0)];
        match side {
            Side::Buy => listed.bids.values().rev().flatten().copied().collect(),
            Side::Sell => listed.asks.values().flatten().copied().collect(),
        }
    }

    fn everything(&self) -> Vec<Order> {
        let ids = (0..self.symbols.len() as u16).map(SymbolId);
        ids.flat_map(|id| Side::BOTH.into_iter().flat_map(move |side| self.orders(id, side))).collect()
    }

    fn find(&self, reference: u64) -> Option<Order> {
        self.everything().into_iter().find(|order| order.reference == reference)
    }

    /// Sets the open shares of an order; 0 removes it.
    fn set_open(&mut self, order: &Order, open: u32) {
        let queues = self.queues(order.symbol, order.side);
        let queue = queues.get_mut(&order.price.0).unwrap();
        queue.iter_mut().find(|other| other.reference == order.reference).unwrap().open = open;
        queue.retain(|other| other.open > 0);
        queues.retain(|_, queue| !queue.is_empty());
    }

    fn rest(&mut self, order: Order) {
        self.queues(order.symbol, order.side).entry(order.price.0).or_default().push_back(order);
    }

    fn remove(&mut self, order: &Order, reason: CancelReason) {
        self.set_open(order, 0);
        let Order { reference, token, open: shares, .. } = *order;
        self.say(order.owner, Report::Cancelled { reference, token, shares, reason, open: 0 });
    }

    fn wrong(&self, symbol: SymbolId, shares: u32, price: Option<Price>) -> Option<RejectReason> {
        let Some(listed) = self.symbols.get(usize::from(symbol.0)) else {
            return Some(RejectReason::UnknownSymbol);
        };
        let SymbolSpec { tick, lot, band, .. } = &listed.spec;
        let mut wrong = vec![
            (listed.state == TradingState::Halted, RejectReason::Halted),
            (listed.state == TradingState::Closed, RejectReason::Closed),
            (shares == 0, RejectReason::ZeroShares),
            (shares >= 1_000_000, RejectReason::TooManyShares),
            (!shares.is_multiple_of(*lot), RejectReason::NotWholeLots),
        ];
        if let Some(Price(price)) = price {
            wrong.push((price == 0 || price > 1_999_999_900, RejectReason::PriceOutOfRange));
            wrong.push((!price.is_multiple_of(tick.0), RejectReason::NotWholeTicks));
            wrong.push((price < band.low.0 || price > band.high.0, RejectReason::OutsideBand));
        }
        wrong.into_iter().find(|(is_wrong, _)| *is_wrong).map(|(_, reason)| reason)
    }

    pub fn enter(&mut self, order: &NewOrder) {
        let (price, waits) = match order.kind {
            OrderKind::Day(price) => (Some(price), true),
            OrderKind::Ioc(price) => (Some(price), false),
            OrderKind::Market => (None, false),
        };
        let mut wrong = self.wrong(order.symbol, order.shares, price);
        if wrong.is_none() && waits && self.everything().len() >= self.config.orders_max {
            wrong = Some(RejectReason::BookFull);
        }
        if wrong.is_none()
            && !waits
            && self.symbols[usize::from(order.symbol.0)].state == TradingState::PreOpen
        {
            wrong = Some(RejectReason::NotOpen);
        }
        if let Some(reason) = wrong {
            return self.say(order.owner, Report::Rejected { token: order.token, reason });
        }
        self.references += 1;
        let reference = self.references;
        self.say(order.owner, Report::Accepted { reference, order: *order });
        self.run(reference, order, price, waits);
    }

    fn run(&mut self, reference: u64, order: &NewOrder, price: Option<Price>, waits: bool) {
        let NewOrder { owner, token, symbol, side, shares, .. } = *order;
        let mut open = shares;
        let is_open = self.symbols[usize::from(symbol.0)].state == TradingState::Open;
        while open > 0 && is_open {
            let Some(&resting) = self.orders(symbol, side.opposite()).first() else { break };
            let agreed = match (price, side) {
                (None, _) => true,
                (Some(limit), Side::Buy) => resting.price <= limit,
                (Some(limit), Side::Sell) => resting.price >= limit,
            };
            if !agreed {
                break;
            }
            if owner == resting.owner && owner != Owner::Background {
                match self.config.self_match {
                    Some(SelfMatch::CancelResting) => {
                        self.remove(&resting, CancelReason::SelfMatch);
                        continue;
                    }
                    Some(SelfMatch::CancelIncoming) => {
                        let reason = CancelReason::SelfMatch;
                        return self.say(
                            owner,
                            Report::Cancelled { reference, token, shares: open, reason, open: 0 },
                        );
                    }
                    None => {}
                }
            }
            let traded = open.min(resting.open);
            open -= traded;
            let coming = Order { reference, token, owner, symbol, side, price: resting.price, open };
            self.set_open(&resting, resting.open - traded);
            self.trade(&Order { open: resting.open - traded, ..resting }, &coming, traded);
        }
        if open == 0 {
            return;
        }
        match (price, waits) {
            (Some(price), true) => {
                self.rest(Order { reference, token, owner, symbol, side, price, open });
            }
            _ => {
                let reason = CancelReason::Immediate;
                self.say(owner, Report::Cancelled { reference, token, shares: open, reason, open: 0 });
            }
        }
    }

    /// Tells both of an execution at the price of the first; `open` of both is what is left.
    fn trade(&mut self, first: &Order, second: &Order, shares: u32) {
        self.matches += 1;
        let (price, match_number) = (first.price, self.matches);
        for (order, liquidity) in [(first, Liquidity::Added), (second, Liquidity::Removed)] {
            let Order { reference, token, open, .. } = *order;
            self.say(
                order.owner,
                Report::Executed { reference, token, shares, price, match_number, liquidity, open },
            );
        }
    }

    pub fn cancel(&mut self, owner: Owner, reference: u64, leave: u32) {
        let found = self.find(reference).filter(|order| order.owner == owner);
        let Some(order) = found else {
            let reason = RejectReason::UnknownOrder;
            return self.say(owner, Report::CancelRejected { reference, reason });
        };
        if leave >= order.open {
            let reason = RejectReason::NothingToCancel;
            return self.say(owner, Report::CancelRejected { reference, reason });
        }
        if !leave.is_multiple_of(self.symbols[usize::from(order.symbol.0)].spec.lot) {
            let reason = RejectReason::NotWholeLots;
            return self.say(owner, Report::CancelRejected { reference, reason });
        }
        self.set_open(&order, leave);
        let (token, reason) = (order.token, CancelReason::ByOwner);
        self.say(
            owner,
            Report::Cancelled { reference, token, shares: order.open - leave, reason, open: leave },
        );
    }

    pub fn replace(&mut self, wanted: &Replacement) {
        let Replacement { owner, reference, token, shares, price } = *wanted;
        let found = self.find(reference).filter(|order| order.owner == owner);
        let wrong = match found {
            None => Some(RejectReason::UnknownOrder),
            Some(order) => self.wrong(order.symbol, shares, Some(price)),
        };
        if let Some(reason) = wrong {
            return self.say(owner, Report::ReplaceRejected { reference, token, reason });
        }
        let old = found.unwrap();
        let stays = price == old.price && shares <= old.open;
        if !stays {
            self.references += 1;
        }
        let new_reference = if stays { reference } else { self.references };
        self.say(
            owner,
            Report::Replaced {
                old_reference: reference,
                old_token: old.token,
                reference: new_reference,
                token,
                shares,
                price,
            },
        );
        if stays {
            self.set_open(&old, shares);
            let queue = self.queues(old.symbol, old.side).get_mut(&price.0).unwrap();
            queue.iter_mut().find(|order| order.reference == reference).unwrap().token = token;
            return;
        }
        self.set_open(&old, 0);
        let order = NewOrder {
            owner,
            token,
            symbol: old.symbol,
            side: old.side,
            shares,
            kind: OrderKind::Day(price),
        };
        self.run(new_reference, &order, Some(price), true);
    }

    pub fn cancel_all(&mut self, owner: Owner) {
        let mut orders = self.everything();
        orders.retain(|order| order.owner == owner);
        orders.sort_by_key(|order| order.reference);
        for order in orders {
            self.remove(&order, CancelReason::Disconnected);
        }
    }

    pub fn set_state(&mut self, symbol: SymbolId, state: TradingState) {
        let listed = &mut self.symbols[usize::from(symbol.0)];
        if listed.state == TradingState::Closed {
            return;
        }
        listed.state = state;
        match state {
            TradingState::Closed => self.remove_where(symbol, CancelReason::Closed, |_| true),
            TradingState::Open => self.uncross(symbol),
            _ => {}
        }
    }

    pub fn set_band(&mut self, symbol: SymbolId, band: Band) {
        self.symbols[usize::from(symbol.0)].spec.band = band;
        let outside = |order: &Order| order.price < band.low || order.price > band.high;
        self.remove_where(symbol, CancelReason::PriceBand, outside);
    }

    fn remove_where(&mut self, symbol: SymbolId, reason: CancelReason, so: impl Fn(&Order) -> bool) {
        for side in Side::BOTH {
            for order in self.orders(symbol, side) {
                if so(&order) {
                    self.remove(&order, reason);
                }
            }
        }
    }

    fn uncross(&mut self, symbol: SymbolId) {
        loop {
            let fronts = Side::BOTH.map(|side| self.orders(symbol, side).first().copied());
            let [Some(bid), Some(ask)] = fronts else { return };
            if bid.price < ask.price {
                return;
            }
            let (mut first, mut second) = if bid.reference < ask.reference { (bid, ask) } else { (ask, bid) };
            if first.owner == second.owner && first.owner != Owner::Background {
                match self.config.self_match {
                    Some(SelfMatch::CancelResting) => {
                        self.remove(&first, CancelReason::SelfMatch);
                        continue;
                    }
                    Some(SelfMatch::CancelIncoming) => {
                        self.remove(&second, CancelReason::SelfMatch);
                        continue;
                    }
                    None => {}
                }
            }
            let shares = first.open.min(second.open);
            for order in [&mut first, &mut second] {
                order.open -= shares;
                self.set_open(order, order.open);
            }
            self.trade(&first, &second, shares);
        }
    }
}
