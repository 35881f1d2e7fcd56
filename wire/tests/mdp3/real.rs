//! CME's own packets against the counts that two other tools gave.

use super::capture;
use std::collections::BTreeMap;
use wire::mdp3::{Kind, Messages, PacketHeader, Schema};

fn counts(packets: &[capture::Packet]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for packet in packets {
        for message in Messages::new(&packet.payload) {
            *counts.entry(message.expect("whole framing").template_id).or_default() += 1;
        }
    }
    counts
}

#[test]
fn the_v6_capture_holds_the_messages_that_others_counted() {
    let Some(packets) = capture::v6() else { return };
    assert_eq!(packets.len(), 10_000);
    assert_eq!(counts(&packets), BTreeMap::from([(12, 18), (32, 19_138), (35, 614), (37, 388), (42, 388)]));
    let sequences = |line: u8| {
        let on_line = packets.iter().filter(move |packet| packet.group.octets()[2] == line);
        on_line
            .map(|packet| PacketHeader::read(&packet.payload).expect("header").sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(31), (5615..=10_614).collect::<Vec<_>>());
    assert_eq!(sequences(32), (5615..=10_614).collect::<Vec<_>>());
}

#[test]
fn the_v9_capture_holds_the_messages_that_others_counted() {
    let Some(packets) = capture::v9() else { return };
    assert_eq!(counts(&packets), BTreeMap::from([(37, 8), (46, 170), (47, 8), (48, 8)]));
}

/// Entries, sum of sizes and sum of price mantissas over the book messages of a capture.
fn book_sums(packets: &[capture::Packet], schema: &Schema) -> (usize, i64, i64) {
    let (mut entries, mut sizes, mut mantissas) = (0, 0, 0);
    for packet in packets {
        for message in Messages::new(&packet.payload).map(|message| message.expect("whole framing")) {
            let template = schema.template(message.template_id).expect("known template");
            let (Kind::Book, Some((place, plan))) = (template.kind, &template.entries) else { continue };
            let group = message.groups().open(&template.groups, *place).expect("whole group");
            for block in group.blocks() {
                entries += 1;
                sizes += plan.size.get(&block).unwrap_or(0);
                mantissas += plan.price.get(&block).unwrap_or(0);
            }
        }
    }
    (entries, sizes, mantissas)
}

#[test]
fn the_v6_books_add_up_by_their_own_template_file_and_by_a_newer_one_that_still_has_them() {
    let Some(packets) = capture::v6() else { return };
    for version in [6, 8, 9] {
        let schema =
            Schema::parse(&capture::template_file(version).expect("beside the captures")).expect("CME's");
        assert_eq!(book_sums(&packets, &schema), (29_148, 2_930_378, 64_327_835_000_000), "v{version}");
    }
}

#[test]
fn the_v9_books_read_the_same_by_the_template_files_of_v9_and_v13_and_by_our_own() {
    let Some(packets) = capture::v9() else { return };
    let by = |xml: &str| book_sums(&packets, &Schema::parse(xml).expect("template file"));
    let v9 = by(&capture::template_file(9).expect("beside the captures"));
    assert!(v9.0 > 170, "every book message has an entry: {v9:?}");
    assert_eq!(v9, by(&capture::template_file(13).expect("beside the captures")));
    assert_eq!(v9, by(wire::mdp3::FIXTURE));
}
