//! A record of the journal as bytes: kind (1), time (8, ns since the epoch), the input's fields, how many reports (2) and
//! the fields of each. An input and the reports that it led to are one record: both are there or neither.

use super::fields::{List, Read};
use super::{Begin, DecodeError, Extent};
use crate::line::{OrderName, Told, What};
use crate::orders::{About, Input, Own, Went};
use bus::{Instruction, OrderId, OrderSide, Report, StreamId, TradingState};
use tick::Price;

/// A record of the journal.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// The first of every file.
    Begin(Box<Begin>),
    /// What happened, when, and the reports that it led to, each with its shard.
    Entry {
        /// When, ns since the epoch.
        time_ns: u64,
        /// What.
        input: Box<Input>,
        /// Numbered.
        reports: Vec<(u16, Report)>,
    },
}

const BEGIN: u8 = 0;
const TAKEN: u8 = 1;
const DENIED: u8 = 2;
const ASKED: u8 = 3;
const WENT: u8 = 4;
const TOLD: u8 = 5;
const UP: u8 = 6;
const CAUGHT_UP: u8 = 7;
const NEW_DAY: u8 = 8;
const DOWN: u8 = 9;
const TRADING: u8 = 10;
const CURSOR: u8 = 11;
const DAY_OVER: u8 = 12;

impl Record {
    /// Adds its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Begin(begin) => {
                out.push(BEGIN);
                out.extend(begin.time_ns.to_le_bytes());
                encode_begin(begin, out);
                out.extend([0; 2]);
            }
            Record::Entry { time_ns, input, reports } => encode_entry(*time_ns, input, reports, out),
        }
    }

    /// Reads one: all of the bytes.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
        let mut rest = bytes;
        let (&kind, behind) = rest.split_first().ok_or(DecodeError::Short)?;
        let (time, behind) = behind.split_first_chunk::<8>().ok_or(DecodeError::Short)?;
        rest = behind;
        let time_ns = u64::from_le_bytes(*time);
        let fields = Read::take(&mut rest)?;
        let (count, behind) = rest.split_first_chunk::<2>().ok_or(DecodeError::Short)?;
        rest = behind;
        let mut reports = Vec::new();
        for _ in 0..u16::from_le_bytes(*count) {
            let fields = Read::take(&mut rest)?;
            let report = Report::parse(fields.fields()).map_err(|error| DecodeError::Order(error.what))?;
            reports.push((fields.value("shard")?, report));
        }
        if !rest.is_empty() {
            return Err(DecodeError::Trailing(rest.len()));
        }
        if kind == BEGIN {
            return Ok(Record::Begin(Box::new(decode_begin(time_ns, &fields)?)));
        }
        let input = Box::new(decode_input(kind, &fields)?);
        Ok(Record::Entry { time_ns, input, reports })
    }
}

/// Adds the bytes of an entry.
pub(crate) fn encode_entry(time_ns: u64, input: &Input, reports: &[(u16, Report)], out: &mut Vec<u8>) {
    out.push(kind_of(input));
    out.extend(time_ns.to_le_bytes());
    encode_input(input, &mut List::begin(out));
    out.extend((reports.len() as u16).to_le_bytes());
    for (shard, report) in reports {
        let mut list = List::begin(out);
        report.for_each_field(|name, value| {
            list.bytes(name, value);
        });
        list.put("shard", shard);
    }
}

fn kind_of(input: &Input) -> u8 {
    match input {
        Input::Taken { .. } => TAKEN,
        Input::Denied { .. } => DENIED,
        Input::Asked { .. } => ASKED,
        Input::Went { .. } => WENT,
        Input::Told(_) => TOLD,
        Input::Up { .. } => UP,
        Input::CaughtUp => CAUGHT_UP,
        Input::NewDay => NEW_DAY,
        Input::Down { .. } => DOWN,
        Input::Trading(_) => TRADING,
        Input::Cursor { .. } => CURSOR,
        Input::DayOver => DAY_OVER,
    }
}

fn encode_begin(begin: &Begin, out: &mut Vec<u8>) {
    let mut list = List::begin(out);
    list.put("venue", &begin.venue).put("day", &begin.day).put("token", begin.token);
    for number in &begin.numbers {
        list.put("number", number);
    }
    for number in &begin.base {
        list.put("base", number);
    }
    for cursor in &begin.cursors {
        list.put("cursor", cursor);
    }
    for extent in &begin.before {
        list.put("before", format_args!("{}:{}", extent.token, extent.bytes));
    }
    for ((publisher_id, instrument_id), quantity) in &begin.positions {
        list.put("position", format_args!("{publisher_id}:{instrument_id}:{quantity}"));
    }
    if let Some(trading) = &begin.trading {
        trading.for_each_field(|name, value| {
            list.bytes(name, value);
        });
    }
}

