//! A two-sided quoter: a bid and an ask around a fair price, moved against the position.
//!
//! Who owns what: [`wanted`] where the quotes should be, [`next`] the one message that leads a side there, [`Quoter`] when to
//! look and when to wait.
//!
//! Invariants: at most one message of a side is without an answer; a side's open quantity never lets the position
//! go beyond `position_max`; a quote is on a tick and does not reach the other side's best price, nor what is or may
//! become of the own quote there; every call sends at most one message a side.

use super::market::{
    PerInstrument, Quote, key_of_report, key_of_tick, side_of_sale, step_of, tick_above, tick_below,
};
use crate::desk::{Desk, OpenOrder, OrderState};
use crate::strategy::Strategy;
use bus::config::{FairPrice, InstrumentKey, QuoterSection};
use bus::{OrderId, OrderSide, Report, ReportKind, TimeInForce, TradingMode};
use tick::{Action, Flags, Price, StatusAction, Tick};

const NS_PER_MS: u64 = 1_000_000;
/// Refusals in a row double the wait so often at most: to about a thousand times.
const DOUBLINGS_MAX: u32 = 10;

/// Where a quote should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    price: i64,
    /// Open quantity.
    leaves: u64,
}

/// Both quotes; none where there should be none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Both {
    bid: Option<Wanted>,
    ask: Option<Wanted>,
}

/// The one message that leads a side to where it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    New(Wanted),
    /// Quantity in all, what was filled counts.
    Replace {
        of: OrderId,
        quantity: u64,
        price: i64,
    },
    Cancel(OrderId),
}

/// Quotes around the fair price for a position.
fn wanted(section: &QuoterSection, quote: &Quote, step: i64, position: i64) -> Both {
    let (step_wide, most) = (i128::from(step), i128::from(section.position_max));
    let doubled_fair = match section.fair {
        FairPrice::Mid => quote.doubled_mid(),
        FairPrice::Microprice => quote.doubled_microprice(),
    };
    let held = i128::from(position).clamp(-most, most);
    let doubled_skew = 2 * i128::from(section.skew_ticks) * step_wide * held / most.max(1);
    let doubled_half = 2 * i128::from(section.half_spread_ticks) * step_wide;
    let center = doubled_fair - doubled_skew;
    // Half a unit is rounded away from the other quote, as what lies between ticks is.
    let bid = ((center - doubled_half).div_euclid(2)).min(i128::from(quote.ask) - step_wide);
    let ask = (-(-(center + doubled_half)).div_euclid(2)).max(i128::from(quote.bid) + step_wide);
    let room = |room: i128| u64::try_from(room.max(0)).unwrap_or(u64::MAX).min(section.size);
    let quote =
        |price: Option<i64>, leaves: u64| price.filter(|_| leaves > 0).map(|price| Wanted { price, leaves });
    Both {
        bid: quote(tick_below(bid, step), room(most - i128::from(position))),
        ask: quote(tick_above(ask, step), room(most + i128::from(position))),
    }
}

/// The price at which an order may trade soonest, with its replacement.
fn soonest(order: &OpenOrder) -> i64 {
    let own = order.price.0;
    match order.replacing {
        Some(other) if order.side == OrderSide::Buy => own.max(other.price.0),
        Some(other) => own.min(other.price.0),
        None => own,
    }
}

/// Whether nothing of this order is without an answer.
fn is_settled(order: &OpenOrder) -> bool {
    let answered = matches!(order.state, OrderState::Sent | OrderState::Open);
    answered && order.replacing.is_none() && order.cancelling.is_none()
}

