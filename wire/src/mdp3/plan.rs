//! Field descriptors as the decoder uses them, and the fixed set of them per block.
//!
//! Reading an integer does not branch on its type. The field's last byte is known, at least eight bytes of
//! the packet lie in front of every block, so eight bytes ending with the field are loaded and shifted right:
//! the field is the load's top end, and the kind of shift gives its sign.

use super::Block;
use super::xml::{Field, Primitive};

/// How to read one integer of a block.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    /// Bytes from the block's start to the field's end; past every block when the field is not on the wire.
    end: u32,
    since: u16,
    shift: u8,
    has_null: bool,
    /// There is a value though the field is not on the wire: a constant.
    has_constant: bool,
    /// The null value or the constant.
    value: i64,
    /// Clears the copies of the top bit above an unsigned value.
    mask: i64,
}

impl Int {
    /// A field that no block has.
    pub const ABSENT: Int =
        Int { end: u32::MAX, since: 0, shift: 0, has_null: false, has_constant: false, value: 0, mask: 0 };

    /// The descriptor of a schema's field; [`Int::ABSENT`] for a character array.
    pub fn new(field: &Field) -> Int {
        if let Some(value) = field.constant {
            return Int { since: field.since, has_constant: true, value, ..Int::ABSENT };
        }
        if field.length > 0 {
            return Int::ABSENT;
        }
        let bytes = field.primitive.bytes();
        Int {
            end: (field.offset + bytes) as u32,
            since: field.since,
            shift: (64 - 8 * bytes) as u8,
            has_null: field.null.is_some(),
            has_constant: false,
            value: field.null.unwrap_or(0),
            mask: if field.primitive.is_signed() { -1 } else { (u64::MAX >> (64 - 8 * bytes)) as i64 },
        }
    }

    /// The value; `None` when it is the null value, or when the block or the sender's version does not have
    /// the field. An unsigned 64-bit value keeps its bits: cast it with `as u64`.
    #[inline(always)]
    pub fn get(&self, block: &Block<'_>) -> Option<i64> {
        let end = self.end as usize;
        match block.window.get(end..end + 8).and_then(<[u8]>::first_chunk::<8>) {
            Some(bytes) if self.since <= block.version => {
                let value = (i64::from_le_bytes(*bytes) >> (self.shift & 63)) & self.mask;
                if self.has_null && value == self.value { None } else { Some(value) }
            }
            _ if self.has_constant => Some(self.value),
            _ => None,
        }
    }

    /// Whether the schema has the field, on the wire or as a constant.
    pub fn is_present(&self) -> bool {
        self.end != u32::MAX || self.has_constant
    }

    fn find(fields: &[Field], name: &str) -> Int {
        fields.iter().find(|field| &*field.name == name).map_or(Int::ABSENT, Int::new)
    }

    fn find_either(fields: &[Field], name: &str, other: &str) -> Int {
        let first = Int::find(fields, name);
        if first.is_present() { first } else { Int::find(fields, other) }
    }
}

/// How to read a decimal: a mantissa on the wire and an exponent that the schema fixes.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// The mantissa.
    pub mantissa: Int,
    /// Power of ten.
    pub exponent: i8,
}

impl Decimal {
    /// The mantissa, by the rules of [`Int::get`].
    #[inline(always)]
    pub fn get(&self, block: &Block<'_>) -> Option<i64> {
        self.mantissa.get(block)
    }

    /// A composite of `mantissa` and constant `exponent`, or a plain integer (exponent 0). A mantissa whose
    /// exponent travels on the wire is treated as absent.
    fn find(fields: &[Field], name: &str) -> Decimal {
        let part = |suffix: &str| {
            fields.iter().find(|field| field.name.strip_prefix(name).is_some_and(|rest| rest == suffix))
        };
        match (part(".mantissa"), part(".exponent").and_then(|exponent| exponent.constant)) {
            (Some(mantissa), Some(exponent)) => {
                Decimal { mantissa: Int::new(mantissa), exponent: i8::try_from(exponent).unwrap_or(0) }
            }
            _ => Decimal { mantissa: Int::find(fields, name), exponent: 0 },
        }
    }
}