fn decode_begin(time_ns: u64, fields: &Read<'_>) -> Result<Begin, DecodeError> {
    let mut begin = Begin {
        time_ns,
        venue: fields.owned("venue")?,
        day: fields.owned("day")?,
        token: fields.value("token")?,
        ..Begin::default()
    };
    for (name, value) in fields.fields() {
        let text = || std::str::from_utf8(value).map_err(|_| DecodeError::Value("begin"));
        let number = |text: &str| text.parse::<u64>().map_err(|_| DecodeError::Value("begin"));
        match name {
            b"number" => begin.numbers.push(number(text()?)?),
            b"base" => begin.base.push(number(text()?)?),
            b"cursor" => begin.cursors.push(StreamId::parse(value).ok_or(DecodeError::Value("cursor"))?),
            b"before" => {
                let (token, bytes) = text()?.split_once(':').ok_or(DecodeError::Value("before"))?;
                begin.before.push(Extent { token: number(token)?, bytes: number(bytes)? });
            }
            b"position" => {
                let mut parts = text()?.split(':');
                let mut part = || parts.next().ok_or(DecodeError::Value("position"));
                let wrong = |_| DecodeError::Value("position");
                let instrument = (part()?.parse().map_err(wrong)?, part()?.parse().map_err(wrong)?);
                begin.positions.push((instrument, part()?.parse().map_err(wrong)?));
            }
            _ => {}
        }
    }
    if fields.optional("mode")?.is_some() {
        begin.trading = Some(TradingState::parse(fields.fields()).map_err(|_| DecodeError::Value("mode"))?);
    }
    Ok(begin)
}

fn encode_input(input: &Input, list: &mut List<'_>) {
    match input {
        Input::Taken { shard, entry, wire_ref, instruction, own } => {
            instruction.for_each_field(|name, value| {
                list.bytes(name, value);
            });
            list.put("shard", shard).put("entry", entry).put("wire_ref", wire_ref);
            if let Some(own) = own {
                list.put("own", own.carries_out.map_or_else(String::new, |id| id.to_string()));
            }
        }
        Input::Denied { shard, entry, about, reason, text } => {
            list.put("shard", shard).put("entry", entry);
            put_optional(list, "id", about.id);
            put_optional(list, "of", about.of);
            put_optional(list, "side", about.side.map(OrderSide::word));
            list.put("strategy", &about.strategy).put("symbol", &about.symbol);
            list.put("publisher", about.publisher_id).put("instrument", about.instrument_id);
            list.put("cause_ns", about.cause_ns).put("reason", reason).put("text", text);
        }
        Input::Asked { shard, entry, id } => {
            list.put("shard", shard).put("entry", entry).put("id", id);
        }
        Input::Went { id, how } => {
            list.put("id", id);
            match how {
                Went::Sent => list.put("how", "sent"),
                Went::Not { reason, text } => list.put("how", "not").put("reason", reason).put("text", text),
                Went::Broken { text } => list.put("how", "broken").put("text", text),
            };
        }
        Input::Told(told) => encode_told(told, list),
        Input::Up { session } => {
            list.put("session", session);
        }
        Input::Down { why } => {
            list.put("why", why);
        }
        Input::Trading(state) => state.for_each_field(|name, value| {
            list.bytes(name, value);
        }),
        Input::Cursor { shard, entry } => {
            list.put("shard", shard).put("entry", entry);
        }
        Input::CaughtUp | Input::NewDay | Input::DayOver => {}
    }
}

fn put_optional(list: &mut List<'_>, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        list.put(name, value);
    }
}

fn decode_input(kind: u8, fields: &Read<'_>) -> Result<Input, DecodeError> {
    let entry = || StreamId::parse(fields.text("entry")?.as_bytes()).ok_or(DecodeError::Value("entry"));
    Ok(match kind {
        TAKEN => Input::Taken {
            shard: fields.value("shard")?,
            entry: entry()?,
            wire_ref: fields.value("wire_ref")?,
            instruction: Instruction::parse(fields.fields())
                .map_err(|error| DecodeError::Order(error.what))?,
            own: match fields.optional("own")? {
                None => None,
                Some("") => Some(Own { carries_out: None }),
                Some(_) => Some(Own { carries_out: Some(fields.value("own")?) }),
            },
        },
        DENIED => Input::Denied {
            shard: fields.value("shard")?,
            entry: entry()?,
            about: About {
                id: fields.optional_value("id")?,
                of: fields.optional_value("of")?,
                strategy: fields.owned("strategy")?,
                symbol: fields.owned("symbol")?,
                publisher_id: fields.value("publisher")?,
                instrument_id: fields.value("instrument")?,
                cause_ns: fields.value("cause_ns")?,
                side: side_of(fields)?,
            },
            reason: fields.owned("reason")?,
            text: fields.owned("text")?,
        },
        ASKED => Input::Asked { shard: fields.value("shard")?, entry: entry()?, id: fields.value("id")? },
        WENT => Input::Went {
            id: fields.value("id")?,
            how: match fields.text("how")? {
                "sent" => Went::Sent,
                "not" => Went::Not { reason: fields.owned("reason")?, text: fields.owned("text")? },
                "broken" => Went::Broken { text: fields.owned("text")? },
                _ => return Err(DecodeError::Value("how")),
            },
        },
        TOLD => Input::Told(decode_told(fields)?),
        UP => Input::Up { session: fields.owned("session")? },
        CAUGHT_UP => Input::CaughtUp,
        NEW_DAY => Input::NewDay,
        DOWN => Input::Down { why: fields.owned("why")? },
        TRADING => {
            Input::Trading(TradingState::parse(fields.fields()).map_err(|_| DecodeError::Value("mode"))?)
        }
        CURSOR => Input::Cursor { shard: fields.value("shard")?, entry: entry()? },
        DAY_OVER => Input::DayOver,
        _ => return Err(DecodeError::Kind(kind)),
    })
}

