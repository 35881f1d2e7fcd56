//! What cannot be ordered by anyone: trades, cancels and replacements that cross.

use crate::rig::*;
use bus::ReportKind::{
    Accepted, Broken, CancelRejected, Cancelled, Filled, Rejected, Replaced, Sent, Unknown,
};
use bus::{OrderId, ReportKind};
use gateway::line::{OrderName, What};
use gateway::orders::{Input, Own, Went};

#[test]
fn an_order_is_sent_accepted_filled_in_parts_and_ends_with_the_last() {
    let mut rig = Rig::new();
    let sent = rig.send("a", new(100));
    assert_eq!(Rig::short(&sent), [short(Sent, "a", "", 0, 100)]);
    assert_eq!(Rig::short(&rig.tell("a", accepted(100))), [short(Accepted, "a", "", 0, 100)]);
    assert_eq!(Rig::short(&rig.tell("a", filled(30, "x1"))), [short(Filled, "a", "", 30, 70)]);
    assert_eq!(Rig::short(&rig.tell("a", filled(70, "x2"))), [short(Filled, "a", "", 100, 0)]);
    assert_eq!(rig.book.open_orders(), 0);
    assert_eq!(rig.book.positions()[&(2, 7)], 100);
}

#[test]
fn a_trade_before_the_acceptance_is_counted_and_the_acceptance_says_what_is_open_now() {
    let mut rig = Rig::new();
    rig.send("a", new(100));
    assert_eq!(Rig::short(&rig.tell("a", filled(40, "x1"))), [short(Filled, "a", "", 40, 60)]);
    assert_eq!(Rig::short(&rig.tell("a", accepted(100))), [short(Accepted, "a", "", 40, 60)]);
    // All of it traded before: there is nothing to be said any more.
    rig.send("b", new(10));
    rig.tell("b", filled(10, "x2"));
    assert_eq!(Rig::short(&rig.tell("b", accepted(10))), []);
}

#[test]
fn what_is_told_twice_counts_once() {
    let mut rig = Rig::new();
    rig.send("a", new(100));
    rig.told(5, OrderName::Wire(1), accepted(100));
    assert_eq!(rig.told(6, OrderName::Wire(1), filled(30, "x1")).len(), 1);
    assert!(rig.told(6, OrderName::Wire(1), filled(30, "x1")).is_empty(), "by its number");
    assert!(rig.told(0, OrderName::Wire(1), filled(30, "x1")).is_empty(), "by its execution");
    assert_eq!(rig.book.quantities(&id("a")), Some((100, 30, 70)));
    assert_eq!(rig.book.oddities().repeated, 2);
}

#[test]
fn a_trade_while_a_cancel_is_on_its_way_leaves_less_to_cancel() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    assert_eq!(Rig::short(&rig.send("c", cancel("a"))), [short(Sent, "c", "a", 0, 0)]);
    rig.tell("a", filled(60, "x1"));
    assert_eq!(Rig::short(&rig.tell("a", cancelled())), [short(Cancelled, "c", "a", 60, 0)]);
    // Too late for the whole of another.
    rig.open("b", 10);
    rig.send("d", cancel("b"));
    assert_eq!(Rig::short(&rig.tell("b", filled(10, "x2"))), [short(Filled, "b", "", 10, 0)]);
    let late = rig.tell("b", cancel_rejected(Some("d")));
    assert_eq!(Rig::short(&late), [short(CancelRejected, "d", "b", 10, 0)]);
}

#[test]
fn a_cancel_that_nobody_asked_for_ends_the_order_and_a_part_of_one_makes_it_smaller() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    let some = What::Cancelled { quantity: Some(30), reason: "Q".into(), by: None };
    let made = rig.tell("a", some);
    assert_eq!(Rig::short(&made), [short(Accepted, "a", "", 0, 70)]);
    assert_eq!(made[0].reason, "reduced");
    assert_eq!(Rig::short(&rig.tell("a", cancelled())), [short(Cancelled, "a", "", 0, 0)]);
    assert!(rig.tell("a", cancelled()).is_empty());
}

#[test]
fn a_cancel_that_is_refused_leaves_the_order_as_it_is() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("c", cancel("a"));
    // It need not say which cancel it means.
    assert_eq!(Rig::short(&rig.tell("a", cancel_rejected(None))), [short(CancelRejected, "c", "a", 0, 100)]);
    assert!(rig.book.to_cancel(false).is_empty());
}

