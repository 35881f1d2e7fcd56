//! The feed against the books: what the data plane's own core makes of the packets is the engine's book, at
//! each moment and over two impaired lines.

use super::support::{Books, Entry, Random, assert_sound, entries, seeds};
use ::feed::{Channel, ChannelConfig, Itch50, Line, Sink, Stamp};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use tick::{Action, Clock, ClockSource, Instrument, Tick};
use venue::exchange::{
    Band, CancelReason, EngineConfig, Exchange, ExchangeSpec, FlowSpec, NewOrder, OrderKind, Owner, Price,
    Replacement, SelfMatch, SessionId, Side, SymbolId, TradingState,
};
use venue::impair::{Impairment, Reorder, Withheld, cut_length};
use venue::script::{Next, Pace, Script};
use venue::session::{Packet, Source};

const SEEDS: u64 = 200;
/// A session on two lines is longer.
const LINES_SEEDS: u64 = 20;
/// Of so many seeds of the model, which are quicker, there are those.
const OF_SEEDS: u64 = 20_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Books as a reader of the ticks has them.
#[derive(Default)]
struct TickBooks {
    books: Books,
    /// The side of the order that was cancelled last: a replacement has it, too.
    last_side: bool,
    gaps: u64,
    instruments: BTreeMap<u32, String>,
    statuses: Vec<(u32, u64)>,
    trades: u64,
}

impl Sink for TickBooks {
    fn tick(&mut self, tick: &Tick) {
        if tick.as_gap().is_some() {
            self.gaps += 1;
            return;
        }
        match tick.action {
            Action::Add => {
                let is_bid = match tick.side {
                    tick::Side::Bid => true,
                    tick::Side::Ask => false,
                    _ => self.last_side,
                };
                let price = (tick.price / 100_000) as u32;
                self.books.add(
                    tick.instrument_id,
                    is_bid,
                    Entry { reference: tick.order_id, price, open: tick.size },
                );
            }
            Action::Cancel => {
                let shares = (tick.size != Tick::SIZE_UNDEFINED).then_some(tick.size);
                self.last_side = self.books.take(tick.order_id, shares);
            }
            Action::Trade => self.trades += 1,
            Action::Status => self.statuses.push((tick.instrument_id, tick.order_id)),
            _ => {}
        }
    }

    fn instrument(&mut self, instrument: &Instrument) {
        self.instruments.insert(instrument.instrument_id, instrument.symbol().to_owned());
    }
}

fn stamp(at_ns: u64) -> Stamp {
    let recv_ns = venue::synthetic::SESSION_BEGIN_NS + at_ns;
    Stamp { recv_ns, clock: Clock::new(ClockSource::User, true) }
}

fn channel() -> Channel<Itch50> {
    Channel::new(ChannelConfig { next_sequence: Some(1), ..ChannelConfig::new(1, 1) }, Itch50::new(1, 1))
        .unwrap()
}

/// Some symbols, busier than by default, so that much happens in little time.
fn spec(seed: u64, random: &mut Random) -> ExchangeSpec {
    let flow = FlowSpec { speed: 20.0, levels: 12, ..FlowSpec::default() };
    let self_match =
        [None, Some(SelfMatch::CancelResting), Some(SelfMatch::CancelIncoming)][random.below(3) as usize];
    ExchangeSpec {
        engine: EngineConfig { self_match, ..EngineConfig::default() },
        flow: Some(flow),
        gather_ns: [0, 50_000, 2_000_000][random.below(3) as usize],
        ..ExchangeSpec::new(1 + random.below(4) as u16, seed)
    }
}

/// A session trades at the market, near it, and wildly.
fn trade(exchange: &mut Exchange, random: &mut Random, at_ns: u64, references: &mut Vec<u64>) {
    let symbols = exchange.engine().symbols().count() as u64;
    let symbol = SymbolId(random.below(symbols) as u16);
    let owner = Owner::Session(SessionId(random.below(3) as u32));
    let side = if random.one_in(2) { Side::Buy } else { Side::Sell };
    let best = exchange.engine().best(symbol, side).map_or(1_000_000, |level| level.price.0);
    let price = Price((best + 300).saturating_sub(100 * random.below(7) as u32));
    let shares = 1 + random.below(900) as u32;
    let reference = references.get(random.below(1 + references.len() as u64) as usize).copied().unwrap_or(0);
    let owner_of = exchange.engine().order(reference).map_or(owner, |order| order.owner);
    match random.below(20) {
        0..=9 => {
            let kinds = [OrderKind::Day(price), OrderKind::Ioc(price), OrderKind::Market];
            let kind = kinds[random.below(5).saturating_sub(2) as usize];
            let order = NewOrder { owner, token: at_ns, symbol, side, shares, kind };
            references.extend(exchange.enter(at_ns, &order).ok().map(|placed| placed.reference));
        }
        10..=13 => {
            let leave = if random.one_in(2) { 0 } else { shares };
            let _ = exchange.cancel(at_ns, owner_of, reference, leave);
        }
        14..=17 => {
            let wanted = Replacement { owner: owner_of, reference, token: at_ns, shares, price };
            references.extend(exchange.replace(at_ns, &wanted).ok().map(|placed| placed.reference));
        }
        18 if random.one_in(3) => {
            exchange.cancel_all(at_ns, SessionId(random.below(3) as u32), CancelReason::Disconnected);
        }
        19 if random.one_in(3) => {
            let states =
                [TradingState::Halted, TradingState::PreOpen, TradingState::Open, TradingState::Open];
            exchange.set_state(at_ns, symbol, states[random.below(4) as usize]).unwrap();
        }
        _ if random.one_in(10) => {
            let band = Band { low: Price(best / 2 + 1), high: Price(best * 2) };
            exchange.set_band(at_ns, symbol, band).unwrap();
        }
        _ => exchange.advance(at_ns),
    }
}

