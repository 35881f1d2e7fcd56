//! The background flow against what it promises: depth, rates, clusters, a middle that follows the reference.

use super::support::assert_sound;
use venue::exchange::{
    CancelReason, Exchange, ExchangeSpec, FlowSpec, Listing, NewOrder, OrderKind, Owner, Price, SessionId,
    Side, SymbolId, SymbolSpec,
};
use venue::session::Packet;
use wire::itch50::Message;
use wire::moldudp64::Messages;

const SECOND_NS: u64 = 1_000_000_000;

fn one_symbol(flow: FlowSpec, seed: u64) -> Exchange {
    let listing = Listing { spec: SymbolSpec::new("ONE"), reference: Price(1_000_000), activity: 1.0 };
    let spec = ExchangeSpec { listings: vec![listing], flow: Some(flow), ..ExchangeSpec::new(1, seed) };
    Exchange::new(&spec).unwrap()
}

/// Times of the feed's messages of these types, ns, and how many packets' messages there were in all.
fn times(exchange: &mut Exchange, until_ns: u64, types: &[u8]) -> (Vec<u64>, u64) {
    exchange.advance(until_ns);
    let (mut packet, mut times, mut all) = (Packet::default(), Vec::new(), 0);
    while exchange.take_packet(&mut packet) {
        for bytes in Messages::of(&packet.payload) {
            let head = Message::parse(bytes).unwrap().head();
            all += 1;
            if types.contains(&head.message_type) {
                times.push(head.timestamp.ns());
            }
        }
    }
    (times, all)
}

#[test]
fn the_book_is_some_tens_of_levels_deep_and_stays_so() {
    let mut exchange = one_symbol(FlowSpec::default(), 1);
    let mut resting = Vec::new();
    let mut packet = Packet::default();
    for second in 1..=600 {
        exchange.advance(second * SECOND_NS);
        while exchange.take_packet(&mut packet) {}
        let engine = exchange.engine();
        assert_sound(engine);
        for side in Side::BOTH {
            let levels = engine.levels(SymbolId(0), side).count();
            assert!((10..=80).contains(&levels), "{levels} levels after {second} s");
        }
        resting.push(engine.resting());
    }
    let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len() as f64;
    let (early, late) = (mean(&resting[..100]), mean(&resting[500..]));
    assert!((0.7..1.4).contains(&(late / early)), "{early} orders at first, {late} at last");
}

#[test]
fn the_spread_is_a_few_ticks() {
    let mut exchange = one_symbol(FlowSpec::default(), 2);
    let mut spreads = Vec::new();
    for step in 1..=2_000 {
        exchange.advance(step * SECOND_NS / 10);
        let best = |side| exchange.engine().best(SymbolId(0), side).unwrap().price.0;
        spreads.push((best(Side::Sell) - best(Side::Buy)) / 100);
    }
    spreads.sort_unstable();
    assert!(spreads[1_000] <= 3 && spreads[1_980] <= 10, "{} and {}", spreads[1_000], spreads[1_980]);
}

#[test]
fn the_rate_is_about_the_one_that_is_asked_for() {
    for events_per_s in [100.0, 5_000.0] {
        let spec = ExchangeSpec::new(8, 3);
        let flow = FlowSpec::default().with_events_per_s(events_per_s, spec.activity());
        let mut exchange = Exchange::new(&ExchangeSpec { flow: Some(flow), ..spec }).unwrap();
        let seconds = 50_000.0 / events_per_s;
        let begin = times(&mut exchange, 5_000_000, b"").1;
        let all = times(&mut exchange, (seconds * 1e9) as u64, b"").1;
        assert!(begin > 100);
        let rate = all as f64 / seconds / events_per_s;
        assert!((0.85..1.15).contains(&rate), "{rate} of what was asked for");
    }
}

