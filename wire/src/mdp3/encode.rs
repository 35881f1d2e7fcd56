//! Writing MDP 3.0 packets, driven by a [`Schema`]: for the venue and for tests.
//!
//! [`PacketWriter`] owns the bytes of one packet and is used again for the next. A message is begun, its
//! fields are set by name, its groups follow in the template's order, and [`MessageWriter::finish`] makes it
//! whole. A field that is not set holds its null value, or zero where it has none. The named messages
//! ([`PacketWriter::book`] and so on) are made of that one mechanism.

use super::{Field, GroupDef, Kind, PACKET_HEADER_BYTES, Schema, Template, Value};

/// Why a message could not be written. What was written of it is taken back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// The schema has no template for this.
    #[error("the schema has no template for {0:?}")]
    NoTemplate(Kind),
    /// The block has no such field, or the template has no such group at this place.
    #[error("the template has no {0} here")]
    NoField(String),
    /// The value is not one of the field's type.
    #[error("the value does not fit field {0}")]
    BadValue(String),
    /// More entries, or a longer message, than the wire can say.
    #[error("too many entries or bytes for the wire")]
    TooLong,
}

/// Writes packets, one at a time.
#[derive(Clone, Debug)]
pub struct PacketWriter<'s> {
    schema: &'s Schema,
    bytes: Vec<u8>,
}

/// A price level's change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookEntry {
    /// Price in 1e-9 units; `None` writes the null price.
    pub price: Option<i64>,
    /// Quantity at the level.
    pub size: u32,
    /// Instrument.
    pub security_id: i32,
    /// The instrument's own sequence number.
    pub rpt_seq: u32,
    /// Orders at the level.
    pub number_of_orders: u32,
    /// Price level, 1 = best.
    pub level: u8,
    /// MDUpdateAction: 0 new, 1 change, 2 delete.
    pub update_action: u8,
    /// MDEntryType: `0` bid, `1` offer, `E` implied bid, `F` implied offer.
    pub entry_type: u8,
}

/// One order behind a price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookOrder {
    /// Order id.
    pub order_id: u64,
    /// Visible quantity.
    pub quantity: u32,
    /// The [`BookEntry`] that it belongs to, from 1.
    pub reference_id: u8,
    /// OrderUpdateAction: 0 new, 1 update, 2 delete.
    pub update_action: u8,
}

/// A trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TradeEntry {
    /// Price in 1e-9 units.
    pub price: i64,
    /// Quantity.
    pub size: u32,
    /// Instrument.
    pub security_id: i32,
    /// The instrument's own sequence number.
    pub rpt_seq: u32,
    /// Order details that belong to it.
    pub number_of_orders: u32,
    /// AggressorSide: 0 none, 1 buy, 2 sell.
    pub aggressor_side: u8,
}

/// An instrument definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Definition<'a> {
    /// Instrument.
    pub security_id: i32,
    /// Symbol, at most 20 characters.
    pub symbol: &'a str,
    /// Security group, at most 6 characters.
    pub group: &'a str,
    /// Asset, at most 6 characters.
    pub asset: &'a str,
    /// ISO 4217 code.
    pub currency: &'a str,
    /// Smallest price step in 1e-9 units.
    pub min_price_increment: i64,
    /// Units of the underlying in one contract, in 1e-9 units.
    pub unit_of_measure_qty: i64,
}

impl<'s> PacketWriter<'s> {
    /// A writer for a schema; [`PacketWriter::begin`] starts a packet.
    pub fn new(schema: &'s Schema) -> PacketWriter<'s> {
        PacketWriter { schema, bytes: Vec::with_capacity(1500) }
    }

    /// The schema that it writes by.
    pub fn schema(&self) -> &'s Schema {
        self.schema
    }

