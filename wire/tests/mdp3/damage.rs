//! Packets cut short, overwritten and made up: every read stays inside the packet.

use super::{Random, capture, fixture};
use std::hint::black_box;
use wire::mdp3::encode::{BookEntry, BookOrder, PacketWriter};
use wire::mdp3::{FrameError, FrameReason, Messages, PACKET_HEADER_BYTES, PacketHeader, Schema};

/// Reads every field of every block of every message by its template. Returns the messages read whole.
fn read_all(schema: &Schema, packet: &[u8]) -> (usize, Option<FrameError>) {
    let mut whole = 0;
    for message in Messages::new(packet) {
        let message = match message {
            Ok(message) => message,
            Err(error) => return (whole, Some(error)),
        };
        assert!(message.offset() + message.bytes().len() <= packet.len());
        let Some(template) = schema.template(message.template_id) else { continue };
        let root = message.root();
        for field in &template.fields {
            black_box(field.read(&root));
        }
        template.root.security_group.get(&root);
        template.instrument.symbol.get(&root);
        let mut groups = message.groups();
        let mut sound = true;
        for (place, group) in template.groups.iter().enumerate() {
            let Ok(entries) = groups.open(&template.groups, place) else {
                sound = false;
                break;
            };
            assert!(entries.get(entries.len()).is_none());
            for block in entries.blocks() {
                for field in &group.fields {
                    black_box(field.read(&block));
                }
            }
        }
        whole += usize::from(sound);
    }
    (whole, None)
}

fn own_packet(schema: &Schema) -> Vec<u8> {
    let level = BookEntry {
        price: Some(1),
        size: 2,
        security_id: 3,
        rpt_seq: 4,
        number_of_orders: 5,
        level: 6,
        update_action: 0,
        entry_type: b'0',
    };
    let order = BookOrder { order_id: 7, quantity: 8, reference_id: 1, update_action: 0 };
    let mut packet = PacketWriter::new(schema);
    packet.begin(1, 2);
    packet.book(3, 0, &[level; 3], &[order; 2]).expect("fits");
    packet.heartbeat().expect("fits");
    packet.channel_reset(4, 5).expect("fits");
    packet.bytes().to_vec()
}

/// Every prefix of a packet: whole messages are read, the cut one is a fault at its start.
fn cut_everywhere(schema: &Schema, packet: &[u8]) {
    let messages = Messages::new(packet).map(|message| message.expect("whole"));
    let places: Vec<_> =
        messages.map(|message| message.offset()..message.offset() + message.bytes().len()).collect();
    for end in 0..packet.len() {
        let cut = &packet[..end];
        assert_eq!(PacketHeader::read(cut).is_some(), end >= PACKET_HEADER_BYTES);
        let whole = places.iter().filter(|place| place.end <= end).count();
        let fault = places.get(whole).filter(|place| place.start < end).map(|place| {
            let header_is_cut = end - place.start < wire::mdp3::MESSAGE_HEADER_BYTES;
            let reason = if header_is_cut { FrameReason::Trailing } else { FrameReason::Length };
            FrameError { reason, offset: place.start }
        });
        assert_eq!(read_all(schema, cut), (whole, fault), "cut at {end}");
    }
}

#[test]
fn our_own_packet_cut_at_every_byte_is_read_up_to_the_message_that_is_cut() {
    let schema = fixture();
    cut_everywhere(&schema, &own_packet(&schema));
}

#[test]
fn real_packets_cut_at_every_byte_are_read_up_to_the_message_that_is_cut() {
    let (Some(v6), Some(v9)) = (capture::v6(), capture::v9()) else { return };
    let of_version =
        |version| Schema::parse(&capture::template_file(version).expect("file")).expect("CME's file");
    let (schema6, schema9) = (of_version(6), of_version(9));
    v6.iter().step_by(101).for_each(|packet| cut_everywhere(&schema6, &packet.payload));
    v9.iter().for_each(|packet| cut_everywhere(&schema9, &packet.payload));
}

#[test]
fn a_group_that_promises_more_than_the_message_holds_is_refused() {
    let schema = fixture();
    let template = schema.template(46).expect("there");
    let whole = own_packet(&schema);
    let dimension = PACKET_HEADER_BYTES + wire::mdp3::MESSAGE_HEADER_BYTES + 11;
    let open = |block_length: u16, count: u8| {
        let mut packet = whole.clone();
        packet[dimension..dimension + 2].copy_from_slice(&block_length.to_le_bytes());
        packet[dimension + 2] = count;
        let message = Messages::new(&packet).next().expect("one").expect("whole");
        message.groups().open(&template.groups, 0).map(|group| group.len())
    };
    assert_eq!(open(32, 3), Ok(3));
    assert_eq!(open(0, 0), Ok(0));
    let fault = Err(FrameError { reason: FrameReason::Length, offset: dimension });
    // What follows the three entries in the message is a group of 8 + 2 × 24 bytes: room for one entry more.
    assert_eq!(open(32, 4), Ok(4));
    assert_eq!(open(32, 5), fault);
    assert_eq!(open(u16::MAX, 1), fault);
    assert_eq!(open(0, 1), fault, "entries without a byte");
}

#[test]
fn message_sizes_that_cannot_be_are_faults_where_they_stand() {
    let schema = fixture();
    let whole = own_packet(&schema);
    let second = Messages::new(&whole).nth(1).expect("two").expect("whole").offset();
    for size in [0, 1, 9, 11 + 0x8000, u16::MAX] {
        let mut packet = whole.clone();
        packet[second..second + 2].copy_from_slice(&size.to_le_bytes());
        let fault = FrameError { reason: FrameReason::Length, offset: second };
        assert_eq!(read_all(&schema, &packet), (1, Some(fault)), "size {size}");
    }
    let mut packet = whole.clone();
    packet[second + 2] = 1;
    let fault = FrameError { reason: FrameReason::Length, offset: second };
    assert_eq!(read_all(&schema, &packet), (1, Some(fault)), "a root block longer than its message");
}

#[test]
fn overwritten_real_packets_never_read_outside_themselves() {
    let Some(packets) = capture::v9() else { return };
    let schema = Schema::parse(&capture::template_file(13).expect("file")).expect("CME's file");
    let mut random = Random(7);
    for round in 0..20_000 {
        let mut packet = packets[round % packets.len()].payload.clone();
        for _ in 0..=random.below(6) {
            let at = random.below(packet.len());
            packet[at] = random.next() as u8;
        }
        read_all(&schema, &packet);
    }
}

#[test]
fn fuzz_the_framing_and_every_field() {
    let schema = fixture();
    bolero::check!().with_iterations(20_000).with_max_len(2_048).with_type::<Vec<u8>>().for_each(|bytes| {
        read_all(&schema, bytes);
    });
}
