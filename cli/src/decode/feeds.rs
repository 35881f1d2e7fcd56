//! The channels of a feeds document, and the way from a packet's destination to its channel and line.

use anyhow::Result;
use bus::config::FeedsDocument;
use dataplane::plan::{self, Schemas};
use feed::{AnyChannel, Line, Protocol};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

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
    let mut channels = Vec::new();
    for feed in &document.feeds {
        let mut feed = feed.clone();
        feed.schema = schema.map(Path::to_path_buf).or(feed.schema);
        channels.push(plan::channel(&feed, feed.first_sequence, PAYLOAD_BYTES_MAX, &mut schemas)?);
    }
    Ok(channels)
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
