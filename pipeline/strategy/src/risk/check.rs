//! The decisions, in the order in which they are told: the first that fails is the reason.

use super::account::product;
use super::account::{Account, Recent, Value};
use super::denial::{Denial, Money, Number, Reason};
use super::limits::Limits;
use super::orders::{Known, NO_SLOT, Order, Pending};
use super::{Engine, State};
use bus::{Instruction, OrderAction, OrderId, OrderSide};

type Decision = Result<(), Denial>;

/// Denies for a reason without numbers, if so.
fn deny_if(so: bool, reason: Reason) -> Decision {
    if so { Err(Denial::plain(reason)) } else { Ok(()) }
}

/// A limit's value itself is allowed.
fn at_most(value: i128, limit: i128, reason: Reason, unit: fn(i128) -> Number) -> Decision {
    if value <= limit { Ok(()) } else { Err(Denial::of(reason, unit(value), unit(limit))) }
}

const OVERFLOW: Denial = Denial::plain(Reason::Overflow);

/// A new order or replacement, as the checks see it.
struct Wish {
    side: OrderSide,
    price: i64,
    quantity: u64,
    /// Open quantities with it.
    buys: i128,
    sells: i128,
    is_new: bool,
}

impl Wish {
    fn buys_it(&self) -> bool {
        self.side == OrderSide::Buy
    }
}

impl Engine {
    /// Decides an instruction. One that passes is booked as sent: when it then is not, say so with a report (`Denied`).
    ///
    /// # Errors
    /// The first reason for which it must not be sent. Nothing is booked then.
    pub fn check(&mut self, instruction: &Instruction, now_ns: u64) -> Decision {
        let place = self.places.get(&(instruction.publisher_id, instruction.instrument_id)).copied();
        if let OrderAction::Cancel { of } = &instruction.action {
            self.cancel(of, place)?;
        } else {
            self.allowed(instruction, place, now_ns)?;
        }
        self.now_ns = self.now_ns.max(now_ns);
        self.bucket.take(now_ns, self.rules.rate);
        let Some(place) = place else { return Ok(()) };
        let account = &mut self.accounts[place as usize];
        if let Some(limits) = account.limits {
            account.bucket.take(now_ns, limits.rate);
            if let OrderAction::New { side, quantity, price: Some(price), .. } = &instruction.action {
                let (buys, price) = (*side == OrderSide::Buy, price.0);
                let order = Recent { time_ns: now_ns, buys, price, quantity: *quantity };
                account.remember(order, limits.recent);
            }
        }
        self.book(instruction, place);
        Ok(())
    }

    /// A cancel passes in every state, unless it names an order that never was, or another instrument's.
    fn cancel(&self, of: &OrderId, place: Option<u32>) -> Decision {
        match self.orders.known(of) {
            // Before all is read back, any id may be an order's.
            None => deny_if(self.rebuilt && self.doubts == 0, Reason::UnknownOrder),
            Some(known) => {
                let order = self.orders.get(known.slot);
                deny_if(order.is_some_and(|order| Some(order.instrument) != place), Reason::ForeignOrder)
            }
        }
    }

    fn allowed(&self, instruction: &Instruction, place: Option<u32>, now_ns: u64) -> Decision {
        deny_if(!self.rebuilt, Reason::NotRebuilt)?;
        deny_if(self.state == State::Halted, Reason::Halted)?;
        let defined = place.filter(|place| !self.accounts[*place as usize].symbol.is_empty());
        let place = defined.ok_or(Denial::plain(Reason::UnknownInstrument))?;
        let account = &self.accounts[place as usize];
        deny_if(*account.symbol != *instruction.symbol, Reason::SymbolMismatch)?;
        let limits = account.limits.as_ref().ok_or(Denial::plain(Reason::NoLimits))?;
        deny_if(self.orders.known(&instruction.id).is_some(), Reason::DuplicateId)?;
        deny_if(self.orders.is_full(), Reason::OrderIdsFull)?;
        let (wish, raises) = self.wish(instruction, place)?;
        let lowers = account.lowers(wish.buys_it(), wish.buys, wish.sells);
        deny_if(self.state == State::Reducing && !lowers, Reason::Reducing)?;
        if raises {
            self.trustworthy(account, now_ns)?;
            self.permitted(account, &wish, now_ns)?;
            order_size(account, limits, &wish)?;
            priced(account, limits, &wish, now_ns)?;
            self.orders_alike(account, limits, &wish, now_ns)?;
            if !lowers {
                self.exposed(account, limits, &wish)?;
            }
        }
        let rate = |reason, rate: super::limits::Rate| {
            Denial::of(
                reason,
                Number::Count(i128::from(rate.per_second)),
                Number::Count(i128::from(rate.burst)),
            )
        };
        if !account.bucket.has(now_ns, limits.rate) {
            return Err(rate(Reason::MessageRate, limits.rate));
        }
        if !self.bucket.has(now_ns, self.rules.rate) {
            return Err(rate(Reason::MessageRateTotal, self.rules.rate));
        }
        Ok(())
    }

