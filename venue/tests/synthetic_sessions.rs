//! Made-up sessions: repeatable, well formed, and consistent as a market.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use venue::session::{Packet, Source};
use venue::synthetic::{SessionEnd, Synthetic, SyntheticSpec};
use wire::itch50::Message;
use wire::moldudp64::{Kind, Packet as MoldPacket};

fn packets(spec: &SyntheticSpec) -> Vec<Packet> {
    let mut source = Synthetic::new(spec).unwrap();
    let mut packets = Vec::new();
    let mut packet = Packet::default();
    while source.next(&mut packet).unwrap() {
        packets.push(packet.clone());
    }
    packets
}

fn spec(messages: u64, seed: u64) -> SyntheticSpec {
    SyntheticSpec::new(SessionEnd::Messages(messages), seed)
}

#[test]
fn a_session_is_decided_by_its_seed() {
    let session = |seed| packets(&SyntheticSpec { channels: 3, ..spec(20_000, seed) });
    assert!(session(1) == session(1));
    assert!(session(1) != session(2));
}

#[test]
fn a_session_has_exactly_the_messages_asked_for_in_sequence_and_in_time() {
    for channels in [1, 3] {
        let session = packets(&SyntheticSpec { channels, ..spec(10_001, 9) });
        let mut next = vec![1; usize::from(channels)];
        let mut at_ns = 0;
        for packet in &session {
            let mold = MoldPacket::parse(&packet.payload).unwrap();
            assert_eq!((mold.sequence(), packet.first), (next[packet.channel], next[packet.channel]));
            if let Kind::Data(count) = mold.kind() {
                assert_eq!((u32::from(count), packet.messages), (packet.count, packet.count));
            }
            next[packet.channel] += u64::from(packet.count);
            assert!(packet.at_ns >= at_ns && packet.payload.len() <= 1_472);
            at_ns = packet.at_ns;
        }
        assert_eq!(next.iter().map(|next| next - 1).sum::<u64>(), 10_001);
    }
}

#[test]
fn the_rate_and_the_packet_size_are_those_asked_for() {
    let wanted = SyntheticSpec { messages_per_s: 50_000.0, messages_per_packet: 4.0, ..spec(200_000, 3) };
    let session = packets(&wanted);
    let data: Vec<_> = session.iter().filter(|packet| packet.count > 0).collect();
    let seconds = data.last().unwrap().at_ns as f64 / 1e9;
    assert!((3.8..4.2).contains(&seconds), "{seconds} s");
    let per_packet = 200_000.0 / data.len() as f64;
    assert!((3.8..4.2).contains(&per_packet), "{per_packet} in a packet");
}

#[test]
fn a_session_ends_at_its_duration_and_says_so_in_packets_that_are_never_withheld() {
    let wanted = SyntheticSpec::new(SessionEnd::Duration(2_000_000_000), 4);
    let session = packets(&wanted);
    let (before, closing) = session.split_at(session.len() - 3);
    assert!(closing.iter().all(|packet| {
        packet.closing && MoldPacket::parse(&packet.payload).unwrap().kind() == Kind::EndOfSession
    }));
    assert!(before.iter().all(|packet| !packet.closing));
    let last = before.last().unwrap();
    assert!((2_000_000_000..2_010_000_000).contains(&last.at_ns), "{}", last.at_ns);
}

#[test]
fn a_quiet_channel_sends_a_heartbeat_each_second() {
    let wanted = SyntheticSpec { messages_per_s: 0.2, messages_per_packet: 1.0, ..spec(320, 4) };
    let session = packets(&wanted);
    assert!(session.iter().filter(|packet| packet.count == 0 && !packet.closing).count() > 10);
    assert!(session.windows(2).all(|pair| pair[1].at_ns - pair[0].at_ns <= 1_000_000_000));
}

#[test]
fn ending_early_still_closes_every_channel_in_sequence() {
    let mut source = Synthetic::new(&SyntheticSpec { channels: 4, ..spec(u64::MAX, 5) }).unwrap();
    let (mut packet, mut closing, mut packets) = (Packet::default(), 0, 0);
    while source.next(&mut packet).unwrap() {
        packets += 1;
        if packets == 500 {
            source.end_early();
        }
        closing += u32::from(packet.closing);
    }
    assert_eq!(closing, 4 * 3);
    assert!(packets < 600, "{packets}");
}

#[test]
fn what_cannot_be_is_refused() {
    let wrong: [fn(&mut SyntheticSpec); 6] = [
        |spec| spec.channels = 0,
        |spec| spec.symbols = 0,
        |spec| spec.messages_per_s = 0.0,
        |spec| spec.messages_per_packet = f64::NAN,
        |spec| spec.destinations = [None, None],
        |spec| {
            spec.channels = 100;
            spec.destinations[0].as_mut().unwrap().set_port(65_500);
        },
    ];
    for change in wrong {
        let mut wanted = spec(1, 1);
        change(&mut wanted);
        assert!(Synthetic::new(&wanted).is_err(), "{wanted:?}");
    }
}

/// A book built from the messages alone.
#[derive(Default)]
struct Book {
    /// Symbol, side, shares and price of each resting order.
    orders: HashMap<u64, (u16, u8, u32, u32)>,
    /// Shares by symbol, side and price.
    levels: BTreeMap<(u16, u8, u32), u64>,
    used: std::collections::HashSet<u64>,
    stocks: HashMap<u16, [u8; 8]>,
    matches: u64,
    counts: BTreeMap<u8, u64>,
}

