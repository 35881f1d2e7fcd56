//! A capture as a source of a backtest: what `feedplane decode` does, on a thread of its own, its ticks handed over in runs.

use crate::decode::{Taker, replay};
use anyhow::anyhow;
use backtest::source::{Definition, Position, Reader, SourceError};
use bus::InstrumentRow;
use bus::config::{FeedsDocument, InstrumentKey};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tick::{Instrument, Tick};

/// Ticks in a run, and runs on their way: 16 MiB at most.
const RUN_TICKS: usize = 4_096;
const RUNS: usize = 64;

/// Ticks, and the definitions that came before the last of them.
#[derive(Default)]
struct Run {
    ticks: Vec<Tick>,
    definitions: Vec<Definition>,
}

/// Reads a capture.
pub(super) struct CaptureReader {
    runs: Receiver<Result<Run, String>>,
    path: PathBuf,
    done: u64,
}

impl CaptureReader {
    /// Begins to read.
    pub(super) fn open(path: &Path, feeds: &Path) -> Result<CaptureReader, SourceError> {
        let of = |at: &Path, what: String| SourceError::new(at.display().to_string(), what);
        let document = FeedsDocument::load(feeds).map_err(|error| of(feeds, error.to_string()))?;
        // Told here and not by the thread, so that nothing is begun for a file that is not there.
        std::fs::metadata(path).map_err(|error| of(path, format!("cannot be read: {error}")))?;
        let (sender, runs) = sync_channel(RUNS);
        let file = path.to_owned();
        let read = move || {
            let handed = Handed { sender: sender.clone(), run: Run::default(), gone: false };
            if let Err(error) = replay(&file, &document, handed) {
                // Who does not listen any more does not want to know.
                let _ = sender.send(Err(format!("{error:#}")));
            }
        };
        std::thread::Builder::new()
            .name("capture".into())
            .spawn(read)
            .map_err(|error| of(path, format!("no thread to read it: {error}")))?;
        Ok(CaptureReader { runs, path: path.to_owned(), done: 0 })
    }
}

impl Reader for CaptureReader {
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError> {
        match self.runs.recv() {
            Ok(Ok(run)) => {
                self.done += run.ticks.len() as u64;
                ticks.extend(run.ticks);
                definitions.extend(run.definitions);
                Ok(true)
            }
            Ok(Err(what)) => Err(SourceError::new(self.path.display().to_string(), what)),
            Err(_) => Ok(false),
        }
    }

    fn position(&self) -> Position {
        Position { done: self.done, total: None }
    }
}

/// Hands ticks over.
struct Handed {
    sender: SyncSender<Result<Run, String>>,
    run: Run,
    gone: bool,
}

impl Handed {
    fn hand_over(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.gone |= self.sender.send(Ok(run)).is_err();
    }
}

impl Taker for Handed {
    fn failed(&self) -> bool {
        self.gone
    }

    fn write(&mut self, _: &str, tick: &Tick) {
        self.run.ticks.push(*tick);
        if self.run.ticks.len() >= RUN_TICKS {
            self.hand_over();
        }
    }

    fn instrument(&mut self, instrument: &Instrument) {
        // A definition is to be known before the ticks behind it.
        if !self.run.ticks.is_empty() {
            self.hand_over();
        }
        let key =
            InstrumentKey { publisher_id: instrument.publisher_id, instrument_id: instrument.instrument_id };
        self.run.definitions.push(Definition { key, row: InstrumentRow::from(instrument) });
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.hand_over();
        if self.gone { Err(anyhow!("nobody reads the ticks any more")) } else { Ok(()) }
    }
}