#[test]
fn a_replacement_carries_on_what_was_filled() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.tell("a", filled(30, "x1"));
    assert_eq!(Rig::short(&rig.send("b", replace("a", 150))), [short(Sent, "b", "a", 30, 120)]);
    // A trade of the original while it is on its way.
    assert_eq!(Rig::short(&rig.tell("a", filled(10, "x2"))), [short(Filled, "a", "", 40, 60)]);
    assert_eq!(Rig::short(&rig.tell("b", replaced(Some(150), 110))), [short(Replaced, "b", "a", 40, 110)]);
    assert_eq!(Rig::short(&rig.tell("b", filled(110, "x3"))), [short(Filled, "b", "", 150, 0)]);
    assert_eq!(rig.book.open_orders(), 0);
}

#[test]
fn a_message_that_says_only_what_is_open_says_the_quantity_in_all_too() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.tell("a", filled(30, "x1"));
    rig.send("b", replace("a", 150));
    rig.tell("b", replaced(None, 90));
    assert_eq!(rig.book.quantities(&id("b")), Some((120, 30, 90)));
}

#[test]
fn a_trade_of_the_replacement_before_its_confirmation_puts_it_in_force() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 150));
    let made = rig.tell("b", filled(20, "x1"));
    assert_eq!(Rig::short(&made), [short(Replaced, "b", "a", 0, 150), short(Filled, "b", "", 20, 130)]);
    assert!(rig.tell("b", replaced(Some(150), 150)).is_empty());
    assert_eq!(rig.book.quantities(&id("b")), Some((150, 20, 130)));
}

#[test]
fn a_replacement_below_what_traded_meanwhile_is_over_when_it_is_in_force() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 50));
    rig.tell("a", filled(60, "x1"));
    let made = rig.tell("b", replaced(Some(50), 0));
    assert_eq!(Rig::short(&made), [short(Replaced, "b", "a", 60, 0), short(Cancelled, "b", "", 60, 0)]);
    assert_eq!((rig.book.open_orders(), rig.book.oddities().overfills), (0, 0));
}

#[test]
fn a_replacement_of_an_order_that_filled_is_asked_about_and_ends() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 150));
    rig.tell("a", filled(100, "x1"));
    let doubtful: Vec<OrderId> = rig.book.in_doubt().iter().map(|(outgoing, _)| outgoing.id).collect();
    assert_eq!(doubtful, [id("b")]);
    assert_eq!(rig.book.lost(), 0, "others are sent meanwhile");
    assert_eq!(Rig::short(&rig.tell("b", rejected())), [short(Rejected, "b", "a", 100, 0)]);
    assert_eq!((rig.book.open_orders(), rig.book.in_doubt().len()), (0, 0));
    // A venue that takes the order up again for the rest.
    rig.open("c", 100);
    rig.send("d", replace("c", 150));
    rig.tell("c", filled(100, "x2"));
    assert_eq!(Rig::short(&rig.tell("d", replaced(Some(150), 50))), [short(Replaced, "d", "c", 100, 50)]);
}

#[test]
fn a_rejected_replacement_leaves_the_original_or_takes_it_along() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 150));
    assert_eq!(Rig::short(&rig.tell("b", rejected())), [short(CancelRejected, "b", "a", 0, 100)]);
    rig.send("c", replace("a", 150));
    let dead = What::Rejected { reason: "R".into(), text: String::new(), original_lives: false };
    let made = rig.tell("c", dead);
    assert_eq!(Rig::short(&made), [short(Rejected, "c", "a", 0, 0), short(Cancelled, "a", "", 0, 0)]);
    assert_eq!(rig.book.open_orders(), 0);
}

#[test]
fn a_cancel_of_an_order_with_a_replacement_on_its_way_follows_the_order() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 150));
    rig.send("c", cancel("a"));
    assert_eq!(rig.book.to_cancel(false), [(id("a"), true, Some(id("c")))]);
    rig.tell("b", replaced(Some(150), 150));
    // The cancel named an order that the venue does not have any more.
    assert_eq!(rig.book.to_cancel(false), [(id("b"), false, Some(id("c")))]);
    rig.take_own("GW1", cancel("b"), Some(Own { carries_out: Some(id("c")) }));
    rig.apply(Input::Went { id: id("GW1"), how: Went::Sent });
    assert_eq!(Rig::short(&rig.tell("b", cancelled())), [short(Cancelled, "c", "b", 0, 0)]);
}

