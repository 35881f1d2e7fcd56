//! Orders between strategy and gateway: an instruction of `order_instructions` and a report of
//! `execution_reports`. Flat, readable fields, so that a person with `redis-cli` sees what was done.
//!
//! A client order id is made once, by the strategy, and names the order for ever: a gateway that finds an id
//! in its journal does not send again. A replacement is a new order id that names the one it replaces.
//!
//! The parser trusts nothing: an instruction that breaks the contract is refused with the field and the
//! reason. It keeps what can be kept (the id), so that the refusal can be reported.

use std::fmt;
use std::str::FromStr;
use tick::Price;

/// The version of the fields; an instruction of another is refused.
pub const ORDER_VERSION: u16 = 1;
/// Longest client order id, bytes: what OUCH 5.0 carries (ClOrdID, 14 characters).
pub const ORDER_ID_BYTES_MAX: usize = 14;
/// Longest of the other names (venue, strategy, symbol), bytes.
pub const ORDER_NAME_BYTES_MAX: usize = 32;
/// Longest text of a report, bytes.
pub const REPORT_TEXT_BYTES_MAX: usize = 256;

/// A client order id: 1 to [`ORDER_ID_BYTES_MAX`] letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId {
    bytes: [u8; ORDER_ID_BYTES_MAX],
    length: u8,
}

/// A text that is not a client order id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a client order id has 1 to {ORDER_ID_BYTES_MAX} letters and digits")]
pub struct OrderIdError;

impl OrderId {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Only made of ASCII letters and digits.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl FromStr for OrderId {
    type Err = OrderIdError;

    fn from_str(text: &str) -> Result<OrderId, OrderIdError> {
        if text.is_empty()
            || text.len() > ORDER_ID_BYTES_MAX
            || !text.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(OrderIdError);
        }
        let mut bytes = [0; ORDER_ID_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(OrderId { bytes, length: text.len() as u8 })
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({})", self.as_str())
    }
}

/// Generates an enum that is one word in a field.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word in the field.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            fn of(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
    };
}

words! {
    /// Which way an order trades.
    OrderSide {
        /// Buys.
        Buy = "buy",
        /// Sells what is owned.
        Sell = "sell",
        /// Sells short.
        SellShort = "sell_short",
    }
}

words! {
    /// How long an order stands.
    TimeInForce {
        /// Until the session ends.
        Day = "day",
        /// Trades at once what it can, the rest is cancelled.
        ImmediateOrCancel = "ioc",
    }
}

words! {
    /// What happened to an order.
    ReportKind {
        /// Refused before it was sent: by risk checks, limits, or because it cannot be read. `reason` says why.
        Denied = "denied",
        /// On its way to the venue: journalled and sent.
        Sent = "sent",
        /// The venue has it.
        Accepted = "accepted",
        /// The venue refused it.
        Rejected = "rejected",
        /// A trade: `last_quantity` at `last_price`.
        Filled = "filled",
        /// Ended without (further) trades.
        Cancelled = "cancelled",
        /// Replaced the order in `of`, which ended.
        Replaced = "replaced",
        /// The venue does not cancel or replace: the order in `of` goes on as it is.
        CancelRejected = "cancel_rejected",
        /// A trade was declared void: quantities are what they are without it.
        Broken = "broken",
        /// What became of it is not known (connection lost with it in flight): reconciled before new orders.
        Unknown = "unknown",
    }
}

/// A number in an order or report: shares or contracts.
pub type Quantity = u64;

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum OrderAction {
    /// A new order.
    New {
        /// Which way.
        side: OrderSide,
        /// Shares or contracts, at least 1.
        quantity: Quantity,
        /// The limit; none for a market order.
        price: Option<Price>,
        /// How long it stands.
        time_in_force: TimeInForce,
    },
    /// Replaces an open order: new quantity in all (what was filled counts) and new limit.
    Replace {
        /// The order that it replaces.
        of: OrderId,
        /// Shares or contracts in all, at least 1.
        quantity: Quantity,
        /// The limit.
        price: Price,
    },
    /// Cancels an open order.
    Cancel {
        /// The order.
        of: OrderId,
    },
}

