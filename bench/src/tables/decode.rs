//! Table (c): decoders, ns a message, against decoders from the registry.
//!
//! Both sides walk the same bytes in memory. Ours goes the whole way that a delivered packet goes, header and
//! framing check included, to ticks with prices in 1e-9; theirs gives each message's own fields. Everything
//! decoded is shown to the optimiser as used, so that no work can be left out.

mod itch;
mod mdp3;

use crate::harness::{Effort, Table};
use anyhow::{Result, ensure};
use feed::{Delivery, Malformed, Protocol, Sink, Stamp};
use std::hint::black_box;
use tick::{Clock, ClockSource, Flags, Instrument, Source, Tick};

/// Counts ticks.
#[derive(Default)]
struct Ticks(u64);

impl Sink for Ticks {
    #[inline]
    fn tick(&mut self, tick: &Tick) {
        black_box(tick);
        self.0 += 1;
    }

    fn instrument(&mut self, instrument: &Instrument) {
        black_box(instrument);
    }
}

/// Decodes every packet as the arbiter would have it decoded; gives the ticks.
fn decode_all(protocol: &mut impl Protocol, packets: &[Vec<u8>]) -> Result<u64> {
    let stamp = Stamp { recv_ns: 1_577_716_200_000_000_000, clock: Clock::new(ClockSource::Xdp, true) };
    let mut ticks = Ticks::default();
    let mut refused = 0_u64;
    for payload in packets {
        let payload = black_box(payload.as_slice());
        let header = protocol.header(payload)?;
        let delivery = Delivery {
            payload,
            header,
            sequence: header.first,
            skip: 0,
            take: header.count,
            source: Source::A,
            stamp,
            flags: Flags::NONE,
        };
        protocol.decode(&delivery, &mut ticks, &mut |_: Malformed| refused += 1);
    }
    ensure!(refused == 0, "{refused} messages were refused");
    Ok(ticks.0)
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let mut metrics = itch::metric(effort)?;
    metrics.extend(mdp3::metric(effort)?);
    Ok(Table { id: 'c', title: "decoders", metrics })
}
