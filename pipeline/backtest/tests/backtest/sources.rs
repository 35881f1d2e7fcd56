//! Where ticks are from, and what can be wrong with it.

use crate::session::session;
use crate::support::es_file;
use backtest::source::{
    DbnReader, Definition, InMemory, Next, Reader, Recorded, Source, SourceError, TicksReader,
};
use dbn::encode::EncodeRecord;
use dbn::encode::dbn::Encoder;
use dbn::{MappingInterval, MetadataBuilder, SType, Schema, SymbolMapping};
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use tick::Tick;
use tick::dbn::to_mbo;
use zerocopy::IntoBytes;

/// All that a reader gives before it ends or fails.
fn all(reader: &mut impl Reader) -> (Vec<Tick>, VecDeque<Definition>, Result<(), SourceError>) {
    let (mut ticks, mut definitions) = (Vec::new(), VecDeque::new());
    loop {
        match reader.read(&mut ticks, &mut definitions) {
            Ok(true) => {}
            Ok(false) => return (ticks, definitions, Ok(())),
            Err(error) => return (ticks, definitions, Err(error)),
        }
    }
}

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A DBN file of these ticks, of the instrument TEST.
fn dbn_bytes(ticks: &[Tick], schema: Schema) -> Vec<u8> {
    let day = |day| time_date(day);
    let interval = MappingInterval { start_date: day(1), end_date: day(2), symbol: "42".into() };
    let metadata = MetadataBuilder::new()
        .dataset("XNAS.ITCH")
        .schema(Some(schema))
        .start(0)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings(vec![SymbolMapping { raw_symbol: "TEST".into(), intervals: vec![interval] }])
        .build();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &metadata).unwrap();
    for record in ticks.iter().filter_map(to_mbo) {
        encoder.encode_record(&record).unwrap();
    }
    bytes
}

fn time_date(day: u8) -> time::Date {
    time::Date::from_calendar_date(2024, time::Month::January, day).unwrap()
}

#[test]
fn a_dbn_file_gives_its_ticks_and_symbols_compressed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let ticks = session(1, 6_000);
    let bytes = dbn_bytes(&ticks, Schema::Mbo);
    let plain = file(&folder, "plain.dbn", &bytes);
    let zstd = file(&folder, "day.dbn.zst", &zstd::encode_all(&bytes[..], 1).unwrap());
    let expected: Vec<Tick> =
        ticks.iter().filter_map(to_mbo).map(|record| tick::dbn::from_mbo(&record)).collect();
    for path in [plain, zstd] {
        let mut reader = DbnReader::open(&path).unwrap();
        let (read, definitions, end) = all(&mut reader);
        end.unwrap();
        assert_eq!(read, expected);
        let [definition] = <[Definition; 1]>::try_from(Vec::from(definitions)).unwrap();
        assert_eq!((definition.row.symbol.as_str(), definition.key.instrument_id), ("TEST", 42));
        let position = reader.position();
        assert_eq!(Some(position.done), position.total);
    }
}

