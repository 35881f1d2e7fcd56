//! The messages of §2 (to the market) and §3 (from the market), and the dispatch over each direction.
//!
//! Single-letter codes are kept as their ASCII byte: a code that a later revision adds is carried, not
//! refused.

use super::{Appendage, MessageError, Price, WriteError};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Whether a type has an appendage. Where the specification lets its length be left out it is `Optional`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Never,
    Optional,
    Required,
}

/// Reads a body and its appendage.
fn read<'a, T>(bytes: &'a [u8], rule: Rule) -> Result<(&'a T, Appendage<'a>), MessageError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    let (&message_type, rest) = bytes.split_first().ok_or(MessageError::Empty)?;
    let size = 1 + size_of::<T>();
    let too_short = |expected| MessageError::TooShort { message_type, expected, actual: bytes.len() };
    let (body, rest) = T::ref_from_prefix(rest).map_err(|_| too_short(size))?;
    match rule {
        Rule::Never if !rest.is_empty() => Err(MessageError::TrailingBytes { offset: size }),
        Rule::Required if rest.is_empty() => Err(too_short(size + 2)),
        _ => Ok((body, Appendage::parse(rest, size)?)),
    }
}

/// Writes type, body and appendage to the front of `buffer`.
fn write(
    buffer: &mut [u8],
    message_type: u8,
    body: &[u8],
    rule: Rule,
    appendage: Appendage<'_>,
) -> Result<usize, WriteError> {
    let appendage = match rule {
        Rule::Never if appendage.is_present() => return Err(WriteError::NoAppendage(message_type)),
        Rule::Required if !appendage.is_present() => Appendage::EMPTY,
        _ => appendage,
    };
    let end = 1 + body.len() + appendage.wire_bytes();
    let message = buffer.get_mut(..end).ok_or(WriteError::NoRoom)?;
    message[0] = message_type;
    message[1..=body.len()].copy_from_slice(body);
    appendage.write(&mut message[1 + body.len()..]);
    Ok(end)
}

