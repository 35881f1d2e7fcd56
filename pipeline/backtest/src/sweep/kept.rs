//! A recording in memory: read once, run often, each time exactly as the recording itself is.

use crate::source::{Definition, Next, Position, Source, SourceError};
use std::sync::Arc;
use tick::{Action, Tick};

/// Ticks that are kept at most: 4 GiB of them.
pub const KEPT_TICKS_MAX: usize = 1 << 26;

/// All that a source gave.
#[derive(Clone, Debug)]
pub struct Kept {
    ticks: Arc<[Tick]>,
    /// Each with the number of ticks before it.
    definitions: Arc<[(usize, Definition)]>,
    /// Ticks that may have brought an order.
    orders_max: usize,
}

impl Kept {
    /// Reads a source to its end.
    ///
    /// # Errors
    /// It cannot be read, or is longer than [`KEPT_TICKS_MAX`].
    pub fn read(source: &mut impl Source) -> Result<Kept, SourceError> {
        let (mut ticks, mut definitions) = (Vec::new(), Vec::new());
        loop {
            match source.next(u64::MAX)? {
                Next::Tick(tick) => ticks.push(tick),
                Next::Defined(definition) => definitions.push((ticks.len(), *definition)),
                // A tick without end of time.
                Next::Later | Next::End => break,
            }
            if ticks.len() > KEPT_TICKS_MAX {
                let what = format!(
                    "has more than {KEPT_TICKS_MAX} ticks, which is what many runs keep in memory; choose a shorter part"
                );
                return Err(SourceError::new("source", what));
            }
        }
        let brings = |tick: &&Tick| matches!(tick.action, Action::Add | Action::Modify);
        let orders_max = ticks.iter().filter(brings).count();
        Ok(Kept { ticks: ticks.into(), definitions: definitions.into(), orders_max })
    }

    /// Its ticks.
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// A source of the same, from the beginning.
    pub fn replay(&self) -> Replay {
        Replay { kept: self.clone(), at: 0, defined: 0, now_ns: 0 }
    }
}

/// What was kept, as a source.
#[derive(Clone, Debug)]
pub struct Replay {
    kept: Kept,
    at: usize,
    defined: usize,
    /// The largest time so far.
    now_ns: u64,
}

impl Source for Replay {
    #[inline]
    fn next(&mut self, before_ns: u64) -> Result<Next, SourceError> {
        if let Some((at, definition)) = self.kept.definitions.get(self.defined)
            && *at <= self.at
        {
            self.defined += 1;
            return Ok(Next::Defined(Box::new(definition.clone())));
        }
        match self.kept.ticks.get(self.at) {
            Some(tick) if tick.ts_recv.max(self.now_ns) < before_ns => {
                self.at += 1;
                self.now_ns = self.now_ns.max(tick.ts_recv);
                Ok(Next::Tick(*tick))
            }
            Some(_) => Ok(Next::Later),
            None => Ok(Next::End),
        }
    }

    fn position(&self) -> Position {
        Position { done: self.at as u64, total: Some(self.kept.ticks.len() as u64) }
    }

    fn orders_max(&self) -> Option<usize> {
        Some(self.kept.orders_max)
    }
}
