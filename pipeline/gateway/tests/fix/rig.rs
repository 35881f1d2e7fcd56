//! A wire between QuickFIX and the line that can be cut, silenced and spoilt, and a place for events.

pub(crate) use crate::acceptor::{PATIENCE, Venue};
use bus::config::{FixSection, ReconnectSection};
use gateway::fix::FixLine;
use gateway::line::{Event, Events, Line, LineStart, Resume, Told};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) fn is_soak() -> bool {
    std::env::var("FEEDPLANE_SOAK").is_ok_and(|value| value == "1")
}

type Spoil = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

/// The wire: whole messages pass, each through a function that may change, drop or add.
pub(crate) struct Wire {
    pub(crate) port: u16,
    shared: Arc<WireShared>,
}

struct WireShared {
    stop: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
    from_venue: Mutex<Spoil>,
    to_venue: Mutex<Spoil>,
}

impl Wire {
    pub(crate) fn to(venue_port: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(WireShared {
            stop: AtomicBool::new(false),
            sockets: Mutex::default(),
            from_venue: Mutex::new(Box::new(|bytes| bytes)),
            to_venue: Mutex::new(Box::new(|bytes| bytes)),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in listener.incoming().map_while(Result::ok) {
                if of_thread.stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(venue) = TcpStream::connect(("127.0.0.1", venue_port)) else { continue };
                for socket in [&line, &venue] {
                    socket.set_nodelay(true).unwrap();
                    of_thread.sockets.lock().unwrap().push(socket.try_clone().unwrap());
                }
                let (a, b) = (Arc::clone(&of_thread), Arc::clone(&of_thread));
                let (line_in, venue_in) = (line.try_clone().unwrap(), venue.try_clone().unwrap());
                std::thread::spawn(move || carry(line_in, venue, &a.to_venue));
                std::thread::spawn(move || carry(venue_in, line, &b.from_venue));
            }
        });
        Wire { port, shared }
    }

    pub(crate) fn spoil_from_venue(&self, spoil: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) {
        *self.shared.from_venue.lock().unwrap() = Box::new(spoil);
    }

    pub(crate) fn spoil_to_venue(&self, spoil: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) {
        *self.shared.to_venue.lock().unwrap() = Box::new(spoil);
    }

