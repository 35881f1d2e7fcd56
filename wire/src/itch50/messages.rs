//! The 23 messages of §1, in the order of the specification, and the dispatch over them.
//!
//! Single-letter codes are kept as their ASCII byte: a code that a later revision adds is carried, not
//! refused.

use super::MessageError;
use super::fields::{Price4, Price8, Timestamp};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What every message begins with, at the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Head {
    /// The message type, an ASCII letter.
    pub message_type: u8,
    /// The day's number of the security, from 1; 0 where the message is not about one.
    pub stock_locate: U16,
    /// Nasdaq's internal tracking number.
    pub tracking_number: U16,
    /// When the message was made.
    pub timestamp: Timestamp,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $letter:literal, $size:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Type, security, tracking number and time.
                pub head: Head,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            const _: () = assert!(size_of::<$name>() == $size);

            impl $name {
                /// The message type on the wire.
                pub const TYPE: u8 = $letter;
                /// Bytes on the wire.
                pub const SIZE: usize = $size;

                /// Reads a message of this type in place.
                ///
                /// # Errors
                /// The bytes are of another type or length.
                #[inline]
                pub fn read(bytes: &[u8]) -> Result<&$name, MessageError> {
                    match bytes.first() {
                        Some(&$letter) => $name::ref_from_bytes(bytes).map_err(|_| MessageError::WrongSize {
                            message_type: $letter,
                            expected: $size,
                            actual: bytes.len(),
                        }),
                        Some(&other) => Err(MessageError::UnknownType(other)),
                        None => Err(MessageError::Empty),
                    }
                }

                /// The head of such a message.
                pub const fn head(stock_locate: u16, tracking_number: u16, timestamp_ns: u64) -> Head {
                    Head {
                        message_type: $letter,
                        stock_locate: U16::new(stock_locate),
                        tracking_number: U16::new(tracking_number),
                        timestamp: Timestamp::new(timestamp_ns),
                    }
                }
            }
        )*

        /// A message, borrowed from the wire's bytes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Message<'a> {
            $($(#[$doc])* $name(&'a $name),)*
        }

        impl<'a> Message<'a> {
            /// Every type and its length in bytes, in the order of the specification.
            pub const TYPES: &'static [(u8, usize)] = &[$(($letter, $size),)*];

            /// Reads one message in place.
            ///
            /// # Errors
            /// The type is not known or the length is not the type's.
            #[inline]
            pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, MessageError> {
                let Some(&message_type) = bytes.first() else { return Err(MessageError::Empty) };
                match message_type {
                    $($letter => $name::read(bytes).map(Message::$name),)*
                    unknown => Err(MessageError::UnknownType(unknown)),
                }
            }

            /// What every message begins with.
            #[inline]
            pub fn head(&self) -> &'a Head {
                match self {
                    $(Message::$name(message) => &message.head,)*
                }
            }
        }
    };
}

