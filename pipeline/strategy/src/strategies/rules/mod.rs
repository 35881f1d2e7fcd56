//! Rules: for each instrument, when an expression holds, something is done.
//!
//! Who owns what: `expression` the reading, checking and evaluation of expressions, `names` what they can name; here
//! when a rule fires and what it does then.
//!
//! Invariants: an order is sent only on a good book, at a price on a tick, and never twice within a rule's cooldown,
//! whatever became of it.

pub(crate) mod expression;
mod names;

use super::market::{
    PerInstrument, Quote, cross, key_of_report, key_of_tick, side_of_sale, step_of, tick_above, tick_below,
};
use crate::desk::{Desk, Features, OpenOrder};
use crate::strategy::Strategy;
use bus::config::{
    Fires, InstrumentKey, Problem, RuleAction, RuleOrder, RulePrice, RuleTimeInForce, RulesSection,
};
use bus::{FeatureSchema, OrderSide, Report, TimeInForce};
use expression::{Condition, Fault, Number};
pub(crate) use names::Feature;
use names::{Name, Names};
use tick::{Flags, PRICE_SCALE, Price, Tick};

const NS_PER_MS: u64 = 1_000_000;
/// How often rules are looked at while nothing happens, ns.
const QUIET_STEP_NS: u64 = 100 * NS_PER_MS;

/// A rule, ready to be evaluated.
#[derive(Debug)]
struct Compiled {
    when: Condition,
    on_change: bool,
    cooldown_ns: u64,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Order { buys: bool, quantity: u64, price: Limit, time_in_force: TimeInForce },
    CancelAll,
    Flatten { quantity: u64, cross: u32 },
}

#[derive(Debug)]
enum Limit {
    At(Number),
    Join(i32),
    Cross(u32),
}

/// What is known of a rule for one instrument.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What its expression was; none when that could not be said.
    held: Option<bool>,
    fired_ns: Option<u64>,
}

/// A position that is being given up, by this rule's action.
#[derive(Clone, Copy, Debug)]
struct Flattening {
    rule: usize,
    began_ns: u64,
    /// When it asked for cancels last.
    cancelled_ns: Option<u64>,
    /// When its last order was sent.
    sent_ns: Option<u64>,
}

#[derive(Debug)]
struct State {
    seen: Vec<Seen>,
    flattening: Option<Flattening>,
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Compiled>,
    names: Vec<Name>,
    /// The names' values; filled for each look at the rules.
    slots: Vec<f64>,
    feature_age_max_ns: u64,
    states: PerInstrument<State>,
    looked_ns: u64,
}

