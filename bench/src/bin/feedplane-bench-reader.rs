//! The reader of table (e): a process of its own that blocks in `XREAD` and notes when each packet's data can
//! be read. Prints `ready`, reads until it has seen what it was told to expect or its time is over, and prints
//! one JSON line.

use anyhow::{Context, Result, bail};
use bench::tables::Readable;
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use redis::{Connection, Value};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Entries asked for at a time.
const COUNT: usize = 512;
/// Longest block, ms; the deadline is looked at in between.
const BLOCK_MS: usize = 200;
/// Largest delay that is told apart, ns.
const DELAY_MAX_NS: u64 = 1_000_000_000_000;

#[derive(Parser)]
struct Arguments {
    /// Redis, as a URL.
    #[arg(long)]
    redis: String,
    /// What an entry is.
    #[arg(long, value_enum)]
    entries: Entries,
    /// Packets to see.
    #[arg(long)]
    packets: u64,
    /// Time to see them in, ms.
    #[arg(long)]
    within_ms: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Entries {
    /// feedplane's: many ticks, each with its arrival and its distance to the send time.
    Ticks,
    /// The reference's: one tick with a field `sent`.
    Fields,
}

#[allow(clippy::print_stdout)] // The result is the program's output.
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut connection = redis::Client::open(arguments.redis.as_str())?.get_connection()?;
    println!("ready");
    let histogram = read(&mut connection, &arguments)?;
    let at = |quantile| histogram.value_at_quantile(quantile);
    let readable = Readable {
        packets: histogram.len(),
        p50_ns: at(0.5),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        max_ns: histogram.max(),
    };
    println!("{}", serde_json::to_string(&readable)?);
    Ok(())
}

fn read(connection: &mut Connection, arguments: &Arguments) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(DELAY_MAX_NS, 3)?;
    let deadline = Instant::now() + Duration::from_millis(arguments.within_ms);
    let mut after = "0".to_owned();
    while histogram.len() < arguments.packets && Instant::now() < deadline {
        let reply: Value = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(COUNT)
            .arg("BLOCK")
            .arg(BLOCK_MS)
            .arg("STREAMS")
            .arg(bus::names::RAW_MARKET_DATA)
            .arg(&after)
            .query(connection)?;
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
        let mut seen = |sent_ns: u64| histogram.saturating_record(now_ns.saturating_sub(sent_ns));
        match arguments.entries {
            Entries::Ticks => take_ticks(&reply, &mut after, &mut seen)?,
            Entries::Fields => take_fields(&reply, &mut after, &mut seen)?,
        }
    }
    Ok(histogram)
}

/// A packet of the bench holds one book entry, so it makes one tick.
fn take_ticks(reply: &Value, after: &mut String, seen: &mut impl FnMut(u64)) -> Result<()> {
    for (_, entries) in bus::entries_of_read(reply)? {
        for entry in entries {
            *after = entry.id.to_string();
            for tick in entry.entry?.ticks() {
                // Exact: the delay to arrival is far below the 2 s at which the difference saturates.
                seen(tick.ts_recv.wrapping_sub(i64::from(tick.ts_in_delta).cast_unsigned()));
            }
        }
    }
    Ok(())
}

fn take_fields(reply: &Value, after: &mut String, seen: &mut impl FnMut(u64)) -> Result<()> {
    let Value::Array(streams) = reply else { return Ok(()) };
    for stream in streams {
        let [_, Value::Array(entries)] = parts(stream)? else { bail!("expected [stream, entries]") };
        for entry in entries {
            let [id, Value::Array(fields)] = parts(entry)? else { bail!("expected [id, fields]") };
            *after = text(id)?.to_owned();
            let sent = fields.chunks_exact(2).find(|pair| matches!(text(&pair[0]), Ok("sent")));
            seen(text(&sent.context("an entry without `sent`")?[1])?.parse()?);
        }
    }
    Ok(())
}

fn parts(value: &Value) -> Result<&[Value; 2]> {
    match value {
        Value::Array(parts) => parts.as_slice().try_into().context("expected a pair"),
        _ => bail!("expected a pair"),
    }
}

fn text(value: &Value) -> Result<&str> {
    match value {
        Value::BulkString(bytes) => Ok(std::str::from_utf8(bytes)?),
        _ => bail!("expected a string"),
    }
}
