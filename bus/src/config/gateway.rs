//! `gateway.yaml`: which venue sessions a gateway has, and what it lets pass to them.
//!
//! What each limit does is in `docs/gateway.md`. A limit has no default: one that is not said is an error.

use super::{HealthSection, Problem};
use crate::ORDER_NAME_BYTES_MAX;
use crate::names::SHARDS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Most sessions in one document: each has its own threads and journal.
pub const GATEWAY_SESSIONS_MAX: usize = 64;

/// The configuration of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayDocument {
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`.
    pub redis: String,
    /// This process's name among the gateways that share the sessions, unique. Host and process id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Streams that the instructions and reports are spread over, as in the data plane's document.
    #[serde(default = "one")]
    pub shards: u16,
    /// How long a silent gateway keeps a session before another takes it, ms. 100 to 600000.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// Where metrics and health are.
    pub health: HealthSection,
    /// Folder of the journals. All gateways that may take a session must see the same one: a local disk for gateways on
    /// one machine, a volume that moves with the session otherwise. Its disk decides how soon an order is sent.
    pub journal: PathBuf,
    /// Reports kept in each stream of reports. At least as many as a day has: strategies rebuild from them. 1000 to
    /// 100000000.
    #[serde(default = "default_entries_max")]
    pub entries_max: u64,
    /// Messages kept in `drop_copy`. 1000 to 100000000.
    #[serde(default = "default_drop_copy_entries_max")]
    pub drop_copy_entries_max: u64,
    /// An instruction that is older than this and not in the journal is denied (`too_old`), ms. Clocks of strategy and
    /// gateway must agree to better than this. 1 to 600000.
    #[serde(default = "default_instruction_age_max_ms")]
    pub instruction_age_max_ms: u64,
    /// When the venues' day begins, `HH:MM` in UTC: between the end of a session and the next logon. The journal begins
    /// anew, and so do the venue's sequence numbers.
    #[serde(default)]
    pub day_begins: TimeOfDay,
    /// The sessions, at most 64.
    pub sessions: Vec<GatewaySession>,
}

/// One session at a venue: `ouch` or `fix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewaySession {
    /// Its name: the `venue` of the instructions that are sent through it. Letters, digits, `-`, `_`, `.`; at most 32.
    pub venue: String,
    /// The second line of limits, after the strategy's own.
    pub limits: GatewayLimits,
    /// Whether all open orders are cancelled when the strategies cannot be heard: this gateway loses its lease because
    /// Redis is gone. What the venue does when the connection breaks is the venue's setting, see `ouch` and `fix`.
    #[serde(default = "yes")]
    pub cancel_on_disconnect: bool,
    /// Whether all open orders are cancelled when the gateway is asked to end (SIGTERM).
    #[serde(default = "yes")]
    pub cancel_on_stop: bool,
    /// How it connects again.
    #[serde(default)]
    pub reconnect: ReconnectSection,
    /// OUCH 5.0 over SoupBinTCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ouch: Option<OuchSection>,
    /// FIX 4.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<FixSection>,
}

/// What a session lets pass, whatever the strategies' own limits say. Cancels pass always. At the limit's value itself an
/// order passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayLimits {
    /// Quantity of one order, shares or contracts. At least 1.
    pub order_quantity_max: u64,
    /// |price| × quantity of one order, currency units (without a contract's multiplier). A market order has no price and
    /// is denied. At least 1.
    pub order_notional_max: u64,
    /// Orders open at once. 1 to 100000.
    pub open_orders_max: u32,
    /// New orders and replacements a second over time. 1 to 1000000.
    pub messages_per_second: u32,
    /// New orders and replacements at once. 1 to 1000000.
    pub message_burst: u32,
}

/// Time between two attempts to connect: doubled with each that fails. A logon that lasts less than `most_ms` counts as
/// one that failed: two that take each other's session away are not to fight for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReconnectSection {
    /// After the first, ms. 1 to 60000.
    pub first_ms: u64,
    /// At most, ms. At least `first_ms`, at most 600000.
    pub most_ms: u64,
    /// Longest wait for a connection and for the logon, ms. 100 to 60000.
    pub logon_ms: u64,
}

impl Default for ReconnectSection {
    fn default() -> Self {
        ReconnectSection { first_ms: 100, most_ms: 5_000, logon_ms: 5_000 }
    }
}

