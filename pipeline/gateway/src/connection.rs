//! A connection to a venue, whatever is spoken on it: a thread that connects, reads and connects again, and a send path that
//! writes from the caller's own thread.
//!
//! ```text
//!   Line::send ─► lock ─► Talk::ready ─► socket (never waits) ─► Wire       ─► unlock
//!   reader        read (no lock) ─► lock ─► Talk::received ─► socket, Events ─► unlock
//! ```
//!
//! The lock holds the socket and the [`Talk`], which decides everything. Events are told inside it, so that an order stands
//! in the drop copy before what the venue says about it; [`Events::push`] never waits.
//!
//! Invariants: bytes of two messages never mix, because a message that leaves in part ends its connection; nothing is
//! kept to be sent later.

use crate::line::{Event, Events, Line, LineError, Outgoing, WireRef};
use bus::config::ReconnectSection;
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
/// Bytes that are read at once: some hundred messages.
const READ_BYTES: usize = 64 << 10;

/// A moment, on two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since any begin; never steps back.
    pub monotonic_ns: u64,
    /// Since the epoch, UTC.
    pub epoch_ns: u64,
}

/// The connection is to be closed, after what is still to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Over {
    /// Why, in words.
    pub why: String,
    /// Whether trying again soon is of no use.
    pub wait: bool,
}

impl Over {
    pub(crate) fn soon(why: impl Into<String>) -> Over {
        Over { why: why.into(), wait: false }
    }

    pub(crate) fn wait(why: impl Into<String>) -> Over {
        Over { why: why.into(), wait: true }
    }
}

/// What came of an input: bytes to be written now, and what is to be told.
#[derive(Debug, Default)]
pub struct Io {
    /// Whole messages.
    pub out: Vec<u8>,
    /// In their order.
    pub events: Vec<Event>,
}

impl Io {
    pub(crate) fn refused(&mut self, what: String) {
        self.events.push(Event::Refused { what });
    }
}

/// Our side of a protocol, without a socket or a clock: bytes and a time in, bytes and events out.
pub trait Talk: Send + 'static {
    /// A message of ours, to be written at once.
    type Ready: AsRef<[u8]>;

    /// As [`Line::assign`].
    fn assign(&mut self) -> WireRef;

    /// As [`Line::check`].
    ///
    /// # Errors
    /// [`LineError::Unspeakable`], with the field.
    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError>;

    /// A connection is there: what is said first.
    ///
    /// # Errors
    /// The connection is to be closed.
    fn connected(&mut self, now: Now, io: &mut Io) -> Result<(), Over>;

    /// Makes the message for an instruction; [`Talk::sent`] follows as soon as some of it is written.
    ///
    /// # Errors
    /// Not logged on, or it cannot be said.
    fn ready(&mut self, now: Now, outgoing: &Outgoing) -> Result<Self::Ready, LineError>;

    /// So many bytes of it were written, one at least.
    fn sent(&mut self, now: Now, ready: &Self::Ready, left: usize, io: &mut Io);

    /// As [`Line::settle`].
    ///
    /// # Errors
    /// When it cannot be asked; what was asked before that stands in `io`.
    fn settle(&mut self, now: Now, in_doubt: &[Outgoing], io: &mut Io) -> Result<(), LineError>;

    /// Bytes came.
    ///
    /// # Errors
    /// The connection is to be closed.
    fn received(&mut self, now: Now, bytes: &[u8], io: &mut Io) -> Result<(), Over>;

    /// Nothing is read for a while because too much waits here: the venue is not silent.
    fn not_reading(&mut self, now: Now);

    /// Time went by.
    ///
    /// # Errors
    /// The connection is to be closed.
    fn tick(&mut self, now: Now, io: &mut Io) -> Result<(), Over>;

    /// The connection is gone, or could not be made: whether it was logged on.
    fn closed(&mut self, now: Now, why: &str, io: &mut Io) -> bool;

    /// Asks the venue to end the session, when there is one.
    fn log_out(&mut self, now: Now, io: &mut Io);

    /// Whether the answer to that is waited for.
    fn is_logging_out(&self) -> bool;

    /// The line ends for good.
    fn finish(&mut self);
}

/// Where a connection leads.
pub(crate) struct Place {
    /// The session's name.
    pub(crate) venue: String,
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) reconnect: ReconnectSection,
}

/// A line on a connection of its own.
pub struct Connection<T: Talk> {
    shared: Arc<Shared<T>>,
    reader: Option<JoinHandle<()>>,
}

struct Shared<T> {
    place: Place,
    events: Arc<dyn Events>,
    stop: AtomicBool,
    started: Instant,
    state: Mutex<State<T>>,
}

struct State<T> {
    talk: T,
    socket: Option<TcpStream>,
    io: Io,
    /// Why the socket was closed by whoever sent.
    broken: Option<String>,
}

