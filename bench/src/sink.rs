//! The venue's end of the order line: takes orders by OUCH 5.0 over SoupBinTCP, notes when the bytes of each arrived,
//! accepts it and cancels at once what is immediate-or-cancel.
//!
//! It is a yardstick and no exchange: the time is read as soon as the bytes are out of the socket, before they are looked at.

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::ouch50::{
    AccountQueryResponse, Appendage, EnterOrder, Inbound, OrderAccepted, OrderCanceled, Outbound,
};
use wire::soupbintcp::{self, Frame, Framer, LoginAccepted, Number, Packet, Sender};
use zerocopy::byteorder::big_endian::{U32, U64};

/// Longest packet of a client that is taken, bytes after its length.
const PACKET_BYTES_MAX: u16 = 1_024;
/// Silence after which the sink gives a sign of life; also how soon it notices that it is to end.
const SILENCE: Duration = Duration::from_millis(250);
const SESSION: &str = "BENCH";
/// An order accepted and on the book.
const LIVE: u8 = b'L';
/// OUCH's immediate-or-cancel.
const IMMEDIATE: u8 = b'3';
/// Why the rest of an immediate order was cancelled.
const NOT_TRADED: u8 = b'I';

/// An order's arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// The user's name of the order, padded with spaces.
    pub cl_ord_id: [u8; 14],
    /// When its bytes were out of the socket, ns since the epoch.
    pub time_ns: u64,
}

/// A running sink. It ends with [`OrderSink::finish`].
pub struct OrderSink {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    thread: JoinHandle<()>,
}

impl OrderSink {
    /// Listens on a free port of the loopback of the calling thread's network.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start() -> Result<OrderSink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (ending, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (end, into) = (Arc::clone(&ending), Arc::clone(&arrived));
        let thread = std::thread::spawn(move || accept(&listener, &end, &into));
        Ok(OrderSink { address, ending, arrived, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and gives what arrived, in order.
    ///
    /// # Errors
    /// It panicked.
    pub fn finish(self) -> Result<Vec<Arrived>> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the order sink panicked")?;
        Ok(std::mem::take(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// One client after the other.
fn accept(listener: &TcpListener, ending: &AtomicBool, arrived: &Mutex<Vec<Arrived>>) {
    // What was told, so that a client that comes back hears what it missed.
    let mut told: Vec<Vec<u8>> = Vec::new();
    while !ending.load(Ordering::Relaxed) {
        match listener.accept() {
            // A client that breaks off or breaks the protocol is let go; the next may come.
            Ok((stream, _)) => {
                let _ = Connection { stream, told: &mut told, arrived }.serve(ending);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

struct Connection<'a> {
    stream: TcpStream,
    told: &'a mut Vec<Vec<u8>>,
    arrived: &'a Mutex<Vec<Arrived>>,
}

impl Connection<'_> {
    fn serve(mut self, ending: &AtomicBool) -> Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(SILENCE))?;
        let mut framer = Framer::new(Sender::Client, PACKET_BYTES_MAX);
        let (mut waiting, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        while !ending.load(Ordering::Relaxed) {
            let length = match self.stream.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.send(&Packet::ServerHeartbeat)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let time_ns = now_ns();
            waiting.extend_from_slice(&piece[..length]);
            let mut rest = waiting.as_slice();
            while let Frame::Packet(packet) = framer.next(&mut rest)? {
                self.take(&packet, time_ns)?;
            }
            let left = rest.len();
            waiting.drain(..waiting.len() - left);
        }
        Ok(())
    }

    fn take(&mut self, packet: &Packet<'_>, time_ns: u64) -> Result<()> {
        match packet {
            Packet::LoginRequest(request, _) => {
                let wanted = request.next_sequence.get().unwrap_or(0) as usize;
                let from = if wanted == 0 { self.told.len() + 1 } else { wanted };
                let session = soupbintcp::left_padded(SESSION).context("the session's name is too long")?;
                let next_sequence = Number::sequence(from as u64);
                self.send(&Packet::LoginAccepted(&LoginAccepted { session, next_sequence }))?;
                for message in self.told.get(from - 1..).unwrap_or_default().to_vec() {
                    self.send(&Packet::SequencedData(&message))?;
                }
                Ok(())
            }
            Packet::UnsequencedData(message) => match Inbound::parse(message)?.0 {
                Inbound::EnterOrder(order) => self.enter(order, time_ns),
                Inbound::AccountQuery(_) => {
                    let next = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).len() as u32 + 1;
                    self.tell(&Outbound::AccountQueryResponse(&AccountQueryResponse {
                        timestamp_ns: U64::new(0),
                        next_user_ref_num: U32::new(next),
                    }))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn enter(&mut self, order: &EnterOrder, time_ns: u64) -> Result<()> {
        let reference = {
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push(Arrived { cl_ord_id: order.cl_ord_id, time_ns });
            arrived.len() as u64
        };
        self.tell(&Outbound::OrderAccepted(&OrderAccepted {
            timestamp_ns: U64::new(0),
            user_ref_num: order.user_ref_num,
            side: order.side,
            quantity: order.quantity,
            symbol: order.symbol,
            price: order.price,
            time_in_force: order.time_in_force,
            display: order.display,
            order_reference: U64::new(reference),
            capacity: order.capacity,
            intermarket_sweep: order.intermarket_sweep,
            cross_type: order.cross_type,
            order_state: LIVE,
            cl_ord_id: order.cl_ord_id,
        }))?;
        if order.time_in_force != IMMEDIATE {
            return Ok(());
        }
        self.tell(&Outbound::OrderCanceled(&OrderCanceled {
            timestamp_ns: U64::new(0),
            user_ref_num: order.user_ref_num,
            quantity: order.quantity,
            reason: NOT_TRADED,
        }))
    }

    /// The next message of the numbered stream.
    fn tell(&mut self, message: &Outbound<'_>) -> Result<()> {
        let mut bytes = [0; 256];
        let length = message.write(Appendage::ABSENT, &mut bytes)?;
        self.told.push(bytes[..length].to_vec());
        self.send(&Packet::SequencedData(&bytes[..length]))
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<()> {
        let mut bytes = [0; 512];
        let length = packet.write(&mut bytes)?;
        Ok(self.stream.write_all(&bytes[..length])?)
    }
}
