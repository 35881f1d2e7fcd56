//! The reading side: leases, entries, rows; everything that Redis is asked.

use super::lag::LagMeter;
use super::{Condition, Event, StartError, Work, read_entries, streams};
use crate::catalogue::Catalogue;
use crate::follow::{Follower, Kind};
use bus::config::ArchiverDocument;
use bus::consumer::{ConsumerError, Lease, Link, Members, MembersConfig, Reader, StreamInfo, process_name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use vitals::Stop;

/// Longest wait in one turn: the delay of a stop.
const TURN: Duration = Duration::from_millis(50);
/// Wait when the queue is full.
const QUEUE_WAIT: Duration = Duration::from_millis(2);
/// Wait after a read that brought little: the archive need not be fast, and larger reads cost less.
const GATHER: Duration = Duration::from_millis(5);
/// What little is, entries.
const LITTLE: usize = 32;
/// How often a stream whose claim was refused is claimed again.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);
/// How often the lag is measured.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// How often it is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// How often instruments and schemas are looked at.
const CATALOGUE_EVERY: Duration = Duration::from_secs(5);
/// Refused entries that are logged in one [`LOG_EVERY`]; all are counted and stored.
const REFUSED_LOGGED: u32 = 20;
/// Attempts to ask Redis why something is missing; the reason is `unknown` after that.
const WHY_ATTEMPTS: u32 = 20;
/// How long what was read may take to get into the queue after the stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Service {
    members: Members,
    reader: Reader,
    catalogue: Catalogue,
    /// For questions about streams' lengths.
    link: Link,
    kinds: BTreeMap<String, Kind>,
    owned: BTreeMap<String, Owned>,
    publishers: BTreeSet<u16>,
    outbox: VecDeque<Work>,
    work: Sender<Work>,
    events: Receiver<Event>,
    redis: Condition,
    rows_max: u64,
    wait: Duration,
    refused_logged: u32,
    lag_due: Instant,
    log_due: Instant,
    catalogue_due: Instant,
}

/// A stream whose lease is ours.
struct Owned {
    lease: Lease,
    state: State,
}

enum State {
    /// The writer is asked.
    Claiming,
    /// It was refused; to be claimed again then.
    Refused(Instant),
    /// It is read.
    Following(Box<Following>),
}

struct Following {
    follower: Follower,
    /// When what has gathered must be handed on.
    due: Option<Instant>,
    lag: LagMeter,
}

impl Service {
    pub(super) fn new(
        document: &ArchiverDocument,
        work: Sender<Work>,
        events: Receiver<Event>,
        redis: Condition,
    ) -> Result<Service, StartError> {
        let kinds: BTreeMap<String, Kind> = streams(document).into_iter().collect();
        let members = Members::new(MembersConfig {
            redis: document.redis.clone(),
            group: "archiver".into(),
            member: document.member.clone().unwrap_or_else(process_name),
            streams: streams(document).into_iter().map(|(stream, _)| stream).collect(),
            lease: Duration::from_millis(document.lease_ms),
        })?;
        let now = Instant::now();
        Ok(Service {
            members,
            reader: Reader::new(&document.redis, read_entries(document))?,
            catalogue: Catalogue::new(&document.redis)?,
            link: Link::new(&document.redis)?,
            kinds,
            owned: BTreeMap::new(),
            publishers: BTreeSet::new(),
            outbox: VecDeque::new(),
            work,
            events,
            redis,
            rows_max: u64::from(document.batch.rows_max),
            wait: Duration::from_millis(document.batch.wait_ms),
            refused_logged: 0,
            lag_due: now,
            log_due: now + LOG_EVERY,
            catalogue_due: now,
        })
    }

    /// Reads until it is asked to end or the writer has ended.
    pub(super) fn run(mut self, stop: &Stop) {
        while !stop.is_asked() && !self.work.is_closed() {
            let turn = self.turn();
            self.note(turn);
        }
        self.finish();
    }

    fn note(&mut self, turn: Result<(), ConsumerError>) {
        match turn {
            Ok(()) => self.redis.is_good(),
            Err(error) => self.redis.is_bad(error.to_string()),
        }
    }

    fn turn(&mut self) -> Result<(), ConsumerError> {
        self.hear();
        let tended = self.tend();
        self.hand_on_due();
        if !self.send() {
            std::thread::sleep(QUEUE_WAIT);
            return tended;
        }
        tended?;
        self.read()?;
        self.measure_lag();
        self.look_at_catalogue();
        Ok(())
    }

    /// Looks after the leases.
    fn tend(&mut self) -> Result<(), ConsumerError> {
        let tended = self.members.tend()?;
        for stream in tended.lost {
            tracing::info!(stream, "not ours any more");
            self.forget(&stream);
            self.owned.remove(&stream);
        }
        for lease in tended.taken {
            self.forget(&lease.stream);
            self.claim(lease);
        }
        let again: Vec<Lease> =
            self.owned.values().filter(|owned| owned.is_due()).map(|o| o.lease.clone()).collect();
        for lease in again {
            self.claim(lease);
        }
        metrics::gauge!("feedplane_archiver_streams").set(self.owned.len() as f64);
        Ok(())
    }

