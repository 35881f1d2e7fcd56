//! Captures made here, packet by packet, and the program run on them.
#![allow(clippy::unwrap_used)]
#![allow(dead_code)] // Each test binary uses its part.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use venue::frame::{self, FrameHeader};
use wire::itch50::{AddOrder, Price4};
use wire::moldudp64::PacketWriter;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::{U32, U64};

pub(crate) const START_NS: u64 = 1_700_000_000_000_000_000;
pub(crate) const SESSION: [u8; 10] = *b"0000000001";

/// A pcap file in memory, nanosecond times, Ethernet.
pub(crate) struct CaptureFile(pub(crate) Vec<u8>);

impl CaptureFile {
    pub(crate) fn new() -> CaptureFile {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        bytes.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&262_144_u32.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        CaptureFile(bytes)
    }

    /// Appends a UDP packet, captured `at_us` after [`START_NS`].
    pub(crate) fn udp(&mut self, at_us: u64, to: SocketAddrV4, payload: &[u8]) {
        let header = FrameHeader {
            source_mac: [2, 0, 0, 0, 0, 1],
            vlan: None,
            source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 4000),
            destination: to,
            ttl: 8,
        };
        let mut bytes = Vec::new();
        frame::build(&mut bytes, &header, payload);
        self.record(at_us, &bytes, bytes.len());
    }

    /// Appends a record of which the capture kept `kept` bytes.
    pub(crate) fn record(&mut self, at_us: u64, frame: &[u8], kept: usize) {
        let ts_ns = START_NS + at_us * 1_000;
        for word in [ts_ns / 1_000_000_000, ts_ns % 1_000_000_000, kept as u64, frame.len() as u64] {
            self.0.extend_from_slice(&(word as u32).to_le_bytes());
        }
        self.0.extend_from_slice(&frame[..kept]);
    }

    pub(crate) fn save(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.0).unwrap();
        path
    }
}

pub(crate) fn group(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(233, 54, 12, last), port)
}

/// A MoldUDP64 packet of ITCH add-orders numbered `sequence ..`, one for each share count.
pub(crate) fn orders(sequence: u64, shares: &[u32]) -> Vec<u8> {
    let mut buffer = [0; 1400];
    let mut packet = PacketWriter::new(&mut buffer, SESSION, sequence).unwrap();
    for (number, &shares) in (sequence..).zip(shares) {
        let order = AddOrder {
            head: AddOrder::head(7, 0, 34_200_000_000_000 + number),
            order_reference: U64::new(number),
            side: b'B',
            shares: U32::new(shares),
            stock: *b"ABCD    ",
            price: Price4::new(100_0000 + shares),
        };
        packet.push(order.as_bytes()).unwrap();
    }
    packet.finish().to_vec()
}

/// A MoldUDP64 heartbeat that names the next sequence number.
pub(crate) fn heartbeat(next: u64) -> Vec<u8> {
    orders(next, &[])
}

/// Runs `feedplane` to its end.
pub(crate) fn feedplane<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_feedplane")).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The one JSON object that `--json` prints, of a run that must have succeeded.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

/// The folder of real captures; says loudly when there is none.
pub(crate) fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("FEEDPLANE_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
    }
    folder
}

/// The Python interpreter with the oracles; says loudly when there is none.
pub(crate) fn python() -> Option<PathBuf> {
    let interpreter = std::env::var_os("FEEDPLANE_PYTHON").map(PathBuf::from);
    if interpreter.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set");
    }
    interpreter
}
