//! Reading streams of a real Redis: nothing twice, nothing lost untold, through all that can happen to it.

#![allow(clippy::unwrap_used)]

use bus::consumer::{Batch, ConsumerError, Reader, WhyMissing};
use bus::{Continuity, Entry, StreamEntry, StreamId, Verdict};
use lab::redis_server::RedisServer;
use std::time::{Duration, Instant};
use tick::{Action, Tick};

const WAIT: Duration = Duration::from_millis(50);
/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const STREAM: &str = "raw_market_data";

struct Writer(redis::Connection);

impl Writer {
    fn new(server: &RedisServer) -> Writer {
        Writer(redis::Client::open(server.url()).unwrap().get_connection().unwrap())
    }

    /// Adds an entry with one tick, as the publisher writes it.
    fn add(&mut self, stream: &str, sequence: u64) {
        let tick = [Tick { channel_id: 7, sequence, action: Action::Add, ..Tick::EMPTY }];
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        Entry::of_ticks(7, sequence, sequence, &tick).for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(&mut self.0).unwrap();
    }

    fn add_all(&mut self, stream: &str, sequences: impl IntoIterator<Item = u64>) {
        sequences.into_iter().for_each(|sequence| self.add(stream, sequence));
    }

    fn ask(&mut self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.0).unwrap()
    }
}

/// What a batch brought: stream and sequence number; 0 for an entry that was refused.
fn sequences(batch: &Batch) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for (stream, records) in batch.streams().unwrap() {
        for record in records {
            let entry = StreamEntry::from(record).entry;
            found.push((String::from_utf8(stream.to_vec()).unwrap(), entry.map_or(0, |entry| entry.first)));
        }
    }
    found
}

/// Reads until so many entries have come, or a restart is told; errors on the way are passed over.
fn read_until(reader: &mut Reader, count: usize) -> (Vec<(String, u64)>, Vec<String>) {
    let (mut found, mut restarted) = (Vec::new(), Vec::new());
    let end = Instant::now() + PATIENCE;
    while found.len() < count {
        assert!(Instant::now() < end, "only {found:?} came");
        if let Ok(batch) = reader.read(WAIT) {
            found.extend(sequences(&batch));
            restarted.extend(batch.restarted);
        }
    }
    (found, restarted)
}

fn read_until_restarted(reader: &mut Reader) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "no restart is told");
        if let Ok(batch) = reader.read(WAIT)
            && !batch.restarted.is_empty()
        {
            return batch.restarted;
        }
    }
}

fn of(stream: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.into_iter().map(|number| (stream.to_owned(), number)).collect()
}

fn reader(server: &RedisServer, entries_max: usize) -> Reader {
    Reader::new(&server.url(), entries_max).unwrap()
}

#[test]
fn reading_goes_on_behind_the_stored_place() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all(STREAM, 1..=10);
    let mut first = reader(&server, 4);
    first.follow(STREAM, StreamId::default());
    assert_eq!(sequences(&first.read(WAIT).unwrap()), of(STREAM, 1..=4));
    let stored = first.cursor(STREAM).unwrap();
    let mut second = reader(&server, 100);
    second.follow(STREAM, stored);
    assert_eq!(sequences(&second.read(WAIT).unwrap()), of(STREAM, 5..=10));
    assert!(second.read(WAIT).unwrap().is_empty());
    second.follow(STREAM, StreamId::default());
    assert_eq!(sequences(&second.read(WAIT).unwrap()), of(STREAM, 1..=10));
    second.leave(STREAM);
    assert!(second.read(WAIT).unwrap().is_empty());
    assert_eq!(second.cursor(STREAM), None);
}

#[test]
fn several_streams_are_read_each_from_its_own_place() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all("a", 1..=3);
    writer.add_all("b", 11..=13);
    let mut reader = reader(&server, 100);
    reader.follow("a", StreamId::default());
    reader.read(WAIT).unwrap();
    reader.follow("b", StreamId::default());
    reader.follow("not there yet", StreamId::default());
    assert_eq!(sequences(&reader.read(WAIT).unwrap()), of("b", 11..=13));
    writer.add("a", 4);
    writer.add("not there yet", 21);
    let (mut found, _) = read_until(&mut reader, 2);
    found.sort();
    assert_eq!(found, [of("a", [4]), of("not there yet", [21])].concat());
}

#[test]
fn an_entry_that_is_refused_costs_only_itself() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add(STREAM, 1);
    writer.ask(&["XADD", STREAM, "*", "c", "7", "s", "x"]);
    writer.add(STREAM, 3);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    assert_eq!(sequences(&reader.read(WAIT).unwrap()), of(STREAM, [1, 0, 3]));
}

