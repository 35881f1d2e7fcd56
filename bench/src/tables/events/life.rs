//! What goes on in the Redis of table (m): ticks of an instrument and orders, at an even, modest rate.

use anyhow::{Result, bail};
use bus::names::{EXECUTION_REPORTS, ORDER_INSTRUCTIONS, RAW_MARKET_DATA};
use bus::{Entry, Instruction, OrderAction, OrderSide, Report, ReportKind, TimeInForce};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tick::{Action, Flags, Price, Side, Tick};

const CHANNEL: u16 = 7;
/// Between two entries of ticks; an order every second time.
const EVERY: Duration = Duration::from_millis(10);
/// Ticks of an entry.
const TICKS: u64 = 10;

/// A writer at work; it stops when this is dropped.
pub(super) struct Life {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Life {
    pub(super) fn start(url: String) -> Result<Life> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("life".to_owned()).spawn(move || {
            let mut connection = redis::Client::open(url)?.get_connection()?;
            let clear = Tick::channel_clear(1, CHANNEL, 1, 1);
            add(&mut connection, RAW_MARKET_DATA, |visit| {
                Entry::of_ticks(CHANNEL, 1, 1, &[clear]).for_each_field(visit);
            })?;
            for turn in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                tick(&mut connection, turn)?;
                if turn % 2 == 0 {
                    order(&mut connection, turn)?;
                }
                std::thread::sleep(EVERY);
            }
            Ok(())
        })?;
        Ok(Life { stop, thread: Some(thread) })
    }

    /// Stops, and says whether all went well.
    pub(super) fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => bail!("the writer panicked"),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Adds what `fields` visits to a stream of 10,000 entries.
fn add(
    connection: &mut redis::Connection,
    stream: &str,
    fields: impl FnOnce(&mut dyn FnMut(&str, &[u8])),
) -> Result<()> {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("MAXLEN").arg("~").arg(10_000).arg("*");
    fields(&mut |name, value| {
        command.arg(name).arg(value);
    });
    Ok(command.exec(connection)?)
}

/// Changes of price levels around the middle, and one trade.
fn tick(connection: &mut redis::Connection, turn: u64) -> Result<()> {
    let first = 2 + turn * TICKS;
    let ticks: Vec<Tick> = (0..TICKS)
        .map(|n| {
            let (side, way) = if n % 2 == 0 { (Side::Bid, -1) } else { (Side::Ask, 1) };
            let away = 1 + ((turn + n) % 30) as i64;
            Tick {
                ts_recv: first + n,
                sequence: first + n,
                price: (1_000 + way * away) * 1_000_000_000,
                size: 1 + (turn % 900) as u32,
                instrument_id: 5,
                publisher_id: 1,
                channel_id: CHANNEL,
                action: if n == 0 { Action::Trade } else { Action::Modify },
                side,
                flags: Flags::LAST | Flags::MBP,
                depth: tick::DEPTH_NO_LEVEL,
                ..Tick::EMPTY
            }
        })
        .collect();
    let entry = Entry::of_ticks(CHANNEL, first, first + TICKS - 1, &ticks);
    add(connection, RAW_MARKET_DATA, |visit| entry.for_each_field(visit))
}

/// An order that the venue takes at once.
fn order(connection: &mut redis::Connection, turn: u64) -> Result<()> {
    let id = format!("B{turn}").parse()?;
    let instruction = Instruction {
        id,
        action: OrderAction::New {
            side: OrderSide::Buy,
            quantity: 10,
            price: Some(Price(1_000_000_000)),
            time_in_force: TimeInForce::Day,
        },
        venue: "bench".into(),
        publisher_id: 1,
        instrument_id: 5,
        symbol: "X".into(),
        strategy: "bench".into(),
        cause_ns: 0,
        created_ns: turn,
    };
    let report = Report {
        number: turn / 2 + 1,
        id: Some(id),
        venue: "bench".into(),
        strategy: "bench".into(),
        publisher_id: 1,
        instrument_id: 5,
        side: Some(OrderSide::Buy),
        last_quantity: 10,
        last_price: Some(Price(1_000_000_000)),
        filled: 10,
        ..Report::new(ReportKind::Filled, turn)
    };
    add(connection, ORDER_INSTRUCTIONS, |visit| instruction.for_each_field(visit))?;
    add(connection, EXECUTION_REPORTS, |visit| report.for_each_field(visit))
}
