//! What waits to be published: reports and copies of messages, between the session and its publisher.
//!
//! Bounded. Reports that find no room are read from the journal when their turn comes; copies that find none are counted.

use bus::Report;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most reports of a shard in memory: about 20 MB.
const REPORTS_MAX: usize = 32_768;
/// Most copies, and bytes of them.
const COPIES_MAX: usize = 65_536;
const COPY_BYTES_MAX: usize = 32 << 20;

/// A message as it was on the wire.
pub(super) struct Copy {
    pub(super) sent: bool,
    pub(super) time_ns: u64,
    pub(super) bytes: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    reports: Vec<VecDeque<Report>>,
    /// The number of the last report that was given, whether it is in memory or not.
    last: Vec<u64>,
    copies: VecDeque<Copy>,
    copy_bytes: usize,
    copies_lost: u64,
    ending: bool,
    /// A later owner publishes.
    refused: bool,
}

/// The queue.
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

impl Outbox {
    /// For shards whose last reports have these numbers.
    pub(super) fn new(numbers: &[u64]) -> Outbox {
        let reports = numbers.iter().map(|_| VecDeque::new()).collect();
        let waiting = Waiting { reports, last: numbers.to_vec(), ..Waiting::default() };
        Outbox { waiting: Mutex::new(waiting), came: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives reports that are in the journal.
    pub(super) fn give(&self, reports: impl IntoIterator<Item = (u16, Report)>) {
        let mut waiting = self.lock();
        for (shard, report) in reports {
            let at = usize::from(shard);
            waiting.last[at] = report.number;
            // Once one is left out, those behind it have no place either, until all in memory are gone.
            let follows = waiting.reports[at].back().is_none_or(|last| last.number + 1 == report.number);
            if follows && waiting.reports[at].len() < REPORTS_MAX {
                waiting.reports[at].push_back(report);
            }
        }
        drop(waiting);
        self.came.notify_one();
    }

    /// Gives a copy of a message.
    pub(super) fn copy(&self, copy: Copy) {
        let mut waiting = self.lock();
        if waiting.copies.len() >= COPIES_MAX || waiting.copy_bytes + copy.bytes.len() > COPY_BYTES_MAX {
            waiting.copies_lost += 1;
            return;
        }
        waiting.copy_bytes += copy.bytes.len();
        waiting.copies.push_back(copy);
        drop(waiting);
        self.came.notify_one();
    }

    /// No more comes: the publisher ends once all is out.
    pub(super) fn end(&self) {
        self.lock().ending = true;
        self.came.notify_one();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    pub(super) fn refuse(&self) {
        self.lock().refused = true;
    }

    /// Whether a later owner publishes.
    pub(super) fn is_refused(&self) -> bool {
        self.lock().refused
    }

    /// Waits for something at most so long. Whether something is there.
    pub(super) fn wait(&self, wait: Duration) -> bool {
        let idle = |waiting: &mut Waiting| {
            !waiting.ending && waiting.copies.is_empty() && waiting.reports.iter().all(VecDeque::is_empty)
        };
        let waited = self.came.wait_timeout_while(self.lock(), wait, idle);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The number of the last report that was given.
    pub(super) fn last(&self, shard: u16) -> u64 {
        self.lock().last[usize::from(shard)]
    }

    /// The reports behind a number that are in memory: up to `most`.
    pub(super) fn behind(&self, shard: u16, number: u64, most: usize) -> Vec<Report> {
        self.let_go(shard, number);
        self.lock().reports[usize::from(shard)].iter().take(most).cloned().collect()
    }

    /// The reports up to this number are published: there is nothing to be done for them.
    pub(super) fn let_go(&self, shard: u16, number: u64) {
        let mut waiting = self.lock();
        let reports = &mut waiting.reports[usize::from(shard)];
        while reports.front().is_some_and(|report| report.number <= number) {
            reports.pop_front();
        }
    }

    /// The first copies, and how many found no room since this was last asked.
    pub(super) fn copies(&self, most: usize) -> (Vec<Copy>, u64) {
        let mut waiting = self.lock();
        let count = waiting.copies.len().min(most);
        let copies: Vec<Copy> = waiting.copies.drain(..count).collect();
        waiting.copy_bytes -= copies.iter().map(|copy| copy.bytes.len()).sum::<usize>();
        (copies, std::mem::take(&mut waiting.copies_lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::{Quantity, ReportKind};

    fn report(number: u64) -> (u16, Report) {
        let report = Report {
            number,
            id: None,
            kind: ReportKind::Sent,
            of: None,
            venue: String::new(),
            strategy: String::new(),
            symbol: String::new(),
            publisher_id: 1,
            instrument_id: 1,
            side: None,
            last_quantity: Quantity::default(),
            last_price: None,
            filled: Quantity::default(),
            leaves: Quantity::default(),
            venue_order: String::new(),
            execution: String::new(),
            reason: String::new(),
            text: String::new(),
            cause_ns: 0,
            time_ns: 0,
        };
        (0, report)
    }

    #[test]
    fn what_is_published_wakes_nobody_any_more() {
        let outbox = Outbox::new(&[0]);
        assert!(!outbox.wait(Duration::ZERO), "nothing was given");
        outbox.give([report(1), report(2)]);
        assert!(outbox.wait(Duration::ZERO));
        outbox.let_go(0, 1);
        assert!(outbox.wait(Duration::ZERO), "the second one waits");
        outbox.let_go(0, 2);
        assert!(!outbox.wait(Duration::ZERO), "a publisher that is woken for nothing takes a core");
        assert_eq!(outbox.last(0), 2);
    }
}
