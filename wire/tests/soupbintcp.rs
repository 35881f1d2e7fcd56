//! SoupBinTCP at its edges: packets by byte, every cut of a stream, hostile bytes.

use wire::soupbintcp::{
    Frame, Framer, HeartbeatTimeout, LoginAccepted, LoginRequest, MAX_PACKET, MAX_PAYLOAD, NOT_AUTHORIZED,
    NoRoom, Number, Packet, PacketError, Refused, Sender, left_padded, right_padded,
};

fn login() -> LoginRequest {
    LoginRequest {
        username: right_padded("USER").expect("fits"),
        password: right_padded("secret").expect("fits"),
        session: left_padded("DAY1").expect("fits"),
        next_sequence: Number::sequence(42),
    }
}

fn accepted() -> LoginAccepted {
    LoginAccepted { session: left_padded("DAY1").expect("fits"), next_sequence: Number::sequence(u64::MAX) }
}

fn written(packet: &Packet<'_>) -> Vec<u8> {
    let mut buffer = vec![0xEE; 300];
    let length = packet.write(&mut buffer).or_else(|NoRoom| {
        buffer.resize(MAX_PACKET, 0xEE);
        packet.write(&mut buffer)
    });
    let length = length.expect("room");
    assert!(buffer[length..].iter().all(|&byte| byte == 0xEE), "writes only what it says");
    assert_eq!(packet.write(&mut buffer[..length - 1]), Err(NoRoom));
    buffer.truncate(length);
    buffer
}

/// The packet's bytes are the expected ones, and the expected ones read back as the packet.
fn assert_wire(packet: Packet<'_>, bytes: &[u8], sender: Sender) {
    assert_eq!(written(&packet).escape_ascii().to_string(), bytes.escape_ascii().to_string());
    assert_eq!(Packet::parse(&bytes[2..], sender), Ok(packet));
}

#[test]
fn every_packet_has_the_bytes_of_the_specification() {
    let timeout = HeartbeatTimeout::new(15_000).expect("5 digits");
    let (login, accepted) = (login(), accepted());
    assert_wire(
        Packet::LoginRequest(&login, None),
        b"\0\x2fLUSER  secret          DAY1                  42",
        Sender::Client,
    );
    assert_wire(
        Packet::LoginRequest(&login, Some(&timeout)),
        b"\0\x34LUSER  secret          DAY1                  4215000",
        Sender::Client,
    );
    assert_wire(Packet::LoginAccepted(&accepted), b"\0\x1fA      DAY118446744073709551615", Sender::Server);
    assert_wire(Packet::LoginRejected(NOT_AUTHORIZED), b"\0\x02JA", Sender::Server);
    assert_wire(Packet::SequencedData(b"abc"), b"\0\x04Sabc", Sender::Server);
    assert_wire(Packet::SequencedData(b""), b"\0\x01S", Sender::Server);
    assert_wire(Packet::UnsequencedData(b"\0\xff"), b"\0\x03U\0\xff", Sender::Client);
    assert_wire(Packet::UnsequencedData(b"x"), b"\0\x02Ux", Sender::Server);
    assert_wire(Packet::Debug(b"hello"), b"\0\x06+hello", Sender::Client);
    assert_wire(Packet::Debug(b"hello"), b"\0\x06+hello", Sender::Server);
    assert_wire(Packet::ServerHeartbeat, b"\0\x01H", Sender::Server);
    assert_wire(Packet::ClientHeartbeat, b"\0\x01R", Sender::Client);
    assert_wire(Packet::EndOfSession, b"\0\x01Z", Sender::Server);
    assert_wire(Packet::LogoutRequest, b"\0\x01O", Sender::Client);
}

#[test]
fn a_payload_of_any_length_that_the_header_can_say_is_written_and_no_longer_one() {
    let payload = vec![7; MAX_PAYLOAD + 1];
    let longest = Packet::SequencedData(&payload[..MAX_PAYLOAD]);
    assert_eq!(written(&longest)[..3], [0xFF, 0xFF, b'S']);
    assert_eq!(Packet::SequencedData(&payload).write(&mut vec![0; 70_000]), Err(NoRoom));
}

