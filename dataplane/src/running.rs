//! One worker as the process sees it: its thread, its port, its way in, and which feed sits in which slot.

use crate::link::{Interfaces, Link};
use crate::plan::{self, PlanError, Route, Schemas};
use crate::port::Port;
use crate::wait::Wait;
use crate::worker::{Command, SLOTS_MAX};
use anyhow::Context;
use bus::config::Feed;
use feed::AnyChannel;
use std::collections::HashSet;
use std::thread::JoinHandle;
use tracing::info;

/// What a change of feeds did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Feeds that begin.
    pub added: Vec<String>,
    /// Feeds whose lines or parameters changed.
    pub changed: Vec<String>,
    /// Feeds that end.
    pub removed: Vec<String>,
}

impl Changed {
    /// Takes in what another worker's change does.
    pub fn extend(&mut self, other: Changed) {
        self.added.extend(other.added);
        self.changed.extend(other.changed);
        self.removed.extend(other.removed);
    }
}

/// A change that is built and not begun: only the kernel can still refuse it.
pub struct Prepared {
    /// What it will do.
    pub changed: Changed,
    begin: Vec<(Feed, Box<AnyChannel>)>,
    replace: Vec<(usize, Feed, Box<AnyChannel>)>,
    ending: Vec<usize>,
}

/// Why feeds cannot be run by a worker.
#[derive(Debug, thiserror::Error)]
pub enum Unprepared {
    /// One of them cannot be built.
    #[error(transparent)]
    Feed(#[from] PlanError),
    /// There are too many.
    #[error(
        "worker {worker}: {new} new feeds, but only {free} of {SLOTS_MAX} slots are free; divide them over workers"
    )]
    Slots {
        /// The worker.
        worker: String,
        /// Feeds that begin.
        new: usize,
        /// Slots that are free.
        free: usize,
    },
}

/// Channels that the stream has already.
#[derive(Debug, Default)]
pub struct Published {
    /// By an earlier run, as Redis tells.
    pub by_earlier_runs: HashSet<u16>,
    /// By this process.
    pub by_this_process: HashSet<u16>,
}

impl Published {
    fn has(&self, channel_id: u16) -> bool {
        self.by_earlier_runs.contains(&channel_id) || self.by_this_process.contains(&channel_id)
    }
}

/// A worker that runs.
pub struct RunningWorker {
    /// Its name.
    pub name: String,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// How it waits.
    pub wait: Wait,
    /// The interfaces of its lines.
    pub interfaces: Interfaces,
    /// Why the preferred backend is not the one in force.
    pub fallback: Option<String>,
    /// The way in.
    pub link: Link,
    /// Commands and reports.
    pub port: Port,
    thread: JoinHandle<()>,
    slots: Vec<Option<Feed>>,
    next_slot: usize,
}

/// The parts a [`RunningWorker`] begins with.
pub struct Parts {
    /// Its name.
    pub name: String,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// How it waits.
    pub wait: Wait,
    /// The interfaces of its lines.
    pub interfaces: Interfaces,
    /// Why the preferred backend is not the one in force.
    pub fallback: Option<String>,
    /// The way in.
    pub link: Link,
    /// Commands and reports.
    pub port: Port,
    /// The worker's thread.
    pub thread: JoinHandle<()>,
}

impl RunningWorker {
    /// A worker without feeds.
    pub fn new(parts: Parts) -> RunningWorker {
        let Parts { name, core, wait, interfaces, fallback, link, port, thread } = parts;
        let slots = vec![None; SLOTS_MAX];
        RunningWorker { name, core, wait, interfaces, fallback, link, port, thread, slots, next_slot: 0 }
    }

    /// The feeds it runs, with their slots.
    pub fn feeds(&self) -> impl Iterator<Item = (usize, &Feed)> + Clone {
        self.slots.iter().enumerate().filter_map(|(slot, feed)| Some((slot, feed.as_ref()?)))
    }

