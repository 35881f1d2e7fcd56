//! Background orders out of an ITCH 5.0 file: what others once did, played again through the matching engine.
//!
//! The file is a capture (MoldUDP64 in pcap or pcapng) or Nasdaq's own framing (a length before each message); either
//! may be compressed with gzip. `A` and `F` enter an order of the background, `E` and `C` are an order of the other side
//! that takes as many shares at that price, `X`, `D` and `U` cancel and replace. So a participant's order that stands
//! in front takes part, and the book departs from the file from then on:
//!
//! - what the taker of an `E` finds in front is executed first; what it finds no more of is not executed;
//! - when the file has executed an order wholly, what is still left of it here is cancelled;
//! - what is said of an order that has traded away here changes nothing, and is counted.
//!
//! Invariant: `orders` holds the orders that live in the file, whether they still live here or not.

use crate::capture::{Capture, CaptureErrorKind};
use crate::exchange::{
    Exchange, Listing, NewOrder, OrderKind, Owner, Price, RejectReason, Replacement, Side, SymbolId,
    SymbolSpec,
};
use crate::frame;
use crate::session::SourceError;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use wire::itch50::{AddOrder, Message};
use wire::moldudp64::{Kind, Packet as MoldPacket};

/// Orders of the file that may live at a time, as many as the exchange has room for by default.
const ORDERS_MAX: usize = 4_000_000;
/// Symbols that a file may have: the stock locate code has 16 bits.
const SYMBOLS_MAX: usize = 65_535;

/// What was made of the file until now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackgroundCounts {
    /// Messages that were read.
    pub messages: u64,
    /// Messages of sequence numbers that came before, as on the second line: passed over.
    pub repeated: u64,
    /// Sequence numbers that the capture does not have, or too late.
    pub missing: u64,
    /// Packets and messages that cannot be read.
    pub malformed: u64,
    /// Messages that are not about an order on the book.
    pub other: u64,
    /// Orders that were entered.
    pub entered: u64,
    /// Executions of the file that were played as an order of the other side.
    pub executions: u64,
    /// Cancels of a part or of all that were played.
    pub cancelled: u64,
    /// Replacements that were played.
    pub replaced: u64,
    /// Messages about an order that the file had not added, as at the begin of a file of the middle of a day.
    pub unknown: u64,
    /// Messages about an order that had traded away here, or was refused.
    pub gone: u64,
    /// Orders that the file had executed wholly while something was left of them here; that was cancelled.
    pub left_over: u64,
    /// Orders that the exchange refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Whether the file was played to its end.
    pub done: bool,
    /// Why the file ended before its end, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a file cannot be the background.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ReadError,
    },
    /// There is nothing to be played.
    #[error("{0}: no order of ITCH 5.0 is in it: name a capture of MoldUDP64, or a file of Nasdaq's")]
    NoOrders(PathBuf),
    /// More symbols than can be numbered.
    #[error("{0}: it has more than {SYMBOLS_MAX} symbols")]
    TooManySymbols(PathBuf),
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The capture.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nasdaq's framing.
    #[error("the file ends inside the message at byte {0} (decompressed)")]
    Cut(u64),
}

#[derive(Clone, Copy)]
struct FileOrder {
    symbol: SymbolId,
    side: Side,
    price: Price,
    /// Open shares in the file.
    open: u32,
    /// The exchange's name for it; `None`: it was refused, or has traded away.
    reference: Option<u64>,
}

/// A file being played.
pub struct Background {
    messages: Messages,
    symbols: HashMap<[u8; 8], SymbolId>,
    orders: HashMap<u64, FileOrder>,
    /// The message that comes next, and when, ns since the session's begin.
    next: Option<(u64, Vec<u8>)>,
    /// When the first order comes, ns since the session's begin.
    begin_ns: u64,
    /// The file's time of it.
    first_ns: Option<u64>,
    counts: BackgroundCounts,
}

