//! Instructions, reports, trading states and drop copies: in the archive once, and what the views make of them.

use crate::rig::{Rig, add, soak};
use bus::names::{DROP_COPY, EXECUTION_REPORTS, ORDER_INSTRUCTIONS, TRADING_STATE};
use bus::{
    Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, TimeInForce, TradingMode, TradingState,
};
use rand::RngExt;
use sqlx::Row;
use std::time::Duration;
use tick::Price;
use vitals::Stop;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// In December 2019.
const DAY_NS: u64 = 1_577_000_000_000_000_000;

fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn instruction(name: &str, action: OrderAction) -> Instruction {
    Instruction {
        id: id(name),
        action,
        venue: "XNAS".into(),
        publisher_id: 2,
        instrument_id: 42,
        symbol: "AAPL".into(),
        strategy: "quoter".into(),
        cause_ns: DAY_NS,
        created_ns: DAY_NS + 1_000,
    }
}

fn new(name: &str, side: OrderSide, quantity: u64, limit: Option<&str>) -> Instruction {
    let time_in_force = TimeInForce::Day;
    instruction(name, OrderAction::New { side, quantity, price: limit.map(price), time_in_force })
}

fn report(number: u64, name: &str, kind: ReportKind) -> Report {
    Report {
        number,
        id: Some(id(name)),
        venue: "XNAS".into(),
        strategy: "quoter".into(),
        symbol: "AAPL".into(),
        publisher_id: 2,
        instrument_id: 42,
        side: Some(OrderSide::Buy),
        cause_ns: DAY_NS,
        ..Report::new(kind, DAY_NS + 2_000 + number)
    }
}

