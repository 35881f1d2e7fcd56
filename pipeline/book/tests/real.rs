//! Real data: a day of one future by order, and a thousand messages from the middle of Nasdaq's day.
//!
//! The figures were counted independently, by short Python programs over the same files.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use book::{Applied, BookState, Books, Level, Limits, Refusal, Why};
use feed::{Delivery, Itch50, Protocol, Sink, Stamp};
use std::collections::BTreeMap;
use support::{UNIT, capture, es_ticks};
use tick::{Action, Clock, ClockSource, Flags, Instrument, Side, Source, Tick};

const AUCTION_FIRST: usize = 9_650;
/// The future's trading day opens at 23:00:00 UTC.
const OPEN_NS: u64 = 1_703_545_200_000_000_000;

#[test]
fn every_action_of_the_es_file_is_applied_and_the_book_ends_as_counted() {
    let test = "every_action_of_the_es_file_is_applied_and_the_book_ends_as_counted";
    let Some(ticks) = es_ticks(test) else { return };
    let mut books = Books::new(Limits::SMALL);
    let mut refused = BTreeMap::new();
    let (mut trades, mut traded, mut applied) = (0, 0, BTreeMap::new());
    for (at, tick) in ticks.iter().enumerate() {
        let did: Applied = books.apply(tick);
        *applied.entry(tick.action.0).or_insert(0) += u32::from(did.refused.is_none());
        if let Some(refusal) = did.refused {
            refused.entry((char::from(tick.action.0), refusal as u8)).or_insert(Vec::new()).push(at);
        }
        if let Some(trade) = did.trade {
            (trades, traded) = (trades + 1, traded + u64::from(trade.size));
            assert_eq!((trade.price, trade.aggressor), (tick.price, tick.side));
        }
    }
    // The opening auction fills seven orders that the market data never showed.
    let unknown = vec![9_659, 9_661, 9_662, 9_663, 9_665, 9_667, 9_669];
    assert_eq!(refused, [(('F', Refusal::UnknownOrder as u8), unknown)].into());
    let whole = [(b'A', 29_216), (b'C', 17_999), (b'F', 6_371 - 7), (b'M', 12_233), (b'T', 2_973)];
    assert_eq!((applied, trades, traded), (whole.into(), 2_973, 9_892));

    let book = books.book(books.find(1, 17_077).unwrap());
    assert_eq!((book.state(), books.orders_len()), (BookState::Good, 11_217));
    let side =
        |side: Side| (book.levels(side).count(), book.levels(side).map(|level| level.size).sum::<u64>());
    assert_eq!((side(Side::Bid), side(Side::Ask)), ((922, 22_050), (565, 20_110)));
    let best = |side: Side| book.best(side).map(|Level { price, size, .. }| (price, size));
    assert_eq!(best(Side::Bid), Some((4_810 * UNIT, 22)));
    assert_eq!(best(Side::Ask), Some((4_810 * UNIT + UNIT / 4, 28)));
}

/// The file has no status records. What it says is this: the book is crossed from the first order of the
/// pre-opening that meets the other side until the auction at 23:00:00, whose trade has no aggressor.
#[test]
fn the_es_book_is_crossed_only_before_its_opening_auction() {
    let Some(ticks) = es_ticks("the_es_book_is_crossed_only_before_its_opening_auction") else { return };
    assert_eq!((ticks[AUCTION_FIRST].action, ticks[AUCTION_FIRST].side), (Action::Trade, Side::None));
    assert_eq!(ticks[AUCTION_FIRST].ts_event, OPEN_NS);
    let mut books = Books::new(Limits::SMALL);
    let mut crossed = Vec::new();
    let mut snapshot = 0;
    for (at, tick) in ticks.iter().enumerate() {
        let id = books.apply(tick).book.unwrap();
        match books.book(id).state() {
            BookState::Bad(Why::Crossed) if tick.flags.contains(Flags::LAST) => crossed.push(at),
            BookState::Bad(Why::Crossed) => assert!(tick.ts_event <= OPEN_NS, "record {at}"),
            BookState::Bad(Why::Snapshot) => snapshot += 1,
            state => assert_eq!(state, BookState::Good, "record {at}"),
        }
    }
    assert_eq!(snapshot, 8_725);
    assert_eq!((crossed.len(), crossed.first(), crossed.last()), (891, Some(&8_759), Some(&9_649)));
}

#[derive(Default)]
struct Kept(Vec<Tick>);

impl Sink for Kept {
    fn tick(&mut self, tick: &Tick) {
        self.0.push(*tick);
    }
    fn instrument(&mut self, _instrument: &Instrument) {}
}

/// The messages of a file as one delivery's ticks.
fn itch_ticks(file: &[u8]) -> Vec<Tick> {
    let mut decoder = Itch50::new(2, 40);
    let mut kept = Kept::default();
    for (sequence, message) in (1_000..).zip(wire::itch50::Frames::new(file)) {
        let mut buffer = [0; 200];
        let mut writer = wire::moldudp64::PacketWriter::new(&mut buffer, *b"000010059B", sequence).unwrap();
        writer.push(message.unwrap()).unwrap();
        let payload = writer.finish();
        let header = decoder.header(payload).unwrap();
        let stamp =
            Stamp { recv_ns: 1_577_716_200_000_000_000, clock: Clock::new(ClockSource::Capture, true) };
        let (source, flags) = (Source::A, Flags::NONE);
        let delivery = Delivery { payload, header, sequence, skip: 0, take: 1, source, stamp, flags };
        decoder.decode(&delivery, &mut kept, &mut |malformed| panic!("{malformed:?}"));
    }
    kept.0
}

#[test]
fn a_session_joined_in_the_middle_names_unknown_orders_and_prices_the_trades_that_it_can() {
    let test = "a_session_joined_in_the_middle_names_unknown_orders_and_prices_the_trades_that_it_can";
    let Some(path) = capture(test, "nasdaq_itch50/12302019_SNIPPET.NASDAQ_ITCH50") else { return };
    let ticks = itch_ticks(&std::fs::read(path).unwrap());
    let mut books = Books::new(Limits { instruments: 1_000, ..Limits::SMALL });
    let mut refused = BTreeMap::new();
    let (mut trades, mut traded) = (0, 0);
    for tick in &ticks {
        let applied = books.apply(tick);
        if let Some(refusal) = applied.refused {
            *refused.entry((char::from(tick.action.0), format!("{refusal:?}"))).or_insert(0) += 1;
        }
        if let Some(trade) = applied.trade {
            (trades, traded) = (trades + 1, traded + u64::from(trade.size));
        }
    }
    // 399 of 427 orders taken off are of before the file; so are all 225 replaced and the 29 executed.
    let counted = [
        (('A', "BadSide"), 225),
        (('C', "UnknownOrder"), 399),
        (('F', "TradeWithoutPrice"), 28),
        (('F', "UnknownOrder"), 1),
    ];
    assert_eq!(refused, counted.map(|((action, why), count)| ((action, why.to_owned()), count)).into());
    assert_eq!((trades, traded), (6, 8_740));
    assert_eq!((books.orders_len(), books.levels_len()), (532, 421));
    assert!(books.iter().all(|(_, book)| book.state() == BookState::Bad(Why::NotFromStart)));
}
