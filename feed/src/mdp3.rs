//! CME MDP 3.0 as ticks.
//!
//! What a packet says is turned into ticks without a book and without a memory of instruments. The mapping
//! is Databento's where DBN has a word for it (dataset `GLBX.MDP3`):
//!
//! | entry | ticks |
//! |---|---|
//! | book by price: bid `0`, offer `1` | `Add`, `Modify`, `Cancel` with `MBP`, `depth` = level |
//! | implied `E` `F`, market best `x` `w` | the same with `PUBLISHER_SPECIFIC`: another book of the instrument; market best with `TOB` |
//! | delete thru level n | n × `Cancel` of level 1 |
//! | delete from level n | `Cancel` of each level from 20 up to n |
//! | book by order, orders behind a level | `Add`, `Modify`, `Cancel` with `order_id`, depth 0 |
//! | empty book `J` | `Clear` of the instrument's book: by price with `MBP`, else by order |
//! | trade | `Trade`, side and order id of the aggressor; then `Fill` of each resting order |
//! | corrected or busted trade | `None` |
//! | volume, statistics, limits | `None`; `order_id` is a [`Statistic`], DBN's statistic type |
//! | snapshot | `Clear`, then what it holds as above, all with `SNAPSHOT` |
//! | security status | `Status`: `size` is a [`tick::StatusAction`], `order_id` the venue's codes |
//! | channel reset | [`Tick::channel_clear`] |
//! | instrument definition | an instrument |
//!
//! A `Trade` or `Fill` does not change the book; book entries of the same event do. A status tick's
//! `order_id` holds, lowest byte first, the security group's six characters, the halt reason and the trading
//! event; `instrument_id` 0 means the whole group. A size that is not sent is [`Tick::SIZE_UNDEFINED`].
//!
//! **Events.** CME marks only the last message of an event; DBN marks the last record of each instrument in
//! it. So the ticks of a packet's open event are held until it ends or the packet does (`event`). An
//! instrument whose last tick had to leave with an earlier packet gets a `None` tick with `LAST` at the end.
//!
//! **Sequence.** A packet has one sequence number, heartbeats too. CME's page on channel resets (Client
//! Systems Wiki, "MDP 3.0 - Channel Reset") says that all books and statistics of the channel are to be
//! emptied, that RptSeq starts again at 1, and that the data is sent again on the incremental feed. It does
//! not say which number the packet behind the reset has. EPAM's public handler (java-cme-mdp3-handler,
//! `GapChannelController`) takes the reset itself in the old count and expects 1 after it. [`Header::reset`]
//! says that a packet holds a reset; the arbiter has to be ready for either continuation.
//!
//! Invariant: every message of a delivery is counted under its template or reported as malformed.

mod convert;
mod decode;
mod event;

pub use convert::Statistic;

use crate::{Delivery, Header, Malformed, MalformedReason, PacketKind, Protocol, Sink};
use decode::Decoder;
use event::{Event, Trades};
use std::sync::Arc;
use tick::{Instrument, Tick};
use wire::mdp3::{FrameError, FrameReason, Kind, Messages, PacketHeader, Schema};

/// The decoder of one channel.
#[derive(Clone, Debug)]
pub struct Mdp3 {
    publisher_id: u16,
    channel_id: u16,
    schema: Arc<Schema>,
    event: Event,
    trades: Trades,
    /// Messages delivered, and the name to report them by, per template.
    counts: Box<[u64]>,
    names: Box<[Box<str>]>,
}

impl Mdp3 {
    /// A decoder by this schema whose ticks carry these ids.
    pub fn new(publisher_id: u16, channel_id: u16, schema: Arc<Schema>) -> Mdp3 {
        let names: Box<[Box<str>]> =
            schema.templates().iter().map(|template| template.id.to_string().into()).collect();
        let counts = vec![0; names.len()].into();
        Mdp3 { publisher_id, channel_id, schema, event: Event::new(), trades: Trades::new(), counts, names }
    }

    /// The templates that it decodes by.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    fn first_tick(&self, delivery: &Delivery<'_>) -> Tick {
        Tick {
            ts_recv: delivery.stamp.recv_ns,
            sequence: delivery.sequence,
            ts_in_delta: Tick::in_delta(delivery.stamp.recv_ns, delivery.header.send_ns),
            publisher_id: self.publisher_id,
            channel_id: self.channel_id,
            flags: delivery.flags,
            source: delivery.source,
            clock: delivery.stamp.clock,
            ..Tick::EMPTY
        }
    }
}

impl Protocol for Mdp3 {
    const SEQUENCE_BITS: u32 = 32;

    fn header(&self, payload: &[u8]) -> Result<Header, Malformed> {
        let Some(packet) = PacketHeader::read(payload) else {
            return Err(Malformed { reason: MalformedReason::ShortHeader, offset: 0 });
        };
        let (mut kind, mut reset) = (PacketKind::Heartbeat, false);
        for message in Messages::new(payload) {
            match self.schema.template(message.map_err(malformed)?.template_id).map(|template| template.kind)
            {
                Some(Kind::Heartbeat) => {}
                found => {
                    kind = PacketKind::Data;
                    reset |= found == Some(Kind::ChannelReset);
                }
            }
        }
        Ok(Header {
            session: 0,
            first: u64::from(packet.sequence),
            count: 1,
            send_ns: packet.sending_time_ns,
            kind,
            reset,
        })
    }

    fn decode(
        &mut self,
        delivery: &Delivery<'_>,
        sink: &mut impl Sink,
        malformed_at: &mut impl FnMut(Malformed),
    ) {
        if delivery.skip > 0 || delivery.take == 0 {
            return;
        }
        let tick = self.first_tick(delivery);
        let Mdp3 { schema, event, trades, counts, .. } = self;
        let mut decoder =
            Decoder { tick, packet_flags: tick.flags, event, trades, sink, malformed: malformed_at };
        for message in Messages::new(delivery.payload) {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    (decoder.malformed)(malformed(error));
                    break;
                }
            };
            match schema.index_of(message.template_id) {
                Some(index) if message.schema_id == schema.id() => {
                    counts[index] += 1;
                    decoder.message(&message, &schema.templates()[index]);
                }
                _ => decoder.refuse(MalformedReason::UnknownMessage, message.offset()),
            }
        }
        decoder.event.leave(decoder.sink);
    }

    fn reset(&mut self) {
        self.event.clear();
        self.trades.clear();
    }

    fn message_counts(&self, visit: &mut dyn FnMut(&str, u64)) {
        for (name, &count) in self.names.iter().zip(&self.counts).filter(|(_, count)| **count > 0) {
            visit(name, count);
        }
    }
}

fn malformed(error: FrameError) -> Malformed {
    let reason = match error.reason {
        FrameReason::Length => MalformedReason::BadLength,
        FrameReason::Trailing => MalformedReason::TrailingBytes,
    };
    Malformed { reason, offset: error.offset as u32 }
}

/// An instrument of this channel of which only the id is known.
fn instrument(tick: &Tick, instrument_id: u32) -> Instrument {
    Instrument::new(tick.publisher_id, tick.channel_id, instrument_id)
}