fn instruction_fields(instruction: &Instruction) -> Fields {
    let mut fields = Vec::new();
    instruction.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

fn report_fields(report: &Report) -> Fields {
    let mut fields = Vec::new();
    report.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

fn state_fields(mode: TradingMode, reason: &str) -> Fields {
    let state = TradingState { mode, by: "me@here".into(), reason: reason.into(), time_ns: DAY_NS };
    let mut fields = Vec::new();
    state.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

fn copy_fields(way: &str, bytes: &[u8]) -> Fields {
    let time = DAY_NS.to_string();
    let fields: [(&str, &[u8]); 5] = [
        ("venue", b"XNAS"),
        ("way", way.as_bytes()),
        ("time_ns", time.as_bytes()),
        ("protocol", b"ouch50"),
        ("bytes", bytes),
    ];
    fields.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).to_vec()
}

/// One row as JSON text, so that a whole row is compared at once.
fn json(rig: &Rig, columns: &str, from: &str) -> Vec<String> {
    let rows =
        rig.rows(&format!("SELECT row_to_json(r)::text FROM (SELECT {columns} FROM {from}) r")).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn every_field_of_the_order_streams_is_read_back() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "drop_copy: true\n".into();
    let mut redis = rig.redis();
    let far = Instruction {
        cause_ns: 0,
        created_ns: u64::MAX,
        instrument_id: u32::MAX,
        ..new("b", OrderSide::SellShort, u64::MAX, None)
    };
    let of = id("a");
    let replace = instruction("c", OrderAction::Replace { of, quantity: 7, price: price("-0.000000001") });
    let instructions = [
        new("a", OrderSide::Buy, 100, Some("10.25")),
        far,
        replace,
        instruction("d", OrderAction::Cancel { of }),
    ];
    for instruction in &instructions {
        add(&mut redis, ORDER_INSTRUCTIONS, &instruction_fields(instruction)).unwrap();
    }
    let full = Report {
        of: Some(of),
        last_quantity: 3,
        last_price: Some(price("10.5")),
        filled: 4,
        leaves: u64::MAX,
        venue_order: "N1".into(),
        execution: "E1".into(),
        reason: "why".into(),
        text: "two\0words \u{e9}".into(),
        ..report(1, "c", ReportKind::Filled)
    };
    add(&mut redis, EXECUTION_REPORTS, &report_fields(&full)).unwrap();
    add(&mut redis, EXECUTION_REPORTS, &report_fields(&Report::new(ReportKind::Denied, 0))).unwrap();
    add(&mut redis, TRADING_STATE, &state_fields(TradingMode::Reducing, "a\0b")).unwrap();
    add(&mut redis, DROP_COPY, &copy_fields("received", b"\0\xff8=FIX")).unwrap();
    let mut lost = copy_fields("lost", b"");
    lost.push((b"lost".to_vec(), b"7".to_vec()));
    add(&mut redis, DROP_COPY, &lost).unwrap();
    rig.start(0);
    for (table, rows) in
        [("order_instructions", 4), ("execution_reports", 2), ("trading_state", 1), ("drop_copy", 1)]
    {
        rig.wait_for(&format!("SELECT count(*) FROM {table}"), rows);
    }
    let columns = "row, created_ns, cause_ns, instrument_id, quantity, price, id, action, of, side, tif";
    assert_eq!(
        json(&rig, columns, "order_instructions ORDER BY row"),
        [
            r#"{"row":1,"created_ns":1577000000000001000,"cause_ns":1577000000000000000,"instrument_id":42,"quantity":100,"price":10250000000,"id":"a","action":"new","of":null,"side":"buy","tif":"day"}"#,
            r#"{"row":2,"created_ns":-1,"cause_ns":0,"instrument_id":4294967295,"quantity":-1,"price":null,"id":"b","action":"new","of":null,"side":"sell_short","tif":"day"}"#,
            r#"{"row":3,"created_ns":1577000000000001000,"cause_ns":1577000000000000000,"instrument_id":42,"quantity":7,"price":-1,"id":"c","action":"replace","of":"a","side":null,"tif":null}"#,
            r#"{"row":4,"created_ns":1577000000000001000,"cause_ns":1577000000000000000,"instrument_id":42,"quantity":null,"price":null,"id":"d","action":"cancel","of":"a","side":null,"tif":null}"#,
        ]
    );
    let columns = "number, time_ns, cause_ns, last_quantity, last_price, filled, leaves, instrument_id, publisher_id, \
                   kind, id, of, side, venue, strategy, symbol, venue_order, execution, reason, text";
    assert_eq!(
        json(&rig, columns, "execution_reports ORDER BY row"),
        [
            r#"{"number":1,"time_ns":1577000000000002001,"cause_ns":1577000000000000000,"last_quantity":3,"last_price":10500000000,"filled":4,"leaves":-1,"instrument_id":42,"publisher_id":2,"kind":"filled","id":"c","of":"a","side":"buy","venue":"XNAS","strategy":"quoter","symbol":"AAPL","venue_order":"N1","execution":"E1","reason":"why","text":"two�words é"}"#,
            r#"{"number":0,"time_ns":0,"cause_ns":0,"last_quantity":0,"last_price":null,"filled":0,"leaves":0,"instrument_id":0,"publisher_id":0,"kind":"denied","id":null,"of":null,"side":null,"venue":null,"strategy":null,"symbol":null,"venue_order":null,"execution":null,"reason":null,"text":null}"#,
        ]
    );
    assert_eq!(
        json(&rig, "row, time_ns, mode, by, reason", "trading_state"),
        [r#"{"row":1,"time_ns":1577000000000000000,"mode":"reducing","by":"me@here","reason":"a�b"}"#]
    );
    let copy = &rig.rows("SELECT venue, way, protocol, bytes FROM drop_copy").unwrap()[0];
    assert_eq!(copy.get::<Vec<u8>, _>(3), b"\0\xff8=FIX");
    assert_eq!(copy.get::<String, _>(1), "received");
    let wrong = "SELECT count(*) FROM execution_reports WHERE
        time <> timestamptz 'epoch' + time_ns / 1000 * interval '1 microsecond'";
    assert_eq!(rig.number(wrong), 0);
    rig.wait_for("SELECT count(*) FROM gaps", 1);
    let wanted = r#"{"reason":"lost","venue":"XNAS","detail":"7 messages found no room at the gateway"}"#;
    assert_eq!(json(&rig, "reason, venue, detail", "gaps"), [wanted]);
}

#[test]
fn drop_copies_are_archived_only_where_the_document_asks_for_them() {
    let Some(mut rig) = Rig::new() else { return };
    add(&mut rig.redis(), DROP_COPY, &copy_fields("sent", b"x")).unwrap();
    add(&mut rig.redis(), TRADING_STATE, &state_fields(TradingMode::Active, "open")).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM trading_state", 1);
    assert_eq!(rig.end(0, libc::SIGTERM), Some(0));
    assert_eq!(rig.number("SELECT count(*) FROM drop_copy"), 0);
    assert_eq!(rig.number("SELECT count(*) FROM stream_positions WHERE kind = 'drop_copy'"), 0);
}

/// Reports of a trade: quantity, price, in all, open, the venue's id.
fn fill(number: u64, name: &str, trade: (u64, &str, u64, u64, &str)) -> Report {
    let (last_quantity, at, filled, leaves, execution) = trade;
    Report {
        last_quantity,
        last_price: Some(price(at)),
        filled,
        leaves,
        execution: execution.into(),
        ..report(number, name, ReportKind::Filled)
    }
}

/// A session of one strategy: an order traded in part, replaced, traded out, and a trade of it declared void; one sold
/// short; one denied by the gateway, two by the strategy; one rejected, one cancelled, one without a report, a replacement
/// refused, and one whose instruction nobody has.
fn a_session(redis: &mut redis::Connection) {
    let of = id("a");
    let instructions = [
        new("a", OrderSide::Buy, 100, Some("10")),
        new("a", OrderSide::Buy, 100, Some("10")),
        instruction("b", OrderAction::Replace { of, quantity: 120, price: price("10.5") }),
        new("c", OrderSide::SellShort, 50, Some("11")),
        new("d", OrderSide::Buy, 9, Some("12")),
        new("e", OrderSide::Buy, 9, Some("12")),
        new("f", OrderSide::Buy, 10, None),
        instruction("g", OrderAction::Cancel { of: id("f") }),
        new("h", OrderSide::Buy, 1, Some("1")),
        instruction("j", OrderAction::Replace { of: id("f"), quantity: 5, price: price("3") }),
    ];
    for instruction in &instructions {
        add(redis, ORDER_INSTRUCTIONS, &instruction_fields(instruction)).unwrap();
    }
    let sell = |report| Report { side: Some(OrderSide::SellShort), ..report };
    let denied = |number, name: &str, reason: &str| Report {
        reason: reason.into(),
        text: format!("of {name}"),
        ..report(number, name, ReportKind::Denied)
    };
    let accepted =
        |number, name: &str, leaves| Report { leaves, ..report(number, name, ReportKind::Accepted) };
    let reports = [
        report(1, "a", ReportKind::Sent),
        accepted(2, "a", 100),
        fill(3, "a", (30, "10", 30, 70, "E1")),
        report(4, "b", ReportKind::Sent),
        Report { of: Some(of), filled: 30, leaves: 90, ..report(5, "b", ReportKind::Replaced) },
        fill(6, "b", (50, "10.25", 80, 40, "E2")),
        fill(7, "b", (40, "10.5", 120, 0, "E3")),
        // Told again after a reconnection. And one of the first order's trades is void, told by the order in force.
        fill(8, "b", (40, "10.5", 120, 0, "E3")),
        Report { kind: ReportKind::Broken, ..fill(9, "b", (30, "10", 90, 0, "E1")) },
        report(10, "c", ReportKind::Sent),
        sell(fill(11, "c", (50, "11", 50, 0, "E1"))),
        denied(12, "d", "order_quantity"),
        report(13, "e", ReportKind::Sent),
        Report { reason: "X".into(), ..report(14, "e", ReportKind::Rejected) },
        report(15, "f", ReportKind::Sent),
        accepted(16, "f", 10),
        report(17, "j", ReportKind::Sent),
        Report { of: Some(id("f")), reason: "L".into(), ..report(18, "j", ReportKind::CancelRejected) },
        // A cancel that was carried out is told under its own id.
        Report { of: Some(id("f")), ..report(19, "g", ReportKind::Cancelled) },
        fill(20, "i", (5, "9", 5, 2, "E9")),
        // The answer to an instruction that came again, and a trade that was never told.
        Report { reason: "repeated".into(), filled: 90, ..report(21, "b", ReportKind::Cancelled) },
        Report { last_price: None, ..fill(22, "i", (2, "9", 7, 0, "")) },
        denied(0, "k", "collar_price"),
        denied(0, "l", "collar_price"),
    ];
    for report in &reports {
        add(redis, EXECUTION_REPORTS, &report_fields(report)).unwrap();
    }
}

#[test]
fn the_views_tell_orders_trades_positions_and_denials() {
    let Some(mut rig) = Rig::new() else { return };
    a_session(&mut rig.redis());
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM execution_reports", 24);
    rig.wait_for("SELECT count(*) FROM order_instructions", 10);
    let orders = rig
        .rows("SELECT id, state, side, filled, leaves, average_price, action FROM orders ORDER BY id")
        .unwrap();
    let text = |row: &sqlx::postgres::PgRow| {
        let (leaves, average): (Option<i64>, Option<f64>) = (row.get(4), row.get(5));
        let text = |at| row.get::<Option<String>, _>(at).unwrap_or_default();
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".into());
        format!(
            "{} {} {} {} {} {} {}",
            text(0),
            text(1),
            text(2),
            row.get::<i64, _>(3),
            number(leaves.map(|n| n.to_string())),
            number(average.map(|n| n.to_string())),
            text(6)
        )
    };
    let wanted = [
        "a replaced buy 30 0 - new",
        "b filled buy 90 0 10.36111111111111 replace",
        "c filled sell_short 50 0 11 new",
        "d denied buy 0 0 - new",
        "e rejected buy 0 0 - new",
        "f cancelled buy 0 0 - new",
        "h unreported buy 0 - - new",
        "i filled buy 7 0 9 new",
        "j rejected buy 0 0 - replace",
        "k denied buy 0 0 - new",
        "l denied buy 0 0 - new",
    ];
    assert_eq!(orders.iter().map(text).collect::<Vec<_>>(), wanted);
    assert_eq!(
        json(
            &rig,
            "replaced_by, quantity, price, tick_to_order_ns, tick_to_sent_ns, round_trip_ns",
            "orders WHERE id = 'a'"
        ),
        [
            r#"{"replaced_by":"b","quantity":100,"price":10,"tick_to_order_ns":1000,"tick_to_sent_ns":2001,"round_trip_ns":1}"#
        ]
    );
    assert_eq!(
        json(&rig, "id, quantity, price, execution", "fills ORDER BY stream, row"),
        [
            r#"{"id":"b","quantity":50,"price":10.25,"execution":"E2"}"#,
            r#"{"id":"b","quantity":40,"price":10.5,"execution":"E3"}"#,
            r#"{"id":"c","quantity":50,"price":11,"execution":"E1"}"#,
            r#"{"id":"i","quantity":5,"price":9,"execution":"E9"}"#,
            r#"{"id":"i","quantity":2,"price":null,"execution":null}"#,
        ]
    );
    let columns = "strategy, symbol, position, bought, sold, average_bought, average_sold, cash, trades, broken, \
                   trades_without_side, trades_without_price";
    assert_eq!(
        json(&rig, columns, "positions"),
        [
            r#"{"strategy":"quoter","symbol":"AAPL","position":47,"bought":97,"sold":50,"average_bought":10.289473684210526,"average_sold":11,"cash":-427.5,"trades":6,"broken":1,"trades_without_side":0,"trades_without_price":1}"#,
        ]
    );
    assert_eq!(
        json(&rig, "day, by, reason, count, last_text", "denials ORDER BY by"),
        [
            r#"{"day":"2019-12-22","by":"gateway","reason":"order_quantity","count":1,"last_text":"of d"}"#,
            r#"{"day":"2019-12-22","by":"strategy","reason":"collar_price","count":2,"last_text":"of l"}"#,
        ]
    );
}

#[test]
fn holes_are_rows_repeats_are_left_out_and_what_is_malformed_costs_itself_only() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    let mut told = |venue: &str, number: u64| {
        let report = Report { venue: venue.into(), ..report(number, "a", ReportKind::Sent) };
        add(&mut redis, EXECUTION_REPORTS, &report_fields(&report)).unwrap();
    };
    for number in [1, 2, 3, 2, 3, 4, 9] {
        told("XNAS", number);
    }
    told("XLON", 1);
    let mut wrong = instruction_fields(&new("a", OrderSide::Buy, 1, None));
    wrong.retain(|(name, _)| name != b"quantity");
    add(&mut redis, ORDER_INSTRUCTIONS, &wrong).unwrap();
    let mut old = instruction_fields(&new("b", OrderSide::Buy, 1, None));
    old[0].1 = b"0".to_vec();
    add(&mut redis, ORDER_INSTRUCTIONS, &old).unwrap();
    add(&mut redis, ORDER_INSTRUCTIONS, &[(b"x\0".to_vec(), vec![0xff; 100])]).unwrap();
    add(&mut redis, ORDER_INSTRUCTIONS, &instruction_fields(&new("c", OrderSide::Buy, 1, None))).unwrap();
    add(&mut redis, TRADING_STATE, &[(b"mode".to_vec(), b"paused".to_vec())]).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM execution_reports", 6);
    rig.wait_for("SELECT count(*) FROM order_instructions", 1);
    rig.wait_for("SELECT count(*) FROM gaps", 5);
    let gaps = "gaps g JOIN stream_positions p USING (stream) ORDER BY kind, g.entry_id";
    assert_eq!(
        json(&rig, "kind, reason, venue, first, last, detail", gaps),
        [
            r#"{"kind":"execution_reports","reason":"redis_lost","venue":"XNAS","first":5,"last":8,"detail":""}"#,
            r#"{"kind":"order_instructions","reason":"malformed","venue":null,"first":null,"last":null,"detail":"field `quantity` is missing"}"#,
            r#"{"kind":"order_instructions","reason":"malformed","venue":null,"first":null,"last":null,"detail":"version \"0\" is not known here; this is version 1"}"#,
            r#"{"kind":"order_instructions","reason":"malformed","venue":null,"first":null,"last":null,"detail":"field `v` is missing"}"#,
            r#"{"kind":"trading_state","reason":"malformed","venue":null,"first":null,"last":null,"detail":"field `mode`: active, reducing or halted"}"#,
        ]
    );
    let metrics = rig.http(0, "/metrics");
    assert!(metrics.contains("feedplane_archiver_repeats_left_out_total 2"), "{metrics}");
    assert!(
        metrics.contains("feedplane_archiver_refused_total{stream=\"order_instructions\"} 3"),
        "{metrics}"
    );
    assert!(metrics.contains("feedplane_archiver_rows_total{table=\"execution_reports\"} 6"), "{metrics}");
}

#[test]
fn reports_that_a_gateway_publishes_again_after_redis_lost_its_memory_are_archived_once() {
    let Some(mut rig) = Rig::new() else { return };
    rig.start(0);
    let publish = |redis: &mut redis::Connection, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            add(redis, EXECUTION_REPORTS, &report_fields(&report(number, "a", ReportKind::Sent))).unwrap();
        }
    };
    publish(&mut rig.redis(), 1..=10);
    add(&mut rig.redis(), TRADING_STATE, &state_fields(TradingMode::Halted, "drill")).unwrap();
    rig.wait_for("SELECT count(*) FROM execution_reports", 10);
    rig.wait_for("SELECT count(*) FROM trading_state", 1);
    rig.signal(0, libc::SIGSTOP);
    publish(&mut rig.redis(), 11..=20);
    rig.redis.restart_empty().unwrap();
    publish(&mut rig.redis(), 1..=30);
    rig.signal(0, libc::SIGCONT);
    rig.wait_for("SELECT count(*) FROM execution_reports", 30);
    rig.wait_for_log(0, "a part of it; going on with what it has stream=\"trading_state\"");
    add(&mut rig.redis(), TRADING_STATE, &state_fields(TradingMode::Active, "over")).unwrap();
    rig.wait_for("SELECT count(*) FROM trading_state", 2);
    assert_eq!(rig.number("SELECT count(DISTINCT number) FROM execution_reports"), 30);
    // Trading states have no numbers: that some may be gone is all that can be told.
    assert_eq!(json(&rig, "reason, first", "gaps"), [r#"{"reason":"redis_lost","first":null}"#]);
}

#[test]
fn trading_states_that_redis_lost_while_nobody_archived_are_a_gap_row_before_the_next_one() {
    let Some(mut rig) = Rig::new() else { return };
    rig.start(0);
    add(&mut rig.redis(), TRADING_STATE, &state_fields(TradingMode::Halted, "drill")).unwrap();
    rig.wait_for("SELECT count(*) FROM trading_state", 1);
    rig.end(0, libc::SIGTERM);
    rig.redis.restart_empty().unwrap();
    // The stream is there again, and longer than the archiver left it, before it is looked at.
    for reason in ["over", "again"] {
        add(&mut rig.redis(), TRADING_STATE, &state_fields(TradingMode::Active, reason)).unwrap();
    }
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM trading_state", 3);
    let wanted = r#"{"reason":"redis_lost","before_row":2}"#;
    assert_eq!(json(&rig, "reason, before_row", "gaps"), [wanted]);
}

#[test]
fn reports_trimmed_before_they_were_archived_are_a_gap_row() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    rig.start(0);
    for number in 1..=5 {
        add(&mut redis, EXECUTION_REPORTS, &report_fields(&report(number, "a", ReportKind::Sent))).unwrap();
    }
    rig.wait_for("SELECT count(*) FROM execution_reports", 5);
    rig.end(0, libc::SIGKILL);
    for number in 6..=12 {
        add(&mut redis, EXECUTION_REPORTS, &report_fields(&report(number, "a", ReportKind::Sent))).unwrap();
    }
    redis::cmd("XTRIM").arg(EXECUTION_REPORTS).arg("MAXLEN").arg(2).exec(&mut redis).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM execution_reports", 7);
    let wanted = r#"{"first":6,"last":10,"reason":"trimmed","venue":"XNAS","before_row":6}"#;
    assert_eq!(json(&rig, "first, last, reason, venue, before_row", "gaps"), [wanted]);
}

/// Writes an instruction, its report and a trading state, numbered from 1 on, until told to stop; returns the last number.
/// While Redis is away it tries again.
struct Orders {
    stop: Stop,
    thread: std::thread::JoinHandle<u64>,
}

impl Orders {
    fn start(url: String) -> Orders {
        let stop = Stop::default();
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let client = redis::Client::open(url).unwrap();
            loop {
                let next = client.get_connection().and_then(|mut connection| {
                    let next = redis::cmd("GET").arg("test:next").query::<Option<u64>>(&mut connection)?;
                    Ok((next.unwrap_or(1), connection))
                });
                match next {
                    Ok((next, _)) if asked.is_asked() => return next - 1,
                    Ok((next, mut connection)) => {
                        // It ends by an error or by the stop: both lead to the look above.
                        let _ = write_orders(&mut connection, next, &asked);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Orders { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.ask();
        self.thread.join().unwrap()
    }
}

fn write_orders(connection: &mut redis::Connection, mut next: u64, asked: &Stop) -> redis::RedisResult<()> {
    while !asked.is_asked() {
        let name = format!("o{next}");
        let entries = [
            (ORDER_INSTRUCTIONS, instruction_fields(&new(&name, OrderSide::Buy, next, None))),
            (EXECUTION_REPORTS, report_fields(&fill(next, &name, (1, "2", 1, 0, &name)))),
            (TRADING_STATE, state_fields(TradingMode::Active, &next.to_string())),
        ];
        let mut pipe = redis::pipe();
        pipe.atomic();
        for (stream, fields) in entries {
            let mut write = redis::cmd("XADD");
            write.arg(stream).arg("*");
            for (name, value) in fields {
                write.arg(name).arg(value);
            }
            pipe.add_command(write);
        }
        let mut set = redis::cmd("SET");
        set.arg("test:next").arg(next + 1);
        pipe.add_command(set).exec(connection)?;
        next += 1;
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

fn pause(from_ms: u64, to_ms: u64) {
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(from_ms..to_ms)));
}

/// All four records of every number are there once and in order, and the views agree.
fn everything_once(rig: &Rig, last: u64) {
    for (table, value) in [
        ("order_instructions", "quantity"),
        ("execution_reports", "number"),
        ("trading_state", "reason::bigint"),
    ] {
        rig.wait_for(&format!("SELECT count(*) FROM {table}"), last as i64);
        let wrong = format!("SELECT count(*) FROM {table} WHERE row <> {value}");
        assert_eq!(rig.number(&wrong), 0, "{table}: rows are the numbers as written");
        assert_eq!(rig.number(&format!("SELECT count(DISTINCT row) FROM {table}")), last as i64, "{table}");
    }
    assert_eq!(rig.number("SELECT position FROM positions"), last as i64);
    assert_eq!(rig.number("SELECT count(*) FROM orders WHERE state = 'filled'"), last as i64);
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 0);
}

#[test]
fn orders_are_archived_once_however_often_the_archiver_is_killed() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 20, wait_ms: 5}\n".into();
    let orders = Orders::start(rig.redis.url());
    for _ in 0..8 * soak(50) {
        rig.start(0);
        pause(50, 900);
        rig.end(0, libc::SIGKILL);
    }
    let last = orders.end();
    rig.start(0);
    everything_once(&rig, last);
}

#[test]
fn orders_are_archived_once_however_often_the_database_is_killed() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 100, wait_ms: 10}\n".into();
    rig.start(0);
    rig.wait_for_start();
    let orders = Orders::start(rig.redis.url());
    for _ in 0..3 * soak(50) {
        pause(100, 800);
        rig.postgres.kill().unwrap();
        pause(0, 300);
        rig.postgres.start_again().unwrap();
    }
    everything_once(&rig, orders.end());
    assert_eq!(rig.end(0, libc::SIGTERM), Some(0));
}