impl<T: Talk> Connection<T> {
    /// Starts the reader, which connects by itself. Its thread is called by protocol and venue.
    pub(crate) fn begin(
        protocol: &str,
        place: Place,
        talk: T,
        events: Arc<dyn Events>,
    ) -> std::io::Result<Connection<T>> {
        let thread = std::thread::Builder::new().name(format!("{protocol}-{}", place.venue));
        let shared = Arc::new(Shared {
            place,
            events,
            stop: AtomicBool::new(false),
            started: Instant::now(),
            state: Mutex::new(State { talk, socket: None, io: Io::default(), broken: None }),
        });
        let of_reader = Arc::clone(&shared);
        let reader = thread.spawn(move || of_reader.run())?;
        Ok(Connection { shared, reader: Some(reader) })
    }
}

impl<T: Talk> Line for Connection<T> {
    fn assign(&mut self) -> WireRef {
        self.shared.lock().talk.assign()
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        self.shared.lock().talk.check(outgoing)
    }

    fn send(&mut self, outgoing: &Outgoing) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let down = || LineError::Down { venue: shared.place.venue.clone() };
        let State { talk, socket, io, .. } = &mut *state;
        let Some(socket) = socket else { return Err(down()) };
        let now = shared.now();
        let ready = talk.ready(now, outgoing)?;
        let bytes = ready.as_ref();
        let (left, error) = write_now(socket, bytes);
        if left > 0 {
            talk.sent(now, &ready, left, io);
            shared.tell(&mut state);
        }
        let Some(error) = error else { return Ok(()) };
        state.close(format!("sending failed after {left} of {} bytes: {error}", bytes.len()));
        Err(if left == 0 { down() } else { LineError::Broken(error.to_string()) })
    }

    fn settle(&mut self, in_doubt: &[Outgoing]) -> Result<(), LineError> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let State { talk, io, .. } = &mut *state;
        let asked = talk.settle(shared.now(), in_doubt, io);
        // Questions before one that cannot be asked are on their way.
        let flushed = shared.flush(&mut state).map_err(|over| LineError::Broken(over.why));
        asked.and(flushed)
    }

    fn stop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let State { talk, io, .. } = &mut *state;
        talk.log_out(now, io);
        let _ = self.shared.flush(&mut state);
        if !state.talk.is_logging_out() {
            state.close("asked to stop".to_owned());
        }
        // Behind the logout: the reader stays for its answer.
        self.shared.stop.store(true, Ordering::Release);
        drop(state);
        reader.thread().unpark();
        let _ = reader.join();
        self.shared.lock().talk.finish();
    }
}

impl<T: Talk> Drop for Connection<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T> State<T> {
    /// Closes the connection; the reader notices.
    fn close(&mut self, why: String) {
        if let Some(socket) = self.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
            self.broken = Some(why);
        }
    }
}

impl<T: Talk> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
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
    fn tell(&self, state: &mut State<T>) {
        for event in state.io.events.drain(..) {
            self.events.push(event);
        }
    }

    /// Writes the bytes that gathered, and tells the events.
    fn flush(&self, state: &mut State<T>) -> Result<(), Over> {
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
                Err(Over::soon(why))
            }
        }
    }

    /// Connects, serves the connection, waits, and again.
    fn run(&self) {
        let (first, most) = (self.place.reconnect.first_ms, self.place.reconnect.most_ms);
        let (first, most) = (Duration::from_millis(first), Duration::from_millis(most));
        let mut wait = first;
        while !self.stopped() {
            let began = Instant::now();
            let over = match self.connect() {
                Ok(socket) => self.serve(socket),
                Err(error) => Over::soon(format!("cannot connect to {}: {error}", self.place.address)),
            };
            let mut state = self.lock();
            let State { talk, io, .. } = &mut *state;
            let was_logged_on = talk.closed(self.now(), &over.why, io);
            self.tell(&mut state);
            drop(state);
            tracing::warn!(venue = self.place.venue, why = over.why, "not logged on");
            // One that did not last is no success: two that take each other's session away are not to fight for it as
            // fast as they can.
            if was_logged_on && began.elapsed() >= most {
                wait = first;
            }
            if over.wait {
                wait = most;
            }
            self.pause(wait);
            wait = wait.saturating_mul(2).min(most);
        }
    }

    /// Waits, unless it is to stop.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let within = Duration::from_millis(self.place.reconnect.logon_ms);
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in self.place.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, within) {
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
            Err(error) => return Over::soon(format!("cannot read: {error}")),
        };
        let begun = {
            let mut state = self.lock();
            (state.socket, state.broken) = (Some(socket), None);
            let State { talk, io, .. } = &mut *state;
            let begun = talk.connected(self.now(), io);
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
        if self.stopped() && !state.talk.is_logging_out() {
            return Err(Over::soon("asked to stop"));
        }
        let now = self.now();
        let State { talk, io, .. } = &mut *state;
        if full {
            talk.not_reading(now);
        }
        let outcome = match came {
            0 => Ok(()),
            length => talk.received(now, &buffer[..length], io),
        };
        let outcome = outcome.and_then(|()| talk.tick(now, io));
        let flushed = self.flush(&mut state);
        outcome.and(flushed)?;
        match closed {
            None => Ok(()),
            Some(why) => Err(Over::soon(state.broken.take().unwrap_or(why))),
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