#[test]
fn a_number_is_padded_on_the_left_and_read_with_the_spaces_on_either_side() {
    assert_eq!(format!("{:?}", Number::<5>::new(0).expect("fits")), "\"    0\"");
    assert_eq!(Number::<5>::new(99_999).and_then(|number| number.get()), Some(99_999));
    assert_eq!(Number::<5>::new(100_000), None);
    let read = |text: &[u8; 20]| Number::<20>::read(text);
    assert_eq!(read(b"                   7"), Some(7));
    assert_eq!(read(b"7                   "), Some(7));
    assert_eq!(read(b"00000000000000000007"), Some(7));
    assert_eq!(read(b"18446744073709551615"), Some(u64::MAX));
    for wrong in [
        b"18446744073709551616",
        b"99999999999999999999",
        b"                    ",
        b"                 1 2",
        b"                  -1",
        b"                  +1",
        b"                 0x1",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x001",
    ] {
        assert_eq!(read(wrong), None, "{}", wrong.escape_ascii());
    }
}

/// Reads a number from raw bytes, as a packet does.
trait Read<const N: usize> {
    fn read(text: &[u8; N]) -> Option<u64>;
}

impl<const N: usize> Read<N> for Number<N> {
    fn read(text: &[u8; N]) -> Option<u64> {
        <Number<N> as zerocopy::FromBytes>::read_from_bytes(text).ok()?.get()
    }
}

#[test]
fn credentials_that_do_not_fit_are_not_cut() {
    assert_eq!(right_padded::<6>("SEVENCH"), None);
    assert_eq!(right_padded::<6>("SIXCHR"), Some(*b"SIXCHR"));
    assert_eq!(left_padded::<4>("ABCDE"), None);
    assert_eq!(left_padded::<4>(""), Some(*b"    "));
}

#[test]
fn a_password_is_not_printed() {
    let printed = format!("{:?}", Packet::LoginRequest(&login(), None));
    assert!(printed.contains("USER") && !printed.contains("secret"), "{printed}");
}

