//! Where an event ends for each instrument.

use super::*;
use std::collections::HashMap;
use tick::Action;

fn level(security_id: i32) -> BookEntry {
    BookEntry { security_id, ..LEVEL }
}

/// (instrument, has LAST) of each tick.
fn ends(ticks: &[Tick]) -> Vec<(u32, bool)> {
    ticks.iter().map(|tick| (tick.instrument_id, tick.flags.contains(Flags::LAST))).collect()
}

#[test]
fn the_last_tick_of_each_instrument_in_an_event_is_marked() {
    let payload = packet(|packet| {
        packet.book(EVENT_NS, 0, &[level(1), level(2), level(1)], &[])?;
        packet.book(EVENT_NS, END_OF_EVENT, &[level(3), level(3)], &[])?;
        packet.book(EVENT_NS + 1, END_OF_EVENT, &[level(2)], &[])
    });
    let expected = [(1, false), (2, true), (1, true), (3, false), (3, true), (2, true)];
    assert_eq!(ends(&ticks(&payload)), expected);
}

#[test]
fn a_message_without_entries_can_end_an_event() {
    let payload = packet(|packet| {
        packet.book(EVENT_NS, 4, &[level(1)], &[])?;
        packet.book(EVENT_NS, END_OF_EVENT, &[], &[])
    });
    assert_eq!(ends(&ticks(&payload)), [(1, true)]);
}

#[test]
fn an_instrument_whose_ticks_left_with_an_earlier_packet_gets_an_empty_tick_at_the_end() {
    let mut decoder = decoder();
    let mut output = Output::default();
    deliver(
        &mut decoder,
        &packet(|packet| packet.book(EVENT_NS, 0, &[level(1), level(2)], &[])),
        &mut output,
    );
    assert_eq!(ends(&output.ticks), [(1, false), (2, false)], "nothing is held back over packets");
    let end = packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[level(2)], &[]));
    deliver_flagged(&mut decoder, &end, Flags::MAYBE_BAD_BOOK, &mut output);
    assert_eq!(ends(&output.ticks)[2..], [(2, true), (1, true)]);
    let flags = Flags::LAST | Flags::MAYBE_BAD_BOOK;
    assert_eq!(output.ticks[3], Tick { instrument_id: 1, action: Action::None, flags, ..BASE });
}

#[test]
fn a_reset_forgets_the_open_event() {
    let mut decoder = decoder();
    let mut output = Output::default();
    deliver(&mut decoder, &packet(|packet| packet.book(EVENT_NS, 0, &[level(1)], &[])), &mut output);
    decoder.reset();
    deliver(&mut decoder, &packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[], &[])), &mut output);
    assert_eq!(output.ticks.len(), 1);
}

#[test]
fn what_is_sent_again_in_recovery_is_marked_as_a_snapshot() {
    let payload = packet(|packet| packet.book(EVENT_NS, END_OF_EVENT | 1 << 5, &[level(1)], &[]));
    assert_eq!(ticks(&payload)[0].flags, LAST_LEVEL | Flags::SNAPSHOT);
}

#[test]
fn an_event_of_more_instruments_than_are_remembered_still_ends_once_for_each() {
    let mut decoder = decoder();
    let mut output = Output::default();
    for first in (0..1_500).step_by(100) {
        let levels: Vec<_> = (first..first + 100).map(level).collect();
        deliver(&mut decoder, &packet(|packet| packet.book(EVENT_NS, 0, &levels, &[])), &mut output);
    }
    deliver(&mut decoder, &packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[], &[])), &mut output);
    let mut ended = HashMap::new();
    for (instrument, _) in ends(&output.ticks).into_iter().filter(|&(_, last)| last) {
        *ended.entry(instrument).or_insert(0) += 1;
    }
    assert_eq!(ended.len(), 1_500);
    assert!(ended.values().all(|&times| times == 1));
}

#[test]
fn however_events_are_cut_into_packets_each_instrument_ends_exactly_once_and_last() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<(u8, u8)>>().for_each(|steps| {
        let mut decoder = decoder();
        let mut output = Output::default();
        let mut touched: HashMap<u32, usize> = HashMap::new();
        let mut seen = 0;
        for &(instrument, cut) in steps {
            let ends_event = cut % 5 == 0;
            let indicator = if ends_event { END_OF_EVENT } else { 0 };
            let levels = [level(i32::from(instrument % 4) + 1)];
            // One message to a packet or two: the second names another instrument.
            let payload = packet(|packet| {
                if cut % 2 == 0 {
                    packet.book(EVENT_NS, 0, &[level(9)], &[])?;
                }
                packet.book(EVENT_NS, indicator, &levels, &[])
            });
            deliver(&mut decoder, &payload, &mut output);
            for tick in &output.ticks[seen..] {
                let open = touched.entry(tick.instrument_id).or_insert(0);
                if tick.flags.contains(Flags::LAST) {
                    assert!(*open > 0 || tick.action != Action::None, "an end without an event");
                    *open = usize::MAX;
                } else {
                    assert_ne!(*open, usize::MAX, "a tick after its instrument's end");
                    *open += 1;
                }
            }
            seen = output.ticks.len();
            if ends_event {
                assert!(touched.values().all(|&open| open == usize::MAX), "{touched:?}");
                touched.clear();
            }
        }
    });
}
