//! The transport header: framing, heartbeats, resets.

use super::*;
use feed::{Header, PacketKind};

#[test]
fn a_packet_covers_one_sequence_number_whatever_is_in_it() {
    let payload = packet(|packet| {
        packet.book(EVENT_NS, 0, &[LEVEL; 3], &[])?;
        packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL], &[])
    });
    let expected =
        Header { session: 0, first: 100, count: 1, send_ns: SEND_NS, kind: PacketKind::Data, reset: false };
    assert_eq!(decoder().header(&payload), Ok(expected));
}

#[test]
fn a_packet_of_heartbeats_alone_is_a_heartbeat_and_gives_no_tick() {
    let heartbeat = packet(|packet| packet.heartbeat());
    let header = decoder().header(&heartbeat).expect("whole");
    assert_eq!((header.kind, header.count, header.first), (PacketKind::Heartbeat, 1, 100));
    assert_eq!(decoded(&heartbeat), Output::default());

    let mixed = packet(|packet| {
        packet.heartbeat()?;
        packet.security_status(EVENT_NS, Some(1), "ES", 17)
    });
    assert_eq!(decoder().header(&mixed).map(|header| header.kind), Ok(PacketKind::Data));
}

#[test]
fn a_channel_reset_is_seen_in_the_header_and_empties_every_book() {
    let payload = packet(|packet| packet.channel_reset(EVENT_NS, 310));
    assert_eq!(decoder().header(&payload).map(|header| header.reset), Ok(true));
    let [clear] = ticks(&payload)[..] else { panic!("one tick") };
    let contract = Tick::channel_clear(PUBLISHER, CHANNEL, BASE.sequence, RECV_NS);
    assert_eq!((clear.action, clear.instrument_id, clear.sequence), (contract.action, 0, contract.sequence));
    assert_eq!(clear, Tick { action: contract.action, flags: Flags::LAST, ..BASE });
}

#[test]
fn a_packet_with_broken_framing_is_refused_at_the_place_of_the_fault() {
    let whole = packet(|packet| {
        packet.heartbeat()?;
        packet.heartbeat()
    });
    let header =
        |payload: &[u8]| decoder().header(payload).map(|_| ()).map_err(|fault| (fault.reason, fault.offset));
    assert_eq!(header(&whole), Ok(()));
    for end in 0..12 {
        assert_eq!(header(&whole[..end]), Err((MalformedReason::ShortHeader, 0)));
    }
    for end in (13..22).chain(23..32) {
        let start = if end < 22 { 12 } else { 22 };
        assert_eq!(header(&whole[..end]), Err((MalformedReason::TrailingBytes, start)));
    }
    let sized = |size: u16| {
        let mut payload = whole.clone();
        payload[22..24].copy_from_slice(&size.to_le_bytes());
        header(&payload)
    };
    for size in [0, 9, 11, u16::MAX] {
        assert_eq!(sized(size), Err((MalformedReason::BadLength, 22)), "size {size}");
    }
}

#[test]
fn a_packet_whose_number_was_delivered_before_is_not_decoded() {
    let payload = packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL], &[]));
    let mut decoder = decoder();
    let header = decoder.header(&payload).expect("whole");
    for (skip, take, expected) in [(1, 0, 0), (0, 0, 0), (0, 1, 1)] {
        let stamp = Stamp { recv_ns: 0, clock: Clock(0) };
        let flags = Flags::NONE;
        let delivery =
            Delivery { payload: &payload, header, sequence: 1, skip, take, source: Source::A, stamp, flags };
        let mut output = Output::default();
        decoder.decode(&delivery, &mut output, &mut |_| panic!("sound"));
        assert_eq!(output.ticks.len(), expected);
    }
}

#[test]
fn messages_are_counted_under_their_template_and_unknown_ones_are_reported() {
    let mut payload = packet(|packet| {
        packet.heartbeat()?;
        packet.book(EVENT_NS, 0, &[LEVEL], &[])?;
        packet.heartbeat()?;
        packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL], &[])
    });
    let starts: Vec<_> =
        wire::mdp3::Messages::new(&payload).map(|message| message.expect("whole").offset()).collect();
    payload[starts[0] + 4] = 99; // a template that nobody knows
    payload[starts[1] + 6] = 2; // a known template of another schema
    let mut decoder = decoder();
    let mut output = Output::default();
    deliver(&mut decoder, &payload, &mut output);
    let unknown =
        |at: usize| Malformed { reason: MalformedReason::UnknownMessage, offset: starts[at] as u32 };
    assert_eq!(output.malformed, [unknown(0), unknown(1)]);
    assert_eq!(output.ticks.len(), 1);
    let mut counts = Vec::new();
    decoder.message_counts(&mut |name, count| counts.push((name.to_owned(), count)));
    assert_eq!(counts, [("12".to_owned(), 1), ("46".to_owned(), 1)]);
}