/// A session by OUCH 5.0 over SoupBinTCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OuchSection {
    /// `host:port`.
    pub address: String,
    /// User name, 1 to 6 letters and digits.
    pub user: String,
    /// Password, at most 10 characters. Better in `password_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A file that holds the password, its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The SoupBinTCP session asked for, at most 10 letters and digits; the one that the venue has now when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The firm in new orders, at most 4 letters and digits; the user's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firm: Option<String>,
    /// Longest silence before a heartbeat is sent, ms. 100 to 60000.
    #[serde(default = "default_ouch_heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// Longest silence of the venue before the connection counts as broken, ms. More than `heartbeat_ms`, at most 600000.
    #[serde(default = "default_ouch_silence_ms")]
    pub silence_ms: u64,
}

/// A session by FIX 4.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixSection {
    /// `host:port`.
    pub address: String,
    /// SenderCompID (49) of what is sent.
    pub sender_comp_id: String,
    /// TargetCompID (56) of what is sent.
    pub target_comp_id: String,
    /// HeartBtInt (108), s. 1 to 300.
    #[serde(default = "default_fix_heartbeat_s")]
    pub heartbeat_s: u32,
    /// Username (553) of the logon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file that holds the password (554), its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Account (1) in orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether the day's first logon asks the venue to begin its numbers again (ResetSeqNumFlag, 141). Leave it out where
    /// the venue does so by itself at `day_begins`.
    #[serde(default)]
    pub reset_on_new_day: bool,
}

/// A time of the day in UTC, `HH:MM`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// Seconds since midnight, UTC.
    pub fn seconds(self) -> u64 {
        u64::from(self.minutes) * 60
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<TimeOfDay, String> {
        let digits = |part: &str| {
            let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse::<u16>().ok()).flatten()
        };
        let parsed =
            text.split_once(':').and_then(|(hours, minutes)| Some((digits(hours)?, digits(minutes)?)));
        match parsed {
            Some((hours, minutes)) if hours < 24 && minutes < 60 => {
                Ok(TimeOfDay { minutes: hours * 60 + minutes })
            }
            _ => Err(format!("{text:?} is no time of day; write HH:MM, as '22:30'")),
        }
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.minutes / 60, time.minutes % 60)
    }
}

fn one() -> u16 {
    1
}
fn yes() -> bool {
    true
}
fn default_lease_ms() -> u64 {
    3_000
}
fn default_entries_max() -> u64 {
    1_000_000
}
fn default_drop_copy_entries_max() -> u64 {
    100_000
}
fn default_instruction_age_max_ms() -> u64 {
    1_000
}
fn default_ouch_heartbeat_ms() -> u64 {
    1_000
}
fn default_ouch_silence_ms() -> u64 {
    15_000
}
fn default_fix_heartbeat_s() -> u32 {
    10
}

const LEASE_MS: RangeInclusive<u64> = 100..=600_000;
const ENTRIES: RangeInclusive<u64> = 1_000..=100_000_000;
const AGE_MS: RangeInclusive<u64> = 1..=600_000;
const OPEN_ORDERS: RangeInclusive<u64> = 1..=100_000;
const MESSAGES: RangeInclusive<u64> = 1..=1_000_000;
const FIRST_MS: RangeInclusive<u64> = 1..=60_000;
const LOGON_MS: RangeInclusive<u64> = 100..=60_000;
const MOST_MS: u64 = 600_000;

struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    fn within(&mut self, path: impl Into<String>, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            self.problem(path, format!("is {value}; choose {least} to {most}"));
        }
    }

    fn address(&mut self, path: String, address: &str) {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            self.problem(path, format!("is {address:?}; use host:port"));
        }
    }

    /// Letters and digits, as the wire has room for.
    fn alphanumeric(&mut self, path: String, text: &str, least: usize, most: usize) {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !(least..=most).contains(&text.len()) || !plain {
            self.problem(path, format!("is {text:?}; use {least} to {most} letters and digits"));
        }
    }
}

