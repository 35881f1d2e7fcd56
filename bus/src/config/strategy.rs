//! `strategy.yaml`: which strategies trade what, within which limits, and how the process that runs them works.
//!
//! What the process does is in `docs/strategy.md`, what each strategy does in `docs/strategies.md`, what each limit does in
//! `docs/risk.md`.

use super::{
    HealthSection, InstrumentKey, ModelSection, OfiMomentumSection, PriceText, Problem, QuoterSection,
    RiskDocument, RulesSection,
};
use crate::ORDER_NAME_BYTES_MAX;
use crate::names::SHARDS_MAX;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

/// Most strategies in one document: each looks at every tick of its instruments.
pub const STRATEGIES_MAX: usize = 256;
/// Most instruments that one strategy can name. More than that is `all`.
pub const STRATEGY_INSTRUMENTS_MAX: usize = 10_000;

/// The configuration of one strategy process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyDocument {
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`. Version 7.0 or later: an earlier one does not tell
    /// whether orders were trimmed away.
    pub redis: String,
    /// This process's name among those that share the streams, unique. Host and process id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Streams that the ticks are spread over, as in the data plane's document; features, orders and reports alike.
    #[serde(default = "one")]
    pub shards: u16,
    /// How long a silent member keeps its streams before another takes them, ms. 100 to 600000.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// Entries kept in each stream of instructions and of reports: the same number as in the gateway's document. At least
    /// as many as a day has: a restart needs all of them. 1000 to 100000000. About 300 bytes each.
    #[serde(default = "default_entries_max")]
    pub entries_max: u64,
    /// An instruction without a report for so long is unknown: nothing new passes, and it is published again, ms. 10
    /// to 60000. Longer than a gateway takes to answer; shorter than its `instruction_age_max_ms` by as much as it may be
    /// slow, or what it did not get is denied as too old.
    #[serde(default = "default_answer_within_ms")]
    pub answer_within_ms: u64,
    /// How often the books are kept, ms: a restart reads the ticks since then. Keeping large books takes tens of
    /// milliseconds, so it waits for a quiet moment, twice this time at most. 10 to 3600000.
    #[serde(default = "default_keep_books_ms")]
    pub keep_books_ms: u64,
    /// Where metrics and health are.
    pub health: HealthSection,
    /// What orders are checked against, over all strategies of a shard.
    pub risk: RiskDocument,
    /// Positions from before the first entry of the streams of orders and reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opening: Vec<OpeningPosition>,
    /// Reports that are not in the streams any more, because their effect is in `opening`. When left out, reports count
    /// from 1; that the first ones are missing means that positions are not known, and nothing new is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opening_reports: Vec<OpeningReports>,
    /// The strategies, at most 256.
    pub strategies: Vec<StrategyEntry>,
}

/// A position from before the first report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningPosition {
    /// Whose it is: one of `strategies`.
    pub strategy: String,
    /// The instrument.
    pub instrument: InstrumentKey,
    /// Shares or contracts, below 0 when short. Not 0.
    pub position: i64,
    /// The price that profit and loss count from.
    pub price: PriceText,
}

/// How far a venue's reports in a shard are in `opening`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningReports {
    /// The gateway session.
    pub venue: String,
    /// The shard.
    #[serde(default)]
    pub shard: u16,
    /// Number (`n`) of the last report whose effect is in `opening`.
    pub number: u64,
}

/// One strategy: exactly one of `rules`, `ofi_momentum`, `quoter` and `model`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyEntry {
    /// Its name in orders and reports, unique, kept for as long as it has positions. Letters, digits, `-`, `_`, `.`; at
    /// most 32.
    pub name: String,
    /// The gateway session that sends its orders. Letters, digits, `-`, `_`, `.`; at most 32.
    pub venue: String,
    /// What it trades: a list, or `all`.
    pub instruments: InstrumentChoice,
    /// Rules over features, book and position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesSection>,
    /// Order-flow-imbalance momentum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ofi_momentum: Option<OfiMomentumSection>,
    /// A two-sided quoter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoter: Option<QuoterSection>,
    /// A trained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSection>,
}

/// The section that a strategy has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StrategyKind<'a> {
    /// `rules`.
    Rules(&'a RulesSection),
    /// `ofi_momentum`.
    OfiMomentum(&'a OfiMomentumSection),
    /// `quoter`.
    Quoter(&'a QuoterSection),
    /// `model`.
    Model(&'a ModelSection),
}

/// What a strategy trades: `all`, or a list of `{publisher_id: 1, instrument_id: 42}` and symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstrumentChoice {
    /// Every instrument of the streams that has a definition.
    All,
    /// These.
    Listed(Vec<InstrumentName>),
}

/// An instrument by its key, or by its symbol, at whichever publisher.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum InstrumentName {
    /// By its key.
    Key(InstrumentKey),
    /// By its symbol.
    Symbol(String),
}

impl InstrumentChoice {
    /// Whether this instrument is meant.
    pub fn contains(&self, key: InstrumentKey, symbol: &str) -> bool {
        match self {
            InstrumentChoice::All => true,
            InstrumentChoice::Listed(names) => names.iter().any(|name| match name {
                InstrumentName::Key(named) => *named == key,
                InstrumentName::Symbol(named) => !symbol.is_empty() && named == symbol,
            }),
        }
    }
}

impl Serialize for InstrumentChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            InstrumentChoice::All => serializer.serialize_str("all"),
            InstrumentChoice::Listed(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for InstrumentChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<InstrumentChoice, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = InstrumentChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, or a list of instruments")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<InstrumentChoice, E> {
                match word {
                    "all" => Ok(InstrumentChoice::All),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<InstrumentChoice, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(InstrumentChoice::Listed(names))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

impl<'de> Deserialize<'de> for InstrumentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<InstrumentName, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = InstrumentName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a symbol, or `{publisher_id: …, instrument_id: …}`")
            }

            fn visit_str<E: serde::de::Error>(self, symbol: &str) -> Result<InstrumentName, E> {
                Ok(InstrumentName::Symbol(symbol.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InstrumentName, A::Error> {
                InstrumentKey::deserialize(MapAccessDeserializer::new(map)).map(InstrumentName::Key)
            }
        }
        deserializer.deserialize_any(Name)
    }
}

impl JsonSchema for InstrumentChoice {
    fn schema_name() -> Cow<'static, str> {
        "InstrumentChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<InstrumentKey>();
        json_schema!({
            "description": "What a strategy trades: `all`, or a list of keys and symbols.",
            "oneOf": [
                {"const": "all"},
                {"type": "array", "items": {"oneOf": [{"type": "string"}, key]}},
            ]
        })
    }
}

fn one() -> u16 {
    1
}
fn default_lease_ms() -> u64 {
    3_000
}
fn default_entries_max() -> u64 {
    1_000_000
}
fn default_keep_books_ms() -> u64 {
    10_000
}
fn default_answer_within_ms() -> u64 {
    1_000
}

const LEASE_MS: RangeInclusive<u64> = 100..=600_000;
const ENTRIES: RangeInclusive<u64> = 1_000..=100_000_000;
const ANSWER_MS: RangeInclusive<u64> = 10..=60_000;
const KEEP_MS: RangeInclusive<u64> = 10..=3_600_000;

impl StrategyEntry {
    /// The section that it has; none when it has none. A valid document has exactly one.
    pub fn kind(&self) -> Option<StrategyKind<'_>> {
        let rules = self.rules.as_ref().map(StrategyKind::Rules);
        let momentum = self.ofi_momentum.as_ref().map(StrategyKind::OfiMomentum);
        let quoter = self.quoter.as_ref().map(StrategyKind::Quoter);
        rules.or(momentum).or(quoter).or(self.model.as_ref().map(StrategyKind::Model))
    }

    fn validate(&self, at: &str, problems: &mut Vec<Problem>) {
        let mut problem = |field: &str, message: String| {
            problems.push(Problem { path: format!("{at}.{field}"), message });
        };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        for (field, name) in [("name", &self.name), ("venue", &self.venue)] {
            if name.is_empty() || name.len() > ORDER_NAME_BYTES_MAX || !name.bytes().all(known) {
                problem(field, format!("use 1 to {ORDER_NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"));
            }
        }
        if let InstrumentChoice::Listed(names) = &self.instruments {
            if names.is_empty() || names.len() > STRATEGY_INSTRUMENTS_MAX {
                let have = names.len();
                problem(
                    "instruments",
                    format!("has {have}; name 1 to {STRATEGY_INSTRUMENTS_MAX}, or say `all`"),
                );
            }
            let mut seen = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                if !seen.insert(name) {
                    problem(&format!("instruments[{index}]"), "is there twice; remove one".into());
                }
                if matches!(name, InstrumentName::Symbol(symbol) if symbol.is_empty()) {
                    problem(&format!("instruments[{index}]"), "is empty; name a symbol or a key".into());
                }
            }
        }
        let (rules, momentum) = (self.rules.is_some(), self.ofi_momentum.is_some());
        let sections = [rules, momentum, self.quoter.is_some(), self.model.is_some()];
        let have = sections.iter().filter(|has| **has).count();
        if have != 1 {
            let message =
                format!("has {have} of `rules`, `ofi_momentum`, `quoter`, `model`; say exactly one");
            problems.push(Problem { path: at.to_owned(), message });
        }
        problems.extend(self.rules.iter().flat_map(|section| section.validate(&format!("{at}.rules"))));
        let momentum = self.ofi_momentum.iter();
        problems.extend(momentum.flat_map(|section| section.validate(&format!("{at}.ofi_momentum"))));
        problems.extend(self.quoter.iter().flat_map(|section| section.validate(&format!("{at}.quoter"))));
        problems.extend(self.model.iter().flat_map(|section| section.validate(&format!("{at}.model"))));
    }
}

impl StrategyDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push(Problem { path, message });
        if !["redis://", "unix://", "redis+unix://"].iter().any(|scheme| self.redis.starts_with(scheme)) {
            problem("redis".into(), format!("is {:?}; use redis://host:port/db or unix:///path", self.redis));
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            problem("shards".into(), format!("is {}; choose 1 to {SHARDS_MAX}", self.shards));
        }
        if self.member.as_ref().is_some_and(String::is_empty) {
            problem("member".into(), "is empty; name the member or leave it out".into());
        }
        let ranges = [
            ("lease_ms", self.lease_ms, LEASE_MS),
            ("entries_max", self.entries_max, ENTRIES),
            ("answer_within_ms", self.answer_within_ms, ANSWER_MS),
            ("keep_books_ms", self.keep_books_ms, KEEP_MS),
        ];
        for (field, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                problem(field.into(), format!("is {value}; choose {least} to {most}"));
            }
        }
        if self.strategies.len() > STRATEGIES_MAX {
            let have = self.strategies.len();
            problem("strategies".into(), format!("has {have}; at most {STRATEGIES_MAX} fit one process"));
            return problems;
        }
        let mut names = BTreeSet::new();
        for (index, entry) in self.strategies.iter().enumerate() {
            if !names.insert(&entry.name) {
                let message = format!("{:?} is there twice; names must be unique", entry.name);
                problem(format!("strategies[{index}].name"), message);
            }
        }
        let mut opened = BTreeSet::new();
        for (index, opening) in self.opening.iter().enumerate() {
            let at = |field: &str| format!("opening[{index}].{field}");
            if !names.contains(&opening.strategy) {
                problem(at("strategy"), format!("{:?} is none of `strategies`", opening.strategy));
            }
            if opening.position == 0 {
                problem(at("position"), "is 0; leave the entry out".into());
            }
            if !opened.insert((&opening.strategy, opening.instrument)) {
                problem(at("instrument"), "is there twice for this strategy; say it once".into());
            }
        }
        let mut counted = BTreeSet::new();
        for (index, opening) in self.opening_reports.iter().enumerate() {
            if opening.shard >= self.shards {
                let message = format!("is {}; there are {}, counted from 0", opening.shard, self.shards);
                problem(format!("opening_reports[{index}].shard"), message);
            }
            if !counted.insert((&opening.venue, opening.shard)) {
                problem(format!("opening_reports[{index}]"), "is there twice; say it once".into());
            }
        }
        for (index, entry) in self.strategies.iter().enumerate() {
            entry.validate(&format!("strategies[{index}]"), &mut problems);
        }
        let risk = self.risk.validate().into_iter();
        problems
            .extend(risk.map(|Problem { path, message }| Problem { path: format!("risk.{path}"), message }));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
redis: unix:///run/redis.sock
shards: 2
health: {listen: '127.0.0.1:9104'}
risk:
  total: {position_max: 1000, exposure_max: 1000000, open_orders_max: 20, messages_per_second: 100, message_burst: 20, drawdown_max: 5000}
  sessions: [{days: [monday], open: '13:30', close: '20:00'}]
opening: [{strategy: quotes, instrument: {publisher_id: 1, instrument_id: 42}, position: -5, price: '101.25'}]
strategies:
  - name: quotes
    venue: sim
    instruments: [{publisher_id: 1, instrument_id: 42}, AAPL]
    quoter: {half_spread_ticks: 1, size: 10, position_max: 100, quiet_ms: 1000}
  - name: flow
    venue: sim
    instruments: all
    ofi_momentum: {window_ms: 1000, enter_ticks: 0.5, clip: 10, position: 30, hold_ms: 5000}
";

    #[test]
    fn a_short_document_has_sane_defaults_and_chooses_instruments() {
        let document = StrategyDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(
            (document.lease_ms, document.answer_within_ms, document.keep_books_ms),
            (3_000, 1_000, 10_000)
        );
        let [quotes, flow] = &document.strategies[..] else { panic!("{document:?}") };
        assert!(matches!(quotes.kind(), Some(StrategyKind::Quoter(_))));
        assert!(matches!(flow.kind(), Some(StrategyKind::OfiMomentum(_))));
        let key = |instrument_id| InstrumentKey { publisher_id: 1, instrument_id };
        let chosen = |symbol: &str, id| quotes.instruments.contains(key(id), symbol);
        assert!(chosen("ESH4", 42) && chosen("AAPL", 7) && !chosen("MSFT", 7) && !chosen("", 7));
        assert!(flow.instruments.contains(key(7), ""));
        // What is written is read back.
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<StrategyDocument>(&text).unwrap(), document);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("redis: unix:", "redis: ftp:", "redis: is \"ftp:"),
            ("shards: 2", "shards: 257", "shards: is 257"),
            ("shards: 2", "shards: 2\nanswer_within_ms: 9", "answer_within_ms: is 9"),
            ("shards: 2", "shards: 2\nentries_max: 10", "entries_max: is 10"),
            ("name: flow", "name: quotes", "strategies[1].name: \"quotes\" is there twice"),
            ("name: flow", "name: 'a b'", "strategies[1].name: use 1 to 32"),
            ("strategy: quotes", "strategy: other", "opening[0].strategy: \"other\" is none"),
            (
                "strategies:",
                "opening_reports: [{venue: sim, shard: 2, number: 7}]\nstrategies:",
                "opening_reports[0].shard: is 2",
            ),
            ("position: -5", "position: 0", "opening[0].position: is 0"),
            (
                ", AAPL]",
                ", {publisher_id: 1, instrument_id: 42}]",
                "strategies[0].instruments[1]: is there twice",
            ),
            ("instruments: all", "instruments: []", "strategies[1].instruments: has 0"),
            ("size: 10,", "size: 0,", "strategies[0].quoter.size"),
            ("open_orders_max: 20", "open_orders_max: 0", "risk.total.open_orders_max: is 0"),
            (
                "    ofi_momentum",
                "    quoter: {half_spread_ticks: 1, size: 10, position_max: 100, quiet_ms: 1000}\n    ofi_momentum",
                "strategies[1]: has 2 of",
            ),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = StrategyDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn an_instrument_that_is_neither_a_symbol_nor_a_key_is_refused_with_its_line() {
        for (from, to) in [
            ("instruments: all", "instruments: some"),
            (", AAPL]", ", [1]]"),
            (", AAPL]", ", {publisher_id: 1}]"),
            (", AAPL]", ", {publisher_id: 1, instrument_id: x}]"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            let error = StrategyDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
