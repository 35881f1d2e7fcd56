//! The archive as a source, in a real database that the archiver's own code has filled.

use crate::session::{BEGIN_NS, CHANNEL, INSTRUMENT, session};
use crate::support::{backtest, run_kept, skip};
use archiver::follow::{Follower, Kind};
use archiver::store::{Store, Stored};
use backtest::document::ArchiveSection;
use backtest::source::{ArchiveReader, Definition, InMemory, Reader, Recorded};
use bus::config::RetentionSection;
use bus::consumer::Lease;
use bus::{Entry, Record, StreamId};
use lab::postgres::PostgresServer;
use sqlx::{Connection, Executor, PgConnection};
use std::collections::VecDeque;
use tick::{GapReason, Tick};
use tokio::runtime::Runtime;

const STREAM: &str = "raw_market_data";
/// Ticks of an entry.
const ENTRY_TICKS: usize = 100;

struct Archive {
    server: PostgresServer,
    runtime: Runtime,
}

impl Archive {
    /// An empty archive; nothing when there is no server here.
    fn new() -> Option<Archive> {
        if let Some(why) = lab::postgres::unavailable() {
            skip(&why);
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let archive = Archive { server: PostgresServer::start().unwrap(), runtime };
        archive.runtime.block_on(archive.store().check()).unwrap();
        Some(archive)
    }

    fn store(&self) -> Store {
        Store::new(&self.server.url(), RetentionSection::default()).unwrap()
    }

    fn sql(&self, sql: &str) {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.server.url()).await.unwrap();
            connection.execute(sql).await.unwrap();
        });
    }

    /// Archives ticks; gap ticks become gap entries.
    fn keep(&self, ticks: &[Tick]) {
        let lease = Lease { stream: STREAM.into(), token: 1 };
        let mut store = self.store();
        let place = self.runtime.block_on(store.claim(Kind::Ticks, &lease)).unwrap().unwrap();
        let mut follower = Follower::new(Kind::Ticks, place);
        for (at, entry) in entries(ticks).iter().enumerate() {
            let fields = entry.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            let id = StreamId { ms: at as u64 + 1, seq: 0 };
            follower.push(Record { id, fields: Ok(fields) }, &mut |_| None);
        }
        let stored = self.runtime.block_on(store.store(Kind::Ticks, &lease, &follower.take()));
        assert_eq!(stored.unwrap(), Stored::Yes);
    }

    fn section(&self) -> ArchiveSection {
        ArchiveSection { database: self.server.url(), stream: STREAM.into(), from_ns: None, to_ns: None }
    }

    fn read(&self, section: &ArchiveSection) -> Result<(Vec<Tick>, Vec<Definition>), String> {
        let mut reader = ArchiveReader::open(section).map_err(|error| error.to_string())?;
        let (mut ticks, mut definitions) = (Vec::new(), VecDeque::new());
        while reader.read(&mut ticks, &mut definitions).map_err(|error| error.to_string())? {}
        let position = reader.position();
        assert_eq!(Some(position.done), position.total);
        Ok((ticks, definitions.into()))
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(ticks: &[Tick]) -> Vec<Fields> {
    let of = |entry: Entry<'_>| {
        let mut fields = Vec::new();
        entry.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        fields
    };
    let mut entries = Vec::new();
    let mut next = 1;
    for run in ticks.chunk_by(|a, b| a.as_gap().is_none() && b.as_gap().is_none()) {
        if let [gap] = run
            && let Some((from, to, why)) = gap.as_gap()
        {
            entries.push(of(Entry::of_gap(gap.channel_id, from, to, why)));
            next = to + 1;
            continue;
        }
        for ticks in run.chunks(ENTRY_TICKS) {
            let last = ticks[ticks.len() - 1].sequence;
            entries.push(of(Entry::of_ticks(CHANNEL, next, last, ticks)));
            next = last + 1;
        }
    }
    entries
}

/// A day with a gap in its middle.
fn day_with_gap() -> Vec<Tick> {
    let mut ticks = session(21, 12_000);
    let at = ticks.len() / 2;
    let before = ticks[at - 1];
    for tick in &mut ticks[at..] {
        tick.sequence += 10;
    }
    let (from, to) = (before.sequence + 1, before.sequence + 10);
    ticks.insert(at, Tick::gap(1, CHANNEL, from, to, before.ts_recv, GapReason::Lost));
    ticks
}

