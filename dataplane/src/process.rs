//! The whole data plane: puts the parts together in the order that loses nothing, and says how it is. What changes while
//! packets flow is in [`crate::change`].

use crate::clock::{ClockKeeper, Phc};
use crate::handover::RingSink;
use crate::link::{Interfaces, Link};
use crate::plan::Schemas;
use crate::port::Port;
use crate::publisher::{Publisher, PublisherConfig, read_positions};
use crate::running::{Parts, Published, RunningWorker};
use crate::status;
use crate::wait::Wait;
use crate::worker::Worker;
use anyhow::Context;
use bus::config::{DataplaneDocument, FeedsDocument, PublisherSection, WorkerSection};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tick::{Instrument, Tick};
use tracing::{info, warn};

/// Instrument definitions between a worker and the publisher. Venues repeat them; a burst larger than this
/// is counted and completed by the next round.
const INSTRUMENT_RING: usize = 8_192;
/// What the publisher has to be empty by when the process is asked to end.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// A running data plane. Used by one thread; dropped without [`Dataplane::stop`] it publishes nothing more.
pub struct Dataplane {
    pub(crate) document: DataplaneDocument,
    pub(crate) directory: PathBuf,
    /// What runs, with the paths in it resolved.
    pub(crate) feeds: FeedsDocument,
    pub(crate) schemas: Schemas,
    pub(crate) published: Published,
    pub(crate) workers: Vec<RunningWorker>,
    publisher: Publisher,
    /// Beside `workers`.
    pub(crate) clocks: Vec<ClockKeeper>,
}

impl Dataplane {
    /// Starts everything with the feeds of the document's own file.
    ///
    /// # Errors
    /// As [`Dataplane::start_with`], and what is wrong with the file.
    pub fn start(document: DataplaneDocument, directory: &Path) -> anyhow::Result<Dataplane> {
        let feeds = FeedsDocument::load(&directory.join(&document.feeds))?;
        Dataplane::start_with(document, feeds, directory)
    }

    /// Starts everything: publisher, then for each worker its way in (attach before bind), then its feeds.
    /// `directory` is where relative paths of the document begin; those in `feeds` are resolved. After an error nothing is
    /// left running.
    ///
    /// # Errors
    /// The first thing that cannot be had, and what to do about it.
    pub fn start_with(
        document: DataplaneDocument,
        feeds: FeedsDocument,
        directory: &Path,
    ) -> anyhow::Result<Dataplane> {
        let published = published_before(&document.publisher);
        let ring_ticks = document.publisher.ring_ticks as usize;
        let mut sinks = Vec::new();
        let (mut tick_rings, mut instrument_rings) = (Vec::new(), Vec::new());
        for _ in &document.workers {
            let (ticks, ticks_out) = rtrb::RingBuffer::new(ring_ticks);
            let (instruments, instruments_out) = rtrb::RingBuffer::new(INSTRUMENT_RING);
            sinks.push(RingSink::new(ticks, instruments));
            tick_rings.push(ticks_out);
            instrument_rings.push(instruments_out);
        }
        // A Redis that refuses is found before anything touches a NIC.
        let publisher = start_publisher(&document.publisher, directory, tick_rings, instrument_rings)?;
        let mut dataplane = Dataplane {
            document,
            directory: directory.to_path_buf(),
            feeds: FeedsDocument { feeds: Vec::new(), filters: Vec::new() },
            schemas: Schemas::default(),
            published,
            workers: Vec::new(),
            publisher,
            clocks: Vec::new(),
        };
        match dataplane.begin(sinks, feeds) {
            Ok(()) => Ok(dataplane),
            Err(error) => {
                // Their sockets and programs are gone when this returns, so that another start finds the NIC free.
                dataplane.workers.into_iter().for_each(RunningWorker::stop);
                Err(error)
            }
        }
    }

    fn begin(&mut self, sinks: Vec<RingSink>, feeds: FeedsDocument) -> anyhow::Result<()> {
        let sections = self.document.workers.clone();
        for (section, mut sink) in sections.iter().zip(sinks) {
            sink.ring(self.publisher.bell());
            let (worker, clock) = start_worker(section, &self.document, sink)?;
            self.workers.push(worker);
            self.clocks.push(clock);
        }
        let planned = self.plan(&sections, feeds)?;
        for note in &planned.notes {
            warn!("{note}");
        }
        self.carry_out(planned)?;
        Ok(())
    }

    /// Loads the steering programs anew and puts them in place of the running ones, without losing a packet.
    ///
    /// # Errors
    /// What the kernel refused; the old program goes on then.
    pub fn replace_programs(&mut self) -> anyhow::Result<usize> {
        let mut replaced = 0;
        for worker in &mut self.workers {
            replaced += worker.link.replace_programs()?;
        }
        Ok(replaced)
    }

