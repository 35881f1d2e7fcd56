//! The parameters of the shipped strategies: the section of a strategy's document that names one of them.
//!
//! What each does with its parameters is in `docs/strategies.md`. What can be judged without an expression or an
//! instrument is judged here; the rest when the strategy is built.

mod model;

pub use model::{ModelChoice, ModelSection, VersionChoice};

use super::gateway::TimeOfDay;
use super::{FEATURE_SET_NAME_BYTES_MAX, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Most rules in a document: each is looked at with every event of every instrument.
pub const RULES_MAX: usize = 64;
/// Longest expression, bytes. Its steps are bounded by its length.
pub const RULE_EXPRESSION_BYTES_MAX: usize = 1_024;
/// Most ticks in an offset, a spread or a skew.
pub const STRATEGY_TICKS_MAX: u32 = 10_000;
/// Most shares or contracts in a strategy's parameter: sums of some of them are exact in an `i64`.
pub const STRATEGY_QUANTITY_MAX: u64 = 1 << 40;
/// Longest name of a feature, bytes.
const FEATURE_NAME_BYTES_MAX: usize = 64;
/// A day.
const DAY_MS: u64 = 86_400_000;

const QUANTITIES: RangeInclusive<u64> = 1..=STRATEGY_QUANTITY_MAX;
const TIMES_MS: RangeInclusive<u64> = 1..=DAY_MS;

/// Rules: an expression each, and what is done when it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesSection {
    /// The rules, at most 64, looked at in this order.
    pub rules: Vec<Rule>,
    /// The oldest record of features whose values count, ms. Longer than the set's `every_ms`. 1 to 86400000.
    #[serde(default = "default_feature_age_ms")]
    pub feature_age_max_ms: u64,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in errors and logs, unique: letters, digits, `-`, `_`; at most 32.
    pub name: String,
    /// A boolean expression of the Common Expression Language, at most 1024 bytes.
    pub when: String,
    /// When it fires.
    #[serde(default)]
    pub fires: Fires,
    /// Least time between two times that it fires for one instrument, ms. 1 to 86400000.
    #[serde(default = "default_cooldown_ms")]
    pub cooldown_ms: u64,
    /// What it does.
    #[serde(rename = "do")]
    pub action: RuleAction,
}

/// When a rule fires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fires {
    /// When its expression becomes true after it was seen false, and the cooldown is over.
    #[default]
    OnChange,
    /// While its expression is true, again after each cooldown.
    WhileTrue,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleAction {
    /// Buys.
    Buy(RuleOrder),
    /// Sells: short when more than is owned.
    Sell(RuleOrder),
    /// Cancels all open orders of the instrument.
    CancelAll,
    /// Cancels all open orders of the instrument, then trades the position away with immediate-or-cancel orders.
    Flatten {
        /// Shares or contracts in one order at most; the next one follows after the rule's cooldown.
        quantity: u64,
        /// How far beyond the other side's best price, ticks. 0 to 10000.
        #[serde(default)]
        cross: u32,
    },
}

/// The order of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleOrder {
    /// Shares or contracts.
    pub quantity: u64,
    /// Its limit.
    pub price: RulePrice,
    /// How long it stands.
    #[serde(default)]
    pub tif: RuleTimeInForce,
}

/// The limit of a rule's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RulePrice {
    /// An expression that gives a price, rounded to a tick away from the other side: down to buy, up to sell.
    At(String),
    /// The own side's best price, and so many ticks towards the other side (below 0: away from it), never reaching it.
    Join(i32),
    /// The other side's best price, and so many ticks beyond it.
    Cross(u32),
}

/// How long a rule's order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleTimeInForce {
    /// Until the session ends.
    #[default]
    Day,
    /// Trades at once what it can, the rest is cancelled.
    Ioc,
}

/// Order-flow-imbalance momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfiMomentumSection {
    /// Where the order-flow imbalance is from.
    #[serde(default)]
    pub source: OfiSource,
    /// Over how much time flow and depth are summed up, ms, in 16 steps. 16 to 86400000.
    pub window_ms: u64,
    /// From this expected move on, in ticks, a position is taken. Above 0.
    pub enter_ticks: f64,
    /// Below this one in the position's direction, in ticks, it is given up. Less than `enter_ticks`; may be negative.
    #[serde(default)]
    pub exit_ticks: f64,
    /// Shares or contracts in one order.
    pub clip: u64,
    /// Position that is aimed at, shares or contracts. At least `clip`.
    pub position: u64,
    /// How far beyond the other side's best price an order may trade, ticks. 0 to 10000.
    #[serde(default)]
    pub cross_ticks: u32,
    /// How long a position is held at most, ms. 1 to 86400000.
    pub hold_ms: u64,
    /// Least time between two orders, ms. 1 to 86400000.
    #[serde(default = "default_pause_ms")]
    pub pause_ms: u64,
}

