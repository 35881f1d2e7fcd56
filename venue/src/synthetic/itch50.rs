//! The market spoken as ITCH 5.0 in MoldUDP64 packets.

use super::Speaker;
use super::market::{Market, MarketEvent, Match, MatchKind, Side};
use crate::session::Packet;
use rand_chacha::ChaCha8Rng;
use wire::itch50::{self as itch, Price4, alpha};
use wire::moldudp64::{BLOCK_LENGTH_BYTES, HEADER_BYTES, PacketWriter};
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// The largest payload that fits an Ethernet frame of 1,500 bytes.
const PAYLOAD_BYTES: usize = 1_472;
/// The longest message that is sent here.
const MESSAGE_BYTES_MAX: usize = itch::Trade::SIZE;
/// Messages that fit a packet whatever they are.
const PACKET_MESSAGES_MAX: u32 =
    ((PAYLOAD_BYTES - HEADER_BYTES) / (BLOCK_LENGTH_BYTES + MESSAGE_BYTES_MAX)) as u32;
/// 09:30 in New York, ns since midnight: the time of the session's first packet.
const OPEN_NS: u64 = 34_200_000_000_000;
/// One cent, in Price (4) units.
const TICK_UNITS: u32 = 100;

/// Opening messages that are not about one symbol: start of messages, of system hours, of market hours.
const OPENING_EVENTS: [u8; 3] = *b"OSQ";
/// Closing messages: end of market hours, of system hours, of messages.
const CLOSING_EVENTS: [u8; 3] = *b"MEC";
/// Opening messages about one symbol: directory, trading action, short sale restriction.
const MESSAGES_PER_SYMBOL: u64 = 3;

pub(super) struct ItchFeed {
    market: Market,
    session: [u8; 10],
    stocks: Vec<[u8; 8]>,
    /// Stock locate codes begin after the channels before.
    first_locate: u16,
    sequence: u64,
    opening_sent: u64,
    last_ns: u64,
}

impl ItchFeed {
    pub(super) fn new(seed: u64, channel: u16, symbols: u16, random: ChaCha8Rng) -> ItchFeed {
        let stock = |symbol: u16| alpha(&format!("C{channel}S{symbol}"));
        ItchFeed {
            market: Market::new(symbols, random),
            session: alpha(&format!("FP{:08X}", seed as u32)),
            stocks: (0..symbols).map(stock).collect(),
            first_locate: 1 + channel * symbols,
            sequence: 1,
            opening_sent: 0,
            last_ns: 0,
        }
    }

    fn opening_messages(&self) -> u64 {
        OPENING_EVENTS.len() as u64 + MESSAGES_PER_SYMBOL * self.stocks.len() as u64
    }

    /// Fills the packet with `count` messages, whose times lead from the last packet's to this one's.
    /// `message` writes number `at`, from 0, of time `ns`.
    fn write(
        &mut self,
        packet: &mut Packet,
        count: u32,
        mut message: impl FnMut(&mut ItchFeed, u64, &mut PacketWriter<'_>, u64),
    ) {
        packet.payload.resize(PAYLOAD_BYTES, 0);
        let mut writer = PacketWriter::new(&mut packet.payload, self.session, self.sequence)
            .expect("the buffer has room for a header");
        let (from_ns, span_ns) = (self.last_ns, packet.at_ns.saturating_sub(self.last_ns));
        for at in 0..u64::from(count) {
            let ns = from_ns + (u128::from(span_ns) * u128::from(at + 1) / u128::from(count)) as u64;
            message(self, at, &mut writer, OPEN_NS + ns);
        }
        debug_assert_eq!(u32::from(writer.count()), count);
        let bytes = writer.finish().len();
        packet.payload.truncate(bytes);
        packet.first = self.sequence;
        packet.count = count;
        packet.messages = count;
        self.sequence += u64::from(count);
        self.last_ns = packet.at_ns;
    }

    fn locate(&self, symbol: u16) -> u16 {
        self.first_locate + symbol
    }

    /// Opening message `at` of `all`: start of messages, what is listed, then the hours begin.
    fn write_opening(&self, writer: &mut PacketWriter<'_>, at: u64, all: u64, ns: u64) {
        let event = match at {
            0 => Some(OPENING_EVENTS[0]),
            at if at + 2 >= all => Some(OPENING_EVENTS[(at + 3 - all) as usize]),
            _ => None,
        };
        if let Some(event_code) = event {
            return push(writer, &system_event(event_code, ns));
        }
        let symbol = ((at - 1) / MESSAGES_PER_SYMBOL) as u16;
        let (locate, stock) = (self.locate(symbol), self.stocks[usize::from(symbol)]);
        match (at - 1) % MESSAGES_PER_SYMBOL {
            0 => push(writer, &directory(locate, stock, ns)),
            1 => push(
                writer,
                &itch::StockTradingAction {
                    head: itch::StockTradingAction::head(locate, 0, ns),
                    stock,
                    trading_state: b'T',
                    reserved: b' ',
                    reason: *b"    ",
                },
            ),
            _ => push(writer, &itch::RegSho { head: itch::RegSho::head(locate, 0, ns), stock, action: b'0' }),
        }
    }

    fn write_event(&self, writer: &mut PacketWriter<'_>, event: MarketEvent, ns: u64) {
        match event {
            MarketEvent::Add { reference, symbol, side, shares, ticks, attributed } => {
                let add = itch::AddOrder {
                    head: itch::AddOrder::head(self.locate(symbol), 0, ns),
                    order_reference: U64::new(reference),
                    side: if side == Side::Bid { b'B' } else { b'S' },
                    shares: U32::new(shares),
                    stock: self.stocks[usize::from(symbol)],
                    price: price(ticks),
                };
                if attributed {
                    push(writer, &attribute(&add, ns));
                } else {
                    push(writer, &add);
                }
            }
            MarketEvent::Reduce { reference, symbol, shares } => {
                let head = itch::OrderCancel::head(self.locate(symbol), 0, ns);
                let (order_reference, cancelled_shares) = (U64::new(reference), U32::new(shares));
                push(writer, &itch::OrderCancel { head, order_reference, cancelled_shares });
            }
            MarketEvent::Remove { reference, symbol } => {
                let head = itch::OrderDelete::head(self.locate(symbol), 0, ns);
                push(writer, &itch::OrderDelete { head, order_reference: U64::new(reference) });
            }
            MarketEvent::Replace { reference, new_reference, symbol, shares, ticks } => {
                let replace = itch::OrderReplace {
                    head: itch::OrderReplace::head(self.locate(symbol), 0, ns),
                    original_reference: U64::new(reference),
                    new_reference: U64::new(new_reference),
                    shares: U32::new(shares),
                    price: price(ticks),
                };
                push(writer, &replace);
            }
            MarketEvent::Match(matched) => self.write_match(writer, &matched, ns),
        }
    }

    fn write_match(&self, writer: &mut PacketWriter<'_>, matched: &Match, ns: u64) {
        let &Match { symbol, shares, number, kind } = matched;
        let (locate, match_number) = (self.locate(symbol), U64::new(number));
        match kind {
            MatchKind::Execution { reference } => {
                let head = itch::OrderExecuted::head(locate, 0, ns);
                let (order_reference, executed_shares) = (U64::new(reference), U32::new(shares));
                push(writer, &itch::OrderExecuted { head, order_reference, executed_shares, match_number });
            }
            MatchKind::ExecutionAtPrice { reference, ticks, printable } => {
                let executed = itch::OrderExecutedWithPrice {
                    head: itch::OrderExecutedWithPrice::head(locate, 0, ns),
                    order_reference: U64::new(reference),
                    executed_shares: U32::new(shares),
                    match_number,
                    printable: if printable { b'Y' } else { b'N' },
                    execution_price: price(ticks),
                };
                push(writer, &executed);
            }
            MatchKind::Hidden { ticks } => {
                let trade = itch::Trade {
                    head: itch::Trade::head(locate, 0, ns),
                    order_reference: U64::ZERO,
                    side: b'B',
                    shares: U32::new(shares),
                    stock: self.stocks[usize::from(symbol)],
                    price: price(ticks),
                    match_number,
                };
                push(writer, &trade);
            }
            MatchKind::Broken => {
                let head = itch::BrokenTrade::head(locate, 0, ns);
                push(writer, &itch::BrokenTrade { head, match_number });
            }
        }
    }
}

impl Speaker for ItchFeed {
    fn fixed_messages(&self) -> u64 {
        self.opening_messages() + CLOSING_EVENTS.len() as u64
    }

