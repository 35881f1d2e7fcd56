//! Every field of every ITCH message agrees with two independent readers, itchfeed and meatpy: of real
//! captures, and of bytes made here for the types that the captures lack.

mod itch_common;

use itch_common::{Lines, capture_packets, captured_messages, nasdaq_file, oracle, skip_without_oracle};
use std::collections::BTreeMap;
use wire::itch50::{Frames, Message};
use wire::moldudp64::Packet;

/// Asks both readers about the messages and compares every field with ours.
fn assert_readers_agree(messages: &[Vec<u8>]) {
    if skip_without_oracle() {
        return;
    }
    let theirs = oracle("itch_fields.py", messages);
    let mut lines = theirs.lines();
    for message in messages {
        let parsed = Message::parse(message).expect("whole message");
        let ours = parsed.fields_line();
        let readers: &[&str] = if message[0] == b'O' { &["itchfeed"] } else { &["itchfeed", "meatpy"] };
        for reader in readers {
            assert_eq!(lines.next(), Some(format!("{reader} {ours}").as_str()));
        }
    }
    assert_eq!(lines.next(), None);
}

fn count_by_type(messages: &[Vec<u8>]) -> BTreeMap<char, usize> {
    messages.iter().fold(BTreeMap::new(), |mut counts, message| {
        *counts.entry(char::from(message[0])).or_default() += 1;
        counts
    })
}

#[test]
fn the_thousand_real_messages_of_half_past_nine_agree_in_every_field() {
    let Some(file) = nasdaq_file("12302019_SNIPPET.NASDAQ_ITCH50") else { return };
    let messages: Vec<Vec<u8>> =
        Frames::new(&file).map(|frame| frame.expect("whole file").to_vec()).collect();
    let counts = [
        ('A', 367),
        ('C', 1),
        ('D', 167),
        ('E', 28),
        ('F', 193),
        ('I', 4),
        ('P', 4),
        ('Q', 4),
        ('S', 1),
        ('U', 225),
        ('X', 6),
    ];
    assert_eq!(count_by_type(&messages), BTreeMap::from(counts));
    assert_readers_agree(&messages);
}

#[test]
fn the_start_of_a_real_day_agrees_in_every_field_and_its_cut_tail_is_named() {
    let Some(file) = nasdaq_file("01302019_first4096bytes.NASDAQ_ITCH50") else { return };
    let frames: Vec<_> = Frames::new(&file).collect();
    let (tail, whole) = frames.split_last().expect("frames");
    let messages: Vec<Vec<u8>> = whole.iter().map(|frame| frame.expect("whole").to_vec()).collect();
    assert_eq!(count_by_type(&messages), BTreeMap::from([('H', 1), ('R', 98), ('S', 1), ('Y', 1)]));
    let cut = tail.expect_err("the file is cut in the middle of a message");
    let framed: usize = messages.iter().map(|message| 2 + message.len()).sum();
    assert_eq!(cut.offset, framed as u64);
    assert_readers_agree(&messages);
}

#[test]
fn the_nine_real_packets_name_their_session_and_agree_in_every_field() {
    let Some(packets) = capture_packets("Nasdaq/Nasdaq.Equities.TotalView.Itch.v5.0/") else { return };
    assert_eq!(packets.len(), 9);
    let mut counts = Vec::new();
    for packet in &packets {
        assert_eq!(packet.destination, ([233, 54, 12, 111], 26477));
        assert_eq!(packet.vlan, Some(141));
        let mold = Packet::parse(&packet.payload).expect("whole packet");
        assert_eq!(&mold.session(), b"000010059B");
        counts.push(mold.messages().count());
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 38]);
    assert_readers_agree(&captured_messages(&packets));
}

#[test]
fn the_packets_of_nasdaq_bx_and_psx_agree_in_every_field() {
    let Some(packets) = capture_packets("TotalView.Itch.v5.0.20230822/") else { return };
    let messages = captured_messages(&packets);
    let types: String = count_by_type(&messages).keys().collect();
    assert_eq!((packets.len(), messages.len(), types.as_str()), (178, 178, "ACDEFHIJLNPQSUXY"));
    assert_readers_agree(&messages);
}

#[test]
fn bytes_of_every_type_agree_in_every_field() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut messages = Vec::new();
    for &(letter, size) in Message::TYPES {
        for _ in 0..20 {
            let mut message: Vec<u8> = (0..size).map(|_| random()).collect();
            message[0] = letter;
            messages.push(message);
        }
        messages.push([&[letter][..], &vec![0xFF; size - 1]].concat());
    }
    assert_readers_agree(&messages);
}