#[test]
fn a_packet_of_the_other_side_is_refused() {
    let (login, accepted) = (login(), accepted());
    for packet in [
        Packet::LoginRequest(&login, None),
        Packet::ClientHeartbeat,
        Packet::LogoutRequest,
        Packet::LoginAccepted(&accepted),
        Packet::LoginRejected(b'S'),
        Packet::SequencedData(b"x"),
        Packet::ServerHeartbeat,
        Packet::EndOfSession,
    ] {
        let other = match packet.only_sender().expect("one side only") {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        let bytes = written(&packet);
        assert_eq!(Packet::parse(&bytes[2..], other), Err(PacketError::WrongSender(packet.packet_type())));
    }
}

#[test]
fn a_payload_of_any_other_length_is_refused() {
    let sizes = [
        (b'A', Sender::Server, &[30][..]),
        (b'J', Sender::Server, &[1]),
        (b'H', Sender::Server, &[0]),
        (b'Z', Sender::Server, &[0]),
        (b'L', Sender::Client, &[46, 51]),
        (b'R', Sender::Client, &[0]),
        (b'O', Sender::Client, &[0]),
    ];
    for (packet_type, sender, takes) in sizes {
        let body = [&[packet_type][..], &[b'1'; 60]].concat();
        for actual in 0..60 {
            let parsed = Packet::parse(&body[..=actual], sender);
            let expected = takes[0];
            if takes.contains(&actual) {
                assert!(
                    matches!(parsed, Ok(_) | Err(PacketError::NotANumber { .. })),
                    "{parsed:?} for {actual}"
                );
            } else {
                assert_eq!(parsed, Err(PacketError::WrongSize { packet_type, expected, actual }));
            }
        }
    }
    assert_eq!(Packet::parse(b"", Sender::Client), Err(PacketError::NoType));
    for unknown in (0..=u8::MAX).filter(|letter| !b"+AJSHZLURO".contains(letter)) {
        assert_eq!(Packet::parse(&[unknown; 9], Sender::Server), Err(PacketError::UnknownType(unknown)));
    }
}

#[test]
fn a_number_that_is_none_is_named_by_its_place() {
    let timeout = HeartbeatTimeout::new(1).expect("fits");
    let (login, accepted) = (login(), accepted());
    let cases = [
        (written(&Packet::LoginAccepted(&accepted)), Sender::Server, 13),
        (written(&Packet::LoginRequest(&login, None)), Sender::Client, 29),
        (written(&Packet::LoginRequest(&login, Some(&timeout))), Sender::Client, 49),
    ];
    for (mut bytes, sender, at) in cases {
        bytes[at..at + 5].copy_from_slice(b"1 x 2");
        let packet_type = bytes[2];
        assert_eq!(Packet::parse(&bytes[2..], sender), Err(PacketError::NotANumber { packet_type, at }));
    }
}

/// A server's whole session, and where its packets end.
fn session() -> (Vec<u8>, Vec<usize>) {
    let accepted = accepted();
    let packets = [
        Packet::Debug(b"welcome"),
        Packet::LoginAccepted(&accepted),
        Packet::SequencedData(b"first"),
        Packet::ServerHeartbeat,
        Packet::SequencedData(b""),
        Packet::SequencedData(&[0; 21]),
        Packet::EndOfSession,
    ];
    let mut ends = Vec::new();
    let mut stream = Vec::new();
    for packet in &packets {
        stream.extend(written(packet));
        ends.push(stream.len());
    }
    (stream, ends)
}

/// What a framer gives of a stream that arrives in the pieces given by their ends, in order. The caller's
/// buffer is as short as the limit allows. Every answer is checked on the way.
fn received(stream: &[u8], cuts: &[usize], sender: Sender, limit: u16) -> Vec<Result<Vec<u8>, Refused>> {
    let mut framer = Framer::new(sender, limit);
    let mut buffer: Vec<u8> = Vec::new();
    let mut given = Vec::new();
    let mut arrived = 0;
    for &cut in cuts {
        buffer.extend(&stream[arrived..cut]);
        arrived = cut;
        loop {
            let mut rest = &buffer[..];
            let before = framer.offset();
            let answer = framer.next(&mut rest);
            let consumed = buffer.len() - rest.len();
            assert_eq!(framer.offset() - before, consumed as u64);
            match answer {
                Ok(Frame::Need(more)) => {
                    assert!(consumed == 0 && more >= 1);
                    assert!(buffer.len() + more <= usize::from(limit) + 2, "the buffer has room");
                    break;
                }
                Ok(Frame::Packet(packet)) => {
                    assert_eq!(written(&packet), buffer[..consumed], "written back the same");
                    given.push(Ok(buffer[..consumed].to_vec()));
                }
                Err(refused) => {
                    assert_eq!(refused.offset, before);
                    given.push(Err(refused));
                    if matches!(refused.reason, PacketError::TooLong { .. }) {
                        assert_eq!((consumed, framer.next(&mut rest)), (0, Err(refused)));
                        return given;
                    }
                    assert!(consumed >= 2);
                }
            }
            buffer.drain(..consumed);
        }
    }
    let parsed = (stream.len() - buffer.len()) as u64;
    assert_eq!(framer.offset(), parsed, "every byte is consumed or still awaited");
    given
}

#[test]
fn a_stream_gives_the_same_packets_in_every_cut() {
    let (stream, ends) = session();
    let whole = received(&stream, &[stream.len()], Sender::Server, 100);
    assert_eq!(whole.len(), ends.len());
    let joined: Vec<u8> = whole.iter().flat_map(|packet| packet.clone().expect("valid")).collect();
    assert_eq!(joined, stream);
    let each_byte: Vec<usize> = (1..=stream.len()).collect();
    assert_eq!(received(&stream, &each_byte, Sender::Server, 100), whole);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let cuts = [first, second, stream.len()];
            assert_eq!(received(&stream, &cuts, Sender::Server, 100), whole, "{cuts:?}");
        }
    }
}

