//! What may be sent: each reason at, below and above its limit.

use crate::rig::*;
use bus::config::GatewayLimits;
use bus::{Instruction, OrderAction, OrderSide, TimeInForce, TradingMode};
use gateway::orders::{Gate, Input, Judge};

const NOW: u64 = 1_000_000_000_000;
const AGE: u64 = 1_000_000_000;

fn judge() -> Judge {
    let limits = GatewayLimits {
        order_quantity_max: 100,
        order_notional_max: 10_000,
        open_orders_max: 2,
        messages_per_second: 10,
        message_burst: 3,
    };
    Judge::new(limits, AGE, 0)
}

fn verdict(
    judge: &mut Judge,
    rig: &Rig,
    action: OrderAction,
    change: impl FnOnce(&mut Instruction),
) -> String {
    let mut instruction = Instruction { created_ns: NOW, ..instruction("z", action) };
    change(&mut instruction);
    let judged = judge.judge(&rig.book, &Gate::Open, &instruction, NOW);
    judged.map_or_else(|denial| denial.reason.to_owned(), |()| "passed".to_owned())
}

fn ask(rig: &Rig, action: OrderAction) -> String {
    verdict(&mut judge(), rig, action, |_| {})
}

fn limit(quantity: u64, units: i64) -> OrderAction {
    OrderAction::New {
        side: OrderSide::Buy,
        quantity,
        price: Some(price(units)),
        time_in_force: TimeInForce::Day,
    }
}

#[test]
fn quantity_and_value_pass_at_their_limits_and_not_above() {
    let rig = Rig::new();
    assert_eq!(ask(&rig, limit(100, 100)), "passed");
    assert_eq!(ask(&rig, limit(101, 1)), "order_quantity");
    assert_eq!(ask(&rig, limit(100, 101)), "order_notional");
    assert_eq!(ask(&rig, limit(100, -101)), "order_notional");
    let market =
        OrderAction::New { side: OrderSide::Buy, quantity: 1, price: None, time_in_force: TimeInForce::Day };
    assert_eq!(ask(&rig, market), "no_price");
}

#[test]
fn open_orders_are_counted_and_a_replacement_is_none_more() {
    let mut rig = Rig::new();
    rig.open("a", 10);
    assert_eq!(ask(&rig, limit(1, 1)), "passed");
    rig.open("b", 10);
    assert_eq!(ask(&rig, limit(1, 1)), "open_orders");
    assert_eq!(ask(&rig, replace("a", 20)), "passed");
    assert_eq!(ask(&rig, cancel("a")), "passed");
}

#[test]
fn more_messages_than_the_burst_wait_for_the_rate() {
    let (rig, mut judge) = (Rig::new(), judge());
    let mut at = |ns: u64| {
        let instruction = Instruction { created_ns: ns, ..instruction("z", limit(1, 1)) };
        judge.judge(&rig.book, &Gate::Open, &instruction, ns).map_err(|denial| denial.reason)
    };
    for _ in 0..3 {
        assert_eq!(at(NOW), Ok(()));
    }
    assert_eq!(at(NOW), Err("message_rate"));
    assert_eq!(at(NOW + 99_999_999), Err("message_rate"));
    assert_eq!(at(NOW + 100_000_000), Ok(()));
    assert_eq!(at(NOW + 100_000_000), Err("message_rate"));
}

#[test]
fn what_is_old_from_the_future_or_of_the_day_before_is_denied_unless_it_cancels() {
    let mut rig = Rig::new();
    rig.open("a", 10);
    let aged = |created: u64, action: OrderAction, day: u64| {
        let mut judge = judge();
        judge.begin_day(day);
        verdict(&mut judge, &rig, action, |instruction| instruction.created_ns = created)
    };
    assert_eq!(aged(NOW - AGE, limit(1, 1), 0), "passed");
    assert_eq!(aged(NOW - AGE - 1, limit(1, 1), 0), "too_old");
    assert_eq!(aged(NOW + AGE, limit(1, 1), 0), "passed");
    assert_eq!(aged(NOW + AGE + 1, limit(1, 1), 0), "clock");
    assert_eq!(aged(NOW, limit(1, 1), NOW - AGE), "passed");
    assert_eq!(aged(NOW, limit(1, 1), NOW - AGE + 1), "too_old");
    assert_eq!(aged(0, cancel("a"), 0), "passed");
}