/// How to read a character array.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    at: u32,
    length: u32,
    since: u16,
}

impl Text {
    /// The characters, padding included; `None` when the block or the sender's version does not have them.
    #[inline]
    pub fn get<'a>(&self, block: &Block<'a>) -> Option<&'a [u8]> {
        if self.since > block.version {
            return None;
        }
        block.bytes().get(self.at as usize..self.at as usize + self.length as usize)
    }

    fn find(fields: &[Field], name: &str) -> Text {
        let found = fields.iter().find(|field| &*field.name == name && field.primitive == Primitive::Char);
        match found {
            Some(field) if field.constant.is_none() => {
                Text { at: field.offset as u32, length: field.length.max(1) as u32, since: field.since }
            }
            _ => Text { at: u32::MAX, length: 0, since: 0 },
        }
    }
}

/// The root block's fields that the feed reads; a field that the template lacks is absent.
#[derive(Clone, Copy, Debug)]
pub struct RootPlan {
    /// TransactTime (60): the event's time, ns since the Unix epoch.
    pub transact_time: Int,
    /// MatchEventIndicator (5799), a bit set.
    pub match_event_indicator: Int,
    /// SecurityID (48), where the whole message is about one instrument.
    pub security_id: Int,
    /// SecurityTradingStatus (326) or, in snapshots, MDSecurityTradingStatus (1682).
    pub trading_status: Int,
    /// SecurityTradingEvent (1174).
    pub trading_event: Int,
    /// HaltReason (327).
    pub halt_reason: Int,
    /// SecurityGroup (1151).
    pub security_group: Text,
    /// Asset (6937).
    pub asset: Text,
    /// MDEntryPx (270), where the root block has one.
    pub price: Decimal,
    /// HighLimitPrice (1149).
    pub high_limit: Decimal,
    /// LowLimitPrice (1148).
    pub low_limit: Decimal,
    /// NoChunks (37709): packets of one instrument's snapshot by order.
    pub chunks: Int,
    /// CurrentChunk (37710): which of them, from 1.
    pub current_chunk: Int,
}

impl RootPlan {
    pub(super) fn new(fields: &[Field]) -> RootPlan {
        RootPlan {
            transact_time: Int::find(fields, "TransactTime"),
            match_event_indicator: Int::find(fields, "MatchEventIndicator"),
            security_id: Int::find(fields, "SecurityID"),
            trading_status: Int::find_either(fields, "SecurityTradingStatus", "MDSecurityTradingStatus"),
            trading_event: Int::find(fields, "SecurityTradingEvent"),
            halt_reason: Int::find(fields, "HaltReason"),
            security_group: Text::find(fields, "SecurityGroup"),
            asset: Text::find(fields, "Asset"),
            price: Decimal::find(fields, "MDEntryPx"),
            high_limit: Decimal::find(fields, "HighLimitPrice"),
            low_limit: Decimal::find(fields, "LowLimitPrice"),
            chunks: Int::find(fields, "NoChunks"),
            current_chunk: Int::find(fields, "CurrentChunk"),
        }
    }
}

/// An entry of NoMDEntries (268).
#[derive(Clone, Copy, Debug)]
pub struct EntryPlan {
    /// MDEntryPx (270).
    pub price: Decimal,
    /// MDEntrySize (271) or, by order, MDDisplayQty (37706).
    pub size: Int,
    /// SecurityID (48).
    pub security_id: Int,
    /// OrderID (37).
    pub order_id: Int,
    /// MDPriceLevel (1023).
    pub level: Int,
    /// MDUpdateAction (279).
    pub update_action: Int,
    /// MDEntryType (269), a character.
    pub entry_type: Int,
    /// AggressorSide (5797).
    pub aggressor_side: Int,
    /// NumberOfOrders (346).
    pub number_of_orders: Int,
    /// OpenCloseSettlFlag (286).
    pub open_close_flag: Int,
    /// HighLimitPrice (1149).
    pub high_limit: Decimal,
    /// LowLimitPrice (1148).
    pub low_limit: Decimal,
    /// MaxPriceVariation (1143).
    pub max_variation: Decimal,
}

