//! What feedplane's processes say to each other: stream names, records and configuration documents.

pub mod config;
