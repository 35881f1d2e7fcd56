//! One instrument at the end of the session: its book, rebuilt from the stream, beside its latest features.

use super::look::{Kept, Record, symbols};
use anyhow::{Context, Result};
use book::{Book, Books, Level, Limits};
use bus::FeatureSchema;
use std::collections::{BTreeMap, HashMap};
use tick::{Side, Tick};

/// Levels shown of each side.
const LEVELS: usize = 5;

/// Prints the instrument that has traded or moved most among those whose book is good.
pub(super) fn print(redis: &mut redis::Connection, stream: &[Record]) -> Result<()> {
    let mut books = Books::new(Limits::default());
    let mut events: HashMap<(u16, u32), u64> = HashMap::new();
    for record in stream {
        match &record.content {
            Kept::Ticks(ticks) => {
                for tick in ticks {
                    books.apply(tick);
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
    let Some(book) = chosen else { return Ok(()) };
    let (publisher_id, instrument_id) = book.key();
    let about = Tick { publisher_id, instrument_id, ..Tick::EMPTY };
    let symbol = symbols(redis, &[about])?.remove(&instrument_id).unwrap_or_default();
    println!("\n{symbol}: the book rebuilt from the stream ({:?}), and its latest features", book.state());
    let left = ladder(&book);
    let right = features(redis, publisher_id, instrument_id)?;
    for at in 0..left.len().max(right.len()) {
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        println!("  {:<44}{}", line(&left), line(&right));
    }
    Ok(())
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

/// The values of `latest_features`, named by their schema.
fn features(redis: &mut redis::Connection, publisher_id: u16, instrument_id: u32) -> Result<Vec<String>> {
    let key = bus::names::latest_features_key(publisher_id, instrument_id);
    let fields: BTreeMap<String, Vec<u8>> = redis::cmd("HGETALL").arg(&key).query(redis)?;
    let text = |name: &str| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let mut lines = Vec::new();
    for set in fields.keys().filter_map(|field| field.strip_suffix(".k")) {
        let schema_id = text(&format!("{set}.k")).unwrap_or_default();
        let schema: String =
            redis::cmd("HGET").arg(bus::names::FEATURE_SCHEMAS).arg(&schema_id).query(redis)?;
        let schema: FeatureSchema = serde_json::from_str(&schema).context("a schema of features")?;
        let quality = text(&format!("{set}.q")).unwrap_or_default();
        lines.push(format!(
            "{set}, record {}, quality {quality}",
            text(&format!("{set}.n")).unwrap_or_default()
        ));
        let values = fields.get(&format!("{set}.v")).map_or(&[][..], Vec::as_slice);
        for (feature, value) in schema.features.iter().zip(values.as_chunks::<8>().0) {
            lines.push(format!("{:<28}{:>14.6} {}", feature.name, f64::from_le_bytes(*value), feature.unit));
        }
    }
    if lines.is_empty() {
        lines.push("no features were published for it".into());
    }
    Ok(lines)
}