#[test]
fn what_a_framer_lacks_is_exactly_what_completes_the_packet() {
    let (stream, ends) = session();
    for length in 0..stream.len() {
        let mut framer = Framer::new(Sender::Server, 100);
        let mut rest = &stream[..length];
        let need = loop {
            if let Frame::Need(more) = framer.next(&mut rest).expect("valid") {
                break more;
            }
        };
        let end = *ends.iter().find(|&&end| end > length).expect("a packet is unfinished");
        let expected = if rest.len() < 2 { 2 - rest.len() } else { end - length };
        assert_eq!(need, expected, "{length}");
    }
}

#[test]
fn a_refused_packet_costs_nothing_beside_it() {
    let stream = b"\0\x01H\0\0\0\x02?x\0\x01R\0\x02Hx\0\x02Sa".as_slice();
    let refused = |offset, reason| Err(Refused { offset, reason });
    let expected = [
        Ok(b"\0\x01H".to_vec()),
        refused(3, PacketError::NoType),
        refused(5, PacketError::UnknownType(b'?')),
        refused(9, PacketError::WrongSender(b'R')),
        refused(12, PacketError::WrongSize { packet_type: b'H', expected: 0, actual: 1 }),
        Ok(b"\0\x02Sa".to_vec()),
    ];
    let each_byte: Vec<usize> = (1..=stream.len()).collect();
    assert_eq!(received(stream, &each_byte, Sender::Server, 10), expected);
    assert_eq!(received(stream, &[stream.len()], Sender::Server, 10), expected);
}

#[test]
fn a_packet_over_the_limit_is_refused_as_soon_as_its_length_is_there() {
    let mut framer = Framer::new(Sender::Server, 4);
    let mut rest = b"\0\x04Sabc\0\x05".as_slice();
    assert_eq!(framer.next(&mut rest), Ok(Frame::Packet(Packet::SequencedData(b"abc"))));
    let refused = Refused { offset: 6, reason: PacketError::TooLong { length: 5, limit: 4 } };
    assert_eq!(framer.next(&mut rest), Err(refused));
    assert_eq!((framer.next(&mut rest), rest), (Err(refused), &b"\0\x05"[..]));
    assert_eq!(
        refused.to_string(),
        "packet at byte 6 of the stream: packet of 5 bytes after its length, at most 4 are taken: close the \
         connection"
    );
}

#[test]
fn any_bytes_in_any_pieces_are_consumed_awaited_or_refused() {
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>, u8, bool)>().with_iterations(20_000).for_each(
        |(stream, steps, limit, client)| {
            let sender = if *client { Sender::Client } else { Sender::Server };
            let mut cuts = Vec::new();
            let mut at = 0;
            for step in steps {
                at = (at + usize::from(*step % 8)).min(stream.len());
                cuts.push(at);
            }
            cuts.push(stream.len());
            let limit = u16::from(*limit);
            let pieces = received(stream, &cuts, sender, limit);
            assert_eq!(pieces, received(stream, &[stream.len()], sender, limit));
        },
    );
}

#[test]
fn framed_packets_with_damage_are_consumed_awaited_or_refused() {
    let letters = b"+AJSHZLURO?";
    bolero::check!()
        .with_type::<(Vec<(u8, Vec<u8>)>, Vec<(u16, u8)>, u16, bool)>()
        .with_iterations(10_000)
        .for_each(|(packets, replace, cut, client)| {
            let mut stream = Vec::new();
            for (letter, payload) in packets.iter().take(8) {
                let payload = &payload[..payload.len().min(60)];
                stream.extend((payload.len() as u16 + 1).to_be_bytes());
                stream.push(letters[usize::from(*letter) % letters.len()]);
                stream.extend(payload);
            }
            for &(at, byte) in replace.iter().take(2) {
                let length = stream.len().max(1);
                if let Some(place) = stream.get_mut(usize::from(at) % length) {
                    *place = byte;
                }
            }
            let sender = if *client { Sender::Client } else { Sender::Server };
            let cut = usize::from(*cut) % (stream.len() + 1);
            let halves = received(&stream, &[cut, stream.len()], sender, u16::MAX);
            assert_eq!(halves, received(&stream, &[stream.len()], sender, u16::MAX));
        });
}
