//! The publisher: one thread between the workers' rings and Redis.
//!
//! ```text
//! rings ─► composer (by channel and shard) ─► one write in flight ─► Redis
//!    └──────► spool (memory, disk) ──┘
//! ```
//!
//! The thread owns everything here. A write is one Redis transaction: entries, positions, instrument rows.
//! One write is in flight; what arrives meanwhile makes the next. So a quiet market pays no delay, a burst
//! makes larger writes, and a refused or doubtful write is settled before anything is sent after it:
//! nothing is published twice or out of order. What Redis does not take in time moves from the rings to
//! the spool; what the spool cannot take is declared in the stream. Nothing is lost without a record.

mod address;
mod composer;
mod config;
mod disk;
mod error;
mod instruments;
mod link;
mod losses;
mod resp;
mod session;
mod spool;
mod stats;
mod thread;
mod write;

pub use config::{PublisherConfig, SpoolConfig};
pub use error::PublisherError;
pub use stats::{ChannelPublished, Latency, PublisherStats};

use bus::Positions;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tick::{Instrument, Tick};

/// Longest wait for the thread to answer a question; it answers between two rounds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A running publisher. Dropped without [`Publisher::stop`], it ends at once and publishes nothing more.
pub struct Publisher {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
    parks: bool,
}

/// Wakes a publisher that sleeps. An atomic swap when it is awake, a futex call when it is not.
#[derive(Clone, Debug)]
pub struct Bell(pub(crate) std::thread::Thread);

impl Bell {
    /// There is something in a ring.
    #[inline]
    pub fn ring(&self) {
        self.0.unpark();
    }
}

/// What the thread is asked.
enum Command {
    AddRings(Option<rtrb::Consumer<Tick>>, Option<rtrb::Consumer<Instrument>>),
    Stats(Sender<PublisherStats>),
    Stop(Instant, Sender<PublisherStats>),
}

impl Publisher {
    /// Starts the thread. When Redis cannot be reached now, ticks wait in the spool until it can.
    ///
    /// A worker should make all ticks of a packet visible at once (one commit of the ring): the publisher
    /// then never divides a packet over two writes, and a stored position never names half a packet.
    ///
    /// # Errors
    /// A setting out of range, a URL that makes no sense, a spool file that cannot be used, or a Redis that
    /// answers and refuses (password, permission, keys of another kind).
    pub fn start(
        config: PublisherConfig,
        ticks: Vec<rtrb::Consumer<Tick>>,
        instruments: Vec<rtrb::Consumer<Instrument>>,
    ) -> Result<Publisher, PublisherError> {
        config.check()?;
        let (commands, inbox) = channel();
        let state = thread::Thread::new(&config, ticks, instruments, inbox)?;
        let (core, parks) = (config.core, state.parks());
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || {
                if let Some(core) = core
                    && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
                {
                    tracing::warn!(
                        core,
                        "the publisher cannot be pinned to this core; is it in the process's cpuset?"
                    );
                }
                state.run();
            })
            .map_err(PublisherError::Thread)?;
        Ok(Publisher { commands, thread: Some(thread), parks })
    }

    /// What a worker rings after it has put something into its ring; none when this publisher never sleeps. A ring that
    /// nobody rings for is looked at every 10 ms.
    pub fn bell(&self) -> Option<Bell> {
        self.thread.as_ref().filter(|_| self.parks).map(|thread| Bell(thread.thread().clone()))
    }

    fn ask(&self, command: Command) -> Result<(), PublisherError> {
        self.commands.send(command).map_err(|_| PublisherError::Gone)?;
        if let Some(bell) = self.bell() {
            bell.ring();
        }
        Ok(())
    }

    /// Hands over the rings of a worker that was added later.
    ///
    /// # Errors
    /// [`PublisherError::Gone`].
    pub fn add_rings(
        &self,
        ticks: rtrb::Consumer<Tick>,
        instruments: rtrb::Consumer<Instrument>,
    ) -> Result<(), PublisherError> {
        self.ask(Command::AddRings(Some(ticks), Some(instruments)))
    }

    /// The counters as they stand. When the thread is gone, only `last_error` says so.
    pub fn stats(&self) -> PublisherStats {
        let (sender, answer) = channel();
        let asked = self.ask(Command::Stats(sender));
        asked.ok().and_then(|()| answer.recv_timeout(ANSWER_PATIENCE).ok()).unwrap_or_else(|| {
            PublisherStats { last_error: Some(PublisherError::Gone.to_string()), ..PublisherStats::default() }
        })
    }

    /// Publishes what the rings and the spool hold, waits for Redis's answers, and ends. The workers should
    /// have ended before.
    ///
    /// # Errors
    /// [`PublisherError::Undelivered`] when not everything was acknowledged within `drain_within`. What was
    /// not is declared by the next run (`offline`), from the stored positions.
    pub fn stop(mut self, drain_within: Duration) -> Result<PublisherStats, PublisherError> {
        let (sender, answer) = channel();
        let deadline = Instant::now() + drain_within;
        self.ask(Command::Stop(deadline, sender))?;
        let stats = answer.recv_timeout(drain_within + ANSWER_PATIENCE).map_err(|_| PublisherError::Gone)?;
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| PublisherError::Gone)?;
        }
        match stats.waiting {
            0 => Ok(stats),
            ticks => Err(PublisherError::Undelivered { ticks, last_error: stats.last_error }),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let (sender, _) = channel();
            let _ = self.ask(Command::Stop(Instant::now(), sender));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How far each channel of a stream is published, over all its shards: where a data plane that starts goes
/// on from.
///
/// # Errors
/// As [`Publisher::start`]; also when Redis cannot be reached.
pub fn read_positions(redis_url: &str, stream: &str, shards: u16) -> Result<Positions, PublisherError> {
    let streams: Vec<String> =
        (0..shards.max(1)).map(|shard| bus::names::shard_stream(stream, shard, shards)).collect();
    session::read_positions(&address::Address::parse(redis_url)?, &streams)
}
