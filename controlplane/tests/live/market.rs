//! Book, tape and features of instruments that somebody looks at.

use crate::rig::{Rig, ask, until};
use book::{Books, Limits};
use bus::names::{CALCULATED_FEATURES, FEATURE_SCHEMAS, RAW_MARKET_DATA, shard_of, shard_stream};
use bus::{Entry, FeatureRecord, FeatureSchema, FeatureSpec, Quality};
use controlplane::live::market::{BookLevel, BookView, WATCHED_MAX};
use controlplane::live::{InstrumentKey, Live, Topic, Topics};
use lab::redis_server::RedisServer;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tick::{Action, Flags, GapReason, Side, Tick};
use tokio_stream::StreamExt;

const CHANNEL: u16 = 7;

fn key(instrument_id: u32) -> InstrumentKey {
    InstrumentKey { publisher_id: 2, instrument_id }
}

/// A session of many orders of a few instruments, from the clear of its channel on.
fn session(seed: u64, ticks: usize) -> Vec<Tick> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut session = vec![Tick::channel_clear(2, CHANNEL, 1, 1)];
    for n in 0..ticks as u64 {
        let side = if rng.random() { Side::Bid } else { Side::Ask };
        let away = rng.random_range(1..40i64);
        let price = if side == Side::Bid { 1_000 - away } else { 1_000 + away } * 1_000_000_000;
        let tick = Tick {
            ts_event: n,
            ts_recv: 10 + n,
            sequence: 2 + n,
            order_id: 1 + n,
            price,
            size: rng.random_range(1..500),
            instrument_id: rng.random_range(1..6),
            publisher_id: 2,
            channel_id: CHANNEL,
            action: if n % 17 == 0 { Action::Trade } else { Action::Add },
            side,
            flags: Flags::LAST,
            ..Tick::EMPTY
        };
        session.push(tick);
    }
    session
}

fn write(rig: &Rig, shards: u16, ticks: &[Tick]) {
    for shard in 0..shards {
        let stream = shard_stream(RAW_MARKET_DATA, shard, shards);
        for part in ticks.chunks(100) {
            let own: Vec<Tick> = part
                .iter()
                .filter(|tick| tick.instrument_id == 0 || shard_of(tick.instrument_id, shards) == shard)
                .copied()
                .collect();
            let (first, last) = (part[0].sequence, part[part.len() - 1].sequence);
            rig.write(&stream, &Entry::of_ticks(CHANNEL, first, last, &own));
        }
    }
}

fn expected(books: &Books, instrument_id: u32, side: Side) -> Vec<BookLevel> {
    let id = books.find(2, instrument_id).unwrap();
    books.book(id).levels(side).take(50).map(BookLevel::from).collect()
}

