//! `feeds.yaml`: which channels there are, and on which lines each arrives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The feeds that a data plane takes, or that a capture holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedsDocument {
    /// The channels, each with one or two lines.
    pub feeds: Vec<Feed>,
    /// Packets of no feed that are dropped before the kernel has any work with them, or counted. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// One channel of one venue: the same messages on line A and, usually, line B.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// A short name, unique in the document: letters, digits, `-`, `_`, `.`; at most 32.
    pub name: String,
    /// The channel's number in ticks and stream entries, unique in the document.
    pub channel_id: u16,
    /// Venue and dataset, a DBN publisher id (1 = CME Globex MDP 3.0, 2 = Nasdaq TotalView-ITCH).
    pub publisher_id: u16,
    /// What is spoken on the lines.
    pub protocol: FeedProtocol,
    /// CME's SBE template file; needed for `mdp3`, refused elsewhere. Relative to this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<PathBuf>,
    /// Where the lines arrive.
    pub lines: FeedLines,
    /// The sequence number expected first. Without it the first packet that arrives sets it, and what was
    /// sent before is not missed. A live data plane that published this channel before goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// How many packets wait for a missing one before it is given up. 1 to 65536.
    #[serde(default = "Feed::default_window_packets")]
    pub window_packets: u32,
    /// How long a missing packet is waited for, µs, before it is declared lost. It must exceed the skew of
    /// the two lines.
    #[serde(default = "Feed::default_gap_timeout_us")]
    pub gap_timeout_us: u64,
}

impl Feed {
    fn default_window_packets() -> u32 {
        1024
    }
    fn default_gap_timeout_us() -> u64 {
        5_000
    }
}

/// The protocols that feedplane speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedProtocol {
    /// CME MDP 3.0: SBE over a packet header, decoded by CME's own template file.
    Mdp3,
    /// Nasdaq TotalView-ITCH 5.0 over MoldUDP64.
    Itch50,
}

/// The lines of one channel. At least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedLines {
    /// Line A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a: Option<FeedLine>,
    /// Line B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<FeedLine>,
}

/// Where one line arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedLine {
    /// Destination address, a multicast group as a rule.
    pub group: Ipv4Addr,
    /// Destination UDP port.
    pub port: u16,
    /// Only packets from this sender (a source-specific join, when the group is multicast).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ipv4Addr>,
}

/// What becomes of UDP packets to a group that no feed takes. A feed's packets are never filtered; of the filters that a
/// packet meets, the most exact one decides: port and source named, port, source, neither.
///
/// Filters work in XDP; a worker that receives through sockets says that it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// A short name, unique among the filters: letters, digits, `-`, `_`, `.`; at most 32.
    pub name: String,
    /// Destination, a multicast group. Not one that the network itself needs (224.0.0.0/24, PTP's 224.0.1.129 to 132).
    pub group: Ipv4Addr,
    /// Destination UDP port; every port when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only packets from this sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ipv4Addr>,
    /// What becomes of them.
    pub action: FilterAction,
}

/// What a filter does with its packets. It counts them in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterAction {
    /// Dropped in the driver.
    Drop,
    /// Left to the kernel, as without a filter: an exception to a broader `drop`, or only to be counted.
    Pass,
}
