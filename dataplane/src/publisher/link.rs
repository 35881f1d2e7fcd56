//! The link to Redis: at any time waiting to try, trying, or up. Never blocks.

use super::PublisherError;
use super::address::Address;
use super::resp::{self, Reply};
use super::session::{ClientId, Session, Socket};
use super::write::Write;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// First pause before connecting again; doubled each time until an answer arrives.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// Longest pause: an operator who has mended Redis should not wait.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Unparsed reply bytes that are more than any transaction's answer.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// How a write in flight stands.
pub(super) enum Progress {
    /// Nothing new.
    Pending,
    /// Something moved.
    Moved,
    /// Redis has carried it out.
    Done,
    /// The link broke, or Redis refused. `partly` when some of the write's commands were carried out.
    Broken { error: PublisherError, partly: bool },
}

/// The same, as the connection sees it.
enum Step {
    Pending,
    Moved,
    Done,
    Refused { message: String, partly: bool },
}

enum State {
    Waiting { until: Instant },
    Opening(Receiver<Result<Session, PublisherError>>),
    Up(Box<Up>),
}

struct Up {
    socket: Socket,
    received: Vec<u8>,
    /// Replies taken of the write in flight.
    replies: usize,
    refusal: Option<String>,
}

pub(super) struct Link {
    address: Arc<Address>,
    streams: Arc<[String]>,
    state: State,
    backoff: Duration,
    previous: Option<ClientId>,
    server_changed: bool,
}