/// One entry of `order_instructions`.
#[derive(Clone, PartialEq, Debug)]
pub struct Instruction {
    /// `id`: made once. A cancel has one, too, so that it is not sent twice.
    pub id: OrderId,
    /// `action` and its fields.
    pub action: OrderAction,
    /// `venue`: which gateway session sends it.
    pub venue: String,
    /// `publisher`: of the instrument.
    pub publisher_id: u16,
    /// `instrument`.
    pub instrument_id: u32,
    /// `symbol`: as the venue knows it.
    pub symbol: String,
    /// `strategy`: whose it is.
    pub strategy: String,
    /// `cause_ns`: `ts_recv` of the tick that caused it, ns since the epoch; 0 = none.
    pub cause_ns: u64,
    /// `created_ns`: when it was made, ns since the epoch.
    pub created_ns: u64,
}

/// One entry of `execution_reports`: a change of an order's state.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// `n`: number among the gateway's reports of this venue and shard, from 1 without a hole; 0 in a denial that a
    /// strategy made.
    pub number: u64,
    /// `id`: the order. Empty text in the field when an instruction had none that can be read.
    pub id: Option<OrderId>,
    /// `kind`.
    pub kind: ReportKind,
    /// `of`: the order replaced or (not) cancelled.
    pub of: Option<OrderId>,
    /// `venue`, `strategy`, `symbol`: of the order, as far as known.
    pub venue: String,
    /// See `venue`.
    pub strategy: String,
    /// See `venue`.
    pub symbol: String,
    /// `publisher` and `instrument`: 0 when not known.
    pub publisher_id: u16,
    /// See `publisher_id`.
    pub instrument_id: u32,
    /// `side`: of the order, as far as known.
    pub side: Option<OrderSide>,
    /// `last_quantity`: of this trade; 0 when it is none.
    pub last_quantity: Quantity,
    /// `last_price`: of this trade.
    pub last_price: Option<Price>,
    /// `filled`: traded in all. A replacement carries on what the order that it replaces has traded.
    pub filled: Quantity,
    /// `leaves`: still open.
    pub leaves: Quantity,
    /// `venue_order`: the venue's own order number; empty when there is none.
    pub venue_order: String,
    /// `execution`: the venue's id of this trade; with it a trade told twice is known. Empty when it is none.
    pub execution: String,
    /// `reason`: a code, and `text`: the numbers or the venue's words. Empty when nothing is to be said.
    pub reason: String,
    /// See `reason`.
    pub text: String,
    /// `cause_ns`: of the instruction.
    pub cause_ns: u64,
    /// `time_ns`: when the gateway knew, ns since the epoch.
    pub time_ns: u64,
}

/// Why an entry was refused, with the order's id if that much could be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct OrderError {
    /// The order.
    pub id: Option<OrderId>,
    /// The field and what is wrong with it.
    pub what: OrderFault,
}

/// What is wrong with a field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderFault {
    /// It is not there.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// It is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// It cannot be read or is out of range.
    #[error("field `{field}`: {wanted}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// It is of another version.
    #[error("version {0:?} is not known here; this is version {ORDER_VERSION}")]
    Version(String),
    /// It is there, and does not belong to this action.
    #[error("field `{0}` does not belong to this action")]
    Foreign(&'static str),
}

const INSTRUCTION_FIELDS: [&str; 15] = [
    "v",
    "id",
    "action",
    "of",
    "side",
    "quantity",
    "price",
    "tif",
    "venue",
    "publisher",
    "instrument",
    "symbol",
    "strategy",
    "cause_ns",
    "created_ns",
];
const REPORT_FIELDS: [&str; 21] = [
    "v",
    "n",
    "id",
    "kind",
    "of",
    "venue",
    "strategy",
    "symbol",
    "publisher",
    "instrument",
    "side",
    "last_quantity",
    "last_price",
    "filled",
    "leaves",
    "venue_order",
    "execution",
    "reason",
    "text",
    "cause_ns",
    "time_ns",
];

