//! A DBN file of the schema `mbo`, compressed by zstd or not.
//!
//! Symbols are from the file's metadata; what a tick or a point is worth is not in such a file.

use super::{Definition, Position, Reader, SourceError};
use bus::InstrumentRow;
use bus::config::InstrumentKey;
use dbn::decode::dbn::Decoder;
use dbn::decode::{DbnMetadata, DecodeRecord};
use dbn::{MboMsg, Schema, SymbolMapping};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tick::Tick;
use tick::dbn::from_mbo;

/// Ticks in a run.
const RUN_TICKS: usize = 4_096;
const BUFFER_BYTES: usize = 1 << 18;
/// What a compressed file begins with (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Counts what is read of a file.
struct Counted {
    file: BufReader<File>,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The file's content, uncompressed. A decoder takes an early end for the end, so here it is an error of another kind, and
/// the length is counted.
struct Content {
    bytes: Box<dyn Read>,
    length: u64,
    /// `DBN`, the version, and how long the metadata behind it is.
    head: [u8; HEAD_BYTES],
}

const HEAD_BYTES: usize = 8;

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            _ => error,
        })?;
        for (at, byte) in (self.length..HEAD_BYTES as u64).zip(&into[..read]) {
            self.head[at as usize] = *byte;
        }
        self.length += read as u64;
        Ok(read)
    }
}

impl Content {
    /// Bytes of all records.
    fn records(&self) -> u64 {
        let [.., a, b, c, d] = self.head;
        self.length.saturating_sub(HEAD_BYTES as u64 + u64::from(u32::from_le_bytes([a, b, c, d])))
    }
}

/// Reads a DBN file.
pub struct DbnReader {
    path: PathBuf,
    decoder: Decoder<Content>,
    symbols: HashMap<u32, String>,
    seen: HashSet<InstrumentKey>,
    /// Records so far, and bytes of each.
    read: u64,
    record_bytes: u64,
    done: Arc<AtomicU64>,
    bytes: u64,
}

impl DbnReader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, is no DBN file, or holds another schema.
    pub fn open(path: &Path) -> Result<DbnReader, SourceError> {
        let at = || path.display().to_string();
        let unreadable = |error: io::Error| SourceError::new(at(), format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut magic = [0; 4];
        let compressed = file.read_exact(&mut magic).is_ok() && magic == ZSTD_MAGIC;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let done = Arc::new(AtomicU64::new(0));
        let file = Counted { file: BufReader::with_capacity(BUFFER_BYTES, file), done: Arc::clone(&done) };
        let content: Box<dyn Read> =
            if compressed { Box::new(zstd::Decoder::new(file).map_err(unreadable)?) } else { Box::new(file) };
        let content = Content { bytes: content, length: 0, head: [0; HEAD_BYTES] };
        let decoder = Decoder::new(content)
            .map_err(|error| SourceError::new(at(), format!("is no whole DBN file: {error}")))?;
        let metadata = decoder.metadata();
        if metadata.schema != Some(Schema::Mbo) {
            let schema = metadata.schema.map_or("no single schema".to_owned(), |schema| schema.to_string());
            return Err(SourceError::new(at(), format!("holds {schema}; a backtest reads the schema mbo")));
        }
        let symbols = symbols_of(&metadata.mappings);
        let sent_time = if metadata.ts_out { size_of::<u64>() } else { 0 };
        Ok(DbnReader {
            path: path.to_owned(),
            decoder,
            symbols,
            seen: HashSet::new(),
            read: 0,
            record_bytes: (size_of::<MboMsg>() + sent_time) as u64,
            done,
            bytes,
        })
    }

    fn damaged(&self, what: impl std::fmt::Display) -> SourceError {
        let at = format!("{}, record {}", self.path.display(), self.read + 1);
        SourceError::new(at, format!("{what}; the file is damaged or cut"))
    }

    /// The end of the records: whether it is one.
    fn end(&self) -> Result<bool, SourceError> {
        let over = self.decoder.get_ref().records().saturating_sub(self.read * self.record_bytes);
        if over == 0 { Ok(false) } else { Err(self.damaged(format!("{over} bytes of it are there"))) }
    }
}

/// Symbol of each instrument id, by the metadata. An id that means several symbols over time has the first.
fn symbols_of(mappings: &[SymbolMapping]) -> HashMap<u32, String> {
    let mut symbols = HashMap::new();
    for SymbolMapping { raw_symbol, intervals } in mappings {
        for interval in intervals {
            match (interval.symbol.parse(), raw_symbol.parse::<u32>()) {
                (Ok(id), _) => {
                    symbols.entry(id).or_insert_with(|| raw_symbol.clone());
                }
                (Err(_), Ok(id)) => {
                    symbols.entry(id).or_insert_with(|| interval.symbol.clone());
                }
                _ => {}
            }
        }
    }
    symbols
}

impl Reader for DbnReader {
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError> {
        for _ in 0..RUN_TICKS {
            let tick = match self.decoder.decode_record::<MboMsg>() {
                Ok(Some(record)) => from_mbo(record),
                Ok(None) => return self.end(),
                Err(error) => {
                    let what = error.to_string();
                    return Err(self.damaged(what));
                }
            };
            self.read += 1;
            let key = InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id };
            if tick.instrument_id != 0
                && let Some(symbol) = self.symbols.get(&key.instrument_id)
                && self.seen.insert(key)
            {
                let row = InstrumentRow { channel_id: tick.channel_id, ..super::row_of(symbol) };
                definitions.push_back(Definition { key, row });
            }
            ticks.push(tick);
        }
        Ok(true)
    }

    fn position(&self) -> Position {
        Position { done: self.done.load(Ordering::Relaxed), total: Some(self.bytes) }
    }
}
