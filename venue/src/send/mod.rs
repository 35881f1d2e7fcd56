//! Ways out: raw frames on two interfaces, UDP sockets, or a capture file.
//!
//! A way out takes one dispatch at a time, gathers a batch per line and writes it with one system call.
//! Nothing is sent anywhere but on the interface that was named, and only to the addresses of the session's
//! channels.

mod batch;
mod file;
mod raw;
mod udp;

pub use file::FileOutlet;
pub use raw::{RawOutlet, RawTarget};
pub use udp::UdpOutlet;

use crate::impair::{self, Withheld};
use crate::script::Dispatch;
use crate::session::Line;
use std::net::Ipv4Addr;

/// A way out for packets.
pub trait Outlet {
    /// Takes a copy to be sent. It may wait in a batch until [`Outlet::flush`], or until the batch is full.
    ///
    /// # Errors
    /// What the kernel said.
    fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError>;

    /// Sends what waits.
    ///
    /// # Errors
    /// What the kernel said.
    fn flush(&mut self) -> Result<(), SendError>;
}

impl<O: Outlet + ?Sized> Outlet for Box<O> {
    fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError> {
        (**self).send(dispatch)
    }

    fn flush(&mut self) -> Result<(), SendError> {
        (**self).flush()
    }
}

/// Why a packet cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The interface is not there.
    #[error("no interface {0}")]
    NoInterface(String),
    /// The socket cannot be made.
    #[error("cannot {what}: {error}")]
    Setup {
        /// What was tried.
        what: String,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// A packet was refused.
    #[error("line {}: cannot send {bytes} bytes to {to}: {error}", line.name())]
    Refused {
        /// The line.
        line: Line,
        /// Bytes of the frame or payload.
        bytes: usize,
        /// The receiver.
        to: std::net::SocketAddrV4,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// Raw frames need a destination whose Ethernet address is known.
    #[error("{0} is not a multicast group: raw frames are sent to groups only; use UDP sockets")]
    NotMulticast(Ipv4Addr),
    /// A line is to be sent for which no interface was named.
    #[error("line {} has no interface", .0.name())]
    NoLine(Line),
    /// Flipped bits under the old checksum need raw frames.
    #[error("a UDP socket computes a right checksum over flipped bits: corruption needs raw frames")]
    CannotCorrupt,
    /// The capture file cannot be written.
    #[error("cannot write the capture: {0}")]
    File(std::io::Error),
}

/// Builds the frame of a dispatch, damaged as it says.
fn build_frame(frame: &mut Vec<u8>, header: &crate::frame::FrameHeader, dispatch: &Dispatch<'_>) {
    crate::frame::build(frame, header, sent_payload(dispatch));
    if let Some((Withheld::Corrupt, damage)) = dispatch.damage {
        let at = payload_at(header);
        impair::flip_bits(&mut frame[at..at + dispatch.payload.len()], damage);
    }
}

fn payload_at(header: &crate::frame::FrameHeader) -> usize {
    crate::frame::HEADERS_BYTES + if header.vlan.is_some() { crate::frame::VLAN_TAG_BYTES } else { 0 }
}

/// The payload that goes out: whole, or cut.
fn sent_payload<'d>(dispatch: &Dispatch<'d>) -> &'d [u8] {
    match dispatch.damage {
        Some((Withheld::Truncate, damage)) => {
            &dispatch.payload[..impair::cut_length(dispatch.payload.len(), damage)]
        }
        _ => dispatch.payload,
    }
}
