//! The connection of a FIX line: a thread that connects, reads and connects again, and a send path that writes from the
//! caller's own thread.
//!
//! ```text
//!   Line::send ─► lock ─► Session::order ─► socket (never waits) ─► Wire       ─► unlock
//!   reader        read (no lock) ─► lock ─► Session::received ─► socket, Events ─► unlock
//! ```
//!
//! The lock holds the socket and the [`Session`]. Events are told inside it, so that an order stands in the drop copy
//! before what the venue says about it; [`Events::push`] never waits.
//!
//! Invariants: bytes of two messages never mix, because a message that leaves in part ends its connection; nothing is
//! kept to be sent later.

use super::numbers::{Numbers, NumbersError};
use super::orders;
use super::session::{Io, Now, Over, Session};
use super::settings::{Settings, SettingsError};
use crate::line::{Events, Line, LineError, LineStart, Outgoing, WireRef};
use bus::config::{FixSection, ReconnectSection};
use rustix::net::{SendFlags, send};
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for bytes before the time is looked at: a twentieth of the shortest heartbeat interval.
const READ_WAIT: Duration = Duration::from_millis(50);
/// Wait for the session to take events when too many wait.
const FULL_WAIT: Duration = Duration::from_millis(1);
/// Bytes that are read at once: some hundred messages.
const READ_BYTES: usize = 64 << 10;

/// A line that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum FixLineError {
    /// The section.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store of numbers.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// The reader's thread.
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
}

/// A line to a venue by FIX 4.4.
pub struct FixLine {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    venue: String,
    address: String,
    reconnect: ReconnectSection,
    events: Arc<dyn Events>,
    stop: AtomicBool,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    session: Session,
    socket: Option<TcpStream>,
    io: Io,
    /// Why the socket was closed by whoever sent.
    broken: Option<String>,
}

impl FixLine {
    /// Starts the line: it connects by itself.
    ///
    /// # Errors
    /// When the section or the store of numbers cannot be used.
    pub fn start(section: &FixSection, start: LineStart) -> Result<FixLine, FixLineError> {
        let settings = Settings::of(section, &start.reconnect)?;
        let numbers = Numbers::open(&start.folder)?;
        let session = Session::new(settings, numbers, start.resume.next_number);
        let state = State { session, socket: None, io: Io::default(), broken: None };
        let shared = Arc::new(Shared {
            address: section.address.clone(),
            reconnect: start.reconnect,
            events: start.events,
            stop: AtomicBool::new(false),
            started: Instant::now(),
            state: Mutex::new(state),
            venue: start.venue,
        });
        let of_reader = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(format!("fix-{}", shared.venue));
        let reader = thread.spawn(move || of_reader.run()).map_err(FixLineError::Thread)?;
        Ok(FixLine { shared, reader: Some(reader) })
    }
}

impl Line for FixLine {
    fn assign(&mut self) -> WireRef {
        // FIX names orders by their client order ids.
        0
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        orders::check(outgoing)
    }

    fn send(&mut self, outgoing: &Outgoing) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let down = || LineError::Down { venue: shared.venue.clone() };
        let State { session, socket, io, .. } = &mut *state;
        let Some(socket) = socket else { return Err(down()) };
        let now = shared.now();
        let ready = session.order(now, outgoing, &shared.venue)?;
        let (left, error) = write_now(socket, ready.bytes());
        if left > 0 {
            session.sent(now, &ready, left, io);
            shared.tell(&mut state);
        }
        let Some(error) = error else { return Ok(()) };
        state.close(format!("sending failed after {left} of {} bytes: {error}", ready.bytes().len()));
        Err(if left == 0 { down() } else { LineError::Broken(error.to_string()) })
    }

    fn settle(&mut self, in_doubt: &[Outgoing]) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let State { session, io, .. } = &mut *state;
        let asked = session.settle(shared.now(), in_doubt, &shared.venue, io);
        // Questions before one that cannot be asked are on their way.
        let flushed = shared.flush(&mut state).map_err(|over| LineError::Broken(over.why));
        asked.and(flushed)
    }

    fn stop(&mut self) {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let State { session, io, .. } = &mut *state;
        session.log_out(now, io);
        let _ = self.shared.flush(&mut state);
        if !state.session.is_logging_out() {
            state.close("asked to stop".to_owned());
        }
        // Behind the logout: the reader stays for its answer.
        self.shared.stop.store(true, Ordering::Release);
        drop(state);
        if let Some(reader) = self.reader.take() {
            reader.thread().unpark();
            let _ = reader.join();
            if let Err(error) = self.shared.lock().session.finish() {
                tracing::warn!(venue = self.shared.venue, %error, "the next owner leaves a hole in the numbers");
            }
        }
    }
}

