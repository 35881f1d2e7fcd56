//! What is in the archive is what was in the streams.

use crate::rig::{Rig, add, add_ticks, entry_fields, feature_fields};
use bus::names::{CALCULATED_FEATURES, FEATURE_SCHEMAS, RAW_MARKET_DATA, instruments_key};
use bus::{Entry, FeatureRecord, FeatureSchema, FeatureSpec, InstrumentRow, Quality};
use lab::postgres::PostgresOptions;
use rand::{Rng, RngExt, SeedableRng};
use sqlx::Row;
use tick::{Action, Clock, Flags, Side, Source, Tick};

/// Ticks with every byte at random, as far as an entry allows; times in few hours, as each is a chunk.
fn random_ticks(count: usize) -> Vec<Tick> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let times = [0, 1, 1_577_000_000_123_456_789, u64::MAX];
    let mut tick = |index: usize| Tick {
        ts_event: random.next_u64(),
        ts_recv: times[index % times.len()],
        sequence: random.random_range(0..=u64::MAX),
        order_id: random.next_u64(),
        price: random.next_u64() as i64,
        size: random.next_u32(),
        instrument_id: random.next_u32() | 1,
        ts_in_delta: random.next_u32() as i32,
        publisher_id: random.next_u32() as u16,
        channel_id: u16::MAX,
        action: Action([random.next_u32() as u8, 0, 255][index % 3]),
        side: Side(random.next_u32() as u8),
        flags: Flags(random.next_u32() as u8),
        depth: random.next_u32() as u8,
        source: Source(random.next_u32() as u8),
        clock: Clock(random.next_u32() as u8),
        reserved: random.next_u32() as u16,
    };
    (0..count).map(&mut tick).filter(|tick| tick.action != Action::Gap).collect()
}

fn read_back(rig: &Rig) -> Vec<Tick> {
    let rows = rig.rows("SELECT * FROM ticks ORDER BY row").unwrap();
    let i64 = |row: &sqlx::postgres::PgRow, name: &str| row.get::<i64, _>(name);
    let i32 = |row: &sqlx::postgres::PgRow, name: &str| row.get::<i32, _>(name);
    let i16 = |row: &sqlx::postgres::PgRow, name: &str| row.get::<i16, _>(name);
    let char = |row: &sqlx::postgres::PgRow, name: &str| row.get::<i8, _>(name) as u8;
    let tick = |row| Tick {
        ts_event: i64(row, "ts_event") as u64,
        ts_recv: i64(row, "ts_recv") as u64,
        sequence: i64(row, "sequence") as u64,
        order_id: i64(row, "order_id") as u64,
        price: i64(row, "price"),
        size: i64(row, "size") as u32,
        instrument_id: i64(row, "instrument_id") as u32,
        ts_in_delta: i32(row, "ts_in_delta"),
        publisher_id: i32(row, "publisher_id") as u16,
        channel_id: i32(row, "channel_id") as u16,
        action: Action(char(row, "action")),
        side: Side(char(row, "side")),
        flags: Flags(i16(row, "flags") as u8),
        depth: i16(row, "depth") as u8,
        source: Source(char(row, "source")),
        clock: Clock(i16(row, "clock") as u8),
        reserved: i16(row, "reserved") as u16,
    };
    rows.iter().map(tick).collect()
}

fn round_trip(mut rig: Rig) {
    let ticks = random_ticks(3_000);
    let mut redis = rig.redis();
    for part in ticks.chunks(500) {
        let entry = Entry::of_ticks(u16::MAX, 0, u64::MAX, part);
        add(&mut redis, RAW_MARKET_DATA, &entry_fields(&entry)).unwrap();
    }
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM ticks", ticks.len() as i64);
    assert!(read_back(&rig) == ticks);
    let wrong = "SELECT count(*) FROM ticks WHERE ts_recv >= 0 AND
        time <> timestamptz 'epoch' + ts_recv / 1000 * interval '1 microsecond'";
    assert_eq!(rig.number(wrong), 0);
    assert_eq!(rig.number("SELECT count(*) FROM ticks_human"), ticks.len() as i64);
}

#[test]
fn every_field_of_a_tick_is_read_back_bit_for_bit() {
    if let Some(rig) = Rig::new() {
        round_trip(rig);
    }
}