#[test]
fn arrivals_come_in_clusters_when_they_cause_each_other_and_evenly_when_not() {
    // Variance over mean of the count in a tenth of a second: 1 for a Poisson process, and for a Hawkes
    // process (1 - branching)^-2 in the limit of long times.
    let dispersion = |branching| {
        let flow = FlowSpec { branching, memory_s: 0.02, ..FlowSpec::default() };
        let mut exchange = one_symbol(flow, 4);
        let (arrivals, _) = times(&mut exchange, 400 * SECOND_NS, b"A");
        let first = arrivals[0];
        let mut counts = vec![0.0; 4_000];
        for at in arrivals.iter().filter(|&&at| at > first + SECOND_NS) {
            if let Some(count) = counts.get_mut(((at - first) / (SECOND_NS / 10)) as usize) {
                *count += 1.0;
            }
        }
        let counts = &counts[10..3_990];
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        (mean, variance / mean)
    };
    let (even_mean, even) = dispersion(0.0);
    let (mean, clustered) = dispersion(0.7);
    assert!((0.85..1.15).contains(&even), "{even}");
    assert!((3.0..12.0).contains(&clustered), "{clustered}");
    assert!((0.85..1.15).contains(&(mean / even_mean)), "bursts do not change the mean: {mean}, {even_mean}");
}

#[test]
fn the_middle_stays_near_the_reference_and_moves() {
    let mut exchange = one_symbol(FlowSpec::default(), 5);
    let mut middles = Vec::new();
    let mut packet = Packet::default();
    for second in 1..=600 {
        exchange.advance(second * SECOND_NS);
        while exchange.take_packet(&mut packet) {}
        let best = |side| exchange.engine().best(SymbolId(0), side).unwrap().price.0;
        middles.push(i64::from(best(Side::Buy) + best(Side::Sell)) / 200);
    }
    let (low, high) = (middles.iter().min().unwrap(), middles.iter().max().unwrap());
    assert!(*low > 10_000 - 150 && *high < 10_000 + 150, "{low} to {high} ticks");
    assert!(high - low > 5);
}

#[test]
fn the_reference_pulls_the_middle_back() {
    // How far the middle goes from a reference that stands still, ticks.
    let farthest = |pull_per_tick| {
        let flow = FlowSpec { volatility: 0.0, pull_per_tick, ..FlowSpec::default() };
        let mut exchange = one_symbol(flow, 8);
        let (mut packet, mut farthest) = (Packet::default(), 0);
        for second in 1..=1_000 {
            exchange.advance(second * SECOND_NS);
            while exchange.take_packet(&mut packet) {}
            let best = |side| exchange.engine().best(SymbolId(0), side).unwrap().price.0;
            let middle = i64::from(best(Side::Buy) + best(Side::Sell)) / 200;
            farthest = farthest.max((middle - 10_000).abs());
        }
        farthest
    };
    let (free, pulled) = (farthest(0.0), farthest(0.05));
    println!("{free} ticks without a pull, {pulled} with it");
    assert!(pulled * 2 < free, "{free} ticks without a pull, {pulled} with it");
}

#[test]
fn a_book_that_somebody_swept_empty_fills_again() {
    let mut exchange = one_symbol(FlowSpec::default(), 6);
    let owner = Owner::Session(SessionId(1));
    exchange.advance(SECOND_NS);
    for side in Side::BOTH {
        let order =
            NewOrder { owner, token: 0, symbol: SymbolId(0), side, shares: 999_999, kind: OrderKind::Market };
        exchange.enter(SECOND_NS, &order).unwrap();
    }
    assert_eq!(exchange.engine().resting(), 0);
    exchange.advance(30 * SECOND_NS);
    assert!(exchange.engine().resting() > 50);
    assert_sound(exchange.engine());
    exchange.cancel_all(30 * SECOND_NS, SessionId(1), CancelReason::Disconnected);
}

#[test]
fn what_happens_in_one_symbol_changes_nothing_in_another() {
    let run = |trade: bool| {
        let mut exchange = Exchange::new(&ExchangeSpec::new(2, 7)).unwrap();
        if trade {
            let (owner, symbol) = (Owner::Session(SessionId(1)), SymbolId(0));
            for at in 1..20 {
                let (side, kind) = (Side::Buy, OrderKind::Market);
                let order = NewOrder { owner, token: 0, symbol, side, shares: 2_000, kind };
                exchange.enter(at * SECOND_NS, &order).unwrap();
            }
        }
        exchange.advance(30 * SECOND_NS);
        let of = |symbol| {
            let engine = exchange.engine();
            let sides = Side::BOTH.map(|side| engine.levels(SymbolId(symbol), side).collect::<Vec<_>>());
            sides.concat()
        };
        (of(0), of(1))
    };
    let (alone, traded) = (run(false), run(true));
    assert!(alone.0 != traded.0 && alone.1 == traded.1);
}
