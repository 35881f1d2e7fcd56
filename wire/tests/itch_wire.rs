//! MoldUDP64 and ITCH 5.0 at their edges: layouts by byte, encode and decode, cut and hostile bytes.

mod itch_common;

use itch_common::capture_packets;
use wire::itch50::*;
use wire::moldudp64::{FrameError, Kind, MAX_COUNT, Messages, Packet, PacketFull, PacketWriter, Request};
use zerocopy::IntoBytes;

const SESSION: &[u8; 10] = b"000010059B";

fn packet(sequence: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut writer = PacketWriter::new(&mut buffer, *SESSION, sequence).expect("room");
    for message in messages {
        writer.push(message).expect("room");
    }
    writer.finish().to_vec()
}

#[test]
fn a_packet_has_the_bytes_of_the_specification() {
    let bytes = packet(0x0102_0304_0506_0708, &[b"AB", b"", b"C"]);
    let expected = b"000010059B\x01\x02\x03\x04\x05\x06\x07\x08\x00\x03\x00\x02AB\x00\x00\x00\x01C";
    assert_eq!(bytes, expected);
    let parsed = Packet::parse(&bytes).expect("whole");
    assert_eq!((parsed.session(), parsed.sequence()), (*SESSION, 0x0102_0304_0506_0708));
    assert_eq!(parsed.kind(), Kind::Data(3));
    assert_eq!(parsed.messages().collect::<Vec<_>>(), [&b"AB"[..], b"", b"C"]);
}

#[test]
fn a_heartbeat_and_the_end_of_a_session_carry_no_message() {
    let heartbeat = packet(7, &[]);
    assert_eq!(Packet::parse(&heartbeat).expect("whole").kind(), Kind::Heartbeat);
    let mut buffer = [0; 64];
    let mut writer = PacketWriter::new(&mut buffer, *SESSION, 9).expect("room");
    writer.push(b"left out").expect("room");
    let end = writer.end_of_session();
    let parsed = Packet::parse(end).expect("whole");
    assert_eq!((parsed.kind(), parsed.sequence(), end.len()), (Kind::EndOfSession, 9, 20));
    assert_eq!(parsed.messages().count(), 0);
}

#[test]
fn a_message_that_does_not_fit_leaves_the_packet_as_it_was() {
    let mut buffer = [0; 27];
    let mut writer = PacketWriter::new(&mut buffer, *SESSION, 1).expect("room");
    writer.push(b"ABCDE").expect("exactly fits");
    assert_eq!(writer.push(b""), Err(PacketFull));
    assert_eq!(writer.count(), 1);
    assert_eq!(Packet::parse(writer.finish()).expect("whole").messages().count(), 1);
    assert!(PacketWriter::new(&mut [0; 19], *SESSION, 1).is_err());
}

#[test]
fn a_packet_announces_at_most_the_count_below_the_end_of_session() {
    let mut buffer = vec![0; 20 + 2 * (usize::from(MAX_COUNT) + 1)];
    let mut writer = PacketWriter::new(&mut buffer, *SESSION, 1).expect("room");
    for _ in 0..MAX_COUNT {
        writer.push(b"").expect("room");
    }
    assert_eq!(writer.push(b""), Err(PacketFull));
    assert_eq!(Packet::parse(writer.finish()).expect("whole").kind(), Kind::Data(MAX_COUNT));
}

#[test]
fn a_request_is_read_back_and_nothing_but_20_bytes_is_one() {
    let request = Request::new(*SESSION, 258, 3);
    let bytes = request.as_bytes();
    assert_eq!(bytes, b"000010059B\0\0\0\0\0\0\x01\x02\0\x03");
    assert_eq!(Request::parse(bytes), Ok(&request));
    assert_eq!(Request::parse(&bytes[..19]), Err(FrameError::ShortHeader));
    let long = [bytes, b"x"].concat();
    assert_eq!(Request::parse(&long), Err(FrameError::TrailingBytes { offset: 20 }));
}