#[test]
fn two_archivers_that_sleep_in_turn_archive_every_order_once() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 20, wait_ms: 5}\n".into();
    let orders = Orders::start(rig.redis.url());
    rig.start(0);
    rig.start(1);
    for turn in 0..4 * soak(50) as usize {
        pause(50, 600);
        // Asleep for longer than its lease: when it wakes, what it holds is another's.
        rig.signal(turn % 2, libc::SIGSTOP);
        pause(600, 1_200);
        rig.signal(turn % 2, libc::SIGCONT);
    }
    everything_once(&rig, orders.end());
}

#[test]
fn old_orders_are_deleted_only_when_the_document_says_so() {
    let Some(mut rig) = Rig::new() else { return };
    a_session(&mut rig.redis());
    rig.document = "retention: {ticks_days: 1, features_days: 1}\n".into();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM execution_reports", 24);
    rig.end(0, libc::SIGTERM);
    rig.start(0);
    rig.wait_for_log(0, "archiving from here on");
    pause(300, 301);
    rig.end(0, libc::SIGTERM);
    assert_eq!(rig.number("SELECT count(*) FROM execution_reports"), 24);
    rig.document = "retention: {orders_days: 1}\n".into();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM execution_reports", 0);
    rig.wait_for("SELECT count(*) FROM order_instructions", 0);
}
