//! Single values: what a code or number of the wire is in a tick. `None` is a value that cannot be carried.

use tick::{Action, DEPTH_NO_LEVEL, Flags, Price, Side, StatusAction, Tick};

/// Deepest price level that a delete-from is taken to reach. CME's deepest book by price has 10 levels.
pub(super) const LEVELS_MAX: u8 = 20;

/// What a `None` tick's number is, in its `order_id`: DBN's statistic types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Statistic {
    /// First trade's price.
    OpeningPrice = 1,
    /// Price at which the market would open.
    IndicativeOpeningPrice = 2,
    /// Settlement price.
    SettlementPrice = 3,
    /// Lowest trade of the session.
    SessionLowPrice = 4,
    /// Highest trade of the session.
    SessionHighPrice = 5,
    /// Contracts cleared on the trading date before.
    ClearedVolume = 6,
    /// Lowest offer of the session.
    LowestOffer = 7,
    /// Highest bid of the session.
    HighestBid = 8,
    /// Contracts outstanding.
    OpenInterest = 9,
    /// Fixing price.
    FixingPrice = 10,
    /// Volume-weighted average price.
    Vwap = 13,
    /// Upper price limit; an undefined price means that there is none.
    UpperPriceLimit = 17,
    /// Lower price limit.
    LowerPriceLimit = 18,
    /// The session's electronic volume (DBN: venue-specific volume 1).
    ElectronicVolume = 10_001,
    /// Largest price move allowed (DBN: venue-specific price 1).
    MaxPriceVariation = 10_002,
}

impl Statistic {
    /// By MDEntryType and OpenCloseSettlFlag.
    pub(super) fn of(entry_type: u8, open_close_flag: Option<i64>) -> Option<Statistic> {
        Some(match entry_type {
            b'4' if open_close_flag == Some(5) => Statistic::IndicativeOpeningPrice,
            b'4' => Statistic::OpeningPrice,
            b'6' => Statistic::SettlementPrice,
            b'7' => Statistic::SessionHighPrice,
            b'8' => Statistic::SessionLowPrice,
            b'9' => Statistic::Vwap,
            b'B' => Statistic::ClearedVolume,
            b'C' => Statistic::OpenInterest,
            b'N' => Statistic::HighestBid,
            b'O' => Statistic::LowestOffer,
            b'W' => Statistic::FixingPrice,
            b'e' => Statistic::ElectronicVolume,
            _ => return None,
        })
    }
}

/// The factor from a mantissa to 1e-9 units; 0 when the exponent is below −9 and prices have to be divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    factor: i64,
    exponent: i8,
}

/// Powers of ten from 0 to the highest that an `i64` holds.
const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut power = 1;
    while power < powers.len() {
        powers[power] = 10 * powers[power - 1];
        power += 1;
    }
    powers
};

impl Scale {
    #[inline]
    pub(super) fn new(exponent: i8) -> Scale {
        let power = usize::try_from(i32::from(exponent) + 9).ok();
        Scale { factor: power.and_then(|power| POWERS.get(power).copied()).unwrap_or(0), exponent }
    }

    /// A price in 1e-9 units; undefined when there is no mantissa.
    #[inline(always)]
    pub(super) fn price(self, mantissa: Option<i64>) -> Option<i64> {
        let Some(mantissa) = mantissa else { return Some(Price::UNDEFINED.0) };
        if self.factor == 0 {
            return Price::from_mantissa(mantissa, self.exponent).map(|price| price.0);
        }
        mantissa.checked_mul(self.factor).filter(|&price| price != Price::UNDEFINED.0)
    }
}

/// A quantity. A negative one is a value with the top bit set, or one that makes no sense: neither fits.
#[inline(always)]
pub(super) fn size(quantity: Option<i64>) -> Option<u32> {
    match quantity {
        None => Some(Tick::SIZE_UNDEFINED),
        Some(quantity) => u32::try_from(quantity).ok().filter(|&size| size != Tick::SIZE_UNDEFINED),
    }
}

/// SecurityID.
#[inline(always)]
pub(super) fn instrument_id(security_id: Option<i64>) -> Option<u32> {
    u32::try_from(security_id?).ok()
}

/// MDPriceLevel.
#[inline(always)]
pub(super) fn depth(level: Option<i64>) -> Option<u8> {
    match level {
        None | Some(0) => Some(DEPTH_NO_LEVEL),
        Some(level) => u8::try_from(level).ok(),
    }
}

/// Book entries by MDEntryType: the side, and the flags that tell which of the instrument's books it is in.
/// A table, because which side comes next cannot be predicted and a mispredicted jump costs more than all else.
const BOOK_ENTRIES: [Option<(Side, Flags)>; 256] = {
    let implied = Flags::PUBLISHER_SPECIFIC;
    let market_best = Flags(Flags::PUBLISHER_SPECIFIC.0 | Flags::TOB.0);
    let mut entries = [None; 256];
    entries[b'0' as usize] = Some((Side::Bid, Flags::NONE));
    entries[b'1' as usize] = Some((Side::Ask, Flags::NONE));
    entries[b'E' as usize] = Some((Side::Bid, implied));
    entries[b'F' as usize] = Some((Side::Ask, implied));
    entries[b'x' as usize] = Some((Side::Bid, market_best));
    entries[b'w' as usize] = Some((Side::Ask, market_best));
    entries[b'J' as usize] = Some((Side::None, Flags::NONE));
    entries
};

/// MDEntryType of a book entry. An empty book has no side.
#[inline(always)]
pub(super) fn book_side(entry_type: Option<i64>) -> Option<(Side, Flags)> {
    BOOK_ENTRIES[usize::from(entry_type? as u8)]
}

/// MDUpdateAction or OrderUpdateAction, as far as it is about one level or order. Overlay replaces a level.
#[inline(always)]
pub(super) fn action(update_action: Option<i64>) -> Option<Action> {
    const ACTIONS: [Option<Action>; 6] =
        [Some(Action::Add), Some(Action::Modify), Some(Action::Cancel), None, None, Some(Action::Modify)];
    *ACTIONS.get(usize::try_from(update_action?).ok()?)?
}

/// AggressorSide.
pub(super) fn aggressor(side: Option<i64>) -> Side {
    match side {
        Some(1) => Side::Bid,
        Some(2) => Side::Ask,
        _ => Side::None,
    }
}

/// The other side of the book.
pub(super) fn opposite(side: Side) -> Side {
    match side {
        Side::Bid => Side::Ask,
        Side::Ask => Side::Bid,
        _ => Side::None,
    }
}

/// SecurityTradingStatus. A workup (BrokerTec) is a kind of trading.
pub(super) fn status(code: Option<i64>) -> StatusAction {
    match code {
        Some(2) => StatusAction::Halt,
        Some(4) => StatusAction::Close,
        Some(15) => StatusAction::NewPriceIndication,
        Some(17 | 201 | 202) => StatusAction::Trading,
        Some(18) => StatusAction::NotAvailableForTrading,
        Some(21) => StatusAction::PreOpen,
        Some(24) => StatusAction::PreCross,
        Some(25) => StatusAction::Cross,
        Some(26) => StatusAction::PostClose,
        _ => StatusAction::None,
    }
}
