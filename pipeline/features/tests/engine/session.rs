//! A small market to write sessions with, and an engine that keeps what it publishes.

use book::Limits;
use bus::config::{Bars, Change, Feature, FeatureSet, PublishSection};
use bus::{FeatureRecord, Quality};
use features::Engine;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tick::{Action, Flags, GapReason, Side, Tick};

pub(crate) const PUBLISHER: u16 = 1;
pub(crate) const INSTRUMENT: u32 = 42;
pub(crate) const CHANNEL: u16 = 7;
/// 2023-11-14T22:13:20Z: 80,000 s after midnight.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// A price of so many hundredths.
pub(crate) fn cents(cents: i64) -> i64 {
    cents * 10_000_000
}

/// A set with these features that publishes with every event.
pub(crate) fn set(bars: Option<Bars>, features: &[Feature]) -> FeatureSet {
    let publish = PublishSection { every_ms: Some(1), on_change: Vec::new() };
    FeatureSet { name: "test".into(), instruments: None, bars, publish, features: features.to_vec() }
}

pub(crate) fn change(value: &str, by: f64) -> Change {
    Change { value: value.into(), by }
}

/// A record that outlives its engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) set: usize,
    pub(crate) number: u64,
    pub(crate) key: (u16, u32),
    pub(crate) time_ns: u64,
    pub(crate) channel_id: u16,
    pub(crate) sequence: u64,
    pub(crate) schema_id: u64,
    pub(crate) quality: Quality,
    /// As they travel, so that records are equal when they are equal bit for bit.
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    pub(crate) fn new(set: usize, record: &FeatureRecord<'_>) -> Record {
        Record {
            set,
            number: record.number,
            key: (record.publisher_id, record.instrument_id),
            time_ns: record.time_ns,
            channel_id: record.channel_id,
            sequence: record.sequence,
            schema_id: record.schema_id,
            quality: record.quality,
            bytes: record.values.to_vec(),
        }
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.bytes.chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().expect("8 bytes"))).collect()
    }
}

/// Limits for a handful of instruments.
pub(crate) fn limits() -> Limits {
    Limits::SMALL
}

/// Gives ticks to an engine; what it publishes.
pub(crate) fn feed(engine: &mut Engine, ticks: &[Tick]) -> Vec<Record> {
    let mut records = Vec::new();
    for tick in ticks {
        engine.tick(tick, &mut |set, record| records.push(Record::new(set, record)));
    }
    records
}

pub(crate) fn run(sets: &[FeatureSet], ticks: &[Tick]) -> Vec<Record> {
    feed(&mut Engine::new(sets, limits()), ticks)
}

/// The values of the last record of one set over a session.
pub(crate) fn last_values(set: &FeatureSet, ticks: &[Tick]) -> Vec<f64> {
    run(std::slice::from_ref(set), ticks).last().expect("something is published").values()
}

/// Writes the ticks of one instrument, with quotes of one order a side. Each call is one event, 10 ms after
/// the one before.
pub(crate) struct Market {
    pub(crate) ticks: Vec<Tick>,
    pub(crate) now: u64,
    sequence: u64,
    order_id: u64,
    resting: Vec<Tick>,
}

impl Market {
    pub(crate) fn new() -> Market {
        let ticks = vec![Tick::channel_clear(PUBLISHER, CHANNEL, 1, START)];
        Market { ticks, now: START, sequence: 1, order_id: 0, resting: Vec::new() }
    }

    fn tick(&mut self, action: Action, side: Side, price: i64, size: u32) -> Tick {
        Tick {
            ts_event: self.now,
            ts_recv: self.now,
            sequence: self.sequence,
            publisher_id: PUBLISHER,
            instrument_id: INSTRUMENT,
            channel_id: CHANNEL,
            action,
            side,
            price,
            size,
            ..Tick::EMPTY
        }
    }

    fn event(&mut self) {
        self.now += 10 * MS;
        self.sequence += 1;
    }

    fn end(&mut self) {
        self.ticks.last_mut().expect("an event has ticks").flags |= Flags::LAST;
    }

    /// Replaces the book by these levels, best first.
    pub(crate) fn book(&mut self, bids: &[(i64, u32)], asks: &[(i64, u32)]) -> &mut Self {
        self.event();
        for order in std::mem::take(&mut self.resting) {
            let gone = self.tick(Action::Cancel, order.side, order.price, order.size);
            self.ticks.push(Tick { order_id: order.order_id, ..gone });
        }
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            for &(price, size) in levels {
                self.order_id += 1;
                let order = Tick { order_id: self.order_id, ..self.tick(Action::Add, side, price, size) };
                self.ticks.push(order);
                self.resting.push(order);
            }
        }
        self.end();
        self
    }

    pub(crate) fn quote(&mut self, bid: (i64, u32), ask: (i64, u32)) -> &mut Self {
        self.book(&[bid], &[ask])
    }

    pub(crate) fn trade(&mut self, price: i64, size: u32, aggressor: Side) -> &mut Self {
        self.event();
        let trade = self.tick(Action::Trade, aggressor, price, size);
        self.ticks.push(trade);
        self.end();
        self
    }

    /// An event that says nothing.
    pub(crate) fn nothing(&mut self) -> &mut Self {
        self.event();
        let nothing = self.tick(Action::None, Side::None, i64::MAX, 0);
        self.ticks.push(nothing);
        self.end();
        self
    }

    pub(crate) fn gap(&mut self) -> &mut Self {
        self.sequence += 1;
        self.ticks.push(Tick::gap(0, CHANNEL, self.sequence, self.sequence, self.now, GapReason::Lost));
        self
    }

    pub(crate) fn clear(&mut self) -> &mut Self {
        self.sequence += 1;
        self.resting.clear();
        self.ticks.push(Tick::channel_clear(PUBLISHER, CHANNEL, self.sequence, self.now));
        self
    }

    pub(crate) fn wait(&mut self, ns: u64) -> &mut Self {
        self.now += ns;
        self
    }
}

