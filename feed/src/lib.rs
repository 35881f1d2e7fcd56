//! The pure core of feedplane: payloads of two lines and a time in, ticks and gaps out.
//!
//! No socket, clock or file in here. Live capture, offline decoding, simulation, fuzzing and benchmarks
//! all call this same code. The way through it:
//!
//! ```text
//! payload ─► Protocol::header ─► arbiter (by message sequence) ─► Protocol::decode ─► Sink
//!             checks framing       first copy wins, window, gaps      messages to ticks
//! ```

mod any;
mod channel;
mod epoch;
mod history;
mod itch50;
mod mdp3;
mod output;
mod protocol;
mod stats;
mod window;

pub use any::AnyChannel;
pub use channel::{Channel, ChannelConfig, ConfigError};
pub use itch50::Itch50;
pub use mdp3::{Mdp3, Statistic};
pub use protocol::{Delivery, Header, Line, Malformed, MalformedReason, PacketKind, Protocol, Sink, Stamp};
pub use stats::{ChannelStats, LeadHistogram, LineStats};
