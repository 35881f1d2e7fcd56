//! One error type per phase: load, attach, change. Each carries the kernel's error number, from which
//! [`crate::diagnose`] makes an explanation.

use crate::diagnose::{Phase, explain};
use std::fmt;

/// The kernel's error number with what it means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno {
    /// The number; 0 when libbpf refused without asking the kernel.
    pub number: i32,
    /// What was being done.
    pub phase: Phase,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(self.phase, self.number))
    }
}

impl Errno {
    /// The number is only in the text: libbpf-rs keeps the `io::Error` private.
    pub(crate) fn of(phase: Phase, error: &libbpf_rs::Error) -> Self {
        let text = format!("{error:#}");
        let number = text
            .rsplit_once("(os error ")
            .and_then(|(_, rest)| rest.split(')').next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        Self { number, phase }
    }

    /// From a libbpf call that returns a negative number.
    pub(crate) fn of_return(phase: Phase, value: i32) -> Self {
        Self { number: -value, phase }
    }
}

/// A program could not be brought into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object built into this binary was refused before the kernel saw it.
    #[error("the XDP object could not be opened: {0}")]
    Open(String),
    /// The kernel refused the program or a map.
    #[error("the XDP program `{program}` could not be loaded: {errno}{}", log_suffix(.log))]
    Refused {
        /// The program's name.
        program: &'static str,
        /// Why.
        errno: Errno,
        /// The last lines that libbpf and the verifier said.
        log: String,
    },
    /// The interface does not exist.
    #[error("there is no interface {0} in this network namespace")]
    NoInterface(u32),
    /// The program loaded, and could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A device-bound program would be a danger to this kernel.
    #[error(
        "not loaded, because this kernel may crash when the device goes away under it ({0}), so packets \
         carry no hardware time"
    )]
    Dangerous(&'static str),
    /// The request cannot be met by any kernel.
    #[error("{0}")]
    BadRequest(&'static str),
}

fn log_suffix(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; libbpf says: {log}") }
}

/// A loaded program could not be attached to the interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel refused.
    #[error("no XDP program can be attached to interface {ifindex} in {mode} mode: {errno}")]
    Refused {
        /// The interface.
        ifindex: u32,
        /// The mode that was asked for.
        mode: crate::AttachMode,
        /// Why.
        errno: Errno,
    },
    /// Attached, and the kernel does not say in which mode.
    #[error("the mode of the XDP program on interface {ifindex} could not be read back: {errno}")]
    ReadBack {
        /// The interface.
        ifindex: u32,
        /// Why.
        errno: Errno,
    },
}

/// A running steering could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The feed map is full.
    #[error("the feed map holds {0} feeds and is full: load with a larger `feeds_max`")]
    FeedMapFull(u32),
    /// The filter map is full.
    #[error("the filter map holds {0} filters and is full: load with a larger `filters_max`")]
    FilterMapFull(u32),
    /// The filter is not in the map.
    #[error("no such filter in the map")]
    NoSuchFilter,
    /// The feed is not in the map.
    #[error("no such feed in the map")]
    NoSuchFeed,
    /// The queue has no place in the socket map.
    #[error("queue {queue} is outside of the socket map of {queues} entries: load with more `queues_max`")]
    NoSuchQueue {
        /// The queue.
        queue: u32,
        /// The size of the map.
        queues: u32,
    },
    /// The kernel refused.
    #[error("the map could not be changed or read: {0}")]
    Map(Errno),
    /// The successor could not be loaded; the old program runs on.
    #[error("the new program could not be loaded, the old one runs on: {0}")]
    Load(#[from] LoadError),
    /// The successor could not take over; the old program runs on.
    #[error("the new program could not take over, the old one runs on: {0}")]
    Update(Errno),
    /// The interface that the program was attached to is gone.
    #[error("interface {0} is gone, and the attachment with it")]
    InterfaceGone(u32),
}