impl Rules {
    /// The rules of a section, compiled; `at` is its path in the document. Feature names are checked when the schemas
    /// are known.
    ///
    /// # Errors
    /// Everything that is wrong, with rule, path and place in the expression.
    pub(crate) fn build(
        section: &RulesSection,
        at: &str,
        schemas: Option<&[FeatureSchema]>,
    ) -> Result<Rules, Vec<Problem>> {
        let mut problems = section.validate(at);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut names = Names { used: Vec::new(), schemas };
        let mut rules = Vec::with_capacity(section.rules.len());
        for (index, rule) in section.rules.iter().enumerate() {
            let mut problem = |field: &str, fault: &Fault| {
                let path = if at.is_empty() { String::new() } else { format!("{at}.") };
                problems.push(Problem {
                    path: format!("{path}rules[{index}].{field}"),
                    message: format!("rule {:?}, {fault}", rule.name),
                });
            };
            let when = expression::condition(&rule.when, &mut names);
            let when = when.inspect_err(|fault| problem("when", fault)).ok();
            let action = match &rule.action {
                RuleAction::Buy(order) => order_of(order, true, &mut names, &mut |fault| {
                    problem("do.buy.price.at", fault);
                }),
                RuleAction::Sell(order) => order_of(order, false, &mut names, &mut |fault| {
                    problem("do.sell.price.at", fault);
                }),
                RuleAction::CancelAll => Some(Action::CancelAll),
                RuleAction::Flatten { quantity, cross } => {
                    Some(Action::Flatten { quantity: *quantity, cross: *cross })
                }
            };
            if let (Some(when), Some(action)) = (when, action) {
                let (on_change, cooldown_ns) = (rule.fires == Fires::OnChange, rule.cooldown_ms * NS_PER_MS);
                rules.push(Compiled { when, on_change, cooldown_ns, action });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Rules {
            rules,
            slots: vec![f64::NAN; names.used.len()],
            names: names.used,
            feature_age_max_ns: section.feature_age_max_ms * NS_PER_MS,
            states: PerInstrument::default(),
            looked_ns: 0,
        })
    }

    /// Looks at all rules of an instrument.
    fn look(&mut self, desk: &mut Desk<'_>, key: InstrumentKey) {
        if desk.instrument(key).is_none() {
            return;
        }
        let Rules { rules, names, slots, feature_age_max_ns, states, .. } = self;
        let state = states.get(key, || State { seen: vec![Seen::default(); rules.len()], flattening: None });
        let now_ns = desk.now_ns();
        names::fill(names, slots, desk, key, *feature_age_max_ns);
        for (index, rule) in rules.iter().enumerate() {
            let holds = rule.when.holds(slots);
            let seen = &mut state.seen[index];
            let before = std::mem::replace(&mut seen.held, holds);
            let waits = seen.fired_ns.is_some_and(|fired| now_ns < fired.saturating_add(rule.cooldown_ns));
            if holds != Some(true) || (rule.on_change && before != Some(false)) {
                continue;
            }
            let is_order = matches!(rule.action, Action::Order { .. });
            if waits || (is_order && (state.flattening.is_some() || Quote::of(desk, key).is_none())) {
                // A change that comes in the cooldown, or that cannot be acted on, is over.
                continue;
            }
            seen.fired_ns = Some(now_ns);
            match &rule.action {
                Action::Order { buys, quantity, price, time_in_force } => {
                    send(desk, key, *buys, *quantity, price, slots, *time_in_force);
                }
                Action::CancelAll => cancel(desk, key, |_| true),
                Action::Flatten { .. } if state.flattening.is_none() => {
                    let flattening =
                        Flattening { rule: index, began_ns: now_ns, cancelled_ns: None, sent_ns: None };
                    state.flattening = Some(flattening);
                }
                Action::Flatten { .. } => {}
            }
            names::fill(names, slots, desk, key, *feature_age_max_ns);
        }
        if let Some(flattening) = &mut state.flattening
            && flatten(desk, key, rules, flattening)
        {
            state.flattening = None;
        }
    }
}

fn order_of(
    order: &RuleOrder,
    buys: bool,
    names: &mut Names<'_>,
    problem: &mut dyn FnMut(&Fault),
) -> Option<Action> {
    let price = match &order.price {
        RulePrice::At(text) => {
            Limit::At(expression::number(text, names).inspect_err(|fault| problem(fault)).ok()?)
        }
        RulePrice::Join(ticks) => Limit::Join(*ticks),
        RulePrice::Cross(ticks) => Limit::Cross(*ticks),
    };
    let time_in_force = match order.tif {
        RuleTimeInForce::Day => TimeInForce::Day,
        RuleTimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
    };
    Some(Action::Order { buys, quantity: order.quantity, price, time_in_force })
}

/// Sends a rule's order, if it has a price. What is denied is told by the desk's owner; the cooldown runs all the same.
fn send(
    desk: &mut Desk<'_>,
    key: InstrumentKey,
    buys: bool,
    quantity: u64,
    limit: &Limit,
    slots: &[f64],
    time_in_force: TimeInForce,
) {
    let (Some(quote), Some(step)) = (Quote::of(desk, key), step_of(desk, key)) else { return };
    let Some(price) = price_of(limit, buys, quote, step, slots) else { return };
    let side = if buys { OrderSide::Buy } else { side_of_sale(desk, key, quantity) };
    let _ = desk.submit(key, side, quantity, Price(price), time_in_force);
}

/// A limit as a price on a tick; none when it has no value or does not fit.
fn price_of(limit: &Limit, buys: bool, quote: Quote, step: i64, slots: &[f64]) -> Option<i64> {
    let (bid, ask, step_wide) = (i128::from(quote.bid), i128::from(quote.ask), i128::from(step));
    let on_tick = |price: i128| if buys { tick_below(price, step) } else { tick_above(price, step) };
    match limit {
        Limit::At(number) => {
            let units = (number.value(slots)? * PRICE_SCALE as f64).round();
            // Beyond 2^63 the conversion saturates, and the tick does not fit or is absurd to the collar.
            (units.abs() < i64::MAX as f64).then(|| on_tick(units as i128)).flatten()
        }
        Limit::Join(ticks) if buys => on_tick((bid + i128::from(*ticks) * step_wide).min(ask - step_wide)),
        Limit::Join(ticks) => on_tick((ask - i128::from(*ticks) * step_wide).max(bid + step_wide)),
        Limit::Cross(ticks) => cross(quote, buys, step, *ticks),
    }
}

/// Asks for the cancel of the open orders that `which` picks; one that is on its way already is not asked for again.
fn cancel(desk: &mut Desk<'_>, key: InstrumentKey, which: impl Fn(&OpenOrder) -> bool) {
    let picked = desk.open_orders(key).filter(|order| order.cancelling.is_none() && which(order));
    let ids: Vec<_> = picked.map(|order| order.id).collect();
    for id in ids {
        let _ = desk.cancel(id);
    }
}

/// One step towards no orders and no position. Whether there is nothing left to do.
fn flatten(desk: &mut Desk<'_>, key: InstrumentKey, rules: &[Compiled], state: &mut Flattening) -> bool {
    let Some(Compiled { action: Action::Flatten { quantity, cross: ticks }, cooldown_ns, .. }) =
        rules.get(state.rule)
    else {
        return true;
    };
    let (now_ns, position) = (desk.now_ns(), desk.position(key));
    let over = |since: Option<u64>| since.is_none_or(|since| now_ns >= since.saturating_add(*cooldown_ns));
    if desk.open_orders(key).next().is_some() {
        // What the venue would not cancel is asked for again; its own immediate order is left the time to answer.
        if over(state.cancelled_ns) {
            state.cancelled_ns = Some(now_ns);
            let began_ns = state.began_ns;
            cancel(desk, key, |order| order.created_ns <= began_ns || over(Some(order.created_ns)));
        }
        return false;
    }
    if position == 0 {
        return true;
    }
    let (Some(quote), Some(step)) = (Quote::of(desk, key), step_of(desk, key)) else { return false };
    if !over(state.sent_ns) {
        return false;
    }
    state.sent_ns = Some(now_ns);
    let (buys, quantity) = (position < 0, position.unsigned_abs().min(*quantity));
    if let Some(price) = cross(quote, buys, step, *ticks) {
        let side = if buys { OrderSide::Buy } else { OrderSide::Sell };
        let _ = desk.submit(key, side, quantity, Price(price), TimeInForce::ImmediateOrCancel);
    }
    false
}

impl Strategy for Rules {
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        // In the middle of an event a book shows what never was in the market.
        if tick.flags.contains(Flags::LAST) {
            self.look(desk, key_of_tick(tick));
        }
    }

    fn on_features(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) {
        self.look(desk, features.key());
    }

    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        self.look(desk, key_of_report(report));
    }

    fn on_time(&mut self, desk: &mut Desk<'_>) {
        if desk.now_ns().saturating_sub(self.looked_ns) < QUIET_STEP_NS {
            return;
        }
        self.looked_ns = desk.now_ns();
        let mut at = 0;
        while let Some(key) = self.states.key(at) {
            self.look(desk, key);
            at += 1;
        }
    }
}
