//! The socket: who may connect, one line in, one line out.
//!
//! A thread accepts, one thread for each connection reads. Requests go over one bounded channel to the thread that does
//! the work, and a connection is not read further before its answer is written: so what waits is at most one line for each
//! connection. Whatever is sent, the process goes on: a line that is too long, too slow, or no JSON ends its connection.

use super::peer::Peer;
use bus::link::{Answer, Fault, FaultCode, LINK_CONNECTIONS_MAX, LINK_REQUEST_BYTES_MAX, Refused, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::warn;

/// How often the threads look whether the process ends.
const TURN: Duration = Duration::from_millis(200);
/// How long a line may take from its first byte to its end.
const LINE_WITHIN: Duration = Duration::from_secs(10);
/// How long a peer may take to read its answer.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long a request may wait for its answer. A change of a thousand feeds takes a second or two.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Read, write; owner and group.
const MODE: u32 = 0o660;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody listens on it.
    #[error("{}: another process listens there; end it, or name another socket", .0.display())]
    Taken(PathBuf),
    /// Something else has the name.
    #[error("{} is there and is no socket; remove it, or name another path", .0.display())]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("no socket at {}: {error}", path.display())]
    System {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A request and where its answer goes.
pub struct Asked {
    /// What is asked.
    pub request: Request,
    answer: SyncSender<Vec<u8>>,
}

impl Asked {
    /// Answers with a line. A peer that is gone is not told.
    pub fn answer(self, line: Vec<u8>) {
        let _ = self.answer.send(line);
    }
}

/// A socket that is served. Dropping it ends that and removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`; the requests come out of the channel. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(path: &Path) -> Result<(Server, Receiver<Asked>), ServerError> {
        let listener = listen(path)?;
        let (inbox, asked) = sync_channel(LINK_CONNECTIONS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            listener,
            path: path.to_owned(),
            inbox,
            stop: Arc::clone(&stop),
            served: Arc::new(AtomicUsize::new(0)),
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accepting.run())
            .map_err(|error| ServerError::System { path: path.to_owned(), error })?;
        Ok((Server { path: path.to_owned(), stop, thread: Some(thread) }, asked))
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The mode is set before anybody can connect: a socket that is bound and not listened on refuses.
fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let system = |error| ServerError::System { path: path.to_owned(), error };
    let address = SockAddr::unix(path).map_err(system)?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(system)?;
    socket.bind(&address).map_err(system)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(system)?;
    socket.listen(LINK_CONNECTIONS_MAX as i32).map_err(system)?;
    socket.set_nonblocking(true).map_err(system)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let system = |error| ServerError::System { path: path.to_owned(), error };
    let there = match std::fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !there.file_type().is_socket() {
        return Err(ServerError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ServerError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(system)
        }
        Err(error) => Err(system(error)),
    }
}

struct Accepting {
    listener: UnixListener,
    path: PathBuf,
    inbox: SyncSender<Asked>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Accepting {
    fn run(&self) {
        let turn = Timespec { tv_sec: 0, tv_nsec: i64::from(TURN.subsec_nanos()) };
        while !self.stop.load(Ordering::Relaxed) {
            let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
            if !matches!(poll(&mut waiting, Some(&turn)), Ok(1..)) {
                continue;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    // Out of descriptors, as a rule: what listens goes on.
                    warn!(%error, "a connection of the control socket was not taken");
                    std::thread::sleep(TURN);
                }
            }
        }
    }

    fn admit(&self, stream: UnixStream) {
        let set = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(TURN)))
            .and_then(|()| stream.set_write_timeout(Some(WRITE_WITHIN)));
        let peer = match set.and_then(|()| Peer::of(&stream)) {
            Ok(peer) => peer,
            Err(error) => return warn!(%error, "a connection of the control socket cannot be used"),
        };
        if !peer.may_speak(&self.path) {
            warn!(pid = peer.pid, uid = peer.uid, "refused at the control socket");
            let message = format!(
                "user {} may not speak here: only root, the data plane's user, and the socket's group",
                peer.uid
            );
            return refuse(stream, FaultCode::Forbidden, message);
        }
        // Only this thread counts up.
        if self.served.load(Ordering::Acquire) >= LINK_CONNECTIONS_MAX {
            let message = format!("{LINK_CONNECTIONS_MAX} connections are served already; close one");
            return refuse(stream, FaultCode::Busy, message);
        }
        self.served.fetch_add(1, Ordering::AcqRel);
        let connection = Connection {
            stream,
            inbox: self.inbox.clone(),
            stop: Arc::clone(&self.stop),
            _served: Served(Arc::clone(&self.served)),
            read: Vec::new(),
        };
        let spawned = std::thread::Builder::new().name("control-peer".to_owned()).spawn(|| connection.run());
        if let Err(error) = spawned {
            warn!(%error, "no thread for a connection of the control socket");
        }
    }
}

fn refuse(mut stream: UnixStream, code: FaultCode, message: String) {
    let _ = stream.write_all(&Answer::<()>::line(0, Err(Fault::new(code, message))));
}

/// A place among the connections, given back however the thread ends.
struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Connection {
    stream: UnixStream,
    inbox: SyncSender<Asked>,
    stop: Arc<AtomicBool>,
    _served: Served,
    /// Read, and not taken yet.
    read: Vec<u8>,
}

/// What came of reading a line.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

impl Connection {
    fn run(mut self) {
        loop {
            let answer = match self.line() {
                Line::End => return,
                Line::TooLong => {
                    let message = format!("a line of more than {LINK_REQUEST_BYTES_MAX} bytes");
                    return refuse(self.stream, FaultCode::BadRequest, message);
                }
                Line::Whole(line) => match Request::parse(&line) {
                    Ok(request) => self.ask(request),
                    Err(Refused::Answered { id, fault }) => Some(Answer::<()>::line(id, Err(fault))),
                    Err(Refused::NoJson(why)) => {
                        return refuse(self.stream, FaultCode::BadRequest, format!("no JSON: {why}"));
                    }
                },
            };
            let Some(answer) = answer else { return };
            if self.stream.write_all(&answer).is_err() {
                return;
            }
        }
    }

    /// The answer; nothing when the process ends.
    fn ask(&self, request: Request) -> Option<Vec<u8>> {
        let id = request.id;
        let (answer, answered) = sync_channel(1);
        self.inbox.send(Asked { request, answer }).ok()?;
        match answered.recv_timeout(ANSWER_WITHIN) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let message = format!("not answered within {} s; ask how it is", ANSWER_WITHIN.as_secs());
                Some(Answer::<()>::line(id, Err(Fault::new(FaultCode::Failed, message))))
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }

    fn line(&mut self) -> Line {
        let mut began: Option<Instant> = (!self.read.is_empty()).then(Instant::now);
        let mut searched = 0;
        let mut chunk = vec![0; READ_BYTES];
        loop {
            if let Some(at) = self.read[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return if line.len() > LINK_REQUEST_BYTES_MAX { Line::TooLong } else { Line::Whole(line) };
            }
            searched = self.read.len();
            if searched > LINK_REQUEST_BYTES_MAX {
                return Line::TooLong;
            }
            if began.is_some_and(|began| began.elapsed() > LINE_WITHIN) || self.stop.load(Ordering::Relaxed) {
                return Line::End;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Line::End,
                Ok(bytes) => {
                    began.get_or_insert_with(Instant::now);
                    self.read.extend_from_slice(&chunk[..bytes]);
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Line::End,
            }
        }
    }
}

#[cfg(test)]
mod tests;