#[test]
fn a_trade_beyond_the_quantity_is_counted_loudly() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.tell("a", filled(100, "x1"));
    let made = rig.tell("a", filled(5, "x2"));
    assert_eq!(Rig::short(&made), [short(Filled, "a", "", 105, 0)]);
    assert_eq!((made[0].reason.as_str(), rig.book.oddities().overfills), ("overfilled", 1));
    assert_eq!(rig.book.positions()[&(2, 7)], 105);
}

#[test]
fn a_void_trade_gives_the_order_nothing_back() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.tell("a", filled(30, "x1"));
    let void = What::Broken { execution: "x1".into(), quantity: None, price: None };
    let made = rig.tell("a", void.clone());
    assert_eq!(Rig::short(&made), [short(Broken, "a", "", 0, 70)]);
    assert_eq!((made[0].last_quantity, made[0].last_price), (30, Some(price(100))));
    assert!(rig.tell("a", void).is_empty());
    assert_eq!(rig.book.positions()[&(2, 7)], 0);
    // Void before it was told: it never counts.
    rig.tell("a", What::Broken { execution: "x2".into(), quantity: Some(5), price: None });
    assert!(rig.tell("a", filled(5, "x2")).is_empty());
}

#[test]
fn a_lost_connection_makes_what_was_not_answered_unknown_until_the_venue_says() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", new(10));
    rig.send("c", new(20));
    rig.send("d", replace("a", 50));
    let made = rig.apply(Input::Down { why: "cut".into() });
    let expected =
        [short(Unknown, "b", "", 0, 10), short(Unknown, "c", "", 0, 20), short(Unknown, "d", "a", 0, 50)];
    assert_eq!(Rig::short(&made), expected);
    assert!(rig.apply(Input::Down { why: "cut".into() }).is_empty(), "said once");
    rig.apply(Input::Up { session: "S1".into() });
    rig.apply(Input::CaughtUp);
    assert_eq!(rig.book.lost(), 3);
    assert_eq!(Rig::short(&rig.tell("b", What::NeverArrived)), [short(Rejected, "b", "", 0, 0)]);
    let stands = What::Stands { filled: 5, leaves: 15, venue_order: "V".into() };
    let made = rig.tell("c", stands);
    // Whoever waited hears of the trade, and that its fate is known.
    assert_eq!(Rig::short(&made)[0], short(Filled, "c", "", 5, 15));
    assert_eq!(made[0].reason, "not_told");
    assert_eq!(Rig::short(&rig.tell("d", What::NeverArrived)), [short(CancelRejected, "d", "a", 0, 100)]);
    assert_eq!(rig.book.lost(), 0);
    // The trade itself, told late, counts no second time.
    assert!(rig.tell("c", filled(5, "x9")).is_empty());
    assert_eq!(rig.book.quantities(&id("c")), Some((20, 5, 15)));
}

#[test]
fn a_cancel_without_a_connection_is_carried_out_after_the_logon() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.apply(Input::Down { why: "cut".into() });
    let made = rig.take("c", cancel("a"));
    assert_eq!((Rig::short(&made), made[0].reason.as_str()), (vec![short(Sent, "c", "a", 0, 0)], "kept"));
    rig.apply(Input::Up { session: "S1".into() });
    rig.apply(Input::CaughtUp);
    assert_eq!(rig.book.to_cancel(false), [(id("a"), false, Some(id("c")))]);
}

