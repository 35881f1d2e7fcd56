//! A line: the connection to one session at a venue. It turns commands into wire messages and what the venue says
//! into events, and knows nothing of instructions that were not sent, limits, journals or Redis.
//!
//! ```text
//!            assign ─► journal, fsync ─► send ──► wire
//!  session ┤
//!            ◄── events (one channel, in the venue's order): Up, Told …, CaughtUp, Wire …, Down
//! ```
//!
//! A line connects, logs on, keeps the session alive and connects again by itself, with back-off. After every
//! logon it tells what the venue said meanwhile, then [`Event::CaughtUp`]. The session then asks for the orders
//! whose fate is open ([`Line::settle`]), and sends new ones only when none is left.
//!
//! Invariant: a line sends an order once, when it is told to, on the connection that is there at that moment. It
//! never keeps an order to send later; what cannot be sent now is an error.

use bus::config::ReconnectSection;
use bus::{OrderAction, OrderId, OrderSide, Quantity, TimeInForce};
use std::path::PathBuf;
use std::sync::Arc;
use tick::Price;

/// What the wire calls an order besides its id: OUCH's UserRefNum, rising and never used twice in a day. 0 where the
/// protocol names orders by their client order id alone.
pub type WireRef = u32;

/// A message to be sent for an instruction.
#[derive(Clone, PartialEq, Debug)]
pub struct Outgoing {
    /// The instruction's id.
    pub id: OrderId,
    /// As [`Line::assign`] gave it for this instruction, and as it is in the journal.
    pub wire_ref: WireRef,
    /// What is to be done.
    pub action: OrderAction,
    /// The symbol as the venue knows it.
    pub symbol: String,
    /// The order that is replaced or cancelled; none for a new order.
    pub target: Option<Target>,
}

/// An order that a replacement or a cancel names.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Its id.
    pub id: OrderId,
    /// What the wire calls it.
    pub wire_ref: WireRef,
    /// The venue's number; empty when the venue has not said yet.
    pub venue_order: String,
    /// Its side.
    pub side: OrderSide,
    /// Its quantity in all.
    pub quantity: Quantity,
    /// Its limit; none for a market order.
    pub price: Option<Price>,
    /// How long it stands.
    pub time_in_force: TimeInForce,
}

/// Something that happened on a line.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Logged on. What was missed follows.
    Up {
        /// The venue's name for the messages that it numbers, empty where the protocol has none. Kept in the journal and
        /// given back in [`Resume`], so that the numbers of one session are never taken for those of another.
        session: String,
    },
    /// All that the venue said before this logon has been told.
    CaughtUp,
    /// The venue's day ended, or it began a new session: its numbers begin again.
    NewDay,
    /// What the venue said about an order.
    Told(Told),
    /// A message as it is on the wire, for the drop copy; before what it says is told.
    Wire {
        /// Whether we sent it.
        sent: bool,
        /// When, ns since the epoch.
        time_ns: u64,
        /// The message with its framing.
        bytes: Vec<u8>,
    },
    /// Something from the venue that breaks the protocol, passed over. Counted and logged.
    Refused {
        /// What, with its offset or field and the reason.
        what: String,
    },
    /// Not logged on any more. What was sent and not answered may have arrived or not.
    Down {
        /// Why, in words.
        why: String,
    },
}

/// What the venue said about one order.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// Its place among the messages of the venue's day, rising; the same when it is told again. 0 where the protocol
    /// has no such number that survives a reconnection.
    pub number: u64,
    /// The order, by whichever of the two the message has.
    pub order: OrderName,
    /// What.
    pub what: What,
    /// The venue's own time, ns since the epoch; 0 when it says none.
    pub venue_time_ns: u64,
}

/// How a message names an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderName {
    /// By its client order id.
    Id(OrderId),
    /// By its reference on the wire.
    Wire(WireRef),
}