#[test]
fn hostile_lengths_and_counts_are_refused_with_their_offset() {
    let whole = packet(1, &[b"AB", b"CDE"]);
    let with = |at: usize, value: u16| {
        let mut bytes = whole.clone();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        Packet::parse(&bytes).map(|packet| packet.kind()).expect_err("not whole")
    };
    assert_eq!(with(20, 0xFFFF), FrameError::BlockPastEnd { offset: 20 });
    assert_eq!(with(24, 4), FrameError::BlockPastEnd { offset: 24 });
    assert_eq!(with(24, 2), FrameError::TrailingBytes { offset: 28 });
    assert_eq!(with(18, 1), FrameError::TrailingBytes { offset: 24 });
    assert_eq!(with(18, 3), FrameError::BlockPastEnd { offset: 29 });
    assert_eq!(with(18, 0), FrameError::TrailingBytes { offset: 20 });
    assert_eq!(with(18, 0xFFFF), FrameError::TrailingBytes { offset: 20 });
    let last = packet(u64::MAX, &[b"AB"]);
    assert_eq!(Packet::parse(&last).expect_err("not whole"), FrameError::SequenceOverflow);
    assert!(Packet::parse(&packet(u64::MAX - 1, &[b"AB"])).is_ok());
    assert!(Packet::parse(&packet(u64::MAX, &[])).is_ok());
}

#[test]
fn every_prefix_of_a_real_packet_is_refused_and_its_messages_stay_inside() {
    let Some(packets) = capture_packets("Nasdaq.Equities.TotalView.Itch.v5.0/") else { return };
    for captured in packets {
        let whole: Vec<&[u8]> = Packet::parse(&captured.payload).expect("whole").messages().collect();
        for length in 0..captured.payload.len() {
            let prefix = &captured.payload[..length];
            assert!(Packet::parse(prefix).is_err(), "{length}");
            let inside: Vec<&[u8]> = Messages::of(prefix).collect();
            assert!(whole.starts_with(&inside), "{length}");
        }
    }
}

#[test]
fn a_message_of_any_other_length_is_refused() {
    for &(message_type, expected) in Message::TYPES {
        let bytes = [&[message_type][..], &[0; 80]].concat();
        for actual in 1..bytes.len() {
            let parsed = Message::parse(&bytes[..actual]);
            if actual == expected {
                assert_eq!(parsed.expect("whole").head().message_type, message_type);
            } else {
                assert_eq!(parsed, Err(MessageError::WrongSize { message_type, expected, actual }));
            }
        }
    }
    assert_eq!(Message::parse(b""), Err(MessageError::Empty));
}

#[test]
fn the_specification_names_23_types_and_no_other_byte_is_one() {
    let types: Vec<u8> = Message::TYPES.iter().map(|&(letter, _)| letter).collect();
    assert_eq!(types, b"SRHYLVWKJhAFECXDUPQBINO");
    for letter in (0..=u8::MAX).filter(|letter| !types.contains(letter)) {
        assert_eq!(Message::parse(&[letter; 36]), Err(MessageError::UnknownType(letter)));
    }
}