#[test]
fn a_killed_redis_with_its_data_loses_and_repeats_nothing() {
    let mut server = RedisServer::start_durable().unwrap();
    Writer::new(&server).add_all(STREAM, 1..=5);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    let (found, _) = read_until(&mut reader, 5);
    assert_eq!(found, of(STREAM, 1..=5));
    server.kill().unwrap();
    assert!(matches!(reader.read(WAIT), Err(ConsumerError::Unreachable(_))));
    assert!(matches!(reader.read(WAIT), Err(ConsumerError::Unreachable(_))));
    server.start_again().unwrap();
    Writer::new(&server).add_all(STREAM, 6..=7);
    let (found, restarted) = read_until(&mut reader, 2);
    assert_eq!((found, restarted), (of(STREAM, 6..=7), vec![]));
}

#[test]
fn a_frozen_redis_is_read_again_when_it_goes_on() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add(STREAM, 1);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 1);
    server.pause();
    assert!(matches!(reader.read(WAIT), Err(ConsumerError::Unreachable(_))));
    server.go_on();
    writer.add(STREAM, 2);
    let (found, restarted) = read_until(&mut reader, 1);
    assert_eq!((found, restarted), (of(STREAM, [2]), vec![]));
}

#[test]
fn a_redis_that_lost_its_memory_is_told_and_read_from_its_new_beginning() {
    let mut server = RedisServer::start().unwrap();
    Writer::new(&server).add_all(STREAM, 1..=5);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 5);
    let read = reader.cursor(STREAM).unwrap();
    server.restart_empty().unwrap();
    assert_eq!(read_until_restarted(&mut reader), [STREAM]);
    Writer::new(&server).add_all(STREAM, 8..=9);
    let (found, restarted) = read_until(&mut reader, 2);
    assert_eq!((found, restarted), (of(STREAM, 8..=9), vec![]));
    assert_eq!(reader.why_missing(STREAM, read).unwrap(), WhyMissing::LostByRedis);
}

#[test]
fn a_loss_is_told_also_when_new_entries_came_before_the_look() {
    let mut server = RedisServer::start().unwrap();
    Writer::new(&server).add_all(STREAM, 1..=5);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 5);
    server.restart_empty().unwrap();
    Writer::new(&server).add_all(STREAM, 8..=9);
    let (found, restarted) = read_until(&mut reader, 2);
    assert_eq!((found, restarted), (of(STREAM, 8..=9), vec![STREAM.to_owned()]));
}

#[test]
fn a_loss_is_told_also_to_a_reader_that_goes_on_at_a_place_stored_before_it() {
    let mut server = RedisServer::start().unwrap();
    Writer::new(&server).add_all(STREAM, 1..=5);
    let mut first = reader(&server, 100);
    first.follow(STREAM, StreamId::default());
    read_until(&mut first, 5);
    let stored = first.cursor(STREAM).unwrap();
    server.restart_empty().unwrap();
    Writer::new(&server).add_all(STREAM, 8..=9);
    let mut second = reader(&server, 100);
    second.follow(STREAM, stored);
    let (found, restarted) = read_until(&mut second, 2);
    assert_eq!((found, restarted), (of(STREAM, 8..=9), vec![STREAM.to_owned()]));
}

#[test]
fn a_stored_place_that_was_trimmed_away_is_no_loss_of_redis() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all(STREAM, 1..=3);
    let mut first = reader(&server, 100);
    first.follow(STREAM, StreamId::default());
    read_until(&mut first, 3);
    let stored = first.cursor(STREAM).unwrap();
    writer.add_all(STREAM, 4..=6);
    writer.ask(&["XTRIM", STREAM, "MAXLEN", "2"]);
    let mut second = reader(&server, 100);
    second.follow(STREAM, stored);
    let (found, restarted) = read_until(&mut second, 2);
    assert_eq!((found, restarted), (of(STREAM, 5..=6), vec![]));
}

#[test]
fn a_stream_deleted_under_the_reader_is_told() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all(STREAM, 1..=2);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 2);
    writer.ask(&["DEL", STREAM]);
    assert_eq!(read_until_restarted(&mut reader), [STREAM]);
    writer.add(STREAM, 3);
    assert_eq!(read_until(&mut reader, 1).0, of(STREAM, [3]));
}