/// What happened to an order.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The venue has it.
    Accepted {
        /// The venue's number of it.
        venue_order: String,
        /// Open; 0 when the venue cancelled it in the same moment, and then nothing more is told about it.
        leaves: Quantity,
    },
    /// The venue refused a new order or a replacement. Of a replacement: `original_lives` says whether the order that
    /// it was to replace goes on.
    Rejected {
        /// The venue's code, as one word.
        reason: String,
        /// The venue's words.
        text: String,
        /// Whether the original goes on.
        original_lives: bool,
    },
    /// It replaced the order that it named.
    Replaced {
        /// The venue's number of it.
        venue_order: String,
        /// In all, as the venue has it; what was filled counts. None when the message says only what is open.
        quantity: Option<Quantity>,
        /// Open; 0 as in [`What::Accepted`].
        leaves: Quantity,
        /// Its limit, as the venue has it.
        price: Option<Price>,
    },
    /// A trade.
    Filled {
        /// Shares or contracts.
        quantity: Quantity,
        /// At.
        price: Price,
        /// The venue's id of it, the same when it is told again.
        execution: String,
    },
    /// So much of it will not trade; asked for or not.
    Cancelled {
        /// Taken off what was open; none when all of it.
        quantity: Option<Quantity>,
        /// The venue's code, as one word.
        reason: String,
        /// The cancel that asked for it, when the message says so.
        by: Option<OrderId>,
    },
    /// The venue does not cancel, and the order goes on as it is (or had ended before).
    CancelRejected {
        /// The cancel or replacement, when the message says so.
        by: Option<OrderId>,
        /// The venue's code, as one word.
        reason: String,
    },
    /// A trade is void.
    Broken {
        /// The venue's id of the trade, as in [`What::Filled`].
        execution: String,
        /// Shares or contracts; none when the message does not say: then it is the trade's.
        quantity: Option<Quantity>,
        /// At; none as with `quantity`.
        price: Option<Price>,
    },
    /// The answer to [`Line::settle`]: how it stands.
    Stands {
        /// Traded in all.
        filled: Quantity,
        /// Open; 0 when it is over.
        leaves: Quantity,
        /// The venue's number of it.
        venue_order: String,
    },
    /// The answer to [`Line::settle`]: the venue never had it, and will not.
    NeverArrived,
}

/// Where a line begins: what the journal has of the day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resume {
    /// As the last [`Event::Up`] of the day named it; empty when there was none.
    pub session: String,
    /// The least [`Told::number`] that the journal does not have: one more than the last, 1 when there is none.
    pub next_number: u64,
    /// The least reference that no instruction of the day has: one more than the highest, 1 when there is none.
    pub next_wire_ref: WireRef,
}

/// Where a line puts its events. What is behind it, a channel or a queue, is the session's.
pub trait Events: Send + Sync {
    /// Takes an event, behind all before it. Never waits: a line calls this while it holds its connection, also from
    /// within [`Line::send`].
    fn push(&self, event: Event);

    /// Whether so many wait that the line is to read no more from the venue until some are taken.
    fn is_full(&self) -> bool;
}

/// What every line is started with, besides its own section of the document.
pub struct LineStart {
    /// The session's name.
    pub venue: String,
    /// How it connects again.
    pub reconnect: ReconnectSection,
    /// Where it puts what happens.
    pub events: Arc<dyn Events>,
    /// Where it begins.
    pub resume: Resume,
    /// The day's folder, for what the protocol itself must keep (sequence numbers). It is there, and another gateway
    /// finds it again.
    pub folder: PathBuf,
}

/// Why a message was not sent. It did not leave, and will not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineError {
    /// No connection, or not logged on.
    #[error("{venue} is not connected")]
    Down {
        /// The venue.
        venue: String,
    },
    /// The protocol cannot say it.
    #[error("{what} cannot be sent: {why}")]
    Unspeakable {
        /// The field.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// It may have left in part: the connection is closed, and the order's fate is open.
    #[error("the connection broke while sending: {0}")]
    Broken(String),
}

/// A connection to one session at a venue.
pub trait Line: Send {
    /// A reference for the next instruction.
    fn assign(&mut self) -> WireRef;

    /// Whether it can be said in this protocol, before it is journalled.
    ///
    /// # Errors
    /// [`LineError::Unspeakable`], with the field.
    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError>;

    /// Sends it now.
    ///
    /// # Errors
    /// After `Down` and `Unspeakable` nothing has left; after `Broken` it is not known.
    fn send(&mut self, outgoing: &Outgoing) -> Result<(), LineError>;

    /// Asks the venue how these stand, which were sent and not answered. Each is answered by a [`Told`] about it: what
    /// happened, [`What::Stands`] or [`What::NeverArrived`]. A cancel is answered by one about the cancel or about the
    /// order that it names. One that is not answered within seconds is asked about again.
    ///
    /// # Errors
    /// When the question cannot be sent; it is asked again after the next logon.
    fn settle(&mut self, in_doubt: &[Outgoing]) -> Result<(), LineError>;

    /// Logs off and ends what the line runs.
    fn stop(&mut self);
}