    /// The order to be replaced, if it can be.
    pub(super) fn replaceable(&self, of: &OrderId, place: u32) -> Result<&Order, Denial> {
        let slot = self.orders.known(of).map_or(NO_SLOT, |known| known.slot);
        let order = self.orders.get(slot).ok_or(Denial::plain(Reason::UnknownOrder))?;
        deny_if(order.instrument != place, Reason::ForeignOrder)?;
        deny_if(order.pending.is_some(), Reason::ReplacePending)?;
        Ok(order)
    }

    /// What is asked for, and whether it can raise risk: all but a replacement that is not for more, nor at a price
    /// that trades sooner.
    fn wish(&self, instruction: &Instruction, place: u32) -> Result<(Wish, bool), Denial> {
        let account = &self.accounts[place as usize];
        let with = |buys_it: bool, more: i128| {
            let (buys, sells) = if buys_it { (more, 0) } else { (0, more) };
            Some((account.buys.checked_add(buys)?, account.sells.checked_add(sells)?))
        };
        let (wish, raises) = match &instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                let price = price.ok_or(Denial::plain(Reason::NoPrice))?.0;
                let (buys, sells) = with(*side == OrderSide::Buy, i128::from(*quantity)).ok_or(OVERFLOW)?;
                (Wish { side: *side, price, quantity: *quantity, buys, sells, is_new: true }, true)
            }
            OrderAction::Replace { of, quantity, price } => {
                let order = self.replaceable(of, place)?;
                let (leaves, price) = (quantity.saturating_sub(order.filled), price.0);
                let more = i128::from(leaves.saturating_sub(order.leaves));
                let (buys, sells) = with(order.buys, more).ok_or(OVERFLOW)?;
                let sooner = if order.buys { price > order.price } else { price < order.price };
                let side = if order.buys { OrderSide::Buy } else { OrderSide::Sell };
                let wish = Wish { side, price, quantity: *quantity, buys, sells, is_new: false };
                (wish, more > 0 || sooner)
            }
            OrderAction::Cancel { .. } => return Err(Denial::plain(Reason::UnknownOrder)),
        };
        deny_if(wish.price == i64::MAX, Reason::NoPrice)?;
        deny_if(wish.quantity == 0, Reason::NoQuantity)?;
        Ok((wish, raises))
    }

    /// What is known here is what is.
    fn trustworthy(&self, account: &Account, now_ns: u64) -> Decision {
        deny_if(self.doubts > 0, Reason::StateDoubtful)?;
        deny_if(self.unknown > 0, Reason::OrderUnknown)?;
        deny_if(now_ns < self.now_ns, Reason::Clock)?;
        deny_if(self.totals.overflow, Reason::Overflow)?;
        deny_if(account.multiplier().is_none(), Reason::UnknownMultiplier)
    }

    /// The market and the lists permit it.
    fn permitted(&self, account: &Account, wish: &Wish, now_ns: u64) -> Decision {
        deny_if(account.forbidden.all, Reason::Restricted)?;
        if account.forbidden.short_sale || account.short_sale_restricted {
            let beyond = !wish.buys_it() && !account.lowers(false, wish.buys, wish.sells);
            deny_if(wish.side == OrderSide::SellShort || beyond, Reason::ShortSaleRestricted)?;
        }
        deny_if(!self.rules.is_open(now_ns), Reason::SessionClosed)?;
        deny_if(!account.trading, Reason::NotTrading)
    }

    /// Orders that stand or were just sent.
    fn orders_alike(&self, account: &Account, limits: &Limits, wish: &Wish, now_ns: u64) -> Decision {
        let meets =
            |standing: &i64| if wish.buys_it() { *standing <= wish.price } else { *standing >= wish.price };
        if let Some(standing) = account.nearest(!wish.buys_it()).filter(meets) {
            let standing = Number::Price(standing);
            return Err(Denial::of(Reason::SelfMatch, Number::Price(wish.price), standing));
        }
        if !wish.is_new {
            return Ok(());
        }
        let order =
            Recent { time_ns: now_ns, buys: wish.buys_it(), price: wish.price, quantity: wish.quantity };
        deny_if(account.is_duplicate(&order, limits.duplicate_ns), Reason::DuplicateOrder)?;
        let count = |orders: usize| orders as i128 + 1;
        let own = i128::from(limits.open_orders);
        at_most(count(account.slots.len()), own, Reason::OpenOrders, Number::Count)?;
        let total = i128::from(self.rules.open_orders);
        at_most(count(self.orders.open()), total, Reason::OpenOrdersTotal, Number::Count)
    }

    /// The worst case, of the instrument and in all.
    fn exposed(&self, account: &Account, limits: &Limits, wish: &Wish) -> Decision {
        let totals = &self.totals;
        let before = account.value;
        let after = account.worth(wish.buys, wish.sells).ok_or(OVERFLOW)?;
        at_most(after.position, i128::from(limits.position), Reason::Position, Number::Count)?;
        at_most(after.exposure, limits.exposure, Reason::Exposure, Number::Money)?;
        // This instrument is valued by now; the others must be as well.
        deny_if(totals.unvalued > usize::from(account.unvalued), Reason::ExposureUnvalued)?;
        let sum = |of: fn(&Value) -> i128, sum: i128| {
            sum.checked_sub(of(&before)).and_then(|rest| rest.checked_add(of(&after))).ok_or(OVERFLOW)
        };
        let position = sum(|value| value.position, totals.position)?;
        at_most(position, self.rules.position, Reason::PositionTotal, Number::Count)?;
        let exposure = sum(|value| value.exposure, totals.exposure)?;
        at_most(exposure, self.rules.exposure, Reason::ExposureTotal, Number::Money)?;
        let lost = |peak: Money, profit: Money| peak.checked_sub(profit).ok_or(OVERFLOW);
        let own = lost(account.peak, account.value.profit)?;
        at_most(own, limits.drawdown, Reason::Drawdown, Number::Money)?;
        let all = lost(totals.peak, totals.profit)?;
        at_most(all, self.rules.drawdown, Reason::DrawdownTotal, Number::Money)
    }

    /// Books an instruction as sent.
    pub(super) fn book(&mut self, instruction: &Instruction, place: u32) {
        match &instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                let price = price.map_or(i64::MAX, |price| price.0);
                self.open(Order {
                    id: instruction.id,
                    instrument: place,
                    buys: *side == OrderSide::Buy,
                    price,
                    leaves: *quantity,
                    filled: 0,
                    pending: None,
                    unknown: false,
                });
            }
            OrderAction::Replace { of, quantity, price } => {
                let Some(Known { slot, .. }) = self.orders.known(of) else { return };
                let pending_of = |order: &mut Order| {
                    let leaves = quantity.saturating_sub(order.filled);
                    order.pending = Some(Pending { id: instruction.id, price: price.0, leaves });
                };
                self.change(slot, pending_of);
                let filled = self.orders.get(slot).map_or(0, |order| order.filled);
                self.orders.note(instruction.id, Known { slot, filled });
            }
            // A cancel changes nothing until the venue says so, and its id may be sent again.
            OrderAction::Cancel { .. } => {}
        }
    }
}

