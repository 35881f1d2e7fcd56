//! Nasdaq TotalView-ITCH 5.0 over MoldUDP64, as ticks.
//!
//! No order table is kept: a tick says what its message says, and the book, which has the orders, knows the
//! rest. The mapping is Databento's (dataset `XNAS.ITCH`, schema MBO), which fills in from its own order
//! table what the wire does not carry:
//!
//! | message | ticks |
//! |---|---|
//! | `A` `F` add | `Add` |
//! | `E` executed | `Trade` without order, side and price; `Fill` of the order; `Cancel` of the same shares |
//! | `C` executed with price | the same three with the price; without the `Trade` when not printable |
//! | `X` cancel | `Cancel` of the shares taken off |
//! | `D` delete | `Cancel` of [`Tick::SIZE_UNDEFINED`]: all that is left |
//! | `U` replace | `Cancel` of the old order as for `D`; `Add` of the new one, side [`Side::None`]: it has the side of the order cancelled by the tick before it |
//! | `P` trade, `Q` cross | `Trade`, side unknown; nothing for a cross of 0 shares |
//! | `I` imbalance | `None`: reference price, imbalance shares, side of the imbalance, `order_id` the venue's codes |
//! | `H` `h` `Y` `S` `W` | `Status`: `size` is a [`StatusAction`], `order_id` holds the venue's codes |
//! | `R` directory | an instrument |
//! | `B` `J` `K` `L` `N` `O` `V` | nothing |
//!
//! A `Trade` or `Fill` does not change the book; the `Cancel` behind it does. The ticks of one message have
//! its sequence number, follow each other, and the last has `LAST`. `ts_in_delta` counts from `ts_event`:
//! MoldUDP64 carries no send time.
//!
//! The venue's codes in an `order_id` are ASCII, first byte lowest: the message type, then `H` trading state
//! and reason (4), `h` action and market, `Y` action, `S` event, `W` level, `I` direction, cross type and
//! price variation. `H` and `h` hold independently: a security trades where neither stops it.
//!
//! Invariant: every message of a delivery is counted under its type or reported as malformed.

mod trading_day;

use crate::{Delivery, Header, Malformed, MalformedReason, PacketKind, Protocol, Sink};
use tick::{Action, Flags, Instrument, InstrumentKind, Price, Side, StatusAction, Tick};
use trading_day::TradingDay;
use wire::itch50::{
    AddOrder, AddOrderMpid, Head, Message, MessageError, NetOrderImbalance, OrderCancel, OrderDelete,
    OrderExecuted, OrderReplace, Price4, StockDirectory,
};
use wire::moldudp64::{FrameError, Kind, Messages, Packet};

/// Offset of the sequence number in a MoldUDP64 header.
const SEQUENCE_OFFSET: u32 = 10;

/// The decoder of one channel.
#[derive(Clone, Debug)]
pub struct Itch50 {
    publisher_id: u16,
    channel_id: u16,
    day: TradingDay,
    counts: [u64; 256],
}

impl Itch50 {
    /// A decoder whose ticks carry these ids.
    pub fn new(publisher_id: u16, channel_id: u16) -> Itch50 {
        Itch50 { publisher_id, channel_id, day: TradingDay::UNKNOWN, counts: [0; 256] }
    }

    /// What all ticks of a delivery have in common.
    fn template(&self, delivery: &Delivery<'_>) -> Tick {
        Tick {
            ts_recv: delivery.stamp.recv_ns,
            publisher_id: self.publisher_id,
            channel_id: self.channel_id,
            flags: delivery.flags,
            source: delivery.source,
            clock: delivery.stamp.clock,
            ..Tick::EMPTY
        }
    }
}

impl Protocol for Itch50 {
    const SEQUENCE_BITS: u32 = 64;

    #[inline]
    fn header(&self, payload: &[u8]) -> Result<Header, Malformed> {
        let packet = Packet::parse(payload).map_err(malformed_frame)?;
        let (kind, count) = match packet.kind() {
            Kind::Data(count) => (PacketKind::Data, u32::from(count)),
            Kind::Heartbeat => (PacketKind::Heartbeat, 0),
            Kind::EndOfSession => (PacketKind::EndOfSession, 0),
        };
        let mut session = [0; 16];
        session[6..].copy_from_slice(&packet.session());
        Ok(Header {
            session: u128::from_be_bytes(session),
            first: packet.sequence(),
            count,
            send_ns: 0,
            kind,
            reset: false,
        })
    }

    #[inline]
    fn decode(
        &mut self,
        delivery: &Delivery<'_>,
        sink: &mut impl Sink,
        malformed: &mut impl FnMut(Malformed),
    ) {
        if !self.day.contains(delivery.stamp.recv_ns) {
            self.day = TradingDay::of(delivery.stamp.recv_ns);
        }
        let template = self.template(delivery);
        let mut messages = Messages::of(delivery.payload);
        let mut sequence = delivery.sequence.wrapping_add(u64::from(delivery.skip));
        for _ in 0..delivery.skip {
            if messages.next().is_none() {
                return;
            }
        }
        for _ in 0..delivery.take {
            let Some(bytes) = messages.next() else { return };
            match (Event { template: &template, day: &self.day, sequence, sink }).publish(bytes) {
                Ok(()) => self.counts[usize::from(bytes[0])] += 1,
                Err(reason) => {
                    let offset = (messages.offset() - bytes.len()) as u32;
                    malformed(Malformed { reason, offset });
                }
            }
            sequence = sequence.wrapping_add(1);
        }
    }

