//! The simulated venue in a thread, and a proxy before it that cuts, holds or damages what passes.
#![allow(dead_code)] // Each of the tests that share it uses a part.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use venue::exchange::{ExchangeSpec, FlowSpec};
use venue::live::{Live, LiveSpec};
use venue::live_report::{LiveReport, UserReport};
use venue::order_entry::User;
use venue::script::Dispatch;
use venue::send::{Outlet, SendError};
use wire::soupbintcp::{Frame, Framer, Packet, Sender};

/// A feed that nobody hears.
struct Silent;

impl Outlet for Silent {
    fn send(&mut self, _: &Dispatch<'_>) -> Result<(), SendError> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), SendError> {
        Ok(())
    }
}

/// How a venue is to be.
#[derive(Clone)]
pub struct VenueSpec {
    /// The name of its session.
    pub session: &'static str,
    /// Whether others trade, too.
    pub busy: bool,
    /// Whether a user's orders end with its connection.
    pub cancel_on_disconnect: bool,
    /// Its port; 0: one that is free.
    pub port: u16,
}

impl Default for VenueSpec {
    fn default() -> VenueSpec {
        VenueSpec { session: "DAY1", busy: false, cancel_on_disconnect: false, port: 0 }
    }
}

/// A venue for `fplane:secret` and `other:secret`, until it is dropped.
pub struct Venue {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    last: Arc<Mutex<Option<LiveReport>>>,
    runs: Option<JoinHandle<LiveReport>>,
}

impl Venue {
    pub fn start(wanted: &VenueSpec) -> Venue {
        let mut exchange = ExchangeSpec::new(2, 7);
        exchange.flow = wanted.busy.then(FlowSpec::default);
        exchange.pre_open_ns = 1_000_000;
        exchange.feed_session = wire::itch50::alpha(wanted.session);
        let users = ["fplane:secret", "other:secret"].map(|text| {
            let mut user: User = text.parse().unwrap();
            user.cancel_on_disconnect = wanted.cancel_on_disconnect;
            user
        });
        let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, wanted.port);
        let spec = LiveSpec { exchange, impairments: Default::default(), listen, users: users.to_vec() };
        let stop = Arc::new(AtomicBool::new(false));
        let last = Arc::new(Mutex::new(None));
        let (tell, address) = channel();
        let runs = std::thread::spawn({
            let (stop, last) = (Arc::clone(&stop), Arc::clone(&last));
            move || {
                let mut live = Live::new(&spec, None, Silent).unwrap();
                tell.send(live.address()).unwrap();
                live.run(&stop, |report| *last.lock().unwrap() = Some(report)).unwrap()
            }
        });
        Venue { address: address.recv().unwrap(), stop, last, runs: Some(runs) }
    }

    /// Closes the market and gives what the first user did.
    pub fn end(mut self) -> UserReport {
        self.stop.store(true, Ordering::Relaxed);
        self.runs.take().expect("runs").join().unwrap().users.swap_remove(0)
    }

    /// What the first user did, as of a moment after this call.
    pub fn report(&self) -> UserReport {
        *self.last.lock().unwrap() = None;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(mut report) = self.last.lock().unwrap().take() {
                return report.users.swap_remove(0);
            }
            assert!(Instant::now() < until, "the venue reports every second");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(runs) = self.runs.take() {
            let _ = runs.join();
        }
    }
}

/// What a proxy does with what the venue says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mangle {
    Nothing,
    /// Now and then a byte is another.
    Corrupt,
    /// Now and then a packet comes twice.
    Duplicate,
    /// Now and then the connection ends in the middle.
    Cut,
}

/// A way to the venue.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    /// Nothing passes.
    held: AtomicBool,
    /// Nobody is let in.
    closed: AtomicBool,
    mangle: AtomicU8,
    /// One of so many chunks is mangled.
    one_of: AtomicU64,
    mangled: AtomicU64,
    /// Connections that were granted and are open, and packets with a message that passed to the venue.
    logged_in: AtomicU64,
    orders_passed: AtomicU64,
    random: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    upstream: Mutex<SocketAddr>,
}

