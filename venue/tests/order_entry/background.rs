//! An ITCH file as the background: what it does is done again, participants take part, and damage is named.

use crate::support::{MS, Room, enter};
use std::path::{Path, PathBuf};
use venue::background::{Background, BackgroundError};
use venue::capture::Writer;
use venue::exchange::{Exchange, ExchangeSpec, Price, Side, SymbolId};
use venue::frame::{self, FrameHeader};
use wire::itch50::{
    AddOrder, AddOrderMpid, OrderCancel, OrderDelete, OrderExecuted, OrderReplace, Price4, SystemEvent,
};
use wire::moldudp64::PacketWriter;
use zerocopy::{Immutable, IntoBytes};

const FIRST_NS: u64 = 36_000_000_000_000;

fn bytes(message: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    message.as_bytes().to_vec()
}

fn add(at_ms: u64, reference: u64, side: char, shares: u32, cents: u32) -> Vec<u8> {
    bytes(&AddOrder {
        head: AddOrder::head(77, 0, FIRST_NS + at_ms * MS),
        order_reference: reference.into(),
        side: side as u8,
        shares: shares.into(),
        stock: *b"ACME    ",
        price: Price4::new(cents * 100),
    })
}

fn executed(at_ms: u64, reference: u64, shares: u32) -> Vec<u8> {
    bytes(&OrderExecuted {
        head: OrderExecuted::head(77, 0, FIRST_NS + at_ms * MS),
        order_reference: reference.into(),
        executed_shares: shares.into(),
        match_number: 1.into(),
    })
}

fn cancelled(at_ms: u64, reference: u64, shares: u32) -> Vec<u8> {
    bytes(&OrderCancel {
        head: OrderCancel::head(77, 0, FIRST_NS + at_ms * MS),
        order_reference: reference.into(),
        cancelled_shares: shares.into(),
    })
}

fn deleted(at_ms: u64, reference: u64) -> Vec<u8> {
    bytes(&OrderDelete {
        head: OrderDelete::head(77, 0, FIRST_NS + at_ms * MS),
        order_reference: reference.into(),
    })
}

fn replaced(at_ms: u64, old: u64, new: u64, shares: u32, cents: u32) -> Vec<u8> {
    bytes(&OrderReplace {
        head: OrderReplace::head(77, 0, FIRST_NS + at_ms * MS),
        original_reference: old.into(),
        new_reference: new.into(),
        shares: shares.into(),
        price: Price4::new(cents * 100),
    })
}

/// Nasdaq's framing.
fn file(folder: &Path, messages: &[Vec<u8>]) -> PathBuf {
    let mut file = Vec::new();
    for message in messages {
        file.extend_from_slice(&(message.len() as u16).to_be_bytes());
        file.extend_from_slice(message);
    }
    let path = folder.join("day.itch");
    std::fs::write(&path, file).unwrap();
    path
}

/// The file on an exchange of its own, at the open.
fn open(path: &Path) -> (Background, Exchange) {
    let listings = Background::listings(path).unwrap();
    let spec = ExchangeSpec { flow: None, listings, ..ExchangeSpec::new(1, 1) };
    let background = Background::open(path, &spec.listings, 10 * MS).unwrap();
    (background, Exchange::new(&spec).unwrap())
}

/// Price in cents, shares and orders of each level.
fn levels(exchange: &Exchange, side: Side) -> Vec<(u32, u64, u32)> {
    let levels = exchange.engine().levels(SymbolId(0), side);
    levels.map(|level| (level.price.0 / 100, level.shares, level.orders)).collect()
}

#[test]
fn without_participants_the_book_is_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let with_firm = bytes(&AddOrderMpid {
        head: AddOrderMpid::head(77, 0, FIRST_NS),
        order_reference: 9.into(),
        side: b'S',
        shares: 10.into(),
        stock: *b"ACME    ",
        price: Price4::new(202_000),
        attribution: *b"FIRM",
    });
    let event = SystemEvent { head: SystemEvent::head(0, 0, FIRST_NS), event_code: b'Q' };
    let path = file(
        folder.path(),
        &[
            bytes(&event),
            add(0, 1, 'B', 100, 2_000),
            with_firm,
            add(1, 2, 'S', 100, 2_010),
            executed(2, 1, 30),
            cancelled(3, 1, 20),
            replaced(4, 2, 3, 80, 2_005),
            deleted(5, 9),
            executed(6, 77, 5),
            vec![b'E', 1, 2],
        ],
    );
    let (mut background, mut exchange) = open(&path);
    assert_eq!(background.next_ns(), Some(10 * MS));
    background.play(u64::MAX, &mut exchange);
    assert_eq!(levels(&exchange, Side::Buy), [(2_000, 50, 1)]);
    assert_eq!(levels(&exchange, Side::Sell), [(2_005, 80, 1)]);
    assert_eq!(exchange.now_ns(), 15 * MS, "each as long after the first as in the file");
    let counts = background.counts();
    assert_eq!((counts.messages, counts.other, counts.malformed, counts.unknown), (10, 1, 1, 1));
    assert_eq!((counts.entered, counts.executions, counts.cancelled, counts.replaced), (3, 1, 2, 1));
    assert!(counts.done && counts.error.is_none() && background.next_ns().is_none());
}

