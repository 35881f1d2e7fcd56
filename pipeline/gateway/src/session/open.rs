//! Opening a day: the journal is read, the orders are rebuilt, this owner's file begins.

use super::day::Day;
use super::publish::{Publishing, Source};
use crate::journal::{Begin, Folder, Journal, JournalError, POSITIONS_MAX, Record};
use crate::orders::{Book, Input};
use bus::Report;
use bus::consumer::ConsumerError;
use tracing::{error, info, warn};

/// Why a day cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] ConsumerError),
    /// The journal.
    #[error("the journal: {0}")]
    Journal(#[from] JournalError),
    /// A later owner is there.
    #[error("a later owner has the session")]
    Lost,
    /// The journal was written with other shards.
    #[error(
        "the journal has {journal} shards, the document {document}; change `shards` only between days, with no journal"
    )]
    Shards {
        /// In the journal.
        journal: usize,
        /// In the document.
        document: u16,
    },
}

/// An open day.
pub(super) struct Opened {
    pub(super) book: Book,
    pub(super) journal: Journal,
    pub(super) sources: Vec<Source>,
    /// Reports that were made in opening, and are on disk.
    pub(super) reports: Vec<(u16, Report)>,
    /// The last number in each stream.
    pub(super) published: Vec<u64>,
    /// The stream has reports that the journal does not: orders may be open that nobody here knows.
    pub(super) behind: bool,
}

/// What was read of a day.
struct Read {
    book: Book,
    begin: Begin,
    source: Source,
}

fn read(folder: &Folder, day: &str, shards: u16) -> Result<Option<Read>, JournalError> {
    let mut book: Option<Book> = None;
    let read = folder.read_day(day, |record| {
        match (record, &mut book) {
            (Record::Begin(begin), Some(book)) => book.go_on(&begin),
            (Record::Begin(begin), none) => *none = Some(Book::of(&begin, shards)),
            (Record::Entry { time_ns, input, reports }, Some(book)) => book.replay(time_ns, &input, &reports),
            (Record::Entry { .. }, None) => return Err("it has no head".into()),
        }
        Ok(())
    })?;
    let (Some(read), Some(book)) = (read, book) else { return Ok(None) };
    if read.torn > 0 {
        warn!(day, bytes = read.torn, "a write that did not come to its end is cut off");
    }
    for path in &read.ignored {
        warn!(path = %path.display(), "of an owner that was none any more: not read");
    }
    let source = Source { day: folder.day(day), extents: read.extents, own: None };
    Ok(Some(Read { book, begin: read.newest, source }))
}