#[test]
fn without_a_connection_a_state_or_the_fate_of_every_order_only_cancels_pass() {
    let mut rig = Rig::new();
    rig.open("a", 10);
    rig.send("b", new(10));
    rig.apply(Input::Down { why: "cut".into() });
    assert_eq!(ask(&rig, limit(1, 1)), "not_connected");
    rig.apply(Input::Up { session: "S1".into() });
    assert_eq!(ask(&rig, limit(1, 1)), "reconciling");
    rig.apply(Input::CaughtUp);
    assert_eq!(ask(&rig, limit(1, 1)), "reconciling");
    rig.tell("b", accepted(10));
    assert_eq!(ask(&rig, replace("a", 11)), "passed");
    rig.apply(Input::Trading(trading(TradingMode::Halted)));
    assert_eq!(ask(&rig, limit(1, 1)), "halted");
    assert_eq!(ask(&rig, cancel("a")), "passed");
    let mut never = Rig::new();
    never.book = gateway::orders::Book::new("sim", 1);
    never.apply(Input::Up { session: "S1".into() });
    never.apply(Input::CaughtUp);
    assert_eq!(ask(&never, limit(1, 1)), "halted");
}

#[test]
fn reducing_lets_pass_what_lowers_the_position_with_all_that_is_open() {
    let mut rig = Rig::new();
    rig.open("a", 30);
    rig.tell("a", filled(30, "x1"));
    rig.apply(Input::Trading(trading(TradingMode::Reducing)));
    let sell = |quantity| OrderAction::New {
        side: OrderSide::Sell,
        quantity,
        price: Some(price(1)),
        time_in_force: TimeInForce::Day,
    };
    assert_eq!(ask(&rig, sell(30)), "passed");
    assert_eq!(ask(&rig, sell(31)), "reducing");
    assert_eq!(ask(&rig, limit(1, 1)), "reducing");
    rig.send("s", sell(20));
    assert_eq!(ask(&rig, sell(10)), "passed");
    assert_eq!(ask(&rig, sell(11)), "reducing");
    assert_eq!(ask(&rig, replace("s", 30)), "passed");
    assert_eq!(ask(&rig, replace("s", 31)), "reducing");
}

#[test]
fn what_names_nothing_living_is_denied() {
    let mut rig = Rig::new();
    rig.open("a", 10);
    rig.tell("a", filled(4, "x1"));
    rig.open("dead", 10);
    rig.tell("dead", cancelled());
    assert_eq!(ask(&rig, cancel("nobody")), "unknown_order");
    assert_eq!(ask(&rig, cancel("dead")), "order_ended");
    assert_eq!(ask(&rig, replace("dead", 5)), "order_ended");
    assert_eq!(ask(&rig, replace("a", 4)), "quantity_filled");
    let foreign = verdict(&mut judge(), &rig, replace("a", 5), |order| order.instrument_id = 8);
    assert_eq!(foreign, "foreign_order");
    rig.send("b", replace("a", 5));
    assert_eq!(ask(&rig, replace("a", 6)), "replace_pending");
    assert_eq!(ask(&rig, replace("b", 6)), "replace_pending");
    rig.tell("b", rejected());
    for name in ["c1", "c2", "c3", "c4", "c5", "c6", "c7"] {
        rig.send(name, cancel("a"));
        assert_eq!(ask(&rig, cancel("a")), "passed");
    }
    assert_eq!(ask(&rig, replace("a", 6)), "cancel_pending");
    rig.send("c8", cancel("a"));
    assert_eq!(ask(&rig, cancel("a")), "cancel_pending");
}
