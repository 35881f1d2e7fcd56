//! A DBN file of the schema `mbo`, written as the ticks come.
//!
//! The file's metadata stands first and names the dataset and the time of the first record, so it is written
//! with the first tick.

use anyhow::{Context, Result};
use dbn::encode::EncodeRecord;
use dbn::encode::dbn::{MetadataEncoder, RecordEncoder};
use dbn::{Metadata, Publisher, SType, Schema};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tick::Tick;
use tick::dbn::to_mbo;

const BUFFER_BYTES: usize = 256 * 1024;

/// A DBN file being written.
pub(super) struct DbnFile {
    path: PathBuf,
    records: RecordEncoder<BufWriter<File>>,
    begun: bool,
}

impl DbnFile {
    /// Creates the file, or empties it.
    pub(super) fn create(path: &Path) -> Result<DbnFile> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let records = RecordEncoder::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(DbnFile { path: path.to_owned(), records, begun: false })
    }

    /// Writes a tick's record, if the schema has one for it.
    pub(super) fn write(&mut self, tick: &Tick) -> Result<()> {
        let Some(record) = to_mbo(tick) else { return Ok(()) };
        self.begin(tick)?;
        self.records.encode_record(&record).with_context(|| cannot_write(&self.path))
    }

    /// Completes the file.
    pub(super) fn finish(mut self) -> Result<()> {
        self.begin(&Tick::EMPTY)?;
        self.records.get_mut().flush().with_context(|| cannot_write(&self.path))
    }

    fn begin(&mut self, first: &Tick) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let publisher = Publisher::try_from(first.publisher_id);
        let metadata = Metadata::builder()
            .dataset(publisher.map_or("UNKNOWN", |publisher| publisher.dataset().as_str()))
            .schema(Some(Schema::Mbo))
            .start(first.ts_recv)
            .stype_in(Some(SType::InstrumentId))
            .stype_out(SType::InstrumentId)
            .build();
        MetadataEncoder::new(self.records.get_mut())
            .encode(&metadata)
            .with_context(|| cannot_write(&self.path))
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
