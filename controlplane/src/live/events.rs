//! Events to many clients: each is serialised once and shared, and nobody is waited for.
//!
//! ```text
//! sampler, trading, distribution, orders, audit ─► Hub ──┐ broadcast: one frame, counted references
//! a watched instrument ─► its own sender ───────────────┤
//!                                                        ▼
//!                         pump of a client (a task) ─► 8 frames ─► its HTTP body
//! ```
//!
//! Who owns what: the [`Hub`] the channel and the places, a pump its client's frames. Invariants: a sender never waits; a
//! client's memory is `FRAMES_WAITING` references and what lies in its socket; a client that was too slow is told how
//! much it missed, and one that takes nothing for [`STUCK_AFTER`] loses its place.

use super::now_ns;
use axum::body::Bytes;
use metrics::{counter, gauge};
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

/// Events that wait in the channel of all clients: about four seconds of them.
const EVENTS_WAITING: usize = 64;
/// Frames that wait for one client's connection.
const FRAMES_WAITING: usize = 8;
/// How long a client may take nothing before it loses its place.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// A comment after so much silence, so that a client knows that its connection lives.
const COMMENT_EVERY: Duration = Duration::from_secs(1);
/// How often a client's right to listen is looked at.
const ALLOWED_EVERY: Duration = Duration::from_secs(5);
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// What an event is about: the name of the event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The picture of everything.
    Status,
    /// The trading state.
    Trading,
    /// A version, a convergence.
    Config,
    /// Orders that changed, denials.
    Orders,
    /// An entry of the audit.
    Audit,
    /// Levels of an instrument.
    Book,
    /// Trades of an instrument.
    Tape,
    /// Values of an instrument.
    Features,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 8] = [
        Topic::Status,
        Topic::Trading,
        Topic::Config,
        Topic::Orders,
        Topic::Audit,
        Topic::Book,
        Topic::Tape,
        Topic::Features,
    ];

    /// Its name in a query and in an event.
    pub const fn word(self) -> &'static str {
        match self {
            Topic::Status => "status",
            Topic::Trading => "trading",
            Topic::Config => "config",
            Topic::Orders => "orders",
            Topic::Audit => "audit",
            Topic::Book => "book",
            Topic::Tape => "tape",
            Topic::Features => "features",
        }
    }
}

/// A word that is no topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of status, trading, config, orders, audit, book, tape, features")]
pub struct TopicError;

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(word: &str) -> Result<Topic, TopicError> {
        Topic::ALL.into_iter().find(|topic| topic.word() == word).ok_or(TopicError)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A set of topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topics(u8);

impl Topics {
    /// Every topic.
    pub const ALL: Topics = Topics(u8::MAX);

    /// None.
    pub const NONE: Topics = Topics(0);

    /// With this one.
    #[must_use]
    pub const fn with(self, topic: Topic) -> Topics {
        Topics(self.0 | 1 << topic as u8)
    }

    /// Whether it is one of them.
    pub const fn contains(self, topic: Topic) -> bool {
        self.0 & 1 << topic as u8 != 0
    }
}

/// One event, framed for the wire.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is about.
    pub topic: Topic,
    /// `event: …`, `data: …`, an empty line.
    pub frame: Bytes,
}

impl Event {
    /// Frames this. What cannot be serialised is none.
    pub fn new(topic: Topic, data: &impl Serialize) -> Option<Event> {
        let json = serde_json::to_vec(data).ok()?;
        Some(Event { topic, frame: frame(topic.word(), &json) })
    }

    /// Frames JSON that is serialised already.
    pub fn of_json(topic: Topic, json: &[u8]) -> Event {
        Event { topic, frame: frame(topic.word(), json) }
    }
}

/// JSON from serde holds no line end, so that it is one line of `data`.
fn frame(name: &str, json: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(json.len() + name.len() + 24);
    frame.extend_from_slice(b"event: ");
    frame.extend_from_slice(name.as_bytes());
    frame.extend_from_slice(b"\ndata: ");
    frame.extend_from_slice(json);
    frame.extend_from_slice(b"\n\n");
    Bytes::from(frame)
}

/// There are as many clients as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} clients listen already, which is the most; close some")]
pub struct HubFull(pub usize);