impl GatewayDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut check = Check { problems: Vec::new() };
        if !["redis://", "unix://", "redis+unix://"].iter().any(|scheme| self.redis.starts_with(scheme)) {
            check.problem("redis", format!("is {:?}; use redis://host:port/db or unix:///path", self.redis));
        }
        if self.member.as_ref().is_some_and(String::is_empty) {
            check.problem("member", "is empty; name the member or leave it out");
        }
        check.within("shards", u64::from(self.shards), 1..=u64::from(SHARDS_MAX));
        check.within("lease_ms", self.lease_ms, LEASE_MS);
        if self.journal.as_os_str().is_empty() {
            check.problem("journal", "is empty; name a folder on a disk that keeps what it acknowledges");
        }
        check.within("entries_max", self.entries_max, ENTRIES);
        check.within("drop_copy_entries_max", self.drop_copy_entries_max, ENTRIES);
        check.within("instruction_age_max_ms", self.instruction_age_max_ms, AGE_MS);
        if self.sessions.is_empty() || self.sessions.len() > GATEWAY_SESSIONS_MAX {
            let have = self.sessions.len();
            check.problem("sessions", format!("has {have} sessions; name 1 to {GATEWAY_SESSIONS_MAX}"));
        }
        let mut venues = BTreeSet::new();
        for (at, session) in self.sessions.iter().enumerate() {
            session.validate(&format!("sessions[{at}]"), &mut check);
            if !venues.insert(&session.venue) {
                check.problem(
                    format!("sessions[{at}].venue"),
                    format!("{:?} is there twice; a venue has one session here", session.venue),
                );
            }
        }
        check.problems
    }
}

impl GatewaySession {
    fn validate(&self, at: &str, check: &mut Check) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let begins = self.venue.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if !begins || self.venue.len() > ORDER_NAME_BYTES_MAX || !self.venue.bytes().all(known) {
            check.problem(
                format!("{at}.venue"),
                format!(
                    "is {:?}; use 1 to {ORDER_NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`, first a letter or digit",
                    self.venue
                ),
            );
        }
        let limits = &self.limits;
        check.within(format!("{at}.limits.order_quantity_max"), limits.order_quantity_max, 1..=u64::MAX);
        check.within(format!("{at}.limits.order_notional_max"), limits.order_notional_max, 1..=u64::MAX);
        check.within(format!("{at}.limits.open_orders_max"), u64::from(limits.open_orders_max), OPEN_ORDERS);
        check.within(
            format!("{at}.limits.messages_per_second"),
            u64::from(limits.messages_per_second),
            MESSAGES,
        );
        check.within(format!("{at}.limits.message_burst"), u64::from(limits.message_burst), MESSAGES);
        let reconnect = &self.reconnect;
        check.within(format!("{at}.reconnect.first_ms"), reconnect.first_ms, FIRST_MS);
        check.within(
            format!("{at}.reconnect.most_ms"),
            reconnect.most_ms,
            reconnect.first_ms.min(MOST_MS)..=MOST_MS,
        );
        check.within(format!("{at}.reconnect.logon_ms"), reconnect.logon_ms, LOGON_MS);
        match (&self.ouch, &self.fix) {
            (Some(ouch), None) => ouch.validate(&format!("{at}.ouch"), check),
            (None, Some(fix)) => fix.validate(&format!("{at}.fix"), check),
            _ => check.problem(at, "give either `ouch` or `fix`"),
        }
    }
}

impl OuchSection {
    fn validate(&self, at: &str, check: &mut Check) {
        check.address(format!("{at}.address"), &self.address);
        check.alphanumeric(format!("{at}.user"), &self.user, 1, 6);
        if self.password.is_some() == self.password_file.is_some() {
            check.problem(at, "give either `password` or `password_file`");
        }
        if let Some(password) = &self.password
            && (password.len() > 10 || !password.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            // Not shown.
            check.problem(
                format!("{at}.password"),
                "has more than 10 characters, or some that cannot be sent",
            );
        }
        check.alphanumeric(format!("{at}.session"), self.session.as_deref().unwrap_or_default(), 0, 10);
        check.alphanumeric(format!("{at}.firm"), self.firm.as_deref().unwrap_or_default(), 0, 4);
        check.within(format!("{at}.heartbeat_ms"), self.heartbeat_ms, 100..=60_000);
        let least = self.heartbeat_ms.saturating_add(1).min(MOST_MS);
        check.within(format!("{at}.silence_ms"), self.silence_ms, least..=MOST_MS);
    }
}

impl FixSection {
    fn validate(&self, at: &str, check: &mut Check) {
        check.address(format!("{at}.address"), &self.address);
        let ids = [
            ("sender_comp_id", Some(&self.sender_comp_id)),
            ("target_comp_id", Some(&self.target_comp_id)),
            ("user", self.user.as_ref()),
            ("account", self.account.as_ref()),
        ];
        for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id?))) {
            if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
                check.problem(
                    format!("{at}.{name}"),
                    format!("is {id:?}; use 1 to 64 printable ASCII characters"),
                );
            }
        }
        check.within(format!("{at}.heartbeat_s"), u64::from(self.heartbeat_s), 1..=300);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
