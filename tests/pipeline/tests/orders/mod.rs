//! A few orders beside the session, and the examples that read them.

use super::run;
use bus::names::{EXECUTION_REPORTS, ORDER_INSTRUCTIONS};
use bus::{Instruction, OrderAction, OrderSide, Report, ReportKind, TimeInForce};
use pipeline_tests::session::{PUBLISHER_ID, Session};
use pipeline_tests::world::World;
use std::path::Path;
use tick::Price;

/// The trades of [`publish`], as they must come back: cause, sign, quantity, price.
pub(crate) type Trades = Vec<(u64, i64, u64, Price)>;

/// From the tick to the order, and to each report behind it, ns.
const STEP_NS: u64 = 1_000;

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// Writes the instructions and reports of three orders, a cancel, two denials and a report told twice. The orders are
/// caused by ticks in the session, at the time of which its features are known.
pub(crate) fn publish(url: &str, session: &Session, instrument: u32, symbol: &str) -> Trades {
    let own = session.ticks.iter().filter(|tick| tick.instrument_id == instrument);
    let times: Vec<u64> = own.map(|tick| tick.ts_recv).collect();
    let cause = |part: usize| times[times.len() * part / 8];
    let instruction = |id: &str, cause_ns: u64, action| Instruction {
        id: id.parse().unwrap(),
        action,
        venue: "XNAS".into(),
        publisher_id: PUBLISHER_ID,
        instrument_id: instrument,
        symbol: symbol.into(),
        strategy: "quoter".into(),
        cause_ns,
        created_ns: cause_ns + STEP_NS,
    };
    let new = |id: &str, cause_ns, side, quantity, limit| {
        let time_in_force = TimeInForce::Day;
        instruction(
            id,
            cause_ns,
            OrderAction::New { side, quantity, price: Some(price(limit)), time_in_force },
        )
    };
    let of = "F1".parse().unwrap();
    let instructions = [
        new("A1", cause(3), OrderSide::Buy, 100, "512.5"),
        new("B1", cause(5), OrderSide::SellShort, 10, "400"),
        new("F1", cause(6), OrderSide::Buy, 5, "1"),
        instruction("G1", cause(7), OrderAction::Cancel { of }),
        new("C1", cause(7), OrderSide::Buy, 1_000_000, "1"),
    ];
    let report = |number: u64, id: &str, kind, cause_ns: u64, side| Report {
        number,
        id: Some(id.parse().unwrap()),
        venue: "XNAS".into(),
        strategy: "quoter".into(),
        symbol: symbol.into(),
        publisher_id: PUBLISHER_ID,
        instrument_id: instrument,
        side: Some(side),
        cause_ns,
        ..Report::new(kind, cause_ns + (2 + number) * STEP_NS)
    };
    let fill = |report: Report, quantity, at: &str, filled, leaves, execution: &str| Report {
        last_quantity: quantity,
        last_price: Some(price(at)),
        filled,
        leaves,
        execution: execution.into(),
        ..report
    };
    use OrderSide::{Buy, SellShort};
    use ReportKind::{Accepted, Cancelled, Denied, Filled, Sent};
    let accepted = Report { leaves: 100, ..report(2, "A1", Accepted, cause(3), Buy) };
    let reports = [
        report(1, "A1", Sent, cause(3), Buy),
        accepted.clone(),
        accepted,
        fill(report(3, "A1", Filled, cause(3), Buy), 40, "501.25", 40, 60, "E1"),
        fill(report(4, "A1", Filled, cause(3), Buy), 60, "501.5", 100, 0, "E2"),
        report(5, "B1", Sent, cause(5), SellShort),
        fill(report(6, "B1", Filled, cause(5), SellShort), 10, "499.75", 10, 0, "E3"),
        report(7, "F1", Sent, cause(6), Buy),
        Report { leaves: 5, ..report(8, "F1", Accepted, cause(6), Buy) },
        Report { of: Some(of), ..report(9, "G1", Sent, cause(7), Buy) },
        Report { of: Some(of), ..report(10, "G1", Cancelled, cause(7), Buy) },
        Report {
            reason: "order_quantity".into(),
            text: "1000000 > 100".into(),
            ..report(11, "C1", Denied, cause(7), Buy)
        },
        Report { reason: "stale_quote".into(), ..report(0, "D1", Denied, cause(7), Buy) },
    ];
    let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
    for instruction in &instructions {
        let mut add = redis::cmd("XADD");
        add.arg(ORDER_INSTRUCTIONS).arg("*");
        instruction.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut redis).unwrap();
    }
    for report in &reports {
        add_report(&mut redis, EXECUTION_REPORTS, report);
    }
    // Another stream, from which two reports were trimmed, and with an entry that is none.
    for number in [1, 4] {
        add_report(&mut redis, "trimmed", &report(number, "A1", Sent, cause(3), Buy));
    }
    redis::cmd("XADD").arg("trimmed").arg("*").arg("v").arg("9").exec(&mut redis).unwrap();
    let trade = |report: &Report| {
        let sign = if report.side == Some(Buy) { 1 } else { -1 };
        report.last_price.map(|price| (report.cause_ns, sign, report.last_quantity, price))
    };
    reports.iter().filter_map(trade).collect()
}