/// Fields by name, each at most once.
struct Found<'a, const N: usize> {
    names: [&'static str; N],
    values: [Option<&'a str>; N],
    id: Option<OrderId>,
}

impl<'a, const N: usize> Found<'a, N> {
    fn of(
        names: [&'static str; N],
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Found<'a, N>, OrderError> {
        let mut found = Found { names, values: [None; N], id: None };
        let mut fault = None;
        for (name, value) in fields {
            let Some(place) = names.iter().position(|known| known.as_bytes() == name) else { continue };
            let Ok(text) = std::str::from_utf8(value) else {
                fault = fault.or(Some(OrderFault::Value { field: names[place], wanted: "text" }));
                continue;
            };
            if found.values[place].replace(text).is_some() {
                fault = fault.or(Some(OrderFault::Twice(names[place])));
            }
        }
        found.id = found.text("id").and_then(|text| text.parse().ok());
        fault.map_or(Ok(()), |what| Err(found.error(what)))?;
        let version = found.must("v")?;
        if version != ORDER_VERSION.to_string() {
            let shown = version.chars().take(16).collect();
            return Err(found.error(OrderFault::Version(shown)));
        }
        Ok(found)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let place = self.names.iter().position(|known| *known == name)?;
        self.values[place].filter(|text| !text.is_empty())
    }

    fn must(&self, name: &'static str) -> Result<&'a str, OrderError> {
        self.text(name).ok_or_else(|| self.error(OrderFault::Missing(name)))
    }

    fn error(&self, what: OrderFault) -> OrderError {
        OrderError { id: self.id, what }
    }

    fn value(&self, field: &'static str, wanted: &'static str) -> OrderError {
        self.error(OrderFault::Value { field, wanted })
    }

    fn number<T: TryFrom<u64>>(&self, field: &'static str) -> Result<T, OrderError> {
        let number = crate::entry::parse_decimal(self.must(field)?.as_bytes());
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.value(field, "a decimal number in range"))
    }

    fn name(&self, field: &'static str) -> Result<String, OrderError> {
        let text = self.must(field)?;
        if text.len() > ORDER_NAME_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.value(field, "at most 32 printable ASCII characters without a space"));
        }
        Ok(text.to_owned())
    }

    fn order_id(&self, field: &'static str) -> Result<OrderId, OrderError> {
        self.must(field)?.parse().map_err(|_| self.value(field, "1 to 14 letters and digits"))
    }

    fn price(&self, field: &'static str) -> Result<Option<Price>, OrderError> {
        let wanted = "a decimal price with at most nine digits after the point";
        self.text(field).map(|text| text.parse().map_err(|_| self.value(field, wanted))).transpose()
    }

    fn quantity(&self) -> Result<Quantity, OrderError> {
        match self.number("quantity")? {
            0 => Err(self.value("quantity", "at least 1")),
            quantity => Ok(quantity),
        }
    }

    fn none_of(&self, fields: &[&'static str]) -> Result<(), OrderError> {
        match fields.iter().find(|field| self.text(field).is_some()) {
            Some(field) => Err(self.error(OrderFault::Foreign(field))),
            None => Ok(()),
        }
    }
}

impl Instruction {
    /// Calls `visit` with each field's name and value.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        let mut put = |name: &str, value: &dyn fmt::Display| visit(name, value.to_string().as_bytes());
        put("v", &ORDER_VERSION);
        put("id", &self.id);
        match &self.action {
            OrderAction::New { side, quantity, price, time_in_force } => {
                put("action", &"new");
                put("side", &side.word());
                put("quantity", quantity);
                if let Some(price) = price {
                    put("price", price);
                }
                put("tif", &time_in_force.word());
            }
            OrderAction::Replace { of, quantity, price } => {
                put("action", &"replace");
                put("of", of);
                put("quantity", quantity);
                put("price", price);
            }
            OrderAction::Cancel { of } => {
                put("action", &"cancel");
                put("of", of);
            }
        }
        put("venue", &self.venue);
        put("publisher", &self.publisher_id);
        put("instrument", &self.instrument_id);
        put("symbol", &self.symbol);
        put("strategy", &self.strategy);
        put("cause_ns", &self.cause_ns);
        put("created_ns", &self.created_ns);
    }

    /// Reads an instruction. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract, with the order's id if that can be read.
    pub fn parse<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Instruction, OrderError> {
        let found = Found::of(INSTRUCTION_FIELDS, fields)?;
        let id = found.order_id("id")?;
        let action = match found.must("action")? {
            "new" => {
                found.none_of(&["of"])?;
                let side = OrderSide::of(found.must("side")?);
                let time_in_force = TimeInForce::of(found.must("tif")?);
                OrderAction::New {
                    side: side.ok_or_else(|| found.value("side", "buy, sell or sell_short"))?,
                    quantity: found.quantity()?,
                    price: found.price("price")?,
                    time_in_force: time_in_force.ok_or_else(|| found.value("tif", "day or ioc"))?,
                }
            }
            "replace" => {
                found.none_of(&["side", "tif"])?;
                let price = found.price("price")?.ok_or_else(|| found.error(OrderFault::Missing("price")))?;
                OrderAction::Replace { of: found.order_id("of")?, quantity: found.quantity()?, price }
            }
            "cancel" => {
                found.none_of(&["side", "tif", "quantity", "price"])?;
                OrderAction::Cancel { of: found.order_id("of")? }
            }
            _ => return Err(found.value("action", "new, replace or cancel")),
        };
        Ok(Instruction {
            id,
            action,
            venue: found.name("venue")?,
            publisher_id: found.number("publisher")?,
            instrument_id: found.number("instrument")?,
            symbol: found.name("symbol")?,
            strategy: found.name("strategy")?,
            cause_ns: found.number("cause_ns")?,
            created_ns: found.number("created_ns")?,
        })
    }
}

