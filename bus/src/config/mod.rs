//! Configuration documents. The types here are the schema: `schemars` derives it, `serde` reads it, and
//! every field's comment is the operator's manual.

mod feeds;

pub use feeds::{Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument};
