//! From documents to running parts: a feed of `feeds.yaml` becomes a channel of the pure core and the
//! routes on which its packets arrive. Live capture and offline decoding share this.

use bus::config::{Feed, FeedProtocol};
use feed::{AnyChannel, Channel, ChannelConfig, Itch50, Line, Mdp3};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::mdp3::Schema;

/// Largest payload that waits in a channel's window, bytes: what fits an Ethernet frame of 1,500 and, with
/// room, a UMEM frame of 2 KiB.
const PAYLOAD_BYTES_MAX: usize = 2_048;

/// Why a feed cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The template file cannot be read.
    #[error("feed {feed}: cannot read the schema {path}: {error}")]
    SchemaFile {
        /// The feed's name.
        feed: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The template file cannot be compiled.
    #[error("feed {feed}: schema {path}: {error}")]
    Schema {
        /// The feed's name.
        feed: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: wire::mdp3::SchemaError,
    },
    /// `mdp3` without a schema.
    #[error("feed {feed}: protocol mdp3 needs `schema`, the path of the exchange's SBE template file")]
    NoSchema {
        /// The feed's name.
        feed: String,
    },
    /// The channel's parameters are out of bounds.
    #[error("feed {feed}: {error}")]
    Channel {
        /// The feed's name.
        feed: String,
        /// Which one.
        error: feed::ConfigError,
    },
}

/// Compiled template files, each read once.
#[derive(Debug, Default)]
pub struct Schemas {
    compiled: HashMap<PathBuf, Arc<Schema>>,
}

impl Schemas {
    fn get(&mut self, feed: &Feed, path: &Path) -> Result<Arc<Schema>, PlanError> {
        if let Some(schema) = self.compiled.get(path) {
            return Ok(Arc::clone(schema));
        }
        let (name, path) = (feed.name.clone(), path.to_path_buf());
        let xml = match std::fs::read_to_string(&path) {
            Ok(xml) => xml,
            Err(error) => return Err(PlanError::SchemaFile { feed: name, path, error }),
        };
        match Schema::parse(&xml) {
            Ok(schema) => Ok(Arc::clone(self.compiled.entry(path).or_insert(Arc::new(schema)))),
            Err(error) => Err(PlanError::Schema { feed: name, path, error }),
        }
    }
}

/// Builds the channel of a feed. `published_before`: the stream has the channel already, so that it begins
/// with what arrives, not with the document's `first_sequence`; what lies between is the publisher's to
/// declare.
///
/// # Errors
/// See [`PlanError`].
pub fn channel(feed: &Feed, schemas: &mut Schemas, published_before: bool) -> Result<AnyChannel, PlanError> {
    let config = ChannelConfig {
        publisher_id: feed.publisher_id,
        channel_id: feed.channel_id,
        window_packets: feed.window_packets as usize,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        gap_timeout_ns: feed.gap_timeout_us.saturating_mul(1_000),
        next_sequence: feed.first_sequence.filter(|_| !published_before),
        resume_session: None,
    };
    let built = match feed.protocol {
        FeedProtocol::Itch50 => {
            Channel::new(config, Itch50::new(feed.publisher_id, feed.channel_id)).map(AnyChannel::Itch50)
        }
        FeedProtocol::Mdp3 => {
            let Some(path) = &feed.schema else {
                return Err(PlanError::NoSchema { feed: feed.name.clone() });
            };
            let schema = schemas.get(feed, path)?;
            Channel::new(config, Mdp3::new(feed.publisher_id, feed.channel_id, schema)).map(AnyChannel::Mdp3)
        }
    };
    built.map_err(|error| PlanError::Channel { feed: feed.name.clone(), error })
}

/// Whether two versions of a feed can share a running channel: only its lines or its waiting may differ.
pub fn same_stream(one: &Feed, other: &Feed) -> bool {
    (one.protocol, &one.schema, one.channel_id, one.publisher_id)
        == (other.protocol, &other.schema, other.channel_id, other.publisher_id)
}

/// Packets to this destination, from this source, are a line of the feed in this slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The worker's slot.
    pub slot: u16,
    /// The line.
    pub line: Line,
    /// Destination address.
    pub group: Ipv4Addr,
    /// Destination port.
    pub port: u16,
    /// Only from this sender.
    pub source: Option<Ipv4Addr>,
}

/// The routes of a feed in a slot.
pub fn routes(feed: &Feed, slot: u16) -> impl Iterator<Item = Route> {
    let line = move |line, at: &Option<bus::config::FeedLine>| {
        at.as_ref().map(|at| Route { slot, line, group: at.group, port: at.port, source: at.source })
    };
    [line(Line::A, &feed.lines.a), line(Line::B, &feed.lines.b)].into_iter().flatten()
}
