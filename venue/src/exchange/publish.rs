//! The exchange's market data: events as ITCH 5.0 messages, gathered into MoldUDP64 packets.
//!
//! Invariants: message numbers count up from 1 without a hole; packets leave in the order of time, no faster
//! than a line of 1 Gbit/s carries them; whoever applies the messages in order has the engine's book.

use super::order::{MarketEvent, Price, Side, SymbolId, TradingState};
use crate::session::Packet;
use std::collections::VecDeque;
use wire::itch50::{self as itch, Price4};
use wire::moldudp64::{BLOCK_LENGTH_BYTES, HEADER_BYTES, PacketWriter};
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// The largest payload that fits an Ethernet frame of 1,500 bytes.
const PAYLOAD_BYTES: usize = 1_472;
/// What one byte takes on a line of 1 Gbit/s, ns. A packet leaves when the one before it has left.
const NS_PER_BYTE: u64 = 8;
/// Headers of Ethernet, IPv4 and UDP, the preamble and the gap between frames, bytes.
const FRAME_BYTES: u64 = 66;
/// A line that was quiet for this long carries a heartbeat, ns.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// Events of the trading day that are not about one symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DayEvent {
    MessagesBegin = b'O' as isize,
    SystemHoursBegin = b'S' as isize,
    MarketHoursBegin = b'Q' as isize,
    MarketHoursEnd = b'M' as isize,
    SystemHoursEnd = b'E' as isize,
    MessagesEnd = b'C' as isize,
}

/// Writes the feed.
pub(super) struct Publisher {
    session: [u8; 10],
    /// Names by symbol. The stock locate code of a symbol is its id + 1: 0 means "no symbol".
    stocks: Vec<[u8; 8]>,
    /// 00:00 in New York is so long before the session's begin, ns.
    begin_of_day_ns: u64,
    gather_ns: u64,
    now_ns: u64,
    next_sequence: u64,
    /// Messages that wait for a packet, one after the other, and the length of each.
    gathered: Vec<u8>,
    lengths: Vec<u8>,
    gathered_since_ns: u64,
    /// When the last packet leaves, and when the line is free again.
    last_at_ns: u64,
    line_free_ns: u64,
    outbox: VecDeque<Packet>,
    /// Packets whose memory is used again.
    spare: Vec<Packet>,
}

