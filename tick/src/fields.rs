//! The small coded fields of a tick. Each is one byte on the wire; an unknown byte is kept, not lost.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! byte_code {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub u8);

        #[allow(non_upper_case_globals)]
        impl $name {
            $($(#[$vdoc])* pub const $variant: $name = $name($value);)*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $($name::$variant => f.write_str(stringify!($variant)),)*
                    $name(other) => write!(f, concat!(stringify!($name), "({:#04x})"), other),
                }
            }
        }
    };
}

byte_code! {
    /// What happened, as an ASCII letter. DBN's letters, and `G` for a gap that feedplane declares.
    Action {
        /// A new order, or a new price level.
        Add = b'A',
        /// An order or level changed.
        Modify = b'M',
        /// An order or level reduced or removed.
        Cancel = b'C',
        /// The book is to be emptied: of one instrument, or of the whole channel when `instrument_id` is 0.
        Clear = b'R',
        /// A trade that does not name a resting order.
        Trade = b'T',
        /// A resting order was filled.
        Fill = b'F',
        /// A change of the instrument's trading status.
        Status = b'S',
        /// Nothing for the book: a statistic, an imbalance, an announcement.
        None = b'N',
        /// Sequence numbers that no line brought: see [`crate::Tick::gap`].
        Gap = b'G',
    }
}

byte_code! {
    /// Which side of the book, as an ASCII letter.
    Side {
        /// Buy side.
        Bid = b'B',
        /// Sell side.
        Ask = b'A',
        /// Neither, or not known.
        None = b'N',
    }
}

byte_code! {
    /// The line that brought the data.
    Source {
        /// Line A.
        A = b'A',
        /// Line B.
        B = b'B',
        /// A retransmission or recovery request.
        Retransmission = b'R',
        /// A snapshot channel.
        Snapshot = b'S',
        /// None: the record was made here (a declared gap, a recognised restart).
        Local = b'L',
    }
}

byte_code! {
    /// Why sequence numbers are missing from the stream.
    GapReason {
        /// No line brought them within the window or the time given.
        Lost = 1,
        /// The ring between worker and publisher was full.
        RingFull = 2,
        /// The publisher's spool was full while Redis was slow or gone.
        SpoolFull = 3,
        /// The data plane was not running (found by the position stored in Redis).
        Offline = 4,
    }
}

byte_code! {
    /// The state that a `Status` tick announces, in its `size`. DBN's numbers for a status record's action.
    StatusAction {
        /// No state of its own: see the venue's code in `order_id`.
        None = 0,
        /// Orders are accepted, the market is not open.
        PreOpen = 1,
        /// Before a cross or auction.
        PreCross = 2,
        /// Quoting, not trading.
        Quoting = 3,
        /// In a cross or auction.
        Cross = 4,
        /// Opening by rotation.
        Rotation = 5,
        /// A new price indication.
        NewPriceIndication = 6,
        /// Trading.
        Trading = 7,
        /// Halted.
        Halt = 8,
        /// Paused.
        Pause = 9,
        /// Suspended.
        Suspend = 10,
        /// Before the close.
        PreClose = 11,
        /// Closed.
        Close = 12,
        /// After the close.
        PostClose = 13,
        /// A short-selling restriction changed.
        SsrChange = 14,
        /// Not available for trading.
        NotAvailableForTrading = 15,
    }
}

/// DBN's record flags: a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// Last record of this event for this instrument.
    pub const LAST: Flags = Flags(1 << 7);
    /// A top-of-book record, not an individual order.
    pub const TOB: Flags = Flags(1 << 6);
    /// From a snapshot or replay.
    pub const SNAPSHOT: Flags = Flags(1 << 5);
    /// An aggregated price level, not an individual order.
    pub const MBP: Flags = Flags(1 << 4);
    /// `ts_recv` is not to be trusted (the clock was not in sync).
    pub const BAD_TS_RECV: Flags = Flags(1 << 3);
    /// An unrecovered gap lies before this record.
    pub const MAYBE_BAD_BOOK: Flags = Flags(1 << 2);
    /// Something that only this venue has. CME: of the implied or the market-best book, which is not the
    /// instrument's own.
    pub const PUBLISHER_SPECIFIC: Flags = Flags(1 << 1);

    /// Whether every bit of `other` is set.
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    const NAMES: [(Flags, &'static str); 7] = [
        (Flags::LAST, "LAST"),
        (Flags::TOB, "TOB"),
        (Flags::SNAPSHOT, "SNAPSHOT"),
        (Flags::MBP, "MBP"),
        (Flags::BAD_TS_RECV, "BAD_TS_RECV"),
        (Flags::MAYBE_BAD_BOOK, "MAYBE_BAD_BOOK"),
        (Flags::PUBLISHER_SPECIFIC, "PUBLISHER_SPECIFIC"),
    ];
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        for (flag, name) in Flags::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest &= !flag.0;
            }
        }
        if rest != 0 || self.0 == 0 { write!(f, "{separator}{rest:#04x}") } else { Ok(()) }
    }
}

/// Where `ts_recv` was read, and whether that clock was disciplined at the time.
///
/// Bits 0–2 are the source, bit 7 says that the clock was in sync.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Clock(pub u8);

/// The place where a receive time was read, best first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ClockSource {
    /// The NIC's hardware clock, mapped to UTC.
    Hardware = 1,
    /// The XDP program, at the driver's receive path.
    Xdp = 2,
    /// The kernel's socket receive timestamp.
    Kernel = 3,
    /// User space, after the packet was read.
    User = 4,
    /// A capture file's record header.
    Capture = 5,
}

impl Clock {
    const IN_SYNC: u8 = 1 << 7;

    /// A clock byte.
    #[inline]
    pub const fn new(source: ClockSource, in_sync: bool) -> Clock {
        Clock(source as u8 | if in_sync { Clock::IN_SYNC } else { 0 })
    }

    /// Where the time was read; `None` for a byte this version does not know.
    pub const fn source(self) -> Option<ClockSource> {
        match self.0 & !Clock::IN_SYNC {
            1 => Some(ClockSource::Hardware),
            2 => Some(ClockSource::Xdp),
            3 => Some(ClockSource::Kernel),
            4 => Some(ClockSource::User),
            5 => Some(ClockSource::Capture),
            _ => None,
        }
    }

    /// Whether the clock was disciplined when the time was read.
    #[inline]
    pub const fn in_sync(self) -> bool {
        self.0 & Clock::IN_SYNC != 0
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Some(source) => write!(f, "{source:?}{}", if self.in_sync() { "+sync" } else { "" }),
            None => write!(f, "Clock({:#04x})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_their_names_and_keep_unknown_bits() {
        assert_eq!(format!("{:?}", Flags::LAST | Flags::MBP), "LAST|MBP");
        assert_eq!(format!("{:?}", Flags(0)), "0x00");
        assert_eq!(format!("{:?}", Flags(0b1000_0001)), "LAST|0x01");
    }

    #[test]
    fn a_clock_byte_tells_source_and_sync_apart() {
        let clock = Clock::new(ClockSource::Xdp, true);
        assert_eq!((clock.source(), clock.in_sync()), (Some(ClockSource::Xdp), true));
        assert_eq!(Clock(0x7f).source(), None);
    }

    #[test]
    fn an_unknown_code_is_shown_as_its_byte() {
        assert_eq!(format!("{:?}", Action(b'?')), "Action(0x3f)");
        assert_eq!(format!("{:?}", Action::Clear), "Clear");
    }
}