/// |price| × quantity × multiplier.
fn notional(wish: &Wish, multiplier: i64) -> Option<Money> {
    product(product(i128::from(wish.price).abs(), i128::from(wish.quantity))?, i128::from(multiplier))
}

/// One order's quantity and value.
fn order_size(account: &Account, limits: &Limits, wish: &Wish) -> Decision {
    let quantity = i128::from(wish.quantity);
    at_most(quantity, i128::from(limits.order_quantity), Reason::OrderQuantity, Number::Count)?;
    let multiplier = account.multiplier().ok_or(Denial::plain(Reason::UnknownMultiplier))?;
    let value = notional(wish, multiplier).ok_or(OVERFLOW)?;
    at_most(value, limits.order_notional, Reason::OrderNotional, Number::Money)
}

/// A good and recent quote, and the price near its middle. Doubled prices, so that the middle is exact.
fn priced(account: &Account, limits: &Limits, wish: &Wish, now_ns: u64) -> Decision {
    let quote = account.quote.ok_or(Denial::plain(Reason::NoQuote))?;
    deny_if(!account.good_book, Reason::BadBook)?;
    let age_ns = now_ns.checked_sub(quote.time_ns).ok_or(Denial::plain(Reason::Clock))?;
    if age_ns > limits.quote_age_ns {
        let limit = Number::Nanoseconds(limits.quote_age_ns);
        return Err(Denial::of(Reason::StaleQuote, Number::Nanoseconds(age_ns), limit));
    }
    let middle = quote.doubled_middle();
    let away = (2 * i128::from(wish.price) - middle).abs();
    let allowed = 2 * i128::from(limits.collar_price);
    at_most(away, allowed, Reason::CollarPrice, Number::HalfPrice)?;
    // Both sides are below 2^66 × 2^17.
    let points = i128::from(limits.collar_basis_points);
    if away * 10_000 > points * middle.abs() {
        let value = (away * 10_000).checked_add(middle.abs() - 1).and_then(|up| up.checked_div(middle.abs()));
        let shown = value.map_or(Number::None, Number::BasisPoints);
        return Err(Denial::of(Reason::CollarPercent, shown, Number::BasisPoints(points)));
    }
    Ok(())
}
