//! The reader of tables (e) and (j): a process of its own that blocks in `XREAD` and notes when each packet's data, or each
//! instruction, can be read; or that reads a lane of shared memory. Prints `ready`, reads until it has seen what it was told to expect or its time is over, and prints
//! one JSON line.

use anyhow::{Context, Result, bail};
use bench::lane::{LaneReader, Next};
use bench::tables::Readable;
use bus::Instruction;
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use redis::{Connection, Value};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Entries asked for at a time.
const COUNT: usize = 512;
/// Longest block, ms; the deadline is looked at in between.
const BLOCK_MS: usize = 200;
/// Largest delay that is told apart, ns.
const DELAY_MAX_NS: u64 = 1_000_000_000_000;

#[derive(Parser)]
struct Arguments {
    /// Redis, as a URL; or the file of a lane.
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
    /// Instructions.
    Orders,
    /// Ticks in a lane, looked for without a pause.
    LaneSpinning,
    /// Ticks in a lane, asleep until there are some.
    LaneSleeping,
}

/// An instruction, and when it could be read.
#[derive(Serialize)]
struct Order {
    id: String,
    cause_ns: u64,
    created_ns: u64,
    readable_ns: u64,
}

#[allow(clippy::print_stdout)] // The result is the program's output.
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if matches!(arguments.entries, Entries::LaneSpinning | Entries::LaneSleeping) {
        let lane = LaneReader::open(Path::new(&arguments.redis))?;
        println!("ready");
        return print(&read_lane(lane, &arguments)?);
    }
    let mut connection = redis::Client::open(arguments.redis.as_str())?.get_connection()?;
    println!("ready");
    if matches!(arguments.entries, Entries::Orders) {
        println!("{}", serde_json::to_string(&read_orders(&mut connection, &arguments)?)?);
        return Ok(());
    }
    print(&read(&mut connection, &arguments)?)
}

#[allow(clippy::print_stdout)] // The result is the program's output.
fn print(histogram: &Histogram<u64>) -> Result<()> {
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

fn now_ns() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64)
}

/// What has come behind `after`; waits for a moment when nothing has.
fn ask(connection: &mut Connection, stream: &str, after: &str) -> Result<Value> {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(stream).arg(after);
    Ok(read.query(connection)?)
}

fn read(connection: &mut Connection, arguments: &Arguments) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(DELAY_MAX_NS, 3)?;
    let deadline = Instant::now() + Duration::from_millis(arguments.within_ms);
    let mut after = "0".to_owned();
    while histogram.len() < arguments.packets && Instant::now() < deadline {
        let reply = ask(connection, bus::names::RAW_MARKET_DATA, &after)?;
        let now_ns = now_ns()?;
        let mut seen = |sent_ns: u64| histogram.saturating_record(now_ns.saturating_sub(sent_ns));
        match arguments.entries {
            Entries::Fields => take_fields(&reply, &mut after, &mut seen)?,
            _ => take_ticks(&reply, &mut after, &mut seen)?,
        }
    }
    Ok(histogram)
}

/// All instructions within the time.
fn read_orders(connection: &mut Connection, arguments: &Arguments) -> Result<Vec<Order>> {
    let deadline = Instant::now() + Duration::from_millis(arguments.within_ms);
    let (mut after, mut orders) = ("0".to_owned(), Vec::new());
    while Instant::now() < deadline {
        let reply = ask(connection, bus::names::ORDER_INSTRUCTIONS, &after)?;
        let readable_ns = now_ns()?;
        for (_, records) in bus::records_of_read(&reply)? {
            for record in records {
                after = record.id.to_string();
                let Instruction { id, cause_ns, created_ns, .. } = Instruction::parse(record.fields?)?;
                orders.push(Order { id: id.to_string(), cause_ns, created_ns, readable_ns });
            }
        }
    }
    Ok(orders)
}

/// A lane's ticks, each counted from its time of arrival.
fn read_lane(mut lane: LaneReader, arguments: &Arguments) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(DELAY_MAX_NS, 3)?;
    let deadline = Instant::now() + Duration::from_millis(arguments.within_ms);
    while histogram.len() < arguments.packets {
        match lane.take() {
            Next::Tick(tick) => histogram.saturating_record(now_ns()?.saturating_sub(tick.ts_recv)),
            Next::Missed(_) => {}
            Next::Nothing if Instant::now() > deadline => break,
            Next::Nothing if matches!(arguments.entries, Entries::LaneSleeping) => {
                lane.sleep(Duration::from_millis(BLOCK_MS as u64));
            }
            Next::Nothing => std::hint::spin_loop(),
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