#[test]
fn the_archive_gives_back_what_was_archived_gaps_and_definitions_too() {
    let Some(archive) = Archive::new() else { return };
    let ticks = day_with_gap();
    archive.keep(&ticks);
    archive.sql(&format!(
        "INSERT INTO feedplane.instruments (publisher_id, instrument_id, symbol, tick_size, multiplier, lot_size, kind, \
         product_group, currency, channel_id) VALUES (1, {INSTRUMENT}, 'TEST', 10000000, 1000000000, 1, 'future', '', 'USD', 7)"
    ));
    let (read, definitions) = archive.read(&archive.section()).unwrap();
    assert_eq!(read.len(), ticks.len());
    let first = read.iter().zip(&ticks).position(|(read, kept)| read != kept);
    assert_eq!(first.map(|at| (read[at], ticks[at])), None);
    let [definition] = definitions.as_slice() else { panic!("{definitions:?}") };
    assert_eq!((definition.row.symbol.as_str(), definition.row.tick_size), ("TEST", Some(10_000_000)));

    // A backtest over it is the one over the ticks.
    let strategy = "  - {name: quotes, venue: sim, instruments: [TEST], quoter: {half_spread_ticks: 1, size: 10, position_max: 50, quiet_ms: 1000}}";
    let document = format!(
        "source: {{archive: {{database: '{}'}}}}\nexecution: {{order_latency_us: 100, report_latency_us: 100, feature_latency_us: 0, queue: by_order}}",
        archive.server.url()
    );
    let backtest = backtest(strategy, None, &document);
    let mut recorded = Recorded::new(ArchiveReader::open(&archive.section()).unwrap());
    let (of_archive, kept) = run_kept(&backtest, &mut recorded).unwrap();
    let mut memory = InMemory::new(ticks.into(), definitions);
    let (of_memory, again) = run_kept(&backtest, &mut memory).unwrap();
    assert_eq!(of_archive, of_memory);
    assert_eq!(kept.reports, again.reports);
    assert!(of_archive.trades.fills > 10 && of_archive.input.gaps == 1);
}

#[test]
fn a_part_of_the_archive_is_read_by_its_time_and_out_of_order_ticks_stay_in_the_streams_order() {
    let Some(archive) = Archive::new() else { return };
    let mut ticks = session(22, 6_000);
    // Received earlier than those before them, by up to 5 s: another channel's clock.
    for at in (100..ticks.len()).step_by(97) {
        ticks[at].ts_recv -= 5_000_000_000;
    }
    archive.keep(&ticks);
    assert_eq!(archive.read(&archive.section()).unwrap().0, ticks);
    let (from, to) = (BEGIN_NS + 10_000_000_000, BEGIN_NS + 30_000_000_000);
    let section = ArchiveSection { from_ns: Some(from), to_ns: Some(to), ..archive.section() };
    let within = |tick: &Tick| (from..to).contains(&tick.ts_recv);
    let first = ticks.iter().position(within).unwrap();
    let last = ticks.iter().rposition(within).unwrap();
    assert_eq!(archive.read(&section).unwrap().0, ticks[first..=last]);
}

#[test]
fn an_empty_archive_an_unknown_stream_and_what_retention_took_are_refused() {
    let Some(archive) = Archive::new() else { return };
    let error = |section: &ArchiveSection| archive.read(section).unwrap_err();
    let whole = archive.section();
    let text = error(&whole);
    assert!(text.contains("no such stream; there are none"), "{text}");
    archive.keep(&[]);
    let text = error(&whole);
    assert!(text.contains("no ticks in it; nothing to run"), "{text}");
    let ticks = session(23, 6_000);
    archive.keep(&ticks);
    let text = error(&ArchiveSection { stream: "other".into(), ..whole.clone() });
    assert!(text.contains("no such stream; there are raw_market_data"), "{text}");
    let text = error(&ArchiveSection { to_ns: Some(BEGIN_NS - 1), ..whole.clone() });
    assert!(text.contains("no ticks in it in that time"), "{text}");
    archive.sql("DELETE FROM feedplane.ticks WHERE row BETWEEN 500 AND 600");
    let text = error(&whole);
    assert!(text.contains("row 500 is missing: retention"), "{text}");
    archive.sql("DROP SCHEMA feedplane CASCADE");
    assert!(error(&whole).contains("there is no schema feedplane"));
    let gone = ArchiveSection { database: "postgres://u:secret@127.0.0.1:1/x".into(), ..whole };
    let text = error(&gone);
    assert!(text.contains("cannot be reached") && !text.contains("secret"), "{text}");
}