/// Opens a day for the owner of a lease.
pub(super) fn open(
    folder: &Folder,
    day: &Day,
    publishing: &mut Publishing,
    now_ns: u64,
) -> Result<Opened, OpenError> {
    let shards = publishing.shards;
    let newest = folder.newest_day(&day.name)?;
    let known = match &newest {
        Some(newest) => read(folder, newest, shards)?,
        None => None,
    };
    if let Some(read) = &known
        && read.begin.numbers.len() != usize::from(shards)
    {
        return Err(OpenError::Shards { journal: read.begin.numbers.len(), document: shards });
    }
    let (mut today, yesterday) = match known {
        Some(read) if newest.as_ref() == Some(&day.name) => (Some(read), None),
        read => (None, read),
    };
    let mut reports = Vec::new();
    let mut sources = Vec::new();
    let mut before = None;
    // Where a Redis that knows nothing begins: yesterday's last reports may not have come out.
    let mut floor = vec![0; usize::from(shards)];
    if let Some(read) = yesterday {
        floor.clone_from(&read.begin.base);
        let (book, source) = end_day(folder, read, publishing, now_ns, &mut reports)?;
        sources.push(source);
        before = Some(book);
    }
    let base = match (&today, &before) {
        (Some(read), _) => read.begin.base.clone(),
        (None, Some(book)) => book.numbers().to_vec(),
        (None, None) => floor.clone(),
    };
    publishing.base = if today.is_some() { base.clone() } else { floor };
    let mut published = Vec::new();
    for shard in 0..shards {
        published.push(publishing.claim(shard)?.ok_or(OpenError::Lost)?);
    }
    let mut begin = Begin {
        time_ns: now_ns,
        venue: publishing.venue.clone(),
        day: day.name.clone(),
        token: publishing.token,
        base,
        ..Begin::default()
    };
    let known = today.as_ref().map(|read| &read.book).or(before.as_ref());
    begin.numbers = known.map_or(vec![0; usize::from(shards)], |book| book.numbers().to_vec());
    begin.cursors =
        known.map_or(vec![bus::StreamId::default(); usize::from(shards)], |book| book.cursors().to_vec());
    let mut behind = false;
    for (number, stream) in begin.numbers.iter_mut().zip(&published) {
        behind |= *stream > *number;
        *number = (*number).max(*stream);
    }
    if behind {
        error!(
            "the stream has reports that the journal does not have: the journal was lost, or another one is used. No new \
             orders until the gateway is started again by someone who has looked; cancels pass"
        );
    }
    if let Some(read) = &today {
        begin.before.clone_from(&read.source.extents);
        begin.positions.clone_from(&read.begin.positions);
        begin.trading.clone_from(&read.begin.trading);
    } else if let Some(book) = &before {
        let held = book.positions().iter().filter(|(_, quantity)| **quantity != 0);
        begin.positions = held.map(|(instrument, quantity)| (*instrument, *quantity)).collect();
        if begin.positions.len() > POSITIONS_MAX {
            warn!(
                positions = begin.positions.len(),
                "more positions than are carried on: reducing will not know all"
            );
            begin.positions.truncate(POSITIONS_MAX);
        }
        begin.trading = book.trading().cloned();
    }
    if today.is_none() && behind {
        publishing.base.clone_from(&begin.numbers);
        begin.base.clone_from(&begin.numbers);
    }
    let mut journal = folder.begin(&begin)?;
    let book = match today.take() {
        Some(read) => {
            let mut book = read.book;
            book.go_on(&begin);
            let input = Input::Down { why: "another gateway had it; what it sent is not certain".into() };
            apply(&mut book, &mut journal, now_ns, &input, &mut reports)?;
            sources.push(Source { own: Some((journal.token(), journal.durable())), ..read.source });
            book
        }
        None => {
            let own = Some((journal.token(), journal.durable()));
            sources.push(Source { day: folder.day(&day.name), extents: Vec::new(), own });
            Book::of(&begin, shards)
        }
    };
    info!(
        day = day.name,
        token = begin.token,
        open = book.open_orders(),
        lost = book.lost(),
        numbers = ?book.numbers(),
        "the journal is open"
    );
    Ok(Opened { book, journal, sources, reports, published, behind })
}

/// Ends a day that is over, in its own folder: its open orders are.
fn end_day(
    folder: &Folder,
    read: Read,
    publishing: &Publishing,
    now_ns: u64,
    reports: &mut Vec<(u16, Report)>,
) -> Result<(Book, Source), OpenError> {
    let Read { mut book, begin, mut source } = read;
    if book.open_orders() == 0 {
        return Ok((book, source));
    }
    let token = publishing.token;
    let head = Begin {
        time_ns: now_ns,
        token,
        numbers: book.numbers().to_vec(),
        cursors: book.cursors().to_vec(),
        before: source.extents.clone(),
        ..begin
    };
    let mut journal = folder.begin(&head)?;
    apply(&mut book, &mut journal, now_ns, &Input::DayOver, reports)?;
    source.own = Some((token, journal.durable()));
    Ok((book, source))
}

/// Takes in what an owner begins with. A file whose first entry does not come to the disk is taken back, so that it can be
/// begun again.
fn apply(
    book: &mut Book,
    journal: &mut Journal,
    now_ns: u64,
    input: &Input,
    reports: &mut Vec<(u16, Report)>,
) -> Result<(), JournalError> {
    let mut made = Vec::new();
    book.apply(now_ns, input, &mut made);
    journal.append(now_ns, input, &made);
    journal.commit().inspect_err(|_| journal.take_back())?;
    reports.append(&mut made);
    Ok(())
}