/// The struct's bytes are the expected ones, and the expected ones read back as the struct.
macro_rules! assert_wire {
    ($name:ident { $($field:ident $(: $value:expr)?),* $(,)? }, $bytes:expr) => {{
        let message = $name { head: $name::head(0x0102, 0x0304, 0x0506_0708_090A), $($field $(: $value)?),* };
        let head: [u8; 11] = [$name::TYPE, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let bytes = [&head[..], $bytes].concat();
        assert_eq!(message.as_bytes(), bytes, stringify!($name));
        assert_eq!(bytes.len(), $name::SIZE);
        assert_eq!(Message::parse(&bytes), Ok(Message::$name(&message)));
    }};
}

#[test]
fn stock_messages_have_the_bytes_of_the_specification() {
    let stock = alpha("ZVZZT");
    assert_wire!(SystemEvent { event_code: b'Q' }, b"Q");
    assert_wire!(
        StockDirectory {
            stock,
            market_category: b'Q',
            financial_status: b'N',
            round_lot_size: 100.into(),
            round_lots_only: b'N',
            issue_classification: b'C',
            issue_sub_type: alpha("Z"),
            authenticity: b'T',
            short_sale_threshold: b'N',
            ipo_flag: b' ',
            luld_tier: b'1',
            etp_flag: b'Y',
            etp_leverage_factor: 3.into(),
            inverse_indicator: b'N',
        },
        b"ZVZZT   QN\0\0\0\x64NCZ TN 1Y\0\0\0\x03N"
    );
    assert_wire!(
        StockTradingAction { stock, trading_state: b'H', reserved: b' ', reason: alpha("T1") },
        b"ZVZZT   H T1  "
    );
    assert_wire!(RegSho { stock, action: b'1' }, b"ZVZZT   1");
    assert_wire!(
        MarketParticipantPosition {
            mpid: alpha("NITE"),
            stock,
            primary_market_maker: b'Y',
            market_maker_mode: b'N',
            state: b'A'
        },
        b"NITEZVZZT   YNA"
    );
    assert_wire!(
        MwcbDeclineLevel {
            level_1: Price8::new(1),
            level_2: Price8::new(256),
            level_3: Price8::new(u64::MAX)
        },
        b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\0\xff\xff\xff\xff\xff\xff\xff\xff"
    );
    assert_wire!(MwcbStatus { breached_level: b'2' }, b"2");
    assert_wire!(
        QuotingPeriodUpdate {
            stock,
            release_time_s: 36_000.into(),
            release_qualifier: b'A',
            ipo_price: Price4::new(170_000)
        },
        b"ZVZZT   \0\0\x8c\xa0A\0\x02\x98\x10"
    );
    assert_wire!(
        LuldAuctionCollar {
            stock,
            reference_price: Price4::new(1),
            upper_price: Price4::new(2),
            lower_price: Price4::new(3),
            extension: 4.into()
        },
        b"ZVZZT   \0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04"
    );
    assert_wire!(OperationalHalt { stock, market_code: b'B', action: b'T' }, b"ZVZZT   BT");
}

#[test]
fn order_messages_have_the_bytes_of_the_specification() {
    let stock = alpha("ZVZZT");
    let price = Price4::new(0x0102_0304);
    assert_wire!(
        AddOrder { order_reference: 5.into(), side: b'B', shares: 6.into(), stock, price },
        b"\0\0\0\0\0\0\0\x05B\0\0\0\x06ZVZZT   \x01\x02\x03\x04"
    );
    assert_wire!(
        AddOrderMpid {
            order_reference: 5.into(),
            side: b'S',
            shares: 6.into(),
            stock,
            price,
            attribution: alpha("NSDQ")
        },
        b"\0\0\0\0\0\0\0\x05S\0\0\0\x06ZVZZT   \x01\x02\x03\x04NSDQ"
    );
    assert_wire!(
        OrderExecuted { order_reference: 5.into(), executed_shares: 6.into(), match_number: 7.into() },
        b"\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0\0\0\0\0\x07"
    );
    assert_wire!(
        OrderExecutedWithPrice {
            order_reference: 5.into(),
            executed_shares: 6.into(),
            match_number: 7.into(),
            printable: b'N',
            execution_price: price
        },
        b"\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0\0\0\0\0\x07N\x01\x02\x03\x04"
    );
    assert_wire!(
        OrderCancel { order_reference: 5.into(), cancelled_shares: 6.into() },
        b"\0\0\0\0\0\0\0\x05\0\0\0\x06"
    );
    assert_wire!(OrderDelete { order_reference: 5.into() }, b"\0\0\0\0\0\0\0\x05");
    assert_wire!(
        OrderReplace { original_reference: 5.into(), new_reference: 6.into(), shares: 7.into(), price },
        b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\x07\x01\x02\x03\x04"
    );
}

#[test]
fn trade_and_auction_messages_have_the_bytes_of_the_specification() {
    let stock = alpha("ZVZZT");
    let price = Price4::new(0x0102_0304);
    assert_wire!(
        Trade {
            order_reference: 0.into(),
            side: b'B',
            shares: 6.into(),
            stock,
            price,
            match_number: 7.into()
        },
        b"\0\0\0\0\0\0\0\0B\0\0\0\x06ZVZZT   \x01\x02\x03\x04\0\0\0\0\0\0\0\x07"
    );
    assert_wire!(
        CrossTrade { shares: 6.into(), stock, cross_price: price, match_number: 7.into(), cross_type: b'O' },
        b"\0\0\0\0\0\0\0\x06ZVZZT   \x01\x02\x03\x04\0\0\0\0\0\0\0\x07O"
    );
    assert_wire!(BrokenTrade { match_number: 7.into() }, b"\0\0\0\0\0\0\0\x07");
    assert_wire!(
        NetOrderImbalance {
            paired_shares: 1.into(),
            imbalance_shares: 2.into(),
            imbalance_direction: b'S',
            stock,
            far_price: Price4::new(3),
            near_price: Price4::new(4),
            reference_price: Price4::new(5),
            cross_type: b'C',
            price_variation: b'L'
        },
        b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02SZVZZT   \0\0\0\x03\0\0\0\x04\0\0\0\x05CL"
    );
    assert_wire!(RetailInterest { stock, interest_flag: b'A' }, b"ZVZZT   A");
    assert_wire!(
        DirectListing {
            stock,
            open_eligibility: b'Y',
            minimum_price: Price4::new(1),
            maximum_price: Price4::new(2),
            near_price: Price4::new(3),
            near_time: 4.into(),
            lower_collar: Price4::new(5),
            upper_collar: Price4::new(6)
        },
        b"ZVZZT   Y\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0\x06"
    );
}

/// A packet of messages of the given types and filling, then damaged: bytes replaced, the end cut off.
fn damaged(messages: &[(u8, u8)], replace: &[(u16, u8)], cut: u16) -> Vec<u8> {
    let bodies: Vec<Vec<u8>> = messages
        .iter()
        .map(|&(pick, fill)| {
            let (letter, size) = Message::TYPES[usize::from(pick) % Message::TYPES.len()];
            [&[letter][..], &vec![fill; size - 1]].concat()
        })
        .collect();
    let mut bytes = packet(u64::from(cut), &bodies.iter().take(20).map(Vec::as_slice).collect::<Vec<_>>());
    for &(at, value) in replace {
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
    }
    bytes.truncate(bytes.len() - usize::from(cut) % 4 * (bytes.len() / 7));
    bytes
}

fn check_packet(input: &[u8]) {
    let inside = Messages::of(input).map(|message| 2 + message.len()).sum::<usize>();
    assert!(inside <= input.len());
    let Ok(packet) = Packet::parse(input) else { return };
    let mut buffer = vec![0; input.len()];
    let mut writer = PacketWriter::new(&mut buffer, packet.session(), packet.sequence()).expect("room");
    packet.messages().for_each(|message| writer.push(message).expect("room"));
    let written = match packet.kind() {
        Kind::EndOfSession => writer.end_of_session(),
        Kind::Data(_) | Kind::Heartbeat => writer.finish(),
    };
    assert_eq!(written, input);
}

fn check_message(input: &[u8]) {
    match (AddOrder::read_either(input), Message::parse(input)) {
        (Ok(add), Ok(Message::AddOrder(same))) => assert_eq!(add, same),
        (Ok(add), Ok(Message::AddOrderMpid(attributed))) => {
            assert_eq!(add.as_bytes(), &attributed.as_bytes()[..AddOrder::SIZE]);
        }
        (Err(MessageError::UnknownType(letter)), Ok(other)) => assert_eq!(letter, other.head().message_type),
        (Err(MessageError::UnknownType(_)), Err(_)) => {}
        (either, parsed) => assert_eq!(either.err(), parsed.err()),
    }
    let known = input.first().and_then(|letter| Message::TYPES.iter().find(|(known, _)| known == letter));
    match Message::parse(input) {
        Ok(message) => assert_eq!(known, Some(&(message.head().message_type, input.len()))),
        Err(MessageError::Empty) => assert!(input.is_empty()),
        Err(MessageError::UnknownType(letter)) => assert!(known.is_none() && input[0] == letter),
        Err(MessageError::WrongSize { expected, .. }) => assert_ne!(input.len(), expected),
    }
}

#[test]
fn any_bytes_are_read_or_refused_and_a_whole_packet_is_written_back_the_same() {
    bolero::check!().with_iterations(20_000).for_each(|input: &[u8]| {
        check_packet(input);
        check_message(input);
        assert!(Frames::new(input).count() <= input.len());
    });
}

#[test]
fn a_damaged_packet_is_read_or_refused_and_a_whole_one_is_written_back_the_same() {
    bolero::check!().with_type::<(Vec<(u8, u8)>, Vec<(u16, u8)>, u16)>().with_iterations(20_000).for_each(
        |(messages, replace, cut)| {
            let bytes = damaged(messages, &replace[..replace.len().min(4)], *cut);
            check_packet(&bytes);
            Messages::of(&bytes).for_each(check_message);
        },
    );
}