/// Where the order-flow imbalance is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OfiSource {
    /// The changes of the best quotes, summed over `window_ms`.
    #[default]
    Book,
    /// A value of `calculated_features`, summed over the bars that its name says.
    Feature {
        /// The feature set.
        set: String,
        /// The value's name in the set's schema, as `ofi_10_1000ms`.
        value: String,
        /// The oldest record whose values count, ms. 1 to 86400000.
        #[serde(default = "default_feature_age_ms")]
        age_max_ms: u64,
    },
}

/// A two-sided quoter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoterSection {
    /// The price that is quoted around.
    #[serde(default)]
    pub fair: FairPrice,
    /// From the fair price to each quote, ticks. 1 to 10000.
    pub half_spread_ticks: u32,
    /// How far both quotes are moved against the position when it is `position_max`, ticks. 0 to 10000.
    #[serde(default)]
    pub skew_ticks: u32,
    /// Shares or contracts of each quote.
    pub size: u64,
    /// Largest absolute position, shares or contracts: no quote could bring it beyond. At least `size`.
    pub position_max: u64,
    /// A quote is moved when it is at least so many ticks from where it should be. 1 to 10000.
    #[serde(default = "one")]
    pub requote_ticks: u32,
    /// Without a tick of the instrument for so long the quotes are pulled, ms. 1 to 86400000.
    pub quiet_ms: u64,
    /// After a refusal a side waits for so long, doubled with each one that follows, ms. 1 to 86400000.
    #[serde(default = "default_back_off_ms")]
    pub back_off_ms: u64,
    /// When quotes stand. Always, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<QuoteHours>,
}

/// The price that is quoted around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FairPrice {
    /// Middle between best bid and best ask.
    #[default]
    Mid,
    /// Middle weighted by the quantity on the other side.
    Microprice,
}

/// When quotes stand, UTC. `until` before `from` means on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteHours {
    /// From this time of day on, `HH:MM`.
    pub from: TimeOfDay,
    /// Up to and without this time of day, `HH:MM`: early enough before the session's end.
    pub until: TimeOfDay,
}

impl QuoteHours {
    /// Whether quotes stand at this time, ns since the epoch.
    pub fn contain(&self, now_ns: u64) -> bool {
        let second = now_ns / 1_000_000_000 % 86_400;
        let (from, until) = (self.from.seconds(), self.until.seconds());
        if from < until { (from..until).contains(&second) } else { second >= from || second < until }
    }
}

fn one() -> u32 {
    1
}
fn default_cooldown_ms() -> u64 {
    1_000
}
fn default_feature_age_ms() -> u64 {
    10_000
}
fn default_pause_ms() -> u64 {
    100
}
fn default_back_off_ms() -> u64 {
    100
}

/// Collects problems below a path.
struct Check<'a> {
    at: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn below(at: &'a str) -> Check<'a> {
        Check { at, problems: Vec::new() }
    }

    fn problem(&mut self, field: &str, message: String) {
        let path = if self.at.is_empty() { field.to_owned() } else { format!("{}.{field}", self.at) };
        self.problems.push(Problem { path, message });
    }

    fn range<T: PartialOrd + std::fmt::Display>(&mut self, field: &str, value: T, range: &RangeInclusive<T>) {
        if !range.contains(&value) {
            self.problem(field, format!("is {value}; choose {} to {}", range.start(), range.end()));
        }
    }

    fn word(&mut self, field: &str, text: &str, bytes_max: usize, more: &[u8]) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        if text.is_empty() || text.len() > bytes_max || !text.bytes().all(known) {
            let more = more.iter().map(|byte| format!(", `{}`", char::from(*byte))).collect::<String>();
            self.problem(field, format!("use 1 to {bytes_max} letters, digits{more}"));
        }
    }

    /// From one signal on a position is taken, below another it is given up.
    fn thresholds(&mut self, enter: &str, from: f64, exit: &str, below: f64) {
        if !(from > 0.0 && from.is_finite()) {
            self.problem(enter, format!("is {from}; choose a number above 0"));
        }
        // Not a number is not less.
        if !(below.is_finite() && below < from) {
            self.problem(exit, format!("is {below}; choose less than `{enter}`"));
        }
    }

    fn quantities(&mut self, clip: u64, position: u64) {
        self.range("clip", clip, &QUANTITIES);
        self.range("position", position, &(clip.max(1)..=STRATEGY_QUANTITY_MAX));
    }

    fn expression(&mut self, field: &str, text: &str) {
        if text.trim().is_empty() || text.len() > RULE_EXPRESSION_BYTES_MAX {
            self.problem(field, format!("has {} bytes; write 1 to {RULE_EXPRESSION_BYTES_MAX}", text.len()));
        }
    }
}

