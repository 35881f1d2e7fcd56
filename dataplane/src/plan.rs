//! From documents to running parts: a feed of `feeds.yaml` becomes a channel of the pure core and the
//! routes on which its packets arrive. Live capture and offline decoding share this.

use bus::config::{Feed, FeedProtocol};
use feed::{AnyChannel, Channel, ChannelConfig, Itch50, Line, Mdp3};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::mdp3::Schema;

/// Largest payload that a live channel takes, bytes: what fits an Ethernet frame of 1,500, with room. Each
/// packet of a channel's window takes so much memory.
pub const LIVE_PAYLOAD_BYTES_MAX: usize = 2_048;

/// Why a template file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no SBE template file.
    #[error("{} is no SBE template file: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: wire::mdp3::SchemaError,
    },
}

/// Why a feed cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("feed {feed}: {why}")]
pub struct PlanError {
    feed: String,
    why: Refusal,
}

impl PlanError {
    /// The feed's name.
    pub fn feed(&self) -> &str {
        &self.feed
    }

    /// The field of the feed that is at fault.
    pub fn field(&self) -> &'static str {
        match self.why {
            Refusal::Template(_) | Refusal::NoTemplate => "schema",
            Refusal::Channel(_) => "window_packets",
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("protocol mdp3 needs `schema`, the path of the exchange's SBE template file")]
    NoTemplate,
    #[error(transparent)]
    Channel(#[from] feed::ConfigError),
}

/// Compiled template files, each read once.
#[derive(Debug, Default)]
pub struct Schemas(HashMap<PathBuf, Arc<Schema>>);

impl Schemas {
    /// The templates of a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no SBE template file.
    pub fn read(&mut self, path: &Path) -> Result<Arc<Schema>, TemplateError> {
        if let Some(known) = self.0.get(path) {
            return Ok(Arc::clone(known));
        }
        let path = path.to_path_buf();
        let xml = match std::fs::read_to_string(&path) {
            Ok(xml) => xml,
            Err(error) => return Err(TemplateError::Read { path, error }),
        };
        match Schema::parse(&xml) {
            Ok(schema) => Ok(Arc::clone(self.0.entry(path).or_insert(Arc::new(schema)))),
            Err(error) => Err(TemplateError::Parse { path, error }),
        }
    }
}

/// Builds the channel of a feed. It begins at `first_sequence`, or with what arrives.
///
/// # Errors
/// What is wrong with the feed, and its name.
pub fn channel(
    feed: &Feed,
    first_sequence: Option<u64>,
    payload_bytes_max: usize,
    schemas: &mut Schemas,
) -> Result<AnyChannel, PlanError> {
    let config = ChannelConfig {
        window_packets: feed.window_packets as usize,
        payload_bytes_max,
        gap_timeout_ns: feed.gap_timeout_us.saturating_mul(1_000),
        next_sequence: first_sequence,
        ..ChannelConfig::new(feed.publisher_id, feed.channel_id)
    };
    build(feed, config, schemas).map_err(|why| PlanError { feed: feed.name.clone(), why })
}

fn build(feed: &Feed, config: ChannelConfig, schemas: &mut Schemas) -> Result<AnyChannel, Refusal> {
    Ok(match feed.protocol {
        FeedProtocol::Itch50 => {
            let protocol = Itch50::new(feed.publisher_id, feed.channel_id);
            AnyChannel::Itch50(Channel::new(config, protocol)?)
        }
        FeedProtocol::Mdp3 => {
            let path = feed.schema.as_deref().ok_or(Refusal::NoTemplate)?;
            let protocol = Mdp3::new(feed.publisher_id, feed.channel_id, schemas.read(path)?);
            AnyChannel::Mdp3(Channel::new(config, protocol)?)
        }
    })
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