impl EntryPlan {
    pub(super) fn new(fields: &[Field]) -> EntryPlan {
        EntryPlan {
            price: Decimal::find(fields, "MDEntryPx"),
            size: Int::find_either(fields, "MDEntrySize", "MDDisplayQty"),
            security_id: Int::find(fields, "SecurityID"),
            order_id: Int::find(fields, "OrderID"),
            level: Int::find(fields, "MDPriceLevel"),
            update_action: Int::find(fields, "MDUpdateAction"),
            entry_type: Int::find(fields, "MDEntryType"),
            aggressor_side: Int::find(fields, "AggressorSide"),
            number_of_orders: Int::find(fields, "NumberOfOrders"),
            open_close_flag: Int::find(fields, "OpenCloseSettlFlag"),
            high_limit: Decimal::find(fields, "HighLimitPrice"),
            low_limit: Decimal::find(fields, "LowLimitPrice"),
            max_variation: Decimal::find(fields, "MaxPriceVariation"),
        }
    }
}

/// An entry of NoOrderIDEntries (37705).
#[derive(Clone, Copy, Debug)]
pub struct OrderPlan {
    /// OrderID (37).
    pub order_id: Int,
    /// MDDisplayQty (37706) or, in trades, LastQty (32).
    pub quantity: Int,
    /// ReferenceID (9633): the message's entry of NoMDEntries that this order belongs to, from 1.
    pub reference_id: Int,
    /// OrderUpdateAction (37708).
    pub update_action: Int,
}

impl OrderPlan {
    pub(super) fn new(fields: &[Field]) -> OrderPlan {
        OrderPlan {
            order_id: Int::find(fields, "OrderID"),
            quantity: Int::find_either(fields, "MDDisplayQty", "LastQty"),
            reference_id: Int::find(fields, "ReferenceID"),
            update_action: Int::find(fields, "OrderUpdateAction"),
        }
    }
}

/// The root block of an instrument definition.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentPlan {
    /// SecurityID (48).
    pub security_id: Int,
    /// SecurityUpdateAction (980): `A`, `M` or `D`.
    pub update_action: Int,
    /// Symbol (55).
    pub symbol: Text,
    /// SecurityGroup (1151).
    pub security_group: Text,
    /// Asset (6937).
    pub asset: Text,
    /// Currency (15).
    pub currency: Text,
    /// MinPriceIncrement (969).
    pub min_price_increment: Decimal,
    /// UnitOfMeasureQty (1147): units of the underlying in one contract.
    pub unit_of_measure_qty: Decimal,
}

impl InstrumentPlan {
    pub(super) fn new(fields: &[Field]) -> InstrumentPlan {
        InstrumentPlan {
            security_id: Int::find(fields, "SecurityID"),
            update_action: Int::find(fields, "SecurityUpdateAction"),
            symbol: Text::find(fields, "Symbol"),
            security_group: Text::find(fields, "SecurityGroup"),
            asset: Text::find(fields, "Asset"),
            currency: Text::find(fields, "Currency"),
            min_price_increment: Decimal::find(fields, "MinPriceIncrement"),
            unit_of_measure_qty: Decimal::find(fields, "UnitOfMeasureQty"),
        }
    }
}

/// An entry of NoLotTypeRules (1234).
#[derive(Clone, Copy, Debug)]
pub struct LotPlan {
    /// LotType (1093).
    pub lot_type: Int,
    /// MinLotSize (1231).
    pub min_lot_size: Decimal,
}

impl LotPlan {
    pub(super) fn new(fields: &[Field]) -> LotPlan {
        LotPlan { lot_type: Int::find(fields, "LotType"), min_lot_size: Decimal::find(fields, "MinLotSize") }
    }
}
