//! Random sessions: a market that jumps, breaks and comes back, a venue that is slow, refuses, trades and forgets to wait. After
//! every input it is looked at what must always hold.

use crate::host::{CENT, Dice};
use crate::support::{Rig, rig};
use bus::{Instruction, OrderAction, OrderSide, Quality, TimeInForce, TradingMode};
use std::collections::VecDeque;

/// Sessions of each kind: more with `FEEDPLANE_SEEDS`.
fn seeds() -> u64 {
    std::env::var("FEEDPLANE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Position if one side's open orders trade, with what is on its way.
fn worst(rig: &mut Rig, buys: bool) -> i64 {
    let open = rig.open();
    let own = open.iter().filter(|order| (order.side == OrderSide::Buy) == buys);
    let most = |order: &strategy::desk::OpenOrder| {
        order.leaves.max(order.replacing.map_or(0, |other| other.quantity.saturating_sub(order.filled)))
    };
    let sum = own.map(most).sum::<u64>() as i64;
    if buys { rig.position() + sum } else { rig.position() - sum }
}

/// One random input; what the strategy sent for it.
fn input(
    rig: &mut Rig,
    dice: &mut Dice,
    waiting: &mut VecDeque<Instruction>,
    cents: &mut i64,
) -> Vec<Instruction> {
    match dice.below(20) {
        0..=7 => {
            *cents += dice.below(9) as i64 - 4;
            let wide = 1 + dice.below(4) as i64;
            let sizes = (1 + dice.below(300) as u32, 1 + dice.below(300) as u32);
            rig.quote((*cents, sizes.0), (*cents + wide, sizes.1))
        }
        8..=11 => {
            let Some(instruction) = waiting.pop_front() else { return rig.pass(1) };
            if dice.below(6) == 0 {
                return rig.refuse(&instruction);
            }
            match instruction.action {
                OrderAction::New { quantity, time_in_force: TimeInForce::ImmediateOrCancel, .. } => {
                    rig.immediate(&instruction, dice.below(quantity + 1))
                }
                _ => rig.accept(&instruction),
            }
        }
        12 | 13 => {
            let at = dice.below(3) as usize;
            let Some((id, order)) = rig.orders.iter().nth(at) else { return Vec::new() };
            let (id, left) = (*id, order.quantity - order.filled);
            rig.fill(id, 1 + dice.below(left))
        }
        14 => match rig.orders.keys().next().copied() {
            Some(id) if dice.below(3) == 0 => rig.end(id),
            _ => Vec::new(),
        },
        15 if dice.below(4) == 0 => {
            let sent = rig.gap();
            rig.clear();
            sent
        }
        16 if dice.below(4) == 0 => {
            let mode = TradingMode::ALL[dice.below(3) as usize];
            rig.trading(mode)
        }
        17 => rig.features([dice.below(600) as f64 - 300.0, 0.0], Quality(dice.below(2) as u8)),
        _ => {
            if dice.below(4) == 0 {
                rig.trading(TradingMode::Active);
            }
            rig.pass(1 + dice.below(60))
        }
    }
}

/// Plays sessions; `holds` looks at what was sent for each input.
fn play(kind: &str, section: &str, mut holds: impl FnMut(&mut Rig, &[Instruction])) -> usize {
    let mut total = 0;
    for seed in 0..seeds() {
        let (mut rig, mut dice) = (rig(kind, section), Dice(seed + 1));
        let (mut waiting, mut cents) = (VecDeque::new(), 10_000);
        for _ in 0..1_000 {
            let sent = input(&mut rig, &mut dice, &mut waiting, &mut cents);
            holds(&mut rig, &sent);
            total += sent.len();
            waiting.extend(sent);
            assert_eq!(rig.host.trouble(), None, "the session contradicts itself");
        }
    }
    total
}

/// Prices of the new orders and replacements, with their side.
fn prices(rig: &mut Rig, sent: &[Instruction]) -> Vec<(bool, i64)> {
    let open = rig.open();
    let price = |instruction: &Instruction| match instruction.action {
        OrderAction::New { side, price, .. } => Some((side == OrderSide::Buy, price.unwrap().0)),
        OrderAction::Replace { of, price, .. } => {
            let order = open.iter().find(|order| order.id == of).unwrap();
            Some((order.side == OrderSide::Buy, price.0))
        }
        OrderAction::Cancel { .. } => None,
    };
    sent.iter().filter_map(price).collect()
}

#[test]
fn quotes_never_cross_never_exceed_the_position_and_never_flood() {
    const MOST: i64 = 250;
    let section = "{half_spread_ticks: 1, skew_ticks: 3, size: 90, position_max: 250, requote_ticks: 1, quiet_ms: 200, back_off_ms: 20}";
    let total = play("quoter", section, |rig, sent| {
        assert!(sent.len() <= 2, "at most one a side: {sent:?}");
        for (buys, price) in prices(rig, sent) {
            assert_eq!(price % CENT, 0);
            let (bid, ask) = rig.best().expect("no order without a good book");
            assert!(if buys { price < ask } else { price > bid }, "{price} takes from {bid} {ask}");
        }
        let open = rig.open();
        for buys in [true, false] {
            assert!(
                open.iter().filter(|order| (order.side == OrderSide::Buy) == buys).count() <= 1,
                "{open:?}"
            );
        }
        let soonest = |order: &strategy::desk::OpenOrder, pick: fn(i64, i64) -> i64| {
            pick(order.price.0, order.replacing.map_or(order.price.0, |other| other.price.0))
        };
        let bid = open
            .iter()
            .filter(|order| order.side == OrderSide::Buy)
            .map(|order| soonest(order, i64::max))
            .max();
        let ask = open
            .iter()
            .filter(|order| order.side != OrderSide::Buy)
            .map(|order| soonest(order, i64::min))
            .min();
        if let (Some(bid), Some(ask)) = (bid, ask) {
            assert!(bid < ask, "own quotes cross: {open:?}");
        }
        assert!(worst(rig, true) <= MOST && worst(rig, false) >= -MOST, "{open:?} with {}", rig.position());
    });
    assert!(total > 1_000, "{total}");
}

#[test]
fn momentum_never_exceeds_its_position_and_has_one_order_at_a_time() {
    let section = "{window_ms: 160, enter_ticks: 0.3, clip: 20, position: 50, cross_ticks: 1, hold_ms: 300, pause_ms: 5}";
    let total = play("ofi_momentum", section, |rig, sent| {
        assert!(sent.len() <= 1 && rig.open().len() <= 1, "{sent:?}");
        assert!(sent.is_empty() || rig.best().is_some(), "no order without a good book");
        assert!(prices(rig, sent).iter().all(|(_, price)| price % CENT == 0));
        assert!(worst(rig, true) <= 50 && worst(rig, false) >= -50, "{}", rig.position());
    });
    assert!(total > 300, "{total}");
}

#[test]
fn rules_send_at_most_one_order_a_cooldown_each() {
    let section = "{rules: [
        {name: up, when: 'imbalance > 0.2 && position < 100', fires: while_true, cooldown_ms: 40, do: {buy: {quantity: 10, price: {join: 1}}}},
        {name: down, when: 'flow.ofi < 0 && position > -100', cooldown_ms: 40, do: {sell: {quantity: 10, price: {at: mid + tick_size}}}},
        {name: away, when: 'open_orders > 6', fires: while_true, cooldown_ms: 40, do: cancel_all},
        {name: out, when: 'abs(position) > 40', cooldown_ms: 40, do: {flatten: {quantity: 25}}}]}";
    let mut last: [Option<u64>; 2] = [None, None];
    let total = play("rules", section, |rig, sent| {
        if rig.now_ns < last.iter().flatten().copied().max().unwrap_or(0) {
            last = [None, None]; // another session
        }
        for instruction in sent {
            let OrderAction::New { side, time_in_force: TimeInForce::Day, .. } = instruction.action else {
                continue;
            };
            let since = &mut last[usize::from(side == OrderSide::Buy)];
            assert!(since.is_none_or(|since| rig.now_ns >= since + 40_000_000), "{instruction:?}");
            *since = Some(rig.now_ns);
            assert!(rig.best().is_some(), "no order without a good book");
        }
        assert!(prices(rig, sent).iter().all(|(_, price)| price % CENT == 0));
    });
    assert!(total > 1_000, "{total}");
}

#[test]
fn the_same_session_gives_the_same_orders_twice() {
    let section = "{half_spread_ticks: 1, skew_ticks: 3, size: 90, position_max: 250, quiet_ms: 200}";
    let once = || {
        let mut all = Vec::new();
        play("quoter", section, |_, sent| all.extend_from_slice(sent));
        all
    };
    assert_eq!(once(), once());
}
