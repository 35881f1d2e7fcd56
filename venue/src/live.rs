//! The venue live: the exchange by the machine's clock, its feed on the wire and its order entry on a port, in one
//! thread.
//!
//! ```text
//!             ┌──────────────────────── one turn ────────────────────────┐
//!  poll ────► │ time passes ─► sockets are read ─► feed goes out ─► answers│ ────► poll, until the next thing is due
//!             └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing sleeps while a socket is ready: an order is matched, on the feed and answered in the turn that reads it.
//! [`Live`] owns all parts; what they decide is pure and tested without it.
//!
//! Invariant: in a turn everything happens at one time, and time never steps back. When the machine cannot keep up with
//! the background, the exchange's clock runs late rather than that a turn becomes long.

use crate::background::Background;
use crate::books::Books;
use crate::exchange::{Exchange, ExchangeError, ExchangeSpec};
use crate::impair::Impairment;
use crate::live_report::LiveReport;
use crate::order_entry::{Desk, Floor, Server, Sockets, User, UserError};
use crate::play::{Clock, RealClock};
use crate::script::{Next, Pace, Script};
use crate::send::{Outlet, SendError};
use crate::session::{Channel, Packet, Source, SourceError};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most of the exchange's time that passes in one turn from the first thing on that happens in it, ns: bounds what a
/// turn does, so that sockets are looked at.
const TURN_NS: u64 = 1_000_000;
/// The longest wait, ns: a stop is heard, and heartbeats are in time.
const WAIT_NS: u64 = 50_000_000;
/// How often the report is made, ns.
const REPORT_NS: u64 = 1_000_000_000;
/// After the close the session goes on for so long, ns: a client asks what became of an order that crossed it.
const AFTER_CLOSE_NS: u64 = 2_000_000_000;
/// After the end of the session clients have so long to take what is left, ns.
const FAREWELL_NS: u64 = 2_000_000_000;

/// What a live venue is to be.
#[derive(Clone, Debug)]
pub struct LiveSpec {
    /// The exchange. Its session's name is that of the order entry, too.
    pub exchange: ExchangeSpec,
    /// What is done to line A and line B.
    pub impairments: [Impairment; 2],
    /// Where orders are taken; port 0: a free one.
    pub listen: SocketAddrV4,
    /// Who may log in.
    pub users: Vec<User>,
}

/// Why a venue does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The exchange cannot be so.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The users cannot be so.
    #[error(transparent)]
    User(#[from] UserError),
    /// The port for orders.
    #[error("cannot take orders on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddrV4,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// Waiting for the sockets failed.
    #[error("cannot wait for the sockets of the order entry: {0}")]
    Wait(std::io::Error),
    /// The feed could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// The exchange as a source that gives only what was published already.
pub struct Published(Exchange);

impl Published {
    /// The exchange.
    pub fn exchange(&self) -> &Exchange {
        &self.0
    }
}

impl Source for Published {
    fn channels(&self) -> &[Channel] {
        self.0.channels()
    }

    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError> {
        Ok(self.0.take_packet(packet))
    }

    fn end_early(&mut self) {
        self.0.end_early();
    }
}

/// Where the day is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Day {
    Trading,
    /// Closed; the feed's last packets are on their way, and until then, ns, clients are answered.
    Closing(u64),
    /// Clients take what is left until then, ns.
    Over(u64),
}

/// A venue that runs.
pub struct Live<O> {
    pub(crate) script: Script<Published>,
    pub(crate) server: Server,
    pub(crate) desk: Desk,
    pub(crate) background: Option<Background>,
    pub(crate) users: Vec<User>,
    pub(crate) books_at_close: Option<Books>,
    pub(crate) interrupted: bool,
    pub(crate) session: [u8; 10],
    outlet: O,
    sockets: Sockets,
    address: SocketAddr,
    duration_ns: Option<u64>,
    day: Day,
    now_ns: u64,
}

impl<O: Outlet> Live<O> {
    /// Makes a venue that listens already. Its day begins with [`Live::run`]. With a `background`, its orders come from
    /// there, and the spec's own flow should be none.
    ///
    /// # Errors
    /// What of the spec cannot be, or the port cannot be had.
    pub fn new(spec: &LiveSpec, background: Option<Background>, outlet: O) -> Result<Live<O>, LiveError> {
        // The venue closes the exchange itself, so that it sees the books before.
        let exchange = Exchange::new(&ExchangeSpec { duration_ns: None, ..spec.exchange.clone() })?;
        let session = left_padded(spec.exchange.feed_session);
        let mut server = Server::new(session, &spec.users)?;
        let desk = Desk::new(&spec.users, spec.exchange.begin_of_day_ns);
        desk.say_start_of_day(server.streams());
        let listen_error = |error| LiveError::Listen { address: spec.listen, error };
        let sockets = Sockets::listen(spec.listen).map_err(listen_error)?;
        let address = sockets.address().map_err(listen_error)?;
        let pace = Pace::Recorded { speed: 1.0 };
        Ok(Live {
            script: Script::new(Published(exchange), pace, spec.impairments.clone(), spec.exchange.seed),
            server,
            desk,
            background,
            users: spec.users.clone(),
            books_at_close: None,
            interrupted: false,
            session,
            outlet,
            sockets,
            address,
            duration_ns: spec.exchange.duration_ns,
            day: Day::Trading,
            now_ns: 0,
        })
    }