impl Background {
    /// Looks through a file for what it trades: a listing for each symbol, in the order of their first orders. Ticks
    /// are one cent where all prices are, else 0.0001.
    ///
    /// # Errors
    /// The file cannot be read, or has no order. Damage is none: what is before it can be played.
    pub fn listings(path: &Path) -> Result<Vec<Listing>, BackgroundError> {
        let mut messages = Messages::open(path)?;
        let mut found: HashMap<[u8; 8], usize> = HashMap::new();
        let mut listings: Vec<Listing> = Vec::new();
        let (mut message, mut counts) = (Vec::new(), BackgroundCounts::default());
        while let Ok(true) = messages.next(&mut message, &mut counts) {
            let Ok(order) = AddOrder::read_either(&message) else { continue };
            let price = Price(order.price.units());
            let at = *found.entry(order.stock).or_insert_with(|| {
                let name = String::from_utf8_lossy(order.stock.trim_ascii()).into_owned();
                listings.push(Listing { spec: SymbolSpec::new(&name), reference: price, activity: 1.0 });
                listings.len() - 1
            });
            if !price.0.is_multiple_of(100) {
                listings[at].spec.tick = Price(1);
            }
        }
        match listings.len() {
            0 => Err(BackgroundError::NoOrders(path.to_owned())),
            1..=SYMBOLS_MAX => Ok(listings),
            _ => Err(BackgroundError::TooManySymbols(path.to_owned())),
        }
    }