#[test]
fn a_cancel_that_never_arrived_is_made_again_as_long_as_the_order_is_to_end() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("c", cancel("a"));
    assert_eq!(rig.book.to_cancel(false), [(id("a"), true, Some(id("c")))]);
    assert!(rig.tell("c", What::NeverArrived).is_empty());
    assert_eq!(rig.book.to_cancel(false), [(id("a"), false, Some(id("c")))]);
    // A halt's own: as long as the halt holds.
    rig.open("b", 100);
    rig.take_own("g", cancel("b"), Some(Own { carries_out: None }));
    rig.apply(Input::Went { id: id("g"), how: Went::Sent });
    rig.tell("g", What::NeverArrived);
    assert_eq!(rig.book.to_cancel(true), [(id("a"), false, Some(id("c"))), (id("b"), false, None)]);
    assert_eq!(rig.book.to_cancel(false), [(id("a"), false, Some(id("c")))]);
    // What is over needs none.
    rig.tell("a", cancelled());
    rig.tell("c", What::NeverArrived);
    assert_eq!(rig.book.to_cancel(false), []);
}

#[test]
fn a_cancel_that_was_taken_and_not_reported_is_answered_when_it_comes_again() {
    let mut rig = Rig::new();
    rig.take("a", new(100));
    assert!(rig.take("c", cancel("a")).is_empty());
    // Killed here, and nothing of it had left.
    rig.apply(Input::Down { why: "killed".into() });
    rig.apply(Input::Up { session: "S1".into() });
    rig.apply(Input::CaughtUp);
    assert_eq!(Rig::short(&rig.tell("a", What::NeverArrived)), [short(Rejected, "a", "", 0, 0)]);
    let entry = bus::StreamId { ms: 9, seq: 0 };
    let made = rig.apply(Input::Asked { shard: 0, entry, id: id("c") });
    assert_eq!(Rig::short(&made), [short(Cancelled, "c", "a", 0, 0)]);
    assert_eq!(made[0].reason, "repeated");
}

#[test]
fn an_order_that_was_refused_and_trades_after_all_is_taken_up_and_cancelled() {
    let mut rig = Rig::new();
    rig.send("a", new(100));
    rig.tell("a", rejected());
    let made = rig.tell("a", filled(10, "x1"));
    assert_eq!(Rig::short(&made), [short(Filled, "a", "", 10, 90)]);
    assert_eq!(rig.book.to_cancel(false), [(id("a"), false, None)]);
    assert_eq!(rig.book.oddities().contradictions, 1);
}

#[test]
fn a_message_about_an_order_that_nobody_knows_is_kept_for_the_operator() {
    let mut rig = Rig::new();
    let made = rig.told(1, OrderName::Wire(77), filled(10, "x1"));
    assert_eq!((made[0].kind, made[0].id, made[0].last_quantity), (Filled, None, 10));
    assert_eq!(made[0].reason, "unknown_order");
    assert!(rig.told(0, OrderName::Wire(77), filled(10, "x1")).is_empty());
    assert_eq!(rig.book.oddities().strangers, 2);
}

#[test]
fn an_id_that_comes_again_is_answered_with_how_it_stands() {
    let mut rig = Rig::new();
    let ask = |rig: &mut Rig, name: &str| {
        let made = rig.apply(Input::Asked { shard: 0, entry: Default::default(), id: id(name) });
        Rig::short(&made).remove(0)
    };
    rig.send("a", new(100));
    assert_eq!(ask(&mut rig, "a"), short(Sent, "a", "", 0, 100));
    rig.tell("a", accepted(100));
    rig.tell("a", filled(10, "x1"));
    assert_eq!(ask(&mut rig, "a"), short(Accepted, "a", "", 10, 90));
    rig.send("b", new(5));
    rig.tell("b", rejected());
    assert_eq!(ask(&mut rig, "b"), short(Rejected, "b", "", 0, 0));
    rig.tell("a", filled(90, "x2"));
    assert_eq!(ask(&mut rig, "a"), short(Cancelled, "a", "", 100, 0), "nothing is left of it");
    rig.send("c", new(5));
    rig.apply(Input::Down { why: "cut".into() });
    assert_eq!(ask(&mut rig, "c"), short(Unknown, "c", "", 0, 5));
}

#[test]
fn the_end_of_the_day_ends_every_order() {
    let mut rig = Rig::new();
    rig.open("a", 100);
    rig.send("b", replace("a", 50));
    rig.send("c", new(5));
    let made = rig.apply(Input::DayOver);
    let kinds: Vec<(ReportKind, u64)> = made.iter().map(|report| (report.kind, report.leaves)).collect();
    assert_eq!(kinds, [(Cancelled, 0), (Rejected, 0), (Cancelled, 0)]);
    assert_eq!(rig.book.open_orders(), 0);
}
