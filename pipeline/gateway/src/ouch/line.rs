//! The connection of an OUCH line: a thread that connects, reads and connects again, and a send path that writes from the
//! caller's own thread.
//!
//! ```text
//!   Line::send ─► lock ─► Session::encode ─► socket (never waits) ─► Wire      ─► unlock
//!   reader        read (no lock) ─► lock ─► Session::received ─► socket, Events ─► unlock
//! ```
//!
//! The lock holds the socket and the [`Session`]. Events are told inside it, so that an order stands in the drop copy
//! before what the venue says about it; [`Events::push`] never waits.
//!
//! Invariants: bytes of two packets never mix, because a packet that leaves in part ends its connection; nothing is kept
//! to be sent later.

use super::encode::PACKET_BYTES_MAX;
use super::session::{Io, Now, Over, Session};
use super::settings::{Settings, SettingsError};
use crate::line::{Events, Line, LineError, LineStart, Outgoing, WireRef};
use bus::config::OuchSection;
use rustix::net::{SendFlags, send};
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for bytes before the time is looked at: a tenth of the shortest heartbeat interval.
const READ_WAIT: Duration = Duration::from_millis(10);
/// Wait for the session to take events when too many wait.
const FULL_WAIT: Duration = Duration::from_millis(1);
/// Bytes that are read at once: a thousand messages.
const READ_BYTES: usize = 64 << 10;

/// A line to a venue by OUCH 5.0.
pub struct OuchLine {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    settings: Settings,
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

impl OuchLine {
    /// Starts the line: it connects by itself.
    ///
    /// # Errors
    /// When the section cannot be used.
    pub fn start(section: &OuchSection, start: LineStart) -> Result<OuchLine, SettingsError> {
        let settings = Settings::new(&start.venue, section, &start.reconnect)?;
        let session = Session::new(settings.clone(), &start.resume);
        let state = State { session, socket: None, io: Io::default(), broken: None };
        let shared = Arc::new(Shared {
            settings,
            events: start.events,
            stop: AtomicBool::new(false),
            started: Instant::now(),
            state: Mutex::new(state),
        });
        let of_reader = Arc::clone(&shared);
        let name = format!("ouch-{}", start.venue);
        let reader = std::thread::Builder::new().name(name).spawn(move || of_reader.run());
        let reader = reader.map_err(SettingsError::Thread)?;
        Ok(OuchLine { shared, reader: Some(reader) })
    }
}

impl Line for OuchLine {
    fn assign(&mut self) -> WireRef {
        self.shared.lock().session.assign()
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        self.shared.lock().session.check(outgoing)
    }

    fn send(&mut self, outgoing: &Outgoing) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let state = &mut *state;
        let down = || LineError::Down { venue: shared.settings.venue.clone() };
        let Some(socket) = &state.socket else { return Err(down()) };
        let mut buffer = [0; PACKET_BYTES_MAX];
        let length = state.session.encode(outgoing, &mut buffer)?;
        let (left, error) = write_now(socket, &buffer[..length]);
        if left > 0 {
            state.session.sent(shared.now(), &buffer[..left], &mut state.io);
            shared.tell(state);
        }
        let Some(error) = error else { return Ok(()) };
        state.close(format!("sending failed after {left} of {length} bytes: {error}"));
        Err(if left == 0 { down() } else { LineError::Broken(error.to_string()) })
    }

    fn settle(&mut self, in_doubt: &[Outgoing]) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let state = &mut *state;
        state.session.settle(shared.now(), in_doubt, &mut state.io)?;
        shared.flush(state).map_err(|over| LineError::Broken(over.why))
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let State { session, io, .. } = &mut *state;
        session.log_out(now, io);
        let _ = self.shared.flush(&mut state);
        state.close("asked to stop".to_owned());
        drop(state);
        if let Some(reader) = self.reader.take() {
            reader.thread().unpark();
            let _ = reader.join();
        }
    }
}

impl Drop for OuchLine {
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
                Err(Over::new(why))
            }
        }
    }

    /// Connects, serves the connection, waits, and again.
    fn run(&self) {
        let (first_ns, most_ns) = self.settings.retry_ns;
        let mut wait_ns = first_ns;
        while !self.stopped() {
            let began = Instant::now();
            let over = match self.connect() {
                Ok(socket) => self.serve(socket),
                Err(error) => Over::new(format!("cannot connect to {}: {error}", self.settings.address)),
            };
            let mut state = self.lock();
            let State { session, io, .. } = &mut *state;
            let was_logged_on = session.closed(self.now(), &over.why, io);
            self.tell(&mut state);
            drop(state);
            // One that did not last is no success: two that take each other's session away are not to fight for it as
            // fast as they can.
            if was_logged_on && began.elapsed() >= Duration::from_nanos(most_ns) {
                wait_ns = first_ns;
            }
            if over.wait {
                wait_ns = most_ns;
            }
            self.pause(wait_ns);
            wait_ns = wait_ns.saturating_mul(2).min(most_ns);
        }
    }

    /// Waits, unless it is to stop.
    fn pause(&self, wait_ns: u64) {
        let until = Instant::now() + Duration::from_nanos(wait_ns);
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
        for address in self.settings.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_nanos(self.settings.logon_ns)) {
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
        let mut reading = match socket.try_clone() {
            Ok(reading) => reading,
            Err(error) => return Over::new(format!("cannot read: {error}")),
        };
        {
            let mut state = self.lock();
            (state.socket, state.broken) = (Some(socket), None);
            let State { session, io, .. } = &mut *state;
            session.connected(self.now(), io);
            let _ = self.flush(&mut state);
        }
        let mut buffer = vec![0; READ_BYTES];
        let over = loop {
            if self.stopped() {
                break Over::new("asked to stop");
            }
            let mut came = 0;
            let mut closed = None;
            if self.events.is_full() {
                std::thread::sleep(FULL_WAIT);
            } else {
                match reading.read(&mut buffer) {
                    Ok(0) => closed = Some("the venue closed the connection".to_owned()),
                    Ok(length) => came = length,
                    Err(error) if would_wait(&error) => {}
                    Err(error) => closed = Some(format!("reading failed: {error}")),
                }
            }
            let mut state = self.lock();
            let now = self.now();
            let State { session, io, .. } = &mut *state;
            let outcome = match came {
                0 => Ok(()),
                length => session.received(now, &buffer[..length], io),
            };
            let outcome = outcome.and_then(|()| session.tick(now, io));
            let flushed = self.flush(&mut state);
            if let Err(over) = outcome.and(flushed) {
                break over;
            }
            if let Some(why) = closed {
                break Over::new(state.broken.take().unwrap_or(why));
            }
        };
        self.lock().close(over.why.clone());
        over
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