    /// Plays a file on an exchange with these listings. The first order comes at `begin_ns` after the session's begin,
    /// at the open or later; the others as long after it as in the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path, listings: &[Listing], begin_ns: u64) -> Result<Background, BackgroundError> {
        let symbols = listings.iter().zip(0..).map(|(listing, at)| (listing.spec.stock(), SymbolId(at)));
        let mut background = Background {
            messages: Messages::open(path)?,
            symbols: symbols.collect(),
            orders: HashMap::new(),
            next: None,
            begin_ns,
            first_ns: None,
            counts: BackgroundCounts::default(),
        };
        background.read_next(Vec::new());
        Ok(background)
    }

    /// When the next message is due, ns since the session's begin; `None`: the file is over.
    pub fn next_ns(&self) -> Option<u64> {
        self.next.as_ref().map(|(at_ns, _)| *at_ns)
    }

    /// What was made of the file until now.
    pub fn counts(&self) -> &BackgroundCounts {
        &self.counts
    }

    /// Plays all that is due until then, that moment included.
    pub fn play(&mut self, to_ns: u64, exchange: &mut Exchange) {
        while let Some((at_ns, message)) = self.next.take_if(|(at_ns, _)| *at_ns <= to_ns) {
            if let Ok(add) = AddOrder::read_either(&message) {
                self.add(at_ns, add, exchange);
            } else if let Ok(message) = Message::parse(&message) {
                self.change(at_ns, &message, exchange);
            }
            self.read_next(message);
        }
    }

    /// Reads ahead to the next message that changes a book.
    fn read_next(&mut self, mut message: Vec<u8>) {
        loop {
            match self.messages.next(&mut message, &mut self.counts) {
                Ok(true) => {}
                Ok(false) => break self.counts.done = true,
                Err(error) => break self.counts.error = Some(error.to_string()),
            }
            self.counts.messages += 1;
            let parsed = match Message::parse(&message) {
                Ok(parsed) => parsed,
                Err(_) => {
                    self.counts.malformed += 1;
                    continue;
                }
            };
            if !matches!(
                parsed,
                Message::AddOrder(_)
                    | Message::AddOrderMpid(_)
                    | Message::OrderExecuted(_)
                    | Message::OrderExecutedWithPrice(_)
                    | Message::OrderCancel(_)
                    | Message::OrderDelete(_)
                    | Message::OrderReplace(_)
            ) {
                self.counts.other += 1;
                continue;
            }
            let time_ns = parsed.head().timestamp.ns();
            let first_ns = *self.first_ns.get_or_insert(time_ns);
            let at_ns = self.begin_ns + time_ns.saturating_sub(first_ns);
            return self.next = Some((at_ns, message));
        }
        self.next = None;
    }

    fn change(&mut self, at_ns: u64, message: &Message<'_>, exchange: &mut Exchange) {
        match message {
            Message::OrderExecuted(executed) => {
                self.execute(at_ns, executed.order_reference.get(), executed.executed_shares.get(), exchange);
            }
            Message::OrderExecutedWithPrice(executed) => {
                self.execute(at_ns, executed.order_reference.get(), executed.executed_shares.get(), exchange);
            }
            Message::OrderCancel(cancel) => {
                self.reduce(at_ns, cancel.order_reference.get(), cancel.cancelled_shares.get(), exchange);
            }
            Message::OrderDelete(delete) => {
                self.reduce(at_ns, delete.order_reference.get(), u32::MAX, exchange);
            }
            Message::OrderReplace(replace) => {
                let (old, new) = (replace.original_reference.get(), replace.new_reference.get());
                self.replace(at_ns, (old, new), replace.shares.get(), Price(replace.price.units()), exchange);
            }
            _ => {}
        }
    }

    fn refuse(&mut self, reason: RejectReason) {
        *self.counts.refused.entry(reason.to_string()).or_default() += 1;
    }

    fn remember(&mut self, name: u64, order: FileOrder) {
        if self.orders.len() < ORDERS_MAX {
            self.orders.insert(name, order);
        }
    }

    fn add(&mut self, at_ns: u64, add: &AddOrder, exchange: &mut Exchange) {
        let Some(&symbol) = self.symbols.get(&add.stock) else {
            return self.refuse(RejectReason::UnknownSymbol);
        };
        let side = if add.side == b'B' { Side::Buy } else { Side::Sell };
        let (shares, price) = (add.shares.get(), Price(add.price.units()));
        let order = NewOrder {
            owner: Owner::Background,
            token: 0,
            symbol,
            side,
            shares,
            kind: OrderKind::Day(price),
        };
        let placed = exchange.enter(at_ns, &order);
        match placed {
            Ok(_) => self.counts.entered += 1,
            Err(reason) => self.refuse(reason),
        }
        let reference = placed.ok().filter(|placed| placed.resting > 0).map(|placed| placed.reference);
        let order = FileOrder { symbol, side, price, open: shares, reference };
        self.remember(add.order_reference.get(), order);
    }

    /// Somebody took shares of an order.
    fn execute(&mut self, at_ns: u64, name: u64, shares: u32, exchange: &mut Exchange) {
        let Some(order) = self.orders.get_mut(&name) else { return self.counts.unknown += 1 };
        order.open = order.open.saturating_sub(shares);
        let order = *order;
        let FileOrder { symbol, side, price, .. } = order;
        let taker = NewOrder {
            owner: Owner::Background,
            token: 0,
            symbol,
            side: side.opposite(),
            shares,
            kind: OrderKind::Ioc(price),
        };
        match exchange.enter(at_ns, &taker) {
            Ok(_) => self.counts.executions += 1,
            Err(reason) => self.refuse(reason),
        }
        if order.open == 0 {
            self.orders.remove(&name);
            let left =
                order.reference.map(|reference| exchange.cancel(at_ns, Owner::Background, reference, 0));
            self.counts.left_over += u64::from(matches!(left, Some(Ok(_))));
        }
    }

    /// So many shares of an order were cancelled, or all that there are.
    fn reduce(&mut self, at_ns: u64, name: u64, shares: u32, exchange: &mut Exchange) {
        let Some(order) = self.orders.get_mut(&name) else { return self.counts.unknown += 1 };
        order.open = order.open.saturating_sub(shares);
        let order = *order;
        if order.open == 0 {
            self.orders.remove(&name);
        }
        exchange.advance(at_ns);
        let open =
            order.reference.and_then(|reference| exchange.engine().order(reference)).map(|order| order.open);
        let (Some(reference), Some(open)) = (order.reference, open) else { return self.counts.gone += 1 };
        // Here it may have fewer shares than in the file, or more.
        let leave = if order.open == 0 { 0 } else { open.saturating_sub(shares) };
        match exchange.cancel(at_ns, Owner::Background, reference, leave) {
            Ok(_) => self.counts.cancelled += 1,
            Err(reason) => self.refuse(reason),
        }
    }

    fn replace(
        &mut self,
        at_ns: u64,
        (old, new): (u64, u64),
        shares: u32,
        price: Price,
        exchange: &mut Exchange,
    ) {
        let Some(order) = self.orders.remove(&old) else { return self.counts.unknown += 1 };
        exchange.advance(at_ns);
        let living = order.reference.filter(|&reference| exchange.engine().order(reference).is_some());
        let mut now = FileOrder { price, open: shares, reference: None, ..order };
        match living {
            None => self.counts.gone += 1,
            Some(reference) => {
                let wanted = Replacement { owner: Owner::Background, reference, token: 0, shares, price };
                match exchange.replace(at_ns, &wanted) {
                    Ok(placed) => {
                        self.counts.replaced += 1;
                        now.reference = Some(placed.reference).filter(|_| placed.resting > 0);
                    }
                    Err(reason) => {
                        self.refuse(reason);
                        let _ = exchange.cancel(at_ns, Owner::Background, reference, 0);
                    }
                }
            }
        }
        self.remember(new, now);
    }
}

