//! The archiver.