impl Proxy {
    pub fn to(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            held: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            mangle: AtomicU8::new(Mangle::Nothing as u8),
            one_of: AtomicU64::new(10),
            mangled: AtomicU64::new(0),
            logged_in: AtomicU64::new(0),
            orders_passed: AtomicU64::new(0),
            random: AtomicU64::new(7),
            open: Mutex::new(Vec::new()),
            upstream: Mutex::new(upstream),
        });
        let of_thread = Arc::clone(&shared);
        let accepts = std::thread::spawn(move || of_thread.accept(&listener));
        Proxy { address, shared, accepts: Some(accepts) }
    }

    /// Leads to another venue from now on.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap() = upstream;
    }

    /// Ends all connections.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub fn hold(&self, held: bool) {
        self.shared.held.store(held, Ordering::SeqCst);
    }

    /// Ends all connections and lets nobody in, or lets them in again.
    pub fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
        if closed {
            self.cut();
        }
    }

    pub fn mangle(&self, how: Mangle, one_of: u64) {
        self.shared.one_of.store(one_of, Ordering::SeqCst);
        self.shared.mangle.store(how as u8, Ordering::SeqCst);
    }

    /// Connections that the venue granted and that are open.
    pub fn logged_in(&self) -> u64 {
        self.shared.logged_in.load(Ordering::SeqCst)
    }

    /// New orders, replacements and cancels that passed to the venue.
    pub fn orders_passed(&self) -> u64 {
        self.shared.orders_passed.load(Ordering::SeqCst)
    }

    /// How often it did.
    pub fn mangled(&self) -> u64 {
        self.shared.mangled.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.cut();
        let _ = self.accepts.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            client.set_nonblocking(false).unwrap();
            let upstream = *self.upstream.lock().unwrap();
            if self.closed.load(Ordering::SeqCst) {
                continue;
            }
            let Ok(server) = TcpStream::connect_timeout(&upstream, Duration::from_secs(1)) else { continue };
            for (from, to, of_server) in [(&client, &server, false), (&server, &client, true)] {
                from.set_nodelay(true).unwrap();
                from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                self.open.lock().unwrap().push(from.try_clone().unwrap());
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let shared = Arc::clone(self);
                std::thread::spawn(move || shared.pump(from, to, of_server));
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, of_server: bool) {
        let mut buffer = [0; 4_096];
        let mut granted = false;
        let mut framer = Framer::new(Sender::Client, u16::MAX);
        let mut partial = Vec::new();
        loop {
            if self.held.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            let mut bytes = buffer[..length].to_vec();
            if !of_server {
                partial.extend_from_slice(&bytes);
                self.count_orders(&mut framer, &mut partial);
            } else if !granted && bytes.get(2) == Some(&b'A') {
                granted = true;
                self.logged_in.fetch_add(1, Ordering::SeqCst);
            }
            let goes_on = !of_server || self.damage(&mut bytes);
            if to.write_all(&bytes).is_err() || !goes_on {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        self.logged_in.fetch_sub(u64::from(granted), Ordering::SeqCst);
    }

    fn count_orders(&self, framer: &mut Framer, partial: &mut Vec<u8>) {
        let mut rest = partial.as_slice();
        while let Ok(Frame::Packet(packet)) = framer.next(&mut rest) {
            if matches!(packet, Packet::UnsequencedData(message) if message.first() != Some(&b'Q')) {
                self.orders_passed.fetch_add(1, Ordering::SeqCst);
            }
        }
        let consumed = partial.len() - rest.len();
        partial.drain(..consumed);
    }

    /// Damages some bytes; whether the connection goes on.
    fn damage(&self, bytes: &mut Vec<u8>) -> bool {
        let how = self.mangle.load(Ordering::SeqCst);
        let drawn = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
        let drawn = (drawn ^ (drawn >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 16;
        if how == Mangle::Nothing as u8 || !drawn.is_multiple_of(self.one_of.load(Ordering::SeqCst)) {
            return true;
        }
        self.mangled.fetch_add(1, Ordering::SeqCst);
        let at = (drawn >> 8) as usize % bytes.len();
        if how == Mangle::Corrupt as u8 {
            bytes[at] ^= 1 << (drawn % 8);
        } else if how == Mangle::Duplicate as u8 {
            bytes.extend_from_within(..);
        } else {
            bytes.truncate(at);
            return false;
        }
        true
    }
}
