//! What feedplane's processes say to each other: stream names, records and configuration documents.
//!
//! Everything that two processes must agree on is here and nowhere else: what a stream and its keys are
//! called ([`names`]), what an entry of `raw_market_data` is ([`Entry`]), how far a channel is published
//! ([`Position`]), how a reader notices that something is missing ([`Continuity`]), how streams are read and divided
//! ([`consumer`]), what a record of `calculated_features` is ([`FeatureRecord`]), what is said about
//! orders ([`Instruction`], [`Report`]), what a trained model is ([`ModelCard`]) and says ([`Score`]), the documents
//! that configure the processes ([`config`]), and how their versions reach them ([`control`]). The contract in words is
//! `docs/streams.md`.

mod address;
pub mod config;
pub mod consumer;
mod continuity;
pub mod control;
mod entry;
mod feature;
mod instrument;
pub mod link;
mod model;
pub mod names;
mod order;
mod position;
mod reply;
mod score;
mod trading;

pub use address::{REDIS_PASSWORD_VARIABLE, redis_address};
pub use continuity::{Continuity, Verdict};
pub use entry::{Content, Entry, EntryError, is_channel_clear, reason_name};
pub use feature::{FeatureError, FeatureRecord, FeatureSchema, FeatureSpec, Quality};
pub use instrument::InstrumentRow;
pub use model::{
    MODEL_CARD_BYTES_MAX, MODEL_CARD_FILE, MODEL_FEATURES_MAX, MODEL_NAME_BYTES_MAX, MODEL_ONNX_BYTES_MAX,
    MODEL_ONNX_FILE, MODEL_VERSION_MAX, MissingFeature, ModelCard, ModelError, ModelFiles, ModelInput,
    ModelOutput, ModelTraining, ModelUnit, Sha256Sum,
};
pub use order::{
    Instruction, ORDER_ID_BYTES_MAX, ORDER_NAME_BYTES_MAX, ORDER_VERSION, OrderAction, OrderError,
    OrderFault, OrderId, OrderIdError, OrderSide, Quantity, REPORT_TEXT_BYTES_MAX, Report, ReportKind,
    TimeInForce,
};
pub use position::{Position, PositionError, Positions, WriteId};
pub use reply::{
    Fields, Record, StreamEntries, StreamEntry, StreamId, StreamRecords, entries_of_range, entries_of_read,
    records_of_range, records_of_read,
};
pub use score::{Score, ScoreError, ScoreRole};
pub use trading::{TradingError, TradingMode, TradingState};
