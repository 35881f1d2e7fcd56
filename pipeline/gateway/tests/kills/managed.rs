//! A gateway whose versions come from the control plane: limits, connections and sessions change under order flow.

use crate::account::Account;
use crate::flow::{Flow, instruction, publish_again};
use crate::live::{Proxy, VenueSpec};
use crate::rig::{Random, Rig};
use bus::control::{ProcessReport, ProcessState};
use bus::names::config_key;
use bus::{Instruction, OrderAction, OrderSide, ReportKind, TimeInForce};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A session as the rig's own document has it.
fn session(venue: &str, user: &str, way: &Proxy) -> Value {
    json!({
        "venue": venue,
        "limits": {"order_quantity_max": 10_000, "order_notional_max": 100_000_000, "open_orders_max": 100_000,
            "messages_per_second": 10_000, "message_burst": 10_000},
        "reconnect": {"first_ms": 20, "most_ms": 200, "logon_ms": 2_000},
        "ouch": {"address": way.address.to_string(), "user": user, "password": "secret"},
    })
}

fn version(sessions: &[Value]) -> Value {
    json!({"lease_ms": 600, "instruction_age_max_ms": 5_000, "sessions": sessions})
}

fn is_refused(report: &ProcessReport) -> bool {
    report.state == ProcessState::Refused
}

/// Far below the market: it stands until it is cancelled.
fn resting(id: &str) -> Instruction {
    let action = OrderAction::New {
        side: OrderSide::Buy,
        quantity: 100,
        price: Some(tick::Price(10_000_000_000)),
        time_in_force: TimeInForce::Day,
    };
    instruction(id, "S1", action)
}

fn publish(rig: &Rig, instruction: &Instruction) {
    let all = std::slice::from_ref(instruction);
    publish_again(&mut rig.connect(), all, &[instruction.id].into());
}