impl Report {
    /// A report that says nothing yet but its kind and time.
    pub fn new(kind: ReportKind, time_ns: u64) -> Report {
        Report {
            number: 0,
            id: None,
            kind,
            of: None,
            venue: String::new(),
            strategy: String::new(),
            symbol: String::new(),
            publisher_id: 0,
            instrument_id: 0,
            side: None,
            last_quantity: 0,
            last_price: None,
            filled: 0,
            leaves: 0,
            venue_order: String::new(),
            execution: String::new(),
            reason: String::new(),
            text: String::new(),
            cause_ns: 0,
            time_ns,
        }
    }

    /// Calls `visit` with each field's name and value. What is not known or does not apply is left out.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        let mut put = |name: &str, value: &dyn fmt::Display| {
            let value = value.to_string();
            if !value.is_empty() {
                visit(name, value.as_bytes());
            }
        };
        let shown = |id: &Option<OrderId>| id.map_or_else(String::new, |id| id.to_string());
        put("v", &ORDER_VERSION);
        put("n", &self.number);
        put("id", &shown(&self.id));
        put("kind", &self.kind.word());
        put("of", &shown(&self.of));
        put("venue", &self.venue);
        put("strategy", &self.strategy);
        put("symbol", &self.symbol);
        put("publisher", &self.publisher_id);
        put("instrument", &self.instrument_id);
        put("side", &self.side.map_or("", OrderSide::word));
        put("last_quantity", &self.last_quantity);
        put("last_price", &self.last_price.map_or_else(String::new, |price| price.to_string()));
        put("filled", &self.filled);
        put("leaves", &self.leaves);
        put("venue_order", &self.venue_order);
        put("execution", &self.execution);
        put("reason", &self.reason);
        put("text", &self.text.chars().take(REPORT_TEXT_BYTES_MAX / 4).collect::<String>());
        put("cause_ns", &self.cause_ns);
        put("time_ns", &self.time_ns);
    }

    /// Reads a report. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract, with the order's id if that can be read.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Report, OrderError> {
        let found = Found::of(REPORT_FIELDS, fields)?;
        let optional_id = |field| found.text(field).map(|_| found.order_id(field)).transpose();
        let optional_name = |field| found.text(field).map_or(Ok(String::new()), |_| found.name(field));
        let kind = ReportKind::of(found.must("kind")?);
        let side = found
            .text("side")
            .map(|word| OrderSide::of(word).ok_or_else(|| found.value("side", "buy, sell or sell_short")));
        let text = found.text("text").unwrap_or_default();
        if text.len() > REPORT_TEXT_BYTES_MAX {
            return Err(found.value("text", "at most 256 bytes"));
        }
        Ok(Report {
            number: found.number("n")?,
            id: optional_id("id")?,
            kind: kind.ok_or_else(|| found.value("kind", "one of the kinds of this version"))?,
            of: optional_id("of")?,
            venue: optional_name("venue")?,
            strategy: optional_name("strategy")?,
            symbol: optional_name("symbol")?,
            publisher_id: found.number("publisher")?,
            instrument_id: found.number("instrument")?,
            side: side.transpose()?,
            last_quantity: found.number("last_quantity")?,
            last_price: found.price("last_price")?,
            filled: found.number("filled")?,
            leaves: found.number("leaves")?,
            venue_order: optional_name("venue_order")?,
            execution: optional_name("execution")?,
            reason: optional_name("reason")?,
            text: text.to_owned(),
            cause_ns: found.number("cause_ns")?,
            time_ns: found.number("time_ns")?,
        })
    }
}