messages! {
    /// §1.1 System Event: the day's events, from start to end of messages.
    SystemEvent = b'S', 12 {
        /// `O` start of messages, `S` start of system hours, `Q` start of market hours, `M` end of market
        /// hours, `E` end of system hours, `C` end of messages.
        event_code: u8,
    }

    /// §1.2.1 Stock Directory: one for each security, at the start of the day.
    StockDirectory = b'R', 39 {
        /// The symbol.
        stock: [u8; 8],
        /// Listing market: `Q` `G` `S` Nasdaq's tiers, `N` NYSE, `A` NYSE American, `P` Arca, `Z` BATS, `V` IEX.
        market_category: u8,
        /// `N` normal, `D` deficient, `E` delinquent, `Q` bankrupt, `S` suspended, and combinations.
        financial_status: u8,
        /// Shares in a round lot.
        round_lot_size: U32,
        /// `Y` when only round lots are accepted.
        round_lots_only: u8,
        /// Security class (appendix D).
        issue_classification: u8,
        /// Security sub-type (appendix E).
        issue_sub_type: [u8; 2],
        /// `P` production, `T` test.
        authenticity: u8,
        /// `Y` restricted under SEC rule 203(b)(3), `N` not, space: not available.
        short_sale_threshold: u8,
        /// `Y` a new IPO, `N` not, space: not available.
        ipo_flag: u8,
        /// `1` tier 1, `2` tier 2, space: not available.
        luld_tier: u8,
        /// `Y` an exchange-traded product, `N` not, space: not available.
        etp_flag: u8,
        /// Leverage of an exchange-traded product, rounded down.
        etp_leverage_factor: U32,
        /// `Y` an inverse product.
        inverse_indicator: u8,
    }

    /// §1.2.2 Stock Trading Action: the trading state of a security.
    StockTradingAction = b'H', 25 {
        /// The symbol.
        stock: [u8; 8],
        /// `H` halted, `P` paused, `Q` quotation only, `T` trading.
        trading_state: u8,
        /// Reserved.
        reserved: u8,
        /// Why (appendix C).
        reason: [u8; 4],
    }

    /// §1.2.3 Reg SHO Short Sale Price Test Restricted Indicator.
    RegSho = b'Y', 20 {
        /// The symbol.
        stock: [u8; 8],
        /// `0` no test, `1` in effect after an intraday drop, `2` remains in effect.
        action: u8,
    }

    /// §1.2.4 Market Participant Position: a firm's registration in a security.
    MarketParticipantPosition = b'L', 26 {
        /// The firm.
        mpid: [u8; 4],
        /// The symbol.
        stock: [u8; 8],
        /// `Y` primary market maker, `N` not.
        primary_market_maker: u8,
        /// `N` normal, `P` passive, `S` syndicate, `R` pre-syndicate, `L` penalty.
        market_maker_mode: u8,
        /// `A` active, `E` excused, `W` withdrawn, `S` suspended, `D` deleted.
        state: u8,
    }

    /// §1.2.5.1 MWCB Decline Level: the day's market-wide circuit breaker levels.
    MwcbDeclineLevel = b'V', 35 {
        /// Level 1.
        level_1: Price8,
        /// Level 2.
        level_2: Price8,
        /// Level 3.
        level_3: Price8,
    }

    /// §1.2.5.2 MWCB Status: a circuit breaker level was breached.
    MwcbStatus = b'W', 12 {
        /// `1`, `2` or `3`.
        breached_level: u8,
    }

    /// §1.2.6 Quoting Period Update: when an IPO is released for quotation. `stock_locate` is always 0.
    QuotingPeriodUpdate = b'K', 28 {
        /// The symbol.
        stock: [u8; 8],
        /// Seconds since midnight; 0 when cancelled or postponed.
        release_time_s: U32,
        /// `A` anticipated, `C` cancelled or postponed.
        release_qualifier: u8,
        /// The IPO price; 0 when cancelled or postponed.
        ipo_price: Price4,
    }

    /// §1.2.7 LULD Auction Collar: within which a paused security may reopen.
    LuldAuctionCollar = b'J', 35 {
        /// The symbol.
        stock: [u8; 8],
        /// The price that the collars are set from.
        reference_price: Price4,
        /// Upper collar.
        upper_price: Price4,
        /// Lower collar.
        lower_price: Price4,
        /// Extensions of the reopening auction so far.
        extension: U32,
    }

    /// §1.2.8 Operational Halt: service interrupted on one of Nasdaq's markets.
    OperationalHalt = b'h', 21 {
        /// The symbol.
        stock: [u8; 8],
        /// `Q` Nasdaq, `B` BX, `X` PSX.
        market_code: u8,
        /// `H` halted, `T` resumed.
        action: u8,
    }

    /// §1.3.1 Add Order, no attribution.
    AddOrder = b'A', 36 {
        /// The order's number, unique in the day.
        order_reference: U64,
        /// `B` buy, `S` sell.
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// The symbol.
        stock: [u8; 8],
        /// Displayed price.
        price: Price4,
    }

    /// §1.3.2 Add Order with the firm's name.
    AddOrderMpid = b'F', 40 {
        /// The order's number, unique in the day.
        order_reference: U64,
        /// `B` buy, `S` sell.
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// The symbol.
        stock: [u8; 8],
        /// Displayed price.
        price: Price4,
        /// The firm.
        attribution: [u8; 4],
    }

    /// §1.4.1 Order Executed, at the order's own price. Cumulative.
    OrderExecuted = b'E', 31 {
        /// The resting order.
        order_reference: U64,
        /// Shares executed now.
        executed_shares: U32,
        /// The execution's number, unique in the day.
        match_number: U64,
    }

    /// §1.4.2 Order Executed With Price: at a price other than the order's. Cumulative.
    OrderExecutedWithPrice = b'C', 36 {
        /// The resting order.
        order_reference: U64,
        /// Shares executed now.
        executed_shares: U32,
        /// The execution's number, unique in the day.
        match_number: U64,
        /// `Y` count it as volume, `N` do not: a later bulk print includes it.
        printable: u8,
        /// The execution's price.
        execution_price: Price4,
    }

    /// §1.4.3 Order Cancel: some of an order's shares are removed.
    OrderCancel = b'X', 23 {
        /// The resting order.
        order_reference: U64,
        /// Shares removed now.
        cancelled_shares: U32,
    }

    /// §1.4.4 Order Delete: all that is left of an order is removed.
    OrderDelete = b'D', 19 {
        /// The resting order.
        order_reference: U64,
    }

    /// §1.4.5 Order Replace: an order gives way to a new one of the same security, side and firm.
    OrderReplace = b'U', 35 {
        /// The order that goes.
        original_reference: U64,
        /// The order that comes.
        new_reference: U64,
        /// Its displayed shares.
        shares: U32,
        /// Its displayed price.
        price: Price4,
    }

    /// §1.5.1 Trade (Non-Cross): a match with an order that was not displayed.
    Trade = b'P', 44 {
        /// 0 since 2010.
        order_reference: U64,
        /// `B` always, since 2014.
        side: u8,
        /// Shares matched.
        shares: U32,
        /// The symbol.
        stock: [u8; 8],
        /// The match's price.
        price: Price4,
        /// The match's number.
        match_number: U64,
    }

    /// §1.5.2 Cross Trade: the bulk print of a cross, which may be of 0 shares.
    CrossTrade = b'Q', 40 {
        /// Shares matched.
        shares: U64,
        /// The symbol.
        stock: [u8; 8],
        /// The cross's price.
        cross_price: Price4,
        /// The execution's number, unique in the day.
        match_number: U64,
        /// `O` opening, `C` closing, `H` IPO, halted or paused.
        cross_type: u8,
    }

    /// §1.5.3 Broken Trade: an execution is undone for the statistics; no book changes.
    BrokenTrade = b'B', 19 {
        /// The number of the execution that is broken.
        match_number: U64,
    }

    /// §1.6 Net Order Imbalance Indicator, before a cross.
    NetOrderImbalance = b'I', 50 {
        /// Shares that match at the reference price.
        paired_shares: U64,
        /// Shares that do not.
        imbalance_shares: U64,
        /// `B` buy, `S` sell, `N` none, `O` too few orders, `P` paused.
        imbalance_direction: u8,
        /// The symbol.
        stock: [u8; 8],
        /// Clearing price of the cross orders alone.
        far_price: Price4,
        /// Clearing price of cross and continuous orders.
        near_price: Price4,
        /// The price that the shares are counted at.
        reference_price: Price4,
        /// `O` opening, `C` closing, `H` IPO, halted or paused, `A` extended trading close.
        cross_type: u8,
        /// Deviation of the near price from the reference price, coded.
        price_variation: u8,
    }

    /// §1.7 Retail Price Improvement Indicator.
    RetailInterest = b'N', 20 {
        /// The symbol.
        stock: [u8; 8],
        /// `B` on the buy side, `S` on the sell side, `A` on both, `N` on none.
        interest_flag: u8,
    }

    /// §1.8 Direct Listing with Capital Raise Price Discovery.
    DirectListing = b'O', 48 {
        /// The symbol.
        stock: [u8; 8],
        /// `Y` eligible to be released for trading, `N` not.
        open_eligibility: u8,
        /// 20 % below the registration statement's lower price.
        minimum_price: Price4,
        /// 80 % above the registration statement's highest price.
        maximum_price: Price4,
        /// The reference price when the volatility test was passed.
        near_price: Price4,
        /// When that price was set.
        near_time: U64,
        /// 10 % below the near price.
        lower_collar: Price4,
        /// 10 % above the near price.
        upper_collar: Price4,
    }
}

impl AddOrder {
    /// Reads an added order of either type, `A` or `F`, in place: the attribution stands behind what both
    /// have.
    ///
    /// # Errors
    /// The bytes are of another type or length.
    #[inline]
    pub fn read_either(bytes: &[u8]) -> Result<&AddOrder, MessageError> {
        let expected = match bytes.first() {
            Some(&AddOrder::TYPE) => AddOrder::SIZE,
            Some(&AddOrderMpid::TYPE) => AddOrderMpid::SIZE,
            Some(&other) => return Err(MessageError::UnknownType(other)),
            None => return Err(MessageError::Empty),
        };
        match AddOrder::ref_from_prefix(bytes) {
            Ok((add, _)) if bytes.len() == expected => Ok(add),
            _ => Err(MessageError::WrongSize { message_type: bytes[0], expected, actual: bytes.len() }),
        }
    }
}