impl Publisher {
    pub(super) fn new(
        session: [u8; 10],
        stocks: Vec<[u8; 8]>,
        begin_of_day_ns: u64,
        gather_ns: u64,
    ) -> Publisher {
        Publisher {
            session,
            stocks,
            begin_of_day_ns,
            gather_ns,
            now_ns: 0,
            next_sequence: 1,
            gathered: Vec::with_capacity(PAYLOAD_BYTES),
            lengths: Vec::new(),
            gathered_since_ns: 0,
            last_at_ns: 0,
            line_free_ns: 0,
            outbox: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// What is said from now on is said at this time. The caller lets no due time pass: see
    /// [`Publisher::due_ns`].
    pub(super) fn set_now(&mut self, now_ns: u64) {
        debug_assert!(now_ns >= self.now_ns);
        self.now_ns = now_ns;
    }

    /// The next message's number.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence + self.lengths.len() as u64
    }

    /// When something is to be sent even if nothing more happens.
    pub(super) fn due_ns(&self) -> u64 {
        if self.lengths.is_empty() {
            self.last_at_ns + HEARTBEAT_NS
        } else {
            self.gathered_since_ns + self.gather_ns
        }
    }

    /// Sends what is due.
    pub(super) fn send_due(&mut self) {
        if self.now_ns >= self.due_ns() {
            self.send();
        }
    }

    /// Sends what is gathered; without a message it is a heartbeat.
    pub(super) fn send(&mut self) {
        self.make_packet(false, |writer| writer.finish().len());
    }

    /// Sends one of the packets that say that the session is over.
    pub(super) fn send_end_of_session(&mut self) {
        debug_assert!(self.lengths.is_empty());
        self.make_packet(true, |writer| writer.end_of_session().len());
    }

    /// The oldest packet that was not taken yet takes the place of `packet`.
    pub(super) fn take(&mut self, packet: &mut Packet) -> bool {
        let Some(next) = self.outbox.pop_front() else { return false };
        self.spare.push(std::mem::replace(packet, next));
        true
    }

    fn make_packet(&mut self, closing: bool, finish: impl FnOnce(PacketWriter<'_>) -> usize) {
        let mut packet = self.spare.pop().unwrap_or_default();
        packet.payload.resize(PAYLOAD_BYTES, 0);
        let mut writer = PacketWriter::new(&mut packet.payload, self.session, self.next_sequence)
            .expect("the buffer has room for a header");
        let mut rest = &self.gathered[..];
        for &length in &self.lengths {
            let (message, behind) = rest.split_at(usize::from(length));
            writer.push(message).expect("no more is gathered than fits");
            rest = behind;
        }
        let bytes = finish(writer);
        packet.payload.truncate(bytes);
        let count = self.lengths.len() as u32;
        let at_ns = self.now_ns.max(self.line_free_ns);
        packet = Packet {
            at_ns,
            channel: 0,
            on_lines: [true; 2],
            run: 0,
            first: self.next_sequence,
            count,
            messages: count,
            closing,
            payload: packet.payload,
        };
        self.outbox.push_back(packet);
        self.last_at_ns = at_ns;
        self.line_free_ns = at_ns + (bytes as u64 + FRAME_BYTES) * NS_PER_BYTE;
        self.next_sequence += u64::from(count);
        self.gathered.clear();
        self.lengths.clear();
    }

    fn push(&mut self, message: &(impl IntoBytes + Immutable)) {
        let bytes = message.as_bytes();
        let used = HEADER_BYTES + self.gathered.len() + BLOCK_LENGTH_BYTES * (self.lengths.len() + 1);
        if used + bytes.len() > PAYLOAD_BYTES {
            self.send();
        }
        if self.lengths.is_empty() {
            self.gathered_since_ns = self.now_ns;
        }
        self.gathered.extend_from_slice(bytes);
        self.lengths.push(bytes.len() as u8);
    }

    fn time(&self) -> u64 {
        self.begin_of_day_ns + self.now_ns
    }

    pub(super) fn day_event(&mut self, event: DayEvent) {
        let head = itch::SystemEvent::head(0, 0, self.time());
        self.push(&itch::SystemEvent { head, event_code: event as u8 });
    }

    pub(super) fn directory(&mut self, symbol: SymbolId, lot: u32) {
        let message = itch::StockDirectory {
            head: itch::StockDirectory::head(locate(symbol), 0, self.time()),
            stock: self.stocks[usize::from(symbol.0)],
            market_category: b'Q',
            financial_status: b'N',
            round_lot_size: U32::new(lot),
            round_lots_only: if lot > 1 { b'Y' } else { b'N' },
            issue_classification: b'C',
            issue_sub_type: *b"Z ",
            authenticity: b'T',
            short_sale_threshold: b'N',
            ipo_flag: b'N',
            luld_tier: b'2',
            etp_flag: b'N',
            etp_leverage_factor: U32::ZERO,
            inverse_indicator: b'N',
        };
        self.push(&message);
    }

    pub(super) fn market(&mut self, event: MarketEvent) {
        let time = self.time();
        match event {
            MarketEvent::Added { reference, symbol, side, shares, price } => self.push(&itch::AddOrder {
                head: itch::AddOrder::head(locate(symbol), 0, time),
                order_reference: U64::new(reference),
                side: if side == Side::Buy { b'B' } else { b'S' },
                shares: U32::new(shares),
                stock: self.stocks[usize::from(symbol.0)],
                price: price4(price),
            }),
            MarketEvent::Executed { reference, symbol, shares, match_number } => {
                self.push(&itch::OrderExecuted {
                    head: itch::OrderExecuted::head(locate(symbol), 0, time),
                    order_reference: U64::new(reference),
                    executed_shares: U32::new(shares),
                    match_number: U64::new(match_number),
                });
            }
            MarketEvent::ExecutedAtPrice { reference, symbol, shares, match_number, price } => {
                self.push(&itch::OrderExecutedWithPrice {
                    head: itch::OrderExecutedWithPrice::head(locate(symbol), 0, time),
                    order_reference: U64::new(reference),
                    executed_shares: U32::new(shares),
                    match_number: U64::new(match_number),
                    printable: b'N',
                    execution_price: price4(price),
                });
            }
            MarketEvent::Reduced { reference, symbol, shares } => self.push(&itch::OrderCancel {
                head: itch::OrderCancel::head(locate(symbol), 0, time),
                order_reference: U64::new(reference),
                cancelled_shares: U32::new(shares),
            }),
            MarketEvent::Deleted { reference, symbol } => self.push(&itch::OrderDelete {
                head: itch::OrderDelete::head(locate(symbol), 0, time),
                order_reference: U64::new(reference),
            }),
            MarketEvent::Replaced { reference, new_reference, symbol, shares, price } => {
                self.push(&itch::OrderReplace {
                    head: itch::OrderReplace::head(locate(symbol), 0, time),
                    original_reference: U64::new(reference),
                    new_reference: U64::new(new_reference),
                    shares: U32::new(shares),
                    price: price4(price),
                });
            }
            MarketEvent::State { symbol, state } => self.push(&itch::StockTradingAction {
                head: itch::StockTradingAction::head(locate(symbol), 0, time),
                stock: self.stocks[usize::from(symbol.0)],
                trading_state: match state {
                    TradingState::PreOpen => b'Q',
                    TradingState::Open => b'T',
                    TradingState::Halted | TradingState::Closed => b'H',
                },
                reserved: b' ',
                reason: *b"    ",
            }),
        }
    }
}

fn locate(symbol: SymbolId) -> u16 {
    symbol.0 + 1
}

fn price4(price: Price) -> Price4 {
    Price4::new(price.0)
}