/// A session of some instruments on two channels, with quotes by order, trades, gaps, clears and clocks that
/// overtake each other.
pub(crate) fn random_session(seed: u64, ticks: usize) -> Vec<Tick> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut session = Vec::with_capacity(ticks);
    let mut resting: Vec<Tick> = Vec::new();
    let (mut now, mut order_id) = (START, 0);
    let mut sequences = [1u64; 2];
    session.extend((0..2).map(|channel| Tick::channel_clear(PUBLISHER, channel, 1, now)));
    while session.len() < ticks {
        now += random.random_range(0..40 * MS);
        let instrument_id = random.random_range(1..=4u32);
        let channel = (instrument_id % 2) as u16;
        sequences[usize::from(channel)] += 1;
        let base = Tick {
            ts_event: now,
            ts_recv: now - random.random_range(0..5_000),
            sequence: sequences[usize::from(channel)],
            publisher_id: PUBLISHER,
            instrument_id,
            channel_id: channel,
            ..Tick::EMPTY
        };
        let from = session.len();
        match random.random_range(0..1_000u32) {
            0 => session.push(Tick::gap(0, channel, base.sequence, base.sequence, now, GapReason::Lost)),
            1..4 => {
                resting.retain(|order| order.channel_id != channel);
                session.push(Tick::channel_clear(PUBLISHER, channel, base.sequence, now));
            }
            4 => now += random.random_range(0..100_000 * SECOND),
            5 => now -= random.random_range(0..5 * SECOND),
            6..500 => {
                order_id += 1;
                let order = random_order(&mut random, base, order_id);
                session.push(order);
                resting.push(order);
            }
            500..800 if !resting.is_empty() => {
                let order = resting.swap_remove(random.random_range(0..resting.len()));
                let Tick { order_id, instrument_id, channel_id, price, size, side, .. } = order;
                let gone = Tick { order_id, instrument_id, channel_id, price, size, side, ..base };
                session.push(Tick { action: Action::Cancel, ..gone });
            }
            _ => {
                let price = cents(10_000 + random.random_range(-20..=20));
                let side = [Side::Bid, Side::Ask, Side::None][random.random_range(0..3)];
                let size = random.random_range(1..300);
                session.push(Tick { action: Action::Trade, side, price, size, ..base });
            }
        }
        if let Some(last) = session[from..].last_mut()
            && last.instrument_id != 0
            && random.random_range(0..5) > 0
        {
            last.flags |= Flags::LAST;
        }
    }
    session
}

fn random_order(random: &mut impl Rng, base: Tick, order_id: u64) -> Tick {
    let bid = random.random_range(0..2) == 0;
    let away = random.random_range(1..30);
    let price = cents(10_000 + if bid { -away } else { away });
    let side = if bid { Side::Bid } else { Side::Ask };
    Tick { action: Action::Add, order_id, side, price, size: random.random_range(1..500), ..base }
}

/// Sets with every feature, over every kind of bar.
pub(crate) fn every_feature() -> Vec<FeatureSet> {
    let all = [
        Feature::Spread,
        Feature::Mid,
        Feature::Microprice,
        Feature::Imbalance { levels: 1 },
        Feature::Imbalance { levels: 5 },
        Feature::Ofi { bars: 5 },
        Feature::TradeImbalance { bars: 5 },
        Feature::KyleLambda { bars: 6 },
        Feature::Amihud { bars: 4 },
        Feature::Vpin { bucket: 500, buckets: 7 },
        Feature::Vwap { bars: 5 },
        Feature::VwapSession { start_s: 3_600 },
        Feature::Sma { bars: 7 },
        Feature::Ema { bars: 6 },
        Feature::Rsi { bars: 5 },
        Feature::Bollinger { bars: 8, deviations: 2.0 },
        Feature::RealisedVolatility { bars: 5 },
    ];
    let kinds = [Bars::Trades(3), Bars::TimeMs(500), Bars::Volume(900)];
    let mut sets: Vec<FeatureSet> = kinds.into_iter().map(|bars| set(Some(bars), &all)).collect();
    for (index, set) in sets.iter_mut().enumerate() {
        set.name = format!("set{index}");
        set.publish.every_ms = Some([100, 250, 1_000][index]);
    }
    sets[1].publish.on_change = vec![change("mid", 0.02), change("ema_6_500ms", 0.01)];
    sets[2].publish = PublishSection { every_ms: None, on_change: vec![change("vpin_7_500volume", 0.05)] };
    sets
}