/// What leads an order (or none) to what is wanted. `side` is what a new order would be, `apart` how far a price may be
/// from where it should be, `room` the most that may be open.
fn next(order: Option<&OpenOrder>, wanted: Option<Wanted>, side: OrderSide, apart: i64) -> Option<Message> {
    let Some(order) = order else { return wanted.map(Message::New) };
    if !is_settled(order) {
        return None;
    }
    let Some(wanted) = wanted else { return Some(Message::Cancel(order.id)) };
    if order.side == OrderSide::Sell && side == OrderSide::SellShort {
        // What was owned when it was sent is not any more; a replacement would still be called a sale of it.
        return Some(Message::Cancel(order.id));
    }
    let moved =
        i128::from(order.price.0).abs_diff(i128::from(wanted.price)) >= u128::from(apart.unsigned_abs());
    if moved {
        let quantity = order.filled.saturating_add(wanted.leaves);
        return Some(Message::Replace { of: order.id, quantity, price: wanted.price });
    }
    // A quote that traded in part keeps its place; one that is too large for the position does not.
    (order.leaves > wanted.leaves).then(|| {
        let quantity = order.filled.saturating_add(wanted.leaves);
        Message::Replace { of: order.id, quantity, price: order.price.0 }
    })
}

/// What a side waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// No new order or replacement before this time.
    order_ns: u64,
    /// No cancel before this time.
    cancel_ns: u64,
    /// Refusals in a row.
    refused: u32,
}

impl Waits {
    fn refuse(&mut self, now_ns: u64, back_off_ns: u64, is_cancel: bool) {
        let until = now_ns.saturating_add(back_off_ns.saturating_mul(1 << self.refused.min(DOUBLINGS_MAX)));
        self.refused = self.refused.saturating_add(1);
        *(if is_cancel { &mut self.cancel_ns } else { &mut self.order_ns }) = until;
    }
}

#[derive(Debug, Default)]
struct State {
    /// When its last tick was received here.
    tick_ns: u64,
    /// The quote that the last look saw, as long as nothing else has happened that a look depends on.
    looked: Option<Quote>,
    bid: Waits,
    ask: Waits,
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct Quoter {
    section: QuoterSection,
    states: PerInstrument<State>,
}

impl Quoter {
    /// The strategy of a valid section.
    pub(crate) fn new(section: &QuoterSection) -> Quoter {
        Quoter { section: section.clone(), states: PerInstrument::default() }
    }

    /// Whether quotes may stand.
    fn may_quote(section: &QuoterSection, state: &State, desk: &Desk<'_>, key: InstrumentKey) -> bool {
        let now_ns = desk.now_ns();
        let quiet = now_ns.saturating_sub(state.tick_ns) > section.quiet_ms * NS_PER_MS;
        let open = section.hours.is_none_or(|hours| hours.contain(now_ns));
        let trades = desk.status(key) == StatusAction::Trading;
        desk.trading() == TradingMode::Active && trades && open && !quiet
    }