    /// The name of a worker whose thread has ended on its own, if there is one. The process should end then,
    /// and be started again.
    pub fn dead_worker(&self) -> Option<&str> {
        self.workers.iter().find(|worker| worker.is_dead()).map(|worker| worker.name.as_str())
    }

    /// How every part is, asked for now.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn status(&mut self) -> anyhow::Result<Value> {
        let workers = status::workers(&mut self.workers)?;
        Ok(status::whole(&workers, &self.publisher.stats()))
    }

    /// The configuration it runs.
    pub fn document(&self) -> &DataplaneDocument {
        &self.document
    }

    /// The feeds and filters it runs, with the paths in them resolved.
    pub fn feeds(&self) -> &FeedsDocument {
        &self.feeds
    }

    /// Ends: the ways in are closed, what waits is delivered or declared, what was handed over is
    /// published. Returns the last status.
    ///
    /// # Errors
    /// When not everything could be published in five seconds; how much was left.
    pub fn stop(mut self) -> anyhow::Result<Value> {
        for worker in &mut self.workers {
            if let Err(error) = worker.finish() {
                warn!(worker = worker.name, "did not end cleanly: {error:#}");
            }
        }
        let workers = status::workers(&mut self.workers)?;
        for worker in self.workers {
            worker.stop();
        }
        let published = self.publisher.stop(DRAIN_WITHIN)?;
        info!(ticks = published.published, lost = published.lost, "published");
        Ok(status::whole(&workers, &published))
    }
}

fn start_worker(
    section: &WorkerSection,
    document: &DataplaneDocument,
    sink: RingSink,
) -> anyhow::Result<(RunningWorker, ClockKeeper)> {
    let interfaces = Interfaces::find(section).with_context(|| format!("worker {}", section.name))?;
    let clock = start_clock(&interfaces)?;
    let (port, commands, replies) = Port::new(&section.name);
    let wait = Wait::resolve(section.wait, section.core.is_some());
    let (ready, opened) = std::sync::mpsc::channel();
    let parts = (section.clone(), document.receive.clone(), interfaces.clone(), clock.map());
    // The way in is opened on the worker's own thread, after pinning, so that its memory is on its node.
    let thread = std::thread::Builder::new().name(format!("worker-{}", section.name)).spawn(move || {
        let (section, receive, interfaces, clock) = parts;
        pin(section.core, &section.name);
        let opened = match Link::open(&receive, &interfaces) {
            Ok(opened) => opened,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let (receiver, queue_packets) = (opened.receiver, opened.queue_packets);
        let worker = Worker::new(receiver, sink, clock, commands, replies, wait, queue_packets);
        if ready.send(Ok((opened.link, opened.fallback))).is_ok() {
            worker.run();
        }
    })?;
    let answer = opened.recv().context("the worker's thread ended before it was ready")?;
    let (link, fallback) = answer.with_context(|| format!("worker {}", section.name))?;
    if let Some(reason) = &fallback {
        warn!(worker = section.name, backend = link.name(), reason, "XDP cannot be had; falling back");
    }
    info!(
        worker = section.name,
        core = section.core,
        wait = wait.name(),
        backend = link.name(),
        "worker ready"
    );
    let (name, core) = (section.name.clone(), section.core);
    let parts = Parts { name, core, wait, interfaces, fallback, link, port, thread };
    Ok((RunningWorker::new(parts), clock))
}

fn start_clock(interfaces: &Interfaces) -> anyhow::Result<ClockKeeper> {
    let clocks = interfaces.names.each_ref().map(|name| match Phc::of_interface(name) {
        Ok(clock) => {
            if let Some(clock) = &clock {
                info!(interface = name, clock = %clock.path().display(), "hardware clock found");
            }
            clock
        }
        Err(error) => {
            warn!(interface = name, %error, "the interface's hardware clock cannot be opened; not used");
            None
        }
    });
    ClockKeeper::start(clocks).context("the clock's thread")
}

fn pin(core: Option<usize>, thread: &str) {
    if let Some(core) = core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        warn!(thread, core, "cannot pin to this core; is it in the process's cpuset?");
    }
}

fn start_publisher(
    section: &PublisherSection,
    directory: &Path,
    ticks: Vec<rtrb::Consumer<Tick>>,
    instruments: Vec<rtrb::Consumer<Instrument>>,
) -> anyhow::Result<Publisher> {
    let config = PublisherConfig::from_section(section, directory);
    Publisher::start(config, ticks, instruments).context("the publisher")
}

/// The channels that an earlier run has left in the stream. What was missed since is declared by the
/// publisher, from the positions stored beside the stream.
fn published_before(section: &PublisherSection) -> Published {
    let by_earlier_runs = match read_positions(&section.redis, bus::names::RAW_MARKET_DATA, section.shards) {
        Ok(positions) => positions.into_keys().collect(),
        Err(error) => {
            warn!(%error, "Redis is not there yet; ticks wait in the spool");
            HashSet::new()
        }
    };
    Published { by_earlier_runs, ..Published::default() }
}
