//! A strategy process whose versions come from the control plane.

use crate::rig::{Moving, Rig};
use bus::control::{ProcessReport, ProcessState};
use bus::names::{ORDER_INSTRUCTIONS, config_key};
use rustix::process::Signal;
use std::collections::BTreeSet;

/// Who has made instructions.
fn strategies(rig: &mut Rig) -> BTreeSet<String> {
    let all: Vec<(String, Vec<String>)> = rig.ask(&["XRANGE", ORDER_INSTRUCTIONS, "-", "+"]);
    let name = |fields: Vec<String>| {
        let at = fields.iter().step_by(2).position(|field| field == "strategy").unwrap();
        fields[2 * at + 1].clone()
    };
    all.into_iter().map(|(_, fields)| name(fields)).collect()
}

#[test]
fn a_version_changes_what_runs_while_orders_flow_and_the_report_says_which() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(31);
    let _gateway = rig.gateway();
    let _moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.managed("a");
    rig.report("a", |report| report.state == ProcessState::Running && report.version == 0);
    rig.wait("it sends by its own document", |rig| rig.length(ORDER_INSTRUCTIONS) > 10);

    let mut version = rig.version();
    let third = version["strategies"][0].clone();
    version["strategies"].as_array_mut().unwrap().push(third);
    version["strategies"][2]["name"] = "third".into();
    rig.distribute(1, &version.to_string());
    let report = rig.report("a", |report| report.version == 1);
    assert_eq!((report.state, report.reason), (ProcessState::Running, None));
    rig.wait("the new strategy sends", |rig| strategies(rig).contains("third"));

    // What is wrong is refused whole, with its place, and what runs goes on.
    let mut wrong = version.clone();
    wrong["strategies"][0]["rules"]["rules"][0]["when"] = "good && positron <= 0".into();
    rig.distribute(2, &wrong.to_string());
    let report = rig.report("a", |report| report.state == ProcessState::Refused);
    assert_eq!((report.version, report.wanted), (1, Some(2)));
    assert!(report.reason.as_ref().unwrap().contains("strategies[0].rules.rules[0].when"), "{report:?}");
    let mut wrong = version.clone();
    wrong["risk"]["total"]["open_orders_max"] = 0.into();
    rig.distribute(3, &wrong.to_string());
    let refused = |report: &ProcessReport| report.state == ProcessState::Refused;
    let report = rig.report("a", |report| refused(report) && report.wanted == Some(3));
    assert_eq!(report.version, 1);
    assert!(report.reason.as_ref().unwrap().contains("risk.total.open_orders_max: is 0"), "{report:?}");
    service.signal(Signal::HUP);
    service.wait_for_log("SIGHUP is refused");
    let before = rig.length(ORDER_INSTRUCTIONS);
    rig.wait("it goes on", |rig| rig.length(ORDER_INSTRUCTIONS) > before + 10);

    // What only a start can change waits for one; a kill is one.
    version["lease_ms"] = 400.into();
    rig.distribute(4, &version.to_string());
    let report = rig.report("a", |report| report.state == ProcessState::RestartNeeded);
    assert_eq!((report.version, report.wanted), (1, Some(4)));
    assert!(report.reason.as_ref().unwrap().starts_with("lease_ms:"), "{report:?}");
    service.kill();
    let service = rig.managed("a");
    let report = rig.report("a", |report| report.version == 4);
    assert_eq!((report.state, report.wanted), (ProcessState::Running, None));
    let before = rig.length(ORDER_INSTRUCTIONS);
    rig.wait("it goes on", |rig| rig.length(ORDER_INSTRUCTIONS) > before + 10);
    service.stop();
}

#[test]
fn a_first_version_that_cannot_be_used_stops_every_order_until_there_is_one_that_can() {
    let mut rig = Rig::new(1);
    let version = rig.version().to_string();
    rig.distribute(7, &version);
    // Its checksum is another's.
    let key = config_key("strategy");
    rig.ask::<u64>(&["HSET", &key, "document", &version.replace("swing", "swang")]);
    let market = rig.open_market(32);
    let _gateway = rig.gateway();
    let _moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.managed("a");
    let report = rig.report("a", |report| report.state == ProcessState::Refused);
    assert_eq!((report.version, report.wanted), (0, Some(7)));
    assert!(report.reason.as_ref().unwrap().contains("SHA-256"), "{report:?}");
    rig.wait("it says so", |_| service.get("/readyz").contains("SHA-256"));
    // Nor is one whose rules cannot be built run, nor its own document.
    rig.distribute(8, &version.replace("position <= 0", "positron <= 0"));
    let report = rig.report("a", |report| report.state == ProcessState::Refused && report.wanted == Some(8));
    assert!(report.reason.as_ref().unwrap().contains("strategies[0].rules.rules[0].when"), "{report:?}");
    for hostile in [&["SET", &key, "text"][..], &["HSET", &key, "by", &"x".repeat(4 << 20)]] {
        rig.ask::<u64>(&["DEL", &key]);
        rig.ask::<redis::Value>(hostile);
        std::thread::sleep(std::time::Duration::from_millis(1_200));
    }
    assert_eq!(rig.length(ORDER_INSTRUCTIONS), 0);
    rig.distribute(9, &version);
    rig.report("a", |report| report.state == ProcessState::Running && report.version == 9);
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 10);
    rig.wait("it is ready", |_| service.get("/readyz").starts_with("HTTP/1.1 200"));
    service.stop();
}
