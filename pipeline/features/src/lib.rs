//! The feature engine: numbers about each instrument, published as they change.
//!
//! [`Engine`] takes the ticks of one stream and gives out numbered records. It holds no clock, file or socket:
//! the same ticks give the same records, bit for bit, also after [`Engine::save`] and [`Engine::restore`]. What
//! each number is stands in `docs/features.md`; which are wanted in [`bus::config::FeaturesDocument`].
//!
//! ```text
//! Tick ─► books ─► instrument: time, gaps, quote ─► each set: bars, flow, buckets ─► publish? ─► record
//! ```

mod bars;
mod engine;
mod flow;
mod instrument;
mod plan;
mod state;
mod window;

pub use engine::Engine;
pub use state::StateError;