    fn claim(&mut self, lease: Lease) {
        let Some(&kind) = self.kinds.get(&lease.stream) else { return };
        self.owned.insert(lease.stream.clone(), Owned { lease: lease.clone(), state: State::Claiming });
        self.outbox.push_back(Work::Claim { kind, lease });
    }

    /// Does not read a stream any more; what of it was not handed on is for its next owner to read.
    fn forget(&mut self, stream: &str) {
        self.reader.leave(stream);
        self.outbox.retain(|work| match work {
            Work::Claim { lease, .. } | Work::Store { lease, .. } => lease.stream != stream,
            Work::News(_) => true,
        });
    }

    /// Takes what the writer tells.
    fn hear(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            let lease = match &event {
                Event::Claimed { lease, .. } | Event::Stored { lease, .. } | Event::NotOurs { lease } => {
                    lease.clone()
                }
            };
            let Some(owned) = self.owned.get_mut(&lease.stream).filter(|owned| owned.lease == lease) else {
                continue; // About a lease that is gone.
            };
            match event {
                Event::Claimed { place: Some(place), .. } => {
                    let stream = &lease.stream;
                    tracing::info!(stream, row = place.next_row, entry = %place.entry, "archiving from here on");
                    self.reader.follow(stream, place.entry);
                    let kind = self.kinds[stream];
                    let lag = LagMeter::new(place.entry);
                    let follower = Follower::new(kind, place);
                    owned.state = State::Following(Box::new(Following { follower, due: None, lag }));
                }
                Event::Claimed { place: None, .. } | Event::NotOurs { .. } => {
                    tracing::warn!(stream = lease.stream, "the archive has it under a newer lease");
                    owned.state = State::Refused(Instant::now() + CLAIM_AGAIN);
                    self.forget(&lease.stream);
                }
                Event::Stored { to, entries, .. } => {
                    if let State::Following(following) = &mut owned.state {
                        following.lag.stored(to, entries);
                    }
                }
            }
        }
    }

    /// Hands on what has waited long enough.
    fn hand_on_due(&mut self) {
        let now = Instant::now();
        for (stream, owned) in &mut self.owned {
            if let State::Following(following) = &mut owned.state
                && following.due.is_some_and(|due| due <= now)
            {
                self.outbox.push_back(following.hand_on(self.kinds[stream], &owned.lease));
            }
        }
    }

    /// Moves the outbox into the queue, as far as there is room.
    fn send(&mut self) -> bool {
        while let Some(work) = self.outbox.pop_front() {
            match self.work.try_send(work) {
                Ok(()) => {}
                Err(TrySendError::Full(work) | TrySendError::Closed(work)) => {
                    self.outbox.push_front(work);
                    return false;
                }
            }
        }
        true
    }

    fn read(&mut self) -> Result<(), ConsumerError> {
        let batch = self.reader.read(TURN.min(self.wait))?;
        for stream in &batch.restarted {
            tracing::warn!(stream, "Redis has lost the stream or a part of it; going on with what it has");
            metrics::counter!("feedplane_archiver_streams_lost_total", "stream" => stream.clone())
                .increment(1);
            if let Some(Owned { state: State::Following(following), .. }) = self.owned.get_mut(stream) {
                following.follower.lost();
            }
        }
        let mut entries = 0;
        for (stream, records) in batch.streams()? {
            entries += records.len();
            let stream = String::from_utf8_lossy(stream).into_owned();
            for record in records {
                self.take(&stream, record);
            }
        }
        self.hand_on_largest();
        if (1..LITTLE).contains(&entries) {
            std::thread::sleep(GATHER.min(self.wait));
        }
        Ok(())
    }

    fn take(&mut self, stream: &str, record: bus::Record<'_>) {
        let Some(Owned { lease, state: State::Following(following) }) = self.owned.get_mut(stream) else {
            return;
        };
        if self.kinds[stream] == Kind::Ticks {
            note_publisher(&record, &mut self.publishers);
        }
        let reader = &mut self.reader;
        let refused = following.follower.push(record, &mut |after| {
            (0..WHY_ATTEMPTS).find_map(|_| reader.why_missing(stream, after).ok())
        });
        following.due.get_or_insert_with(|| Instant::now() + self.wait);
        if following.follower.gathered().weight() >= self.rows_max {
            self.outbox.push_back(following.hand_on(self.kinds[stream], lease));
        }
        if let Some(refused) = refused {
            metrics::counter!("feedplane_archiver_refused_total", "stream" => stream.to_owned()).increment(1);
            self.refused_logged += 1;
            if self.refused_logged <= REFUSED_LOGGED {
                tracing::warn!(stream, "{refused}; a row in gaps says so");
            }
        }
    }

    /// Keeps what gathers of all streams together below one batch.
    fn hand_on_largest(&mut self) {
        loop {
            let gathered = self.owned.iter_mut().filter_map(|(stream, owned)| match &mut owned.state {
                State::Following(following) => {
                    Some((following.follower.gathered().weight(), stream, &owned.lease, following))
                }
                _ => None,
            });
            let mut total = 0;
            let largest = gathered.inspect(|(weight, ..)| total += weight).max_by_key(|(weight, ..)| *weight);
            let Some((_, stream, lease, following)) = largest.filter(|_| total > self.rows_max) else {
                return;
            };
            self.outbox.push_back(following.hand_on(self.kinds[stream], lease));
        }
    }

    fn measure_lag(&mut self) {
        let now = Instant::now();
        if now < self.lag_due {
            return;
        }
        self.lag_due = now + LAG_EVERY;
        let log = now >= self.log_due;
        if log {
            self.log_due = now + LOG_EVERY;
            if self.refused_logged > REFUSED_LOGGED {
                tracing::warn!("{} more entries refused", self.refused_logged - REFUSED_LOGGED);
            }
            self.refused_logged = 0;
        }
        for (stream, owned) in &mut self.owned {
            let State::Following(following) = &mut owned.state else { continue };
            // What Redis does not say now, it says the next time; reading tells when it is gone.
            let Ok(info) = StreamInfo::ask(&mut self.link, stream) else { continue };
            let lag = following.lag.behind(&info);
            metrics::gauge!("feedplane_archiver_lag_entries", "stream" => stream.clone())
                .set(lag.entries as f64);
            metrics::gauge!("feedplane_archiver_lag_ms", "stream" => stream.clone()).set(lag.ms as f64);
            if log {
                let row = following.follower.gathered().to.next_row - 1;
                tracing::info!(stream, row, lag_entries = lag.entries, lag_ms = lag.ms, "archiving");
            }
        }
        let bytes: usize = self.owned.values().map(Owned::bytes).sum();
        metrics::gauge!("feedplane_archiver_gathering_bytes").set(bytes as f64);
    }

    fn look_at_catalogue(&mut self) {
        if Instant::now() < self.catalogue_due || self.owned.is_empty() {
            return;
        }
        self.catalogue_due = Instant::now() + CATALOGUE_EVERY;
        let outbox = &mut self.outbox;
        let looked = self.catalogue.look(&self.publishers, |news| {
            for refused in &news.refused {
                tracing::warn!("not archived: {refused}");
                metrics::counter!("feedplane_archiver_refused_total", "stream" => "catalogue").increment(1);
            }
            outbox.push_back(Work::News(news));
        });
        if let Err(error) = looked {
            tracing::warn!(%error, "the instruments and schemas in Redis cannot be read now");
            self.catalogue.forget();
        }
    }

    /// Stores what was read, then gives the leases back.
    fn finish(mut self) {
        for (stream, owned) in &mut self.owned {
            if let State::Following(following) = &mut owned.state
                && following.follower.gathered().entries > 0
            {
                self.outbox.push_back(following.hand_on(self.kinds[stream], &owned.lease));
            }
        }
        // The rows just handed on may be the first of their instrument or schema.
        self.catalogue_due = Instant::now();
        self.look_at_catalogue();
        let end = Instant::now() + STOP_WITHIN;
        while !self.send() && !self.work.is_closed() && Instant::now() < end {
            std::thread::sleep(QUEUE_WAIT);
        }
        // The writer ends when it has stored what is in the queue; only then may another read on.
        drop(self.work);
        while self.events.recv().is_ok() {}
        if let Err(error) = self.members.leave() {
            tracing::warn!(%error, "the leases are not given back; they run out");
        }
    }
}

impl Owned {
    fn is_due(&self) -> bool {
        matches!(self.state, State::Refused(again) if again <= Instant::now())
    }

    fn bytes(&self) -> usize {
        match &self.state {
            State::Following(following) => following.follower.gathered().bytes(),
            _ => 0,
        }
    }
}

impl Following {
    fn hand_on(&mut self, kind: Kind, lease: &Lease) -> Work {
        self.due = None;
        Work::Store { kind, lease: lease.clone(), batch: self.follower.take() }
    }
}

/// Remembers the venue of an entry's first tick: its instruments are wanted. An entry's ticks are of one channel,
/// and a channel is of one venue.
fn note_publisher(record: &bus::Record<'_>, publishers: &mut BTreeSet<u16>) {
    const AT: usize = std::mem::offset_of!(tick::Tick, publisher_id);
    let data = record.fields.as_ref().ok().and_then(|fields| fields.iter().find(|(name, _)| *name == b"d"));
    if let Some((_, data)) = data
        && let Some(&[low, high]) = data.get(AT..AT + 2)
    {
        publishers.insert(u16::from_le_bytes([low, high]));
    }
}