#[test]
fn a_redis_that_comes_back_from_an_older_state_is_read_on_without_repeats() {
    let mut server = RedisServer::start_durable().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let (data, copy) = (server.folder().join("appendonlydir"), kept.path().join("older"));
    let copy_folder = |from: &std::path::Path, to: &std::path::Path| {
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    Writer::new(&server).add_all(STREAM, 1..=3);
    server.kill().unwrap();
    copy_folder(&data, &copy);
    server.start_again().unwrap();
    Writer::new(&server).add_all(STREAM, 4..=5);
    let mut reader = reader(&server, 100);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 5);
    server.kill().unwrap();
    copy_folder(&copy, &data);
    server.start_again().unwrap();
    assert_eq!(read_until_restarted(&mut reader), [STREAM]);
    // 6 never reached Redis; 4 and 5 are lost but were read.
    Writer::new(&server).add(STREAM, 7);
    assert_eq!(read_until(&mut reader, 1).0, of(STREAM, [7]));
}

#[test]
fn a_hole_has_its_reason() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all(STREAM, 1..=10);
    let mut reader = reader(&server, 2);
    reader.follow(STREAM, StreamId::default());
    read_until(&mut reader, 2);
    let read = reader.cursor(STREAM).unwrap();
    writer.ask(&["XTRIM", STREAM, "MAXLEN", "4"]);
    let mut continuity = Continuity::new();
    continuity.resume(7, 2);
    let batch = reader.read(WAIT).unwrap();
    let streams = batch.streams().unwrap();
    let entry = StreamEntry::from(streams[0].1[0].clone()).entry.unwrap();
    assert_eq!(continuity.check(&entry), Verdict::Missing { from: 3, to: 6 });
    assert_eq!(reader.why_missing(STREAM, read).unwrap(), WhyMissing::Trimmed);

    // A hole behind what is still there was not made by trimming.
    let read = reader.cursor(STREAM).unwrap();
    writer.add(STREAM, 99);
    assert_eq!(reader.why_missing(STREAM, read).unwrap(), WhyMissing::LostByRedis);
    writer.ask(&["DEL", STREAM]);
    assert_eq!(reader.why_missing(STREAM, read).unwrap(), WhyMissing::LostByRedis);
    assert_eq!(WhyMissing::Trimmed.name(), "trimmed");
    assert_eq!(WhyMissing::LostByRedis.name(), "redis_lost");
}

#[test]
fn a_key_that_is_no_stream_is_named() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add("good", 1);
    writer.ask(&["SET", "bad", "x"]);
    let mut both = reader(&server, 100);
    both.follow("good", StreamId::default());
    both.follow("bad", StreamId::default());
    let error = both.read(WAIT).unwrap_err();
    assert!(matches!(error, ConsumerError::Refused(_)));
    let text = error.to_string();
    assert!(text.contains("bad") && text.contains("another program uses this key"), "{text}");

    // One that turns into something else while it is read.
    let mut one = reader(&server, 100);
    one.follow("good", StreamId::default());
    read_until(&mut one, 1);
    writer.ask(&["SET", "good", "x"]);
    let text = one.read(WAIT).unwrap_err().to_string();
    assert!(text.starts_with("Redis refuses XREAD of good: "), "{text}");
}

#[test]
fn missing_rights_and_wrong_passwords_say_what_to_do() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add(STREAM, 1);
    writer.ask(&["ACL", "SETUSER", "blind", "on", ">secret", "~other", "+@all"]);
    for (user, password, advice) in [
        ("blind", "secret", "the rights that docs/consumers.md lists"),
        ("blind", "wrong", "give the password there or in REDISCLI_AUTH"),
    ] {
        let url = format!("{}?user={user}&pass={password}", server.url().replace("unix:", "redis+unix:"));
        let mut reader = Reader::new(&url, 100).unwrap();
        reader.follow(STREAM, StreamId::default());
        let error = reader.read(WAIT).unwrap_err();
        assert!(matches!(error, ConsumerError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn the_rights_that_the_page_lists_are_enough_to_read() {
    let server = RedisServer::start().unwrap();
    let mut writer = Writer::new(&server);
    writer.add_all(STREAM, 1..=2);
    writer.ask(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">x",
        "~raw_market_data*",
        "+xread",
        "+xrevrange",
        "+xinfo",
        "+type",
        "+select",
    ]);
    let url = format!("{}?user=reader&pass=x", server.url().replace("unix:", "redis+unix:"));
    let mut reader = Reader::new(&url, 100).unwrap();
    reader.follow(STREAM, StreamId::default());
    assert_eq!(read_until(&mut reader, 2).0, of(STREAM, 1..=2));
    reader.why_missing(STREAM, StreamId::default()).unwrap();
}

#[test]
fn what_is_no_address_is_refused_at_once() {
    let error = Reader::new("http://somewhere", 1).err().unwrap().to_string();
    assert!(error.contains("is not the address of a Redis"), "{error}");
}