redis: unix:///run/redis.sock
health: {listen: '127.0.0.1:9104'}
journal: /var/lib/feedplane/orders
day_begins: '22:30'
sessions:
  - venue: sim
    limits: {order_quantity_max: 500, order_notional_max: 100000, open_orders_max: 50, messages_per_second: 100, message_burst: 20}
    ouch: {address: '127.0.0.1:4000', user: fplane, password: secret}
  - venue: broker
    cancel_on_stop: false
    limits: {order_quantity_max: 500, order_notional_max: 100000, open_orders_max: 50, messages_per_second: 100, message_burst: 20}
    fix: {address: 'fix.example.com:9876', sender_comp_id: US, target_comp_id: THEM}
";

    #[test]
    fn a_small_document_has_sane_defaults() {
        let document = GatewayDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!((document.shards, document.lease_ms, document.instruction_age_max_ms), (1, 3_000, 1_000));
        assert_eq!(document.day_begins.seconds(), 22 * 3_600 + 30 * 60);
        let sim = &document.sessions[0];
        assert!(sim.cancel_on_disconnect && sim.cancel_on_stop && sim.fix.is_none());
        assert_eq!(sim.ouch.as_ref().unwrap().heartbeat_ms, 1_000);
        assert!(!document.sessions[1].cancel_on_stop);
        assert_eq!(document.sessions[1].fix.as_ref().unwrap().heartbeat_s, 10);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let cases = [
            ("redis: unix:", "redis: file:", "redis: is \"file:"),
            ("day_begins: '22:30'", "day_begins: '24:00'", "no time of day"),
            ("day_begins: '22:30'", "day_begins: '7:00'", "no time of day"),
            ("journal: /var/lib/feedplane/orders", "journal: ''", "journal: is empty"),
            ("day_begins: '22:30'", "shards: 0", "shards: is 0; choose 1 to 256"),
            ("day_begins: '22:30'", "lease_ms: 99", "lease_ms: is 99"),
            ("day_begins: '22:30'", "entries_max: 999", "entries_max: is 999"),
            ("day_begins: '22:30'", "instruction_age_max_ms: 0", "instruction_age_max_ms: is 0"),
            ("venue: sim", "venue: ../sim", "sessions[0].venue: is \"../sim\""),
            ("venue: broker", "venue: sim", "sessions[1].venue: \"sim\" is there twice"),
            (
                "order_quantity_max: 500",
                "order_quantity_max: 0",
                "sessions[0].limits.order_quantity_max: is 0",
            ),
            ("message_burst: 20", "message_burst: 0", "sessions[0].limits.message_burst: is 0"),
            (
                "venue: sim",
                "venue: sim\n    reconnect: {first_ms: 200, most_ms: 100}",
                "reconnect.most_ms: is 100",
            ),
            (
                "    ouch:",
                "    fix: {address: 'a:1', sender_comp_id: A, target_comp_id: B}\n    ouch:",
                "either `ouch`",
            ),
            ("127.0.0.1:4000", "127.0.0.1", "sessions[0].ouch.address"),
            ("user: fplane", "user: feedplane", "sessions[0].ouch.user"),
            (", password: secret", "", "either `password`"),
            ("password: secret", "password: 'much too long'", "sessions[0].ouch.password"),
            ("password: secret", "password: secret, silence_ms: 1000", "silence_ms: is 1000; choose 1001"),
            ("sender_comp_id: US", "sender_comp_id: 'U S'", "sessions[1].fix.sender_comp_id"),
            ("sender_comp_id: US", "sender_comp_id: US, account: ''", "sessions[1].fix.account"),
            ("sender_comp_id: US", "sender_comp_id: US, heartbeat_s: 0", "sessions[1].fix.heartbeat_s: is 0"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = GatewayDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn an_unknown_or_missing_field_is_refused_with_its_line() {
        let error = GatewayDocument::parse(WHOLE.replace("day_begins", "day_start").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 5"), "{error}");
        let error =
            GatewayDocument::parse(WHOLE.replace("open_orders_max: 50, ", "").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("open_orders_max"), "{error}");
    }
}
