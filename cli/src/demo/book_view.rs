//! One instrument at the end of the session: its book, rebuilt from the stream, beside its latest features.

use super::look::{Kept, Record, symbols};
use anyhow::{Context, Result};
use book::{Book, Books, Level, Limits};
use bus::{FeatureRecord, FeatureSchema};
use std::collections::HashMap;
use tick::{Side, Tick};

/// Levels shown of each side.
const LEVELS: usize = 5;
/// Records read by one XREVRANGE.
const PAGE: usize = 500;

/// Prints the instrument that has traded or moved most among those whose book is good. The exchange's books are shown as
/// they were before it closed, which empties them; whether they are its own.
pub(super) fn print(
    redis: &mut redis::Connection,
    stream: &[Record],
    exchange: Option<&venue::books::Books>,
) -> Result<bool> {
    let mut books = Books::new(Limits::default());
    let mut events: HashMap<(u16, u32), u64> = HashMap::new();
    let mut until_ns = 0;
    let mut publisher_id = 0;
    for record in stream {
        let of_exchange = exchange.filter(|_| record.channel_id == super::exchange::CHANNEL);
        match &record.content {
            Kept::Ticks(ticks) => {
                for tick in ticks {
                    if of_exchange.is_some_and(|books| tick.sequence > books.sequence) {
                        continue;
                    }
                    if of_exchange.is_some() {
                        publisher_id = tick.publisher_id;
                    }
                    books.apply(tick);
                    until_ns = until_ns.max(tick.ts_recv);
                    *events.entry((tick.publisher_id, tick.instrument_id)).or_default() += 1;
                }
            }
            Kept::Gap(why) => {
                books.apply(&Tick::gap(0, record.channel_id, record.first, record.last, 0, *why));
            }
        }
    }
    let count = |book: &Book<'_>| events.get(&book.key()).copied().unwrap_or(0);
    let depth = |book: &Book<'_>| {
        [Side::Bid, Side::Ask].map(|side| book.levels(side).take(LEVELS).count()).into_iter().sum::<usize>()
    };
    let chosen =
        books.iter().map(|(_, book)| book).max_by_key(|book| (book.is_good(), depth(book), count(book)));
    let Some(book) = chosen else { return Ok(true) };
    let about = Tick { publisher_id: book.key().0, instrument_id: book.key().1, ..Tick::EMPTY };
    let symbol = symbols(redis, &[about])?.remove(&book.key().1).unwrap_or_default();
    println!("\n{symbol}: the book rebuilt from the stream ({:?}), and its latest features", book.state());
    let left = ladder(&book);
    let right = features(redis, book.key(), until_ns)?;
    for at in 0..left.len().max(right.len()) {
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        println!("  {:<44}{}", line(&left), line(&right));
    }
    Ok(exchange.is_none_or(|theirs| agree(&books, publisher_id, theirs)))
}

/// Asks above bids, the best of each in the middle.
fn ladder(book: &Book<'_>) -> Vec<String> {
    let row = |side: &str, level: Level| {
        let price = level.price as f64 / 1e9;
        format!("{side}  {price:>12.4}  × {:>8}  ({} orders)", level.size, level.orders)
    };
    let mut lines: Vec<String> = book.levels(Side::Ask).take(LEVELS).map(|level| row("ask", level)).collect();
    lines.reverse();
    lines.extend(book.levels(Side::Bid).take(LEVELS).map(|level| row("bid", level)));
    lines
}

/// The last values before this time, named by their schema. Those of the exchange's end are of empty books.
fn features(redis: &mut redis::Connection, key: (u16, u32), until_ns: u64) -> Result<Vec<String>> {
    let mut to = "+".to_owned();
    loop {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(bus::names::CALCULATED_FEATURES).arg(&to).arg("-").arg("COUNT").arg(PAGE);
        let reply: redis::Value = range.query(redis)?;
        let page = bus::records_of_range(&reply)?;
        let Some(last) = page.last() else { return Ok(vec!["no features were published for it".into()]) };
        to = format!("({}", last.id);
        for record in page {
            let record = FeatureRecord::parse(record.fields?)?;
            if (record.publisher_id, record.instrument_id) == key && record.time_ns <= until_ns {
                return told(redis, &record);
            }
        }
    }
}

fn told(redis: &mut redis::Connection, record: &FeatureRecord<'_>) -> Result<Vec<String>> {
    let schema_id = format!("{:016x}", record.schema_id);
    let schema: String = redis::cmd("HGET").arg(bus::names::FEATURE_SCHEMAS).arg(&schema_id).query(redis)?;
    let schema: FeatureSchema = serde_json::from_str(&schema).context("a schema of features")?;
    let mut lines = vec![format!("{}, record {}, quality {}", schema.set, record.number, record.quality.0)];
    for (feature, value) in schema.features.iter().zip(record.values.as_chunks::<8>().0) {
        lines.push(format!("{:<28}{:>14.6} {}", feature.name, f64::from_le_bytes(*value), feature.unit));
    }
    Ok(lines)
}

/// Whether our books of the exchange's symbols are its own, order by order; each that is good must be.
fn agree(books: &Books, publisher_id: u16, theirs: &venue::books::Books) -> bool {
    let mut good = 0;
    let mut same = 0;
    for symbol in &theirs.symbols {
        let Some(id) = books.find(publisher_id, u32::from(symbol.locate)) else { continue };
        let book = books.book(id);
        if book.is_good() {
            good += 1;
            same += usize::from(digest(&book) == symbol.digest);
        }
    }
    println!(
        "  {same} of {good} good books are the exchange's own, order by order, up to its message {}; it has {}",
        theirs.sequence,
        theirs.symbols.len()
    );
    same == good
}

fn digest(book: &Book<'_>) -> String {
    let mut digest = venue::books::Digest::default();
    for (ours, theirs) in [(Side::Bid, venue::exchange::Side::Buy), (Side::Ask, venue::exchange::Side::Sell)]
    {
        for order in book.orders(ours) {
            let price = venue::exchange::Price((order.price / 100_000) as u32);
            digest.add_order(theirs, order.order_id, order.size, price);
        }
    }
    digest.hex()
}
