//! The parser of `raw_market_data` entries: what was written is read back, and nothing else is believed.

#![allow(clippy::unwrap_used)]

use bus::{Content, Entry, EntryError, StreamId, entries_of_range, entries_of_read};
use proptest::prelude::*;
use redis::Value;
use tick::{Action, GapReason, Tick};

fn tick(channel_id: u16, sequence: u64) -> Tick {
    Tick { channel_id, sequence, action: Action::Add, ..Tick::EMPTY }
}

fn fields_of(entry: &Entry<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    entry.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    assert_eq!(fields.len(), entry.field_count());
    fields
}

fn parse(fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Entry<'_>, EntryError> {
    Entry::parse(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn refusal(change: impl FnOnce(&mut Vec<(Vec<u8>, Vec<u8>)>)) -> EntryError {
    let ticks = [tick(7, 10), tick(7, 11)];
    let mut fields = fields_of(&Entry::of_ticks(7, 10, 11, &ticks));
    change(&mut fields);
    parse(&fields).unwrap_err()
}

#[test]
fn an_entry_of_ticks_is_written_as_the_contract_says() {
    let ticks = [tick(310, 10), tick(310, 12)];
    let fields = fields_of(&Entry::of_ticks(310, 9, 12, &ticks));
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [b"c", b"s", b"l", b"n", b"d"]);
    assert_eq!(&fields[0].1, b"310");
    assert_eq!(&fields[3].1, b"2");
    assert_eq!(fields[4].1.len(), 128);
    let entry = parse(&fields).unwrap();
    assert_eq!((entry.first, entry.last), (9, 12));
    assert_eq!(entry.ticks().collect::<Vec<_>>(), ticks);
}

#[test]
fn a_gap_is_written_with_its_reason_and_without_ticks() {
    for (why, name) in [
        (GapReason::Lost, "lost"),
        (GapReason::RingFull, "ring_full"),
        (GapReason::SpoolFull, "spool_full"),
        (GapReason::Offline, "offline"),
    ] {
        let fields = fields_of(&Entry::of_gap(1, 5, 9, why));
        assert_eq!(fields.last().unwrap(), &(b"g".to_vec(), name.as_bytes().to_vec()));
        assert_eq!(parse(&fields).unwrap().content, Content::Gap(why));
    }
}

#[test]
fn each_way_to_break_the_contract_is_refused_by_its_name() {
    assert_eq!(refusal(|f| drop(f.remove(0))), EntryError::Missing("c"));
    assert_eq!(refusal(|f| drop(f.remove(2))), EntryError::Missing("l"));
    assert_eq!(refusal(|f| drop(f.remove(4))), EntryError::Missing("d"));
    assert_eq!(refusal(|f| f.push((b"s".to_vec(), b"1".to_vec()))), EntryError::Twice("s"));
    assert_eq!(refusal(|f| f[0].1 = b"65536".to_vec()), EntryError::Number("c"));
    for bad in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616"] {
        assert_eq!(refusal(|f| f[1].1 = bad.into()), EntryError::Number("s"), "{bad:?}");
    }
    assert_eq!(refusal(|f| f[2].1 = b"9".to_vec()), EntryError::Range { first: 10, last: 9 });
    assert_eq!(refusal(|f| f[3].1 = b"3".to_vec()), EntryError::Length { count: 3, bytes: 128 });
    let huge = u64::MAX / 64 + 2;
    assert_eq!(refusal(|f| f[3].1 = huge.to_string().into()), EntryError::Length { count: huge, bytes: 128 });
    assert!(matches!(refusal(|f| f[4].1.truncate(127)), EntryError::Length { .. }));
    assert_eq!(refusal(|f| f.push((b"g".to_vec(), b"lost".to_vec()))), EntryError::Gap);
    assert_eq!(refusal(|f| f[4] = (b"g".to_vec(), b"boredom".to_vec())), EntryError::Gap);
    assert!(matches!(refusal(|f| f[0].1 = b"8".to_vec()), EntryError::Tick { index: 0, .. }));
    assert!(matches!(refusal(|f| f[1].1 = b"11".to_vec()), EntryError::Tick { index: 0, .. }));
}

#[test]
fn gap_records_and_late_channel_clears_are_not_accepted_among_ticks() {
    let clear = Tick::channel_clear(1, 7, 10, 0);
    let ticks = [clear, tick(7, 10)];
    let fields = fields_of(&Entry::of_ticks(7, 10, 10, &ticks));
    assert!(parse(&fields).unwrap().restarts());
    let fields = fields_of(&Entry::of_ticks(7, 10, 10, &[ticks[1], clear]));
    assert!(matches!(parse(&fields), Err(EntryError::Tick { index: 1, .. })));
    let gap = [Tick::gap(1, 7, 10, 10, 0, GapReason::Lost)];
    let fields = fields_of(&Entry::of_ticks(7, 10, 10, &gap));
    assert!(matches!(parse(&fields), Err(EntryError::Tick { index: 0, .. })));
}

