//! The feature engine.