/// The file's ITCH messages, first to last.
enum Messages {
    Capture { capture: Box<Capture>, next: HashMap<[u8; 10], u64>, pending: VecDeque<Vec<u8>> },
    File { source: BufReader<Box<dyn Read + Send>>, offset: u64 },
}

impl Messages {
    fn open(path: &Path) -> Result<Messages, BackgroundError> {
        let fail = |error: ReadError| BackgroundError::Read { path: path.to_owned(), error };
        match Capture::open(path) {
            Ok(capture) => Ok(Messages::Capture {
                capture: Box::new(capture),
                next: HashMap::new(),
                pending: VecDeque::new(),
            }),
            Err(error) if matches!(error.kind, CaptureErrorKind::UnknownFormat) => {
                let mut file = BufReader::new(File::open(path).map_err(|error| fail(error.into()))?);
                let zipped = file.fill_buf().map_err(|error| fail(error.into()))?.starts_with(&[0x1F, 0x8B]);
                let source: Box<dyn Read + Send> =
                    if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
                Ok(Messages::File { source: BufReader::new(source), offset: 0 })
            }
            Err(error) => Err(fail(SourceError::from(error).into())),
        }
    }

    /// Overwrites `message` with the next; false at the end.
    fn next(&mut self, message: &mut Vec<u8>, counts: &mut BackgroundCounts) -> Result<bool, ReadError> {
        match self {
            Messages::Capture { capture, next, pending } => loop {
                if let Some(first) = pending.pop_front() {
                    *message = first;
                    return Ok(true);
                }
                let Some(record) = capture.next_record().map_err(SourceError::from)? else {
                    return Ok(false);
                };
                let Ok(datagram) = frame::parse(record.link, record.frame) else { continue };
                match MoldPacket::parse(datagram.payload) {
                    Ok(packet) => queue_new(&packet, next, pending, counts),
                    Err(_) => counts.malformed += 1,
                }
            },
            Messages::File { source, offset } => {
                let mut length = [0; 2];
                match source.read_exact(&mut length) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        // What is left may be half a length.
                        return Ok(false);
                    }
                    Err(error) => return Err(error.into()),
                }
                message.resize(usize::from(u16::from_be_bytes(length)), 0);
                source.read_exact(message).map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => ReadError::Cut(*offset),
                    _ => error.into(),
                })?;
                *offset += 2 + message.len() as u64;
                Ok(!message.is_empty())
            }
        }
    }
}

/// Queues those messages of a packet that no packet of its session had before.
fn queue_new(
    packet: &MoldPacket<'_>,
    next: &mut HashMap<[u8; 10], u64>,
    pending: &mut VecDeque<Vec<u8>>,
    counts: &mut BackgroundCounts,
) {
    let Kind::Data(_) = packet.kind() else { return };
    let next = next.entry(packet.session()).or_insert(packet.sequence());
    for (sequence, message) in (packet.sequence()..).zip(packet.messages()) {
        if sequence < *next {
            counts.repeated += 1;
            continue;
        }
        counts.missing += sequence - *next;
        *next = sequence + 1;
        pending.push_back(message.to_vec());
    }
}