#[test]
fn an_unknown_field_is_passed_over_for_the_sake_of_later_versions() {
    let mut fields = fields_of(&Entry::of_gap(1, 5, 9, GapReason::Lost));
    fields.push((b"zz".to_vec(), b"?".to_vec()));
    assert!(parse(&fields).is_ok());
}

fn bulk(text: impl AsRef<[u8]>) -> Value {
    Value::BulkString(text.as_ref().to_vec())
}

fn reply_entry(id: &str, fields: &[(Vec<u8>, Vec<u8>)]) -> Value {
    let flat = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
    Value::Array(vec![bulk(id), Value::Array(flat)])
}

#[test]
fn a_bad_entry_costs_the_reader_that_entry_only() {
    let good = fields_of(&Entry::of_gap(1, 5, 9, GapReason::Lost));
    let mut bad = good.clone();
    bad.remove(0);
    let entries = Value::Array(vec![reply_entry("5-0", &bad), reply_entry("5-1", &good)]);
    let reply = Value::Array(vec![Value::Array(vec![bulk("raw_market_data"), entries.clone()])]);
    let read = entries_of_read(&reply).unwrap();
    assert_eq!(read[0].0, b"raw_market_data");
    assert_eq!(read[0].1[0].id, StreamId { ms: 5, seq: 0 });
    assert_eq!(read[0].1[0].entry, Err(EntryError::Missing("c")));
    assert!(read[0].1[1].entry.is_ok());
    let map = Value::Map(vec![(bulk("raw_market_data"), entries)]);
    assert_eq!(entries_of_read(&map).unwrap().len(), 1);
    assert!(entries_of_read(&Value::Nil).unwrap().is_empty());
}

#[test]
fn a_reply_of_another_shape_is_refused() {
    for reply in [
        Value::Int(1),
        bulk("x"),
        Value::Array(vec![Value::Int(1)]),
        Value::Array(vec![Value::Array(vec![bulk("only a name")])]),
        Value::Array(vec![Value::Array(vec![
            bulk("s"),
            Value::Array(vec![Value::Array(vec![bulk("no dash")])]),
        ])]),
    ] {
        assert!(entries_of_read(&reply).is_err(), "{reply:?}");
    }
    let odd = Value::Array(vec![Value::Array(vec![bulk("1-1"), Value::Array(vec![bulk("c")])])]);
    assert!(matches!(entries_of_range(&odd).unwrap()[0].entry, Err(EntryError::Shape(_))));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        channel in any::<u16>(),
        first in any::<u32>(),
        steps in proptest::collection::vec(0u64..3, 0..40),
    ) {
        let mut sequence = u64::from(first);
        let ticks: Vec<Tick> = steps.iter().map(|step| { sequence += step; tick(channel, sequence) }).collect();
        let entry = Entry::of_ticks(channel, u64::from(first), sequence, &ticks);
        let fields = fields_of(&entry);
        prop_assert_eq!(parse(&fields).unwrap(), entry);
    }
}

#[test]
fn random_fields_never_break_the_parser() {
    bolero::check!().with_iterations(20_000).with_type::<Vec<(u8, Vec<u8>)>>().for_each(|fields| {
        const NAMES: [&[u8]; 8] = [b"c", b"s", b"l", b"n", b"d", b"g", b"", b"x"];
        let fields = fields.iter().map(|(name, value)| (NAMES[usize::from(name % 8)], value.as_slice()));
        if let Ok(entry) = Entry::parse(fields) {
            assert!(entry.first <= entry.last);
            assert!(entry.ticks().all(|tick| tick.channel_id == entry.channel_id));
        }
    });
}

#[test]
fn random_bytes_as_ticks_never_break_the_parser() {
    bolero::check!().with_iterations(20_000).with_type::<(u8, u8, Vec<u8>)>().for_each(|(s, l, data)| {
        let (s, l, n) = (s.to_string(), l.to_string(), (data.len() / 64).to_string());
        let fields: [(&[u8], &[u8]); 5] =
            [(b"c", b"0"), (b"s", s.as_bytes()), (b"l", l.as_bytes()), (b"n", n.as_bytes()), (b"d", data)];
        let _ = Entry::parse(fields);
    });
}