    /// Nothing to forget: no message changes the meaning of a later one here.
    fn reset(&mut self) {}

    fn message_counts(&self, visit: &mut dyn FnMut(&str, u64)) {
        for &(letter, _) in Message::TYPES {
            let count = self.counts[usize::from(letter)];
            if count != 0 {
                visit(char::from(letter).encode_utf8(&mut [0; 4]), count);
            }
        }
    }
}

/// One message on its way to the sink, and what its ticks are made from.
struct Event<'a, S> {
    template: &'a Tick,
    day: &'a TradingDay,
    sequence: u64,
    sink: &'a mut S,
}

impl<S: Sink> Event<'_, S> {
    /// Gives the message's ticks to the sink: all of them, or none and the reason.
    ///
    /// The types that make nearly all of a day are told apart here, by one jump; a match over [`Message`]
    /// would be a second one, as hard to predict.
    #[inline]
    fn publish(&mut self, bytes: &[u8]) -> Result<(), MalformedReason> {
        match bytes.first() {
            Some(&(AddOrder::TYPE | AddOrderMpid::TYPE)) => {
                let add = AddOrder::read_either(bytes)?;
                let side = order_side(add.side)?;
                let (order, shares) = (add.order_reference.get(), add.shares.get());
                self.add(self.tick(&add.head), order, side, shares, add.price);
            }
            Some(&OrderDelete::TYPE) => {
                let delete = OrderDelete::read(bytes)?;
                self.last(cancel_all(self.tick(&delete.head), delete.order_reference.get()));
            }
            Some(&OrderReplace::TYPE) => {
                let replace = OrderReplace::read(bytes)?;
                let tick = self.tick(&replace.head);
                self.sink.tick(&cancel_all(tick, replace.original_reference.get()));
                let (order, shares) = (replace.new_reference.get(), replace.shares.get());
                self.add(tick, order, Side::None, shares, replace.price);
            }
            Some(&OrderExecuted::TYPE) => {
                let executed = OrderExecuted::read(bytes)?;
                let tick = self.tick(&executed.head);
                let (order, shares) = (executed.order_reference.get(), executed.executed_shares.get());
                self.execution(tick, order, shares, true);
            }
            Some(&OrderCancel::TYPE) => {
                let cancel = OrderCancel::read(bytes)?;
                self.last(Tick {
                    order_id: cancel.order_reference.get(),
                    size: cancel.cancelled_shares.get(),
                    action: Action::Cancel,
                    ..self.tick(&cancel.head)
                });
            }
            _ => return self.publish_rare(Message::parse(bytes)?),
        }
        Ok(())
    }

    /// The types of which a day has few.
    #[inline(never)]
    fn publish_rare(&mut self, message: Message<'_>) -> Result<(), MalformedReason> {
        let tick = self.tick(message.head());
        match message {
            Message::OrderExecutedWithPrice(executed) => {
                let tick = Tick { price: executed.execution_price.nanos(), ..tick };
                let (order, shares) = (executed.order_reference.get(), executed.executed_shares.get());
                self.execution(tick, order, shares, executed.printable != b'N');
            }
            Message::Trade(trade) => self.trade(tick, trade.shares.get(), trade.price),
            Message::CrossTrade(cross) => match quantity(cross.shares.get())? {
                0 => {}
                shares => self.trade(tick, shares, cross.cross_price),
            },
            Message::StockDirectory(directory) => self.sink.instrument(&instrument(directory, &tick)),
            Message::NetOrderImbalance(imbalance) => self.imbalance(tick, imbalance)?,
            Message::StockTradingAction(action) => {
                let [a, b, c, d] = action.reason;
                let state = trading_state(action.trading_state);
                self.status(tick, state, [b'H', action.trading_state, a, b, c, d, 0, 0]);
            }
            Message::OperationalHalt(halt) => {
                let state = trading_state(halt.action);
                self.status(tick, state, [b'h', halt.action, halt.market_code, 0, 0, 0, 0, 0]);
            }
            Message::RegSho(restriction) => {
                self.status(tick, StatusAction::SsrChange, [b'Y', restriction.action, 0, 0, 0, 0, 0, 0]);
            }
            Message::SystemEvent(event) => {
                let state = market_state(event.event_code);
                self.status(tick, state, [b'S', event.event_code, 0, 0, 0, 0, 0, 0]);
            }
            Message::MwcbStatus(breach) => {
                self.status(tick, StatusAction::Halt, [b'W', breach.breached_level, 0, 0, 0, 0, 0, 0]);
            }
            _ => {}
        }
        Ok(())
    }

    /// What all ticks of the message have in common.
    #[inline]
    fn tick(&self, head: &Head) -> Tick {
        let ts_event = self.day.event_ns(head.timestamp.ns(), self.template.ts_recv);
        Tick {
            ts_event,
            sequence: self.sequence,
            instrument_id: u32::from(head.stock_locate.get()),
            ts_in_delta: Tick::in_delta(self.template.ts_recv, ts_event),
            ..*self.template
        }
    }

    #[inline]
    fn add(&mut self, tick: Tick, order_id: u64, side: Side, size: u32, price: Price4) {
        self.last(Tick { order_id, price: price.nanos(), size, action: Action::Add, side, ..tick });
    }

    /// An execution at the tick's price.
    #[inline]
    fn execution(&mut self, tick: Tick, order_id: u64, size: u32, printable: bool) {
        if printable {
            self.sink.tick(&Tick { size, action: Action::Trade, ..tick });
        }
        self.sink.tick(&Tick { order_id, size, action: Action::Fill, ..tick });
        self.last(Tick { order_id, size, price: Price::UNDEFINED.0, action: Action::Cancel, ..tick });
    }

    fn trade(&mut self, tick: Tick, size: u32, price: Price4) {
        self.last(Tick { price: price.nanos(), size, action: Action::Trade, ..tick });
    }

    fn imbalance(&mut self, tick: Tick, imbalance: &NetOrderImbalance) -> Result<(), MalformedReason> {
        let (direction, cross) = (imbalance.imbalance_direction, imbalance.cross_type);
        let price = match imbalance.reference_price.nanos() {
            0 => Price::UNDEFINED.0,
            nanos => nanos,
        };
        self.last(Tick {
            order_id: u64::from_le_bytes([b'I', direction, cross, imbalance.price_variation, 0, 0, 0, 0]),
            price,
            size: quantity(imbalance.imbalance_shares.get())?,
            side: order_side(direction).unwrap_or(Side::None),
            ..tick
        });
        Ok(())
    }

    fn status(&mut self, tick: Tick, state: StatusAction, codes: [u8; 8]) {
        let (order_id, size) = (u64::from_le_bytes(codes), u32::from(state.0));
        self.last(Tick { order_id, size, action: Action::Status, ..tick });
    }

    #[inline]
    fn last(&mut self, tick: Tick) {
        self.sink.tick(&Tick { flags: tick.flags | Flags::LAST, ..tick });
    }
}