impl Book {
    fn add(&mut self, reference: u64, locate: u16, side: u8, shares: u32, price: u32) {
        assert!(self.used.insert(reference), "order {reference} stands twice");
        assert!(shares > 0 && price > 0 && matches!(side, b'B' | b'S'));
        self.orders.insert(reference, (locate, side, shares, price));
        *self.levels.entry((locate, side, price)).or_default() += u64::from(shares);
        self.assert_not_crossed(locate);
    }

    fn take(&mut self, reference: u64, locate: u16, shares: Option<u32>) -> (u8, u32) {
        let order = self.orders.get_mut(&reference).expect("a known order");
        let (of, side, left, price) = *order;
        let shares = shares.unwrap_or(left);
        assert!(of == locate && shares > 0 && shares <= left, "{shares} of {left}");
        order.2 -= shares;
        if order.2 == 0 {
            self.orders.remove(&reference);
        }
        let level = self.levels.get_mut(&(locate, side, price)).unwrap();
        *level -= u64::from(shares);
        if *level == 0 {
            self.levels.remove(&(locate, side, price));
        }
        (side, price)
    }

    fn best(&self, locate: u16, side: u8) -> Option<u32> {
        let mut levels = self.levels.range((locate, side, 0)..=(locate, side, u32::MAX));
        let found = if side == b'B' { levels.next_back() } else { levels.next() };
        found.map(|(&(_, _, price), _)| price)
    }

    fn assert_not_crossed(&self, locate: u16) {
        if let (Some(bid), Some(ask)) = (self.best(locate, b'B'), self.best(locate, b'S')) {
            assert!(bid < ask, "{bid} and {ask}");
        }
    }

    fn matched(&mut self, number: u64) {
        assert!(number > self.matches, "match numbers are used once");
        self.matches = number;
    }

    fn execute(&mut self, reference: u64, locate: u16, shares: u32) {
        let (_, side, _, price) = self.orders[&reference];
        assert_eq!(self.best(locate, side), Some(price), "only the best price is executed");
        self.take(reference, locate, Some(shares));
    }

    fn apply(&mut self, message: &Message<'_>) {
        let head = message.head();
        let locate = head.stock_locate.get();
        *self.counts.entry(head.message_type).or_default() += 1;
        match message {
            Message::StockDirectory(directory) => {
                assert!(self.stocks.insert(locate, directory.stock).is_none());
            }
            Message::AddOrder(add) => {
                assert_eq!(self.stocks[&locate], add.stock);
                self.add(add.order_reference.get(), locate, add.side, add.shares.get(), add.price.units());
            }
            Message::AddOrderMpid(add) => {
                assert_eq!(self.stocks[&locate], add.stock);
                self.add(add.order_reference.get(), locate, add.side, add.shares.get(), add.price.units());
            }
            Message::OrderExecuted(executed) => {
                self.matched(executed.match_number.get());
                self.execute(executed.order_reference.get(), locate, executed.executed_shares.get());
            }
            Message::OrderExecutedWithPrice(executed) => {
                self.matched(executed.match_number.get());
                self.execute(executed.order_reference.get(), locate, executed.executed_shares.get());
            }
            Message::OrderCancel(cancel) => {
                let reference = cancel.order_reference.get();
                self.take(reference, locate, Some(cancel.cancelled_shares.get()));
                assert!(self.orders.contains_key(&reference), "a cancel leaves something");
            }
            Message::OrderDelete(delete) => {
                self.take(delete.order_reference.get(), locate, None);
            }
            Message::OrderReplace(replace) => {
                let (side, _) = self.take(replace.original_reference.get(), locate, None);
                let (reference, shares) = (replace.new_reference.get(), replace.shares.get());
                self.add(reference, locate, side, shares, replace.price.units());
            }
            Message::Trade(trade) => {
                assert_eq!(self.stocks[&locate], trade.stock);
                self.matched(trade.match_number.get());
            }
            Message::BrokenTrade(broken) => assert_eq!(broken.match_number.get(), self.matches),
            Message::SystemEvent(_) | Message::StockTradingAction(_) | Message::RegSho(_) => {}
            other => panic!("{other:?} is not of such a session"),
        }
    }
}

#[test]
fn the_market_is_consistent_from_the_first_message_to_the_last() {
    for (seed, symbols) in [(1, 1), (2, 7), (3, 200)] {
        let mut books: HashMap<usize, Book> = HashMap::new();
        let wanted = SyntheticSpec { symbols, channels: 2, ..spec(150_000, seed) };
        let mut times = HashMap::new();
        for packet in packets(&wanted) {
            let book = books.entry(packet.channel).or_default();
            for bytes in MoldPacket::parse(&packet.payload).unwrap().messages() {
                let message = Message::parse(bytes).unwrap();
                let ns = message.head().timestamp.ns();
                assert!(times.insert(packet.channel, ns).is_none_or(|before| before <= ns));
                book.apply(&message);
            }
        }
        let count = |kind| books.values().map(|book| book.counts[&kind]).sum::<u64>();
        assert_eq!(count(b'S'), 2 * 6);
        assert_eq!(count(b'R'), 2 * u64::from(symbols));
        for kind in *b"AFEXDUCP" {
            assert!(count(kind) > 100, "{} is rare: {}", kind as char, count(kind));
        }
        assert!(count(b'A') > count(b'D') && count(b'D') > count(b'E'));
    }
}
