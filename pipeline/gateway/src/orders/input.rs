//! What can happen to the orders of a session. Each input is written to the journal before it has an effect outside, and
//! reading the inputs of a day again leads to the same orders.

use crate::line::{Told, WireRef};
use bus::{Instruction, OrderId, StreamId, TradingState};

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// An instruction passed all checks: it will be sent once it is on disk.
    Taken {
        /// Whose reports these are: the shard of its stream.
        shard: u16,
        /// Its place in the stream; zero for one that the gateway made itself.
        entry: StreamId,
        /// As the line calls it.
        wire_ref: WireRef,
        /// The instruction.
        instruction: Instruction,
        /// Made here, to end an order: for which cancel of a strategy, if for one.
        own: Option<Own>,
    },
    /// An instruction was refused.
    Denied {
        /// See [`Input::Taken`].
        shard: u16,
        /// See [`Input::Taken`].
        entry: StreamId,
        /// What could be read of it.
        about: About,
        /// The code.
        reason: String,
        /// The numbers.
        text: String,
    },
    /// An instruction with an id that is known came again.
    Asked {
        /// See [`Input::Taken`].
        shard: u16,
        /// See [`Input::Taken`].
        entry: StreamId,
        /// The id.
        id: OrderId,
    },
    /// The line took a message, or not.
    Went {
        /// The instruction.
        id: OrderId,
        /// How.
        how: Went,
    },
    /// The venue said something.
    Told(Told),
    /// Logged on, to this session of the venue's numbers.
    Up {
        /// Its name.
        session: String,
    },
    /// All that was missed is told.
    CaughtUp,
    /// The venue's numbers begin again.
    NewDay,
    /// Not connected any more, or another gateway goes on with what is known.
    Down {
        /// Why.
        why: String,
    },
    /// Who may trade.
    Trading(TradingState),
    /// So far the instructions of a shard are read.
    Cursor {
        /// The shard.
        shard: u16,
        /// The last entry.
        entry: StreamId,
    },
    /// The day is over, and every order of it.
    DayOver,
}

/// A cancel that the gateway made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// The strategy's cancel that it carries out.
    pub carries_out: Option<OrderId>,
}

/// What could be read of a refused instruction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Its id.
    pub id: Option<OrderId>,
    /// The order that it names.
    pub of: Option<OrderId>,
    /// Whose it is.
    pub strategy: String,
    /// The symbol.
    pub symbol: String,
    /// Of the instrument.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// What caused it.
    pub cause_ns: u64,
    /// Which way.
    pub side: Option<bus::OrderSide>,
}

impl About {
    /// All of an instruction.
    pub fn of(instruction: &Instruction) -> About {
        use bus::OrderAction::{Cancel, New, Replace};
        let (of, side) = match instruction.action {
            New { side, .. } => (None, Some(side)),
            Replace { of, .. } | Cancel { of } => (Some(of), None),
        };
        About {
            id: Some(instruction.id),
            of,
            strategy: instruction.strategy.clone(),
            symbol: instruction.symbol.clone(),
            publisher_id: instruction.publisher_id,
            instrument_id: instruction.instrument_id,
            cause_ns: instruction.cause_ns,
            side,
        }
    }
}

/// How sending went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Went {
    /// It left.
    Sent,
    /// It did not leave.
    Not {
        /// The code.
        reason: String,
        /// In words.
        text: String,
    },
    /// It may have left in part.
    Broken {
        /// In words.
        text: String,
    },
}