#[inline]
fn cancel_all(tick: Tick, order_id: u64) -> Tick {
    Tick { order_id, size: Tick::SIZE_UNDEFINED, action: Action::Cancel, ..tick }
}

fn instrument(directory: &StockDirectory, tick: &Tick) -> Instrument {
    let mut instrument = Instrument::new(tick.publisher_id, tick.channel_id, tick.instrument_id);
    instrument.kind = InstrumentKind::Equity;
    instrument.lot_size = directory.round_lot_size.get();
    instrument.set_symbol(&directory.stock);
    instrument
}

#[inline]
fn order_side(letter: u8) -> Result<Side, MalformedReason> {
    match letter {
        b'B' => Ok(Side::Bid),
        b'S' => Ok(Side::Ask),
        _ => Err(MalformedReason::BadValue),
    }
}

/// The state of a security, or of its market's service for it.
fn trading_state(letter: u8) -> StatusAction {
    match letter {
        b'H' => StatusAction::Halt,
        b'P' => StatusAction::Pause,
        b'Q' => StatusAction::Quoting,
        b'T' => StatusAction::Trading,
        _ => StatusAction::None,
    }
}

/// The state that an event of the day puts the whole market in.
fn market_state(event_code: u8) -> StatusAction {
    match event_code {
        b'S' => StatusAction::PreOpen,
        b'Q' => StatusAction::Trading,
        b'M' => StatusAction::PostClose,
        b'E' => StatusAction::Close,
        b'C' => StatusAction::NotAvailableForTrading,
        _ => StatusAction::None,
    }
}

/// A tick's size is narrower than the two 64-bit quantities of ITCH.
#[inline]
fn quantity(shares: u64) -> Result<u32, MalformedReason> {
    u32::try_from(shares).ok().filter(|&size| size != Tick::SIZE_UNDEFINED).ok_or(MalformedReason::BadValue)
}

#[cold]
fn malformed_frame(error: FrameError) -> Malformed {
    let (reason, offset) = match error {
        FrameError::ShortHeader => (MalformedReason::ShortHeader, 0),
        FrameError::BlockPastEnd { offset } => (MalformedReason::BadLength, offset),
        FrameError::TrailingBytes { offset } => (MalformedReason::TrailingBytes, offset),
        FrameError::SequenceOverflow => (MalformedReason::BadValue, SEQUENCE_OFFSET),
    };
    Malformed { reason, offset }
}

impl From<MessageError> for MalformedReason {
    #[cold]
    fn from(error: MessageError) -> MalformedReason {
        match error {
            MessageError::Empty => MalformedReason::BadLength,
            MessageError::UnknownType(_) => MalformedReason::UnknownMessage,
            MessageError::WrongSize { .. } => MalformedReason::WrongSize,
        }
    }
}