    /// Whether its thread has ended on its own, which only a defect can make happen.
    pub fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    /// Builds what brings the worker from the feeds that it runs to `wanted`. Nothing changes yet.
    ///
    /// # Errors
    /// What could not be built.
    pub fn prepare(
        &self,
        wanted: &[Feed],
        schemas: &mut Schemas,
        published: &Published,
    ) -> Result<Prepared, Unprepared> {
        let mut changed = Changed::default();
        let (mut begin, mut replace) = (Vec::new(), Vec::new());
        let mut keep = vec![false; SLOTS_MAX];
        for feed in wanted {
            match self.slot_of(feed) {
                Some(slot) => {
                    keep[slot] = true;
                    if self.slots[slot].as_ref() == Some(feed) {
                        continue;
                    }
                    changed.changed.push(feed.name.clone());
                    replace.push((slot, feed.clone(), Box::new(live_channel(feed, None, schemas)?)));
                }
                None => {
                    changed.added.push(feed.name.clone());
                    // What the stream has already is gone on with: the publisher declares what lies between.
                    let first = feed.first_sequence.filter(|_| !published.has(feed.channel_id));
                    begin.push((feed.clone(), Box::new(live_channel(feed, first, schemas)?)));
                }
            }
        }
        let free = self.slots.iter().filter(|slot| slot.is_none()).count();
        if begin.len() > free {
            return Err(Unprepared::Slots { worker: self.name.clone(), new: begin.len(), free });
        }
        let ending = self.feeds().filter(|(slot, _)| !keep[*slot]);
        changed.removed = ending.clone().map(|(_, feed)| feed.name.clone()).collect();
        let ending = ending.map(|(slot, _)| slot).collect();
        Ok(Prepared { changed, begin, replace, ending })
    }

    /// Makes a change that was prepared for the feeds that the worker runs now.
    ///
    /// # Errors
    /// What the kernel refused, or that the worker does not answer. The change is begun then and not ended: another one,
    /// back to what was, puts that right.
    pub fn apply(&mut self, prepared: Prepared, published: &mut Published) -> anyhow::Result<()> {
        let Prepared { changed, begin, replace, ending } = prepared;
        let before: Vec<Route> = self.routes();
        for (slot, feed, channel) in replace {
            self.port.send(Command::Replace(slot as u16, channel))?;
            self.slots[slot] = Some(feed);
        }
        for (feed, channel) in begin {
            let slot = self.free_slot().context("no free slot")?;
            let again = !published.by_this_process.insert(feed.channel_id);
            self.port.send(Command::Add { slot: slot as u16, channel, again })?;
            self.slots[slot] = Some(feed);
        }
        let after: Vec<Route> =
            self.routes().into_iter().filter(|route| !ending.contains(&usize::from(route.slot))).collect();
        self.link.change(&before, &after, &mut self.port)?;
        for slot in ending {
            self.port.send(Command::Remove(slot as u16))?;
            self.slots[slot] = None;
        }
        info!(worker = self.name, ?changed, "feeds changed");
        Ok(())
    }

    /// Closes the way in and has what waits delivered or declared. Nothing arrives any more after it.
    ///
    /// # Errors
    /// When the worker does not answer, or the way in cannot be closed.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let routes = self.routes();
        self.link.change(&routes, &[], &mut self.port)?;
        Ok(self.port.send(Command::Finish)?)
    }

    /// Ends the worker's thread.
    pub fn stop(mut self) {
        // Programs are detached before the sockets they lead to are closed.
        drop(self.link);
        // A worker that does not answer has ended already, which the join tells.
        let _ = self.port.post(Command::Stop);
        if self.thread.join().is_err() {
            tracing::error!(worker = self.name, "the worker's thread had panicked");
        }
    }

    fn routes(&self) -> Vec<Route> {
        self.feeds().flat_map(|(slot, feed)| plan::routes(feed, slot as u16)).collect()
    }

    fn slot_of(&self, feed: &Feed) -> Option<usize> {
        self.feeds().find(|(_, running)| plan::same_stream(running, feed)).map(|(slot, _)| slot)
    }

    /// A slot is used again as late as possible, so that packets still on their way to the feed that left
    /// it are not taken for the new one's.
    fn free_slot(&mut self) -> Option<usize> {
        let slot = (0..SLOTS_MAX)
            .map(|step| (self.next_slot + step) % SLOTS_MAX)
            .find(|&slot| self.slots[slot].is_none())?;
        self.next_slot = slot + 1;
        Some(slot)
    }
}

fn live_channel(
    feed: &Feed,
    first_sequence: Option<u64>,
    schemas: &mut Schemas,
) -> Result<AnyChannel, PlanError> {
    plan::channel(feed, first_sequence, plan::LIVE_PAYLOAD_BYTES_MAX, schemas)
}
