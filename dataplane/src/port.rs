//! The other end of a worker's command and reply rings: how the rest of the process talks to it.

use crate::worker::{Command, Reply, WorkerReport};
use std::time::{Duration, Instant};

/// Commands and replies that may be under way. Each is answered within a round, a parked worker within a
/// millisecond.
pub const COMMANDS_MAX: usize = 64;
/// A worker that has not answered by then is stuck; the change is reported as failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_micros(200);

/// A worker did not answer.
#[derive(Debug, thiserror::Error)]
#[error("worker {worker} did not answer within {} s", ANSWER_WITHIN.as_secs())]
pub struct Unanswered {
    worker: String,
}

/// One worker's port. Used by one thread.
pub struct Port {
    worker: String,
    commands: rtrb::Producer<Command>,
    replies: rtrb::Consumer<Reply>,
    report: Option<Box<WorkerReport>>,
}

impl Port {
    /// The port of the worker of this name, and the worker's ends of the rings.
    pub fn new(worker: &str) -> (Port, rtrb::Consumer<Command>, rtrb::Producer<Reply>) {
        let (commands, commands_out) = rtrb::RingBuffer::new(COMMANDS_MAX);
        let (replies_in, replies) = rtrb::RingBuffer::new(COMMANDS_MAX);
        let report = Some(WorkerReport::new());
        (Port { worker: worker.to_owned(), commands, replies, report }, commands_out, replies_in)
    }

    /// Sends a command and waits until the worker has carried it out.
    ///
    /// # Errors
    /// [`Unanswered`] when the worker is stuck.
    pub fn send(&mut self, command: Command) -> Result<(), Unanswered> {
        self.post(command)?;
        self.settle()
    }

    /// Sends a command without waiting for it.
    ///
    /// # Errors
    /// [`Unanswered`] when there is no room for it and none comes.
    pub fn post(&mut self, command: Command) -> Result<(), Unanswered> {
        let mut waiting = Some(command);
        self.until(|port| {
            port.collect();
            match waiting.take().map(|command| port.commands.push(command)) {
                Some(Err(rtrb::PushError::Full(command))) => waiting = Some(command),
                Some(Ok(())) | None => return true,
            }
            false
        })
    }

    /// The worker's counters as they stand.
    ///
    /// # Errors
    /// [`Unanswered`] when the worker is stuck.
    pub fn report(&mut self) -> Result<&WorkerReport, Unanswered> {
        let report = self.report.take().unwrap_or_else(WorkerReport::new);
        self.send(Command::Report(report))?;
        self.until(|port| {
            port.collect();
            port.report.is_some()
        })?;
        let missing = Unanswered { worker: self.worker.clone() };
        self.report.as_deref().ok_or(missing)
    }

    /// Waits until every command was taken. A worker answers a command in the step in which it takes it.
    fn settle(&mut self) -> Result<(), Unanswered> {
        self.until(|port| {
            port.collect();
            port.commands.slots() == COMMANDS_MAX
        })
    }

    /// Takes what came back. What the worker no longer needs is freed here.
    fn collect(&mut self) {
        while let Ok(reply) = self.replies.pop() {
            match reply {
                Reply::Report(report) => self.report = Some(report),
                Reply::Channel(..) | Reply::Socket(_) => {}
            }
        }
    }

    fn until(&mut self, mut done: impl FnMut(&mut Port) -> bool) -> Result<(), Unanswered> {
        let started = Instant::now();
        while !done(self) {
            if started.elapsed() > ANSWER_WITHIN {
                return Err(Unanswered { worker: self.worker.clone() });
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }
}