fn assert_same(exchange: &Exchange, seen: &TickBooks) {
    let engine = exchange.engine();
    for symbol in engine.symbols() {
        for side in Side::BOTH {
            let public = seen.books.orders(u32::from(symbol.0) + 1, side == Side::Buy);
            assert_eq!(entries(engine, symbol, side), public, "{symbol:?} {side:?}");
        }
    }
    assert_eq!(seen.books.len(), engine.resting());
}

#[test]
fn the_book_from_the_feed_is_the_engines_at_each_moment() {
    for seed in seeds(SEEDS, OF_SEEDS) {
        let mut random = Random(seed);
        let mut spec = spec(seed, &mut random);
        // At each moment: nothing waits for company.
        spec.gather_ns = 0;
        let mut exchange = Exchange::new(&spec).unwrap();
        let (mut channel, mut seen, mut packet) = (channel(), TickBooks::default(), Packet::default());
        let (mut at_ns, mut references) = (0, Vec::new());
        for _ in 0..400 {
            at_ns += random.below(4_000_000);
            // Each thing that the background does, one by one.
            while let Some(next_ns) = exchange.next_ns().filter(|&next_ns| next_ns < at_ns) {
                exchange.advance(next_ns);
                drain(&mut exchange, &mut channel, &mut seen, &mut packet);
                assert_same(&exchange, &seen);
            }
            trade(&mut exchange, &mut random, at_ns, &mut references);
            drain(&mut exchange, &mut channel, &mut seen, &mut packet);
            assert_same(&exchange, &seen);
            assert_sound(exchange.engine());
        }
        exchange.close(at_ns);
        drain(&mut exchange, &mut channel, &mut seen, &mut packet);
        assert_eq!((seen.books.len(), exchange.engine().resting(), seen.gaps), (0, 0, 0), "seed {seed}");
        assert!(seen.trades > 0);
        for (at, listing) in spec.listings.iter().enumerate() {
            assert_eq!(seen.instruments[&(at as u32 + 1)], listing.spec.name);
        }
    }
}

fn drain(exchange: &mut Exchange, channel: &mut Channel<Itch50>, seen: &mut TickBooks, packet: &mut Packet) {
    while exchange.take_packet(packet) {
        assert!(packet.payload.len() <= 1_472 && packet.channel == 0);
        channel.on_packet(Line::A, stamp(packet.at_ns), &packet.payload, seen);
        assert_eq!(channel.expected(), Some(packet.first + u64::from(packet.count)));
    }
}

