//! A feature set as the engine carries it out: which value stands where, and what has to be kept for it.
//!
//! Invariant: every slot of the record belongs to exactly one entry of one list.

use bus::FeatureSchema;
use bus::config::{Bars, Feature, FeatureSet, InstrumentKey};

/// ns in a ms.
const MS: u64 = 1_000_000;

/// A value that follows the book.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QuoteValue {
    Spread,
    Mid,
    Microprice,
    Imbalance { levels: usize },
}

/// A value of the last full bars, made anew after each bar.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowValue {
    Ofi,
    TradeImbalance,
    KyleLambda,
    Amihud,
    Vwap,
    Sma,
    /// Takes three slots.
    Bollinger {
        deviations: f64,
    },
    RealisedVolatility,
}

/// A value with a slot and a period in bars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windowed<T> {
    pub(crate) slot: usize,
    pub(crate) bars: usize,
    pub(crate) value: T,
}

/// A change that publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    pub(crate) slot: usize,
    pub(crate) by: f64,
}

/// One feature set, ready to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Sorted; none for all.
    instruments: Option<Vec<InstrumentKey>>,
    pub(crate) schema_id: u64,
    pub(crate) slots: usize,
    pub(crate) bars: Option<Bars>,
    /// Time between publications, ns.
    pub(crate) every_ns: Option<u64>,
    pub(crate) changes: Vec<Threshold>,
    pub(crate) quotes: Vec<(usize, QuoteValue)>,
    pub(crate) windows: Vec<Windowed<WindowValue>>,
    pub(crate) emas: Vec<Windowed<()>>,
    pub(crate) rsis: Vec<Windowed<()>>,
    /// Slot, bucket, buckets.
    pub(crate) vpins: Vec<(usize, u64, usize)>,
    /// Slot, start in ns after midnight.
    pub(crate) sessions: Vec<(usize, u64)>,
    /// Full bars that must be kept.
    pub(crate) keep: usize,
    /// Full bars after which every value of bars is there.
    pub(crate) warm: u64,
    /// Full bars that a gap stays in the values; 0 when no value is of bars.
    pub(crate) reach: u64,
    /// Whether order flow is wanted.
    pub(crate) flow: bool,
}

impl Plan {
    /// The plan of a set that was found valid ([`bus::config::FeaturesDocument::validate`]).
    pub(crate) fn new(set: &FeatureSet, schema: &FeatureSchema) -> Plan {
        let mut plan = Plan {
            instruments: set.instruments.clone().map(|mut keys| {
                keys.sort_unstable();
                keys
            }),
            schema_id: schema.id(),
            slots: 0,
            bars: set.bars,
            every_ns: set.publish.every_ms.map(|ms| ms.max(1).saturating_mul(MS)),
            changes: Vec::new(),
            quotes: Vec::new(),
            windows: Vec::new(),
            emas: Vec::new(),
            rsis: Vec::new(),
            vpins: Vec::new(),
            sessions: Vec::new(),
            keep: 0,
            warm: 0,
            reach: 0,
            flow: false,
        };
        for feature in &set.features {
            plan.add(feature);
        }
        let slot = |name: &str| schema.features.iter().position(|value| value.name == name);
        plan.changes = (set.publish.on_change.iter())
            .filter_map(|change| Some(Threshold { slot: slot(&change.value)?, by: change.by }))
            .collect();
        plan
    }

    /// Whether another plan is this one in all that decides what the set does.
    pub(crate) fn does_the_same_as(&self, other: &Plan) -> bool {
        // Everything that it does is in its fields, and every field is in this text.
        format!("{self:?}") == format!("{other:?}")
    }

    /// Whether the set is about the instrument.
    pub(crate) fn covers(&self, (publisher_id, instrument_id): (u16, u32)) -> bool {
        let key = InstrumentKey { publisher_id, instrument_id };
        self.instruments.as_ref().is_none_or(|keys| keys.binary_search(&key).is_ok())
    }

    fn add(&mut self, feature: &Feature) {
        let slot = self.slots;
        self.slots += 1;
        match *feature {
            Feature::Spread => self.quotes.push((slot, QuoteValue::Spread)),
            Feature::Mid => self.quotes.push((slot, QuoteValue::Mid)),
            Feature::Microprice => self.quotes.push((slot, QuoteValue::Microprice)),
            Feature::Imbalance { levels } => {
                self.quotes.push((slot, QuoteValue::Imbalance { levels: levels as usize }));
            }
            Feature::Ofi { bars } => {
                self.flow = true;
                self.window(slot, bars, 0, WindowValue::Ofi);
            }
            Feature::TradeImbalance { bars } => self.window(slot, bars, 0, WindowValue::TradeImbalance),
            Feature::KyleLambda { bars } => self.window(slot, bars, 1, WindowValue::KyleLambda),
            Feature::Amihud { bars } => self.window(slot, bars, 1, WindowValue::Amihud),
            Feature::Vwap { bars } => self.window(slot, bars, 0, WindowValue::Vwap),
            Feature::Sma { bars } => self.window(slot, bars, 0, WindowValue::Sma),
            Feature::Bollinger { bars, deviations } => {
                self.slots += 2;
                self.window(slot, bars, 0, WindowValue::Bollinger { deviations });
            }
            Feature::RealisedVolatility { bars } => {
                self.window(slot, bars, 1, WindowValue::RealisedVolatility);
            }
            Feature::Ema { bars } => {
                self.reaches(1, u64::from(bars), 3 * (u64::from(bars) + 1));
                self.emas.push(Windowed { slot, bars: bars as usize, value: () });
            }
            Feature::Rsi { bars } => {
                // The close before the newest.
                self.reaches(2, u64::from(bars) + 1, 6 * u64::from(bars));
                self.rsis.push(Windowed { slot, bars: bars as usize, value: () });
            }
            Feature::Vpin { bucket, buckets } => self.vpins.push((slot, bucket, buckets as usize)),
            Feature::VwapSession { start_s } => {
                self.sessions.push((slot, u64::from(start_s) * 1_000 * MS));
            }
        }
    }

    /// A value of `bars` bars and the closes of `before` bars before them.
    fn window(&mut self, slot: usize, bars: u32, before: u32, value: WindowValue) {
        let all = bars + before;
        self.reaches(all as usize, u64::from(all), u64::from(all));
        self.windows.push(Windowed { slot, bars: bars as usize, value });
    }

    fn reaches(&mut self, keep: usize, warm: u64, reach: u64) {
        self.keep = self.keep.max(keep);
        self.warm = self.warm.max(warm);
        self.reach = self.reach.max(reach);
    }
}
