//! What goes away: the connection, Redis, the gateway, its lease.

use crate::rig::*;
use bus::{ReportKind, TradingMode};
use gateway::line::{OrderName, What};
use std::time::Duration;
use tick::Price;

#[test]
fn without_a_connection_new_orders_are_denied_and_cancels_go_first_after_the_logon() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.report(ReportKind::Accepted, "o1");
    rig.venue(|venue| venue.answers = false);
    rig.instruct("o2", buy(100));
    rig.report(ReportKind::Sent, "o2");
    rig.venue(|venue| venue.cut());
    rig.report(ReportKind::Unknown, "o2");
    rig.instruct("o3", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o3").reason, "not_connected");
    rig.instruct("c1", cancel("o1"));
    assert_eq!(rig.report(ReportKind::Sent, "c1").reason, "kept");
    let lines = rig.lines.clone();
    rig.venue(|venue| {
        venue.answers = true;
        venue.reconnect(&lines);
    });
    let cancelled = rig.report(ReportKind::Cancelled, "c1");
    assert_eq!(cancelled.of, Some(id("o1")));
    // The venue was asked about the other, and says that it stands.
    rig.report(ReportKind::Accepted, "o2");
    assert_eq!(
        rig.venue(|venue| (venue.cancels(), venue.settled.clone())),
        (vec!["o1".into()], vec![id("o2")])
    );
    rig.instruct("o4", buy(1));
    rig.report(ReportKind::Accepted, "o4");
    assert_eq!(rig.venue(|venue| venue.orders()), 3);
}

#[test]
fn a_cancel_that_never_arrived_is_sent_again_with_another_id() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.instruct("o2", buy(100));
    rig.report(ReportKind::Accepted, "o2");
    rig.venue(|venue| venue.answers = false);
    rig.instruct("c1", cancel("o1"));
    rig.report(ReportKind::Sent, "c1");
    rig.venue(|venue| {
        venue.answers = true;
        venue.tell(OrderName::Id(id("c1")), What::NeverArrived);
    });
    assert_eq!(rig.report(ReportKind::Cancelled, "c1").of, Some(id("o1")));
    // The same of a halt.
    rig.venue(|venue| venue.answers = false);
    rig.trade(TradingMode::Halted);
    until("the halt's cancel", || rig.venue(|venue| venue.cancels().len() == 3));
    rig.venue(|venue| {
        venue.answers = true;
        let lost = venue.sent.last().unwrap().1.id;
        venue.tell(OrderName::Id(lost), What::NeverArrived);
    });
    rig.report(ReportKind::Cancelled, "o2");
    assert_eq!(rig.venue(|venue| venue.cancels()), ["o1", "o1", "o2", "o2"]);
    let ids = rig.venue(|venue| venue.ids());
    assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "{ids:?}");
}

#[test]
fn a_redis_that_lost_its_memory_gets_all_reports_of_the_day_again() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    for n in 0..20 {
        rig.instruct(&format!("o{n}"), buy(1));
    }
    let before = rig.wait_for("twenty orders", |reports| reports.len() == 40);
    redis::cmd("FLUSHALL").query::<()>(rig.connection()).unwrap();
    rig.wait_for("all again", |reports| reports.len() >= 40);
    assert_eq!(rig.reports()[..40], before[..]);
    // And it goes on: the state of trading is remembered, the lease is taken anew.
    until("a new order", || {
        let name = format!("n{}", now_ns() % 1_000_000_000);
        rig.instruct(&name, buy(1));
        std::thread::sleep(Duration::from_millis(200));
        rig.reports().iter().any(|r| r.id == Some(id(&name)) && r.kind == ReportKind::Accepted)
    });
}

