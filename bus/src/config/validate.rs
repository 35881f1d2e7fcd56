//! What a feeds document must satisfy beyond its shape. All problems are found, not only the first.

use super::{Feed, FeedLine, FeedProtocol, FeedsDocument, Filter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// Most feeds in one document: as many as one data plane's steering map holds, with both lines.
pub const FEEDS_MAX: usize = 1024;
/// Most filters in one document. Each is looked for in a map of its own, which has room for twice as many.
pub const FILTERS_MAX: usize = 256;
/// Longest name of a feed or a filter, bytes.
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
        check.filters(&self.filters);
        check.problems
    }
}

type Claim = (Ipv4Addr, u16, Option<Ipv4Addr>);

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
        self.spelling(at, name);
        if let Some(other) = self.names.insert(name, at.to_owned()) {
            self.problem(format!("{at}.name"), format!("is also {other}.name; names must be unique"));
        }
    }

    fn spelling(&mut self, at: &str, name: &str) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > FEED_NAME_BYTES_MAX || !name.bytes().all(known) {
            self.problem(
                format!("{at}.name"),
                format!("use 1 to {FEED_NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"),
            );
        }
    }

    fn line(&mut self, at: &str, line: &FeedLine) {
        if line.port == 0 {
            self.problem(format!("{at}.port"), "is 0; name the UDP port");
        }
        if line.group.is_unspecified() || line.group.is_broadcast() {
            self.problem(format!("{at}.group"), format!("{} is no destination of a feed", line.group));
        }
        self.source(at, line.source);
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

    fn source(&mut self, at: &str, source: Option<Ipv4Addr>) {
        if let Some(source) = source
            && (source.is_multicast() || source.is_unspecified() || source.is_broadcast())
        {
            self.problem(
                format!("{at}.source"),
                format!("{source} cannot be a sender; name the sender's address or remove it"),
            );
        }
    }

    fn filters(&mut self, filters: &[Filter]) {
        if filters.len() > FILTERS_MAX {
            let have = filters.len();
            self.problem("filters", format!("has {have} filters; at most {FILTERS_MAX} are taken"));
            return;
        }
        let mut names = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (index, filter) in filters.iter().enumerate() {
            let at = format!("filters[{index}]");
            self.filter(&at, filter);
            if let Some(other) = names.insert(&filter.name, index) {
                self.problem(
                    format!("{at}.name"),
                    format!("is also filters[{other}].name; names must be unique"),
                );
            }
            if let Some(other) = places.insert((filter.group, filter.port, filter.source), index) {
                self.problem(at, format!("takes the same packets as filters[{other}]; keep one of them"));
            }
        }
    }

    fn filter(&mut self, at: &str, filter: &Filter) {
        self.spelling(at, &filter.name);
        let group = filter.group;
        if !group.is_multicast() {
            self.problem(
                format!("{at}.group"),
                format!("{group} is no multicast group; packets to the machine itself are not filtered"),
            );
        } else if is_the_networks_own(group) {
            self.problem(
                format!("{at}.group"),
                format!("{group} is needed by the network itself (control or PTP); it always passes"),
            );
        }
        if filter.port == Some(0) {
            self.problem(format!("{at}.port"), "is 0; name the UDP port, or leave it out for every port");
        }
        self.source(at, filter.source);
        let Some(port) = filter.port else { return };
        let taken = [Some(filter.source), filter.source.is_some().then_some(None)];
        let line = taken.into_iter().flatten().find_map(|source| self.claims.get(&(group, port, source)));
        if let Some(line) = line.cloned() {
            let message = format!(
                "takes only packets of {line}, and a feed's packets are never filtered; remove the filter, or give \
                 the line the `source` that it is to hear"
            );
            self.problem(at, message);
        }
    }
}

/// Groups that are not for a filter: the local network's control block (RFC 5771) and those of PTP (IEEE 1588).
fn is_the_networks_own(group: Ipv4Addr) -> bool {
    let [a, b, c, d] = group.octets();
    (a, b, c) == (224, 0, 0) || ((a, b, c) == (224, 0, 1) && (129..=132).contains(&d))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "
feeds:
  - name: es
    channel_id: 1
    publisher_id: 2
    protocol: itch50
    lines: {a: {group: 239.1.1.1, port: 100}, b: {group: 239.1.1.2, port: 100, source: 10.0.0.1}}
filters:
  - {name: noise, group: 239.1.1.1, action: drop}
  - {name: kept, group: 239.1.1.1, port: 7, action: pass}
  - {name: stranger, group: 239.1.1.2, port: 100, action: drop}
";

    #[test]
    fn filters_beside_and_around_a_feed_are_good() {
        let document = FeedsDocument::parse(DOCUMENT.as_bytes()).unwrap();
        assert_eq!(document.filters.len(), 3);
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(FeedsDocument::parse(text.as_bytes()).unwrap(), document);
    }

    #[test]
    fn a_filter_that_cannot_be_meant_is_named_with_its_place() {
        let kept = "name: kept, group: 239.1.1.1, port: 7,";
        let cases = [
            ("name: kept", "name: noise", "filters[1].name: is also filters[0].name"),
            ("name: kept", "name: 'a b'", "filters[1].name: use 1 to 32"),
            (kept, "name: kept, group: 10.0.0.1,", "filters[1].group: 10.0.0.1 is no multicast group"),
            (kept, "name: kept, group: 224.0.0.22,", "filters[1].group: 224.0.0.22 is needed by the network"),
            (kept, "name: kept, group: 224.0.1.129, port: 9,", "filters[1].group: 224.0.1.129 is needed"),
            (kept, "name: kept, group: 239.1.1.1,", "filters[1]: takes the same packets as filters[0]"),
            (kept, "name: kept, group: 239.9.9.9, port: 0,", "filters[1].port: is 0"),
            (
                kept,
                "name: kept, group: 239.9.9.9, source: 239.1.1.1,",
                "filters[1].source: 239.1.1.1 cannot be",
            ),
            (
                kept,
                "name: kept, group: 239.1.1.1, port: 100,",
                "filters[1]: takes only packets of feeds[0].lines.a",
            ),
            (
                kept,
                "name: kept, group: 239.1.1.1, port: 100, source: 10.0.0.9,",
                "filters[1]: takes only packets of feeds[0].lines.a",
            ),
            (
                kept,
                "name: kept, group: 239.1.1.2, port: 100, source: 10.0.0.1,",
                "filters[1]: takes only packets of feeds[0].lines.b",
            ),
            ("action: pass", "action: eat", "line 10"),
        ];
        for (from, to, expected) in cases {
            let text = DOCUMENT.replace(from, to);
            assert_ne!(text, DOCUMENT, "the case must change the document: {from}");
            let error = FeedsDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn filters_are_bounded() {
        let mut document = FeedsDocument::parse(DOCUMENT.as_bytes()).unwrap();
        let filter = |n: usize| Filter {
            name: format!("f{n}"),
            port: Some(n as u16 + 1),
            group: Ipv4Addr::new(239, 7, 7, 7),
            ..document.filters[0].clone()
        };
        let filters: Vec<Filter> = (0..=FILTERS_MAX).map(filter).collect();
        document.filters = filters;
        let problems = document.validate();
        assert_eq!((problems.len(), problems[0].path.as_str()), (1, "filters"));
        document.filters.pop();
        assert_eq!(document.validate(), []);
    }
}