async fn book(live: &Live, instrument_id: u32) -> BookView {
    let watch = live.market().watch(key(instrument_id)).unwrap();
    watch.current().await;
    watch.book().unwrap().as_ref().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_is_that_of_the_book_crate_from_the_same_ticks() {
    for shards in [1, 3] {
        let rig = Rig::with(RedisServer::start().unwrap(), shards).await;
        let live = rig.live();
        let ticks = session(u64::from(shards), 3_000);
        write(&rig, shards, &ticks);
        let mut books = Books::new(Limits::SMALL);
        for tick in &ticks {
            books.apply(tick);
        }
        for instrument_id in 1..6 {
            let view = book(&live, instrument_id).await;
            assert_eq!((view.state, view.why, view.kind), ("good", None, "by_order"));
            assert_eq!(view.bids, expected(&books, instrument_id, Side::Bid));
            assert_eq!(view.asks, expected(&books, instrument_id, Side::Ask));
            let watch = live.market().watch(key(instrument_id)).unwrap();
            let tape = watch.tape().unwrap();
            let trades: Vec<&Tick> = ticks
                .iter()
                .rev()
                .filter(|tick| tick.action == Action::Trade && tick.instrument_id == instrument_id)
                .collect();
            assert_eq!(tape.trades.len(), trades.len().min(100));
            assert_eq!(tape.trades[0].ts_recv_ns, trades[0].ts_recv);
            assert_eq!(tape.trades[0].size, trades[0].size);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_that_may_be_wrong_says_why() {
    let rig = Rig::new().await;
    let live = rig.live();
    let ticks = session(3, 500);
    write(&rig, 1, &ticks);
    assert_eq!(book(&live, 1).await.state, "good");
    let nothing = book(&live, 99).await;
    assert_eq!((nothing.state, nothing.why), ("doubtful", Some("nothing_seen")));
    let watch = live.market().watch(key(1)).unwrap();
    let last = ticks[ticks.len() - 1].sequence;
    rig.write(RAW_MARKET_DATA, &Entry::of_gap(CHANNEL, last + 1, last + 5, GapReason::Lost));
    until("it is doubtful", || watch.book().unwrap().why == Some("gap")).await;
    let clear = Tick::channel_clear(2, CHANNEL, last + 6, 99);
    rig.write(RAW_MARKET_DATA, &Entry::of_ticks(CHANNEL, last + 6, last + 6, &[clear]));
    until("it is good and empty", || {
        let view = watch.book().unwrap();
        view.state == "good" && view.bids.is_empty()
    })
    .await;
    // Numbers that nobody declared missing.
    let late = Tick { sequence: last + 20, ..ticks[5] };
    rig.write(RAW_MARKET_DATA, &Entry::of_ticks(CHANNEL, last + 20, last + 20, &[late]));
    until("it is doubtful again", || watch.book().unwrap().why == Some("gap")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_without_redis_or_after_it_lost_its_memory_is_doubtful() {
    let mut rig = Rig::new().await;
    let live = rig.live();
    write(&rig, 1, &session(4, 300));
    let watch = live.market().watch(key(1)).unwrap();
    watch.current().await;
    assert_eq!(watch.book().unwrap().state, "good");
    rig.redis.kill().unwrap();
    until("it says so", || watch.book().unwrap().why == Some("unreachable")).await;
    rig.redis.start_again().unwrap();
    let orphan = Tick { sequence: 900, ..session(4, 300)[7] };
    let orphan = Tick { instrument_id: 1, ..orphan };
    rig.write(RAW_MARKET_DATA, &Entry::of_ticks(CHANNEL, 900, 900, &[orphan]));
    until("it begins again, not from its start", || {
        let view = watch.book().unwrap();
        view.why == Some("not_from_start") && view.bids.len() + view.asks.len() <= 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_instruments_are_watched_and_no_more_and_a_place_is_free_after_its_grace() {
    let rig = Rig::new().await;
    let live = rig.live();
    let mut watches: Vec<_> =
        (0..WATCHED_MAX as u32).map(|n| live.market().watch(key(n + 1)).unwrap()).collect();
    assert!(live.market().watch(key(1)).is_ok(), "one that is watched already takes no place");
    assert!(live.market().watch(key(1_000)).is_err());
    watches.pop();
    assert!(live.market().watch(key(1_000)).is_err(), "a page that is reloaded finds it warm");
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    assert!(live.market().watch(key(1_000)).is_ok());
    drop(watches);
    tokio::time::sleep(Duration::from_millis(10_300)).await;
    assert_eq!(live.market().watched(), 0);
    // And it begins anew.
    write(&rig, 1, &session(5, 200));
    assert_eq!(book(&live, 2).await.state, "good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_hear_of_book_tape_and_features_of_their_instruments_only() {
    let rig = Rig::new().await;
    let live = rig.live();
    let ticks = session(6, 400);
    write(&rig, 1, &ticks);
    let schema = FeatureSchema {
        set: "fast".into(),
        features: vec![
            FeatureSpec { name: "mid".into(), unit: "price".into() },
            FeatureSpec { name: "ofi_1s".into(), unit: "1".into() },
        ],
    };
    let id = format!("{:016x}", schema.id());
    let json = serde_json::to_string(&schema).unwrap();
    let _: i64 = ask(&mut rig.connection(), &["HSET", FEATURE_SCHEMAS, &id, &json]);
    let source = live.market().watch(key(1)).unwrap();
    source.current().await;
    let topics = Topics::NONE.with(Topic::Book).with(Topic::Tape).with(Topic::Features);
    let mut frames = live.hub().listen(topics, vec![source.source()], || async { true }).unwrap();
    let values: Vec<u8> = [1.5f64, f64::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
    for instrument_id in [1, 2] {
        let record = FeatureRecord {
            number: u64::from(instrument_id),
            publisher_id: 2,
            instrument_id,
            time_ns: 77,
            channel_id: CHANNEL,
            sequence: 5,
            schema_id: schema.id(),
            quality: Quality::WARMING_UP,
            values: &values,
        };
        let mut add = redis::cmd("XADD");
        add.arg(CALCULATED_FEATURES).arg("*");
        record.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut rig.connection()).unwrap();
    }
    let next = ticks[ticks.len() - 1].sequence + 1;
    let trade = Tick { sequence: next, instrument_id: 1, action: Action::Trade, size: 4321, ..ticks[1] };
    rig.write(RAW_MARKET_DATA, &Entry::of_ticks(CHANNEL, next, next, &[trade]));
    let (mut book, mut tape, mut features) = (false, false, false);
    while !(book && tape && features) {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next()).await.unwrap();
        let frame = String::from_utf8(frame.unwrap().unwrap().to_vec()).unwrap();
        assert!(!frame.contains("\"instrument_id\":2"), "{frame}");
        book |= frame.starts_with("event: book\n");
        tape |= frame.starts_with("event: tape\n") && frame.contains("4321");
        features |= frame.starts_with("event: features\n")
            && frame.contains("\"name\":\"mid\",\"unit\":\"price\",\"value\":1.5")
            && frame.contains("\"value\":null")
            && frame.contains("warming_up");
    }
    let history = live.lookups().features(key(1), Some("fast"), 10).await.unwrap();
    assert_eq!(history.sets.len(), 1);
    assert_eq!(history.sets[0].names, ["mid", "ofi_1s"]);
    assert_eq!(history.sets[0].points[0].values, [Some(1.5), None]);
    assert!(history.is_whole && history.looked_through == 2);
    assert!(live.lookups().features(key(1), Some("slow"), 10).await.unwrap().sets.is_empty());
}
