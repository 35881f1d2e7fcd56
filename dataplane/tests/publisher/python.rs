//! The Python reader, run on what the publisher wrote.

use crate::rig::*;
use lab::redis_server::RedisServer;
use std::path::Path;
use std::process::Command;
use tick::{Action, Clock, ClockSource, Flags, GapReason, Side, Source, Tick};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python/reader.py");

fn python() -> Option<String> {
    let python = std::env::var("FEEDPLANE_PYTHON").ok().filter(|path| Path::new(path).exists());
    if python.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set");
    }
    python
}

fn run(python: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new(python).env("PYTHONDONTWRITEBYTECODE", "1").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

#[test]
fn the_python_reader_shows_ticks_gaps_and_totals() {
    let Some(python) = python() else { return };
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&[
        Tick {
            ts_recv: 1_577_836_800_000_000_001,
            sequence: 5,
            order_id: 99,
            price: 242_050_000_000,
            size: 7,
            instrument_id: 42,
            channel_id: 310,
            action: Action::Add,
            side: Side::Bid,
            flags: Flags::LAST | Flags::MAYBE_BAD_BOOK,
            depth: 3,
            source: Source::B,
            ..Tick::EMPTY
        },
        Tick::gap(1, 310, 6, 9, 5, GapReason::Lost),
    ]);
    rig.send(&ticks(311, 1..=1_000));
    rig.stop();
    let (out, err) = run(&python, &[READER, &server.url(), "--once"]);
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("ch=310")).collect();
    assert_eq!(
        lines,
        [
            "2020-01-01T00:00:00.000000001 ch=310 seq=5 inst=42 AB 242.05 x 7 order=99 depth=3 LAST|MAYBE_BAD_BOOK via B",
            "GAP  ch=310 6..9: lost",
        ]
    );
    assert_eq!(err.trim(), "1001 ticks, 4 numbers declared missing, 0 missing without a word");
}

#[test]
fn the_python_reader_notices_trimmed_entries_and_new_counts() {
    let Some(python) = python() else { return };
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    for last in [10u64, 20, 30] {
        rig.send(&ticks(1, last - 9..=last));
        rig.published(last);
    }
    rig.send(&[Tick::channel_clear(1, 1, 1, 99), tick(1, 1)]);
    rig.stop();
    let entries = read(&server.url(), "raw_market_data");
    let middle = entries.iter().filter(|entry| entry.first > 10 && entry.last <= 20);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for entry in middle {
        let id = entry.id.to_string();
        let _: i64 = redis::cmd("XDEL").arg("raw_market_data").arg(id).query(&mut connection).unwrap();
    }
    let (out, err) = run(&python, &[READER, &server.url(), "--once", "--quiet"]);
    assert!(out.contains("LOST ch=1 11..20"), "{out}");
    assert_eq!(err.trim(), "22 ticks, 0 numbers declared missing, 10 missing without a word");
}

/// Prints every field of every tick as one line of numbers.
const DUMP: &str = "
import sys; sys.path.insert(0, sys.argv[1])
import reader, redis
connection = redis.Redis.from_url(sys.argv[2])
for _, fields in reader.entries(connection, 'raw_market_data', '0', True):
    for tick in reader.parse(fields)[3]:
        print(*(ord(v) if isinstance(v, bytes) else int(v) for v in tick.item()))
";

#[test]
fn every_field_that_python_reads_is_the_one_that_was_written() {
    let Some(python) = python() else { return };
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    let sent: Vec<Tick> = (1..=200u64)
        .map(|n| Tick {
            ts_event: u64::MAX - n,
            ts_recv: n * 3,
            price: if n % 2 == 0 { i64::MIN + n as i64 } else { i64::MAX - n as i64 },
            size: u32::MAX - n as u32,
            instrument_id: n as u32 * 65_537,
            ts_in_delta: -(n as i32) * 1_000_000,
            publisher_id: 65_535 - n as u16,
            side: Side::Ask,
            flags: Flags(n as u8),
            depth: 255 - n as u8,
            source: Source::Retransmission,
            clock: Clock::new(ClockSource::Hardware, true),
            reserved: n as u16,
            ..tick(9, n)
        })
        .collect();
    rig.send(&sent);
    rig.stop();
    let folder = Path::new(READER).parent().unwrap().to_str().unwrap();
    let (out, _) = run(&python, &["-c", DUMP, folder, &server.url()]);
    let expected: Vec<String> = sent
        .iter()
        .map(|t| {
            format!(
                "{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}",
                t.ts_event,
                t.ts_recv,
                t.sequence,
                t.order_id,
                t.price,
                t.size,
                t.instrument_id,
                t.ts_in_delta,
                t.publisher_id,
                t.channel_id,
                t.action.0,
                t.side.0,
                t.flags.0,
                t.depth,
                t.source.0,
                t.clock.0,
                t.reserved
            )
        })
        .collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}
