//! Table (c): decoders, ns a message, against decoders from the registry.
//!
//! Both sides walk the same bytes in memory, whole packets at a time, and every decoded value is folded into
//! a sum that is kept, so that no work can be left out.

mod itch;
mod mdp3;

use crate::harness::{Effort, Table};
use anyhow::Result;

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    Ok(Table { id: 'c', title: "decoders", metrics: vec![itch::metric(effort)?, mdp3::metric(effort)?] })
}
