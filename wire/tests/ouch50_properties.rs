//! OUCH 5.0 under any bytes: what is read is written back the same, what is refused is refused by a plain
//! reading of the specification's tables, too.

use wire::ouch50::*;

/// Letter, bytes of the fixed part, and whether an appendage may be absent (`Some(true)`), must be there
/// (`Some(false)`) or must not (`None`). Written out apart from the codec's own table.
type Shape = (u8, usize, Option<bool>);

const TO_MARKET: [Shape; 8] = [
    (b'O', 45, Some(false)),
    (b'U', 38, Some(false)),
    (b'X', 9, Some(true)),
    (b'M', 10, Some(true)),
    (b'C', 17, Some(false)),
    (b'D', 9, Some(false)),
    (b'E', 9, Some(false)),
    (b'Q', 1, Some(true)),
];

const FROM_MARKET: [Shape; 17] = [
    (b'S', 10, None),
    (b'A', 62, Some(false)),
    (b'U', 66, Some(false)),
    (b'C', 18, Some(true)),
    (b'D', 32, Some(true)),
    (b'E', 34, Some(true)),
    (b'B', 36, Some(true)),
    (b'J', 29, Some(true)),
    (b'P', 13, Some(true)),
    (b'I', 13, Some(true)),
    (b'T', 30, Some(true)),
    (b'M', 18, Some(true)),
    (b'R', 14, Some(false)),
    (b'X', 25, Some(false)),
    (b'G', 17, Some(false)),
    (b'K', 17, Some(false)),
    (b'Q', 13, Some(true)),
];

/// Tags by the width of their value.
const WIDTHS: [(usize, &[u8]); 4] = [
    (1, &[4, 6, 10, 12, 16, 17, 18, 25, 27, 28, 29]),
    (2, &[24, 30]),
    (4, &[2, 3, 5, 7, 11, 13, 14, 15, 22, 26]),
    (8, &[1, 9, 23]),
];

/// Whether the tables allow these bytes as a message.
fn allowed(bytes: &[u8], shapes: &[Shape]) -> bool {
    let Some(&(_, fixed, appendage)) =
        bytes.first().and_then(|letter| shapes.iter().find(|shape| shape.0 == *letter))
    else {
        return false;
    };
    if bytes.len() <= fixed {
        return bytes.len() == fixed && appendage != Some(false);
    }
    if appendage.is_none() || bytes.len() < fixed + 2 {
        return false;
    }
    let mut at = fixed + 2;
    if usize::from(bytes[fixed]) * 256 + usize::from(bytes[fixed + 1]) != bytes.len() - at {
        return false;
    }
    while at < bytes.len() {
        let length = usize::from(bytes[at]);
        if length == 0 || at + 1 + length > bytes.len() {
            return false;
        }
        let width = WIDTHS.iter().find(|(_, tags)| tags.contains(&bytes[at + 1]));
        if width.is_some_and(|(width, _)| *width != length - 1) {
            return false;
        }
        at += 1 + length;
    }
    true
}

/// Offset that an error names, if it names one.
fn offset(error: MessageError) -> Option<usize> {
    match error {
        MessageError::TrailingBytes { offset }
        | MessageError::AppendagePastEnd { offset }
        | MessageError::NoTag { offset }
        | MessageError::TagPastEnd { offset }
        | MessageError::WrongTagSize { offset, .. } => Some(offset),
        MessageError::Empty | MessageError::UnknownType(_) | MessageError::TooShort { .. } => None,
    }
}

fn check_tags(appendage: Appendage<'_>) {
    let mut memory = vec![0; appendage.as_bytes().len()];
    let mut writer = AppendageWriter::new(&mut memory);
    for tag in appendage.tags() {
        writer.push(tag).expect("as long as what was read");
    }
    assert_eq!(writer.finish().as_bytes(), appendage.as_bytes());
}

