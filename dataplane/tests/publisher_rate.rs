//! How fast: ticks a second into one Redis, and how soon a packet can be read. Prints and asserts no time.
//!
//! `cargo test --release -p feedplane-dataplane --test publisher_rate -- --ignored --nocapture --test-threads 1`

#![allow(clippy::unwrap_used)]

use bus::config::WaitStrategy;
use dataplane::publisher::{Publisher, PublisherConfig};
use hdrhistogram::Histogram;
use lab::redis_server::RedisServer;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tick::{Action, Tick};

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn start(server: &RedisServer, batch: usize, wait: WaitStrategy) -> (Publisher, rtrb::Producer<Tick>) {
    let (ring, ticks) = rtrb::RingBuffer::new(1 << 16);
    let config = PublisherConfig {
        redis_url: server.url(),
        entries_max: 4_000,
        batch_ticks_max: batch,
        wait,
        ..PublisherConfig::default()
    };
    (Publisher::start(config, vec![ticks], Vec::new()).unwrap(), ring)
}

#[test]
#[ignore = "measures; run it alone"]
fn ticks_a_second_into_one_redis() {
    for batch in [64, 256, 512, 1024, 2048] {
        let server = RedisServer::start().unwrap();
        let (publisher, mut ring) = start(&server, batch, WaitStrategy::Adaptive);
        let burst = vec![Tick { action: Action::Add, channel_id: 310, instrument_id: 7, ..Tick::EMPTY }; 256];
        let total = 20_000_000usize;
        let begin = Instant::now();
        for _ in 0..total / burst.len() {
            // A ring beyond its half goes to the spool: as fast as Redis takes it, not faster.
            while ring.slots() < ring.buffer().capacity() * 3 / 4 {
                std::thread::yield_now();
            }
            ring.push_entire_slice(&burst).unwrap();
        }
        let stats = publisher.stop(Duration::from_secs(60)).unwrap();
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "batch {batch:5}: {:6.2} M ticks/s, {:7.0} writes/s, {:5.1} ticks/entry, lost {}, spool high water {}",
            stats.published as f64 / seconds / 1e6,
            stats.writes as f64 / seconds,
            stats.published as f64 / stats.entries as f64,
            stats.lost,
            stats.spool_high_water
        );
    }
}

#[test]
#[ignore = "measures; run it alone"]
fn cpu_of_an_idle_publisher() {
    let server = RedisServer::start().unwrap();
    let (publisher, _ring) = start(&server, 512, WaitStrategy::Adaptive);
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_secs(3));
    println!("idle: {:.1} % of a core", (cpu_ticks() - before) as f64 / 3.0);
    publisher.stop(Duration::from_secs(1)).unwrap();
}

/// User and system time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "measures; run it alone"]
fn time_from_arrival_to_readable() {
    for wait in [WaitStrategy::Adaptive, WaitStrategy::Yield, WaitStrategy::Spin] {
        for per_second in [10_000u64, 100_000] {
            let server = RedisServer::start().unwrap();
            let (publisher, ring) = start(&server, 512, wait);
            let total = per_second * 3;
            let producer = std::thread::spawn(move || produce(ring, per_second, total));
            let readable = read(&server, total);
            producer.join().unwrap();
            let stats = publisher.stop(Duration::from_secs(30)).unwrap();
            let at = |q| readable.value_at_quantile(q) as f64 / 1e3;
            println!(
                "{wait:?} {per_second:7}/s: readable p50 {:.1} p90 {:.1} p99 {:.1} us; answered p50 {:.1} us; {:.2} ticks/entry",
                at(0.5),
                at(0.9),
                at(0.99),
                stats.latency.p50_ns as f64 / 1e3,
                stats.published as f64 / stats.entries as f64
            );
        }
    }
}

/// One tick at a time at an even rate, stamped when it is due.
fn produce(mut ring: rtrb::Producer<Tick>, per_second: u64, total: u64) {
    let begin = now_ns() + 50_000_000;
    for sequence in 1..=total {
        let due = begin + sequence * 1_000_000_000 / per_second;
        while now_ns() < due {
            std::thread::yield_now();
        }
        let tick = Tick { ts_recv: now_ns(), sequence, channel_id: 310, action: Action::Add, ..Tick::EMPTY };
        while ring.push(tick).is_err() {
            std::thread::yield_now();
        }
    }
}

fn read(server: &RedisServer, total: u64) -> Histogram<u64> {
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut histogram = Histogram::new(3).unwrap();
    let mut from = "0".to_owned();
    let mut seen = 0;
    while seen < total {
        let reply: redis::Value = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(100)
            .arg("BLOCK")
            .arg(5_000)
            .arg("STREAMS")
            .arg("raw_market_data")
            .arg(&from)
            .query(&mut connection)
            .unwrap();
        let now = now_ns();
        for (_, entries) in bus::entries_of_read(&reply).unwrap() {
            for entry in entries {
                from = entry.id.to_string();
                for tick in entry.entry.unwrap().ticks() {
                    histogram.record(now.saturating_sub(tick.ts_recv)).unwrap();
                    seen += 1;
                }
            }
        }
    }
    histogram
}
