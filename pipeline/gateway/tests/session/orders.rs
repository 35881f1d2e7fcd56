//! Instructions in, orders out, reports back.

use crate::rig::*;
use bus::{Instruction, ReportKind, TradingMode};

#[test]
fn an_instruction_is_sent_once_and_every_change_is_reported() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.report(ReportKind::Accepted, "o1");
    rig.instruct("c1", cancel("o1"));
    let cancelled = rig.report(ReportKind::Cancelled, "c1");
    assert_eq!((cancelled.of, cancelled.leaves), (Some(id("o1")), 0));
    let kinds: Vec<ReportKind> = rig.reports().iter().map(|report| report.kind).collect();
    assert_eq!(kinds, [ReportKind::Sent, ReportKind::Accepted, ReportKind::Sent, ReportKind::Cancelled]);
    assert_eq!(rig.venue(|venue| venue.ids()), ["o1", "c1"]);
    let accepted = rig.report(ReportKind::Accepted, "o1");
    assert_eq!(
        (accepted.venue.as_str(), accepted.strategy.as_str(), accepted.cause_ns),
        ("sim", "quoter", 5)
    );
    until("the drop copy", || {
        let length: u64 = redis::cmd("XLEN").arg("drop_copy").query(rig.connection()).unwrap();
        length == 2
    });
}

#[test]
fn an_instruction_that_comes_again_is_answered_and_not_sent() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    let order = instruction("o1", buy(100));
    rig.instruct_as(&order);
    rig.report(ReportKind::Accepted, "o1");
    rig.instruct_as(&order);
    let again = rig.wait_for("the answer", |reports| reports.len() == 3);
    assert_eq!((again[2].kind, again[2].reason.as_str()), (ReportKind::Accepted, "repeated"));
    assert_eq!(rig.venue(|venue| venue.ids()), ["o1"]);
    // One that was denied stays denied, though it would pass now.
    let old = Instruction { created_ns: now_ns() - 3_000_000_000, ..instruction("o2", buy(1)) };
    rig.instruct_as(&old);
    assert_eq!(rig.report(ReportKind::Denied, "o2").reason, "too_old");
    rig.instruct("o2", buy(1));
    let reports = rig.wait_for("the second denial", |reports| reports.len() == 5);
    assert_eq!((reports[4].kind, reports[4].reason.as_str()), (ReportKind::Denied, "too_old"));
    assert_eq!(rig.venue(|venue| venue.orders()), 1);
}

#[test]
fn what_breaks_the_contract_is_denied_with_the_field_and_the_rest_goes_on() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    let fields = |name: &str| {
        let mut fields = Vec::new();
        let instruction = instruction(name, buy(1));
        instruction.for_each_field(|name, value| fields.push((name.to_owned(), value.to_vec())));
        fields
    };
    let with = |name: &str, field: &str, value: Option<&[u8]>| {
        let mut fields = fields(name);
        fields.retain(|(known, _)| known != field);
        fields.extend(value.map(|value| (field.to_owned(), value.to_vec())));
        fields
    };
    rig.add(&with("b1", "symbol", None));
    rig.add(&with("b2", "quantity", Some(b"-5")));
    rig.add(&with("b3", "v", Some(b"0")));
    rig.add(&with("b4", "id", Some(b"not an id")));
    rig.add(&with("b5", "venue", None));
    rig.add(&with("b6", "venue", Some(b"another")));
    rig.add(&with("b7", "side", Some(b"\xff\xfe")));
    rig.add(&[("noise".to_owned(), vec![0; 4096])]);
    rig.instruct("good", buy(1));
    rig.report(ReportKind::Accepted, "good");
    let denied: Vec<_> = rig
        .reports()
        .into_iter()
        .filter(|report| report.kind == ReportKind::Denied)
        .map(|report| (report.id.map(|id| id.to_string()), report.reason, report.text))
        .collect();
    let expected = [
        (Some("b1"), "malformed", "`symbol` is missing"),
        (Some("b2"), "malformed", "`quantity`"),
        (Some("b3"), "version", "version \"0\""),
        (None, "malformed", "`id`"),
        (Some("b5"), "malformed", "`venue` is missing"),
        (Some("b7"), "malformed", "`side`"),
        (None, "malformed", "`v` is missing"),
    ];
    assert_eq!(denied.len(), expected.len(), "{denied:#?}");
    for ((id, reason, text), (want_id, want_reason, want_text)) in denied.iter().zip(expected) {
        assert_eq!((id.as_deref(), reason.as_str()), (want_id, want_reason));
        assert!(text.contains(want_text), "{text} should say {want_text}");
    }
    assert_eq!(rig.venue(|venue| venue.ids()), ["good"]);
}

#[test]
fn what_the_protocol_cannot_say_and_what_passes_the_rate_is_denied() {
    let mut rig = Rig::new();
    let _gateway = rig.start("a");
    let long = Instruction { symbol: "UNSPEAKABLE".into(), ..instruction("o1", buy(1)) };
    rig.instruct_as(&long);
    let denied = rig.report(ReportKind::Denied, "o1");
    assert_eq!(denied.reason, "unspeakable");
    assert!(denied.text.contains("symbol"));
    rig.venue(|venue| venue.answers = false);
    let created_ns = now_ns();
    // More than are open at once, or than the bucket has.
    for n in 0..60 {
        rig.instruct_as(&Instruction { created_ns, ..instruction(&format!("r{n}"), buy(1)) });
    }
    let reports = rig.wait_for("an answer to each", |reports| reports.len() == 61);
    let denied: Vec<_> = reports.iter().skip(1).filter(|report| report.kind == ReportKind::Denied).collect();
    assert!(denied.len() >= 10, "{}", denied.len());
    assert!(denied.iter().all(|report| ["open_orders", "message_rate"].contains(&report.reason.as_str())));
    assert_eq!(rig.venue(|venue| venue.orders()) + denied.len(), 60);
}

#[test]
fn nothing_is_sent_before_a_trading_state_and_a_halt_cancels_everything() {
    let mut rig = Rig::new();
    redis::cmd("DEL").arg("trading_state").query::<()>(rig.connection()).unwrap();
    let _gateway = rig.start("a");
    rig.instruct("o1", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o1").reason, "halted");
    rig.trade(TradingMode::Active);
    std::thread::sleep(std::time::Duration::from_millis(200));
    rig.instruct("o2", buy(1));
    rig.instruct("o3", buy(1));
    rig.report(ReportKind::Accepted, "o3");
    rig.trade(TradingMode::Halted);
    rig.report(ReportKind::Cancelled, "o2");
    rig.report(ReportKind::Cancelled, "o3");
    rig.instruct("o4", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o4").reason, "halted");
    assert_eq!(rig.venue(|venue| venue.cancels()), ["o2", "o3"]);
    // A state that cannot be read is a halt.
    rig.trade(TradingMode::Active);
    redis::cmd("XADD")
        .arg("trading_state")
        .arg("*")
        .arg("mode")
        .arg("maybe")
        .query::<()>(rig.connection())
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    rig.instruct("o5", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o5").reason, "halted");
}
