//! CME's own packets, one line of them: what the arbiter would deliver.

use super::*;
use std::collections::BTreeMap;
use tick::Action;

/// Line A of the v6 capture through a decoder with this version of CME's file.
fn v6(version: u16) -> Option<(Output, BTreeMap<String, u64>)> {
    let schema = Schema::parse(&capture::template_file(version)?).expect("CME's file");
    let mut decoder = Mdp3::new(PUBLISHER, CHANNEL, Arc::new(schema));
    let mut output = Output::default();
    for packet in capture::v6()?.iter().filter(|packet| packet.group.octets()[2] == 31) {
        deliver(&mut decoder, &packet.payload, &mut output);
    }
    let mut counts = BTreeMap::new();
    decoder.message_counts(&mut |name, count| {
        counts.insert(name.to_owned(), count);
    });
    Some((output, counts))
}

#[test]
fn one_line_of_the_v6_capture_gives_half_of_the_sums_of_both() {
    let Some((output, counts)) = v6(6) else { return };
    assert_eq!(output.malformed, []);
    let levels: Vec<_> = output.ticks.iter().filter(|tick| tick.flags.contains(Flags::MBP)).collect();
    let sizes: u64 = levels.iter().map(|tick| u64::from(tick.size)).sum();
    let prices: i64 = levels.iter().map(|tick| tick.price / 100).sum();
    assert_eq!((levels.len(), sizes, prices), (14_574, 1_465_189, 32_163_917_500_000));
    let expected = [("12", 9), ("32", 9_569), ("35", 307), ("37", 194), ("42", 194)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn a_newer_file_that_still_has_the_templates_gives_the_same_ticks() {
    let (Some(v6_file), Some(v9_file)) = (v6(6), v6(9)) else { return };
    assert_eq!(v6_file, v9_file);
}

#[test]
fn every_trade_of_the_v6_capture_has_as_many_fills_as_it_announced() {
    let Some((output, _)) = v6(6) else { return };
    let count = |action| output.ticks.iter().filter(|tick| tick.action == action).count();
    let traded: u64 = output
        .ticks
        .iter()
        .filter(|tick| tick.action == Action::Trade)
        .map(|tick| u64::from(tick.size))
        .sum();
    // By sbedecoder: 355 trades of 1,085 contracts, 202 of them with an aggressor; 567 order details, of which
    // 338 have no order id.
    assert_eq!((count(Action::Trade), traded, count(Action::Fill)), (355, 1_085, 567 - 202));
    let named = |tick: &&Tick| matches!(tick.action, Action::Trade | Action::Fill) && tick.order_id != 0;
    assert_eq!(output.ticks.iter().filter(named).count(), 567 - 338);
}

#[test]
fn each_instrument_of_the_v6_capture_ends_its_events_on_its_own_last_tick() {
    let Some((output, _)) = v6(6) else { return };
    let mut open = std::collections::HashMap::new();
    for tick in &output.ticks {
        // Between two ends of an instrument there is one event: all its ticks have one time.
        match (open.get(&tick.instrument_id), tick.flags.contains(Flags::LAST)) {
            (Some(&time), _) if time != tick.ts_event => panic!("{tick:?} is in an event of {time}"),
            (_, true) => drop(open.remove(&tick.instrument_id)),
            (_, false) => drop(open.insert(tick.instrument_id, tick.ts_event)),
        }
    }
    assert!(open.len() <= 2, "the capture ends inside at most one event: {open:?}");
}

#[test]
fn the_v9_capture_gives_the_same_ticks_by_v9_by_v13_and_by_our_own_file() {
    let Some(packets) = capture::v9() else { return };
    let by = |xml: &str| {
        let mut decoder = Mdp3::new(PUBLISHER, CHANNEL, Arc::new(Schema::parse(xml).expect("template file")));
        let mut output = Output::default();
        packets.iter().for_each(|packet| deliver(&mut decoder, &packet.payload, &mut output));
        output
    };
    let v9 = by(&capture::template_file(9).expect("file"));
    assert_eq!(v9.malformed, []);
    let by_order = v9.ticks.iter().filter(|tick| tick.order_id != 0 && tick.action != Action::None).count();
    assert!(by_order > 100, "the capture has orders behind its levels: {by_order}");
    assert_eq!(v9, by(&capture::template_file(13).expect("file")));
    assert_eq!(v9, by(FIXTURE));
}
