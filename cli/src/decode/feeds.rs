//! The channels of a feeds document, and the way from a packet's destination to its channel and line.

use anyhow::{Context, Result};
use bus::config::{Feed, FeedProtocol, FeedsDocument};
use feed::{AnyChannel, Channel, ChannelConfig, Itch50, Line, Mdp3, Protocol};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::mdp3::Schema;

/// Largest payload taken, bytes: a jumbo frame's. Larger datagrams are fragmented and not read anyway.
const PAYLOAD_BYTES_MAX: usize = 9_216;

/// The first sequence number of a packet, as on the wire; `None` when it names or covers none.
pub(super) fn first_of(channel: &AnyChannel, payload: &[u8]) -> Option<u64> {
    let header = match channel {
        AnyChannel::Mdp3(channel) => channel.protocol().header(payload),
        AnyChannel::Itch50(channel) => channel.protocol().header(payload),
    };
    header.ok().filter(|header| header.count > 0).map(|header| header.first)
}

/// Makes the channels of a document, in its order. `schema` replaces the template files that it names.
///
/// # Errors
/// A template file cannot be read or is none, or a channel's bounds are not possible.
pub(super) fn channels_from(document: &FeedsDocument, schema: Option<&Path>) -> Result<Vec<AnyChannel>> {
    let mut schemas = Schemas::default();
    document
        .feeds
        .iter()
        .map(|feed| channel(feed, schema, &mut schemas).with_context(|| format!("feed {}", feed.name)))
        .collect()
}

fn channel(feed: &Feed, schema: Option<&Path>, schemas: &mut Schemas) -> Result<AnyChannel> {
    let config = ChannelConfig {
        window_packets: feed.window_packets as usize,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        gap_timeout_ns: feed.gap_timeout_us.saturating_mul(1_000),
        next_sequence: feed.first_sequence,
        ..ChannelConfig::new(feed.publisher_id, feed.channel_id)
    };
    Ok(match feed.protocol {
        FeedProtocol::Mdp3 => {
            let path = schema.or(feed.schema.as_deref()).context("mdp3 needs CME's template file")?;
            let protocol = Mdp3::new(feed.publisher_id, feed.channel_id, schemas.read(path)?);
            AnyChannel::Mdp3(Channel::new(config, protocol)?)
        }
        FeedProtocol::Itch50 => {
            let protocol = Itch50::new(feed.publisher_id, feed.channel_id);
            AnyChannel::Itch50(Channel::new(config, protocol)?)
        }
    })
}

/// Template files, each read once.
#[derive(Default)]
pub(crate) struct Schemas(HashMap<PathBuf, Arc<Schema>>);

impl Schemas {
    /// The templates of a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no SBE template file.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Arc<Schema>> {
        if let Some(known) = self.0.get(path) {
            return Ok(Arc::clone(known));
        }
        let xml = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let schema =
            Schema::parse(&xml).with_context(|| format!("{} is no SBE template file", path.display()))?;
        let schema = Arc::new(schema);
        self.0.insert(path.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }
}

/// Where packets go by their destination.
pub(super) struct Routes(HashMap<SocketAddrV4, Vec<Route>>);

struct Route {
    /// Only packets of this sender.
    source: Option<Ipv4Addr>,
    channel: usize,
    line: Line,
}

impl Routes {
    /// The destinations of a document's lines.
    pub(super) fn new(document: &FeedsDocument) -> Routes {
        let mut routes: HashMap<SocketAddrV4, Vec<Route>> = HashMap::new();
        for (channel, feed) in document.feeds.iter().enumerate() {
            for (line, at) in [(Line::A, &feed.lines.a), (Line::B, &feed.lines.b)] {
                if let Some(at) = at {
                    let to = SocketAddrV4::new(at.group, at.port);
                    routes.entry(to).or_default().push(Route { source: at.source, channel, line });
                }
            }
        }
        // A line that names the sender comes before one that takes any.
        for to in routes.values_mut() {
            to.sort_by_key(|route| route.source.is_none());
        }
        Routes(routes)
    }

    /// The channel and line of a packet.
    pub(super) fn find(&self, from: Ipv4Addr, to: SocketAddrV4) -> Option<(usize, Line)> {
        let routes = self.0.get(&to)?;
        let route = routes.iter().find(|route| route.source.is_none_or(|source| source == from))?;
        Some((route.channel, route.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_names_its_sender_takes_only_that_one() {
        let document = FeedsDocument::parse(
            b"feeds:
  - {name: any, channel_id: 1, publisher_id: 2, protocol: itch50, lines: {a: {group: 233.0.0.1, port: 1}}}
  - name: one
    channel_id: 2
    publisher_id: 2
    protocol: itch50
    lines: {b: {group: 233.0.0.1, port: 1, source: 10.0.0.9}}
",
        )
        .unwrap();
        let routes = Routes::new(&document);
        let to = SocketAddrV4::new(Ipv4Addr::new(233, 0, 0, 1), 1);
        assert_eq!(routes.find(Ipv4Addr::new(10, 0, 0, 9), to), Some((1, Line::B)));
        assert_eq!(routes.find(Ipv4Addr::new(10, 0, 0, 8), to), Some((0, Line::A)));
        assert_eq!(routes.find(Ipv4Addr::new(10, 0, 0, 8), SocketAddrV4::new(*to.ip(), 2)), None);
    }
}