impl RulesSection {
    /// Everything that is wrong with the section, expressions apart; `at` is its path in the document.
    pub fn validate(&self, at: &str) -> Vec<Problem> {
        let mut check = Check::below(at);
        if self.rules.is_empty() || self.rules.len() > RULES_MAX {
            check.problem("rules", format!("has {} rules; write 1 to {RULES_MAX}", self.rules.len()));
            return check.problems;
        }
        check.range("feature_age_max_ms", self.feature_age_max_ms, &TIMES_MS);
        let mut names = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = |field: &str| format!("rules[{index}].{field}");
            check.word(&at("name"), &rule.name, FEATURE_SET_NAME_BYTES_MAX, b"-_");
            if !names.insert(&rule.name) {
                check.problem(&at("name"), format!("{:?} is there twice; names must be unique", rule.name));
            }
            check.expression(&at("when"), &rule.when);
            check.range(&at("cooldown_ms"), rule.cooldown_ms, &TIMES_MS);
            match &rule.action {
                RuleAction::Buy(order) => order.validate(&at("do.buy"), &mut check),
                RuleAction::Sell(order) => order.validate(&at("do.sell"), &mut check),
                RuleAction::CancelAll => {}
                RuleAction::Flatten { quantity, cross } => {
                    check.range(&at("do.flatten.quantity"), *quantity, &QUANTITIES);
                    check.range(&at("do.flatten.cross"), *cross, &(0..=STRATEGY_TICKS_MAX));
                }
            }
        }
        check.problems
    }
}

impl RuleOrder {
    fn validate(&self, at: &str, check: &mut Check<'_>) {
        check.range(&format!("{at}.quantity"), self.quantity, &QUANTITIES);
        match &self.price {
            RulePrice::At(text) => check.expression(&format!("{at}.price.at"), text),
            RulePrice::Join(ticks) => {
                let most = STRATEGY_TICKS_MAX as i32;
                check.range(&format!("{at}.price.join"), *ticks, &(-most..=most));
            }
            RulePrice::Cross(ticks) => {
                check.range(&format!("{at}.price.cross"), *ticks, &(0..=STRATEGY_TICKS_MAX));
            }
        }
    }
}

impl OfiMomentumSection {
    /// Everything that is wrong with the section; `at` is its path in the document.
    pub fn validate(&self, at: &str) -> Vec<Problem> {
        let mut check = Check::below(at);
        if let OfiSource::Feature { set, value, age_max_ms } = &self.source {
            check.range("source.feature.age_max_ms", *age_max_ms, &TIMES_MS);
            check.word("source.feature.set", set, FEATURE_SET_NAME_BYTES_MAX, b"-_");
            check.word("source.feature.value", value, FEATURE_NAME_BYTES_MAX, b"-_.");
        }
        check.range("window_ms", self.window_ms, &(16..=DAY_MS));
        check.thresholds("enter_ticks", self.enter_ticks, "exit_ticks", self.exit_ticks);
        check.quantities(self.clip, self.position);
        check.range("cross_ticks", self.cross_ticks, &(0..=STRATEGY_TICKS_MAX));
        check.range("hold_ms", self.hold_ms, &TIMES_MS);
        check.range("pause_ms", self.pause_ms, &TIMES_MS);
        check.problems
    }
}

impl QuoterSection {
    /// Everything that is wrong with the section; `at` is its path in the document.
    pub fn validate(&self, at: &str) -> Vec<Problem> {
        let mut check = Check::below(at);
        check.range("half_spread_ticks", self.half_spread_ticks, &(1..=STRATEGY_TICKS_MAX));
        check.range("skew_ticks", self.skew_ticks, &(0..=STRATEGY_TICKS_MAX));
        check.range("size", self.size, &QUANTITIES);
        check.range("position_max", self.position_max, &(self.size.max(1)..=STRATEGY_QUANTITY_MAX));
        check.range("requote_ticks", self.requote_ticks, &(1..=STRATEGY_TICKS_MAX));
        check.range("quiet_ms", self.quiet_ms, &TIMES_MS);
        check.range("back_off_ms", self.back_off_ms, &TIMES_MS);
        if let Some(hours) = self.hours
            && hours.from == hours.until
        {
            check.problem("hours", "begin when they end; leave them out to quote always".to_owned());
        }
        check.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;

    pub(super) fn read<T: DeserializeOwned>(text: &str) -> T {
        serde_saphyr::from_str(text).unwrap()
    }

    pub(super) fn paths(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.path.as_str()).collect()
    }