    pub(crate) fn heal(&self) {
        self.spoil_from_venue(|bytes| bytes);
        self.spoil_to_venue(|bytes| bytes);
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.cut();
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, spoil: &Mutex<Spoil>) {
    let (mut buffer, mut rest) = ([0; 4096], Vec::new());
    'open: while let Ok(length @ 1..) = from.read(&mut buffer) {
        rest.extend_from_slice(&buffer[..length]);
        while let Some(at) = rest.windows(4).position(|window| window == b"\x0110=") {
            if rest.len() < at + 8 {
                break;
            }
            let behind = rest.split_off(at + 8);
            let message = std::mem::replace(&mut rest, behind);
            let message = spoil.lock().unwrap()(message);
            if to.write_all(&message).is_err() {
                break 'open;
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether a message is of this type.
pub(crate) fn is_type(message: &[u8], kind: &str) -> bool {
    let field = format!("\x0135={kind}\x01");
    message.windows(field.len()).any(|window| window == field.as_bytes())
}

/// Lets one message of a type not pass.
pub(crate) fn lose_one(kind: &'static str) -> impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static {
    let mut lost = false;
    move |bytes| {
        if lost || !is_type(&bytes, kind) {
            return bytes;
        }
        lost = true;
        Vec::new()
    }
}

/// Events in a row.
#[derive(Default)]
pub(crate) struct Queue {
    events: Mutex<VecDeque<Event>>,
    came: Condvar,
}

impl Events for Queue {
    fn push(&self, event: Event) {
        self.events.lock().unwrap().push_back(event);
        self.came.notify_all();
    }

    fn is_full(&self) -> bool {
        self.events.lock().unwrap().len() > 10_000
    }
}

impl Queue {
    /// The next event; none within this time.
    pub(crate) fn next(&self, within: Duration) -> Option<Event> {
        let events = self.events.lock().unwrap();
        let (mut events, _) =
            self.came.wait_timeout_while(events, within, |events| events.is_empty()).unwrap();
        events.pop_front()
    }

    /// Takes events until one is this; the ones before it are given, too, without the bytes.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Some(event) = self.next(end.saturating_duration_since(Instant::now())) {
            let found = wanted(&event);
            if !matches!(event, Event::Wire { .. }) {
                seen.push(event);
            }
            if found {
                return seen;
            }
        }
        panic!("no {what} came, but {seen:#?}");
    }

    pub(crate) fn caught_up(&self) -> Vec<Event> {
        self.until("CaughtUp", |event| *event == Event::CaughtUp)
    }

    pub(crate) fn down(&self) -> String {
        match self.until("Down", |event| matches!(event, Event::Down { .. })).pop() {
            Some(Event::Down { why }) => why,
            _ => unreachable!(),
        }
    }

    /// The next of what was told about orders.
    pub(crate) fn told(&self) -> Told {
        match self.until("Told", |event| matches!(event, Event::Told(_))).pop() {
            Some(Event::Told(told)) => told,
            _ => unreachable!(),
        }
    }

    pub(crate) fn refused(&self) -> String {
        match self.until("Refused", |event| matches!(event, Event::Refused { .. })).pop() {
            Some(Event::Refused { what }) => what,
            _ => unreachable!(),
        }
    }
}

/// All of it.
pub(crate) struct Rig {
    pub(crate) line: FixLine,
    pub(crate) events: Arc<Queue>,
    pub(crate) wire: Wire,
    pub(crate) venue: Venue,
    pub(crate) folder: TempDir,
    pub(crate) section: FixSection,
}

pub(crate) fn section(port: u16, reset_on_new_day: bool) -> FixSection {
    FixSection {
        address: format!("127.0.0.1:{port}"),
        sender_comp_id: "FEEDPLANE".into(),
        target_comp_id: "VENUE".into(),
        // Short, so that silence is noticed soon; long enough for a busy machine.
        heartbeat_s: 2,
        user: None,
        password_file: None,
        account: None,
        reset_on_new_day,
    }
}

pub(crate) fn start(section: &FixSection, folder: &Path, next_number: u64, events: &Arc<Queue>) -> FixLine {
    let start = LineStart {
        venue: "sim".into(),
        reconnect: ReconnectSection { first_ms: 50, most_ms: 500, logon_ms: 4_000 },
        events: Arc::clone(events) as Arc<dyn Events>,
        resume: Resume { session: String::new(), next_number, next_wire_ref: 1 },
        folder: folder.to_path_buf(),
    };
    FixLine::start(section, start).unwrap()
}

impl Rig {
    /// Logged on and caught up; none where QuickFIX is missing.
    pub(crate) fn up() -> Option<Rig> {
        Rig::up_with(&[], false)
    }

    pub(crate) fn up_with(settings: &[&str], reset_on_new_day: bool) -> Option<Rig> {
        let venue = Venue::start(settings)?;
        let wire = Wire::to(venue.port);
        let folder = tempfile::tempdir().unwrap();
        let events = Arc::new(Queue::default());
        let section = section(wire.port, reset_on_new_day);
        let line = start(&section, folder.path(), 1, &events);
        events.caught_up();
        Some(Rig { line, events, wire, venue, folder, section })
    }

    /// Ends the line and starts another owner's, whose journal has all up to before this number.
    pub(crate) fn next_owner(&mut self, next_number: u64) {
        self.line.stop();
        self.events = Arc::new(Queue::default());
        self.line = start(&self.section, self.folder.path(), next_number, &self.events);
    }
}
