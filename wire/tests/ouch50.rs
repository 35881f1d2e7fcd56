//! OUCH 5.0 by byte: every message and tag against bytes written by hand from the specification's tables, and
//! against captured packets.

mod ouch50_common;

use ouch50_common::{captured, hex};
use wire::ouch50::*;
use wire::soupbintcp::{Frame, Framer, Packet, Sender};

/// 09:30:00.000000123 on the wire.
const TIME: &str = "00001F1ACED9F07B";
const TIME_NS: u64 = 34_200_000_000_123;

fn symbol(text: &str) -> [u8; 8] {
    padded(text)
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    wire::soupbintcp::right_padded(text).expect("fits")
}

/// Both ways for one message of either direction.
macro_rules! assert_wire {
    ($direction:ident, $message:expr, $appendage:expr, $hex:expr) => {{
        let (message, appendage, bytes) = ($message, $appendage, hex($hex));
        let mut buffer = [0xEE; 200];
        let length = message.write(appendage, &mut buffer).expect("room");
        assert_eq!(buffer[..length], bytes);
        assert!(buffer[length..].iter().all(|&byte| byte == 0xEE));
        assert_eq!(message.write(appendage, &mut buffer[..length - 1]), Err(WriteError::NoRoom));
        assert_eq!($direction::parse(&bytes), Ok((message, appendage)));
        for shorter in 0..bytes.len() {
            if let Ok((_, cut)) = $direction::parse(&bytes[..shorter]) {
                assert!(!cut.is_present() && appendage.is_present(), "only an appendage may be left out");
            }
        }
        let longer = [&bytes[..], b"x"].concat();
        let error = $direction::parse(&longer).expect_err("bytes are left");
        if appendage.is_present() {
            assert_eq!(error, MessageError::TrailingBytes { offset: bytes.len() });
        }
    }};
}