    const RULES: &str = "
rules:
  - name: buy-pressure
    when: good && imbalance > 0.6
    do: {buy: {quantity: 100, price: {join: 1}}}
  - name: sell-at
    when: position > 0
    fires: while_true
    cooldown_ms: 50
    do: {sell: {quantity: 10, price: {at: mid + 2 * tick}, tif: ioc}}
  - {name: stop, when: time > 72000, do: {flatten: {quantity: 50, cross: 3}}}
  - {name: away, when: '!good', do: cancel_all}
";

    #[test]
    fn rules_are_read_as_written_and_what_is_left_out_has_a_default() {
        let section: RulesSection = read(RULES);
        assert_eq!(section.validate("strategy.rules"), []);
        let [buy, sell, stop, away] = &section.rules[..] else { panic!("{section:?}") };
        assert_eq!((buy.fires, buy.cooldown_ms), (Fires::OnChange, 1_000));
        assert_eq!((sell.fires, sell.cooldown_ms), (Fires::WhileTrue, 50));
        let RuleAction::Buy(order) = &buy.action else { panic!("{buy:?}") };
        assert_eq!((&order.price, order.tif), (&RulePrice::Join(1), RuleTimeInForce::Day));
        assert_eq!(stop.action, RuleAction::Flatten { quantity: 50, cross: 3 });
        assert_eq!(away.action, RuleAction::CancelAll);
    }

    #[test]
    fn what_a_rule_must_not_be_is_named_with_its_path() {
        let mut section: RulesSection = read(RULES);
        section.rules[0].name = "sell-at".to_owned();
        section.rules[1].cooldown_ms = 0;
        section.rules[1].when = "x".repeat(RULE_EXPRESSION_BYTES_MAX + 1);
        section.rules[2].action = RuleAction::Flatten { quantity: 1, cross: STRATEGY_TICKS_MAX + 1 };
        let order = RuleOrder { quantity: 0, price: RulePrice::At(" ".into()), tif: RuleTimeInForce::Ioc };
        section.rules[3].action = RuleAction::Buy(order);
        assert_eq!(
            paths(&section.validate("a")),
            [
                "a.rules[1].name",
                "a.rules[1].when",
                "a.rules[1].cooldown_ms",
                "a.rules[2].do.flatten.cross",
                "a.rules[3].do.buy.quantity",
                "a.rules[3].do.buy.price.at"
            ]
        );
        section.rules.clear();
        assert_eq!(paths(&section.validate("")), ["rules"]);
    }

    #[test]
    fn momentum_needs_thresholds_in_order_and_a_position_of_at_least_a_clip() {
        let mut section: OfiMomentumSection =
            read("{window_ms: 1000, enter_ticks: 0.5, clip: 10, position: 30, hold_ms: 5000}");
        assert_eq!(section.validate(""), []);
        assert_eq!((section.source.clone(), section.exit_ticks), (OfiSource::Book, 0.0));
        (section.exit_ticks, section.clip, section.window_ms) = (0.5, 31, 15);
        section.source = OfiSource::Feature { set: "sec onds".into(), value: String::new(), age_max_ms: 1 };
        let wrong = ["source.feature.set", "source.feature.value", "window_ms", "exit_ticks", "position"];
        assert_eq!(paths(&section.validate("")), wrong);
        (section.enter_ticks, section.exit_ticks) = (f64::NAN, f64::NAN);
        assert!(paths(&section.validate("")).contains(&"enter_ticks"));
    }

    #[test]
    fn a_quoter_has_room_for_a_quote_and_hours_that_end() {
        let mut section: QuoterSection = read(
            "{half_spread_ticks: 2, size: 100, position_max: 500, quiet_ms: 1000, hours: {from: '13:30', until: '19:55'}}",
        );
        assert_eq!(section.validate(""), []);
        let at = |hour: u64, minute: u64| (hour * 60 + minute) * 60_000_000_000;
        let hours = section.hours.unwrap();
        assert!(hours.contain(at(13, 30)) && hours.contain(at(19, 55) - 1));
        assert!(!hours.contain(at(13, 30) - 1) && !hours.contain(at(19, 55)));
        let over_night = QuoteHours { from: hours.until, until: hours.from };
        assert!(over_night.contain(at(23, 0)) && over_night.contain(0) && !over_night.contain(at(13, 30)));
        section.hours = Some(QuoteHours { from: hours.from, until: hours.from });
        (section.half_spread_ticks, section.position_max) = (0, 99);
        assert_eq!(paths(&section.validate("q")), ["q.half_spread_ticks", "q.position_max", "q.hours"]);
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        let text = "{half_spread_ticks: 2, size: 100, position_max: 500, quiet_ms: 1000, spread: 1}";
        assert!(serde_saphyr::from_str::<QuoterSection>(text).is_err());
    }
}