macro_rules! messages {
    ($(#[$enum_doc:meta])* $direction:ident
    $($(#[$doc:meta])* $name:ident = $letter:literal, $size:literal, $rule:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            const _: () = assert!(1 + size_of::<$name>() == $size);

            impl $name {
                /// The message type on the wire.
                pub const TYPE: u8 = $letter;
                /// Bytes on the wire with the type and without the appendage.
                pub const SIZE: usize = $size;
            }
        )*

        $(#[$enum_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $direction<'a> {
            $($(#[$doc])* $name(&'a $name),)*
        }

        impl<'a> $direction<'a> {
            /// Every type and its length in bytes without the appendage, in the order of the specification.
            pub const TYPES: &'static [(u8, usize)] = &[$(($letter, $size),)*];

            /// Reads one message in place, all of it.
            ///
            /// # Errors
            /// The first thing wrong, with its offset.
            #[inline]
            pub fn parse(bytes: &'a [u8]) -> Result<($direction<'a>, Appendage<'a>), MessageError> {
                match bytes.first() {
                    $(Some(&$letter) => {
                        let (body, appendage) = read(bytes, Rule::$rule)?;
                        Ok(($direction::$name(body), appendage))
                    })*
                    Some(&unknown) => Err(MessageError::UnknownType(unknown)),
                    None => Err(MessageError::Empty),
                }
            }

            /// Writes the message to the front of `buffer` and gives the number of bytes. A type that must
            /// have an appendage gets an empty one for [`Appendage::ABSENT`].
            ///
            /// # Errors
            /// No room, or an appendage for a type that has none; nothing is written then.
            #[inline]
            pub fn write(&self, appendage: Appendage<'_>, buffer: &mut [u8]) -> Result<usize, WriteError> {
                match self {
                    $($direction::$name(body) => {
                        write(buffer, $letter, body.as_bytes(), Rule::$rule, appendage)
                    })*
                }
            }
        }
    };
}

messages! {
    /// A message to the market, borrowed from the wire's bytes.
    Inbound

    /// §2.1 Enter Order.
    EnterOrder = b'O', 45, Required {
        /// The user's number of the order, higher than any used before on the day.
        user_ref_num: U32,
        /// `B` buy, `S` sell, `T` sell short, `E` sell short exempt.
        side: u8,
        /// Shares, above 0 and below 1,000,000.
        quantity: U32,
        /// The security.
        symbol: [u8; 8],
        /// Limit price, or [`Price::MARKET`].
        price: Price,
        /// `0` day, `3` immediate or cancel, `5` extended hours, `6` until the expire time, `E` after hours.
        time_in_force: u8,
        /// `Y` visible, `N` hidden, `A` attributable.
        display: u8,
        /// `A` agency, `P` principal, `R` riskless, `O` other.
        capacity: u8,
        /// `Y` an intermarket sweep, `N` not.
        intermarket_sweep: u8,
        /// `N` continuous, `O` opening, `C` closing, `H` halt or IPO, `S` supplemental, `R` retail, `E`
        /// extended life, `A` after hours close.
        cross_type: u8,
        /// The user's name of the order, which the market returns.
        cl_ord_id: [u8; 14],
    }

    /// §2.2 Replace Order Request: an order gives way to a new one of the same security and side.
    ReplaceOrder = b'U', 38, Required {
        /// The order that goes.
        orig_user_ref_num: U32,
        /// The order that comes, numbered higher than any before.
        user_ref_num: U32,
        /// Shares for the whole chain of replacements, those executed included.
        quantity: U32,
        /// Limit price, or [`Price::MARKET`].
        price: Price,
        /// As in [`EnterOrder`].
        time_in_force: u8,
        /// `Y` visible, `N` hidden, `A` attributable.
        display: u8,
        /// `Y` an intermarket sweep, `N` not.
        intermarket_sweep: u8,
        /// The user's name of the order that comes.
        cl_ord_id: [u8; 14],
    }

    /// §2.3 Cancel Order Request.
    CancelOrder = b'X', 9, Optional {
        /// The order.
        user_ref_num: U32,
        /// Shares that the order is to have in all, those executed included; 0 cancels all that is left.
        quantity: U32,
    }

    /// §2.4 Modify Order Request: another kind of sale, or fewer shares, without loss of priority.
    ModifyOrder = b'M', 10, Optional {
        /// The order.
        user_ref_num: U32,
        /// `S` sell, `T` sell short, `E` sell short exempt.
        side: u8,
        /// Shares that the order is to have in all, those executed included.
        quantity: U32,
    }

    /// §2.5 Mass Cancel Request.
    MassCancel = b'C', 17, Required {
        /// The request's own number, from the same count as orders.
        user_ref_num: U32,
        /// The firm whose orders go.
        firm: [u8; 4],
        /// The security; blank for all.
        symbol: [u8; 8],
    }

    /// §2.6 Disable Order Entry Request.
    DisableOrderEntry = b'D', 9, Required {
        /// The request's own number, from the same count as orders.
        user_ref_num: U32,
        /// The firm that is to enter no more orders.
        firm: [u8; 4],
    }

    /// §2.7 Enable Order Entry Request.
    EnableOrderEntry = b'E', 9, Required {
        /// The request's own number, from the same count as orders.
        user_ref_num: U32,
        /// The firm that may enter orders again.
        firm: [u8; 4],
    }

    /// §2.8 Account Query Request: which user reference number comes next.
    AccountQuery = b'Q', 1, Optional {
    }
}

messages! {
    /// A message from the market, borrowed from the wire's bytes.
    Outbound

    /// §3.1 System Event.
    SystemEvent = b'S', 10, Never {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// `S` start of day, `E` end of day.
        event_code: u8,
    }

    /// §3.2 Order Accepted: the order as the market took it, which may differ from what was entered.
    OrderAccepted = b'A', 62, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The user's number of the order.
        user_ref_num: U32,
        /// `B` buy, `S` sell, `T` sell short, `E` sell short exempt.
        side: u8,
        /// Shares.
        quantity: U32,
        /// The security.
        symbol: [u8; 8],
        /// The price that was accepted.
        price: Price,
        /// As in [`EnterOrder`].
        time_in_force: u8,
        /// `Y` visible, `N` hidden, `A` attributable, `Z` conformant.
        display: u8,
        /// The market's number of the order, unique in the day.
        order_reference: U64,
        /// As in [`EnterOrder`].
        capacity: u8,
        /// `Y` an intermarket sweep, `N` not.
        intermarket_sweep: u8,
        /// As in [`EnterOrder`].
        cross_type: u8,
        /// `L` live, `D` dead: accepted and cancelled at once.
        order_state: u8,
        /// The user's name of the order.
        cl_ord_id: [u8; 14],
    }

    /// §3.3 Order Replaced: the old order is gone and the new one is as stated here.
    OrderReplaced = b'U', 66, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order that went.
        orig_user_ref_num: U32,
        /// The order that came.
        user_ref_num: U32,
        /// `B` buy, `S` sell, `T` sell short, `E` sell short exempt.
        side: u8,
        /// Shares that are open now.
        quantity: U32,
        /// The security.
        symbol: [u8; 8],
        /// The price that was accepted.
        price: Price,
        /// As in [`EnterOrder`].
        time_in_force: u8,
        /// `Y` visible, `N` hidden, `A` attributable, `Z` conformant.
        display: u8,
        /// The market's number of the new order.
        order_reference: U64,
        /// As in [`EnterOrder`].
        capacity: u8,
        /// `Y` an intermarket sweep, `N` not.
        intermarket_sweep: u8,
        /// As in [`EnterOrder`].
        cross_type: u8,
        /// `L` live, `D` dead: accepted and cancelled at once.
        order_state: u8,
        /// The user's name of the new order.
        cl_ord_id: [u8; 14],
    }

    /// §3.4 Order Canceled: shares of an order are gone, asked for or not.
    OrderCanceled = b'C', 18, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// Shares that are gone now, not in all.
        quantity: U32,
        /// Why; see [`cancel_reason`](super::cancel_reason).
        reason: u8,
    }

    /// §3.5 AIQ Canceled: shares are gone because the order would have matched one of the same firm.
    AiqCanceled = b'D', 32, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// Shares that are gone now.
        decrement_shares: U32,
        /// `Q` always.
        reason: u8,
        /// Shares that would have traded.
        quantity_prevented: U32,
        /// The price at which they would have.
        execution_price: Price,
        /// The liquidity flag that the execution would have had.
        liquidity_flag: u8,
        /// The strategy that was applied; the letters of [`Tag::AiqStrategy`](super::Tag::AiqStrategy).
        aiq_strategy: u8,
    }

    /// §3.6 Order Executed: a fill. Earlier revisions leave the appendage out, so it may be absent here.
    OrderExecuted = b'E', 34, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// Shares executed now.
        quantity: U32,
        /// The execution's price.
        price: Price,
        /// `A` added, `R` removed, `O` opening, `C` closing cross, and others.
        liquidity_flag: u8,
        /// The execution's number; both sides of it have the same.
        match_number: U64,
    }

    /// §3.7 Broken Trade: an execution is undone. The order does not come back.
    BrokenTrade = b'B', 36, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// The execution.
        match_number: U64,
        /// `E` erroneous, `C` consent, `S` supervisory, `X` external.
        reason: u8,
        /// The user's name of the order.
        cl_ord_id: [u8; 14],
    }

    /// §3.8 Rejected: a new order, a replacement or a request was refused. Its number counts as used.
    Rejected = b'J', 29, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The number that was refused.
        user_ref_num: U32,
        /// Why; see [`reject_reason`](super::reject_reason).
        reason: U16,
        /// The user's name of the order.
        cl_ord_id: [u8; 14],
    }

    /// §3.9 Cancel Pending: the order is in a cross; the cancel takes effect afterwards, if it can.
    CancelPending = b'P', 13, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
    }

    /// §3.10 Cancel Reject: the order in a cross cannot be cancelled.
    CancelReject = b'I', 13, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
    }

    /// §3.11 Order Priority Update: the order stands elsewhere in the queue.
    OrderPriorityUpdate = b'T', 30, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// Its price now.
        price: Price,
        /// `Y` visible, `N` hidden, `A` attributable, `Z` conformant.
        display: u8,
        /// The market's new number of the order.
        order_reference: U64,
    }

    /// §3.12 Order Modified: what a [`ModifyOrder`] came to.
    OrderModified = b'M', 18, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// `S` sell, `T` sell short, `E` sell short exempt.
        side: u8,
        /// Shares that are open now.
        quantity: U32,
    }

    /// §3.13 Order Restated: the appendage says what changed.
    OrderRestated = b'R', 14, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The order.
        user_ref_num: U32,
        /// `R` the displayed size was refreshed, `P` the displayed price was updated.
        reason: u8,
    }

    /// §3.14 Mass Cancel Response: the request is taken; each order's end is told on its own.
    MassCancelResponse = b'X', 25, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The request's number.
        user_ref_num: U32,
        /// The firm.
        firm: [u8; 4],
        /// The security; blank for all.
        symbol: [u8; 8],
    }

    /// §3.15 Disable Order Entry Response.
    DisableOrderEntryResponse = b'G', 17, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The request's number.
        user_ref_num: U32,
        /// The firm.
        firm: [u8; 4],
    }

    /// §3.16 Enable Order Entry Response.
    EnableOrderEntryResponse = b'K', 17, Required {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The request's number.
        user_ref_num: U32,
        /// The firm.
        firm: [u8; 4],
    }

    /// §3.17 Account Query Response.
    AccountQueryResponse = b'Q', 13, Optional {
        /// Nanoseconds since midnight.
        timestamp_ns: U64,
        /// The least user reference number that is still free.
        next_user_ref_num: U32,
    }
}
