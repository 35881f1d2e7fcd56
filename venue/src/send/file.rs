//! A capture file instead of a wire: both lines' frames in one pcap file, at the times that they were due.

use super::{Outlet, SendError, build_frame};
use crate::capture::Writer;
use crate::frame::FrameHeader;
use crate::script::Dispatch;
use std::io::Write;

/// Ethernet address in the frames; locally administered.
const SOURCE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// Writes a session to a pcap file.
pub struct FileOutlet<W: Write> {
    writer: Writer<W>,
    start_ns: u64,
    vlan: Option<u16>,
    frame: Vec<u8>,
}

impl<W: Write> FileOutlet<W> {
    /// Begins the file; the session's first packet is at `start_ns`, ns since the Unix epoch.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(sink: W, start_ns: u64, vlan: Option<u16>) -> Result<FileOutlet<W>, SendError> {
        let writer = Writer::new(sink).map_err(SendError::File)?;
        Ok(FileOutlet { writer, start_ns, vlan, frame: Vec::new() })
    }

    /// Ends the file and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(self) -> Result<W, SendError> {
        self.writer.finish().map_err(SendError::File)
    }
}

impl<W: Write> Outlet for FileOutlet<W> {
    fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError> {
        let header = FrameHeader {
            source_mac: SOURCE_MAC,
            vlan: self.vlan,
            source: dispatch.address.source,
            destination: dispatch.address.destination,
            ttl: 1,
        };
        build_frame(&mut self.frame, &header, dispatch);
        self.writer.write(self.start_ns + dispatch.due_ns, &self.frame).map_err(SendError::File)
    }

    fn flush(&mut self) -> Result<(), SendError> {
        Ok(())
    }
}