/// Where events come together, and clients listen.
pub struct Hub {
    sender: broadcast::Sender<Event>,
    /// The last of those that are a picture and not a change.
    latest: Mutex<BTreeMap<Topic, Bytes>>,
    places: Arc<Semaphore>,
    clients_max: usize,
}

/// The body of a client's answer: `text/event-stream`.
pub type Frames = ReceiverStream<Result<Bytes, Infallible>>;

/// What a client wants besides the hub's events: a sender of an instrument with its last frames, kept alive by `keep`.
pub struct Source {
    /// Its events.
    pub events: broadcast::Receiver<Event>,
    /// What is sent first.
    pub first: Vec<Event>,
    /// Dropped when the client is gone.
    pub keep: Box<dyn Send>,
}

impl Hub {
    /// One without a client.
    pub fn new(clients_max: usize) -> Hub {
        let (sender, _) = broadcast::channel(EVENTS_WAITING);
        Hub { sender, latest: Mutex::default(), places: Arc::new(Semaphore::new(clients_max)), clients_max }
    }

    /// Tells every client of a change.
    pub fn tell(&self, topic: Topic, data: &impl Serialize) {
        if self.sender.receiver_count() > 0
            && let Some(event) = Event::new(topic, data)
        {
            self.send(event);
        }
    }

    /// Tells every client of a picture, and whoever comes later as the first thing.
    pub fn show(&self, topic: Topic, json: &[u8]) {
        let event = Event::of_json(topic, json);
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, event.frame.clone());
        self.send(event);
    }

    fn send(&self, event: Event) {
        counter!("feedplane_controlplane_events_total", "topic" => event.topic.word()).increment(1);
        // Nobody listens: nothing is lost.
        let _ = self.sender.send(event);
    }

    /// Clients that listen.
    pub fn clients(&self) -> usize {
        self.clients_max - self.places.available_permits()
    }

    /// A new client. `is_allowed` is asked now and then; the stream ends when it says no.
    ///
    /// # Errors
    /// When there is no place.
    pub fn listen<A: Future<Output = bool> + Send>(
        &self,
        topics: Topics,
        sources: Vec<Source>,
        is_allowed: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<Frames, HubFull> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            counter!("feedplane_controlplane_event_clients_refused_total").increment(1);
            HubFull(self.clients_max)
        })?;
        let (client, frames) = mpsc::channel(FRAMES_WAITING);
        let mut first: Vec<Bytes> = Vec::new();
        // Subscribed before the last pictures are taken: none falls between.
        let mut events = StreamMap::new();
        events.insert(0, BroadcastStream::new(self.sender.subscribe()));
        {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = latest.iter().filter(|(topic, _)| topics.contains(**topic));
            first.extend(wanted.map(|(_, frame)| frame.clone()));
        }
        let mut kept = Vec::new();
        for (at, source) in sources.into_iter().enumerate() {
            events.insert(at + 1, BroadcastStream::new(source.events));
            first.extend(source.first.into_iter().filter(|e| topics.contains(e.topic)).map(|e| e.frame));
            kept.push(source.keep);
        }
        gauge!("feedplane_controlplane_event_clients").increment(1.0);
        tokio::spawn(async move {
            let why = pump(&client, topics, first, events, is_allowed).await;
            if why == End::Stuck {
                counter!("feedplane_controlplane_event_clients_dropped_total").increment(1);
                tracing::info!("a client of the events took nothing for {STUCK_AFTER:?} and is dropped");
            }
            gauge!("feedplane_controlplane_event_clients").decrement(1.0);
            drop((kept, place));
        });
        Ok(ReceiverStream::new(frames))
    }
}

/// Why a pump ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The client went.
    Gone,
    /// It takes nothing.
    Stuck,
    /// It may not listen any more.
    Refused,
    /// All senders are gone: the process ends.
    Over,
}