fn add_report(redis: &mut redis::Connection, stream: &str, report: &Report) {
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*");
    report.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.exec(redis).unwrap();
}

/// The reader of the stream of reports.
pub(crate) fn read(interpreter: &Path, world: &World) {
    let redis = world.redis.url();
    let printed = run(interpreter, "orders_reader.py", &[&redis]);
    let lines: Vec<&str> = printed.out.lines().collect();
    assert_eq!(lines.len(), 12 + 4, "twelve reports, each once");
    assert!(
        lines[2].contains("n=3 A1 filled quoter C0S1 buy 40 at 501.25 (E1) filled 40 leaves 60"),
        "{}",
        lines[2]
    );
    let position = format!("position: quoter {PUBLISHER_ID}:2 C0S1 90 bought 100 sold 10 cash -45142.5");
    let wanted = [
        "orders: 1 cancelled, 2 denied, 2 filled",
        position.as_str(),
        "denied: quoter order_quantity 1",
        "denied: quoter stale_quote 1",
    ];
    assert_eq!(lines[12..], wanted);
    let printed = run(interpreter, "orders_reader.py", &[&redis, "--quiet", "--stream", "trimmed"]);
    let lines: Vec<&str> = printed.out.lines().collect();
    assert_eq!(lines[0], "LOST 2 reports of XNAS: trimmed before they were read; the archive has them");
    assert!(lines[1].starts_with("REFUSED ") && lines[1].contains("version 9"), "{}", lines[1]);
    assert_eq!(lines[2..], ["orders: 1 sent", "1 entries refused"]);
}

/// Orders from the archive, their latencies and what their trades cost.
pub(crate) fn ask_the_archive(interpreter: &Path, world: &World, trades: &Trades, symbol: &str) {
    let cost: f64 = trades
        .iter()
        .map(|(cause_ns, sign, quantity, price)| {
            // What was known at the cause, in units of 1e-6: the middle of the last record by then, of a good book.
            let query = format!(
                "SELECT round(values[array_position(names, 'mid')] * 1000000)::bigint FROM feedplane.features \
                 JOIN feedplane.feature_schemas USING (schema_id) WHERE feature_set = 'quotes' AND instrument_id = 2 \
                 AND quality & 1 = 0 AND time_ns <= {cause_ns} AND values[array_position(names, 'mid')] <> 'NaN' \
                 ORDER BY time_ns DESC, row DESC LIMIT 1"
            );
            let mid = world.number(query.leak()).unwrap() as f64 / 1e6;
            *sign as f64 * (price.0 as f64 / 1e9 - mid) * *quantity as f64
        })
        .sum();
    let database = world.postgres.url();
    let printed = run(interpreter, "orders_archive.py", &[&database, symbol, "--strategy", "quoter"]);
    let lines: Vec<&str> = printed.out.lines().collect();
    assert_eq!(lines[0], "5 orders: 1 cancelled, 2 denied, 2 filled");
    assert_eq!(lines[1], "tick_to_order: p50=1.0 p99=1.0 p99.9=1.0 µs of 4");
    assert_eq!(lines[3], "round_trip: p50=1.0 p99=1.0 p99.9=1.0 µs of 3");
    assert_eq!(lines[4], "3 fills, 110 traded, 3 with a middle at their cause");
    let told: f64 = lines[5].split(" a unit, ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((told - cost).abs() <= cost.abs() * 1e-4 + 1e-3, "{told} is told, {cost} is right");
    assert!(
        printed.out.contains("position: quoter C0S1 90, bought 100, sold 10, cash -45142.5"),
        "{}",
        printed.out
    );
    assert!(printed.out.contains(" quoter by gateway order_quantity 1: 1000000 > 100"), "{}", printed.out);
    assert!(printed.out.contains(" quoter by strategy stale_quote 1: "), "{}", printed.out);
    let nobody = run(interpreter, "orders_archive.py", &[&database, symbol, "--strategy", "nobody"]);
    assert!(
        nobody.out.starts_with("0 orders: \n") && nobody.out.contains("0 fills, 0 traded, 0 with"),
        "{}",
        nobody.out
    );
}