#[test]
fn a_plain_postgresql_holds_the_same_and_says_what_it_lacks() {
    let Some(mut rig) = Rig::with(PostgresOptions { plain: true, ..PostgresOptions::default() }) else {
        return;
    };
    rig.document = "retention: {ticks_days: 1, features_days: 1}\n".into();
    bars(&mut rig);
    assert!(rig.log(0).contains("plain PostgreSQL: no chunks and no columnstore"), "{}", rig.log(0));
    // What is older than a day goes with the next look, at the next start.
    rig.end(0, libc::SIGTERM);
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM ticks", 0);
    rig.wait_for_log(0, "rows deleted");
}

#[test]
fn a_plain_postgresql_reads_back_bit_for_bit() {
    if let Some(rig) = Rig::with(PostgresOptions { plain: true, ..PostgresOptions::default() }) {
        round_trip(rig);
    }
}

/// Five trades and one without a price give the bars that they must.
fn bars(rig: &mut Rig) {
    rig.start(0);
    rig.wait_for_start();
    let mut redis = rig.redis();
    let trade = |sequence: u64, price: i64, second: u64| Tick {
        ts_recv: (1_577_000_040 + second) * 1_000_000_000 + sequence,
        price,
        instrument_id: 3,
        ..crate::rig::tick(sequence)
    };
    let ticks = [
        trade(1, 5_500_000_000, 0),
        trade(2, 7_000_000_000, 0),
        trade(3, 4_250_000_000, 0),
        trade(4, i64::MAX, 0),
        trade(5, 6_000_000_000, 0),
        trade(6, 1_000_000_000, 1),
    ];
    add(&mut redis, RAW_MARKET_DATA, &entry_fields(&Entry::of_ticks(7, 1, 6, &ticks))).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 6);
    let second = &rig.rows("SELECT * FROM ohlcv_1s ORDER BY time").unwrap()[0];
    let value = |name: &str| second.get::<f64, _>(name);
    assert_eq!([value("open"), value("high"), value("low"), value("close")], [5.5, 7.0, 4.25, 6.0]);
    assert_eq!((second.get::<i64, _>("trades"), second.get::<i64, _>("trades_without_price")), (5, 1));
    let minutes = rig.rows("SELECT close, volume::bigint AS volume FROM ohlcv_1m").unwrap();
    assert_eq!(minutes.len(), 1);
    assert_eq!((minutes[0].get::<f64, _>(0), minutes[0].get::<i64, _>(1)), (1.0, 60));
}

#[test]
fn ticks_are_in_chunks_with_bars_over_them_and_old_chunks_are_dropped() {
    if let Some(why) = lab::postgres::timescaledb_unavailable() {
        return crate::rig::skip(&why);
    }
    let Some(mut rig) = Rig::new() else { return };
    bars(&mut rig);
    let chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'ticks'";
    assert_eq!(rig.number(chunks), 1);
    assert!(rig.log(0).contains("TimescaleDB, Apache edition"), "{}", rig.log(0));
    rig.end(0, libc::SIGTERM);
    rig.document = "retention: {ticks_days: 1}\n".into();
    rig.start(0);
    rig.wait_for(chunks, 0);
    rig.wait_for_log(0, "ticks: 1 chunks dropped");
}

#[test]
fn a_server_that_gains_timescaledb_keeps_its_rows() {
    if let Some(why) = lab::postgres::timescaledb_unavailable() {
        return crate::rig::skip(&why);
    }
    // Without being preloaded the extension cannot be created: this server is a plain one, until it is.
    let settings = vec![("shared_preload_libraries".to_owned(), String::new())];
    let Some(mut rig) = Rig::with(PostgresOptions { settings, ..PostgresOptions::default() }) else { return };
    rig.start(0);
    rig.wait_for_start();
    add_ticks(&mut rig.redis(), 1, 100).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 100);
    assert!(rig.log(0).contains("extension cannot be created here"), "{}", rig.log(0));
    rig.end(0, libc::SIGTERM);
    rig.postgres.stop().unwrap();
    rig.postgres.set("shared_preload_libraries", "timescaledb");
    rig.postgres.start_again().unwrap();
    rig.start(0);
    rig.wait_for_log(0, "TimescaleDB, Apache edition");
    add_ticks(&mut rig.redis(), 101, 100).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 200);
    assert_eq!(rig.archived(), (1..=200).collect::<Vec<i64>>());
    assert_eq!(rig.number("SELECT count(*) FROM ohlcv_1m"), 5);
}