fn digest(orders: impl Fn(u32, Side) -> Vec<Entry>, symbols: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    for symbol in 0..symbols {
        for side in Side::BOTH {
            for Entry { reference, price, open } in orders(symbol, side) {
                (symbol, side as u8, reference, price, open).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

#[test]
fn on_two_impaired_lines_the_books_are_the_engines_wherever_a_reader_stands() {
    for seed in seeds(LINES_SEEDS, OF_SEEDS) {
        let mut random = Random(seed);
        let spec = ExchangeSpec { duration_ns: Some(SECOND_NS / 2), ..spec(seed, &mut random) };
        let symbols = spec.listings.len() as u32;
        // Once alone, to know the books at each number.
        let mut exchange = Exchange::new(&spec).unwrap();
        let mut books_at = HashMap::new();
        while let Some(next_ns) = exchange.next_ns() {
            exchange.advance(next_ns);
            let engine = exchange.engine();
            let books = digest(|symbol, side| entries(engine, SymbolId(symbol as u16), side), symbols);
            books_at.insert(exchange.next_sequence(), books);
        }
        // Then over the lines: A loses, damages and reorders, B is late and loses nothing.
        let a = Impairment {
            loss: 0.2,
            duplicate: 0.1,
            corrupt: 0.02,
            truncate: 0.02,
            reorder: Some(Reorder { probability: 0.1, packets: 3, hold_ns: 1_000_000 }),
            ..Impairment::default()
        };
        let b = Impairment { skew_ns: 300_000, jitter_ns: 100_000, ..Impairment::default() };
        let exchange = Exchange::new(&spec).unwrap();
        let mut script = Script::new(exchange, Pace::Recorded { speed: 1.0 }, [a, b], seed);
        let (mut channel, mut seen) = (channel(), TickBooks::default());
        let (mut now_ns, mut compared) = (0, 0);
        loop {
            let (line, payload) = match script.next(now_ns) {
                Next::Wait(until_ns) => {
                    now_ns = until_ns;
                    continue;
                }
                Next::End => break,
                Next::Send(dispatch) => {
                    let mut payload = dispatch.payload.to_vec();
                    match dispatch.damage {
                        // A receiver's checksum keeps these from the core.
                        Some((Withheld::Corrupt, _)) => continue,
                        Some((_, damage)) => payload.truncate(cut_length(payload.len(), damage)),
                        None => {}
                    }
                    (dispatch.line, payload)
                }
            };
            let line = if line == venue::session::Line::A { Line::A } else { Line::B };
            channel.on_packet(line, stamp(now_ns), &payload, &mut seen);
            if let Some(&books) = books_at.get(&channel.expected().unwrap()) {
                compared += 1;
                let public = |symbol, side| seen.books.orders(symbol + 1, side == Side::Buy);
                assert_eq!(digest(public, symbols), books, "seed {seed} at {:?}", channel.expected());
            }
        }
        assert_eq!((seen.gaps, seen.books.len()), (0, 0));
        assert!(compared > 100, "{compared}");
    }
}

#[test]
fn the_same_seed_and_orders_give_the_same_bytes_and_reports_and_another_seed_others() {
    let run = |seed: u64, orders: u64| {
        let mut exchange = Exchange::new(&spec(seed, &mut Random(1))).unwrap();
        let (mut random, mut references) = (Random(orders), Vec::new());
        for at in 1..300 {
            trade(&mut exchange, &mut random, at * 3_000_000, &mut references);
        }
        exchange.close(SECOND_NS);
        let (mut packet, mut packets) = (Packet::default(), Vec::new());
        while exchange.next(&mut packet).unwrap() {
            packets.push(packet.clone());
        }
        let reports: Vec<_> = std::iter::from_fn(|| exchange.take_report()).collect();
        (packets, reports)
    };
    let once = run(1, 1);
    assert!(once.0.len() > 100 && once.1.len() > 100, "{} packets, {} reports", once.0.len(), once.1.len());
    assert!(once == run(1, 1));
    assert!(once.0 != run(2, 1).0 && once.1 != run(1, 2).1);
}

#[test]
fn packets_leave_in_sequence_and_in_time_with_heartbeats_and_an_end() {
    let spec = ExchangeSpec { flow: None, duration_ns: Some(5 * SECOND_NS), ..ExchangeSpec::new(3, 1) };
    let mut exchange = Exchange::new(&spec).unwrap();
    let (mut packet, mut next, mut at_ns, mut heartbeats, mut closing) = (Packet::default(), 1, 0, 0, 0);
    while exchange.next(&mut packet).unwrap() {
        assert!(packet.first == next && packet.at_ns >= at_ns && packet.at_ns - at_ns <= SECOND_NS);
        (next, at_ns) = (next + u64::from(packet.count), packet.at_ns);
        heartbeats += u32::from(packet.count == 0 && !packet.closing);
        closing += u32::from(packet.closing);
    }
    // O, three directories and states, S; Q and three states; M, three states, E and C.
    assert_eq!((next, heartbeats, closing), (1 + 8 + 4 + 6, 4, 3));
    assert_eq!(exchange.next_ns(), None);
}

#[test]
fn ending_early_closes_the_books_and_the_feed() {
    let mut exchange = Exchange::new(&ExchangeSpec::new(2, 1)).unwrap();
    let mut packet = Packet::default();
    for _ in 0..300 {
        assert!(exchange.next(&mut packet).unwrap());
    }
    exchange.end_early();
    let mut packets = 0;
    while exchange.next(&mut packet).unwrap() {
        packets += 1;
    }
    assert!(packet.closing && packets < 50 && exchange.engine().resting() == 0, "{packets}");
}

#[test]
fn an_exchange_that_cannot_be_is_refused() {
    let wrong: [fn(&mut ExchangeSpec); 8] = [
        |spec| spec.destinations = [None, None],
        |spec| spec.listings.clear(),
        |spec| spec.listings[0].reference = Price(300),
        |spec| spec.listings[0].activity = 0.0,
        |spec| spec.listings[0].spec.lot = 7,
        |spec| spec.flow.as_mut().unwrap().levels = 0,
        |spec| spec.flow.as_mut().unwrap().branching = 1.0,
        |spec| spec.flow.as_mut().unwrap().speed = f64::NAN,
    ];
    for change in wrong {
        let mut spec = ExchangeSpec::new(1, 1);
        change(&mut spec);
        assert!(Exchange::new(&spec).is_err(), "{spec:?}");
    }
}