async fn pump<A: Future<Output = bool>>(
    client: &mpsc::Sender<Result<Bytes, Infallible>>,
    topics: Topics,
    first: Vec<Bytes>,
    mut events: StreamMap<usize, BroadcastStream<Event>>,
    is_allowed: impl Fn() -> A,
) -> End {
    for frame in first {
        if let Err(end) = give(client, frame).await {
            return end;
        }
    }
    let (mut looked, mut said) = (Instant::now(), Instant::now());
    loop {
        if looked.elapsed() >= ALLOWED_EVERY {
            looked = Instant::now();
            if !is_allowed().await {
                return End::Refused;
            }
        }
        let silence = COMMENT_EVERY.saturating_sub(said.elapsed());
        let frame = match timeout(silence, events.next()).await {
            Err(_) => COMMENT,
            Ok(None) => return End::Over,
            Ok(Some((_, Ok(event)))) if topics.contains(event.topic) => event.frame,
            Ok(Some((_, Ok(_)))) => continue,
            Ok(Some((_, Err(lagged)))) => {
                let tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged(missed) = lagged;
                counter!("feedplane_controlplane_event_clients_lagging_total").increment(1);
                let told = serde_json::json!({"time_ns": now_ns(), "missed": missed});
                frame("lagging", told.to_string().as_bytes())
            }
        };
        said = Instant::now();
        if let Err(end) = give(client, frame).await {
            return end;
        }
    }
}

async fn give(client: &mpsc::Sender<Result<Bytes, Infallible>>, frame: Bytes) -> Result<(), End> {
    match timeout(STUCK_AFTER, client.send(Ok(frame))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Stuck),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn next(frames: &mut Frames) -> String {
        let frame = frames.next().await.unwrap().unwrap();
        String::from_utf8(frame.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_client_gets_the_last_picture_first_and_only_the_topics_it_asked_for() {
        let hub = Hub::new(2);
        hub.show(Topic::Status, b"{\"time_ns\":1}");
        let mut frames = hub
            .listen(Topics::NONE.with(Topic::Status).with(Topic::Orders), Vec::new(), || async { true })
            .unwrap();
        hub.tell(Topic::Audit, &json!({"time_ns": 2}));
        hub.tell(Topic::Orders, &json!({"time_ns": 3, "text": "two\nlines"}));
        assert_eq!(next(&mut frames).await, "event: status\ndata: {\"time_ns\":1}\n\n");
        assert_eq!(
            next(&mut frames).await,
            "event: orders\ndata: {\"text\":\"two\\nlines\",\"time_ns\":3}\n\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_too_slow_is_told_so_and_goes_on() {
        let hub = Hub::new(1);
        let mut frames = hub.listen(Topics::ALL, Vec::new(), || async { true }).unwrap();
        for n in 0..EVENTS_WAITING + FRAMES_WAITING + 40 {
            hub.tell(Topic::Config, &json!({"n": n}));
            tokio::task::yield_now().await;
        }
        let mut told = Vec::new();
        while !told
            .iter()
            .any(|frame: &String| frame.contains(&format!("\"n\":{}", EVENTS_WAITING + FRAMES_WAITING + 39)))
        {
            told.push(next(&mut frames).await);
        }
        let lagging: Vec<_> = told.iter().filter(|frame| frame.starts_with("event: lagging\n")).collect();
        assert_eq!(lagging.len(), 1, "{told:?}");
        assert!(lagging[0].contains("\"missed\":"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_place_and_another_has_it() {
        let hub = Hub::new(1);
        let stuck = hub.listen(Topics::ALL, Vec::new(), || async { true }).unwrap();
        assert_eq!(hub.listen(Topics::ALL, Vec::new(), || async { true }).err(), Some(HubFull(1)));
        // Comments alone fill what waits for it.
        tokio::time::sleep(STUCK_AFTER + COMMENT_EVERY * (FRAMES_WAITING as u32 + 2)).await;
        assert_eq!(hub.clients(), 0);
        assert!(hub.listen(Topics::ALL, Vec::new(), || async { true }).is_ok());
        drop(stuck);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_right_ends_is_cut_off() {
        let hub = Hub::new(1);
        let mut frames = hub.listen(Topics::ALL, Vec::new(), || async { false }).unwrap();
        let mut comments = 0;
        while let Some(frame) = frames.next().await {
            assert_eq!(frame.unwrap(), COMMENT);
            comments += 1;
        }
        assert!(comments <= 6, "{comments}");
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_client_goes() {
        let hub = Hub::new(1);
        let frames = hub.listen(Topics::ALL, Vec::new(), || async { true }).unwrap();
        drop(frames);
        // The pump finds out with the next frame.
        while hub.clients() > 0 {
            hub.tell(Topic::Config, &json!({}));
            tokio::task::yield_now().await;
        }
    }
}
