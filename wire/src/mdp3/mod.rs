//! CME MDP 3.0: the packet header, the chain of SBE messages behind it, and a decode plan made from the
//! exchange's own template XML.
//!
//! A packet is a 12-byte header (sequence number, sending time), then messages: each a `u16` size that
//! counts itself, an SBE message header (block length, template id, schema id, version), a root block and
//! repeating groups. All integers are little-endian. Specification: CME Group Client Systems Wiki,
//! "MDP 3.0 - Message Header" and "MDP 3.0 - Packet Structure", and FIX Simple Binary Encoding 1.0.
//!
//! [`Schema::parse`] compiles the XML once, at start. What decoding then does per field is one bounds check,
//! one 8-byte load and one shift: no lookup by name, no branch on the field's type and no allocation. The
//! wire's own block lengths are what is stepped by, so a sender that has extended a block is read correctly,
//! and a field that an older sender's block or version does not have reads as absent.
//!
//! ```text
//! template XML ──Schema::parse──► Schema ─ template by id ─► Template ─ root, entries, orders ─► plans
//! payload ──────Messages::new───► Message ─ root(), groups() ─► Block ─ Int::get, Decimal::get ─► values
//! ```

pub mod encode;
mod message;
mod plan;
mod schema;
mod xml;

pub use message::{Block, Blocks, FrameError, FrameReason, Group, Groups, Message, Messages, PacketHeader};
pub use plan::{Decimal, EntryPlan, InstrumentPlan, Int, LotPlan, OrderPlan, RootPlan, Text};
pub use schema::{FIXTURE, GroupDef, Kind, Schema, SchemaError, SchemaProblem, Template};
pub use xml::{Field, Primitive, Value};

/// Bytes in the packet header.
pub const PACKET_HEADER_BYTES: usize = 12;
/// Bytes in front of a message's root block: the size and the SBE message header.
pub const MESSAGE_HEADER_BYTES: usize = 10;