    fn open(&mut self, packet: &mut Packet) -> bool {
        let (begin, all) = (self.opening_sent, self.opening_messages());
        let end = all.min(begin + u64::from(PACKET_MESSAGES_MAX));
        self.write(packet, (end - begin) as u32, |feed, at, writer, ns| {
            feed.write_opening(writer, begin + at, all, ns);
        });
        self.opening_sent = end;
        end == all
    }

    fn trade(&mut self, packet: &mut Packet, wanted: u32) {
        self.write(packet, wanted.min(PACKET_MESSAGES_MAX), |feed, _, writer, ns| {
            let event = feed.market.step();
            feed.write_event(writer, event, ns);
        });
    }

    fn close(&mut self, packet: &mut Packet) {
        self.write(packet, CLOSING_EVENTS.len() as u32, |_, at, writer, ns| {
            push(writer, &system_event(CLOSING_EVENTS[at as usize], ns));
        });
    }

    fn heartbeat(&mut self, packet: &mut Packet) {
        self.write(packet, 0, |_, _, _, _| {});
    }

    fn closed(&mut self, packet: &mut Packet) {
        self.heartbeat(packet);
        let writer = PacketWriter::new(&mut packet.payload, self.session, self.sequence);
        let bytes = writer.expect("a heartbeat has room for a header").end_of_session().len();
        packet.payload.truncate(bytes);
    }
}

fn system_event(event_code: u8, ns: u64) -> itch::SystemEvent {
    itch::SystemEvent { head: itch::SystemEvent::head(0, 0, ns), event_code }
}

fn price(ticks: u32) -> Price4 {
    Price4::new(ticks * TICK_UNITS)
}

fn push(writer: &mut PacketWriter<'_>, message: &(impl IntoBytes + Immutable)) {
    writer.push(message.as_bytes()).expect("no more messages are asked for than fit");
}

fn attribute(add: &itch::AddOrder, ns: u64) -> itch::AddOrderMpid {
    let &itch::AddOrder { head, order_reference, side, shares, stock, price } = add;
    itch::AddOrderMpid {
        head: itch::AddOrderMpid::head(head.stock_locate.get(), 0, ns),
        order_reference,
        side,
        shares,
        stock,
        price,
        attribution: *b"FEED",
    }
}

fn directory(locate: u16, stock: [u8; 8], ns: u64) -> itch::StockDirectory {
    itch::StockDirectory {
        head: itch::StockDirectory::head(locate, 0, ns),
        stock,
        market_category: b'Q',
        financial_status: b'N',
        round_lot_size: U32::new(100),
        round_lots_only: b'N',
        issue_classification: b'C',
        issue_sub_type: *b"Z ",
        authenticity: b'T',
        short_sale_threshold: b'N',
        ipo_flag: b'N',
        luld_tier: b'2',
        etp_flag: b'N',
        etp_leverage_factor: U32::ZERO,
        inverse_indicator: b'N',
    }
}
