//! Made-up MDP 3.0 sessions, read back by offsets written down here and not by the decoder: the book by price
//! and the book by order, built from the messages alone, must agree after every event.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use venue::session::{Packet, Protocol, Source};
use venue::synthetic::{SESSION_BEGIN_NS, SessionEnd, Synthetic, SyntheticSpec};

fn spec(messages: u64, seed: u64) -> SyntheticSpec {
    SyntheticSpec { protocol: Protocol::Mdp3, ..SyntheticSpec::new(SessionEnd::Messages(messages), seed) }
}

fn for_each_packet(spec: &SyntheticSpec, mut take: impl FnMut(&Packet)) {
    let mut source = Synthetic::new(spec).unwrap();
    let mut packet = Packet::default();
    while source.next(&mut packet).unwrap() {
        take(&packet);
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

/// Template id and what follows the message header, of each message.
fn messages(payload: &[u8]) -> Vec<(u64, &[u8])> {
    let mut messages = Vec::new();
    let mut rest = &payload[12..];
    while !rest.is_empty() {
        let size = number::<2>(rest, 0) as usize;
        messages.push((number::<2>(rest, 4), &rest[10..size]));
        rest = &rest[size..];
    }
    messages
}

/// The entries of a group whose dimension begins at `at`, and where it ends.
fn group(body: &[u8], at: usize, dimension_bytes: usize) -> (Vec<&[u8]>, usize) {
    let length = number::<2>(body, at) as usize;
    let count = usize::from(body[at + dimension_bytes - 1]);
    let begin = at + dimension_bytes;
    let entries = (0..count).map(|index| &body[begin + index * length..][..length]).collect();
    (entries, begin + count * length)
}

/// Price, size and orders.
type Level = (u64, u64, u64);

#[derive(Default)]
struct Books {
    /// The levels by price of a security and side.
    levels: HashMap<(u64, u8), Vec<Level>>,
    /// Security, side, price and quantity.
    orders: HashMap<u64, (u64, u8, u64, u64)>,
    rpt_seq: HashMap<u64, u64>,
    templates: BTreeMap<u64, u64>,
    touched: Vec<u64>,
    /// What a trade took of an order, until the order's own change confirms it.
    traded: Option<(u64, u64)>,
}

impl Books {
    fn apply(&mut self, template: u64, body: &[u8]) {
        *self.templates.entry(template).or_default() += 1;
        match template {
            46 => self.book(body),
            47 => self.order_book(body),
            48 => self.trade(body),
            12 | 30 | 54 => return,
            other => panic!("template {other}"),
        }
        let end_of_event = body[8] & 0x80 != 0;
        if end_of_event {
            assert_eq!(self.traded, None, "a trade of a resting order changes the order");
            for security in std::mem::take(&mut self.touched) {
                self.check(security);
            }
        }
    }

    fn count_rpt_seq(&mut self, security: u64, rpt_seq: u64) {
        let last = self.rpt_seq.entry(security).or_default();
        assert_eq!(rpt_seq, *last + 1);
        *last = rpt_seq;
    }

    fn book(&mut self, body: &[u8]) {
        let (entries, at) = group(body, 11, 3);
        let (orders, end) = group(body, at, 8);
        assert_eq!(end, body.len());
        for entry in &entries {
            let (price, size) = (number::<8>(entry, 0), number::<4>(entry, 8));
            let (security, number_of_orders) = (number::<4>(entry, 12), number::<4>(entry, 20));
            self.count_rpt_seq(security, number::<4>(entry, 16));
            let (level, action, side) = (usize::from(entry[24]), entry[25], entry[26]);
            assert!((1..=10).contains(&level));
            self.touched.push(security);
            let levels = self.levels.entry((security, side)).or_default();
            match action {
                0 => {
                    assert!(size > 0 && level <= levels.len() + 1);
                    levels.insert(level - 1, (price, size, number_of_orders));
                    levels.truncate(10);
                }
                1 => {
                    assert_eq!(levels[level - 1].0, price);
                    levels[level - 1] = (price, size, number_of_orders);
                }
                2 => assert_eq!(levels.remove(level - 1).0, price),
                other => panic!("update action {other}"),
            }
        }
        for order in orders {
            let entry = entries[usize::from(order[20]) - 1];
            let place = (number::<4>(entry, 12), entry[26], number::<8>(entry, 0));
            self.order(number::<8>(order, 0), place, number::<4>(order, 16), order[21]);
        }
    }

    fn order_book(&mut self, body: &[u8]) {
        let (entries, end) = group(body, 11, 3);
        assert_eq!(end, body.len());
        for entry in entries {
            let place = (number::<4>(entry, 28), entry[33], number::<8>(entry, 16));
            self.touched.push(place.0);
            self.order(number::<8>(entry, 0), place, number::<4>(entry, 24), entry[32]);
        }
    }

    fn order(&mut self, id: u64, (security, side, price): (u64, u8, u64), quantity: u64, action: u8) {
        let (before, left) = match action {
            0 => {
                assert!(quantity > 0);
                assert_eq!(self.orders.insert(id, (security, side, price, quantity)), None);
                return;
            }
            1 => {
                let order = self.orders.get_mut(&id).expect("a known order");
                assert_eq!((order.0, order.1, order.2), (security, side, price));
                assert!(quantity > 0 && quantity < order.3);
                (std::mem::replace(&mut order.3, quantity), quantity)
            }
            2 => {
                let (_, _, _, before) = self.orders.remove(&id).expect("a known order");
                assert_eq!(quantity, before, "a deletion names what it takes off, as CME's do");
                (before, 0)
            }
            other => panic!("update action {other}"),
        };
        if let Some((traded, shares)) = self.traded.take_if(|(traded, _)| *traded == id) {
            assert_eq!(before - shares, left, "order {traded}");
        }
    }

    fn trade(&mut self, body: &[u8]) {
        let (entries, at) = group(body, 11, 3);
        let (orders, end) = group(body, at, 8);
        assert_eq!((entries.len(), end), (1, body.len()));
        self.count_rpt_seq(number::<4>(entries[0], 12), number::<4>(entries[0], 16));
        assert!(number::<8>(entries[0], 0) > 0 && number::<4>(entries[0], 8) > 0);
        for order in orders {
            let (id, quantity) = (number::<8>(order, 0), number::<4>(order, 8));
            let (security, side, price, resting) = self.orders[&id];
            assert!(quantity <= resting);
            assert_eq!(self.levels[&(security, side)][0].0, price, "only the best price trades");
            self.traded = Some((id, quantity));
        }
    }

    /// Each visible level is exactly the orders at its price, and no better order is hidden.
    fn check(&self, security: u64) {
        for side in *b"01" {
            let mut by_price: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            for (_, _, price, quantity) in
                self.orders.values().filter(|order| (order.0, order.1) == (security, side))
            {
                let level = by_price.entry(*price).or_default();
                *level = (level.0 + quantity, level.1 + 1);
            }
            let mut expected: Vec<_> =
                by_price.into_iter().map(|(price, (size, orders))| (price, size, orders)).collect();
            if side == b'0' {
                expected.reverse();
            }
            expected.truncate(10);
            let levels = self.levels.get(&(security, side)).map_or(&[][..], Vec::as_slice);
            assert_eq!(levels, expected);
        }
        let best = |side| self.levels.get(&(security, side)).and_then(|levels| levels.first());
        if let (Some(bid), Some(ask)) = (best(b'0'), best(b'1')) {
            assert!(bid.0 < ask.0);
        }
    }
}

#[test]
fn the_books_by_price_and_by_order_agree_after_every_event() {
    for (seed, symbols) in [(1, 1), (2, 20)] {
        let mut books = Books::default();
        for_each_packet(&SyntheticSpec { symbols, ..spec(30_000, seed) }, |packet| {
            for (template, body) in messages(&packet.payload) {
                books.apply(template, body);
            }
        });
        assert_eq!(books.templates[&54], u64::from(symbols));
        assert_eq!((books.templates[&30], books.templates[&12]), (2, 3));
        let common: &[u64] = if symbols > 1 { &[46, 47, 48] } else { &[46, 48] };
        assert!(common.iter().all(|template| books.templates[template] > 100), "{:?}", books.templates);
    }
}

#[test]
fn packets_are_numbered_timed_and_counted() {
    let mut next = [1; 3];
    let (mut total, mut heartbeats) = (0, 0);
    for_each_packet(&SyntheticSpec { channels: 3, ..spec(10_000, 5) }, |packet| {
        assert_eq!(number::<4>(&packet.payload, 0), next[packet.channel]);
        assert_eq!((packet.first, packet.count), (next[packet.channel], 1));
        assert_eq!(number::<8>(&packet.payload, 4), SESSION_BEGIN_NS + packet.at_ns);
        assert!(packet.payload.len() <= 1_472);
        let messages = messages(&packet.payload);
        assert_eq!(packet.messages as usize, messages.len());
        next[packet.channel] += 1;
        total += messages.len() as u64;
        heartbeats += messages.iter().filter(|(template, _)| *template == 12).count() as u64;
    });
    let session = total - heartbeats;
    assert!((10_000..=10_003).contains(&session), "{session}");
}

#[test]
fn a_session_is_decided_by_its_seed() {
    let session = |seed| {
        let mut packets = Vec::new();
        for_each_packet(&SyntheticSpec { channels: 2, ..spec(5_000, seed) }, |packet| {
            packets.push(packet.clone());
        });
        packets
    };
    assert!(session(1) == session(1));
    assert!(session(1) != session(2));
}
