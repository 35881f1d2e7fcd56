//! Senders of another schema version than the file's: longer blocks, shorter blocks, groups not yet there.

use super::fixture;
use wire::mdp3::encode::{BookEntry, PacketWriter};
use wire::mdp3::{FIXTURE, MESSAGE_HEADER_BYTES, Messages, PACKET_HEADER_BYTES, Schema, Template};

const LEVEL: BookEntry = BookEntry {
    price: Some(5_000_000_000),
    size: 17,
    security_id: 42,
    rpt_seq: 9,
    number_of_orders: 3,
    level: 2,
    update_action: 1,
    entry_type: b'1',
};

/// What a reader with `schema` sees of a packet's only book message.
fn read(schema: &Schema, packet: &[u8]) -> Vec<[Option<i64>; 5]> {
    let message = Messages::new(packet).next().expect("a message").expect("whole");
    let template = schema.template(message.template_id).expect("known");
    let (place, plan) = template.entries.as_ref().expect("entries");
    let group = message.groups().open(&template.groups, *place).expect("whole group");
    let fields = [plan.price.mantissa, plan.size, plan.security_id, plan.level, plan.entry_type];
    group.blocks().map(|block| fields.map(|field| field.get(&block))).collect()
}

fn written(schema: &Schema) -> Vec<u8> {
    let mut packet = PacketWriter::new(schema);
    packet.begin(1, 2);
    packet.book(3, 0x80, &[LEVEL, BookEntry { level: 3, price: None, ..LEVEL }], &[]).expect("fits");
    packet.bytes().to_vec()
}

const EXPECTED: [[Option<i64>; 5]; 2] = [
    [Some(5_000_000_000), Some(17), Some(42), Some(2), Some(b'1' as i64)],
    [None, Some(17), Some(42), Some(3), Some(b'1' as i64)],
];

#[test]
fn blocks_that_a_newer_sender_made_longer_are_stepped_by_their_own_length() {
    let newer = FIXTURE
        .replace(r#"id="46" blockLength="11""#, r#"id="46" blockLength="23""#)
        .replace(r#"id="268" blockLength="32""#, r#"id="268" blockLength="47""#);
    let newer = Schema::parse(&newer).expect("sound");
    assert_eq!(read(&fixture(), &written(&fixture())), EXPECTED);
    assert_eq!(read(&fixture(), &written(&newer)), EXPECTED);
}

#[test]
fn groups_that_a_newer_sender_added_at_the_end_are_passed_over() {
    let newer = FIXTURE.replace(
        "</sbe:message>",
        r#"<group name="Later" id="9" blockLength="4" dimensionType="groupSize"><field name="X" type="I32"/></group></sbe:message>"#,
    );
    let newer = Schema::parse(&newer).expect("sound");
    let mut packet = PacketWriter::new(&newer);
    packet.begin(1, 2);
    let template = newer.template(46).expect("there");
    let mut message = packet.message(template);
    message.group("Later", 3).expect("there");
    message.finish().expect("fits");
    let ours = fixture();
    assert_eq!(read(&ours, packet.bytes()), [[None; 5]; 0]);
}

#[test]
fn a_field_that_a_shorter_block_does_not_reach_is_absent_and_its_neighbours_are_not() {
    let schema = fixture();
    let whole = written(&schema);
    let entries = PACKET_HEADER_BYTES + MESSAGE_HEADER_BYTES + 11 + 3;
    for length in 1..32 {
        let mut packet = whole[..entries + length].to_vec();
        packet[entries - 3..entries].copy_from_slice(&[length as u8, 0, 1]);
        packet.extend([24, 0, 0, 0, 0, 0, 0, 0]);
        let size = (packet.len() - PACKET_HEADER_BYTES) as u16;
        packet[PACKET_HEADER_BYTES..PACKET_HEADER_BYTES + 2].copy_from_slice(&size.to_le_bytes());
        let expected: Vec<_> = [8, 12, 16, 25, 27]
            .iter()
            .zip(EXPECTED[0])
            .map(|(&end, value)| if end <= length { value } else { None })
            .collect();
        assert_eq!(read(&schema, &packet), [expected.as_slice()], "block of {length}");
    }
}

/// The v9 file with one field and one group that came later.
fn later(version: u16) -> Schema {
    let xml = FIXTURE
        .replace(r#"version="9""#, &format!(r#"version="{version}""#))
        .replace(r#"type="U8" offset="24"/>"#, r#"type="U8" offset="24" sinceVersion="10"/>"#)
        .replace(r#"id="37705" blockLength"#, r#"id="37705" sinceVersion="11" blockLength"#);
    Schema::parse(&xml).expect("sound")
}

#[test]
fn a_field_and_a_group_that_the_senders_version_does_not_have_are_absent() {
    let reader = later(12);
    let has_level = |version: u16| {
        let [first, _] = read(&reader, &written(&later(version)))[..] else { panic!("two entries") };
        first[3].is_some()
    };
    assert_eq!([9, 10, 11, 99].map(has_level), [false, true, true, true]);

    // The older sender's message ends where the newer group would begin.
    let mut packet = written(&later(10));
    packet.truncate(packet.len() - 8);
    let size = (packet.len() - PACKET_HEADER_BYTES) as u16;
    packet[PACKET_HEADER_BYTES..PACKET_HEADER_BYTES + 2].copy_from_slice(&size.to_le_bytes());
    let open = |packet: &[u8], place: usize| {
        let message = Messages::new(packet).next().expect("a message").expect("whole");
        let template: &Template = reader.template(46).expect("there");
        message.groups().open(&template.groups, place).map(|group| group.len())
    };
    assert_eq!((open(&packet, 0), open(&packet, 1)), (Ok(2), Ok(0)));
    packet[PACKET_HEADER_BYTES + 8] = 11;
    assert!(open(&packet, 1).is_err(), "this version has the group, so its header must be there");
}