/// An appendage with these fields.
fn with_tags<'a>(buffer: &'a mut [u8], tags: &[Tag<'_>]) -> Appendage<'a> {
    let mut writer = AppendageWriter::new(buffer);
    for &tag in tags {
        writer.push(tag).expect("room");
    }
    writer.finish()
}

#[test]
fn orders_have_the_bytes_of_the_specification() {
    let order = EnterOrder {
        user_ref_num: 1.into(),
        side: b'B',
        quantity: 100.into(),
        symbol: symbol("AAPL"),
        price: Price::new(1_503_400),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'N',
        cl_ord_id: padded("ORDER-1"),
    };
    let fixed = "4F 00000001 42 00000064 4141504C20202020 000000000016F0A8 30 59 41 4E 4E
        4F524445522D3120202020202020";
    assert_wire!(Inbound, Inbound::EnterOrder(&order), Appendage::EMPTY, &format!("{fixed} 0000"));
    let mut memory = [0; 40];
    let tags = [Tag::Firm(*b"FIRM"), Tag::MinQty(50), Tag::PostOnly(b'P'), Tag::UserRefIdx(5)];
    assert_wire!(
        Inbound,
        Inbound::EnterOrder(&order),
        with_tags(&mut memory, &tags),
        &format!("{fixed} 0012 05024649524D 050300000032 020C50 021C05")
    );
    let replace = ReplaceOrder {
        orig_user_ref_num: 1.into(),
        user_ref_num: 2.into(),
        quantity: 500.into(),
        price: Price::MARKET,
        time_in_force: b'6',
        display: b'N',
        intermarket_sweep: b'Y',
        cl_ord_id: padded("ORDER-2"),
    };
    assert_wire!(
        Inbound,
        Inbound::ReplaceOrder(&replace),
        with_tags(&mut memory, &[Tag::ExpireTime(57_600)]),
        "55 00000001 00000002 000001F4 000000007FFFFFFF 36 4E 59 4F524445522D3220202020202020
         0006 050F0000E100"
    );
}

#[test]
fn requests_have_the_bytes_of_the_specification() {
    let mut memory = [0; 40];
    let channel = with_tags(&mut memory, &[Tag::UserRefIdx(7)]);
    let cancel = CancelOrder { user_ref_num: 77.into(), quantity: 25.into() };
    assert_wire!(Inbound, Inbound::CancelOrder(&cancel), Appendage::ABSENT, "58 0000004D 00000019");
    assert_wire!(Inbound, Inbound::CancelOrder(&cancel), Appendage::EMPTY, "58 0000004D 00000019 0000");
    assert_wire!(Inbound, Inbound::CancelOrder(&cancel), channel, "58 0000004D 00000019 0003 021C07");
    let modify = ModifyOrder { user_ref_num: 3.into(), side: b'T', quantity: 50.into() };
    assert_wire!(Inbound, Inbound::ModifyOrder(&modify), Appendage::ABSENT, "4D 00000003 54 00000032");
    let firm = padded("FIRM");
    let mass = MassCancel { user_ref_num: 10.into(), firm, symbol: symbol("") };
    let mut group = [0; 40];
    assert_wire!(
        Inbound,
        Inbound::MassCancel(&mass),
        with_tags(&mut group, &[Tag::GroupId(513), Tag::Side(b'S')]),
        "43 0000000A 4649524D 2020202020202020 0007 03180201 021B53"
    );
    let disable = DisableOrderEntry { user_ref_num: 11.into(), firm };
    assert_wire!(
        Inbound,
        Inbound::DisableOrderEntry(&disable),
        Appendage::EMPTY,
        "44 0000000B 4649524D 0000"
    );
    let enable = EnableOrderEntry { user_ref_num: 12.into(), firm };
    assert_wire!(Inbound, Inbound::EnableOrderEntry(&enable), channel, "45 0000000C 4649524D 0003 021C07");
    assert_wire!(Inbound, Inbound::AccountQuery(&AccountQuery {}), Appendage::ABSENT, "51");
    assert_wire!(Inbound, Inbound::AccountQuery(&AccountQuery {}), channel, "51 0003 021C07");
}

#[test]
fn acceptances_have_the_bytes_of_the_specification() {
    let mut memory = [0; 40];
    let event = SystemEvent { timestamp_ns: TIME_NS.into(), event_code: b'S' };
    let event = Outbound::SystemEvent(&event);
    assert_wire!(Outbound, event, Appendage::ABSENT, &format!("53 {TIME} 53"));
    assert_eq!(event.write(Appendage::EMPTY, &mut [0; 99]), Err(WriteError::NoAppendage(b'S')));
    let accepted = OrderAccepted {
        timestamp_ns: TIME_NS.into(),
        user_ref_num: 1.into(),
        side: b'B',
        quantity: 100.into(),
        symbol: symbol("AAPL"),
        price: Price::new(1_503_400),
        time_in_force: b'3',
        display: b'Z',
        order_reference: 123_456_789.into(),
        capacity: b'P',
        intermarket_sweep: b'Y',
        cross_type: b'C',
        order_state: b'L',
        cl_ord_id: padded("ORDER-1"),
    };
    assert_wire!(
        Outbound,
        Outbound::OrderAccepted(&accepted),
        with_tags(&mut memory, &[Tag::BboWeightIndicator(b'2')]),
        &format!(
            "41 {TIME} 00000001 42 00000064 4141504C20202020 000000000016F0A8 33 5A 00000000075BCD15
             50 59 43 4C 4F524445522D3120202020202020 0003 021232"
        )
    );
    let replaced = OrderReplaced {
        timestamp_ns: TIME_NS.into(),
        orig_user_ref_num: 1.into(),
        user_ref_num: 2.into(),
        side: b'S',
        quantity: 400.into(),
        symbol: symbol("MSFT"),
        price: Price::new(4_000_000),
        time_in_force: b'0',
        display: b'N',
        order_reference: 123_456_790.into(),
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'O',
        order_state: b'D',
        cl_ord_id: padded("ORDER-2"),
    };
    assert_wire!(
        Outbound,
        Outbound::OrderReplaced(&replaced),
        Appendage::EMPTY,
        &format!(
            "55 {TIME} 00000001 00000002 53 00000190 4D53465420202020 00000000003D0900 30 4E
             00000000075BCD16 41 4E 4F 44 4F524445522D3220202020202020 0000"
        )
    );
}

#[test]
fn ends_of_orders_have_the_bytes_of_the_specification() {
    let mut memory = [0; 40];
    let channel = with_tags(&mut memory, &[Tag::UserRefIdx(5)]);
    let (timestamp_ns, user_ref_num, price) = (TIME_NS.into(), 2.into(), Price::new(1_503_400));
    let canceled = OrderCanceled { timestamp_ns, user_ref_num, quantity: 100.into(), reason: b'U' };
    let canceled = Outbound::OrderCanceled(&canceled);
    assert_wire!(Outbound, canceled, Appendage::ABSENT, &format!("43 {TIME} 00000002 00000064 55"));
    assert_wire!(Outbound, canceled, channel, &format!("43 {TIME} 00000002 00000064 55 0003 021C05"));
    let aiq = AiqCanceled {
        timestamp_ns,
        user_ref_num,
        decrement_shares: 100.into(),
        reason: b'Q',
        quantity_prevented: 60.into(),
        execution_price: price,
        liquidity_flag: b'R',
        aiq_strategy: b'O',
    };
    assert_wire!(
        Outbound,
        Outbound::AiqCanceled(&aiq),
        Appendage::ABSENT,
        &format!("44 {TIME} 00000002 00000064 51 0000003C 000000000016F0A8 52 4F")
    );
    let executed = OrderExecuted {
        timestamp_ns,
        user_ref_num,
        quantity: 100.into(),
        price,
        liquidity_flag: b'A',
        match_number: 987_654_321.into(),
    };
    let executed = Outbound::OrderExecuted(&executed);
    let fixed = format!("45 {TIME} 00000002 00000064 000000000016F0A8 41 000000003ADE68B1");
    assert_wire!(Outbound, executed, Appendage::EMPTY, &format!("{fixed} 0000"));
    assert_wire!(Outbound, executed, Appendage::ABSENT, &fixed);
    let cl_ord_id = padded("ORDER-1");
    let broken =
        BrokenTrade { timestamp_ns, user_ref_num, match_number: 987_654_321.into(), reason: b'E', cl_ord_id };
    assert_wire!(
        Outbound,
        Outbound::BrokenTrade(&broken),
        Appendage::ABSENT,
        &format!("42 {TIME} 00000002 000000003ADE68B1 45 4F524445522D3120202020202020")
    );
    let rejected = Rejected { timestamp_ns, user_ref_num, reason: 0x1D.into(), cl_ord_id };
    assert_wire!(
        Outbound,
        Outbound::Rejected(&rejected),
        channel,
        &format!("4A {TIME} 00000002 001D 4F524445522D3120202020202020 0003 021C05")
    );
}

#[test]
fn changes_of_orders_have_the_bytes_of_the_specification() {
    let mut memory = [0; 40];
    let (timestamp_ns, user_ref_num) = (TIME_NS.into(), 2.into());
    let pending = CancelPending { timestamp_ns, user_ref_num };
    let head = format!("{TIME} 00000002");
    assert_wire!(Outbound, Outbound::CancelPending(&pending), Appendage::ABSENT, &format!("50 {head}"));
    let reject = CancelReject { timestamp_ns, user_ref_num };
    assert_wire!(Outbound, Outbound::CancelReject(&reject), Appendage::ABSENT, &format!("49 {head}"));
    let priority = OrderPriorityUpdate {
        timestamp_ns,
        user_ref_num,
        price: Price::new(1_503_300),
        display: b'Y',
        order_reference: 555.into(),
    };
    assert_wire!(
        Outbound,
        Outbound::OrderPriorityUpdate(&priority),
        Appendage::ABSENT,
        &format!("54 {head} 000000000016F044 59 000000000000022B")
    );
    let modified = OrderModified { timestamp_ns, user_ref_num, side: b'E', quantity: 50.into() };
    assert_wire!(
        Outbound,
        Outbound::OrderModified(&modified),
        with_tags(&mut memory, &[Tag::SharesLocated(b'Y'), Tag::LocateBroker(*b"LCTB")]),
        &format!("4D {head} 45 00000032 0009 021959 051A4C435442")
    );
    let restated = OrderRestated { timestamp_ns, user_ref_num, reason: b'R' };
    assert_wire!(
        Outbound,
        Outbound::OrderRestated(&restated),
        with_tags(&mut memory, &[Tag::SecondaryOrdRefNum(777), Tag::DisplayQuantity(100)]),
        &format!("52 {head} 52 0010 09010000000000000309 051600000064")
    );
}

#[test]
fn responses_have_the_bytes_of_the_specification() {
    let (timestamp_ns, user_ref_num, firm) = (TIME_NS.into(), 2.into(), padded("FIRM"));
    let head = format!("{TIME} 00000002");
    let mass = MassCancelResponse { timestamp_ns, user_ref_num, firm, symbol: symbol("MSFT") };
    assert_wire!(
        Outbound,
        Outbound::MassCancelResponse(&mass),
        Appendage::EMPTY,
        &format!("58 {head} 4649524D 4D53465420202020 0000")
    );
    let disable = DisableOrderEntryResponse { timestamp_ns, user_ref_num, firm };
    assert_wire!(
        Outbound,
        Outbound::DisableOrderEntryResponse(&disable),
        Appendage::EMPTY,
        &format!("47 {head} 4649524D 0000")
    );
    let enable = EnableOrderEntryResponse { timestamp_ns, user_ref_num, firm };
    assert_wire!(
        Outbound,
        Outbound::EnableOrderEntryResponse(&enable),
        Appendage::EMPTY,
        &format!("4B {head} 4649524D 0000")
    );
    let query = AccountQueryResponse { timestamp_ns, next_user_ref_num: user_ref_num };
    assert_wire!(Outbound, Outbound::AccountQueryResponse(&query), Appendage::ABSENT, &format!("51 {head}"));
}

#[test]
fn a_required_appendage_is_added_where_the_writer_gives_none() {
    let disable = DisableOrderEntry { user_ref_num: 1.into(), firm: *b"FIRM" };
    let mut buffer = [0; 20];
    let length = Inbound::DisableOrderEntry(&disable).write(Appendage::ABSENT, &mut buffer);
    assert_eq!((length, &buffer[9..11]), (Ok(11), &[0, 0][..]));
    let cut = MessageError::TooShort { message_type: b'D', expected: 11, actual: 9 };
    assert_eq!(Inbound::parse(&buffer[..9]), Err(cut));
}

#[test]
fn every_tag_has_the_bytes_of_the_specification() {
    let cases = [
        (Tag::SecondaryOrdRefNum(0x0102_0304_0506_0708), "09 01 0102030405060708"),
        (Tag::Firm(*b"ABCD"), "05 02 41424344"),
        (Tag::MinQty(200), "05 03 000000C8"),
        (Tag::CustomerType(b'R'), "02 04 52"),
        (Tag::MaxFloor(100), "05 05 00000064"),
        (Tag::PriceType(b'M'), "02 06 4D"),
        (Tag::PegOffset(-100), "05 07 FFFFFF9C"),
        (Tag::DiscretionPrice(Price::new(1_500_000)), "09 09 000000000016E360"),
        (Tag::DiscretionPriceType(b'P'), "02 0A 50"),
        (Tag::DiscretionPegOffset(-1), "05 0B FFFFFFFF"),
        (Tag::PostOnly(b'P'), "02 0C 50"),
        (Tag::RandomReserves(300), "05 0D 0000012C"),
        (Tag::Route(*b"RTE1"), "05 0E 52544531"),
        (Tag::ExpireTime(3_600), "05 0F 00000E10"),
        (Tag::TradeNow(b'Y'), "02 10 59"),
        (Tag::HandleInst(b'I'), "02 11 49"),
        (Tag::BboWeightIndicator(b'2'), "02 12 32"),
        (Tag::DisplayQuantity(100), "05 16 00000064"),
        (Tag::DisplayPrice(Price::new(1_503_400)), "09 17 000000000016F0A8"),
        (Tag::GroupId(513), "03 18 0201"),
        (Tag::SharesLocated(b'Y'), "02 19 59"),
        (Tag::LocateBroker(*b"LCTB"), "05 1A 4C435442"),
        (Tag::Side(b'T'), "02 1B 54"),
        (Tag::UserRefIdx(5), "02 1C 05"),
        (Tag::AiqStrategy(b'O'), "02 1D 4F"),
        (Tag::AiqGroupId(*b"AB"), "03 1E 4142"),
    ];
    assert_eq!(cases.len(), Tag::KNOWN.len());
    let mut all = Vec::new();
    for ((tag, bytes), &(number, width)) in cases.iter().zip(Tag::KNOWN) {
        let bytes = hex(bytes);
        assert_eq!((bytes[1], bytes.len()), (number, 2 + width));
        let mut memory = [0; 12];
        assert_eq!(with_tags(&mut memory, &[*tag]).as_bytes(), bytes);
        all.extend(bytes);
    }
    let message = [&b"Q"[..], &(all.len() as u16).to_be_bytes(), &all].concat();
    let (_, appendage) = Inbound::parse(&message).expect("whole");
    assert!(appendage.tags().eq(cases.iter().map(|&(tag, _)| tag)));
    assert_eq!(appendage.secondary_ord_ref_num(), Some(0x0102_0304_0506_0708));
    assert_eq!((appendage.peg_offset(), appendage.discretion_peg_offset()), (Some(-100), Some(-1)));
    assert_eq!(appendage.display_price(), Some(Price::new(1_503_400)));
    assert_eq!((appendage.firm(), appendage.aiq_group_id()), (Some(*b"ABCD"), Some(*b"AB")));
    assert_eq!((appendage.user_ref_idx(), appendage.group_id()), (Some(5), Some(513)));
    assert_eq!(Appendage::EMPTY.user_ref_idx(), None);
}

#[test]
fn an_unknown_tag_is_passed_over_and_kept() {
    let message = hex("51 000C 03081234 0113 021C05 02FF00");
    let (query, appendage) = Inbound::parse(&message).expect("whole");
    assert_eq!(appendage.user_ref_idx(), Some(5));
    let unknown: Vec<Tag<'_>> = appendage.tags().filter(|tag| matches!(tag, Tag::Unknown { .. })).collect();
    let value = |number, value| Tag::Unknown { number, value };
    assert_eq!(unknown, [value(8, &[0x12, 0x34]), value(19, &[]), value(255, &[0])]);
    let mut buffer = [0; 40];
    let length = query.write(appendage, &mut buffer).expect("room");
    assert_eq!(buffer[..length], message);
}

#[test]
fn a_broken_appendage_is_named_by_its_place() {
    let error = |text: &str| Inbound::parse(&hex(text)).expect_err("broken");
    assert_eq!(error("51 00"), MessageError::AppendagePastEnd { offset: 1 });
    assert_eq!(error("51 0004 021C05"), MessageError::AppendagePastEnd { offset: 1 });
    assert_eq!(error("51 0002 021C05"), MessageError::TrailingBytes { offset: 5 });
    assert_eq!(error("51 0004 021C05 00"), MessageError::NoTag { offset: 6 });
    assert_eq!(error("51 0004 021C05 01"), MessageError::TagPastEnd { offset: 6 });
    assert_eq!(error("51 0003 031C05"), MessageError::TagPastEnd { offset: 3 });
    let wrong = MessageError::WrongTagSize { offset: 6, tag: 27, expected: 1, actual: 2 };
    assert_eq!(error("51 0007 021C05 031B5354"), wrong);
    assert_eq!(wrong.to_string(), "tag 27 at byte 6 takes 1 bytes, not 2");
}

#[test]
fn a_writer_takes_no_tag_that_a_reader_would_refuse() {
    let mut memory = [0; 8];
    let mut writer = AppendageWriter::new(&mut memory);
    let disguised = Tag::Unknown { number: 28, value: &[1, 2] };
    assert_eq!(writer.push(disguised), Err(WriteError::KnownTag(28)));
    assert_eq!(writer.push(Tag::MinQty(1)), Ok(()));
    assert_eq!(writer.push(Tag::UserRefIdx(1)), Err(WriteError::NoRoom));
    assert_eq!(writer.push(Tag::Unknown { number: 40, value: &[0; 255] }), Err(WriteError::NoRoom));
    assert_eq!(writer.finish().as_bytes(), hex("05 03 00000001"));
    let mut memory = vec![0; 70_000];
    let mut writer = AppendageWriter::new(&mut memory);
    let longest = Tag::Unknown { number: 40, value: &[7; 254] };
    for _ in 0..255 {
        writer.push(longest).expect("room");
    }
    let last = Tag::Unknown { number: 40, value: &[7; 254] };
    assert_eq!(writer.push(last), Err(WriteError::NoRoom), "65,536 bytes are one too many");
    assert_eq!(writer.push(Tag::Unknown { number: 40, value: &[7; 253] }), Ok(()));
    assert_eq!(writer.finish().as_bytes().len(), 65_535);
}

#[test]
fn codes_that_end_an_order_are_told_in_words() {
    assert_eq!(reject_reason(0x001D), Some("invalid price"));
    assert_eq!(reject_reason(0xFFFF), None);
    assert!((1..=0x32).all(|code| reject_reason(code).is_some()));
    assert_eq!(cancel_reason(b'U'), Some("requested by the user"));
    assert_eq!(cancel_reason(b'?'), None);
}

/// The one packet of a captured TCP segment.
fn packet_of(payload: &[u8], sender: Sender) -> Packet<'_> {
    let mut rest = payload;
    let packet = match Framer::new(sender, 1_000).next(&mut rest) {
        Ok(Frame::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    };
    assert_eq!(rest, b"", "one packet");
    let mut buffer = [0; 1_000];
    let length = packet.write(&mut buffer).expect("room");
    assert_eq!(buffer[..length], *payload, "written back the same");
    packet
}

fn message_back(message: &[u8], write: impl Fn(&mut [u8]) -> Result<usize, WriteError>) {
    let mut buffer = [0; 1_000];
    let length = write(&mut buffer).expect("room");
    assert_eq!(buffer[..length], *message, "written back the same");
}

#[test]
fn the_captured_packets_read_as_a_person_reads_their_bytes() {
    let Some(payloads) = captured() else { return };
    let names: Vec<&str> = payloads.keys().map(String::as_str).collect();
    let expected = [
        "CancelOrderMessage.pcap",
        "CanceledMessage.pcap",
        "ClientHeartbeatPacket.pcap",
        "EnterOrderMessage.pcap",
        "OrderAcceptedMessage.pcap",
        "ServerHeartbeatPacket.pcap",
    ];
    assert_eq!(names, expected);
    let packet = |name: &str, sender| packet_of(&payloads[name], sender);
    assert_eq!(packet("ClientHeartbeatPacket.pcap", Sender::Client), Packet::ClientHeartbeat);
    assert_eq!(packet("ServerHeartbeatPacket.pcap", Sender::Server), Packet::ServerHeartbeat);

    let Packet::UnsequencedData(bytes) = packet("EnterOrderMessage.pcap", Sender::Client) else { panic!() };
    let (message, appendage) = Inbound::parse(bytes).expect("whole");
    let order = EnterOrder {
        user_ref_num: 113.into(),
        side: b'T',
        quantity: 225.into(),
        symbol: *b"CVLT    ",
        price: Price::new(630_200),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'N',
        cl_ord_id: *b"H8FUB8IV      ",
    };
    assert_eq!(message, Inbound::EnterOrder(&order));
    assert!(appendage.tags().eq([Tag::Firm(*b"LIME")]));
    message_back(bytes, |buffer| message.write(appendage, buffer));

    let Packet::UnsequencedData(bytes) = packet("CancelOrderMessage.pcap", Sender::Client) else { panic!() };
    let (message, appendage) = Inbound::parse(bytes).expect("whole");
    let cancel = CancelOrder { user_ref_num: 7_679_601.into(), quantity: 0.into() };
    assert_eq!((message, appendage), (Inbound::CancelOrder(&cancel), Appendage::ABSENT));
    message_back(bytes, |buffer| message.write(appendage, buffer));

    let Packet::SequencedData(bytes) = packet("OrderAcceptedMessage.pcap", Sender::Server) else { panic!() };
    let (message, appendage) = Outbound::parse(bytes).expect("whole");
    let accepted = OrderAccepted {
        timestamp_ns: 44_647_483_486_087.into(),
        user_ref_num: 7_682_701.into(),
        side: b'B',
        quantity: 40.into(),
        symbol: *b"ADBE    ",
        price: Price::new(4_777_800),
        time_in_force: b'5',
        display: b'Y',
        order_reference: 257_340_661.into(),
        capacity: b'A',
        intermarket_sweep: b'N',
        cross_type: b'N',
        order_state: b'L',
        cl_ord_id: *b"7682701       ",
    };
    assert_eq!(message, Outbound::OrderAccepted(&accepted));
    assert!(appendage.tags().eq([Tag::Firm(*b"MLRO"), Tag::BboWeightIndicator(b'0')]));
    message_back(bytes, |buffer| message.write(appendage, buffer));

    let Packet::SequencedData(bytes) = packet("CanceledMessage.pcap", Sender::Server) else { panic!() };
    let (message, appendage) = Outbound::parse(bytes).expect("whole");
    let canceled = OrderCanceled {
        timestamp_ns: 44_647_483_708_183.into(),
        user_ref_num: 7_682_701.into(),
        quantity: 40.into(),
        reason: b'U',
    };
    assert_eq!((message, appendage), (Outbound::OrderCanceled(&canceled), Appendage::ABSENT));
    message_back(bytes, |buffer| message.write(appendage, buffer));
}
