//! Whatever stands in Redis: it is passed over, and nothing valid beside it is lost.

use crate::orders::{order, report};
use crate::rig::{Rig, ask, until};
use bus::names::{
    CALCULATED_FEATURES, EXECUTION_REPORTS, ORDER_INSTRUCTIONS, RAW_MARKET_DATA, processes_key,
};
use bus::{Entry, ReportKind};
use controlplane::live::InstrumentKey;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;
use tick::{Action, Flags, Side, Tick};

/// Entries of nonsense, in the shape that a stream can have.
fn nonsense(rig: &Rig, stream: &str, names: &[&str], seed: u64, entries: usize) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut connection = rig.connection();
    for _ in 0..entries {
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        for _ in 0..rng.random_range(1..8) {
            let mut value = vec![0; rng.random_range(0..200)];
            rng.fill_bytes(&mut value);
            let text = ["1", "new", "A1", "filled", "-1", "99999999999999999999", "", "xnas", "halted"];
            let value = if rng.random() { value } else { text[rng.random_range(0..text.len())].into() };
            add.arg(names[rng.random_range(0..names.len())]).arg(value);
        }
        add.exec(&mut connection).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_in_the_streams_of_orders_is_counted_and_passed_over() {
    let rig = Rig::new().await;
    let instruction = ["v", "id", "action", "side", "quantity", "price", "tif", "venue", "publisher"];
    let reports = ["v", "n", "id", "kind", "of", "venue", "leaves", "filled", "text", "time_ns"];
    nonsense(&rig, ORDER_INSTRUCTIONS, &instruction, 1, 400);
    rig.instruct(ORDER_INSTRUCTIONS, &order("A1", 7));
    nonsense(&rig, EXECUTION_REPORTS, &reports, 2, 400);
    rig.report(EXECUTION_REPORTS, &report(1, ReportKind::Accepted, "A1"));
    nonsense(&rig, EXECUTION_REPORTS, &reports, 3, 400);
    let live = rig.live();
    until("the good ones are read", || {
        live.orders().look(|ledger| ledger.open().any(|order| order.id == "A1" && order.quantity == Some(10)))
    })
    .await;
    until("the others are counted", || live.orders().now().refused >= 1_200).await;
    assert_eq!(live.orders().look(|ledger| ledger.orders().count()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_among_the_ticks_makes_books_doubtful_and_stops_nothing() {
    let rig = Rig::new().await;
    let live = rig.live();
    let names = ["c", "s", "l", "n", "d", "g"];
    nonsense(&rig, RAW_MARKET_DATA, &names, 4, 300);
    nonsense(&rig, CALCULATED_FEATURES, &["n", "p", "i", "t", "c", "s", "k", "q", "v"], 5, 300);
    let add = Tick {
        sequence: 2,
        order_id: 9,
        price: 5_000_000_000,
        size: 3,
        instrument_id: 4,
        publisher_id: 2,
        channel_id: 7,
        action: Action::Add,
        side: Side::Bid,
        flags: Flags::LAST,
        ..Tick::EMPTY
    };
    let clear = Tick::channel_clear(2, 7, 1, 1);
    rig.write(RAW_MARKET_DATA, &Entry::of_ticks(7, 1, 2, &[clear, add]));
    let watch = live.market().watch(InstrumentKey { publisher_id: 2, instrument_id: 4 }).unwrap();
    watch.current().await;
    let view = watch.book().unwrap();
    assert_eq!((view.state, view.bids[0].size), ("good", 3));
    // An entry that cannot be read and names the channel.
    let _: String = ask(&mut rig.connection(), &["XADD", RAW_MARKET_DATA, "*", "c", "7", "s", "3", "l", "x"]);
    until("it is doubtful", || watch.book().unwrap().why == Some("gap")).await;
    nonsense(&rig, CALCULATED_FEATURES, &["n", "p", "i", "t", "c", "s", "k", "q", "v"], 6, 300);
    let key = InstrumentKey { publisher_id: 2, instrument_id: 4 };
    assert!(live.lookups().features(key, None, 10).await.unwrap().sets.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_reports_instruments_and_models_are_passed_over() {
    let rig = Rig::new().await;
    let mut connection = rig.connection();
    let big = "x".repeat(100_000);
    let processes = processes_key("features");
    for (member, report) in [("a", "{}"), ("b", big.as_str()), ("c", "\u{0}"), ("d", "[1]")] {
        let _: i64 = ask(&mut connection, &["HSET", &processes, member, report]);
    }
    let _: i64 = ask(&mut connection, &["LPUSH", &processes_key("gateway"), "no hash"]);
    for (key, field, value) in [
        ("instruments:2", "7", "{\"symbol\": 1}"),
        ("instruments:x", "7", "{}"),
        ("instruments:99999", "7", "{}"),
        ("models:m1", "x", "y"),
        ("models:m1", "1", "zz"),
        ("model:m1:1", "card", "no json"),
    ] {
        let _: i64 = ask(&mut connection, &["HSET", key, field, value]);
    }
    let good = r#"{"symbol":"AAPL","tick_size":10000000,"multiplier":null,"lot_size":100,"kind":"equity","group":"","currency":"USD","channel_id":3}"#;
    let _: i64 = ask(&mut connection, &["HSET", "instruments:2", "42", good]);
    let live = rig.live();
    until("they are counted", || {
        let picture = live.sampler().picture();
        let picture: Value = serde_json::from_slice(&picture).unwrap_or_default();
        picture["redis"]["refused_reports"].as_u64() >= Some(5)
    })
    .await;
    let table = live.lookups().instruments().await.unwrap();
    assert_eq!(table.len(), 1);
    let apple = table.values().next().unwrap();
    assert_eq!((apple.symbol.as_str(), apple.tick_size.as_deref()), ("AAPL", Some("0.01")));
    assert!(live.lookups().model("m1").await.unwrap().is_none());
    assert!(live.lookups().model_card("m1", 1).await.unwrap().is_none());
}
