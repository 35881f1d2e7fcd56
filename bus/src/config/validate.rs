//! What a feeds document must satisfy beyond its shape. All problems are found, not only the first.

use super::{Feed, FeedLine, FeedProtocol, FeedsDocument};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Most feeds in one document: as many as one data plane's steering map holds, with both lines.
pub const FEEDS_MAX: usize = 1024;
/// Longest feed name, bytes.
pub const FEED_NAME_BYTES_MAX: usize = 32;
/// Largest `window_packets`.
pub const WINDOW_PACKETS_MAX: u32 = 65_536;
/// Largest `gap_timeout_us`: a minute. A strategy must not wait longer to hear that its book is wrong.
pub const GAP_TIMEOUT_US_MAX: u64 = 60_000_000;

/// One thing that is wrong with a document: where, what, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The field, as `feeds[2].lines.a.port`.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl FeedsDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut check = Check::default();
        if self.feeds.is_empty() {
            check.problem("feeds", "is empty; name at least one feed");
        }
        if self.feeds.len() > FEEDS_MAX {
            let have = self.feeds.len();
            check.problem(
                "feeds",
                format!("has {have} feeds; at most {FEEDS_MAX} fit one data plane, divide them"),
            );
            return check.problems;
        }
        for (index, feed) in self.feeds.iter().enumerate() {
            check.feed(&format!("feeds[{index}]"), feed);
        }
        check.problems
    }
}

type Claim = (std::net::Ipv4Addr, u16, Option<std::net::Ipv4Addr>);

#[derive(Default)]
struct Check<'a> {
    problems: Vec<Problem>,
    names: BTreeMap<&'a str, String>,
    channels: BTreeMap<u16, String>,
    claims: BTreeMap<Claim, String>,
}

impl<'a> Check<'a> {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    fn feed(&mut self, at: &str, feed: &'a Feed) {
        self.name(at, &feed.name);
        if let Some(other) = self.channels.insert(feed.channel_id, at.to_owned()) {
            self.problem(
                format!("{at}.channel_id"),
                format!("{} is also {other}.channel_id; give each feed its own", feed.channel_id),
            );
        }
        match (feed.protocol, &feed.schema) {
            (FeedProtocol::Mdp3, None) => {
                self.problem(format!("{at}.schema"), "is missing; name CME's template file, mdp3 needs it");
            }
            (FeedProtocol::Mdp3, Some(schema)) if schema.as_os_str().is_empty() => {
                self.problem(format!("{at}.schema"), "is empty; name CME's template file");
            }
            (FeedProtocol::Itch50, Some(_)) => {
                self.problem(format!("{at}.schema"), "does not belong to itch50; remove it");
            }
            _ => {}
        }
        if feed.window_packets == 0 || feed.window_packets > WINDOW_PACKETS_MAX {
            self.problem(
                format!("{at}.window_packets"),
                format!("is {}; choose 1 to {WINDOW_PACKETS_MAX}", feed.window_packets),
            );
        }
        if feed.gap_timeout_us > GAP_TIMEOUT_US_MAX {
            self.problem(
                format!("{at}.gap_timeout_us"),
                format!("is {}; choose at most {GAP_TIMEOUT_US_MAX} (a minute)", feed.gap_timeout_us),
            );
        }
        if feed.lines.a.is_none() && feed.lines.b.is_none() {
            self.problem(format!("{at}.lines"), "has no line; give `a`, `b` or both");
        }
        for (name, line) in [("a", &feed.lines.a), ("b", &feed.lines.b)] {
            if let Some(line) = line {
                self.line(&format!("{at}.lines.{name}"), line);
            }
        }
    }

    fn name(&mut self, at: &str, name: &'a str) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > FEED_NAME_BYTES_MAX || !name.bytes().all(known) {
            self.problem(
                format!("{at}.name"),
                format!("use 1 to {FEED_NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"),
            );
        }
        if let Some(other) = self.names.insert(name, at.to_owned()) {
            self.problem(format!("{at}.name"), format!("is also {other}.name; names must be unique"));
        }
    }

    fn line(&mut self, at: &str, line: &FeedLine) {
        if line.port == 0 {
            self.problem(format!("{at}.port"), "is 0; name the UDP port");
        }
        if line.group.is_unspecified() || line.group.is_broadcast() {
            self.problem(format!("{at}.group"), format!("{} is no destination of a feed", line.group));
        }
        if let Some(source) = line.source
            && (source.is_multicast() || source.is_unspecified() || source.is_broadcast())
        {
            self.problem(
                format!("{at}.source"),
                format!("{source} cannot be a sender; name the exchange's address or remove it"),
            );
        }
        let claim = (line.group, line.port, line.source);
        if let Some(other) = self.claims.insert(claim, at.to_owned()) {
            self.problem(
                at,
                format!(
                    "{}:{} is also {other}; each packet must belong to one line of one feed",
                    line.group, line.port
                ),
            );
        }
    }
}
