//! The optional fields behind a message (appendix A): a chain of length, tag and value.
//!
//! An element's length counts the tag and the value. A tag that this revision does not know is given as
//! [`Tag::Unknown`], to be passed over.

use super::{MessageError, Price, WriteError};

/// Bytes of the length in front of an appendage.
const LENGTH_BYTES: usize = 2;

/// A value of fixed width on the wire.
trait Value<const N: usize>: Sized {
    fn from_wire(bytes: [u8; N]) -> Self;
    fn to_wire(self) -> [u8; N];
}

macro_rules! integer_values {
    ($($type:ty, $width:literal;)*) => {
        $(impl Value<$width> for $type {
            fn from_wire(bytes: [u8; $width]) -> $type {
                <$type>::from_be_bytes(bytes)
            }
            fn to_wire(self) -> [u8; $width] {
                self.to_be_bytes()
            }
        })*
    };
}
integer_values! { u8, 1; u16, 2; u32, 4; i32, 4; u64, 8; }

impl<const N: usize> Value<N> for [u8; N] {
    fn from_wire(bytes: [u8; N]) -> [u8; N] {
        bytes
    }
    fn to_wire(self) -> [u8; N] {
        self
    }
}

impl Value<8> for Price {
    fn from_wire(bytes: [u8; 8]) -> Price {
        Price::new(u64::from_be_bytes(bytes))
    }
    fn to_wire(self) -> [u8; 8] {
        self.units().to_be_bytes()
    }
}

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident $get:ident = $number:literal, $width:literal: $type:ty;)*) => {
        /// An optional field. Codes are kept as their ASCII byte, so a code that a later revision adds is
        /// carried, not refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Tag<'a> {
            $($(#[$doc])* $name($type),)*
            /// A tag that this revision does not know.
            Unknown {
                /// The tag.
                number: u8,
                /// Its value.
                value: &'a [u8],
            },
        }

        impl<'a> Tag<'a> {
            /// Every tag and the width of its value in bytes, by number.
            pub const KNOWN: &'static [(u8, usize)] = &[$(($number, $width),)*];

            /// Reads the value of a tag, or names the width that it should have.
            fn read(number: u8, value: &'a [u8]) -> Result<Tag<'a>, usize> {
                match number {
                    $($number => match <[u8; $width]>::try_from(value) {
                        Ok(value) => Ok(Tag::$name(Value::from_wire(value))),
                        Err(_) => Err($width),
                    },)*
                    number => Ok(Tag::Unknown { number, value }),
                }
            }

            /// Calls `write` with the tag's number and value.
            fn with_wire<R>(&self, write: impl FnOnce(u8, &[u8]) -> R) -> R {
                match *self {
                    $(Tag::$name(value) => write($number, &Value::<$width>::to_wire(value)),)*
                    Tag::Unknown { number, value } => write(number, value),
                }
            }
        }

        impl<'a> Appendage<'a> {
            $(
                $(#[$doc])*
                ///
                /// `None` when the field is not there; of several the first counts.
                pub fn $get(&self) -> Option<$type> {
                    self.tags().find_map(|tag| match tag {
                        Tag::$name(value) => Some(value),
                        _ => None,
                    })
                }
            )*
        }
    };
}

tags! {
    /// The order's number in the market data, where it differs from the order reference number.
    SecondaryOrdRefNum secondary_ord_ref_num = 1, 8: u64;
    /// The firm for which the order is entered; else the port's.
    Firm firm = 2, 4: [u8; 4];
    /// Least shares to execute at once.
    MinQty min_qty = 3, 4: u32;
    /// `R` retail designated, `N` not, space: the port's default.
    CustomerType customer_type = 4, 1: u8;
    /// Shares to display; the rest is held in reserve.
    MaxFloor max_floor = 5, 4: u32;
    /// `L` limit, `P` market peg, `M` midpoint peg, `R` primary peg, `Q` market maker peg, `m` midpoint.
    PriceType price_type = 6, 1: u8;
    /// Offset of a pegged order, a signed count of 0.0001.
    PegOffset peg_offset = 7, 4: i32;
    /// Price within the order's discretion.
    DiscretionPrice discretion_price = 9, 8: Price;
    /// Kind of the discretionary price: the letters of the price type.
    DiscretionPriceType discretion_price_type = 10, 1: u8;
    /// Offset of a pegged discretionary price, a signed count of 0.0001.
    DiscretionPegOffset discretion_peg_offset = 11, 4: i32;
    /// `P` post only, `N` not.
    PostOnly post_only = 12, 1: u8;
    /// Shares by which the displayed size is varied at random.
    RandomReserves random_reserves = 13, 4: u32;
    /// Routing strategy; outbound only.
    Route route = 14, 4: [u8; 4];
    /// Seconds since midnight at which an order with time in force `6` ends.
    ExpireTime expire_time = 15, 4: u32;
    /// `Y` trade now, `N` not, space: the port's default.
    TradeNow trade_now = 16, 1: u8;
    /// Handling: space none, `I` imbalance only, `O` `T` retail order, `Q` `R` retail price improvement, `B`
    /// extended life, `D` direct listing.
    HandleInst handle_inst = 17, 1: u8;
    /// How the order stood to the best prices on entry: `0` to `3` weight, `S` sets the market's, `N` improves
    /// the national, space not stated.
    BboWeightIndicator bbo_weight_indicator = 18, 1: u8;
    /// Displayed shares.
    DisplayQuantity display_quantity = 22, 4: u32;
    /// Displayed price.
    DisplayPrice display_price = 23, 8: Price;
    /// The user's group of orders, for mass cancels.
    GroupId group_id = 24, 2: u16;
    /// `Y` the shares of a short sale are located, `N` not.
    SharesLocated shares_located = 25, 1: u8;
    /// The broker that located them.
    LocateBroker locate_broker = 26, 4: [u8; 4];
    /// `B` buy, `S` sell, `T` sell short, `E` sell short exempt.
    Side side = 27, 1: u8;
    /// Which of the account's numberings a user reference number belongs to; 0 when not there.
    UserRefIdx user_ref_idx = 28, 1: u8;
    /// Strategy against self matches (anti-internalization).
    AiqStrategy aiq_strategy = 29, 1: u8;
    /// Group of orders within which self matches are prevented.
    AiqGroupId aiq_group_id = 30, 2: [u8; 2];
}

/// The optional fields of a message, checked and borrowed, without the length in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appendage<'a>(Option<&'a [u8]>);

impl<'a> Appendage<'a> {
    /// No appendage, not even its length.
    pub const ABSENT: Appendage<'static> = Appendage(None);
    /// An appendage without fields: its length is there and 0.
    pub const EMPTY: Appendage<'static> = Appendage(Some(&[]));

    /// Checks what follows a message's fixed part, which is `offset` bytes long.
    pub(super) fn parse(rest: &'a [u8], offset: usize) -> Result<Appendage<'a>, MessageError> {
        if rest.is_empty() {
            return Ok(Appendage::ABSENT);
        }
        let past_end = MessageError::AppendagePastEnd { offset };
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(past_end)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (chain, trailing) = rest.split_at_checked(length).ok_or(past_end)?;
        let offset = offset + LENGTH_BYTES;
        if !trailing.is_empty() {
            return Err(MessageError::TrailingBytes { offset: offset + length });
        }
        let mut left = chain;
        while !left.is_empty() {
            let offset = offset + (chain.len() - left.len());
            (_, left) = element(left, offset)?;
        }
        Ok(Appendage(Some(chain)))
    }

    /// Whether there is an appendage, be it empty.
    pub const fn is_present(&self) -> bool {
        self.0.is_some()
    }

    /// The fields, first to last.
    pub fn tags(&self) -> Tags<'a> {
        Tags(self.0.unwrap_or(&[]))
    }

    /// The chain's bytes, which are none where there is no appendage.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self.0 {
            Some(chain) => chain,
            None => &[],
        }
    }

    /// Bytes on the wire, with the length.
    pub(super) const fn wire_bytes(&self) -> usize {
        match self.0 {
            Some(chain) => LENGTH_BYTES + chain.len(),
            None => 0,
        }
    }

    /// Writes length and chain to memory of exactly [`Appendage::wire_bytes`].
    pub(super) fn write(&self, memory: &mut [u8]) {
        if let Some(chain) = self.0 {
            memory[..LENGTH_BYTES].copy_from_slice(&(chain.len() as u16).to_be_bytes());
            memory[LENGTH_BYTES..].copy_from_slice(chain);
        }
    }
}

