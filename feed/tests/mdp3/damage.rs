//! Broken packets: counted, never delivered half, never a panic.

use super::*;
use feed::Header;

/// Decodes bytes that `header` may have refused, as if the check had been passed.
fn decode_anyway(decoder: &mut Mdp3, payload: &[u8], output: &mut Output) {
    let stamp = Stamp { recv_ns: RECV_NS, clock: Clock(0) };
    let header =
        Header { session: 0, first: 1, count: 1, send_ns: 0, kind: feed::PacketKind::Data, reset: false };
    let (skip, take, source, flags) = (0, 1, Source::A, Flags::NONE);
    let delivery = Delivery { payload, header, sequence: 1, skip, take, source, stamp, flags };
    let mut malformed = Vec::new();
    decoder.decode(&delivery, output, &mut |fault| malformed.push(fault));
    for fault in malformed {
        assert!(fault.offset as usize <= payload.len(), "{fault}");
        output.malformed.push(fault);
    }
}

#[test]
fn a_packet_cut_anywhere_but_between_messages_is_refused_by_its_header() {
    let mut samples = vec![packet(|packet| {
        packet.book(EVENT_NS, 0, &[LEVEL; 2], &[])?;
        packet.channel_reset(EVENT_NS, 1)
    })];
    samples.extend(capture::v9().into_iter().flatten().map(|packet| packet.payload).take(20));
    samples.extend(capture::v6().into_iter().flatten().map(|packet| packet.payload).step_by(997));
    let decoder = decoder();
    for whole in samples {
        let ends: Vec<_> = wire::mdp3::Messages::new(&whole)
            .map(|message| message.map(|message| message.offset() + message.bytes().len()).expect("whole"))
            .collect();
        for end in 0..whole.len() {
            let sound = decoder.header(&whole[..end]).is_ok();
            assert_eq!(sound, end == 12 || ends.contains(&end), "cut at {end} of {}", whole.len());
        }
    }
}

#[test]
fn whatever_a_packet_says_decoding_it_ends_and_reports_inside_it() {
    let (decoder, samples) = (
        decoder(),
        [
            packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL; 4], &[])),
            packet(|packet| packet.channel_reset(EVENT_NS, 1)),
            packet(|packet| packet.security_status(EVENT_NS, None, "ES", 1)),
        ],
    );
    // Bytes to write over a sound packet, and bytes that are the packet.
    bolero::check!().with_iterations(30_000).with_max_len(1_500).with_type::<(u8, Vec<(u8, u8)>)>().for_each(
        |(sample, changes)| {
            let mut payload = samples[usize::from(*sample) % samples.len()].clone();
            for &(at, byte) in changes {
                let at = usize::from(at) % payload.len();
                payload[at] = byte;
            }
            let _ = decoder.header(&payload);
            decode_anyway(&mut decoder.clone(), &payload, &mut Output::default());
        },
    );
}

#[test]
fn fuzz_header_and_decode() {
    let decoder = decoder();
    bolero::check!().with_iterations(20_000).with_max_len(2_048).with_type::<Vec<u8>>().for_each(|payload| {
        let _ = decoder.header(payload);
        decode_anyway(&mut decoder.clone(), payload, &mut Output::default());
    });
}

#[test]
fn overwritten_real_packets_are_decoded_without_a_panic() {
    let Some(packets) = capture::v9() else { return };
    let schema = Schema::parse(&capture::template_file(13).expect("file")).expect("CME's file");
    let mut decoder = Mdp3::new(PUBLISHER, CHANNEL, Arc::new(schema));
    let mut state = 1u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut output = Output::default();
    for round in 0..20_000 {
        let mut payload = packets[round % packets.len()].payload.clone();
        for _ in 0..=random(5) {
            let at = random(payload.len());
            payload[at] = random(256) as u8;
        }
        decode_anyway(&mut decoder, &payload, &mut output);
        output.ticks.clear();
    }
    assert!(output.malformed.len() > 1_000, "damage was noticed: {}", output.malformed.len());
}

#[test]
fn the_largest_datagram_full_of_the_smallest_entries_is_decoded() {
    let schema = fixture();
    let mut packet = PacketWriter::new(&schema);
    packet.begin(1, SEND_NS);
    while packet.bytes().len() < 60_000 {
        let levels: Vec<_> = (0..255).map(|id| BookEntry { security_id: id, ..LEVEL }).collect();
        packet.book(EVENT_NS, 0, &levels, &[]).expect("fits");
    }
    let entries = ticks(packet.bytes()).len();
    assert_eq!(entries % 255, 0);
    assert!(entries > 1_500);
}