/// Waits until the last report of an order is of this kind; its reason.
fn last(rig: &Rig, instruction: &Instruction, kind: ReportKind) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let account = Account::read(&mut rig.connect(), std::slice::from_ref(instruction));
        match account.last.get(&instruction.id) {
            Some(last) if last.kind == kind => return last.reason.clone(),
            other => assert!(Instant::now() < until, "{:?} stays {other:?}\n{}", instruction.id, rig.logs()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Publishes orders of 300 until one is denied for this reason: one that comes while another's fate is open is denied for
/// that. All that were published.
fn denied(rig: &Rig, name: &str, reason: &str) -> Vec<Instruction> {
    let mut made = Vec::new();
    loop {
        assert!(made.len() < 100, "none is denied for {reason}\n{}", rig.logs());
        let mut order = resting(&format!("{name}{}", made.len()));
        if let OrderAction::New { quantity, .. } = &mut order.action {
            *quantity = 300;
        }
        publish(rig, &order);
        made.push(order);
        if last(rig, &made[made.len() - 1], ReportKind::Denied) == reason {
            return made;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Publishes orders until one stands at the venue: one that comes while the session catches up is denied. All that were
/// published; the last one stands.
fn standing(rig: &Rig, name: &str) -> Vec<Instruction> {
    let mut made = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let order = resting(&format!("{name}{}", made.len()));
        publish(rig, &order);
        made.push(order);
        loop {
            let account = Account::read(&mut rig.connect(), &made);
            match account.last.get(&made[made.len() - 1].id).map(|last| last.kind) {
                Some(ReportKind::Accepted) => return made,
                Some(ReportKind::Denied) => break,
                other => assert!(Instant::now() < until, "{name} stays {other:?}\n{}", rig.logs()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn limits_connections_and_sessions_change_under_flow_and_nothing_is_sent_twice() {
    let mut random = Random::seeded();
    let rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
    let ways = [rig.way(), rig.way(), rig.way()];
    let mut gateway = rig.managed("one", &ways[0]);
    rig.report("one", |report| report.state == ProcessState::Running && report.version == 0);
    let flow = Flow::start(&rig, random.next());
    rig.wait_for_holder(&ways, None);

    // A limit: at once, and the connection does not notice.
    let mut sim = session("sim", "fplane", &ways[0]);
    sim["limits"]["order_quantity_max"] = json!(200);
    rig.distribute(1, &version(&[sim.clone()]));
    let report = rig.report("one", |report| report.version == 1);
    assert_eq!((report.state, report.reason), (ProcessState::Running, None));
    let large = denied(&rig, "LARGE", "order_quantity");
    assert_eq!(ways[0].logged_in(), 1);

    // A connection: logged off here and on there; what is open is asked about.
    for (number, way) in [(2, 1), (3, 0), (4, 1)] {
        sim = session("sim", "fplane", &ways[way]);
        rig.distribute(number, &version(&[sim.clone()]));
        rig.report("one", |report| report.version == number);
        assert_eq!(rig.wait_for_holder(&ways, Some(1 - way)), way);
        std::thread::sleep(Duration::from_millis(1_200));
    }

    // What is wrong is refused; what only a start can change waits for one. Nothing is touched.
    let mut wrong = sim.clone();
    wrong["ouch"]["password_file"] = json!("/nowhere/at/all");
    wrong["ouch"].as_object_mut().unwrap().remove("password");
    rig.distribute(5, &version(&[wrong]));
    let report = rig.report("one", is_refused);
    assert_eq!((report.version, report.wanted), (4, Some(5)));
    assert!(report.reason.as_ref().unwrap().contains("sessions[0]: password_file"), "{report:?}");
    rig.distribute(6, &version(&[session("sim", "other", &ways[1])]));
    let report = rig.report("one", |report| report.wanted == Some(6) && report.reason.is_some());
    assert_eq!(report.state, ProcessState::RestartNeeded);
    assert!(report.reason.as_ref().unwrap().starts_with("sessions[0].ouch.user:"), "{report:?}");

    // A session more: the first one is not touched. Then the process is killed, and begins with both.
    let both = version(&[sim.clone(), session("two", "other", &ways[2])]);
    rig.distribute(7, &both);
    rig.report("one", |report| report.version == 7);
    assert_eq!(rig.wait_for_holder(&ways, Some(1)), 2);
    assert_eq!(ways[1].logged_in(), 1);
    gateway.kill();
    gateway = rig.managed("one", &ways[0]);
    let report = rig.report("one", |report| report.version == 7);
    assert_eq!((report.state, report.wanted), (ProcessState::Running, None));
    rig.wait_for_holder(&ways[1..], Some(1));

    // A session less: what it has open is cancelled first.
    std::thread::sleep(Duration::from_millis(2_000));
    let mut made = flow.end();
    made.extend(large);
    made.extend(standing(&rig, "ONE"));
    made.extend(standing(&rig, "TWO"));
    let rest = made[made.len() - 1].id;
    let account = rig.quiet(&made);
    assert!(account.open().len() >= 2, "{:?}", account.open());
    rig.distribute(8, &version(&[session("two", "other", &ways[2])]));
    rig.report("one", |report| report.version == 8);
    let account = Account::read(&mut rig.connect(), &made);
    assert!(account.open().is_empty(), "{:?}", account.open());
    let until = Instant::now() + Duration::from_secs(10);
    while ways[1].logged_in() > 0 {
        assert!(Instant::now() < until, "it stays logged in");
        std::thread::sleep(Duration::from_millis(20));
    }
    account.agrees_with(&rig.venue_report());
    assert!(account.reported() > 20, "{account:?}");

    // By the log an order is followed from the instruction to the last report.
    let lines = rig.lines("one");
    let of_rest = |message: &str| {
        lines
            .iter()
            .filter(|line| line["message"] == message && line["trace"] == rest.to_string())
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(of_rest("instruction taken")[0]["strategy"], "test");
    assert_eq!(of_rest("sent").len(), 1);
    let kinds: Vec<Value> = of_rest("report").iter().map(|line| line["kind"].clone()).collect();
    assert!(kinds.contains(&json!("accepted")) && kinds.last() == Some(&json!("cancelled")), "{kinds:?}");
    let about_orders =
        lines.iter().filter(|line| line.get("wire_ref").is_some() || line.get("execution").is_some());
    assert!(about_orders.clone().count() > 50 && about_orders.clone().all(|line| line["trace"].is_string()));
    gateway.kill();
}

#[test]
fn a_first_version_that_cannot_be_used_lets_cancels_pass_and_nothing_else() {
    let rig = Rig::start(&VenueSpec::default());
    let way = rig.way();
    let good = version(&[session("sim", "fplane", &way)]);
    rig.distribute(1, &good);
    let mut gateway = rig.managed("one", &way);
    rig.report("one", |report| report.version == 1);
    rig.wait_for_holder(&[&way], None);
    std::thread::sleep(Duration::from_millis(1_500));
    let stands = resting("STANDS");
    rig.until_reported(std::slice::from_ref(&stands));
    let until = Instant::now() + Duration::from_secs(30);
    while Account::read(&mut rig.connect(), std::slice::from_ref(&stands)).open().is_empty() {
        // Denied while the session was still catching up.
        assert!(Instant::now() < until, "{}", rig.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    gateway.kill();

    let key = config_key("gateway");
    let mut spoil = redis::cmd("HSET");
    spoil.arg(&key).arg("version").arg(2).arg("document").arg(good.to_string().replace("10000", "99999"));
    spoil.exec(&mut rig.connect()).unwrap();
    let mut gateway = rig.managed("one", &way);
    let report = rig.report("one", is_refused);
    assert_eq!((report.version, report.wanted), (0, Some(2)));
    assert!(report.reason.as_ref().unwrap().contains("SHA-256"), "{report:?}");
    rig.wait_for_holder(&[&way], None);
    std::thread::sleep(Duration::from_millis(1_500));
    let new = resting("NEW1");
    publish(&rig, &new);
    assert_eq!(last(&rig, &new, ReportKind::Denied), "configuration");
    for hostile in ["x".repeat(4 << 20), "[".repeat(100_000), String::new()] {
        let mut spoil = redis::cmd("HSET");
        spoil.arg(&key).arg("document").arg(hostile).exec(&mut rig.connect()).unwrap();
        rig.report("one", |report| is_refused(report) && report.version == 0);
    }
    publish(&rig, &instruction("END1", "S1", OrderAction::Cancel { of: stands.id }));
    last(&rig, &stands, ReportKind::Cancelled);
    rig.distribute(3, &good);
    rig.report("one", |report| report.state == ProcessState::Running && report.version == 3);
    let new = resting("NEW2");
    publish(&rig, &new);
    last(&rig, &new, ReportKind::Accepted);
    gateway.kill();
}
