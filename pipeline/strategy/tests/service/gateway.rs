//! A gateway and a venue in a few lines: takes each id once, now and then only when it comes again, trades
//! immediate-or-cancel orders whole and others never, and numbers its reports.

use crate::rig::Dice;
use bus::{Instruction, OrderAction, OrderSide, Report, ReportKind, StreamId, TimeInForce, records_of_read};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// What it saw and did.
#[derive(Default)]
pub(crate) struct Account {
    /// Every instruction by its id, as first seen.
    pub(crate) seen: BTreeMap<String, Instruction>,
    /// Ids that came more than once.
    pub(crate) again: BTreeSet<String>,
    /// Instrument: position.
    pub(crate) positions: BTreeMap<u32, i64>,
    pub(crate) open: BTreeMap<String, Instruction>,
    answered: BTreeSet<String>,
    number: BTreeMap<String, u64>,
}

pub(crate) struct Gateway {
    ended: Arc<AtomicBool>,
    /// While it is set, nothing is read.
    pub(crate) asleep: Arc<AtomicBool>,
    thread: Option<JoinHandle<Account>>,
}

impl Gateway {
    pub(crate) fn start(url: &str, streams: Vec<(String, String)>) -> Gateway {
        let (ended, asleep) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (client, over, sleeps) =
            (redis::Client::open(url).unwrap(), Arc::clone(&ended), Arc::clone(&asleep));
        let thread = std::thread::spawn(move || {
            let mut account = Account::default();
            let mut connection = client.get_connection().unwrap();
            let mut after = vec![StreamId::default(); streams.len()];
            let mut dice = Dice(99);
            while !over.load(Ordering::Relaxed) {
                if sleeps.load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    continue;
                }
                let mut read = redis::cmd("XREAD");
                read.arg("BLOCK").arg(20).arg("STREAMS");
                for (instructions, _) in &streams {
                    read.arg(instructions);
                }
                for after in &after {
                    read.arg(after.to_string());
                }
                let Ok(reply) = read.query::<Value>(&mut connection) else { break };
                for (name, records) in records_of_read(&reply).unwrap() {
                    let at = streams.iter().position(|(own, _)| own.as_bytes() == name).unwrap();
                    for record in records {
                        after[at] = record.id;
                        let Ok(instruction) = Instruction::parse(record.fields.unwrap()) else { continue };
                        for report in account.take(&instruction, &streams[at].1, &mut dice) {
                            add_report(&mut connection, &streams[at].1, &report);
                        }
                    }
                }
            }
            account
        });
        Gateway { ended, asleep, thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) -> Account {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn add_report(connection: &mut redis::Connection, stream: &str, report: &Report) {
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*");
    report.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.exec(connection).unwrap();
}

impl Account {
    fn take(&mut self, instruction: &Instruction, stream: &str, dice: &mut Dice) -> Vec<Report> {
        let id = instruction.id.to_string();
        if let Some(before) = self.seen.get(&id) {
            assert_eq!(before, instruction, "the same id with other content");
            self.again.insert(id.clone());
            return if self.answered.contains(&id) { Vec::new() } else { self.answer(instruction, stream) };
        }
        self.seen.insert(id, instruction.clone());
        // As if it had died before it read this one.
        if dice.below(12) == 0 { Vec::new() } else { self.answer(instruction, stream) }
    }

    fn answer(&mut self, instruction: &Instruction, stream: &str) -> Vec<Report> {
        let number = self.number.entry(stream.to_owned()).or_default();
        let mut say = |report: Report| {
            *number += 1;
            Report {
                number: *number,
                venue: instruction.venue.clone(),
                strategy: instruction.strategy.clone(),
                symbol: instruction.symbol.clone(),
                publisher_id: instruction.publisher_id,
                instrument_id: instruction.instrument_id,
                cause_ns: instruction.cause_ns,
                ..report
            }
        };
        let of_id = |kind| Report { id: Some(instruction.id), ..Report::new(kind, now_ns()) };
        let id = instruction.id.to_string();
        self.answered.insert(id.clone());
        match instruction.action {
            OrderAction::New { side, quantity, price, time_in_force } => {
                let side_said = Some(side);
                let sent = Report { side: side_said, leaves: quantity, ..of_id(ReportKind::Sent) };
                let mut reports = vec![say(sent)];
                if time_in_force == TimeInForce::ImmediateOrCancel {
                    let signed = if side == OrderSide::Buy { quantity as i64 } else { -(quantity as i64) };
                    *self.positions.entry(instruction.instrument_id).or_default() += signed;
                    reports.push(say(Report {
                        side: side_said,
                        last_quantity: quantity,
                        last_price: price,
                        filled: quantity,
                        ..of_id(ReportKind::Filled)
                    }));
                } else {
                    let accepted =
                        Report { side: side_said, leaves: quantity, ..of_id(ReportKind::Accepted) };
                    reports.push(say(accepted));
                    self.open.insert(id, instruction.clone());
                }
                reports
            }
            OrderAction::Cancel { of } => match self.open.remove(&of.to_string()) {
                Some(_) => {
                    let cancelled = Report { id: Some(of), ..Report::new(ReportKind::Cancelled, now_ns()) };
                    let sent = Report { of: Some(of), ..of_id(ReportKind::Sent) };
                    vec![say(sent), say(cancelled)]
                }
                None => vec![say(Report { of: Some(of), ..of_id(ReportKind::CancelRejected) })],
            },
            OrderAction::Replace { of, .. } => {
                vec![say(Report { of: Some(of), ..of_id(ReportKind::Rejected) })]
            }
        }
    }
}