#[test]
fn a_halt_is_not_lifted_by_a_redis_that_lost_its_memory() {
    let mut rig = Rig::new();
    let mut gateway = rig.start("a");
    rig.instruct("o1", buy(1));
    rig.report(ReportKind::Accepted, "o1");
    rig.trade(TradingMode::Halted);
    rig.report(ReportKind::Cancelled, "o1");
    gateway.stop();
    redis::cmd("FLUSHALL").query::<()>(rig.connection()).unwrap();
    let _gateway = rig.start("b");
    rig.wait_for("the day's reports", |reports| reports.len() >= 3);
    rig.instruct("o2", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o2").reason, "halted");
}

#[test]
fn without_redis_everything_open_is_cancelled_and_its_reports_come_when_redis_does() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.report(ReportKind::Accepted, "o1");
    rig.server.kill().unwrap();
    rig.venue(|venue| {
        let trade = What::Filled { quantity: 10, price: Price(100), execution: "x1".into() };
        venue.tell(OrderName::Id(id("o1")), trade);
    });
    let venue = std::sync::Arc::clone(&rig.venue);
    until("the cancel", || venue.lock().unwrap().cancels() == ["o1"]);
    rig.server.start_again().unwrap();
    rig.connect_again();
    let reports = rig
        .wait_for("all reports", |reports| reports.iter().any(|report| report.kind == ReportKind::Cancelled));
    let kinds: Vec<ReportKind> = reports.iter().map(|report| report.kind).collect();
    use ReportKind::{Accepted, Cancelled, Filled, Sent};
    assert_eq!(kinds, [Sent, Accepted, Filled, Cancelled]);
}

#[test]
fn another_gateway_goes_on_where_the_first_ended() {
    let mut rig = Rig::new();
    rig.session = "    cancel_on_stop: false\n".into();
    let mut first = rig.start("a");
    let order = instruction("o1", buy(100));
    rig.instruct_as(&order);
    rig.report(ReportKind::Accepted, "o1");
    let standby = rig.start("b");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(rig.lines.0.lock().unwrap().len(), 1, "two gateways connected");
    first.stop();
    until("the second to connect", || rig.lines.0.lock().unwrap().len() == 2);
    rig.venue(|venue| {
        let trade = What::Filled { quantity: 10, price: Price(100), execution: "x1".into() };
        venue.tell(OrderName::Id(id("o1")), trade);
    });
    let filled = rig.report(ReportKind::Filled, "o1");
    assert_eq!((filled.filled, filled.leaves), (10, 90));
    rig.instruct_as(&order);
    rig.wait_for("the answer", |reports| reports.iter().any(|report| report.reason == "repeated"));
    rig.instruct("o2", buy(1));
    rig.report(ReportKind::Accepted, "o2");
    assert_eq!(rig.venue(|venue| venue.ids()), ["o1", "o2"]);
    drop(standby);
}

#[test]
fn a_gateway_whose_lease_was_taken_sends_nothing_more() {
    let mut rig = Rig::new();
    rig.session = "    cancel_on_stop: false\n".into();
    let first = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.report(ReportKind::Accepted, "o1");
    // Someone else has it, and the stream of reports was written by a later owner.
    let value: String = redis::cmd("GET").arg("lease:gateway:sim").query(rig.connection()).unwrap();
    let token: u64 = value.split(':').next().unwrap().parse().unwrap();
    let theirs = format!("{}:somebody", token + 5);
    redis::cmd("SET")
        .arg("lease:gateway:sim")
        .arg(&theirs)
        .arg("PX")
        .arg(3_000)
        .query::<()>(rig.connection())
        .unwrap();
    redis::cmd("SET").arg("lease:gateway:sim:token").arg(token + 5).query::<()>(rig.connection()).unwrap();
    let numbers = format!("{}:2", token + 5);
    redis::cmd("HSET")
        .arg("execution_reports:numbers")
        .arg("sim")
        .arg(numbers)
        .query::<()>(rig.connection())
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_300));
    rig.instruct("o2", buy(1));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(rig.venue(|venue| venue.ids()), ["o1"]);
    assert_eq!(rig.reports().len(), 2, "reports of a lease that is over");
    // When it is free again it is taken anew, and the journal is gone on with.
    rig.wait_for("an answer", |reports| reports.iter().any(|report| report.id == Some(id("o2"))));
    drop(first);
}

#[test]
fn a_gateway_that_is_asked_to_end_cancels_what_is_open_and_waits_for_it() {
    let mut rig = Rig::new();
    let mut gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.instruct("o2", buy(100));
    rig.report(ReportKind::Accepted, "o2");
    gateway.stop();
    let ended: Vec<_> =
        rig.reports().into_iter().filter(|report| report.kind == ReportKind::Cancelled).collect();
    assert_eq!(ended.len(), 2);
    let lease: Option<String> = redis::cmd("GET").arg("lease:gateway:sim").query(rig.connection()).unwrap();
    assert_eq!(lease, None);
}