impl Drop for FixLine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// Closes the connection; the reader notices.
    fn close(&mut self, why: String) {
        if let Some(socket) = self.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
            self.broken = Some(why);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ns: self.started.elapsed().as_nanos() as u64, epoch_ns: epoch.as_nanos() as u64 }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Tells the events that gathered.
    fn tell(&self, state: &mut State) {
        for event in state.io.events.drain(..) {
            self.events.push(event);
        }
    }

    /// Writes the bytes that gathered, and tells the events.
    fn flush(&self, state: &mut State) -> Result<(), Over> {
        let written = match &state.socket {
            Some(socket) if !state.io.out.is_empty() => write_now(socket, &state.io.out).1,
            _ => None,
        };
        state.io.out.clear();
        self.tell(state);
        match written {
            None => Ok(()),
            Some(error) => {
                let why = format!("sending failed: {error}");
                state.close(why.clone());
                Err(Over { why, wait: false })
            }
        }
    }

    /// Connects, serves the connection, waits, and again.
    fn run(&self) {
        let (first, most) = (self.reconnect.first_ms, self.reconnect.most_ms);
        let mut wait_ms = first;
        while !self.stopped() {
            let over = match self.connect() {
                Ok(socket) => self.serve(socket),
                Err(error) => {
                    let why = format!("cannot connect to {}: {error}", self.address);
                    Over { why, wait: false }
                }
            };
            let mut state = self.lock();
            let State { session, io, .. } = &mut *state;
            let was_logged_on = session.closed(&over.why, io);
            self.tell(&mut state);
            drop(state);
            tracing::warn!(venue = self.venue, why = over.why, "not logged on");
            if was_logged_on {
                wait_ms = first;
            }
            if over.wait {
                wait_ms = most;
            }
            self.pause(wait_ms);
            wait_ms = wait_ms.saturating_mul(2).min(most);
        }
    }

    /// Waits, unless it is to stop.
    fn pause(&self, wait_ms: u64) {
        let until = Instant::now() + Duration::from_millis(wait_ms);
        while !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_millis(self.reconnect.logon_ms)) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(READ_WAIT))?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Reads a connection until it is over.
    fn serve(&self, socket: TcpStream) -> Over {
        let soon = |why: String| Over { why, wait: false };
        let mut reading = match socket.try_clone() {
            Ok(reading) => reading,
            Err(error) => return soon(format!("cannot read: {error}")),
        };
        let begun = {
            let mut state = self.lock();
            (state.socket, state.broken) = (Some(socket), None);
            let State { session, io, .. } = &mut *state;
            let begun = session.connected(self.now(), io);
            begun.and(self.flush(&mut state))
        };
        let mut buffer = vec![0; READ_BYTES];
        let over = begun.err().unwrap_or_else(|| {
            loop {
                if let Err(over) = self.turn(&mut reading, &mut buffer) {
                    break over;
                }
            }
        });
        self.lock().close(over.why.clone());
        over
    }

    /// Reads what is there, and looks at the time.
    fn turn(&self, reading: &mut TcpStream, buffer: &mut [u8]) -> Result<(), Over> {
        let mut came = 0;
        let mut closed = None;
        let full = self.events.is_full();
        if full {
            std::thread::sleep(FULL_WAIT);
        } else {
            match reading.read(buffer) {
                Ok(0) => closed = Some("the venue closed the connection".to_owned()),
                Ok(length) => came = length,
                Err(error) if would_wait(&error) => {}
                Err(error) => closed = Some(format!("reading failed: {error}")),
            }
        }
        let mut state = self.lock();
        if self.stopped() && !state.session.is_logging_out() {
            return Err(Over { why: "asked to stop".to_owned(), wait: false });
        }
        let now = self.now();
        let State { session, io, .. } = &mut *state;
        if full {
            session.not_reading(now);
        }
        let outcome = session.received(now, &buffer[..came], io).and_then(|()| session.tick(now, io));
        let flushed = self.flush(&mut state);
        outcome.and(flushed)?;
        match closed {
            None => Ok(()),
            Some(why) => Err(Over { why: state.broken.take().unwrap_or(why), wait: false }),
        }
    }
}

fn would_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Writes as much as the socket takes without waiting: how many bytes left, and why not all.
fn write_now(socket: &TcpStream, bytes: &[u8]) -> (usize, Option<std::io::Error>) {
    let mut left = 0;
    while left < bytes.len() {
        match send(socket, &bytes[left..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => left += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return (left, Some(error.into())),
        }
    }
    (left, None)
}
