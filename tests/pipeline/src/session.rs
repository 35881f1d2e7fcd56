//! Whole sessions as ticks, without a network: made-up ones through the pure core, and the one of the captures.

use anyhow::{Context, Result};
use dbn::decode::DecodeRecord;
use feed::{AnyChannel, Channel, ChannelConfig, Itch50, Line, Mdp3, Sink, Stamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tick::{Clock, ClockSource, Instrument, Tick};
use venue::session::{Packet, Protocol, Source};
use venue::synthetic::{SESSION_BEGIN_NS, Synthetic, SyntheticSpec};

/// The publisher of made-up sessions.
pub const PUBLISHER_ID: u16 = 2;
/// A future by order, among the captures.
const ES_BY_ORDER: &str = "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst";
/// Line B comes so much later.
const SKEW_NS: u64 = 20_000;

/// The file of one future by order that is among the captures; says loudly when there are none.
pub fn es_file() -> Option<PathBuf> {
    let Some(captures) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
        return None;
    };
    Some(Path::new(&captures).join(ES_BY_ORDER))
}

/// A session: its ticks in the order in which the data plane publishes them, gap records included.
#[derive(Default)]
pub struct Session {
    /// The ticks.
    pub ticks: Vec<Tick>,
    /// The instruments that were defined.
    pub instruments: Vec<Instrument>,
}

impl Sink for Session {
    fn tick(&mut self, tick: &Tick) {
        self.ticks.push(*tick);
    }
    fn instrument(&mut self, instrument: &Instrument) {
        self.instruments.push(*instrument);
    }
}

impl Session {
    /// A made-up session on two lines. Packet `p` of the session is withheld on both where `lost(p)`: a gap.
    ///
    /// # Errors
    /// The spec asks for what cannot be.
    pub fn synthetic(spec: &SyntheticSpec, lost: impl Fn(u64) -> bool) -> Result<Session> {
        let mut source = Synthetic::new(spec)?;
        let mut channels = Vec::new();
        for channel in source.channels() {
            channels.push(core_of(channel.protocol, channel.channel_id)?);
        }
        let mut session = Session::default();
        let mut packet = Packet::default();
        for number in 0.. {
            if !source.next(&mut packet)? {
                break;
            }
            let recv_ns = SESSION_BEGIN_NS + packet.at_ns;
            for channel in &mut channels {
                channel.on_time(recv_ns, &mut session);
            }
            if lost(number) && !packet.closing {
                continue;
            }
            for (line, late_ns) in [(Line::A, 0), (Line::B, SKEW_NS)] {
                let clock = Clock::new(ClockSource::Capture, true);
                let stamp = Stamp { recv_ns: recv_ns + late_ns, clock };
                channels[packet.channel].on_packet(line, stamp, &packet.payload, &mut session);
            }
        }
        for channel in &mut channels {
            channel.believe_last(&mut session);
            channel.finish(&mut session);
        }
        Ok(session)
    }

    /// The by-order session of one future that is among the captures. It opens with a snapshot whose records carry
    /// the numbers of the messages that the orders came with; here, as in a stream, no number goes back.
    ///
    /// # Errors
    /// The file is not there or is damaged.
    pub fn es_by_order(captures: &Path) -> Result<Session> {
        let path = captures.join(ES_BY_ORDER);
        let mut decoder = dbn::decode::dbn::Decoder::from_zstd_file(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut session = Session::default();
        let mut sequence = 0;
        while let Some(record) = decoder.decode_record::<dbn::MboMsg>()? {
            let tick = tick::dbn::from_mbo(record);
            sequence = tick.sequence.max(sequence);
            session.ticks.push(Tick { sequence, ..tick });
        }
        Ok(session)
    }
}

fn core_of(protocol: Protocol, channel_id: u16) -> Result<AnyChannel> {
    let config = ChannelConfig { next_sequence: Some(1), ..ChannelConfig::new(PUBLISHER_ID, channel_id) };
    Ok(match protocol {
        Protocol::Itch50 => AnyChannel::Itch50(Channel::new(config, Itch50::new(PUBLISHER_ID, channel_id))?),
        Protocol::Mdp3 => {
            let schema = Arc::new(wire::mdp3::Schema::parse(wire::mdp3::FIXTURE)?);
            AnyChannel::Mdp3(Channel::new(config, Mdp3::new(PUBLISHER_ID, channel_id, schema))?)
        }
    })
}