#[test]
fn a_dbn_file_that_is_cut_damaged_or_of_another_schema_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let ticks = session(2, 3_000);
    let bytes = dbn_bytes(&ticks, Schema::Mbo);
    let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
    let long = zstd::encode_all(&dbn_bytes(&session(7, 20_000), Schema::Mbo)[..], 1).unwrap();
    let cases = [
        ("cut.dbn", bytes[..bytes.len() - 7].to_vec()),
        ("cut.dbn.zst", zstd[..zstd.len() / 2].to_vec()),
        ("end.dbn.zst", zstd[..zstd.len() - 3].to_vec()),
        ("long.dbn.zst", long[..long.len() - 100].to_vec()),
    ];
    for (name, content) in cases {
        let path = file(&folder, name, &content);
        let mut reader = match DbnReader::open(&path) {
            Ok(reader) => reader,
            // Compressed, it is one block: nothing of it can be read.
            Err(error) => {
                assert!(
                    name.ends_with(".zst") && error.to_string().contains("is no whole DBN file"),
                    "{error}"
                );
                continue;
            }
        };
        let (read, _, end) = all(&mut reader);
        let error = end.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("record"), "{error}");
        assert!(error.contains("damaged or cut"), "{error}");
        assert!(!read.is_empty(), "what was whole before it was given out");
    }
    for (name, content, expected) in [
        ("other.dbn", dbn_bytes(&[], Schema::Trades), "holds trades; a backtest reads the schema mbo"),
        ("none.dbn", b"nothing of the kind".to_vec(), "is no whole DBN file"),
        ("empty.dbn", Vec::new(), "is no whole DBN file"),
        ("short.dbn", bytes[..40].to_vec(), "is no whole DBN file"),
    ] {
        let error = DbnReader::open(&file(&folder, name, &content)).err().expect(name).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = DbnReader::open(&folder.path().join("gone.dbn")).err().unwrap().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

/// Any damage to a file ends in an error or in ticks, never in anything worse.
#[test]
fn a_dbn_file_with_any_byte_changed_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = dbn_bytes(&session(3, 20), Schema::Mbo);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        let path = file(&folder, "changed.dbn", &changed);
        if let Ok(mut reader) = DbnReader::open(&path) {
            let (read, ..) = all(&mut reader);
            assert!(read.len() <= bytes.len() / 48);
        }
    }
}

#[test]
fn a_file_of_ticks_gives_them_and_one_of_odd_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ticks = session(4, 8_000);
    let path = file(&folder, "day.ticks", ticks.as_bytes());
    let (read, _, end) = all(&mut TicksReader::open(&path).unwrap());
    end.unwrap();
    assert_eq!(read, ticks);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    let error = TicksReader::open(&path).unwrap_err().to_string();
    assert!(error.contains("1 more than a whole number of ticks"), "{error}");
    // Shortened while it is read.
    let path = file(&folder, "short.ticks", ticks.as_bytes());
    let mut reader = TicksReader::open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(64 * 5_000).unwrap();
    let (read, _, end) = all(&mut reader);
    assert!(end.unwrap_err().to_string().contains("cannot be read"));
    assert!(read.len() >= 4_096);
}

#[test]
fn a_source_gives_nothing_that_is_later_than_asked_and_its_time_does_not_go_back() {
    let mut ticks = session(5, 100);
    ticks.truncate(10);
    for (at, tick) in ticks.iter_mut().enumerate() {
        tick.ts_recv = 100 + at as u64;
    }
    ticks[5].ts_recv = 50;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "day.ticks", ticks.as_bytes());
    let reader = Recorded::new(TicksReader::open(&path).unwrap());
    let memory = InMemory::new(ticks.clone().into(), Vec::new());
    check_source(reader, &ticks);
    check_source(memory, &ticks);
}

fn check_source(mut source: impl Source, ticks: &[Tick]) {
    assert_eq!(source.next(100).unwrap(), Next::Later);
    for tick in &ticks[..5] {
        assert_eq!(source.next(105).unwrap(), Next::Tick(*tick));
    }
    // Received at 50, told behind what was received at 104: its time is 104.
    assert_eq!(source.next(104).unwrap(), Next::Later);
    assert_eq!(source.next(105).unwrap(), Next::Tick(ticks[5]));
    for tick in &ticks[6..] {
        assert_eq!(source.next(u64::MAX).unwrap(), Next::Tick(*tick));
    }
    assert_eq!(source.next(u64::MAX).unwrap(), Next::End);
    assert_eq!(source.next(u64::MAX).unwrap(), Next::End);
}

#[test]
fn the_real_file_is_read_to_its_end() {
    let Some(path) = es_file() else { return };
    let (ticks, definitions, end) = all(&mut DbnReader::open(Path::new(&path)).unwrap());
    end.unwrap();
    assert_eq!(ticks.len(), 68_792);
    assert_eq!(definitions.iter().map(|d| d.row.symbol.as_str()).collect::<Vec<_>>(), ["ESH4"]);
}
