//! What was asked for, could not be had, and did not stop the start.

use std::fmt;

/// Something better that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// What was wanted.
    pub wanted: String,
    /// Why it could not be had.
    pub reason: String,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}: {}", self.wanted, self.reason)
    }
}

impl From<&ebpf::Fallback> for Fallback {
    fn from(other: &ebpf::Fallback) -> Self {
        Self { wanted: other.wanted.clone(), reason: other.reason.clone() }
    }
}