#[test]
fn a_participant_in_front_takes_the_execution_and_the_files_order_goes_when_the_file_has_it_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        &[
            add(0, 1, 'B', 100, 2_000),
            executed(10, 1, 60),
            executed(20, 1, 40),
            add(30, 2, 'S', 100, 2_000),
            deleted(40, 2),
            replaced(41, 2, 3, 10, 2_000),
        ],
    );
    let (mut background, exchange) = open(&path);
    let mut room = Room::new();
    (room.exchange, room.now_ns) = (exchange, 0);
    background.play(15 * MS, &mut room.exchange);
    room.pass(15 * MS);
    let alice = room.alice();
    let mut order = crate::support::order(1, 'B', 80, 2_001);
    order.symbol = *b"ACME    ";
    room.ask(alice, &crate::support::enter_this(&order));
    background.play(20 * MS, &mut room.exchange);
    room.pass(5 * MS);
    assert_eq!(room.hear(alice), ["executed 1 60 @20.01 A"]);
    background.play(30 * MS, &mut room.exchange);
    room.pass(10 * MS);
    // 20 of alice, then 20 of the file's order, whose other 80 are not wanted any more.
    assert_eq!(room.hear(alice), ["executed 1 20 @20.01 A"]);
    assert_eq!((levels(&room.exchange, Side::Buy), background.counts().left_over), (vec![], 1));
    // The file's next order meets a participant's and is gone when the file speaks of it.
    order.user_ref_num = 2.into();
    order.quantity = 100.into();
    room.ask(alice, &crate::support::enter_this(&order));
    background.play(u64::MAX / 2, &mut room.exchange);
    room.pass(30 * MS);
    assert_eq!(room.hear(alice), ["executed 2 100 @20.01 A"]);
    let counts = background.counts();
    assert_eq!((counts.gone, counts.unknown), (1, 1));
    assert_eq!(room.ask(alice, &enter(3, 'B', 1, 1)), ["rejected 3 invalid symbol"]);
}

#[test]
fn a_cut_file_is_played_up_to_its_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[add(0, 1, 'B', 100, 2_000), add(1, 2, 'S', 100, 2_010)]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (mut background, mut exchange) = open(&path);
    background.play(u64::MAX, &mut exchange);
    assert_eq!(background.counts().entered, 1);
    let error = background.counts().error.clone().unwrap();
    assert_eq!(error, "the file ends inside the message at byte 38 (decompressed)");
}

#[test]
fn a_file_without_orders_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[executed(0, 1, 1)]);
    assert!(matches!(Background::listings(&path), Err(BackgroundError::NoOrders(of)) if of == path));
    let missing = folder.path().join("missing");
    assert!(matches!(Background::listings(&missing), Err(BackgroundError::Read { .. })));
}

#[test]
fn of_two_lines_in_a_capture_each_message_is_played_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.pcap");
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap()).unwrap();
    let mut packet = |line: u8, sequence: u64, messages: &[Vec<u8>]| {
        let mut buffer = [0; 1_400];
        let mut mold = PacketWriter::new(&mut buffer, *b"0000000001", sequence).unwrap();
        for message in messages {
            mold.push(message).unwrap();
        }
        let header = FrameHeader {
            source_mac: [2, 0, 0, 0, 0, 1],
            vlan: None,
            source: "10.0.0.1:4000".parse().unwrap(),
            destination: format!("239.0.0.{line}:5000").parse().unwrap(),
            ttl: 8,
        };
        let mut bytes = Vec::new();
        frame::build(&mut bytes, &header, mold.finish());
        writer.write(0, &bytes).unwrap();
    };
    packet(1, 1, &[add(0, 1, 'B', 100, 2_000), add(0, 2, 'B', 100, 2_000)]);
    packet(2, 1, &[add(0, 1, 'B', 100, 2_000), add(0, 2, 'B', 100, 2_000)]);
    packet(2, 3, &[add(1, 3, 'S', 50, 2_100)]);
    packet(1, 3, &[add(1, 3, 'S', 50, 2_100)]);
    packet(1, 6, &[executed(2, 1, 10)]);
    writer.finish().unwrap();
    let (mut background, mut exchange) = open(&path);
    background.play(u64::MAX, &mut exchange);
    assert_eq!(levels(&exchange, Side::Buy), [(2_000, 190, 2)]);
    assert_eq!(levels(&exchange, Side::Sell), [(2_100, 50, 1)]);
    let counts = background.counts();
    assert_eq!((counts.entered, counts.repeated, counts.missing), (3, 3, 2));
}

#[test]
fn a_real_file_is_played_wholly_and_every_message_is_accounted_for() {
    let Some(captures) =
        std::env::var_os("FEEDPLANE_CAPTURES").map(PathBuf::from).filter(|path| path.exists())
    else {
        eprintln!("SKIPPED: no captures: FEEDPLANE_CAPTURES names no folder");
        return;
    };
    let path = captures.join("nasdaq_itch50/12302019_SNIPPET.NASDAQ_ITCH50");
    let listings = Background::listings(&path).unwrap();
    assert!(listings.iter().all(|listing| listing.spec.tick <= Price(100)));
    let (mut background, mut exchange) = open(&path);
    background.play(u64::MAX, &mut exchange);
    let counts = background.counts();
    assert_eq!((counts.messages, counts.malformed, counts.missing), (1_000, 0, 0));
    assert!(counts.done && counts.error.is_none());
    // {A 367, F 193, U 225, D 167, E 28, C 1, X 6}, and 13 that are not about the book.
    assert_eq!(counts.entered + counts.refused.values().sum::<u64>(), 560);
    assert_eq!(counts.other, 13);
    let others = counts.executions + counts.cancelled + counts.replaced + counts.unknown + counts.gone;
    assert_eq!(others, 427);
    assert_eq!(counts.refused.len(), 0);
}