    /// Starts a packet: the one before is forgotten.
    pub fn begin(&mut self, sequence: u32, sending_time_ns: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&sequence.to_le_bytes());
        self.bytes.extend_from_slice(&sending_time_ns.to_le_bytes());
        debug_assert_eq!(self.bytes.len(), PACKET_HEADER_BYTES);
    }

    /// The packet so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a message of any template of a schema.
    pub fn message(&mut self, template: &'s Template) -> MessageWriter<'_> {
        let start = self.bytes.len();
        for word in [0, template.block_length as u16, template.id, self.schema.id(), self.schema.version()] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        let block = self.bytes.len();
        push_block(&mut self.bytes, template.block_length, &template.fields);
        MessageWriter {
            bytes: &mut self.bytes,
            template,
            start,
            fields: &template.fields,
            block,
            first_entry: block,
            next_group: 0,
        }
    }

    /// Begins a message of the schema's current template for a purpose.
    ///
    /// # Errors
    /// [`EncodeError::NoTemplate`].
    pub fn begin_kind(&mut self, kind: Kind) -> Result<MessageWriter<'_>, EncodeError> {
        let schema = self.schema;
        Ok(self.message(schema.latest(kind).ok_or(EncodeError::NoTemplate(kind))?))
    }

    /// Adds a book refresh by price, and the orders behind it where the schema has them.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn book(
        &mut self,
        transact_time_ns: u64,
        match_event_indicator: u8,
        entries: &[BookEntry],
        orders: &[BookOrder],
    ) -> Result<(), EncodeError> {
        let mut message = self.begin_kind(Kind::Book)?;
        message.event(transact_time_ns, match_event_indicator)?.group("NoMDEntries", entries.len())?;
        for (index, entry) in entries.iter().enumerate() {
            message.entry(index);
            if let Some(price) = entry.price {
                message.price("MDEntryPx", price)?;
            }
            message
                .set("MDEntrySize", Value::UInt(entry.size.into()))?
                .set("SecurityID", Value::Int(entry.security_id.into()))?
                .set("RptSeq", Value::UInt(entry.rpt_seq.into()))?
                .set("NumberOfOrders", Value::UInt(entry.number_of_orders.into()))?
                .set("MDPriceLevel", Value::UInt(entry.level.into()))?
                .set("MDUpdateAction", Value::UInt(entry.update_action.into()))?
                .set("MDEntryType", Value::Char(entry.entry_type))?;
        }
        if !orders.is_empty() {
            message.group("NoOrderIDEntries", orders.len())?;
            for (index, order) in orders.iter().enumerate() {
                message
                    .entry(index)
                    .set("OrderID", Value::UInt(order.order_id))?
                    .set("MDDisplayQty", Value::UInt(order.quantity.into()))?
                    .set("ReferenceID", Value::UInt(order.reference_id.into()))?
                    .set("OrderUpdateAction", Value::UInt(order.update_action.into()))?;
            }
        }
        message.finish()
    }

    /// Adds trades, and for each in turn the orders that took part: (order id, quantity), the aggressor's
    /// first where there is one.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn trade(
        &mut self,
        transact_time_ns: u64,
        match_event_indicator: u8,
        entries: &[TradeEntry],
        orders: &[(u64, u32)],
    ) -> Result<(), EncodeError> {
        let mut message = self.begin_kind(Kind::Trade)?;
        message.event(transact_time_ns, match_event_indicator)?.group("NoMDEntries", entries.len())?;
        for (index, entry) in entries.iter().enumerate() {
            message
                .entry(index)
                .price("MDEntryPx", entry.price)?
                .set("MDEntrySize", Value::UInt(entry.size.into()))?
                .set("SecurityID", Value::Int(entry.security_id.into()))?
                .set("RptSeq", Value::UInt(entry.rpt_seq.into()))?
                .set("NumberOfOrders", Value::UInt(entry.number_of_orders.into()))?
                .set("AggressorSide", Value::UInt(entry.aggressor_side.into()))?;
        }
        message.group("NoOrderIDEntries", orders.len())?;
        for (index, &(order_id, quantity)) in orders.iter().enumerate() {
            message
                .entry(index)
                .set("OrderID", Value::UInt(order_id))?
                .set("LastQty", Value::UInt(quantity.into()))?;
        }
        message.finish()
    }

    /// Adds a channel reset for the channel with this id.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn channel_reset(&mut self, transact_time_ns: u64, appl_id: i16) -> Result<(), EncodeError> {
        let mut message = self.begin_kind(Kind::ChannelReset)?;
        message
            .event(transact_time_ns, END_OF_EVENT)?
            .group("NoMDEntries", 1)?
            .entry(0)
            .set("ApplID", Value::Int(appl_id.into()))?;
        message.finish()
    }

    /// Adds a heartbeat.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn heartbeat(&mut self) -> Result<(), EncodeError> {
        self.begin_kind(Kind::Heartbeat)?.finish()
    }

    /// Adds a trading status (SecurityTradingStatus code) of one instrument or, without one, of a group.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn security_status(
        &mut self,
        transact_time_ns: u64,
        security_id: Option<i32>,
        group: &str,
        status: u8,
    ) -> Result<(), EncodeError> {
        let mut message = self.begin_kind(Kind::SecurityStatus)?;
        message
            .event(transact_time_ns, END_OF_EVENT)?
            .set("SecurityID", security_id.map_or(Value::Null, |id| Value::Int(id.into())))?
            .set("SecurityGroup", Value::Text(group.as_bytes()))?
            .set("SecurityTradingStatus", Value::UInt(status.into()))?;
        message.finish()
    }

    /// Adds the definition of a future.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn definition(&mut self, definition: &Definition<'_>) -> Result<(), EncodeError> {
        let mut message = self.begin_kind(Kind::DefinitionFuture)?;
        message
            .set("MatchEventIndicator", Value::UInt(END_OF_EVENT.into()))?
            .set("SecurityUpdateAction", Value::Char(b'A'))?
            .set("SecurityID", Value::Int(definition.security_id.into()))?
            .set("Symbol", Value::Text(definition.symbol.as_bytes()))?
            .set("SecurityGroup", Value::Text(definition.group.as_bytes()))?
            .set("Asset", Value::Text(definition.asset.as_bytes()))?
            .set("Currency", Value::Text(definition.currency.as_bytes()))?
            .price("MinPriceIncrement", definition.min_price_increment)?
            .price("UnitOfMeasureQty", definition.unit_of_measure_qty)?;
        message.finish()
    }
}