macro_rules! check {
    ($direction:ident, $bytes:expr, $shapes:expr) => {{
        let bytes: &[u8] = $bytes;
        let parsed = $direction::parse(bytes);
        assert_eq!(parsed.is_ok(), allowed(bytes, $shapes), "{parsed:?} of {bytes:02x?}");
        match parsed {
            Ok((message, appendage)) => {
                let mut buffer = vec![0xEE; bytes.len() + 1];
                assert_eq!(message.write(appendage, &mut buffer), Ok(bytes.len()));
                assert_eq!((&buffer[..bytes.len()], buffer[bytes.len()]), (bytes, 0xEE));
                check_tags(appendage);
            }
            Err(error) => assert!(offset(error).is_none_or(|offset| offset < bytes.len())),
        }
    }};
}

fn check(bytes: &[u8]) {
    check!(Inbound, bytes, &TO_MARKET);
    check!(Outbound, bytes, &FROM_MARKET);
}

#[test]
fn the_tables_of_the_codec_are_those_of_the_specification() {
    let plain = |shapes: &[Shape]| shapes.iter().map(|shape| (shape.0, shape.1)).collect::<Vec<_>>();
    assert_eq!(Inbound::TYPES, plain(&TO_MARKET));
    assert_eq!(Outbound::TYPES, plain(&FROM_MARKET));
    assert_eq!(Tag::KNOWN.len(), 26);
    for &(width, tags) in &WIDTHS {
        assert!(tags.iter().all(|&tag| Tag::KNOWN.contains(&(tag, width))));
    }
}

#[test]
fn a_message_of_any_length_is_read_or_refused_as_the_tables_say() {
    for &(letter, ..) in TO_MARKET.iter().chain(&FROM_MARKET) {
        for fill in [0, 1, 2, 0xFF] {
            let bytes = [&[letter][..], &[fill; 90]].concat();
            (0..bytes.len()).for_each(|length| check(&bytes[..length]));
        }
    }
    for letter in 0..=u8::MAX {
        check(&[letter; 45]);
    }
}

#[test]
fn any_bytes_are_read_or_refused_as_the_tables_say() {
    bolero::check!().with_iterations(20_000).for_each(|input: &[u8]| check(input));
}

/// A message of a known type with a chain of known and unknown tags.
fn message(letter: u8, fill: &[u8], tags: &[(u8, u8)], present: bool, shapes: &[Shape]) -> Vec<u8> {
    let (letter, fixed, appendage) = shapes[usize::from(letter) % shapes.len()];
    let fill = fill.iter().copied().chain(std::iter::repeat(b' '));
    let mut bytes: Vec<u8> = std::iter::once(letter).chain(fill).take(fixed).collect();
    if appendage == Some(false) || (appendage.is_some() && present) {
        let mut chain = Vec::new();
        for &(number, value) in tags.iter().take(6) {
            let number = number % 34;
            let width = WIDTHS.iter().find(|(_, tags)| tags.contains(&number));
            let width = width.map_or(usize::from(value % 5), |(width, _)| *width);
            chain.extend([width as u8 + 1, number]);
            chain.extend(std::iter::repeat_n(value, width));
        }
        bytes.extend((chain.len() as u16).to_be_bytes());
        bytes.extend(chain);
    }
    bytes
}

#[test]
fn a_whole_message_is_read_and_written_back_the_same_and_a_damaged_one_as_the_tables_say() {
    type Input = (u8, Vec<u8>, Vec<(u8, u8)>, bool, bool, Vec<(u16, u8)>, u16);
    bolero::check!().with_type::<Input>().with_iterations(20_000).for_each(
        |(letter, fill, tags, present, inbound, replace, cut)| {
            let shapes = if *inbound { &TO_MARKET[..] } else { &FROM_MARKET };
            let mut bytes = message(*letter, fill, tags, *present, shapes);
            assert!(allowed(&bytes, shapes));
            check(&bytes);
            for &(at, byte) in replace.iter().take(2) {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            check(&bytes);
            bytes.truncate(usize::from(*cut) % (bytes.len() + 1));
            check(&bytes);
        },
    );
}
