//! Where ticks are from: whatever yields the ticks of one stream in their order, and what it knows of instruments.
//!
//! A recording is a [`Reader`], which hands out runs of ticks; [`Recorded`] makes a [`Source`] of it. A market that reacts to
//! orders is a source of its own: it is asked only for what happens before the next event of the run, and so has not gone past an
//! order that is still on its way.

mod archive;
mod dbn;
mod ticks;

pub use archive::ArchiveReader;
pub use dbn::DbnReader;
pub use ticks::TicksReader;

use crate::document::SourceSection;
use bus::InstrumentRow;
use bus::config::InstrumentKey;
use std::collections::VecDeque;
use tick::Tick;

/// What a source yields next.
#[derive(Clone, PartialEq, Debug)]
pub enum Next {
    /// The next tick; gaps ([`Tick::gap`]) and channel clears, too.
    Tick(Tick),
    /// An instrument's definition, before the ticks that need it.
    Defined(Box<Definition>),
    /// Nothing before the time that was asked for.
    Later,
    /// No more.
    End,
}

/// What is known of an instrument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Publisher and instrument.
    pub key: InstrumentKey,
    /// As the table of instruments has it.
    pub row: InstrumentRow,
}

/// How far a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Of what it reads: bytes or rows.
    pub done: u64,
    /// Of how many; none when it is not known.
    pub total: Option<u64>,
}

/// Why ticks cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {what}")]
pub struct SourceError {
    /// The file or database, and the place in it.
    pub at: String,
    /// What is wrong and what to do about it.
    pub what: String,
}

impl SourceError {
    /// An error at a place.
    pub fn new(at: impl Into<String>, what: impl Into<String>) -> SourceError {
        SourceError { at: at.into(), what: what.into() }
    }
}

/// Yields the ticks of one stream in their order.
pub trait Source {
    /// What comes next, if it is a tick whose `ts_recv` is before `before_ns` (ns since the epoch) or a definition.
    ///
    /// The stream's order counts: a tick that was received before one given out earlier has that one's time.
    ///
    /// # Errors
    /// Why it cannot be read on. What was given out before stands.
    fn next(&mut self, before_ns: u64) -> Result<Next, SourceError>;

    /// How far it is.
    fn position(&self) -> Position;

    /// As many orders as rest at a time at most, when that is known: books then take memory for no more.
    fn orders_max(&self) -> Option<usize> {
        None
    }
}

/// Reads a recording, run by run.
pub trait Reader {
    /// Appends some ticks, and definitions that are needed before them. None when there are no more.
    ///
    /// # Errors
    /// Why it cannot be read on. What was appended before stands.
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError>;

    /// How far it is.
    fn position(&self) -> Position;
}

impl Reader for Box<dyn Reader> {
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError> {
        (**self).read(ticks, definitions)
    }

    fn position(&self) -> Position {
        (**self).position()
    }
}

/// Opens what a document names. A capture goes through the channels of the data plane, which this crate does not know: who knows
/// them opens it.
///
/// # Errors
/// When it cannot be opened.
pub fn open(section: &SourceSection) -> Result<Box<dyn Reader>, SourceError> {
    Ok(match section {
        SourceSection::Dbn { path } => Box::new(DbnReader::open(path)?),
        SourceSection::Ticks { path } => Box::new(TicksReader::open(path)?),
        SourceSection::Archive(section) => Box::new(ArchiveReader::open(section)?),
        SourceSection::Capture { path, .. } => {
            return Err(SourceError::new(
                path.display().to_string(),
                "a capture is read by the command `feedplane backtest`",
            ));
        }
        SourceSection::Venue(_) => {
            return Err(SourceError::new(
                "source.venue",
                "is no recording: `market::venue::open` gives its ticks and its market",
            ));
        }
    })
}

/// A recording as a source. At most one run of its reader is in memory.
///
/// Time is the largest `ts_recv` so far: that is what is compared with the time that is asked for.
#[derive(Debug)]
pub struct Recorded<R> {
    reader: R,
    now_ns: u64,
    ticks: Vec<Tick>,
    at: usize,
    definitions: VecDeque<Definition>,
    ended: bool,
}

impl<R: Reader> Recorded<R> {
    /// A source of what the reader reads.
    pub fn new(reader: R) -> Recorded<R> {
        Recorded { reader, now_ns: 0, ticks: Vec::new(), at: 0, definitions: VecDeque::new(), ended: false }
    }

    /// Reads on; whether there is anything.
    #[cold]
    fn refill(&mut self) -> Result<(), SourceError> {
        self.ticks.clear();
        self.at = 0;
        while !self.ended && self.ticks.is_empty() && self.definitions.is_empty() {
            self.ended = !self.reader.read(&mut self.ticks, &mut self.definitions)?;
        }
        Ok(())
    }
}

impl<R: Reader> Source for Recorded<R> {
    #[inline]
    fn next(&mut self, before_ns: u64) -> Result<Next, SourceError> {
        if self.at == self.ticks.len() && !self.ended {
            self.refill()?;
        }
        if let Some(definition) = self.definitions.pop_front() {
            return Ok(Next::Defined(Box::new(definition)));
        }
        Ok(next_of(&self.ticks, &mut self.at, &mut self.now_ns, before_ns))
    }

    fn position(&self) -> Position {
        self.reader.position()
    }
}

/// Ticks in memory, as a sweep has them: read once, run often.
#[derive(Clone, Debug)]
pub struct InMemory {
    ticks: std::sync::Arc<[Tick]>,
    definitions: VecDeque<Definition>,
    at: usize,
    now_ns: u64,
}

impl InMemory {
    /// These ticks, after these definitions.
    pub fn new(ticks: std::sync::Arc<[Tick]>, definitions: Vec<Definition>) -> InMemory {
        InMemory { ticks, definitions: definitions.into(), at: 0, now_ns: 0 }
    }
}

impl Source for InMemory {
    #[inline]
    fn next(&mut self, before_ns: u64) -> Result<Next, SourceError> {
        if let Some(definition) = self.definitions.pop_front() {
            return Ok(Next::Defined(Box::new(definition)));
        }
        Ok(next_of(&self.ticks, &mut self.at, &mut self.now_ns, before_ns))
    }

    fn position(&self) -> Position {
        Position { done: self.at as u64, total: Some(self.ticks.len() as u64) }
    }
}

/// The tick at a place, when its time is before the one that is asked for.
#[inline]
fn next_of(ticks: &[Tick], at: &mut usize, now_ns: &mut u64, before_ns: u64) -> Next {
    let Some(tick) = ticks.get(*at) else { return Next::End };
    let time_ns = tick.ts_recv.max(*now_ns);
    if time_ns >= before_ns {
        return Next::Later;
    }
    *at += 1;
    *now_ns = time_ns;
    Next::Tick(*tick)
}

/// A row that says a symbol and nothing else.
pub(crate) fn row_of(symbol: &str) -> InstrumentRow {
    InstrumentRow {
        symbol: symbol.to_owned(),
        tick_size: None,
        multiplier: None,
        lot_size: 0,
        kind: "unknown".into(),
        group: String::new(),
        currency: String::new(),
        channel_id: 0,
    }
}