fn feature(number: u64, values: &[u8]) -> FeatureRecord<'_> {
    FeatureRecord {
        number,
        publisher_id: 2,
        instrument_id: 42,
        time_ns: 1_577_000_000_000_000_000 + number,
        channel_id: 7,
        sequence: u64::MAX,
        schema_id: u64::MAX - 1,
        quality: Quality(5),
        values,
    }
}

#[test]
fn features_are_archived_with_their_numbers_and_their_holes() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    let values = [1.5f64, f64::NAN, f64::NEG_INFINITY].map(f64::to_le_bytes).concat();
    for number in [1, 2, 5] {
        add(&mut redis, CALCULATED_FEATURES, &feature_fields(&feature(number, &values))).unwrap();
    }
    add(&mut redis, CALCULATED_FEATURES, &feature_fields(&feature(6, &[]))).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM features", 4);
    let rows = rig.rows("SELECT * FROM features ORDER BY row").unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<i64, _>("number")).collect::<Vec<_>>(), [1, 2, 5, 6]);
    let read: Vec<u64> = rows[0].get::<Vec<f64>, _>("values").iter().map(|value| value.to_bits()).collect();
    assert_eq!(read, [1.5f64, f64::NAN, f64::NEG_INFINITY].map(f64::to_bits));
    assert!(rows[3].get::<Vec<f64>, _>("values").is_empty());
    assert_eq!(rows[0].get::<i64, _>("schema_id") as u64, u64::MAX - 1);
    assert_eq!(rows[0].get::<i16, _>("quality"), 5);
    let gap = &rig.rows("SELECT first, last, before_row, reason FROM gaps").unwrap()[0];
    let told: (i64, i64, i64, String) = (gap.get(0), gap.get(1), gap.get(2), gap.get(3));
    assert_eq!(told, (3, 4, 3, "redis_lost".to_owned()), "nothing was trimmed");
}

#[test]
fn instruments_and_schemas_are_kept_up_to_date() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    add_ticks(&mut redis, 1, 10).unwrap();
    let schema = FeatureSchema {
        set: "fast".into(),
        features: vec![
            FeatureSpec { name: "mid".into(), unit: "price".into() },
            FeatureSpec { name: "spread".into(), unit: "price".into() },
        ],
    };
    let id = schema.id();
    let values = [2.0f64, 0.5].map(f64::to_le_bytes).concat();
    let record = FeatureRecord { schema_id: id, ..feature(1, &values) };
    add(&mut redis, CALCULATED_FEATURES, &feature_fields(&record)).unwrap();
    let row = |symbol: &str| InstrumentRow {
        symbol: symbol.into(),
        tick_size: Some(10_000_000),
        multiplier: None,
        lot_size: 100,
        kind: "equity".into(),
        group: "g".into(),
        currency: "USD".into(),
        channel_id: 7,
    };
    let mut set = |key: &str, field: &str, value: &str| {
        redis::cmd("HSET").arg(key).arg(field).arg(value).exec(&mut redis).unwrap();
    };
    set(&instruments_key(2), "42", &row("AAPL").to_json());
    set(&instruments_key(2), "43", "{\"symbol\":");
    set(FEATURE_SCHEMAS, &format!("{id:016x}"), &serde_json::to_string(&schema).unwrap());
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM instruments WHERE symbol = 'AAPL' AND multiplier IS NULL", 1);
    rig.wait_for(
        "SELECT count(*) FROM features_long WHERE name = 'spread' AND value = 0.5 AND symbol = 'AAPL'",
        1,
    );
    rig.wait_for_log(0, "not archived: instruments:2 43: EOF");
    set(&instruments_key(2), "42", &row("MSFT").to_json());
    rig.wait_for("SELECT count(*) FROM instruments WHERE symbol = 'MSFT'", 1);
    // One that ends looks once more, so that no row stays without its instrument or schema.
    set(&instruments_key(2), "42", &row("GOOG").to_json());
    rig.end(0, libc::SIGTERM);
    assert_eq!(rig.number("SELECT count(*) FROM instruments WHERE symbol = 'GOOG'"), 1);
    assert_eq!(rig.number("SELECT count(*) FROM instruments"), 1);
}
