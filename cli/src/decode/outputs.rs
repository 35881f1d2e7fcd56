//! Where ticks go: rows on standard output, a DBN file, both, or nowhere.
//!
//! A sink cannot fail, so the first failure is kept and nothing is written after it; the replay looks at it
//! after each packet.

use super::dbn_file::DbnFile;
use super::rows::{RowFormat, Rows};
use anyhow::{Context, Result};
use std::io::{self, BufWriter, StdoutLock};
use std::path::Path;
use tick::{Instrument, Tick};

const BUFFER_BYTES: usize = 256 * 1024;

/// Takes the ticks of a replay.
pub(crate) trait Taker {
    /// Whether there is no use in going on.
    fn failed(&self) -> bool;

    /// A tick of the channel `name`.
    fn write(&mut self, name: &str, tick: &Tick);

    /// A definition, before the ticks behind it.
    fn instrument(&mut self, _: &Instrument) {}

    /// There are no more; the first failure is told.
    fn finish(self) -> Result<()>;
}

/// The outputs that were asked for.
pub(super) struct Outputs {
    rows: Option<Rows<BufWriter<StdoutLock<'static>>>>,
    dbn: Option<DbnFile>,
    failure: Option<anyhow::Error>,
}

impl Outputs {
    /// Opens the outputs; CSV's header line is written.
    pub(super) fn open(rows: Option<RowFormat>, dbn: Option<&Path>) -> Result<Outputs> {
        let stdout = || BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Ok(Outputs {
            rows: rows.map(|format| Rows::new(stdout(), format)).transpose()?,
            dbn: dbn.map(DbnFile::create).transpose()?,
            failure: None,
        })
    }

    fn try_write(&mut self, name: &str, tick: &Tick) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            match rows.write(name, tick) {
                // The reader of the rows has seen enough; whoever wants the DBN file still gets it whole.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.dbn.is_some() => {
                    self.rows = None;
                }
                outcome => outcome.context("cannot write ticks")?,
            }
        }
        self.dbn.as_mut().map_or(Ok(()), |dbn| dbn.write(tick))
    }
}

impl Taker for Outputs {
    fn failed(&self) -> bool {
        self.failure.is_some()
    }

    fn write(&mut self, name: &str, tick: &Tick) {
        if self.failure.is_none() {
            self.failure = self.try_write(name, tick).err();
        }
    }

    fn finish(self) -> Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let rows = self.rows.map_or(Ok(()), |mut rows| rows.flush().context("cannot write ticks"));
        self.dbn.map_or(Ok(()), DbnFile::finish)?;
        rows
    }
}