impl Link {
    pub(super) fn new(address: Address, streams: Vec<String>) -> Link {
        Link {
            address: Arc::new(address),
            streams: streams.into(),
            state: State::Waiting { until: Instant::now() },
            backoff: BACKOFF_MIN,
            previous: None,
            server_changed: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether the server of the last session is another process than the one before.
    pub(super) fn server_changed(&self) -> bool {
        self.server_changed
    }

    /// Opens a session here and now, for the first time.
    pub(super) fn open_now(&mut self) -> Result<Vec<bus::Positions>, PublisherError> {
        let session = Session::open(&self.address, &self.streams, None)?;
        Ok(self.take_up(session))
    }

    /// Goes on with connecting. A session that is ready gives the stored positions; one that failed is
    /// tried again after a pause.
    pub(super) fn connect(&mut self) -> Option<Result<Vec<bus::Positions>, PublisherError>> {
        match &self.state {
            State::Up(_) => None,
            State::Waiting { until } => {
                if Instant::now() >= *until {
                    self.begin_opening();
                }
                None
            }
            State::Opening(answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => None,
                Ok(Ok(session)) => Some(Ok(self.take_up(session))),
                Ok(Err(error)) => {
                    self.down();
                    Some(Err(error))
                }
                Err(TryRecvError::Disconnected) => {
                    self.down();
                    Some(Err(PublisherError::Gone))
                }
            },
        }
    }

    fn begin_opening(&mut self) {
        let (sender, answer) = channel();
        let (address, streams, previous) =
            (Arc::clone(&self.address), Arc::clone(&self.streams), self.previous.clone());
        let opening = std::thread::Builder::new().name("publisher-link".to_owned()).spawn(move || {
            let _ = sender.send(Session::open(&address, &streams, previous.as_ref()));
        });
        match opening {
            Ok(_) => self.state = State::Opening(answer),
            Err(_) => self.down(),
        }
    }

    fn take_up(&mut self, session: Session) -> Vec<bus::Positions> {
        let Session { socket, client, positions } = session;
        self.server_changed = self.previous.as_ref().is_some_and(|previous| !previous.same_server(&client));
        self.previous = Some(client);
        self.state =
            State::Up(Box::new(Up { socket, received: Vec::with_capacity(4096), replies: 0, refusal: None }));
        positions
    }

    /// Gives the connection up and tries again after a pause.
    pub(super) fn down(&mut self) {
        self.state = State::Waiting { until: Instant::now() + self.backoff };
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Sends and receives as far as that is possible now.
    pub(super) fn progress(&mut self, write: &mut Write) -> Progress {
        let State::Up(up) = &mut self.state else { return Progress::Pending };
        match up.progress(write) {
            Ok(Step::Pending) => Progress::Pending,
            Ok(Step::Moved) => Progress::Moved,
            Ok(Step::Done) => {
                self.backoff = BACKOFF_MIN;
                Progress::Done
            }
            Ok(Step::Refused { message, partly }) => {
                let address = self.address.to_string();
                let error = PublisherError::Refused { address, command: "a write", message };
                Progress::Broken { error, partly }
            }
            Err(source) => {
                let address = self.address.to_string();
                Progress::Broken { error: PublisherError::Unreachable { address, source }, partly: false }
            }
        }
    }

    /// Whether the server has ended an idle connection.
    pub(super) fn idle_check(&mut self) -> Option<PublisherError> {
        let State::Up(up) = &mut self.state else { return None };
        let mut byte = [0u8; 1];
        let source = match up.socket.read(&mut byte) {
            Err(error) if is_not_yet(&error) => return None,
            Err(error) => error,
            Ok(0) => io::ErrorKind::ConnectionReset.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, "an answer to nothing"),
        };
        Some(PublisherError::Unreachable { address: self.address.to_string(), source })
    }

    /// Sleeps until the socket can go on with the write, or `timeout` is over.
    pub(super) fn sleep(&self, write: &Write, timeout: Duration) {
        let State::Up(up) = &self.state else { return std::thread::sleep(timeout) };
        let mut events = rustix::event::PollFlags::IN;
        if write.sent < write.bytes.len() {
            events |= rustix::event::PollFlags::OUT;
        }
        let fd = up.socket.as_fd();
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) };
        // An interrupted sleep is a short one.
        let _ =
            rustix::event::poll(&mut [rustix::event::PollFd::from_borrowed_fd(fd, events)], Some(&timeout));
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Up {
    fn progress(&mut self, write: &mut Write) -> io::Result<Step> {
        let mut moved = false;
        while write.sent < write.bytes.len() {
            match self.socket.write(&write.bytes[write.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    write.sent += sent;
                    moved = true;
                }
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if moved && write.sent == write.bytes.len() {
            // Redis needs a moment: an answer is not looked for in the same round.
            return Ok(Step::Moved);
        }
        let mut piece = [0u8; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(length) => self.received.extend_from_slice(&piece[..length]),
            Err(error) if is_not_yet(&error) => {
                return Ok(if moved { Step::Moved } else { Step::Pending });
            }
            Err(error) => return Err(error),
        }
        if self.received.len() > REPLY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
        self.take_replies(write.replies())
    }

    /// Takes the whole replies received so far. The last is EXEC's.
    fn take_replies(&mut self, expected: usize) -> io::Result<Step> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut at = 0;
        let mut executed = None;
        while self.replies < expected {
            let parsed = resp::parse(&self.received[at..]).map_err(|error| invalid(error.to_string()))?;
            let Some((reply, length)) = parsed else { break };
            at += length;
            self.replies += 1;
            match reply {
                Reply::Error(message) => {
                    self.refusal.get_or_insert_with(|| String::from_utf8_lossy(message).into_owned());
                }
                Reply::Array(results) if self.replies == expected => {
                    executed = Some(results.iter().find_map(|result| match result {
                        Reply::Error(message) => Some(String::from_utf8_lossy(message).into_owned()),
                        _ => None,
                    }));
                }
                Reply::Status(_) if self.replies < expected => {}
                other => return Err(invalid(format!("an unexpected answer: {other}"))),
            }
        }
        self.received.drain(..at);
        if self.replies < expected {
            return Ok(Step::Moved);
        }
        self.replies = 0;
        Ok(match (self.refusal.take(), executed) {
            (None, Some(None)) => Step::Done,
            (None, Some(Some(message))) => Step::Refused { message, partly: true },
            (Some(message), _) => Step::Refused { message, partly: false },
            (None, None) => return Err(invalid("EXEC gave no result".to_owned())),
        })
    }
}
