//! One session at a venue, on a thread of its own that alone knows the orders.
//!
//! ```text
//!  reader thread ─ instructions, trading state ┐
//!                                              ├─► inbox ─► turn: apply … ─► commit ─► send ─► commit ─► outbox
//!  line's thread ─ what the venue says ────────┘                                                           │
//!                                                                           publisher thread ◄─ or journal ┘
//! ```
//!
//! A turn takes all that is there: everything in it is on disk by one sync before the first of it is sent.
//!
//! Invariants: nothing is sent that is not on disk, cancels excepted when the disk fails; nothing but a cancel is sent
//! without the lease, a trading state, a connection whose past is taken in, and an answer about every lost order; a report
//! is published when it is on disk.

mod day;
mod figures;
mod inbox;
mod lease;
mod open;
mod outbox;
mod publish;
mod reader;
mod sending;
mod settings;
mod trace;
mod turn;

pub use lease::LeaseState;
pub use settings::{LiveSettings, Settings, other_account};

use crate::journal::{Folder, Journal, JournalError};
use crate::line::{Line, LineStart};
use crate::lines::{LineStartError, protocol};
use crate::orders::{Book, Judge};
use bus::config::{GatewayDocument, GatewaySession};
use bus::consumer::Link;
use bus::{OrderId, Report};
use day::Day;
use inbox::{Inbox, LineEvents};
use open::{OpenError, Opened, open};
use outbox::Outbox;
use publish::{Publisher, Publishing};
use reader::Reading;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

/// Longest wait for something to do: how late time is looked at.
const WAIT: Duration = Duration::from_millis(20);
/// Time between two attempts to open a day.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// How long a session that is to end waits for its cancels to be confirmed.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

/// Starts the line of a session.
pub type StartLine =
    Arc<dyn Fn(&GatewaySession, LineStart) -> Result<Box<dyn Line>, LineStartError> + Send + Sync>;

/// What a session shows of itself, for the readiness of the process.
#[derive(Clone)]
pub struct Standing(Arc<Mutex<Option<String>>>);

impl Default for Standing {
    fn default() -> Standing {
        Standing(Arc::new(Mutex::new(Some("opening the journal".into()))))
    }
}

