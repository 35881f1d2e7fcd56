//! The instrument table's way to Redis: a definition is written when it says something new, and all of
//! them again when Redis has lost them.

use super::write::Write;
use std::collections::{HashMap, VecDeque};
use tick::Instrument;

/// Definitions remembered, and definitions waiting: the option chains of a large exchange are about half.
const INSTRUMENTS_MAX: usize = 1 << 20;
/// Rows in one write: a few tens of kilobytes, so that ticks do not wait long behind them.
const ROWS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Instruments {
    rings: Vec<rtrb::Consumer<Instrument>>,
    known: HashMap<(u16, u32), Instrument>,
    waiting: VecDeque<(u16, u32)>,
    dropped: u64,
}

impl Instruments {
    pub(super) fn new(rings: Vec<rtrb::Consumer<Instrument>>) -> Instruments {
        Instruments { rings, ..Instruments::default() }
    }

    pub(super) fn add_ring(&mut self, ring: rtrb::Consumer<Instrument>) {
        self.rings.push(ring);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Rows that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes what the rings hold; whether there was anything.
    pub(super) fn collect(&mut self) -> bool {
        let mut any = false;
        for ring in &mut self.rings {
            let available = ring.slots();
            if available == 0 {
                continue;
            }
            any = true;
            let Ok(chunk) = ring.read_chunk(available) else { continue };
            for instrument in chunk {
                let key = (instrument.publisher_id, instrument.instrument_id);
                let full = self.known.len() >= INSTRUMENTS_MAX && !self.known.contains_key(&key);
                if full || self.waiting.len() >= INSTRUMENTS_MAX {
                    self.dropped += 1;
                } else if self.known.insert(key, instrument) != Some(instrument) {
                    self.waiting.push_back(key);
                }
            }
        }
        self.rings.retain(|ring| !(ring.is_abandoned() && ring.is_empty()));
        any
    }

    /// Puts rows into a write, as many as one should hold.
    pub(super) fn fill(&mut self, write: &mut Write) {
        while write.instruments < ROWS_MAX {
            let Some(key) = self.waiting.pop_front() else { return };
            if let Some(instrument) = self.known.get(&key) {
                write.instrument(instrument);
            }
        }
    }

    /// Redis may have none of them any more.
    pub(super) fn write_all_again(&mut self) {
        self.waiting.clear();
        self.waiting.extend(self.known.keys());
    }
}