/// The element at the front of a chain, and what follows it.
fn element(chain: &[u8], offset: usize) -> Result<(Tag<'_>, &[u8]), MessageError> {
    let past_end = MessageError::TagPastEnd { offset };
    let (&length, rest) = chain.split_first().ok_or(past_end)?;
    let (element, rest) = rest.split_at_checked(usize::from(length)).ok_or(past_end)?;
    let (&number, value) = element.split_first().ok_or(MessageError::NoTag { offset })?;
    match Tag::read(number, value) {
        Ok(tag) => Ok((tag, rest)),
        Err(expected) => {
            Err(MessageError::WrongTagSize { offset, tag: number, expected, actual: value.len() })
        }
    }
}

/// The fields of an appendage, first to last.
#[derive(Clone, Debug)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let (tag, rest) = element(self.0, 0).ok()?;
        self.0 = rest;
        Some(tag)
    }
}

/// Writes optional fields into the caller's buffer.
#[derive(Debug)]
pub struct AppendageWriter<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl<'a> AppendageWriter<'a> {
    /// Begins an appendage. The buffer's length bounds it.
    pub const fn new(buffer: &'a mut [u8]) -> AppendageWriter<'a> {
        AppendageWriter { buffer, used: 0 }
    }

    /// Appends a field; on an error the appendage is as it was.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`] when the field does not fit, or the value of an unknown tag is longer than 254
    /// bytes; [`WriteError::KnownTag`] when that tag is known after all.
    pub fn push(&mut self, tag: Tag<'_>) -> Result<(), WriteError> {
        if let Tag::Unknown { number, .. } = tag
            && Tag::KNOWN.iter().any(|&(known, _)| known == number)
        {
            return Err(WriteError::KnownTag(number));
        }
        let used = tag.with_wire(|number, value| {
            let length = u8::try_from(1 + value.len()).map_err(|_| WriteError::NoRoom)?;
            let end = self.used + 1 + usize::from(length);
            if end > usize::from(u16::MAX) {
                return Err(WriteError::NoRoom);
            }
            let element = self.buffer.get_mut(self.used..end).ok_or(WriteError::NoRoom)?;
            element[0] = length;
            element[1] = number;
            element[2..].copy_from_slice(value);
            Ok(end)
        })?;
        self.used = used;
        Ok(())
    }

    /// The appendage, empty when nothing was pushed.
    pub fn finish(self) -> Appendage<'a> {
        Appendage(Some(&self.buffer[..self.used]))
    }
}