    /// `anew`: also when the quote is that of the last look.
    fn look(&mut self, desk: &mut Desk<'_>, key: InstrumentKey, anew: bool) {
        let Quoter { section, states } = self;
        let Some(state) = states.find(key) else { return };
        let quote = Quote::of(desk, key);
        if !anew && quote.is_some() && state.looked == quote {
            return;
        }
        state.looked = quote;
        let (quote, step) = (quote, step_of(desk, key));
        let both = match (quote, step) {
            (Some(quote), Some(step)) if Quoter::may_quote(section, state, desk, key) => {
                wanted(section, &quote, step, desk.position(key))
            }
            _ => Both::default(),
        };
        let apart = step.unwrap_or(0).saturating_mul(i64::from(section.requote_ticks));
        let back_off_ns = section.back_off_ms * NS_PER_MS;
        for buys in [true, false] {
            let (wanted, waits) = if buys { (both.bid, &mut state.bid) } else { (both.ask, &mut state.ask) };
            side(desk, key, buys, wanted, apart, back_off_ns, waits);
        }
    }
}

/// Sends at most one message for a side.
fn side(
    desk: &mut Desk<'_>,
    key: InstrumentKey,
    buys: bool,
    wanted: Option<Wanted>,
    apart: i64,
    back_off_ns: u64,
    waits: &mut Waits,
) {
    let now_ns = desk.now_ns();
    let own = |order: &&OpenOrder| (order.side == OrderSide::Buy) == buys;
    let order = desk.open_orders(key).find(own).copied();
    let surplus = desk.open_orders(key).filter(own).skip(1).find(|order| is_settled(order)).copied();
    // The own quote on the other side, as near as it is or may become.
    let across = desk.open_orders(key).filter(|order| !own(order)).map(soonest);
    let nearest = if buys { across.min() } else { across.max() };
    let free = |price: i64| nearest.is_none_or(|other| if buys { price < other } else { price > other });
    let leaves = wanted.map_or(0, |wanted| wanted.leaves);
    let of_sale = side_of_replacement(desk, key, order.as_ref(), leaves);
    let new_side = if buys { OrderSide::Buy } else { of_sale };
    let message = match surplus {
        // A side has one quote; a second one is from before a restart.
        Some(second) => Some(Message::Cancel(second.id)),
        None => next(order.as_ref(), wanted, new_side, apart),
    };
    let done = match message {
        Some(Message::New(quote)) if now_ns >= waits.order_ns && free(quote.price) => {
            let (quantity, price) = (quote.leaves, Price(quote.price));
            desk.submit(key, new_side, quantity, price, TimeInForce::Day)
        }
        Some(Message::Replace { of, quantity, price }) if now_ns >= waits.order_ns && free(price) => {
            desk.replace(of, quantity, Price(price))
        }
        Some(Message::Cancel(of)) if now_ns >= waits.cancel_ns => desk.cancel(of),
        _ => return,
    };
    if done.is_err() {
        waits.refuse(now_ns, back_off_ns, matches!(message, Some(Message::Cancel(_))));
    }
}

/// What a sale of so much is when the order makes way for it.
fn side_of_replacement(
    desk: &Desk<'_>,
    key: InstrumentKey,
    order: Option<&OpenOrder>,
    leaves: u64,
) -> OrderSide {
    match order {
        Some(order) if order.side == OrderSide::Sell => {
            let owned = u64::try_from(desk.position(key)).unwrap_or(0);
            if leaves <= owned { OrderSide::Sell } else { OrderSide::SellShort }
        }
        _ => side_of_sale(desk, key, leaves),
    }
}

impl Strategy for Quoter {
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        let key = key_of_tick(tick);
        if desk.instrument(key).is_none() {
            return;
        }
        self.states.get(key, State::default).tick_ns = desk.now_ns();
        // In the middle of an event a book shows what never was in the market.
        if tick.flags.contains(Flags::LAST) {
            self.look(desk, key, tick.action == Action::Status);
        }
    }

    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        let key = key_of_report(report);
        let now_ns = desk.now_ns();
        let back_off_ns = self.section.back_off_ms * NS_PER_MS;
        if let (Some(state), Some(side)) = (self.states.find(key), report.side) {
            let waits = if side == OrderSide::Buy { &mut state.bid } else { &mut state.ask };
            match report.kind {
                ReportKind::Rejected | ReportKind::Denied => waits.refuse(now_ns, back_off_ns, false),
                ReportKind::CancelRejected => {
                    waits.refuse(now_ns, back_off_ns, true);
                    waits.order_ns = waits.order_ns.max(waits.cancel_ns);
                }
                ReportKind::Accepted | ReportKind::Filled | ReportKind::Replaced | ReportKind::Cancelled => {
                    waits.refused = 0;
                }
                ReportKind::Sent | ReportKind::Broken | ReportKind::Unknown => {}
            }
        }
        self.look(desk, key, true);
    }

    fn on_time(&mut self, desk: &mut Desk<'_>) {
        let mut at = 0;
        while let Some(key) = self.states.key(at) {
            self.look(desk, key, true);
            at += 1;
        }
    }
}