/// MatchEventIndicator's bit for the last message of an event.
pub const END_OF_EVENT: u8 = 1 << 7;

/// Writes one message of a packet. Dropped without [`MessageWriter::finish`], it takes its bytes back.
#[derive(Debug)]
pub struct MessageWriter<'w> {
    bytes: &'w mut Vec<u8>,
    template: &'w Template,
    /// Where the message starts, or the packet's end once the message is whole.
    start: usize,
    /// The block that fields are set in: its fields and place.
    fields: &'w [Field],
    block: usize,
    first_entry: usize,
    next_group: usize,
}

impl<'w> MessageWriter<'w> {
    /// Sets a field of the current block. A decimal is set by its mantissa.
    ///
    /// # Errors
    /// There is no such field, or the value is not one of its type.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<&mut Self, EncodeError> {
        let mantissa = |field: &Field| field.name.strip_suffix(".mantissa") == Some(name);
        let field = self.fields.iter().find(|field| &*field.name == name || mantissa(field));
        let field = field.ok_or_else(|| EncodeError::NoField(name.to_owned()))?;
        let written = put(field, self.bytes.get_mut(self.block..).unwrap_or_default(), value);
        if written { Ok(self) } else { Err(EncodeError::BadValue(name.to_owned())) }
    }

    /// Sets a decimal from 1e-9 units, in whatever exponent the schema gives it.
    ///
    /// # Errors
    /// As [`MessageWriter::set`]; a price that the exponent cannot hold exactly does not fit.
    pub fn price(&mut self, name: &str, units: i64) -> Result<&mut Self, EncodeError> {
        let exponent = self
            .fields
            .iter()
            .find(|field| field.name.strip_suffix(".exponent") == Some(name))
            .and_then(|field| field.constant)
            .ok_or_else(|| EncodeError::NoField(name.to_owned()))?;
        let divisor = u32::try_from(exponent + 9).ok().and_then(|power| 10i64.checked_pow(power));
        match divisor {
            Some(divisor) if units % divisor == 0 => self.set(name, Value::Int(units / divisor)),
            _ => Err(EncodeError::BadValue(name.to_owned())),
        }
    }

    /// TransactTime and MatchEventIndicator, which most messages begin with.
    fn event(&mut self, transact_time_ns: u64, indicator: u8) -> Result<&mut Self, EncodeError> {
        self.set("TransactTime", Value::UInt(transact_time_ns))?
            .set("MatchEventIndicator", Value::UInt(indicator.into()))
    }

    /// Begins a group of `count` entries; groups of the template before it stay empty. The current block is
    /// its first entry.
    ///
    /// # Errors
    /// The template has no such group from here on, or the count is more than its dimension can say.
    pub fn group(&mut self, name: &str, count: usize) -> Result<&mut Self, EncodeError> {
        let template = self.template;
        let ahead = template.groups[self.next_group..].iter().position(|group| &*group.name == name);
        let ahead = ahead.ok_or_else(|| EncodeError::NoField(name.to_owned()))?;
        self.skip_groups(ahead)?;
        let group = &template.groups[self.next_group];
        self.open(group, count)?;
        self.fields = &group.fields;
        for _ in 0..count {
            push_block(self.bytes, group.block_length, &group.fields);
        }
        Ok(self)
    }

    /// Makes an entry of the group just begun the current block. Setting a field of an entry that the group
    /// does not have fails with [`EncodeError::BadValue`].
    pub fn entry(&mut self, index: usize) -> &mut Self {
        let block_length =
            self.next_group.checked_sub(1).map_or(0, |at| self.template.groups[at].block_length);
        self.block = self.first_entry + index * block_length;
        self
    }

    /// Writes the groups that are left as empty, and the message's size.
    ///
    /// # Errors
    /// The message is longer than 65,535 bytes.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        self.skip_groups(self.template.groups.len() - self.next_group)?;
        let size = u16::try_from(self.bytes.len() - self.start).map_err(|_| EncodeError::TooLong)?;
        self.bytes[self.start..self.start + 2].copy_from_slice(&size.to_le_bytes());
        self.start = self.bytes.len();
        Ok(())
    }

    fn skip_groups(&mut self, count: usize) -> Result<(), EncodeError> {
        let template = self.template;
        template.groups[self.next_group..].iter().take(count).try_for_each(|group| self.open(group, 0))
    }

    /// Writes a group's dimension.
    fn open(&mut self, group: &'w GroupDef, count: usize) -> Result<(), EncodeError> {
        let at = self.bytes.len();
        let dimension = &group.dimension;
        self.bytes.resize(at + dimension.bytes, 0);
        for (field, number) in [(dimension.block_length, group.block_length), (dimension.count, count)] {
            let bytes = (number as u64).to_le_bytes();
            if bytes[field.bytes..].iter().any(|&byte| byte != 0) {
                return Err(EncodeError::TooLong);
            }
            self.bytes[at + field.offset..][..field.bytes].copy_from_slice(&bytes[..field.bytes]);
        }
        self.next_group += 1;
        self.first_entry = self.bytes.len();
        self.block = self.first_entry;
        Ok(())
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// Appends a block in which every field is null, or zero where it has no null value.
fn push_block(bytes: &mut Vec<u8>, length: usize, fields: &[Field]) {
    let at = bytes.len();
    bytes.resize(at + length, 0);
    for field in fields.iter().filter(|field| field.null.is_some()) {
        put(field, &mut bytes[at..], Value::Null);
    }
}

/// Writes a value into a block; false when it is not one of the field's type or the block lacks the field.
fn put(field: &Field, block: &mut [u8], value: Value<'_>) -> bool {
    if field.constant.is_some() {
        return false;
    }
    let Some(place) = block.get_mut(field.offset..field.offset + field.bytes()) else { return false };
    if let Value::Text(text) = value {
        if text.len() > place.len() || field.length == 0 {
            return false;
        }
        place.fill(0);
        place[..text.len()].copy_from_slice(text);
        return true;
    }
    let number = match value {
        Value::Int(number) => i128::from(number),
        Value::UInt(number) => i128::from(number),
        Value::Char(code) => i128::from(code),
        // The null value is kept as bits, which the unsigned 64-bit type needs widened without its sign.
        Value::Null => match field.null {
            Some(null) if field.primitive.is_signed() => i128::from(null),
            Some(null) => i128::from(null as u64),
            None => return false,
        },
        Value::Text(_) => return false,
    };
    if field.length > 0 || !field.primitive.fits(number) {
        return false;
    }
    let width = place.len();
    place.copy_from_slice(&number.to_le_bytes()[..width]);
    true
}
