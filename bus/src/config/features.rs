//! `features.yaml`: which features are calculated of which instruments, and when they are published.
//!
//! The exact definition of every feature is in `docs/features.md`. What is named here decides the schema
//! of the records ([`FeatureSet::schema`]): a value's name holds everything that its meaning depends on.

use super::{HealthSection, Problem};
use crate::feature::{FeatureSchema, FeatureSpec};
use crate::names::SHARDS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most feature sets in a document. Every tick is offered to each.
pub const FEATURE_SETS_MAX: usize = 32;
/// Most values in one set: 2 KiB a record.
pub const FEATURE_VALUES_MAX: usize = 256;
/// Longest window, bars or buckets. Each instrument keeps up to twice as many bars, 48 bytes each.
pub const FEATURE_WINDOW_MAX: u32 = 10_000;
/// Most levels that an imbalance looks at.
pub const FEATURE_LEVELS_MAX: u32 = 50;
/// Longest name of a set, bytes.
pub const FEATURE_SET_NAME_BYTES_MAX: usize = 32;
/// A day: longest time bar and longest time between two publications, ms.
const DAY_MS: u64 = 86_400_000;

/// The configuration of one feature service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeaturesDocument {
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`. Ticks are read there, features written.
    pub redis: String,
    /// Streams that the ticks are spread over, as in the data plane's document. The features are spread alike.
    #[serde(default = "one")]
    pub shards: u16,
    /// This process's name among those that share the shards, unique. Host and process id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// How long a silent member keeps its shards before another takes them, ms. 100 to 600000.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// How the engine's state is kept.
    #[serde(default)]
    pub state: StateSection,
    /// Records kept in each features stream (`MAXLEN ~`); a record takes about 150 bytes and 8 a value.
    #[serde(default = "default_entries_max")]
    pub entries_max: u64,
    /// Where metrics and health are.
    pub health: HealthSection,
    /// The feature sets. At least one.
    pub sets: Vec<FeatureSet>,
}

/// How the engine's state is kept, so that a restart goes on with the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateSection {
    /// Time between two saves, ms. After a restart the ticks since the last save are calculated again (and not
    /// published again): a short time costs Redis writes of the whole state, a long one costs the restart.
    pub every_ms: u64,
}

impl Default for StateSection {
    fn default() -> Self {
        StateSection { every_ms: 1_000 }
    }
}

/// Features that are published together in one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureSet {
    /// A short name, unique: letters, digits, `-`, `_`; at most 32.
    pub name: String,
    /// The instruments. All that the stream brings when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruments: Option<Vec<InstrumentKey>>,
    /// The bars that the set's windows count. May be left out when no feature has a window of bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bars: Option<Bars>,
    /// When a record is published.
    pub publish: PublishSection,
    /// The features. At least one.
    pub features: Vec<Feature>,
}

/// One instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentKey {
    /// Venue and dataset.
    pub publisher_id: u16,
    /// The venue's own id.
    pub instrument_id: u32,
}

/// When a bar of trades is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bars {
    /// Tick bars: after so many trades.
    Trades(u32),
    /// Time bars: at each multiple of so many ms since the epoch, by `ts_recv`. No trade, no bar. At most a day.
    TimeMs(u64),
    /// Volume bars: with the trade that brings the traded quantity to at least this.
    Volume(u64),
}

/// When a record is published. At least one of the two; a change of the record's quality publishes always.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSection {
    /// With an instrument's first event in each interval of so many ms of its `ts_recv`. At most a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// As soon as one of these values has moved that far from what was last published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_change: Vec<Change>,
}

/// A significant change of one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The value's name in the schema, as `mid` or `ema_20_1000ms`.
    pub value: String,
    /// By how much, in the value's unit, above 0.
    pub by: f64,
}

/// One feature. Windows of `bars` are the last so many full bars; what is not full yet has no part in them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Feature {
    /// Best ask − best bid.
    Spread,
    /// Middle between best bid and best ask.
    Mid,
    /// Middle weighted by the quantity on the other side.
    Microprice,
    /// (bid − ask) ⁄ (bid + ask) of the quantities at the best levels.
    Imbalance {
        /// Levels of each side, 1 to 50.
        levels: u32,
    },
    /// Order-flow imbalance of the best quotes (Cont, Kukanov, Stoikov 2014), summed.
    Ofi {
        /// Window.
        bars: u32,
    },
    /// (bought − sold) ⁄ (bought + sold) of the traded quantities.
    TradeImbalance {
        /// Window.
        bars: u32,
    },
    /// Kyle's lambda: slope of the closes' changes over the signed traded quantity.
    KyleLambda {
        /// Window, at least 3.
        bars: u32,
    },
    /// Amihud's illiquidity: mean of |return| ⁄ traded value.
    Amihud {
        /// Window.
        bars: u32,
    },
    /// Volume-synchronised probability of informed trading, over volume buckets of its own.
    Vpin {
        /// Quantity of a bucket.
        bucket: u64,
        /// Window, in full buckets.
        buckets: u32,
    },
    /// Volume-weighted average price of the window.
    Vwap {
        /// Window.
        bars: u32,
    },
    /// Volume-weighted average price since the session's start, the last trade included.
    VwapSession {
        /// The session's start every day, s after midnight UTC, below 86400.
        #[serde(default)]
        start_s: u32,
    },
    /// Simple moving average of the closes.
    Sma {
        /// Window.
        bars: u32,
    },
    /// Exponential moving average of the closes, weight 2 ⁄ (bars + 1), seeded with the first window's average.
    Ema {
        /// Period.
        bars: u32,
    },
    /// Relative strength index of the closes (Wilder), 0 to 100.
    Rsi {
        /// Period.
        bars: u32,
    },
    /// Bollinger bands of the closes: three values, upper, middle and lower.
    Bollinger {
        /// Window, at least 2.
        bars: u32,
        /// Distance of the bands, standard deviations.
        #[serde(default = "two")]
        deviations: f64,
    },
    /// Realised volatility: root of the sum of the squared log returns of the closes.
    RealisedVolatility {
        /// Window, in returns.
        bars: u32,
    },
}

fn one() -> u16 {
    1
}
fn two() -> f64 {
    2.0
}
fn default_lease_ms() -> u64 {
    5_000
}
fn default_entries_max() -> u64 {
    1 << 20
}

impl Bars {
    /// As it stands in the values' names: `100trades`, `1000ms`, `5000volume`.
    fn suffix(self) -> String {
        match self {
            Bars::Trades(n) => format!("{n}trades"),
            Bars::TimeMs(n) => format!("{n}ms"),
            Bars::Volume(n) => format!("{n}volume"),
        }
    }
}

impl Feature {
    /// The window in bars, of a feature that has one.
    pub fn bars(&self) -> Option<u32> {
        match *self {
            Feature::Ofi { bars }
            | Feature::TradeImbalance { bars }
            | Feature::KyleLambda { bars }
            | Feature::Amihud { bars }
            | Feature::Vwap { bars }
            | Feature::Sma { bars }
            | Feature::Ema { bars }
            | Feature::Rsi { bars }
            | Feature::Bollinger { bars, .. }
            | Feature::RealisedVolatility { bars } => Some(bars),
            Feature::Spread
            | Feature::Mid
            | Feature::Microprice
            | Feature::Imbalance { .. }
            | Feature::Vpin { .. }
            | Feature::VwapSession { .. } => None,
        }
    }

    /// The values it makes, with names and units.
    fn values(&self, bars: Option<Bars>) -> Vec<FeatureSpec> {
        let of = bars.map_or_else(String::new, |bars| format!("_{}", bars.suffix()));
        let one = |name: String, unit: &str| vec![FeatureSpec { name, unit: unit.to_owned() }];
        match *self {
            Feature::Spread => one("spread".into(), "price"),
            Feature::Mid => one("mid".into(), "price"),
            Feature::Microprice => one("microprice".into(), "price"),
            Feature::Imbalance { levels } => one(format!("imbalance_{levels}"), "1"),
            Feature::Ofi { bars } => one(format!("ofi_{bars}{of}"), "quantity"),
            Feature::TradeImbalance { bars } => one(format!("trade_imbalance_{bars}{of}"), "1"),
            Feature::KyleLambda { bars } => one(format!("kyle_lambda_{bars}{of}"), "price/quantity"),
            Feature::Amihud { bars } => one(format!("amihud_{bars}{of}"), "1/(price*quantity)"),
            Feature::Vpin { bucket, buckets } => one(format!("vpin_{buckets}_{bucket}volume"), "1"),
            Feature::Vwap { bars } => one(format!("vwap_{bars}{of}"), "price"),
            Feature::VwapSession { start_s } => one(format!("vwap_session_{start_s}s"), "price"),
            Feature::Sma { bars } => one(format!("sma_{bars}{of}"), "price"),
            Feature::Ema { bars } => one(format!("ema_{bars}{of}"), "price"),
            Feature::Rsi { bars } => one(format!("rsi_{bars}{of}"), "1"),
            Feature::Bollinger { bars, deviations } => ["upper", "middle", "lower"]
                .iter()
                .flat_map(|band| one(format!("bollinger_{band}_{bars}_{deviations}{of}"), "price"))
                .collect(),
            Feature::RealisedVolatility { bars } => one(format!("realised_volatility_{bars}{of}"), "1"),
        }
    }
}

impl FeatureSet {
    /// The schema of the set's records.
    pub fn schema(&self) -> FeatureSchema {
        let features = self.features.iter().flat_map(|feature| feature.values(self.bars)).collect();
        FeatureSchema { set: self.name.clone(), features }
    }

    fn validate(&self, at: &str, problem: &mut impl FnMut(String, String)) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty()
            || self.name.len() > FEATURE_SET_NAME_BYTES_MAX
            || !self.name.bytes().all(known)
        {
            let message = format!("use 1 to {FEATURE_SET_NAME_BYTES_MAX} letters, digits, `-` or `_`");
            problem(format!("{at}.name"), message);
        }
        self.validate_instruments(at, problem);
        match self.bars {
            Some(Bars::Trades(0)) => problem(format!("{at}.bars.trades"), "is 0; choose at least 1".into()),
            Some(Bars::Volume(0)) => problem(format!("{at}.bars.volume"), "is 0; choose at least 1".into()),
            Some(Bars::TimeMs(ms)) if !(1..=DAY_MS).contains(&ms) => {
                problem(format!("{at}.bars.time_ms"), format!("is {ms}; choose 1 to {DAY_MS} (a day)"));
            }
            _ => {}
        }
        if self.features.is_empty() {
            problem(format!("{at}.features"), "is empty; name at least one feature".into());
        }
        for (index, feature) in self.features.iter().enumerate() {
            self.validate_feature(&format!("{at}.features[{index}]"), feature, problem);
        }
        self.validate_values(at, problem);
    }

    fn validate_instruments(&self, at: &str, problem: &mut impl FnMut(String, String)) {
        let Some(instruments) = &self.instruments else { return };
        if instruments.is_empty() {
            let message = "is empty; name at least one, or leave it out for all";
            problem(format!("{at}.instruments"), message.into());
        }
        let mut seen = BTreeSet::new();
        for (index, instrument) in instruments.iter().enumerate() {
            if !seen.insert(instrument) {
                problem(format!("{at}.instruments[{index}]"), "is there twice; remove one".into());
            }
        }
    }

    fn validate_feature(&self, at: &str, feature: &Feature, problem: &mut impl FnMut(String, String)) {
        if let Some(bars) = feature.bars() {
            let least = match feature {
                Feature::KyleLambda { .. } => 3,
                Feature::Bollinger { .. } => 2,
                _ => 1,
            };
            if !(least..=FEATURE_WINDOW_MAX).contains(&bars) {
                problem(format!("{at}.bars"), format!("is {bars}; choose {least} to {FEATURE_WINDOW_MAX}"));
            }
            if self.bars.is_none() {
                let message = "has a window of bars, and the set has no `bars`; say which bars";
                problem(at.to_owned(), message.into());
            }
        }
        match *feature {
            Feature::Imbalance { levels } if !(1..=FEATURE_LEVELS_MAX).contains(&levels) => {
                problem(format!("{at}.levels"), format!("is {levels}; choose 1 to {FEATURE_LEVELS_MAX}"));
            }
            Feature::Bollinger { deviations, .. } if !(deviations > 0.0 && deviations.is_finite()) => {
                problem(format!("{at}.deviations"), format!("is {deviations}; choose a number above 0"));
            }
            Feature::VwapSession { start_s } if start_s >= 86_400 => {
                problem(format!("{at}.start_s"), format!("is {start_s}; choose below 86400"));
            }
            Feature::Vpin { bucket, buckets } => {
                if bucket == 0 {
                    problem(format!("{at}.bucket"), "is 0; choose at least 1".into());
                }
                if !(1..=FEATURE_WINDOW_MAX).contains(&buckets) {
                    problem(
                        format!("{at}.buckets"),
                        format!("is {buckets}; choose 1 to {FEATURE_WINDOW_MAX}"),
                    );
                }
            }
            _ => {}
        }
    }

    /// The values' names, and what is said about publishing them.
    fn validate_values(&self, at: &str, problem: &mut impl FnMut(String, String)) {
        let schema = self.schema();
        if schema.features.len() > FEATURE_VALUES_MAX {
            let have = schema.features.len();
            problem(
                format!("{at}.features"),
                format!("makes {have} values; at most {FEATURE_VALUES_MAX} fit a set"),
            );
        }
        let mut names = BTreeSet::new();
        for value in &schema.features {
            if !names.insert(value.name.as_str()) {
                problem(format!("{at}.features"), format!("makes `{}` twice; remove one", value.name));
            }
        }
        let publish = &self.publish;
        if publish.every_ms.is_none() && publish.on_change.is_empty() {
            problem(format!("{at}.publish"), "says nothing; give `every_ms`, `on_change` or both".into());
        }
        if let Some(ms) = publish.every_ms.filter(|ms| !(1..=DAY_MS).contains(ms)) {
            problem(format!("{at}.publish.every_ms"), format!("is {ms}; choose 1 to {DAY_MS} (a day)"));
        }
        let mut seen = BTreeSet::new();
        for (index, change) in publish.on_change.iter().enumerate() {
            let at = format!("{at}.publish.on_change[{index}]");
            if !names.contains(change.value.as_str()) {
                let known = names.iter().copied().collect::<Vec<_>>().join(", ");
                problem(
                    format!("{at}.value"),
                    format!("`{}` is not in the set, which has {known}", change.value),
                );
            }
            if !seen.insert(&change.value) {
                problem(format!("{at}.value"), format!("`{}` is there twice; remove one", change.value));
            }
            if !(change.by > 0.0 && change.by.is_finite()) {
                problem(format!("{at}.by"), format!("is {}; choose a number above 0", change.by));
            }
        }
    }
}

impl FeaturesDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push(Problem { path, message });
        if self.shards == 0 || self.shards > SHARDS_MAX {
            problem("shards".into(), format!("is {}; choose 1 to {SHARDS_MAX}", self.shards));
        }
        if self.member.as_ref().is_some_and(String::is_empty) {
            problem("member".into(), "is empty; name the member or leave it out".into());
        }
        if !(100..=600_000).contains(&self.lease_ms) {
            problem("lease_ms".into(), format!("is {}; choose 100 to 600000 (10 minutes)", self.lease_ms));
        }
        if !(10..=3_600_000).contains(&self.state.every_ms) {
            let message = format!("is {}; choose 10 to 3600000 (an hour)", self.state.every_ms);
            problem("state.every_ms".into(), message);
        }
        if self.entries_max == 0 {
            problem("entries_max".into(), "is 0; the stream would keep nothing".into());
        }
        if self.sets.is_empty() || self.sets.len() > FEATURE_SETS_MAX {
            problem("sets".into(), format!("has {}; name 1 to {FEATURE_SETS_MAX}", self.sets.len()));
        }
        let mut names = BTreeMap::new();
        for (index, set) in self.sets.iter().enumerate() {
            let at = format!("sets[{index}]");
            if let Some(other) = names.insert(&set.name, index) {
                problem(format!("{at}.name"), format!("is also sets[{other}].name; names must be unique"));
            }
            set.validate(&at, &mut problem);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
redis: unix:///run/redis.sock
health: {listen: '127.0.0.1:9102'}
sets:
  - name: fast
    instruments: [{publisher_id: 1, instrument_id: 42}]
    publish: {every_ms: 100, on_change: [{value: mid, by: 0.25}]}
    features: [spread, mid, imbalance: {levels: 5}, vpin: {bucket: 100, buckets: 50}]
  - name: slow
    bars: {time_ms: 1000}
    publish: {every_ms: 1000}
    features: [ema: {bars: 20}, bollinger: {bars: 20}, vwap_session: {}, kyle_lambda: {bars: 50}]
";

    #[test]
    fn a_short_document_has_sane_defaults_and_names_its_values() {
        let document = FeaturesDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!((document.shards, document.lease_ms, document.state.every_ms), (1, 5_000, 1_000));
        let names = |set: &FeatureSet| -> Vec<String> {
            set.schema().features.into_iter().map(|value| value.name).collect()
        };
        assert_eq!(names(&document.sets[0]), ["spread", "mid", "imbalance_5", "vpin_50_100volume"]);
        assert_eq!(
            names(&document.sets[1]),
            [
                "ema_20_1000ms",
                "bollinger_upper_20_2_1000ms",
                "bollinger_middle_20_2_1000ms",
                "bollinger_lower_20_2_1000ms",
                "vwap_session_0s",
                "kyle_lambda_50_1000ms",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let document = FeaturesDocument::parse(WHOLE.as_bytes()).unwrap();
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(FeaturesDocument::parse(json.as_bytes()).unwrap(), document);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("name: slow", "name: fast", "sets[1].name: is also sets[0].name"),
            ("name: slow", "name: a.b", "sets[1].name: use 1 to 32"),
            ("health:", "shards: 0\nhealth:", "shards: is 0"),
            ("health:", "shards: 257\nhealth:", "shards: is 257"),
            ("health:", "member: ''\nhealth:", "member: is empty"),
            ("health:", "lease_ms: 5\nhealth:", "lease_ms: is 5"),
            ("health:", "state: {every_ms: 0}\nhealth:", "state.every_ms: is 0"),
            ("health:", "entries_max: 0\nhealth:", "entries_max: is 0"),
            ("[{publisher_id: 1, instrument_id: 42}]", "[]", "sets[0].instruments: is empty"),
            ("42}]", "42}, {publisher_id: 1, instrument_id: 42}]", "sets[0].instruments[1]: is there twice"),
            ("{time_ms: 1000}", "{time_ms: 0}", "sets[1].bars.time_ms: is 0"),
            ("{time_ms: 1000}", "{trades: 0}", "sets[1].bars.trades: is 0"),
            ("{time_ms: 1000}", "{volume: 0}", "sets[1].bars.volume: is 0"),
            ("bars: {time_ms: 1000}", "bars:", "sets[1].features[0]: has a window of bars"),
            ("{levels: 5}", "{levels: 51}", "sets[0].features[2].levels: is 51"),
            ("bucket: 100", "bucket: 0", "sets[0].features[3].bucket: is 0"),
            ("buckets: 50", "buckets: 0", "sets[0].features[3].buckets: is 0"),
            ("ema: {bars: 20}", "ema: {bars: 0}", "sets[1].features[0].bars: is 0; choose 1 to 10000"),
            ("{bars: 50}", "{bars: 2}", "sets[1].features[3].bars: is 2; choose 3"),
            (
                "bollinger: {bars: 20}",
                "bollinger: {bars: 20, deviations: -1}",
                "features[1].deviations: is -1",
            ),
            ("vwap_session: {}", "vwap_session: {start_s: 86400}", "features[2].start_s: is 86400"),
            ("[spread, mid,", "[mid, mid,", "sets[0].features: makes `mid` twice"),
            ("publish: {every_ms: 1000}", "publish: {}", "sets[1].publish: says nothing"),
            ("every_ms: 1000}", "every_ms: 86400001}", "sets[1].publish.every_ms: is 86400001"),
            ("value: mid", "value: middle", "on_change[0].value: `middle` is not in the set, which has"),
            ("by: 0.25", "by: 0", "sets[0].publish.on_change[0].by: is 0"),
            ("by: 0.25}", "by: 0.25}, {value: mid, by: 1}", "on_change[1].value: `mid` is there twice"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = FeaturesDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
        let none = "redis: r\nhealth: {listen: '127.0.0.1:1'}\nsets: []\n";
        let error = FeaturesDocument::parse(none.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("sets: has 0"), "{error}");
    }

    #[test]
    fn an_unknown_field_or_feature_is_refused_with_its_line() {
        for (from, to) in [("redis:", "redsi:"), ("[spread,", "[sprad,"), ("{levels: 5}", "{level: 5}")] {
            let text = WHOLE.replacen(from, to, 1);
            let error = FeaturesDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