fn side_of(fields: &Read<'_>) -> Result<Option<OrderSide>, DecodeError> {
    let Some(word) = fields.optional("side")? else { return Ok(None) };
    let known = OrderSide::ALL.iter().copied().find(|side| side.word() == word);
    known.map(Some).ok_or(DecodeError::Value("side"))
}

fn encode_told(told: &Told, list: &mut List<'_>) {
    list.put("number", told.number).put("venue_time_ns", told.venue_time_ns);
    match told.order {
        OrderName::Id(id) => list.put("id", id),
        OrderName::Wire(wire_ref) => list.put("wire_ref", wire_ref),
    };
    match &told.what {
        What::Accepted { venue_order, leaves } => {
            list.put("what", "accepted").put("venue_order", venue_order).put("leaves", leaves);
        }
        What::Rejected { reason, text, original_lives } => {
            list.put("what", "rejected").put("reason", reason).put("text", text);
            list.put("original_lives", original_lives);
        }
        What::Replaced { venue_order, quantity, leaves, price } => {
            list.put("what", "replaced").put("venue_order", venue_order).put("leaves", leaves);
            put_optional(list, "quantity", *quantity);
            put_optional(list, "price", price.map(|price| price.0));
        }
        What::Filled { quantity, price, execution } => {
            list.put("what", "filled").put("quantity", quantity).put("price", price.0);
            list.put("execution", execution);
        }
        What::Cancelled { quantity, reason, by } => {
            list.put("what", "cancelled").put("reason", reason);
            put_optional(list, "quantity", *quantity);
            put_optional(list, "by", *by);
        }
        What::CancelRejected { by, reason } => {
            list.put("what", "cancel_rejected").put("reason", reason);
            put_optional(list, "by", *by);
        }
        What::Broken { execution, quantity, price } => {
            list.put("what", "broken").put("execution", execution);
            put_optional(list, "quantity", *quantity);
            put_optional(list, "price", price.map(|price| price.0));
        }
        What::Stands { filled, leaves, venue_order } => {
            list.put("what", "stands").put("filled", filled).put("leaves", leaves);
            list.put("venue_order", venue_order);
        }
        What::NeverArrived => {
            list.put("what", "never_arrived");
        }
    }
}

fn decode_told(fields: &Read<'_>) -> Result<Told, DecodeError> {
    let price = || Ok::<_, DecodeError>(fields.optional_value("price")?.map(Price));
    let order = match fields.optional("id")? {
        Some(_) => OrderName::Id(fields.value::<OrderId>("id")?),
        None => OrderName::Wire(fields.value("wire_ref")?),
    };
    let what = match fields.text("what")? {
        "accepted" => {
            What::Accepted { venue_order: fields.owned("venue_order")?, leaves: fields.value("leaves")? }
        }
        "rejected" => What::Rejected {
            reason: fields.owned("reason")?,
            text: fields.owned("text")?,
            original_lives: fields.value("original_lives")?,
        },
        "replaced" => What::Replaced {
            venue_order: fields.owned("venue_order")?,
            quantity: fields.optional_value("quantity")?,
            leaves: fields.value("leaves")?,
            price: price()?,
        },
        "filled" => What::Filled {
            quantity: fields.value("quantity")?,
            price: Price(fields.value("price")?),
            execution: fields.owned("execution")?,
        },
        "cancelled" => What::Cancelled {
            quantity: fields.optional_value("quantity")?,
            reason: fields.owned("reason")?,
            by: fields.optional_value("by")?,
        },
        "cancel_rejected" => {
            What::CancelRejected { by: fields.optional_value("by")?, reason: fields.owned("reason")? }
        }
        "broken" => What::Broken {
            execution: fields.owned("execution")?,
            quantity: fields.optional_value("quantity")?,
            price: price()?,
        },
        "stands" => What::Stands {
            filled: fields.value("filled")?,
            leaves: fields.value("leaves")?,
            venue_order: fields.owned("venue_order")?,
        },
        "never_arrived" => What::NeverArrived,
        _ => return Err(DecodeError::Value("what")),
    };
    Ok(Told { number: fields.value("number")?, order, what, venue_time_ns: fields.value("venue_time_ns")? })
}