impl Standing {
    /// What keeps it from sending new orders; nothing when they pass.
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// What a session is started with.
pub struct SessionStart {
    /// The process's document: of it, what does not change while it runs.
    pub document: Arc<GatewayDocument>,
    /// The session's name.
    pub venue: String,
    /// What may change.
    pub settings: Arc<LiveSettings>,
    /// The lease.
    pub lease: Arc<LeaseState>,
    /// How its line is started.
    pub start_line: StartLine,
    /// What it shows of itself.
    pub standing: Standing,
}

impl SessionStart {
    /// Works until the lease is lost or is to be given back. Everything that was started has ended when it returns.
    pub fn run(&self) {
        let mut said = None;
        while !self.is_over() {
            let day = Day::of(now_ns(), self.document.day_begins);
            match self.run_day(&day) {
                Ok(()) => said = None,
                Err(OpenError::Lost | OpenError::Journal(JournalError::Newer { .. })) => {
                    warn!(venue = self.venue, "a later owner has the session");
                    self.lease.end();
                }
                Err(error) => {
                    let text = error.to_string();
                    self.standing.set(Some(text.clone()));
                    if said.as_ref() != Some(&text) {
                        error!(venue = self.venue, "{text}; no orders; trying again");
                        said = Some(text);
                    }
                    std::thread::sleep(OPEN_AGAIN);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.lease.is_ended() || self.lease.is_leaving()
    }

    fn run_day(&self, day: &Day) -> Result<(), OpenError> {
        let document = &*self.document;
        let mut publishing = Publishing {
            venue: self.venue.clone(),
            protocol: protocol(&self.settings.newest().1.session),
            token: self.lease.token(),
            shards: document.shards,
            entries_max: document.entries_max,
            copies_max: document.drop_copy_entries_max,
            link: Link::new(&document.redis)?,
            base: vec![0; usize::from(document.shards)],
        };
        let folder = Folder::new(&document.journal, &self.venue);
        let opened = open(&folder, day, &mut publishing, now_ns())?;
        Session::begin(self, day.clone(), opened, publishing).run();
        self.settings.are_nobodys();
        Ok(())
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

/// An open day of a session.
struct Session<'a> {
    start: &'a SessionStart,
    /// What it goes by, and their generation.
    settings: (u64, Arc<Settings>),
    day: Day,
    book: Book,
    journal: Journal,
    judge: Judge,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    line: Option<Box<dyn Line>>,
    /// How often the connection came or went, as far as it was taken in.
    turns: u64,
    behind: bool,
    superseded: bool,
    stopping: bool,
    /// Reports that are made and not on disk yet.
    made: Vec<(u16, Report)>,
    /// What is to be sent when it is on disk, and when each was made.
    to_send: Vec<(OrderId, u64)>,
    /// When an order was last tried to be cancelled.
    cancelled: HashMap<OrderId, Instant>,
    /// When an order was first in doubt, and when it was last asked about.
    asked: HashMap<OrderId, (Instant, Option<Instant>)>,
    own_ids: u64,
    cursor_at: Instant,
    cursors: Vec<Option<bus::StreamId>>,
    scanned: Instant,
    scan: bool,
    journal_said: bool,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Session<'a> {
    fn begin(start: &'a SessionStart, day: Day, opened: Opened, publishing: Publishing) -> Session<'a> {
        let document = &*start.document;
        let settings = start.settings.newest();
        start.settings.are_taken_up_to(settings.0);
        let Opened { book, journal, sources, reports, published, behind } = opened;
        let outbox = Arc::new(Outbox::new(book.numbers()));
        outbox.give(reports);
        let publisher = Publisher { publishing, sources, outbox: Arc::clone(&outbox), published };
        let inbox = Arc::new(Inbox::default());
        let stop = Arc::new(AtomicBool::new(false));
        let reading = Reading {
            redis: document.redis.clone(),
            venue: start.venue.clone(),
            shards: document.shards,
            answers_strays: start.settings.answers_strays(),
            cursors: book.cursors().to_vec(),
            inbox: Arc::clone(&inbox),
            stop: Arc::clone(&stop),
        };
        let Settings { session, instruction_age_max_ms, .. } = &*settings.1;
        let age_max_ns = instruction_age_max_ms.saturating_mul(1_000_000);
        let mut begun = Session {
            judge: Judge::new(session.limits, age_max_ns, day.begins_ns),
            settings,
            cursors: vec![None; usize::from(document.shards)],
            start,
            day,
            book,
            journal,
            inbox,
            outbox,
            line: None,
            turns: 0,
            behind,
            superseded: false,
            stopping: false,
            made: Vec::new(),
            to_send: Vec::new(),
            cancelled: HashMap::new(),
            asked: HashMap::new(),
            own_ids: 0,
            cursor_at: Instant::now(),
            scanned: Instant::now(),
            scan: true,
            journal_said: false,
            stop,
            threads: Vec::new(),
        };
        begun.spawn("publish", move || publisher.run());
        begun.spawn("read", move || reader::read(&reading));
        begun
    }

    fn spawn(&mut self, what: &str, run: impl FnOnce() + Send + 'static) {
        let name = format!("{what}-{}", self.start.venue);
        match std::thread::Builder::new().name(name).spawn(run) {
            Ok(thread) => self.threads.push(thread),
            // Without its threads a session does nothing: it is begun anew.
            Err(error) => {
                error!("cannot start a thread: {error}");
                self.superseded = true;
            }
        }
    }

    fn run(mut self) {
        self.start_line();
        let mut leave_by = None;
        loop {
            self.turn();
            if self.start.lease.is_ended() || self.superseded || self.outbox.is_refused() {
                warn!(venue = self.venue(), "the lease is lost: nothing more is sent");
                self.start.lease.end();
                break;
            }
            if Day::of(now_ns(), self.start.document.day_begins).name != self.day.name {
                self.end_day();
                break;
            }
            if self.start.lease.is_leaving() {
                let by = *leave_by.get_or_insert_with(|| Instant::now() + CONFIRMED_WITHIN);
                self.stopping = true;
                if self.may_leave() || Instant::now() > by {
                    break;
                }
            }
        }
        self.end();
    }

    fn start_line(&mut self) {
        let session = &self.settings.1.session;
        let events = LineEvents { inbox: Arc::clone(&self.inbox) };
        let start = LineStart {
            venue: session.venue.clone(),
            reconnect: session.reconnect,
            events: Arc::new(events),
            resume: self.book.resume(),
            folder: self.journal.folder().to_owned(),
        };
        match (self.start.start_line)(session, start) {
            Ok(line) => self.line = Some(line),
            // Said in `standing`; the document has to be changed, so it is not tried again.
            Err(error) => error!("{error}"),
        }
    }

    fn venue(&self) -> &str {
        &self.start.venue
    }

    /// Whether nothing keeps the session from ending.
    fn may_leave(&self) -> bool {
        let open = self.book.open_orders();
        if open == 0 {
            return true;
        }
        if self.start.lease.is_removed() {
            // Nobody would cancel them later.
            return false;
        }
        if !self.settings.1.session.cancel_on_stop {
            return true;
        }
        self.book.connection() != crate::orders::Connection::CaughtUp
    }

    /// Orders of a day that is over are over, and the venue's numbers with them.
    fn end_day(&mut self) {
        info!(venue = self.venue(), day = self.day.name, "the day is over");
        self.stop_line();
        self.apply(&crate::orders::Input::DayOver);
        self.commit();
    }

    fn stop_line(&mut self) {
        if let Some(mut line) = self.line.take() {
            line.stop();
        }
    }

    fn end(mut self) {
        let open = self.book.open_orders();
        if self.stopping && open > 0 {
            warn!(venue = self.venue(), open, "orders are open at the end");
        }
        self.stop_line();
        if !self.start.lease.is_ended() {
            // What came since the last turn, so that the next owner need not ask for it.
            self.take_in_the_rest();
        }
        self.stop.store(true, Ordering::Release);
        self.outbox.end();
        for thread in self.threads {
            // One that panicked has said so.
            drop(thread.join());
        }
        self.start.standing.set(Some("not running here".into()));
    }
}