    /// Where it takes orders.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The session's channels.
    pub fn channels(&self) -> &[Channel] {
        self.script.channels()
    }

    /// Runs the day: until its duration is over or `stop` is set, then the close, the feed's end and the clients'
    /// end of session. Hands a report to `each_second`, and gives back the last one.
    ///
    /// # Errors
    /// A packet could not be sent, or the sockets failed.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut each_second: impl FnMut(LiveReport),
    ) -> Result<LiveReport, LiveError> {
        let mut clock = RealClock::start();
        let mut report_ns = REPORT_NS;
        loop {
            let now_ns = clock.now_ns();
            let Some(next_ns) = self.turn(now_ns, stop.load(Ordering::Relaxed))? else {
                return Ok(self.report());
            };
            if now_ns >= report_ns {
                report_ns = now_ns + REPORT_NS;
                each_second(self.report());
            }
            let wait_ns = next_ns.saturating_sub(clock.now_ns()).min(WAIT_NS);
            self.sockets.wait(&self.server, Duration::from_nanos(wait_ns)).map_err(LiveError::Wait)?;
        }
    }

    /// What the exchange is now.
    pub fn exchange(&self) -> &Exchange {
        self.script.source().exchange()
    }

    /// One turn at this time, ns since the session's begin. Gives back when the next is due if no socket is ready
    /// before; `None`: the session is over.
    fn turn(&mut self, now_ns: u64, stop: bool) -> Result<Option<u64>, LiveError> {
        self.pass_time(now_ns, stop);
        let now_ns = self.now_ns;
        let exchange = &mut self.script.source_mut().0;
        let mut floor = Floor { desk: &mut self.desk, exchange, now_ns };
        self.sockets.read(&mut self.server, now_ns, &mut floor);
        let feed_ns = self.send_feed(now_ns)?;
        let exchange = &mut self.script.source_mut().0;
        let mut floor = Floor { desk: &mut self.desk, exchange, now_ns };
        self.server.tick(now_ns, &mut floor);
        self.sockets.write(&mut self.server, now_ns, &mut floor);
        if self.is_over(feed_ns, now_ns) {
            return Ok(None);
        }
        let close_ns = self.duration_ns.filter(|_| self.day == Day::Trading);
        let due = [feed_ns, self.happens_ns(), close_ns];
        Ok(Some(due.into_iter().flatten().min().unwrap_or(now_ns + WAIT_NS)))
    }

    /// When something happens by itself in the exchange.
    fn happens_ns(&self) -> Option<u64> {
        let background_ns = self.background.as_ref().and_then(Background::next_ns);
        let background_ns = background_ns.filter(|_| self.day == Day::Trading);
        [self.exchange().next_ns(), background_ns].into_iter().flatten().min()
    }

    /// Lets the exchange's time pass, and what is due by itself happen: the background, the close.
    fn pass_time(&mut self, now_ns: u64, stop: bool) {
        let close_ns = match self.day {
            Day::Trading if stop => Some(self.now_ns),
            Day::Trading => self.duration_ns,
            _ => None,
        };
        let happens_ns = self.happens_ns().unwrap_or(now_ns).max(self.now_ns);
        let to_ns = now_ns.min(happens_ns.saturating_add(TURN_NS));
        let to_ns = close_ns.map_or(to_ns, |close_ns| to_ns.min(close_ns));
        let exchange = &mut self.script.source_mut().0;
        if let (Some(background), Day::Trading) = (&mut self.background, self.day) {
            background.play(to_ns, exchange);
        }
        exchange.advance(to_ns);
        self.now_ns = self.now_ns.max(to_ns);
        self.desk.tell(exchange, self.server.streams());
        if close_ns.is_some_and(|close_ns| close_ns <= self.now_ns) {
            self.interrupted = stop;
            self.books_at_close = Some(Books::of(exchange));
            exchange.close(self.now_ns);
            self.desk.tell(exchange, self.server.streams());
            self.desk.say_end_of_day(self.now_ns, self.server.streams());
            self.day = Day::Closing(self.now_ns + AFTER_CLOSE_NS);
        }
    }

    /// Sends what of the feed is due; gives back when more is.
    fn send_feed(&mut self, now_ns: u64) -> Result<Option<u64>, LiveError> {
        self.script.resume();
        let next_ns = loop {
            match self.script.next(now_ns) {
                Next::Send(dispatch) => self.outlet.send(&dispatch)?,
                Next::Wait(until_ns) => break Some(until_ns),
                Next::End => break None,
            }
        };
        self.outlet.flush()?;
        Ok(next_ns)
    }

    fn is_over(&mut self, feed_ns: Option<u64>, now_ns: u64) -> bool {
        match self.day {
            Day::Trading => false,
            Day::Closing(until_ns) => {
                let is_late = self.sockets.is_empty() || now_ns >= until_ns;
                if is_late && feed_ns.is_none() && self.exchange().next_ns().is_none() {
                    self.server.end_session();
                    self.day = Day::Over(now_ns + FAREWELL_NS);
                }
                false
            }
            Day::Over(until_ns) => self.sockets.is_empty() || now_ns >= until_ns,
        }
    }
}

/// A name as SoupBinTCP has a session: padded on the left.
fn left_padded(name: [u8; 10]) -> [u8; 10] {
    let mut padded = [b' '; 10];
    let text = name.trim_ascii();
    padded[10 - text.len()..].copy_from_slice(text);
    padded
}
